//! A secret value in memory: it cannot be printed, compared by accident or serialised, and it is wiped when dropped.

use crate::mask::MaskKey;
use std::fmt;
use zeroize::Zeroizing;

/// The bytes of a minted secret. There is no `Display`, no `Serialize` and no `Clone`; [`SecretValue::expose`] is the one way out.
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the request that stores them. Every use is a place to audit.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A mark of the value: equal values have equal marks under one key, and the mark alone does not tell the value.
    #[must_use]
    pub fn mark(&self, key: &MaskKey) -> String {
        crate::mask::hex(&key.mac(&self.0)[..16])
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_value_does_not_print() {
        let value = SecretValue::new(b"ssl://aha:27272/0123".to_vec());
        assert_eq!(format!("{value:?}"), "SecretValue(…)");
        let key = MaskKey::new([7; 32]);
        assert_eq!(
            value.mark(&key),
            SecretValue::new(b"ssl://aha:27272/0123".to_vec()).mark(&key)
        );
        assert_eq!(value.mark(&key).len(), 32);
    }
}
