//! Cron schedules: five fields, names, steps, `@hourly` and its like, in UTC.
//!
//! Time zones other than UTC are refused: the sandbox carries no time zone data.

/// When something happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

impl Schedule {
    pub(super) fn parse(text: &str, zone: &str) -> Result<Self, String> {
        if !matches!(zone, "" | "UTC" | "Etc/UTC") {
            return Err(format!("unknown time zone {zone}: the sandbox knows UTC alone"));
        }
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minutes, hours, days, months, weekdays] = fields.as_slice() else {
            return Err(format!("expected exactly 5 fields, found {}: {fields:?}", fields.len()));
        };
        let mut weekday_bits = field(weekdays, 0, 7, WEEKDAYS)?;
        if weekday_bits & (1 << 7) != 0 {
            weekday_bits = (weekday_bits | 1) & !(1 << 7);
        }
        Ok(Self {
            minutes: field(minutes, 0, 59, &[])?,
            hours: field(hours, 0, 23, &[])?,
            days: field(days, 1, 31, &[])?,
            months: field(months, 1, 12, MONTHS)?,
            weekdays: weekday_bits,
            any_day: days.starts_with(['*', '?']),
            any_weekday: weekdays.starts_with(['*', '?']),
        })
    }

    fn fits_day(&self, day: jiff::civil::Date) -> bool {
        let bit = |bits: u64, n: i8| bits & (1 << u32::from(n.unsigned_abs())) != 0;
        let by_day = bit(self.days, day.day());
        let by_weekday = bit(self.weekdays, day.weekday().to_sunday_zero_offset());
        let fits = if self.any_day || self.any_weekday {
            by_day && by_weekday
        } else {
            by_day || by_weekday
        };
        fits && bit(self.months, day.month())
    }

    /// The first matching time after a second; none if there is none within five years.
    pub(super) fn next_after(&self, second: i64) -> Option<i64> {
        let mut minute = (second.div_euclid(60) + 1) * 60;
        for _ in 0..366 * 5 {
            let day = jiff::Timestamp::from_second(minute)
                .ok()?
                .to_zoned(jiff::tz::TimeZone::UTC)
                .date();
            let midnight = minute - minute.rem_euclid(86_400);
            if self.fits_day(day) {
                while minute < midnight + 86_400 {
                    let of_day = minute - midnight;
                    if self.hours & (1 << (of_day / 3600)) != 0 && self.minutes & (1 << (of_day % 3600 / 60)) != 0 {
                        return Some(minute);
                    }
                    minute += 60;
                }
            }
            minute = midnight + 86_400;
        }
        None
    }

    /// The last time after one second and not after another.
    pub(super) fn last_between(&self, after: i64, until: i64) -> Option<i64> {
        let mut last = None;
        let mut at = after;
        // More than a hundred missed times are as good as the last hundred.
        for _ in 0..10_000 {
            match self.next_after(at) {
                Some(next) if next <= until => {
                    last = Some(next);
                    at = next;
                }
                _ => break,
            }
        }
        last
    }
}

fn field(text: &str, least: u32, most: u32, names: &[&str]) -> Result<u64, String> {
    let number = |word: &str| -> Result<u32, String> {
        if let Some(i) = names.iter().position(|name| word.to_lowercase() == *name) {
            return Ok(u32::try_from(i).unwrap_or(0) + least);
        }
        let n: u32 = word.parse().map_err(|_| format!("failed to parse int from {word}"))?;
        if (least..=most).contains(&n) {
            Ok(n)
        } else {
            Err(format!("{n} is not between {least} and {most}"))
        }
    };
    let mut bits = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                step.parse::<u32>()
                    .ok()
                    .filter(|s| *s > 0)
                    .ok_or(format!("bad step in {part}"))?,
            ),
            None => (part, 1),
        };
        let (from, to) = match range {
            "*" | "?" => (least, most),
            _ => match range.split_once('-') {
                Some((from, to)) => (number(from)?, number(to)?),
                None if part.contains('/') => (number(range)?, most),
                None => (number(range)?, number(range)?),
            },
        };
        if from > to {
            return Err(format!(
                "beginning of range ({from}) beyond end of range ({to}): {part}"
            ));
        }
        for n in (from..=to).step_by(step as usize) {
            bits |= 1 << n;
        }
    }
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        text.parse::<jiff::Timestamp>().unwrap().as_second()
    }

    #[test]
    fn the_next_time_is_the_one_that_cron_would_choose() {
        for (schedule, after, next) in [
            ("* * * * *", "2026-01-01T10:00:30Z", "2026-01-01T10:01:00Z"),
            ("*/15 3-5 * * *", "2026-01-01T05:46:00Z", "2026-01-02T03:00:00Z"),
            ("0 0 1 jan *", "2026-06-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("0 12 * * mon-fri", "2026-01-02T12:00:00Z", "2026-01-05T12:00:00Z"),
            ("0 0 13 * 5", "2026-01-02T00:00:01Z", "2026-01-09T00:00:00Z"),
            ("@hourly", "2026-01-01T10:00:00Z", "2026-01-01T11:00:00Z"),
        ] {
            assert_eq!(
                Schedule::parse(schedule, "").unwrap().next_after(at(after)),
                Some(at(next)),
                "{schedule}"
            );
        }
        for bad in ["* * * *", "60 * * * *", "a * * * *", "*/0 * * * *", "5-1 * * * *"] {
            assert!(Schedule::parse(bad, "").is_err(), "{bad}");
        }
        assert!(Schedule::parse("0 0 30 2 *", "").unwrap().next_after(0).is_none());
    }
}
