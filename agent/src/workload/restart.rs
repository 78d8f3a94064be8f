//! Whether and when an ended workload is restarted. Pure; randomness is an argument.

use crate::backoff;
use crate::config;
use std::time::Duration;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Start it after this wait.
    Again(Duration),
    /// It has ended too often: the node reports `failed`.
    GiveUp,
}

/// Counts the ends in a row.
#[derive(Debug, Clone)]
pub struct Restarts {
    rules: config::Restart,
    in_a_row: u32,
}

impl Restarts {
    /// None yet.
    #[must_use]
    pub fn new(rules: config::Restart) -> Self {
        Self { rules, in_a_row: 0 }
    }

    /// Decides after a run of this length.
    pub fn after(&mut self, ran: Duration, chance: f64) -> Next {
        if ran >= self.rules.forget_after.0 {
            self.in_a_row = 0;
        }
        self.in_a_row += 1;
        if self.in_a_row >= self.rules.most {
            return Next::GiveUp;
        }
        let (first, longest) = (self.rules.first.0, self.rules.longest.0);
        Next::Again(backoff::full_jitter(first, longest, self.in_a_row, chance))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_in_a_row_are_counted_and_a_long_run_starts_anew() {
        let mut restarts = Restarts::new(config::Restart {
            most: 3,
            ..config::Restart::default()
        });
        let short = Duration::from_secs(1);
        assert_eq!(restarts.after(short, 1.0), Next::Again(Duration::from_secs(1)));
        assert_eq!(restarts.after(short, 1.0), Next::Again(Duration::from_secs(2)));
        assert_eq!(
            restarts.after(Duration::from_secs(601), 1.0),
            Next::Again(Duration::from_secs(1))
        );
        assert_eq!(restarts.after(short, 0.0), Next::Again(Duration::ZERO));
        assert_eq!(restarts.after(short, 0.5), Next::GiveUp);
    }
}
