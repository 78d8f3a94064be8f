//! How long a gate observes before it trusts: the times behind its rules, each with the observation that it comes from.
//!
//! The observations are recordings of real workloads; the numbers in the comments are seconds after the apply in them.

use std::time::Duration;

/// Times behind the rules. The default is right for ordinary workloads; a test may shorten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a container with neither a readiness nor a startup probe must have run before it counts as ready. Only
    /// time distinguishes such a container from one that is about to crash: runs of 0.2, 0.7 and 6.1 s before the first
    /// crash were observed, all of them "Ready".
    pub unprobed_uptime: Duration,
    /// How long every container must have run before an apply trusts it for good, with or without probes. One with a
    /// passing readiness probe was observed to crash after 6.1 s each time.
    pub steady_uptime: Duration,
    /// How long after the second crash in a row a container without a message counts as a crash loop, although it has
    /// not crashed a third time. The kubelet's first back-off is 10 s, and one that recovered came back after 11.7 s.
    pub crash_grace: Duration,
    /// The longest time that a restarted container must run to be trusted (it must outlive its longest failed run).
    pub restarted_uptime_limit: Duration,
    /// How long a pod may be unschedulable. That is normal for a moment in healthy runs.
    pub schedule_grace: Duration,
    /// The same if the pod waits for claims that are being bound: the controller looks for volumes every 10 to 15 s,
    /// and a volume that was created after 5.1 s was bound after 10.4 s.
    pub claim_grace: Duration,
    /// How long an event may report something missing (a volume source, a refused pod) before it counts: the kubelet
    /// retries after 0.5, 1 and 2 s.
    pub event_grace: Duration,
    /// After how long a custom resource without a status counts as one that no controller reports on. A controller that
    /// wrote its first status after 8.0 s was observed.
    pub status_grace: Duration,
    /// How long after the first container of a Job's pod has ended the others may keep running before that is
    /// mentioned.
    pub companion_grace: Duration,
    /// How long after a failed liveness probe a container is not trusted.
    pub liveness_quiet: Duration,
    /// Possible error of a node's clock: times in a status count only beyond it.
    pub clock_skew: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            unprobed_uptime: seconds(7),
            steady_uptime: seconds(7),
            crash_grace: seconds(12),
            restarted_uptime_limit: seconds(60),
            schedule_grace: seconds(3),
            claim_grace: seconds(11),
            event_grace: seconds(2),
            status_grace: seconds(10),
            companion_grace: seconds(5),
            liveness_quiet: seconds(10),
            clock_skew: seconds(60),
        }
    }
}
