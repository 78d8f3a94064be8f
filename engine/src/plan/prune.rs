//! Decides what happens to objects of the inventory that are no longer wanted.
//!
//! Only what the record owns by UID is pruned. Objects stay if they hold data, if somebody asked to keep them, or if
//! they are no longer the stack's.

use super::{Action, Change};
use crate::desired::Desired;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::ProtectedKind;
use crate::object::ObjectKey;
use crate::observe::{Observation, uid};
use crate::record::{Entry, PART_OF};
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn prune(desired: &Desired, seen: &Observation, problems: &mut Diagnostics) -> Vec<Change> {
    let Some(stored) = &seen.stored else { return Vec::new() };
    let wanted: BTreeSet<&ObjectKey> = desired.objects.iter().map(|o| &o.key).collect();
    let mut gone: Vec<&Entry> = stored
        .record
        .entries
        .values()
        .filter(|e| !wanted.contains(&e.key))
        .collect();
    // Dependants first, as in a destroy.
    gone.sort_by(|a, b| b.level.cmp(&a.level).then_with(|| a.key.cmp(&b.key)));
    let changes: Vec<Change> = gone
        .into_iter()
        .map(|entry| fate(desired, seen, entry, problems))
        .collect();
    let pruned = changes.iter().filter(|c| c.action == Action::Prune).count();
    if pruned > 0 && desired.objects.iter().all(|o| o.implicit) {
        problems.push(
            Diagnostic::error(format!(
                "the source renders nothing, and {pruned} objects would be pruned"
            ))
            .detail("an empty source is most often a mistake; to remove the stack, destroy it"),
        );
    }
    changes
}

fn fate(desired: &Desired, seen: &Observation, entry: &Entry, problems: &mut Diagnostics) -> Change {
    let change = |action: Action, reason: &str| Change {
        key: entry.key.clone(),
        component: entry.component.clone(),
        action,
        reason: reason.to_owned(),
        fields: Vec::new(),
        drift: false,
    };
    let Some(live) = seen.live.get(&entry.key) else {
        return change(Action::Release, "it is not rendered any more, and gone already");
    };
    let label = live
        .pointer("/metadata/labels")
        .and_then(|l| l.get(PART_OF))
        .and_then(Value::as_str);
    let ours = label == Some(&desired.stack.apply_set());
    match (&entry.uid, uid(live)) {
        (Some(recorded), Some(live)) if recorded == live => {}
        (None, Some(_)) if ours => {}
        _ => return change(Action::Release, "another object has taken its name"),
    }
    if label.is_some() && !ours {
        return change(Action::Release, "it belongs to another set now");
    }
    if !desired.policy.prune {
        return change(Action::Unchanged, "it is not rendered any more; prune is off");
    }
    let protected = ProtectedKind::of(&entry.key.group, &entry.key.kind);
    if let Some(kind) = protected.filter(|k| !desired.policy.delete_protected.contains(k)) {
        problems.push(
            Diagnostic::warning(format!("{} is not rendered any more and stays", entry.key.human()))
                .detail(format!(
                    "deleting it would delete what it holds; it leaves the stack. Delete it by hand, or list {} under \
                     deleteProtected",
                    kind.kind()
                ))
                .object(entry.key.clone()),
        );
        return change(Action::Release, "its kind is protected");
    }
    match keeps(live) {
        Some(annotation) => change(Action::Release, &format!("its annotation {annotation} keeps it")),
        None => change(Action::Prune, "it is not rendered any more"),
    }
}

/// The annotation by which an object asks not to be pruned: ours, and those of other tools, which mean the same.
#[must_use]
pub fn keeps(live: &Value) -> Option<&'static str> {
    let annotations = live.pointer("/metadata/annotations")?;
    let value = |name: &str| annotations.get(name).and_then(Value::as_str).unwrap_or_default();
    for (name, keeping) in [
        ("myelin.dev/prune", "disabled"),
        ("kustomize.toolkit.fluxcd.io/prune", "disabled"),
        ("client.lifecycle.config.k8s.io/deletion", "detach"),
        ("cli-utils.sigs.k8s.io/on-remove", "keep"),
        ("helm.sh/resource-policy", "keep"),
    ] {
        if value(name) == keeping {
            return Some(name);
        }
    }
    let argo = "argocd.argoproj.io/sync-options";
    value(argo)
        .split(',')
        .any(|option| option.trim() == "Prune=false")
        .then_some(argo)
}
