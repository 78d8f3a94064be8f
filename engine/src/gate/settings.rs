//! How long a gate looks before it believes: the times behind its rules, each with the observation that it comes from.
//!
//! The observations are recordings of real workloads; the numbers in the comments are seconds after the apply in them.

use std::time::Duration;

/// Times behind the rules. The default is right for ordinary workloads; a test may shorten it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// How long a container with neither a readiness nor a startup probe must have run before it counts as ready. Nothing but
    /// time can tell such a container from one that is about to crash: seen are runs of 0.2, 0.7 and 6.1 s before the first
    /// crash, all of them "Ready".
    pub unprobed_uptime: Duration,
    /// How long every container must have run before an apply believes it for good, probes or not. One with a passing
    /// readiness probe that crashed after 6.1 s each time was seen.
    pub steady_uptime: Duration,
    /// How long after the second crash in a row a container that says nothing is called a crash loop although it has not
    /// crashed a third time. The kubelet's first back-off is 10 s, and one that recovered came back after 11.7 s.
    pub crash_grace: Duration,
    /// The longest time that a restarted container has to prove itself (it has to outlive its longest failed run).
    pub restarted_uptime_limit: Duration,
    /// How long no node may take a pod. Ordinary for a moment in healthy runs.
    pub schedule_grace: Duration,
    /// The same where the pod waits for claims that are being bound: the controller looks for volumes every 10 to 15 s, and a
    /// volume that was made after 5.1 s was bound after 10.4 s.
    pub claim_grace: Duration,
    /// How long an event may tell of something missing (a volume source, a refused pod) before it counts: the kubelet tries
    /// again after 0.5, 1 and 2 s.
    pub event_grace: Duration,
    /// How long a custom resource without a status may be before it counts as one that nobody reports on. A controller that
    /// wrote its first status after 8.0 s was seen.
    pub status_grace: Duration,
    /// How long after the first container of a Job's pod has ended the others may run on before it is worth a word.
    pub companion_grace: Duration,
    /// How long after a failed liveness probe a container is not believed.
    pub liveness_quiet: Duration,
    /// By how much a node's clock may be off: what a status says of times counts only beyond it.
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
