//! SWIM updates that this node received recently. Each update about a member arrives a dozen times or more, and SWIM
//! scans all members for each. A repeated update says nothing new, so it is dropped here. The memory is cleared often,
//! because SWIM itself forgets members that were down for long, and updates about them may come again.
//!
//! It stores only hashes, under its own random key, so that nobody can construct two updates that look the same to it.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

/// Limit of updates; a cluster of a thousand needs a few thousand.
const MOST: usize = 16_384;

/// The updates received recently.
#[derive(Default)]
pub(super) struct Heard {
    words: HashSet<u64>,
    key: RandomState,
}

impl Heard {
    /// Whether this update was received.
    pub(super) fn knows(&self, word: &[u8]) -> bool {
        self.words.contains(&self.key.hash_one(word))
    }

    /// Remembers this update.
    pub(super) fn take(&mut self, word: &[u8]) {
        if self.words.len() >= MOST {
            self.forget();
        }
        self.words.insert(self.key.hash_one(word));
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.words.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_known_until_it_is_forgotten_and_never_too_much_is_held() {
        let mut heard = Heard::default();
        heard.take(b"a is alive");
        assert!(heard.knows(b"a is alive") && !heard.knows(b"a is down"));
        heard.forget();
        assert!(!heard.knows(b"a is alive"));
        for n in 0..3 * MOST {
            heard.take(&n.to_be_bytes());
        }
        assert!(heard.words.len() <= MOST && heard.knows(&(3 * MOST - 1).to_be_bytes()));
    }
}
