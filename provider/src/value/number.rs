//! Numbers as Terraform has them: of any size, and exact.
//!
//! The wire encodes one number in several ways (integers of any width, a float, a decimal string for what fits
//! neither). Here each number has one form, so that equal numbers are equal. Nothing is ever expanded: `1e999999999`
//! stays short.

use std::fmt;

/// A number in its one form: an integer if it fits 64 bits, else a float if one holds it exactly, else its decimal digits.
#[derive(Debug, Clone, PartialEq)]
pub struct Number(Form);

#[derive(Debug, Clone, PartialEq)]
enum Form {
    Signed(i64),
    /// Above `i64::MAX` only.
    Unsigned(u64),
    /// Never integral within 64 bits, never NaN or infinite.
    Float(f64),
    Decimal(Decimal),
}

/// `digits` × 10^`exponent`; digits have neither leading nor trailing zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

/// What the encoder writes.
pub(super) enum Wire {
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
}

/// Why text or a float is not a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// No decimal number, or one of more than [`Number::MAX_TEXT`] characters.
    /// The text is not repeated: it may be a secret in the wrong place.
    #[error("not a decimal number")]
    Text,
    /// NaN or an infinity.
    #[error("a number must be finite")]
    NotFinite,
}

impl Number {
    /// The longest decimal text that is read. 512 bits, Terraform's own precision, are 155 digits.
    pub const MAX_TEXT: usize = 1024;

    /// The number as a signed 64-bit integer, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self.0 {
            Form::Signed(value) => Some(value),
            Form::Unsigned(_) | Form::Float(_) | Form::Decimal(_) => None,
        }
    }

    /// A float.
    ///
    /// # Errors
    /// If it is NaN or infinite.
    pub fn from_f64(value: f64) -> Result<Number, NumberError> {
        if !value.is_finite() {
            return Err(NumberError::NotFinite);
        }
        // 2^63 and 2^64 are exact floats; everything integral below them fits the integer.
        const TWO_63: f64 = 9_223_372_036_854_775_808.0;
        const TWO_64: f64 = 18_446_744_073_709_551_616.0;
        if value.fract() == 0.0 && (-TWO_63..TWO_63).contains(&value) {
            return Ok(Number(Form::Signed(value as i64)));
        }
        if value.fract() == 0.0 && (TWO_63..TWO_64).contains(&value) {
            return Ok(Number(Form::Unsigned(value as u64)));
        }
        Ok(Number(Form::Float(value)))
    }

    /// Decimal text: digits, perhaps a sign, a point and an exponent.
    ///
    /// # Errors
    /// If it is anything else.
    pub fn from_text(text: &str) -> Result<Number, NumberError> {
        if text.len() > Self::MAX_TEXT {
            return Err(NumberError::Text);
        }
        if let Ok(value) = text.parse::<i64>() {
            return Ok(Number(Form::Signed(value)));
        }
        if let Ok(value) = text.parse::<u64>() {
            return Ok(Number(Form::Unsigned(value)));
        }
        let decimal = Decimal::parse(text).ok_or(NumberError::Text)?;
        Ok(decimal.simplest())
    }

    pub(super) fn wire(&self) -> Wire {
        match &self.0 {
            Form::Signed(value) => Wire::Signed(*value),
            Form::Unsigned(value) => Wire::Unsigned(*value),
            Form::Float(value) => Wire::Float(*value),
            Form::Decimal(decimal) => Wire::Text(decimal.to_string()),
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Number {
        Number(Form::Signed(value))
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Number {
        i64::try_from(value).map_or(Number(Form::Unsigned(value)), Number::from)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Signed(value) => value.fmt(f),
            Form::Unsigned(value) => value.fmt(f),
            Form::Float(value) => value.fmt(f),
            Form::Decimal(decimal) => decimal.fmt(f),
        }
    }
}

impl Decimal {
    fn parse(text: &str) -> Option<Decimal> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => {
                let bare = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
                if bare.is_empty() || !bare.bytes().all(|byte| byte.is_ascii_digit()) {
                    return None;
                }
                (mantissa, exponent.parse::<i64>().ok()?)
            }
            None => (rest, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let leading = all.trim_start_matches('0');
        let digits = leading.trim_end_matches('0');
        let dropped = leading.len() - digits.len();
        let exponent = exponent
            .checked_sub(fraction.len() as i64)?
            .checked_add(dropped as i64)?;
        if digits.is_empty() {
            return Some(Decimal {
                negative: false,
                digits: "0".to_owned(),
                exponent: 0,
            });
        }
        Some(Decimal {
            negative,
            digits: digits.to_owned(),
            exponent,
        })
    }

    /// The number in its one form: integer or exact float where one holds it.
    fn simplest(self) -> Number {
        if self.exponent == 0 || (self.exponent > 0 && self.exponent <= 20) {
            let sign = if self.negative { "-" } else { "" };
            let whole = format!("{sign}{}{}", self.digits, "0".repeat(self.exponent as usize));
            if let Ok(value) = whole.parse::<i64>() {
                return Number(Form::Signed(value));
            }
            if let Ok(value) = whole.parse::<u64>() {
                return Number(Form::Unsigned(value));
            }
        }
        // The exact decimal expansion of a float has at most 767 significant digits and an exponent down to -1074.
        if (-1080..=310).contains(&self.exponent)
            && let Ok(float) = self.to_string().parse::<f64>()
            && float.is_finite()
            && Decimal::parse(&format!("{float:.1080}")).as_ref() == Some(&self)
        {
            return Number(Form::Float(float));
        }
        Number(Form::Decimal(self))
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        f.write_str(&self.digits)?;
        if self.exponent != 0 {
            write!(f, "e{}", self.exponent)?;
        }
        Ok(())
    }
}
