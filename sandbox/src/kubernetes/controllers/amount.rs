//! Quantities as numbers: bytes for storage and memory, thousandths for everything that is added up.

use crate::kubernetes::schema::quantity::Quantity;

/// Whole units of a quantity.
pub(crate) fn units(text: &str) -> Option<i128> {
    Quantity::parse(text).map(|quantity| quantity.nano() / 1_000_000_000)
}

/// Thousandths of a quantity.
pub(crate) fn millis(text: &str) -> Option<i128> {
    Quantity::parse(text).map(|quantity| quantity.nano() / 1_000_000)
}

/// Thousandths as a quantity.
pub(crate) fn show(millis: i128) -> String {
    if millis % 1000 == 0 {
        (millis / 1000).to_string()
    } else {
        format!("{millis}m")
    }
}
