//! Durations as people write them: `90s`, `15m`, `1h30m`.

use std::time::Duration;

/// Reads one or more `<number><unit>` with the units `h`, `m`, `s`, `ms`, largest first not required.
///
/// # Errors
/// A sentence that says what is wrong, without the field's name.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a duration; write for example 90s, 15m or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_lowercase).count();
        let unit_ms: u64 = match &rest[..letters] {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        let part = number
            .checked_mul(unit_ms)
            .map(Duration::from_millis)
            .ok_or_else(wrong)?;
        total = total.checked_add(part).ok_or_else(wrong)?;
    }
    // A year is longer than anyone waits, and keeps later arithmetic on instants from overflowing.
    if total > Duration::from_secs(366 * 24 * 3600) {
        return Err(format!("\"{text}\" is longer than a year"));
    }
    Ok(total)
}

/// The shortest text that [`parse_duration`] reads back.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let ms = duration.subsec_millis();
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 3600, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
        (u64::from(ms), "ms"),
    ];
    let text: String = parts
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect();
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("2h", 7200), ("0s", 0)] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        assert_eq!(show_duration(Duration::from_millis(5_400_250)), "1h30m250ms");
        for bad in [
            "",
            "5",
            "m",
            "5 m",
            "-1s",
            "1.5h",
            "99999999999999999999s",
            "9999999999999h",
            "1d",
            "9000h",
        ] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
