//! Greetings that were sent and wait for their welcome. A welcome that nobody waits for is none: it was recorded, or made up.

use std::collections::VecDeque;

/// Greetings that are waited for.
const MOST: usize = 256;

/// The counters of their packets, oldest first.
#[derive(Debug, Default)]
pub(super) struct Greetings(VecDeque<u64>);

impl Greetings {
    /// Waits for one more; the oldest is given up where there are too many.
    pub(super) fn sent(&mut self, counter: u64) {
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(counter);
    }

    /// Takes its welcome, once; whether it was waited for.
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
