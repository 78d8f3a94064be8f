//! Quantities: `100m`, `1Gi`, `1e3`. Parsing, canonical form, comparison.
//!
//! The rules are those of the API's resource.Quantity: a decimal number and one suffix, decimal (n u m k M G T P E),
//! binary (Ki … Ei) or an exponent; precision finer than nano is rounded up; the canonical form has no fraction and the
//! largest suffix that leaves a whole number. A binary amount that is not whole is written in decimal.

use std::cmp::Ordering;

/// An amount in nano-units and the notation that it was written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quantity {
    nano: i128,
    notation: Notation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Notation {
    Decimal,
    Binary,
    Exponent,
}

const NANO: i128 = 1_000_000_000;
/// The largest whole amount: 2^63 - 1. Larger ones are capped, as the API does.
const CAP: i128 = i64::MAX as i128 * NANO;

impl Quantity {
    /// Read an amount; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let digits_end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(digits_end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let (notation, factor) = suffix_factor(suffix)?;
        let magnitude = scaled(whole, fraction, factor)?;
        let nano = if negative { -magnitude } else { magnitude };
        Some(Self { nano, notation })
    }

    /// Less, equal or greater in amount, whatever the notation.
    pub fn compare(self, other: Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }

    /// The amount in nano-units.
    pub fn nano(self) -> i128 {
        self.nano
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.nano < 0
    }

    /// Whether it has no fraction.
    pub fn is_whole(self) -> bool {
        self.nano % NANO == 0
    }

    /// The one way in which the API writes this amount.
    pub fn canonical(self) -> String {
        if self.nano == 0 {
            return "0".to_owned();
        }
        let sign = if self.nano < 0 { "-" } else { "" };
        let amount = self.nano.unsigned_abs();
        let whole = amount / NANO as u128;
        let is_whole = amount.is_multiple_of(NANO as u128);
        if self.notation == Notation::Binary && is_whole && whole >= 1024 {
            let mut value = whole;
            let mut index = 0;
            while value.is_multiple_of(1024) && index + 1 < BINARY.len() {
                value /= 1024;
                index += 1;
            }
            return format!("{sign}{value}{}", BINARY[index]);
        }
        if self.notation == Notation::Binary && is_whole {
            return format!("{sign}{whole}");
        }
        let mut value = amount;
        let mut exponent: i32 = -9;
        while value.is_multiple_of(1000) && exponent < 18 {
            value /= 1000;
            exponent += 3;
        }
        match self.notation {
            Notation::Exponent if exponent == 0 => format!("{sign}{value}"),
            Notation::Exponent => format!("{sign}{value}e{exponent}"),
            _ => format!("{sign}{value}{}", decimal_suffix(exponent)),
        }
    }
}

const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    }
}

/// A suffix's factor over a nano-unit as `(multiplier, power of ten)`.
#[derive(Clone, Copy)]
struct Factor {
    binary: u32,
    ten: i32,
}

fn suffix_factor(suffix: &str) -> Option<(Notation, Factor)> {
    let decimal = |ten| Some((Notation::Decimal, Factor { binary: 0, ten }));
    if let Some(index) = BINARY.iter().position(|s| !s.is_empty() && *s == suffix) {
        return Some((
            Notation::Binary,
            Factor {
                binary: u32::try_from(index).ok()? * 10,
                ten: 0,
            },
        ));
    }
    match suffix {
        "" => decimal(0),
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        _ => {
            let power = suffix.strip_prefix(['e', 'E'])?;
            let ten: i32 = power.parse().ok()?;
            (-1000..=1000)
                .contains(&ten)
                .then_some((Notation::Exponent, Factor { binary: 0, ten }))
        }
    }
}

/// Decimal digits times a factor in nano-units, rounded up and capped.
fn scaled(whole: &str, fraction: &str, factor: Factor) -> Option<i128> {
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some(0);
    }
    let power = factor.ten + 9 - i32::try_from(fraction.len()).ok()?;
    if i32::try_from(digits.len()).ok()? + power + i32::try_from(factor.binary / 3).ok()? > 30 {
        return Some(CAP);
    }
    // 36 digits are more than nano-precision of any amount below the cap needs.
    let kept = &digits[..digits.len().min(30)];
    let dropped = digits.len() - kept.len();
    let power = power + i32::try_from(dropped).ok()?;
    let mut value: i128 = kept.parse().ok()?;
    value = value
        .checked_shl(factor.binary)
        .filter(|v| *v > 0 && *v >> factor.binary == value)
        .unwrap_or(CAP);
    let mut inexact = digits[kept.len()..].bytes().any(|b| b != b'0');
    if power >= 0 {
        for _ in 0..power {
            value = value.checked_mul(10).unwrap_or(CAP).min(CAP);
        }
    } else {
        for _ in 0..-power {
            inexact |= value % 10 != 0;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        if inexact {
            value += 1;
        }
    }
    Some(value.min(CAP))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_in_one_way() {
        for (text, canonical) in [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1.5Gi", "1536Mi"),
            ("1024Mi", "1Gi"),
            ("1024", "1024"),
            ("100000", "100k"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
            ("1E", "1E"),
            ("0.1Ki", "102400m"),
            ("0", "0"),
            ("0Gi", "0"),
            ("-5m", "-5m"),
            ("1.0", "1"),
            ("512Ki", "512Ki"),
            ("0.0000000001", "1n"),
            ("+2", "2"),
        ] {
            assert_eq!(
                Quantity::parse(text).map(Quantity::canonical).as_deref(),
                Some(canonical),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "a", "1x", "1.2.3", "1 Gi", "Gi", "--1", "1e", ".", "1KiB", "é"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn amounts_compare_across_notations() {
        let of = |text| Quantity::parse(text).unwrap();
        assert_eq!(of("1Gi").compare(of("1073741824")), Ordering::Equal);
        assert_eq!(of("1G").compare(of("1Gi")), Ordering::Less);
    }
}
