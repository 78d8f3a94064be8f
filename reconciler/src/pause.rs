//! Jittered, growing pauses between attempts, and the interval at which a branch is polled, which grows while there is
//! no answer.

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

/// When something that is polled is due next.
#[derive(Debug)]
pub(crate) struct Rhythm {
    interval: Duration,
    failures: u32,
}

impl Rhythm {
    /// Once in an interval, as long as there is an answer.
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, failures: 0 }
    }

    /// There was an answer.
    pub(crate) fn reached(&mut self) {
        self.failures = 0;
    }

    /// There was none.
    pub(crate) fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// How long to wait now: the interval, a tenth more or less so that sources do not all ask at once; after failures twice as
    /// long for each, up to five minutes or the interval if that is longer.
    pub(crate) fn next(&self) -> Duration {
        let mut rng = rand::rng();
        if self.failures == 0 {
            return self.interval.mul_f64(rng.random_range(0.9..1.1));
        }
        let full = self.interval.saturating_mul(1 << self.failures.min(9));
        full.min(LONGEST.max(self.interval)).mul_f64(rng.random_range(0.5..1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_branch_that_does_not_answer_is_asked_ever_more_rarely_and_then_as_before() {
        let interval = Duration::from_secs(30);
        let mut rhythm = Rhythm::new(interval);
        let is_usual = |span: Duration| span >= interval.mul_f64(0.9) && span <= interval.mul_f64(1.1);
        assert!((0..100).all(|_| is_usual(rhythm.next())));
        let mut longest = Duration::ZERO;
        for failures in 1..40_u32 {
            rhythm.failed();
            let span = rhythm.next();
            let full = interval.saturating_mul(1 << failures.min(9)).min(LONGEST);
            assert!(span >= full / 2 && span <= full, "{failures}: {span:?}");
            longest = longest.max(span);
        }
        assert!(longest > LONGEST / 2);
        rhythm.reached();
        assert!(is_usual(rhythm.next()));
        let mut rare = Rhythm::new(LONGEST * 2);
        rare.failed();
        assert!(rare.next() <= LONGEST * 2);
    }

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
