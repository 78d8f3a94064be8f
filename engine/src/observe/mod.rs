//! What is there: the record, the live objects, what the server would do. Reads only.
//!
//! A stack is read with one list per kind, by the ApplySet label, and one read of the record. An object whose owned fields
//! still have the recorded hash needs nothing more.

use crate::cluster::Cluster;
use crate::desired::Desired;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::object::ObjectKey;
use crate::record::{Owner, StackId};
use std::collections::BTreeMap;

/// Which changes are tried on the server before they are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRun {
    /// All: for a plan that a person reads. Finds conflicts, immutable fields and invalid manifests.
    Changes,
    /// Only where the decision needs it: drift, and kinds that may be replaced. For a plan that is applied at once.
    Decisions,
}

/// What was seen of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// False when no cluster was asked; the plan then says what would be made on an empty one.
    pub(crate) reached: bool,
}

impl Observation {
    /// No cluster was asked.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Who owns the stack now; None when there is no record.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        None
    }
}

/// Looks at the cluster for one stack.
///
/// # Errors
/// When the cluster cannot be reached or refuses, with what it said. What is wrong with single objects is not an error here but
/// a diagnostic of the plan.
pub async fn observe(cluster: &dyn Cluster, desired: &Desired, dry_run: DryRun) -> Result<Observation, Diagnostics> {
    let _ = (cluster, desired, dry_run);
    Err(Diagnostic::error("observing is not built yet").into())
}

/// A stack as its record and the cluster have it, without its documents. What a Terraform read and an import need.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// Who drives it.
    pub owner: Owner,
    /// For each object that is there: `prior` verbatim when nothing of ours changed, otherwise the live values at our fields,
    /// secrets masked. Objects that are gone are absent.
    pub objects: BTreeMap<ObjectKey, String>,
    /// Objects whose owned fields changed, and objects that are gone.
    pub drifted: Vec<ObjectKey>,
    /// Whether the last apply ended with everything ready.
    pub ready: bool,
    /// Status of each component at the end of the last apply.
    pub components: BTreeMap<String, String>,
}

/// Reads a stack from its record: one list per kind. None when there is no record.
///
/// `prior` is what the front end stored for each object (canonical JSON, as `Desired::canonical` makes it); empty for an import.
///
/// # Errors
/// When the cluster cannot be reached or refuses, or the record cannot be read.
pub async fn refresh(
    cluster: &dyn Cluster,
    stack: &StackId,
    prior: &BTreeMap<ObjectKey, String>,
) -> Result<Option<Refresh>, Diagnostics> {
    let _ = (cluster, stack, prior);
    Err(Diagnostic::error("refreshing is not built yet").into())
}
