//! The plan: what would change, object by object and field by field, why, and in which order.
//!
//! A pure function of [`Desired`](crate::desired::Desired) and [`Observation`](crate::observe::Observation). It is the only
//! way to change anything: `apply` takes a plan and nothing else.

use crate::desired::Desired;
use crate::diagnostic::Diagnostics;
use crate::object::ObjectKey;
use crate::observe::Observation;
use crate::record::Owner;
use std::sync::Arc;

/// What happens to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It does not exist and is made.
    Create,
    /// It exists, no record names it, and the policy allows taking it over.
    Adopt,
    /// It exists and changes.
    Update,
    /// A field that cannot change has to: it is deleted and made again.
    Replace,
    /// It is as it should be. No request is sent.
    Unchanged,
    /// It is not rendered any more and is deleted after everything new is healthy.
    Prune,
    /// It is not rendered any more and stays in the cluster, out of the record.
    Release,
    /// What it will be is not known yet.
    Unknown,
}

/// One field that changes. Texts are JSON, secrets masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldChange {
    /// Path as people write it: `spec.template.spec.containers[name=web].image`.
    pub path: String,
    /// Before; None when it was not there.
    pub before: Option<String>,
    /// After; None when it will not be there.
    pub after: Option<String>,
}

/// What happens to one object, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Which object.
    pub key: ObjectKey,
    /// Its component; None for the base.
    pub component: Option<String>,
    /// What happens.
    pub action: Action,
    /// Why, in a few words.
    pub reason: String,
    /// Field by field, for updates, adoptions and replacements.
    pub fields: Vec<FieldChange>,
}

/// What would change. Made by [`plan`]; executed by [`apply`](crate::apply::apply).
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who applies it.
    pub owner: Owner,
    /// Every object of the stack and of its record, in the order of apply; unchanged ones included.
    pub changes: Vec<Change>,
    /// Conflicts, immutable fields, missing kinds, refusals. With an error among them the plan cannot be applied.
    pub diagnostics: Diagnostics,
    /// Identity of the plan: the same inputs give the same text in every front end.
    pub hash: String,
    pub(crate) desired: Arc<Desired>,
    pub(crate) observation: Arc<Observation>,
}

impl Plan {
    /// Whether applying it sends no write for any object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.iter().all(|c| c.action == Action::Unchanged)
    }
}

/// Decides what would change. With [`Observation::none`] everything is made.
#[must_use]
pub fn plan(desired: Arc<Desired>, observation: Arc<Observation>, owner: Owner) -> Plan {
    Plan {
        owner,
        changes: Vec::new(),
        diagnostics: crate::diagnostic::Diagnostic::error("planning is not built yet").into(),
        hash: String::new(),
        desired,
        observation,
    }
}
