//! The plan → effects, in the order of the graph, each gate by watch. The outcome is true on every exit.

mod gates;
mod outcome;

pub use gates::{Gates, Passage, Stuck, Tell, Until};
pub use outcome::{Fate, Outcome, Progress};

use crate::cluster::Cluster;
use crate::diagnostic::Diagnostic;
use crate::document::ProtectedKind;
use crate::plan::Plan;
use crate::record::{Owner, StackId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How an apply or destroy runs.
#[derive(Clone)]
pub struct Run {
    /// Cancelled to stop: nothing new starts, waits end at once, requests in flight get a short grace.
    pub cancel: CancellationToken,
    /// Told about every step, from any thread. Must not block.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
    /// Requests in flight at most.
    pub in_flight: usize,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            cancel: CancellationToken::new(),
            progress: Arc::new(|_| {}),
            in_flight: 32,
        }
    }
}

/// Executes a plan. Never fails as a whole: what happened is in the outcome, errors among its diagnostics.
pub async fn apply(cluster: Arc<dyn Cluster>, plan: &Plan, run: &Run) -> Outcome {
    let _ = (cluster, plan, run);
    Outcome::refused(Diagnostic::error("applying is not built yet"))
}

/// What a destroy may delete, and how long it waits.
#[derive(Debug, Clone)]
pub struct Destroy {
    /// Protected kinds that go as well. Claims of StatefulSets' templates count as PersistentVolumeClaims. The stack's own
    /// Namespace goes without being named here, unless something that is not the stack's lives in it.
    pub delete_protected: BTreeSet<ProtectedKind>,
    /// The end of the wait.
    pub timeout: Duration,
}

/// Deletes everything that the record names, dependants first, and then the record. A stack without a record is destroyed
/// already.
pub async fn destroy(cluster: Arc<dyn Cluster>, stack: &StackId, owner: &Owner, terms: &Destroy, run: &Run) -> Outcome {
    let _ = (cluster, stack, owner, terms, run);
    Outcome::refused(Diagnostic::error("destroying is not built yet"))
}
