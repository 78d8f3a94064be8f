//! Durations in the configuration file.

use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// A duration: `500ms`, `5s`, `2m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        span(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a duration: write 500ms, 5s, 2m or 1h")))
    }
}

fn span(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    // A year is longer than any useful value, and keeps sums from overflowing.
    (millis <= 31_536_000_000).then(|| Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_units_and_bounds() {
        for (text, millis) in [
            ("500ms", Some(500)),
            ("5s", Some(5_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
        ] {
            assert_eq!(span(text).map(|d| d.as_millis()), millis, "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "1.5s",
            "99999999999999999999s",
            "9000000h",
            "5d",
        ] {
            assert_eq!(span(text), None, "{text}");
        }
    }
}
