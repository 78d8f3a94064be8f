//! When EC2 is asked for peers. Pure; chance is an argument.
//!
//! EC2 answers twenty DescribeInstances a second for a whole account and region (EC2 developer guide, "Request throttling"). A quarter
//! of that is the pool's share, so N nodes ask on average every max(30 s, N/5 s). A wait is spread over twice its mean: nodes that
//! were launched together never ask together. The first wait is spread over one and a half: then a thousand that do not know of each
//! other yet use up the rate and no more than half of the burst, and news of the last of them has reached everybody within two
//! intervals. Who was found by others before its first question does not ask it.

use std::time::Duration;

/// Requests a second that all nodes of a cluster together allow themselves.
const SHARE: u32 = 5;

/// Longest mean wait after refusals.
const LONGEST: Duration = Duration::from_secs(600);

/// How often it was asked, and how that went.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    asked: bool,
    failures: u32,
}

impl Schedule {
    /// The wait before the next question, in a cluster of so many.
    #[must_use]
    pub fn wait(&self, interval: Duration, members: usize, chance: f64) -> Duration {
        let size = u32::try_from(members).unwrap_or(u32::MAX);
        let mean = interval.max(Duration::from_secs(u64::from(size / SHARE)));
        let mean = mean.saturating_mul(1 << self.failures.min(5)).min(LONGEST.max(mean));
        let spread = if self.asked { 2.0 } else { 1.5 };
        mean.mul_f64(spread * chance.clamp(0.0, 1.0))
    }

    /// Whether to ask, now that the wait is over.
    pub fn is_due(&mut self, members: usize) -> bool {
        let found_by_others = !self.asked && members > 0;
        self.asked = true;
        !found_by_others
    }

    /// Notes an answer.
    pub fn answered(&mut self) {
        self.failures = 0;
    }

    /// Notes a question that was not answered.
    pub fn refused(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_found_before_its_first_question_waits_for_the_next() {
        let mut schedule = Schedule::default();
        let longest = |s: &Schedule| s.wait(Duration::from_secs(30), 0, 1.0).as_secs();
        assert_eq!(longest(&schedule), 45);
        assert!(!schedule.is_due(999));
        assert_eq!(longest(&schedule), 60);
        assert!(schedule.is_due(999));
    }

    #[test]
    fn the_mean_grows_with_the_cluster_and_with_refusals() {
        let half = Duration::from_secs(30);
        let mean = |s: &Schedule, n| s.wait(half, n, 0.5).as_secs();
        let mut schedule = Schedule::default();
        assert!(schedule.is_due(0), "nobody found it");
        schedule.answered();
        assert_eq!(
            [0, 100, 150, 600, 1_000].map(|n| mean(&schedule, n)),
            [30, 30, 30, 120, 200]
        );
        assert_eq!(
            (schedule.wait(half, 0, 0.0), schedule.wait(half, 0, 1.0)),
            (Duration::ZERO, Duration::from_secs(60))
        );
        schedule.refused();
        schedule.refused();
        assert_eq!(mean(&schedule, 10), 120);
        for _ in 0..10 {
            schedule.refused();
        }
        assert_eq!((mean(&schedule, 10), mean(&schedule, 10_000)), (600, 2_000));
    }
}
