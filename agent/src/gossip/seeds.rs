//! When to query EC2 for peers. Pure; randomness is an argument.
//!
//! EC2 answers twenty DescribeInstances a second for a whole account and region (EC2 developer guide, "Request
//! throttling"). A quarter of that is the pool's share, so N nodes query on average every max(30 s, N/5 s). A wait is
//! spread over twice its mean, so that nodes that were launched together do not query together. When a wait ends, it is
//! checked against the current size of the cluster, which a node does not know yet after its first query.
//!
//! The first wait is spread over one and a half times the interval: a thousand nodes that do not know each other yet
//! then use up the rate and no more than half of the burst, and the last of them is known everywhere within two
//! intervals. A node that others found before its first query skips that query.

use std::time::Duration;

/// Requests per second of all nodes of a cluster together.
const SHARE: u32 = 5;

/// Longest mean wait after refusals.
const LONGEST: Duration = Duration::from_secs(600);

/// The history of queries.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    asked: bool,
    failures: u32,
    /// How many nodes EC2 listed last: nodes that gossip does not reach share the rate too.
    listed: usize,
    chance: f64,
    waited: Duration,
}

/// What to do when a wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Query.
    Ask,
    /// Keep waiting: the cluster has grown, or others found this node before its first query.
    Wait(Duration),
}

impl Schedule {
    /// The wait before the next query, for this cluster size.
    pub fn wait(&mut self, interval: Duration, members: usize, chance: f64) -> Duration {
        self.chance = chance.clamp(0.0, 1.0);
        self.waited = self.whole(interval, members);
        self.waited
    }

    fn whole(&self, interval: Duration, members: usize) -> Duration {
        let size = u32::try_from(members.max(self.listed)).unwrap_or(u32::MAX);
        let mean = interval.max(Duration::from_secs(u64::from(size / SHARE)));
        let mean = mean.saturating_mul(1 << self.failures.min(5)).min(LONGEST.max(mean));
        let spread = if self.asked { 2.0 } else { 1.5 };
        mean.mul_f64(spread * self.chance)
    }

    /// Whether to query, now that the wait is over, given the current cluster size, which the node may not have known
    /// when the wait began. `chance` is for the next wait.
    pub fn next(&mut self, interval: Duration, members: usize, chance: f64) -> Next {
        if !self.asked {
            self.asked = true;
            return match members {
                0 => Next::Ask,
                _ => Next::Wait(self.wait(interval, members, chance)),
            };
        }
        let whole = self.whole(interval, members);
        let left = whole.saturating_sub(self.waited);
        if left.is_zero() {
            return Next::Ask;
        }
        self.waited = whole;
        Next::Wait(left)
    }

    /// Records an answer, and how many nodes it lists.
    pub fn answered(&mut self, listed: usize) {
        self.failures = 0;
        self.listed = listed;
    }

    /// Records a query without an answer.
    pub fn refused(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Duration = Duration::from_secs(30);

    #[test]
    fn who_was_found_before_its_first_question_waits_for_the_next() {
        let mut schedule = Schedule::default();
        assert_eq!(schedule.wait(HALF, 0, 1.0).as_secs(), 45);
        assert_eq!(
            schedule.next(HALF, 999, 0.25),
            Next::Wait(Duration::from_millis(99_500))
        );
        assert_eq!(schedule.next(HALF, 999, 0.25), Next::Ask);
    }

    #[test]
    fn a_wait_in_a_cluster_that_grew_is_as_long_as_if_that_had_been_known() {
        let mut schedule = Schedule::default();
        let _ = schedule.wait(HALF, 0, 0.5);
        assert_eq!(schedule.next(HALF, 0, 0.5), Next::Ask);
        assert_eq!(schedule.wait(HALF, 0, 0.5).as_secs(), 30);
        assert_eq!(schedule.next(HALF, 500, 0.9), Next::Wait(Duration::from_secs(70)));
        assert_eq!(schedule.next(HALF, 1_000, 0.9), Next::Wait(Duration::from_secs(100)));
        assert_eq!(schedule.next(HALF, 990, 0.9), Next::Ask, "it may shrink");
        // EC2 also lists nodes that gossip does not reach.
        schedule.answered(1_000);
        assert_eq!(schedule.wait(HALF, 3, 0.5).as_secs(), 200);
    }

    #[test]
    fn the_mean_grows_with_the_cluster_and_with_refusals() {
        let mean = |s: &mut Schedule, n| s.wait(HALF, n, 0.5).as_secs();
        let mut schedule = Schedule::default();
        assert_eq!(schedule.next(HALF, 0, 0.0), Next::Ask, "nobody found it");
        schedule.answered(0);
        assert_eq!(
            [0, 100, 150, 600, 1_000].map(|n| mean(&mut schedule, n)),
            [30, 30, 30, 120, 200]
        );
        assert_eq!(
            (schedule.wait(HALF, 0, 0.0), schedule.wait(HALF, 0, 1.0)),
            (Duration::ZERO, Duration::from_secs(60))
        );
        schedule.refused();
        schedule.refused();
        assert_eq!(mean(&mut schedule, 10), 120);
        for _ in 0..10 {
            schedule.refused();
        }
        assert_eq!((mean(&mut schedule, 10), mean(&mut schedule, 10_000)), (600, 2_000));
    }
}
