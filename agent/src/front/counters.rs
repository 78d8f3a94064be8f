//! What the front counts. Whoever draws the node's picture reads it.

use std::sync::atomic::{AtomicU32, AtomicU64};

/// Counters of one front.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests that the local workload works on.
    pub in_flight: AtomicU32,
    /// Requests that came.
    pub requests: AtomicU64,
    /// Requests that were passed to the local workload.
    pub local: AtomicU64,
    /// Requests that were passed to a peer.
    pub passed: AtomicU64,
    /// Tries after the first one.
    pub retries: AtomicU64,
    /// Requests that were refused (503): nobody could take them, or a limit was reached.
    pub refused: AtomicU64,
    /// Requests that failed (502, 504) after they were sent.
    pub failed: AtomicU64,
    /// Connections that were closed because their client was too slow or too many came.
    pub closed: AtomicU64,
}
