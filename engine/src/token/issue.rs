//! Values that the engine generates itself: random bytes, random characters, ed25519 signing keys.
//!
//! Randomness is an argument. Values from a tool in a pod come through the cluster's port, not from here.

use super::value::SecretValue;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Fills a buffer with random bytes from a source fit for keys.
pub type Randomness<'a> = &'a mut dyn FnMut(&mut [u8]);

/// How random bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Standard base64 with padding (RFC 4648 section 4).
    Base64,
    /// URL-safe base64 without padding (RFC 4648 section 5).
    Base64Url,
    /// Lower-case hexadecimal.
    Hex,
}

/// `bytes` random bytes, encoded.
#[must_use]
pub fn random_bytes(bytes: usize, encoding: Encoding, randomness: Randomness<'_>) -> SecretValue {
    let mut raw = Zeroizing::new(vec![0u8; bytes]);
    randomness(&mut raw);
    SecretValue::new(match encoding {
        Encoding::Base64 => BASE64_STANDARD.encode(&*raw).into_bytes(),
        Encoding::Base64Url => BASE64_URL_SAFE_NO_PAD.encode(&*raw).into_bytes(),
        Encoding::Hex => crate::mask::hex(&raw).into_bytes(),
    })
}

/// `length` characters, each drawn evenly from `alphabet`, which holds 2 to 256 distinct characters.
#[must_use]
pub fn random_characters(length: usize, alphabet: &[char], randomness: Randomness<'_>) -> SecretValue {
    // A byte over the last whole multiple of the alphabet's size would favour the first characters: draw again.
    let size = alphabet.len().clamp(1, 256);
    let fair = 256 - 256 % size;
    let mut text = Zeroizing::new(String::with_capacity(length * 4));
    let mut drawn = 0;
    let mut pool = Zeroizing::new([0u8; 64]);
    while drawn < length {
        randomness(&mut *pool);
        for byte in pool
            .iter()
            .map(|b| usize::from(*b))
            .filter(|b| *b < fair)
            .take(length - drawn)
        {
            text.push(alphabet[byte % size]);
            drawn += 1;
        }
    }
    SecretValue::new(text.as_bytes().to_vec())
}

/// An ed25519 key in the format of Matrix Synapse's signing key file: `ed25519 VERSION SEED`, the seed in base64 without
/// padding, and a line feed.
#[must_use]
pub fn signing_key(randomness: Randomness<'_>) -> SecretValue {
    let mut seed = Zeroizing::new([0u8; 32]);
    randomness(&mut *seed);
    let letters: Vec<char> = ('a'..='z').chain('A'..='Z').collect();
    let version = random_characters(4, &letters, randomness);
    let mut line = Zeroizing::new(b"ed25519 a_".to_vec());
    line.extend_from_slice(version.expose());
    line.push(b' ');
    line.extend_from_slice(Zeroizing::new(BASE64_STANDARD_NO_PAD.encode(*seed)).as_bytes());
    line.push(b'\n');
    SecretValue::new(line.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts up; enough to see what is drawn.
    fn counter() -> impl FnMut(&mut [u8]) {
        let mut next = 0u8;
        move |buffer| {
            for byte in buffer {
                *byte = next;
                next = next.wrapping_add(1);
            }
        }
    }

    fn text(value: &SecretValue) -> String {
        String::from_utf8(value.expose().to_vec()).expect("text")
    }

    #[test]
    fn bytes_are_written_in_the_encoding_that_was_asked_for() {
        for (encoding, want) in [
            (Encoding::Hex, "000102"),
            (Encoding::Base64, "AAEC"),
            (Encoding::Base64Url, "AAEC"),
        ] {
            assert_eq!(text(&random_bytes(3, encoding, &mut counter())), want);
        }
    }

    #[test]
    fn characters_are_drawn_evenly() {
        let alphabet: Vec<char> = "abc".chars().collect();
        let drawn = text(&random_characters(255 * 4, &alphabet, &mut counter()));
        for c in alphabet {
            assert_eq!(drawn.matches(c).count(), 85 * 4, "{c}");
        }
    }

    #[test]
    fn a_signing_key_has_the_three_fields_of_the_key_file() {
        let line = text(&signing_key(&mut counter()));
        let fields: Vec<&str> = line.trim_end().split(' ').collect();
        assert_eq!(fields[0], "ed25519");
        assert!(fields[1].starts_with("a_") && fields[1].len() == 6, "{line}");
        assert_eq!(BASE64_STANDARD_NO_PAD.decode(fields[2]).expect("base64").len(), 32);
        assert!(line.ends_with('\n'));
    }
}
