//! The plan: what would change, object by object and field by field, why, and in which order.
//!
//! A pure function of [`Desired`](crate::desired::Desired) and [`Observation`](crate::observe::Observation), and the
//! only way to change anything: `apply` takes a plan and nothing else. `decide` handles each wanted object, `prune`
//! those that are no longer wanted, `diff` computes fields, `text` prints the plan, and `between` plans from one
//! revision to another without a cluster.

mod asks;
mod between;
mod decide;
mod diff;
mod prune;
mod text;
mod tokens;

pub(crate) use asks::checks;
pub use between::between;
pub(crate) use decide::{WAR_REVERTS, WAR_SECONDS, may_take, stands_beside};
pub use prune::keeps;
pub(crate) use tokens::{interrupted, terms, tied};

use crate::desired::Desired;
use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use crate::mask::hex;
use crate::object::ObjectKey;
use crate::observe::{Observation, uid};
use crate::record::{Owner, desired_hash};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What happens to one object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// It does not exist and is created.
    Create,
    /// It exists, no record names it, and the policy allows taking it over.
    Adopt,
    /// It exists and changes.
    Update,
    /// An immutable field must change: the object is deleted and recreated.
    Replace,
    /// It is as it should be. No request is sent.
    Unchanged,
    /// It is no longer rendered, and is deleted after everything new is healthy.
    Prune,
    /// It is no longer rendered, and stays in the cluster without being recorded.
    Release,
    /// What it will be is not known yet.
    Unknown,
}

impl Action {
    /// The action in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Adopt => "adopt",
            Self::Update => "update",
            Self::Replace => "replace",
            Self::Unchanged => "unchanged",
            Self::Prune => "prune",
            Self::Release => "release",
            Self::Unknown => "unknown",
        }
    }
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
    /// Where the value comes from, if not from where the object comes from: a patch, a generator, the stack itself.
    pub origin: Option<FilePlace>,
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
    /// Whether the change reverts somebody else's change to our fields; for an unchanged object, whether such a change
    /// is left alone.
    pub drift: bool,
}

/// What would change. Made by [`plan`]; executed by [`apply`](crate::apply::apply).
#[derive(Debug, Clone)]
pub struct Plan {
    /// Who applies it.
    pub owner: Owner,
    /// Every object of the stack and of its record, in the order of apply, including unchanged ones.
    pub changes: Vec<Change>,
    /// Components that are verified although none of their objects changes, because their `verify` changed.
    pub asks: Vec<String>,
    /// Conflicts, immutable fields, missing kinds, refusals. A plan with an error cannot be applied.
    pub diagnostics: Diagnostics,
    /// Identity of the plan: the same inputs give the same text in every front end.
    pub hash: String,
    pub(crate) desired: Arc<Desired>,
    pub(crate) observation: Arc<Observation>,
}

impl Plan {
    /// Whether there is nothing to do: no object to write, and no component to verify by new checks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asks.is_empty() && self.changes.iter().all(|c| c.action == Action::Unchanged)
    }

    /// The change of one object.
    #[must_use]
    pub fn change(&self, key: &ObjectKey) -> Option<&Change> {
        self.changes.iter().find(|c| c.key == *key)
    }

    /// The object as it was seen in the cluster.
    #[must_use]
    pub fn live(&self, key: &ObjectKey) -> Option<&serde_json::Value> {
        self.observation.live.get(key)
    }
}

/// Decides what would change. With [`Observation::none`] everything is created.
#[must_use]
pub fn plan(desired: Arc<Desired>, observation: Arc<Observation>, owner: Owner) -> Plan {
    let mut problems = Diagnostics::new();
    if let Some(current) = observation.owner().filter(|o| **o != owner) {
        problems.push(
            Diagnostic::error(format!(
                "{} is owned by {current}, not by {owner}",
                desired.stack.title()
            ))
            .detail("two owners would undo each other's work; hand the stack over first, or leave it to its owner"),
        );
    }
    if !observation.absent.is_empty() {
        problems.push(
            Diagnostic::warning(format!(
                "stack {} requires what is not there: {}",
                desired.stack,
                observation.absent.join(", ")
            ))
            .detail("an apply waits for it before it makes what needs it; it is never made or changed by the stack"),
        );
    }
    let mut changes: Vec<Change> = desired
        .objects
        .iter()
        .map(|object| decide::decide(&desired, &observation, object, &mut problems))
        .collect();
    changes.extend(tokens::changes(&desired, &observation, &mut problems));
    changes.extend(prune::prune(&desired, &observation, &mut problems));
    let asks = asks::asks(&desired, &observation);
    let hash = hash(&desired, &observation, &changes, &asks);
    Plan {
        owner,
        changes,
        asks,
        diagnostics: problems,
        hash,
        desired,
        observation,
    }
}

/// Hashes what the plan will do, to which objects in their current state. Texts for users and the owner are not
/// included.
fn hash(desired: &Desired, seen: &Observation, changes: &[Change], asks: &[String]) -> String {
    let key = crate::observe::mask_key(desired, seen);
    let bodies: BTreeMap<&ObjectKey, String> = desired
        .objects
        .iter()
        .map(|o| (&o.key, desired_hash(&key, &o.value)))
        .chain(desired.tokens.iter().map(|t| {
            let text = crate::desired::token_text(&t.token);
            (&t.key, desired_hash(&key, &text.into()))
        }))
        .collect();
    let all: Vec<_> = changes
        .iter()
        .map(|c| {
            let wanted = seen.wanted.get(&c.key).map(|w| &w.hash).or_else(|| bodies.get(&c.key));
            json!([
                c.key,
                c.component,
                c.action.word(),
                wanted,
                seen.live.get(&c.key).and_then(uid)
            ])
        })
        .collect();
    let terms: Vec<_> = desired.components.iter().map(|(n, t)| json!([n, t.after])).collect();
    let text = json!(["myelin plan v1", desired.stack, terms, desired.policy.prune, all, asks]).to_string();
    hex(&Sha256::digest(text.as_bytes())[..16])
}

#[cfg(test)]
mod tests;
