//! The cluster key: a text of at least 32 characters from a file or an SSM parameter. Several lines are several keys:
//! the first one encrypts, all of them decrypt, so that a key can be rotated without interruption.
//!
//! The key on the wire is derived from it together with the names of cluster and role, so that two pools with the same
//! key cannot read each other.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

/// Shortest key: 32 characters of base64 or hex hold 128 bits and more.
const SHORTEST: usize = 32;

/// Limit of keys.
const MOST: usize = 4;

/// Names the purpose of this derivation, and its version.
const PURPOSE: &[u8] = b"myelin agent gossip v1";

/// Bytes of a key id.
pub(super) const ID: usize = 4;

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// One key of the ring.
pub(super) struct Derived {
    pub(super) id: [u8; ID],
    root: Prk,
}

impl Derived {
    /// The key of a sender's session.
    pub(super) fn session(&self, salt: &[u8]) -> [u8; 32] {
        expand(&self.root, &[b"session", salt])
    }
}

fn expand<const N: usize>(root: &Prk, info: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let made = root.expand(info, Length(N)).and_then(|okm| okm.fill(&mut out));
    made.expect("fewer bytes than HKDF-SHA256 can give were asked for");
    out
}

/// The keys of one cluster and role. Never printed.
pub struct Ring {
    keys: Vec<Derived>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring")
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl Ring {
    /// Parses the text of a key.
    ///
    /// # Errors
    /// What is wrong with it; the message contains nothing of the key.
    pub fn new(text: &str, cluster: &str, role: &str) -> Result<Self, String> {
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        if lines.is_empty() || lines.len() > MOST {
            return Err(format!(
                "the cluster key has {} lines; it has one, or up to {MOST} while it is replaced",
                lines.len()
            ));
        }
        if let Some(at) = lines.iter().position(|l| l.len() < SHORTEST) {
            let number = at + 1;
            return Err(format!(
                "line {number} of the cluster key is shorter than {SHORTEST} characters; make one with: openssl rand -base64 32"
            ));
        }
        let derive = |line: &&str| {
            let root = Salt::new(HKDF_SHA256, PURPOSE).extract(line.as_bytes());
            let length = |name: &str| u32::try_from(name.len()).unwrap_or(u32::MAX).to_be_bytes();
            let names: [u8; 32] = expand(
                &root,
                &[&length(cluster), cluster.as_bytes(), &length(role), role.as_bytes()],
            );
            let root = Salt::new(HKDF_SHA256, PURPOSE).extract(&names);
            Derived {
                id: expand(&root, &[b"id"]),
                root,
            }
        };
        Ok(Self {
            keys: lines.iter().map(derive).collect(),
        })
    }

    pub(super) fn seals(&self) -> &Derived {
        &self.keys[0]
    }

    pub(super) fn opens(&self, id: &[u8]) -> Option<&Derived> {
        self.keys.iter().find(|k| k.id == id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn keys_differ_by_text_cluster_and_role() {
        let id = |text, cluster, role| Ring::new(text, cluster, role).expect("a key").seals().id;
        let all = [
            id(KEY, "a", "b"),
            id(KEY, "ab", ""),
            id(KEY, "", "ab"),
            id(KEY, "b", "a"),
            id("another key with enough characters in it", "a", "b"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[at + 1..].contains(one), "{at}");
        }
        assert_eq!(id(&format!("  {KEY}  \n\n"), "a", "b"), all[0]);
    }

    #[test]
    fn a_bad_key_is_refused_without_being_repeated() {
        for text in ["", "short", &format!("{KEY}\nshort"), &format!("{KEY}\n").repeat(5)] {
            let why = Ring::new(text, "a", "b").expect_err("it is bad");
            assert!(!why.contains(KEY) && !why.contains("short\n"), "{why}");
        }
        assert!(Ring::new(&format!("{KEY}\n{KEY}x"), "a", "b").is_ok());
    }
}
