//! Counters of the front, read for the node's metrics.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// Counters of one front.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that the local workload is working on.
    pub in_flight: AtomicU32,
    /// Requests received.
    pub requests: AtomicU64,
    /// Requests passed to the local workload.
    pub local: AtomicU64,
    /// Requests passed to a peer.
    pub passed: AtomicU64,
    /// Attempts after the first.
    pub retries: AtomicU64,
    /// Requests refused (503): no target could take them, or a limit was reached.
    pub refused: AtomicU64,
    /// Requests that failed (502, 504) after they were sent.
    pub failed: AtomicU64,
    /// Connections closed because their client was too slow or there were too many.
    pub closed: AtomicU64,
}
