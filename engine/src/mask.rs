//! Secret values → marks that can be compared but not read.
//!
//! A mark is a keyed hash, cut to 48 bits: equal values have equal marks under one key, and a mark alone cannot confirm a
//! guess with certainty. Values of write-only variables get no hash at all.

use sha2::{Digest, Sha256};
use std::fmt;

/// What stands for a value that may leave no trace, not even a hash.
pub const WRITE_ONLY: &str = "(write-only)";

/// The key of the marks. Cannot be printed.
#[derive(Clone)]
pub struct MaskKey([u8; 32]);

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MaskKey")
    }
}

impl MaskKey {
    /// A key from random bytes, as a stack's record keeps it.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key that is a pure function of the stack's identity, for values that must be the same before any cluster is known.
    /// It hides a value from the eye and from search, not from someone who can guess it; long random secrets stay safe.
    #[must_use]
    pub fn of_identity(namespace: &str, name: &str) -> Self {
        let mut key: [u8; 32] = Sha256::digest(format!("myelin mask v1\0{namespace}\0{name}").as_bytes()).into();
        // Stretched, so that guessing costs something.
        for _ in 0..4096 {
            key = Sha256::digest(key).into();
        }
        Self(key)
    }

    /// The bytes, for the record.
    #[must_use]
    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA-256 (RFC 2104) of some bytes under this key.
    #[must_use]
    pub fn mac(&self, bytes: &[u8]) -> [u8; 32] {
        let mut inner = [0x36u8; 64];
        let mut outer = [0x5cu8; 64];
        for (i, b) in self.0.iter().enumerate() {
            inner[i] ^= b;
            outer[i] ^= b;
        }
        let hash = Sha256::new().chain_update(inner).chain_update(bytes).finalize();
        Sha256::new().chain_update(outer).chain_update(hash).finalize().into()
    }

    /// The mark of a value at a place; the same value at another place has another mark.
    #[must_use]
    pub fn mark(&self, place: &str, value: &[u8]) -> String {
        let mut bytes = place.as_bytes().to_vec();
        bytes.push(0);
        bytes.extend_from_slice(value);
        format!("(sensitive {})", hex(&self.mac(&bytes)[..6]))
    }
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_hmac_sha256_of_rfc_4231() {
        // Test case 2 of RFC 4231: key "Jefe" padded with zeros, as HMAC pads every short key.
        let mut key = [0u8; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            hex(&MaskKey::new(key).mac(b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn marks_compare_but_do_not_show() {
        let key = MaskKey::of_identity("ns", "s");
        assert_eq!(key.mark("/data/a", b"hunter2"), key.mark("/data/a", b"hunter2"));
        assert_ne!(key.mark("/data/a", b"hunter2"), key.mark("/data/b", b"hunter2"));
        assert!(!key.mark("/data/a", b"hunter2").contains("hunter2"));
        assert_eq!(format!("{key:?}"), "MaskKey");
    }
}
