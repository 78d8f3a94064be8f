//! Greetings that were sent and wait for their welcome. An unexpected welcome is ignored: it was recorded, or forged.

use std::collections::VecDeque;

/// Limit of outstanding greetings.
const MOST: usize = 256;

/// The counters of their packets, oldest first.
#[derive(Debug, Default)]
pub(super) struct Greetings(VecDeque<u64>);

impl Greetings {
    /// Waits for one more; drops the oldest if there are too many.
    pub(super) fn sent(&mut self, counter: u64) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(counter);
    }

    /// Accepts a welcome, once; returns whether it was expected.
    pub(super) fn welcomed(&mut self, counter: u64) -> bool {
        let at = self.0.iter().position(|c| *c == counter);
        at.and_then(|at| self.0.remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_welcomed_once_and_never_too_many_are_waited_for() {
        let mut all = Greetings::default();
        for counter in 0..=MOST as u64 {
            all.sent(counter);
        }
        assert!(!all.welcomed(0), "the oldest was given up");
        assert!(all.welcomed(7) && !all.welcomed(7));
        assert_eq!(all.0.len(), MOST - 1);
    }
}
