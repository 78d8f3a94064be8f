//! Whether a text is a cron schedule (five fields or a descriptor), with the error messages of the real server's
//! parser. The controller decides when it fires.

const FIELDS: [(&str, u32, u32); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day", 1, 31),
    ("month", 1, 12),
    ("weekday", 0, 6),
];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What is wrong with a schedule, if anything.
pub(super) fn problem(schedule: &str) -> Option<String> {
    if let Some(descriptor) = schedule.strip_prefix('@') {
        let known = matches!(
            descriptor,
            "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly"
        );
        let every = descriptor.strip_prefix("every ").is_some_and(is_duration);
        return (!known && !every).then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    fields
        .iter()
        .zip(FIELDS)
        .find_map(|(text, (name, low, high))| text.split(',').find_map(|part| range(part, name, low, high)))
}

fn is_duration(text: &str) -> bool {
    let mut rest = text;
    let mut any = false;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let unit = &rest[digits..];
        let Some(unit) = ["ms", "us", "ns", "h", "m", "s"]
            .into_iter()
            .find(|one| unit.starts_with(one))
        else {
            return false;
        };
        if digits == 0 {
            return false;
        }
        any = true;
        rest = &rest[digits + unit.len()..];
    }
    any
}

fn number(text: &str, name: &str) -> Result<u32, String> {
    let lower = text.to_lowercase();
    let named = match name {
        "month" => MONTHS.iter().position(|month| *month == lower).map(|at| at + 1),
        "weekday" => DAYS.iter().position(|day| *day == lower),
        _ => None,
    };
    if let Some(at) = named {
        return Ok(u32::try_from(at).unwrap_or_default());
    }
    let parsed: Result<i64, _> = text.parse();
    match parsed {
        Ok(number) if number < 0 => Err(format!("negative number ({number}) not allowed: {text}")),
        Ok(number) => Ok(u32::try_from(number).unwrap_or(u32::MAX)),
        Err(_) => Err(format!(
            "failed to parse int from {text}: strconv.Atoi: parsing {}: invalid syntax",
            super::super::gojson::quote(text)
        )),
    }
}

fn range(part: &str, name: &str, low: u32, high: u32) -> Option<String> {
    let pieces: Vec<&str> = part.split('/').collect();
    let ends: Vec<&str> = pieces[0].split('-').collect();
    let (start, mut end);
    if ends[0] == "*" || ends[0] == "?" {
        (start, end) = (low, high);
    } else {
        start = match number(ends[0], name) {
            Ok(number) => number,
            Err(why) => return Some(why),
        };
        end = match ends.len() {
            1 => start,
            2 => match number(ends[1], name) {
                Ok(number) => number,
                Err(why) => return Some(why),
            },
            _ => return Some(format!("too many hyphens: {part}")),
        };
    }
    match pieces.len() {
        1 => {}
        2 => {
            let step = match number(pieces[1], "") {
                Ok(step) => step,
                Err(why) => return Some(why),
            };
            if ends.len() == 1 {
                end = high;
            }
            if step == 0 {
                return Some(format!("step of range should be a positive number: {part}"));
            }
        }
        _ => return Some(format!("too many slashes: {part}")),
    }
    if start < low {
        return Some(format!("beginning of range ({start}) below minimum ({low}): {part}"));
    }
    if end > high {
        return Some(format!("end of range ({end}) above maximum ({high}): {part}"));
    }
    (start > end).then(|| format!("beginning of range ({start}) beyond end of range ({end}): {part}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_judged_as_the_server_does() {
        for good in [
            "* * * * *",
            "*/5 0-6 1,15 jan-mar MON",
            "@hourly",
            "@every 1h30m",
            "0 0 1 1 ?",
        ] {
            assert_eq!(problem(good), None, "{good}");
        }
        for (bad, why) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            (
                "x * * * *",
                "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax",
            ),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(problem(bad).as_deref(), Some(why), "{bad}");
        }
    }
}
