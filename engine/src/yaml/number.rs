//! Numbers: how the original's YAML readers parse them, and how Go prints a float. Whole floats become integers on their
//! way through JSON, so `1.0` and `1e3` are `1` and `1000` afterwards.

/// A number as it is carried through JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Fits 64 bits with a sign.
    Int(i64),
    /// Fits 64 bits only without a sign.
    UInt(u64),
    /// Everything else, NaN and infinities included.
    Float(f64),
}

impl Number {
    /// The result of a round trip through Go's JSON: whole floats that fit 64 bits become integers, with as many digits
    /// as the float has, followed by zeros.
    #[must_use]
    pub fn through_json(self) -> Self {
        match self {
            Self::Float(f) if f.fract() == 0.0 && f.abs() < 1e21 => {
                let digits = f.to_string();
                let int = digits.parse().map(Self::Int);
                int.or_else(|_| digits.parse().map(Self::UInt)).unwrap_or(self)
            }
            other => other,
        }
    }
}

/// Reads a scalar's text as a number: decimal, octal (`0644`, `0o644`), hexadecimal, binary, with `_` between digits, a
/// float, or `.inf`/`.nan`.
pub(super) fn parse_number(text: &str) -> Option<Number> {
    match text {
        ".nan" | ".NaN" | ".NAN" => return Some(Number::Float(f64::NAN)),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Some(Number::Float(f64::INFINITY)),
        "-.inf" | "-.Inf" | "-.INF" => return Some(Number::Float(f64::NEG_INFINITY)),
        _ => {}
    }
    let first = *text.as_bytes().first()?;
    if first == b'.' {
        // Go's ParseFloat on the raw text; `_` is not allowed without a base prefix.
        return is_decimal_float(text)
            .then(|| text.parse().ok().map(Number::Float))
            .flatten();
    }
    let owned;
    let plain = if text.contains('_') {
        owned = text.replace('_', "");
        &owned
    } else {
        text
    };
    if let Some(int) = parse_int(plain) {
        return Some(int);
    }
    is_decimal_float(plain)
        .then(|| plain.parse().ok().map(Number::Float))
        .flatten()
        .filter(|n| match n {
            // Go reports a range error for what only fits as infinity, and the text stays a string.
            Number::Float(f) => f.is_finite(),
            _ => true,
        })
}

fn parse_int(plain: &str) -> Option<Number> {
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain),
    };
    let bytes = digits.as_bytes();
    let (radix, digits) = match bytes {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.is_empty() || !digits.bytes().all(|b| (b as char).is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        0i64.checked_sub_unsigned(magnitude).map(Number::Int)
    } else if let Ok(int) = i64::try_from(magnitude) {
        Some(Number::Int(int))
    } else if plain.starts_with('+') {
        // Go's ParseUint takes no sign.
        None
    } else {
        Some(Number::UInt(magnitude))
    }
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn is_decimal_float(text: &str) -> bool {
    let mut rest = text.as_bytes();
    let digits = |rest: &mut &[u8]| {
        let n = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        *rest = &rest[n..];
        n
    };
    if let [b'-' | b'+', tail @ ..] = rest {
        rest = tail;
    }
    let whole = digits(&mut rest);
    if let [b'.', tail @ ..] = rest {
        rest = tail;
        let fraction = digits(&mut rest);
        if whole == 0 && fraction == 0 {
            return false;
        }
    } else if whole == 0 {
        return false;
    }
    if let [b'e' | b'E', tail @ ..] = rest {
        rest = tail;
        if let [b'-' | b'+', tail @ ..] = rest {
            rest = tail;
        }
        if digits(&mut rest) == 0 {
            return false;
        }
    }
    rest.is_empty()
}

/// Shortest decimal that reads back as `value`, laid out as Go's `strconv.FormatFloat(value, 'g', -1, 64)`.
#[must_use]
pub fn go_float_g(value: f64) -> String {
    if value.is_nan() {
        return ".nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf".into() } else { "-.inf".into() };
    }
    // Rust's `{:e}` gives the shortest digits too: `1.2345e6`.
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').expect("the exponent form always has an e");
    let exponent: i32 = exponent.parse().expect("an exponent is a small integer");
    if (-4..21).contains(&exponent) && !(6..21).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_print_as_go_prints_them() {
        for (value, want) in [
            (1.5, "1.5"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (123_456.5, "123456.5"),
            (1_234_567.5, "1.2345675e+06"),
            (1e20, "1e+20"),
            (-2.5e-7, "-2.5e-07"),
        ] {
            assert_eq!(go_float_g(value), want);
        }
    }

    #[test]
    fn whole_floats_come_out_of_json_as_integers() {
        assert_eq!(Number::Float(1e3).through_json(), Number::Int(1000));
        assert_eq!(
            Number::Float(1e19).through_json(),
            Number::UInt(10_000_000_000_000_000_000)
        );
        assert_eq!(Number::Float(1e20).through_json(), Number::Float(1e20));
        assert_eq!(Number::Float(-0.0).through_json(), Number::Int(0));
        assert_eq!(Number::Float(0.5).through_json(), Number::Float(0.5));
    }

    #[test]
    fn what_overflows_a_float_stays_text() {
        assert_eq!(parse_number("1e999"), None);
        assert_eq!(parse_number("99999999999999999999"), Some(Number::Float(1e20)));
        assert_eq!(parse_number("-9223372036854775808"), Some(Number::Int(i64::MIN)));
    }
}
