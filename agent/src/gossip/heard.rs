//! Words of SWIM that this node took a short while ago. Each word about a member comes by a dozen times and more, and SWIM goes
//! through all members for each; a word that was taken says nothing when it comes again. It forgets often: what SWIM itself has
//! forgotten since (a member that was down for long) may be said again.
//!
//! It holds hashes alone, under a key of its own: nobody can make two words that look the same to it.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};

/// Words at most; a cluster of a thousand needs a few thousand.
const MOST: usize = 16_384;

/// What was heard.
#[derive(Default)]
pub(super) struct Heard {
    words: HashSet<u64>,
    key: RandomState,
}

impl Heard {
    /// Whether this was taken.
    pub(super) fn knows(&self, word: &[u8]) -> bool {
        self.words.contains(&self.key.hash_one(word))
    }

    /// Takes this.
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
