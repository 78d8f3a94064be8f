//! Pauses between attempts: longer each time, never exactly as long as another's.

use rand::RngExt as _;
use std::time::Duration;

/// Grows from one second to five minutes.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    attempts: u32,
}

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

impl Pause {
    /// Starts anew after a success.
    pub(crate) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// How long to wait now: between half and all of what the number of failures says.
    pub(crate) fn next(&mut self) -> Duration {
        let full = FIRST.saturating_mul(1 << self.attempts.min(9)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        full.mul_f64(rand::rng().random_range(0.5..1.0))
    }

    /// Waits.
    pub(crate) async fn rest(&mut self) {
        tokio::time::sleep(self.next()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_anew() {
        let mut pause = Pause::default();
        let spans: Vec<Duration> = (0..40).map(|_| pause.next()).collect();
        assert!(spans[0] <= FIRST && spans[0] >= FIRST / 2);
        assert!(spans[39] <= LONGEST && spans[39] >= LONGEST / 2);
        pause.reset();
        assert!(pause.next() <= FIRST);
    }
}
