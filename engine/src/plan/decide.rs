//! Decides what happens to one wanted object.

use super::{Action, Change, FieldChange, diff};
use crate::cluster::ClusterError;
use crate::desired::{Desired, DesiredObject, redact};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Adopt, Conflicts, Drift};
use crate::object::ObjectKey;
use crate::observe::{
    Observation, Trial, attest, immutable_fields, is_deleting, leftover_defaults, mask_key, may_replace, uid, wanted,
};
use crate::record::PART_OF;
use serde_json::Value;

/// This many reverts of the same object within [`WAR_SECONDS`] are a field war: it is reported, and the reverts stop.
pub(crate) const WAR_REVERTS: usize = 5;

/// How long a revert is remembered.
pub(crate) const WAR_SECONDS: i64 = 3600;

/// Who a live object belongs to.
enum Standing {
    /// The record or the label says that it is the stack's.
    Ours(&'static str),
    /// It belongs to nobody, and the policy allows adopting it.
    Adoptable,
    /// It must not be touched.
    Refused(Diagnostic),
}

pub(super) fn decide(
    desired: &Desired,
    seen: &Observation,
    object: &DesiredObject,
    problems: &mut Diagnostics,
) -> Change {
    let mut change = Change {
        key: object.key.clone(),
        component: object.component.clone(),
        action: Action::Unchanged,
        reason: String::new(),
        fields: Vec::new(),
        drift: false,
    };
    let set = |change: &mut Change, action: Action, reason: &str| {
        change.action = action;
        reason.clone_into(&mut change.reason);
    };
    if seen.reached {
        kind_is_served(desired, seen, object, problems);
    }
    let Some(live) = seen.live.get(&object.key) else {
        if !object.unknown.is_empty() {
            set(&mut change, Action::Unknown, "some of it is known only at apply");
        } else {
            new(desired, seen, object, &mut change, problems);
        }
        return change;
    };
    if object.implicit && !belongs(desired, seen, object, live) {
        if is_deleting(live) {
            problems.push(being_deleted(object, live));
            set(&mut change, Action::Create, "the old one is still being deleted");
        } else {
            set(&mut change, Action::Unchanged, "it exists, and the stack only uses it");
        }
        return change;
    }
    let standing = standing(desired, seen, object, live);
    if let Standing::Refused(why) = standing {
        problems.push(why);
        set(&mut change, Action::Adopt, "refused");
        return change;
    }
    if !object.unknown.is_empty() {
        set(&mut change, Action::Unknown, "some of it is known only at apply");
        return change;
    }
    if is_deleting(live) {
        if object.key.kind == "Namespace" {
            problems.push(being_deleted(object, live));
        }
        set(&mut change, Action::Create, "the old one is still being deleted");
        return change;
    }
    if seen.is_attested(&object.key) {
        return change;
    }
    let same = seen
        .entry(&object.key)
        .zip(seen.wanted.get(&object.key))
        .is_some_and(|(entry, wanted)| entry.desired.as_ref() == Some(&wanted.hash) && entry.attested.is_some());
    change.drift = same;
    match standing {
        Standing::Adoptable => set(&mut change, Action::Adopt, "it exists, and nobody's record names it"),
        Standing::Ours(why) => set(
            &mut change,
            Action::Update,
            if same { "somebody changed it" } else { why },
        ),
        Standing::Refused(_) => {}
    }
    match seen.trials.get(&object.key) {
        Some(trial) => tried(desired, seen, object, live, trial, &mut change, problems),
        None => change.fields = shown(desired, seen, object, live, None),
    }
    only_reported(desired, object, &mut change, problems);
    at_war(seen, object, &mut change, problems);
    change
}

fn new(desired: &Desired, seen: &Observation, object: &DesiredObject, change: &mut Change, problems: &mut Diagnostics) {
    if has_done_its_work(desired, seen, object) {
        change.reason = "it has done its work and removed itself".to_owned();
        return;
    }
    change.action = Action::Create;
    change.reason = match seen.entry(&object.key) {
        _ if seen.leaving.contains(&object.key.namespace) => "its namespace is being deleted",
        Some(entry) if entry.uid.is_some() => "it is gone from the cluster",
        Some(_) => "its making was not finished",
        None => "it is new",
    }
    .to_owned();
    // Only errors of the manifest itself; what it refers to may be created by the same apply.
    if let Some(Err(e)) = seen.trials.get(&object.key).map(|t| &t.result)
        && matches!(
            e,
            ClusterError::Refused {
                code: 400 | 422 | 500,
                ..
            }
        )
        && !e.is_transient()
    {
        problems.push(refused(object, e));
    }
}

/// A Job with a time to live that was complete when everything was ready, and whose manifest has not changed since.
fn has_done_its_work(desired: &Desired, seen: &Observation, object: &DesiredObject) -> bool {
    let (Some(stored), Some(entry)) = (&seen.stored, seen.entry(&object.key)) else {
        return false;
    };
    if seen.leaving.contains(&object.key.namespace) {
        // The result of its work is deleted with the namespace.
        return false;
    }
    let hash = wanted(object, entry.left.clone(), &mask_key(desired, seen)).hash;
    entry.ends && entry.uid.is_some() && stored.record.ready && entry.desired == Some(hash)
}

/// A kind that is not served and that no CRD of the set defines.
fn kind_is_served(desired: &Desired, seen: &Observation, object: &DesiredObject, problems: &mut Diagnostics) {
    if !seen
        .missing
        .contains(&(object.api_version.clone(), object.key.kind.clone()))
    {
        return;
    }
    let text = |v: &Value, p: &str| v.pointer(p).and_then(Value::as_str).map(str::to_owned);
    let defined = desired.objects.iter().any(|o| {
        o.key.kind == "CustomResourceDefinition"
            && text(&o.value, "/spec/group").as_deref() == Some(&object.key.group)
            && text(&o.value, "/spec/names/kind").as_deref() == Some(&object.key.kind)
    });
    if !defined {
        problems.push(
            Diagnostic::error(format!("the cluster does not serve {} at {}", object.key.kind, object.api_version))
                .detail(format!(
                    "{} needs it. Install its CustomResourceDefinition first (in this stack, it is waited for), or correct the \
                     apiVersion",
                    object.key.human()
                ))
                .at(object.origin.clone())
                .object(object.key.clone()),
        );
    }
}

fn belongs(desired: &Desired, seen: &Observation, object: &DesiredObject, live: &Value) -> bool {
    matches!(standing(desired, seen, object, live), Standing::Ours(_))
}

fn label(live: &Value) -> Option<&str> {
    live.pointer("/metadata/labels")
        .and_then(|l| l.get(PART_OF))
        .and_then(Value::as_str)
}

fn standing(desired: &Desired, seen: &Observation, object: &DesiredObject, live: &Value) -> Standing {
    let refused = |summary: String, detail: String| {
        let d = Diagnostic::error(summary)
            .detail(detail)
            .at(object.origin.clone())
            .object(object.key.clone());
        Standing::Refused(d)
    };
    let name = object.key.human();
    match label(live) {
        Some(id) if id == desired.stack.apply_set() => {
            let known = seen.entry(&object.key).is_some_and(|e| e.uid.as_deref() == uid(live));
            return Standing::Ours(if known {
                "its manifest changed"
            } else {
                "it carries the stack's label"
            });
        }
        Some(other) => {
            return refused(
                format!("{name} belongs to another set"),
                format!(
                    "it carries {PART_OF}={other}. Remove it from one of the two; an object is given over by removing it from \
                     the other set with prune off, and removing the label"
                ),
            );
        }
        None => {}
    }
    // Our object, stripped of its label.
    if seen
        .entry(&object.key)
        .is_some_and(|e| e.uid.is_some() && e.uid.as_deref() == uid(live))
    {
        return Standing::Ours("its manifest changed");
    }
    match may_take(desired.policy.adopt, live) {
        Ok(()) => Standing::Adoptable,
        Err((why, fix)) => refused(format!("{name} exists and {why}"), fix.into()),
    }
}

/// Whether the policy takes over an object that is not the stack's. If not: why, as the end of a sentence, and what to
/// do.
pub(crate) fn may_take(adopt: Adopt, live: &Value) -> Result<(), (String, &'static str)> {
    match adopt {
        Adopt::Always => Ok(()),
        Adopt::IfUnowned => match owner_of(live) {
            None => Ok(()),
            Some(owner) => Err((
                format!("is owned by {owner}"),
                "adopt: ifUnowned takes over only what nobody owns; adopt: always takes it all the same",
            )),
        },
        Adopt::Never => Err((
            "is not the stack's".into(),
            "set adopt: ifUnowned to take it over, or rename one of them, or delete the old one",
        )),
    }
}

/// Who else claims an object: a controller, or a deployment tool by its marks.
fn owner_of(live: &Value) -> Option<String> {
    if let Some(owner) = live.pointer("/metadata/ownerReferences/0") {
        let text = |n: &str| owner.get(n).and_then(Value::as_str).unwrap_or("?");
        return Some(format!("{} {}", text("kind"), text("name")));
    }
    let mark = |place: &str, name: &str| live.pointer(place).and_then(|m| m.get(name)).and_then(Value::as_str);
    let (labels, annotations) = ("/metadata/labels", "/metadata/annotations");
    for (place, name, tool) in [
        (labels, "kustomize.toolkit.fluxcd.io/name", "Flux Kustomization"),
        (labels, "helm.toolkit.fluxcd.io/name", "Flux HelmRelease"),
        (annotations, "argocd.argoproj.io/tracking-id", "Argo CD application"),
        (annotations, "meta.helm.sh/release-name", "Helm release"),
        (annotations, "config.k8s.io/owning-inventory", "inventory"),
        (labels, "kapp.k14s.io/app", "kapp app"),
    ] {
        if let Some(owner) = mark(place, name) {
            return Some(format!("{tool} {owner}"));
        }
    }
    None
}

/// A warning only: the deletion ends by itself, the apply waits for it, and a plan before a destroy does not depend on
/// it.
fn being_deleted(object: &DesiredObject, live: &Value) -> Diagnostic {
    let finalizers: Vec<&str> = ["/metadata/finalizers", "/spec/finalizers"]
        .iter()
        .filter_map(|p| live.pointer(p).and_then(Value::as_array))
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    Diagnostic::warning(format!("{} is being deleted", object.key.human()))
        .detail(format!(
            "an apply waits until it is gone; it is held by: {}",
            finalizers.join(", ")
        ))
        .object(object.key.clone())
}

fn tried(
    desired: &Desired,
    seen: &Observation,
    object: &DesiredObject,
    live: &Value,
    trial: &Trial,
    change: &mut Change,
    problems: &mut Diagnostics,
) {
    let result = match &trial.result {
        Ok(result) => result,
        Err(e) => {
            change.fields = shown(desired, seen, object, live, None);
            let wanted = seen.wanted.get(&object.key).map_or(&object.value, |w| &w.body);
            if leftover_defaults(e, live, wanted).is_some() {
                change.reason = format!("{}; defaults of the old state are cleared first", change.reason);
                return;
            }
            failed(desired, seen, object, trial, e, change, problems);
            return;
        }
    };
    change.fields = shown(desired, seen, object, live, Some(result));
    if desired.policy.conflicts == Conflicts::Yield && !trial.foreign.is_empty() {
        let all: Vec<String> = trial
            .foreign
            .iter()
            .map(|(manager, path)| format!("{path} to {manager}"))
            .collect();
        change.reason = format!("{}; leaves {}", change.reason, all.join(", "));
    }
    if change.drift && !trial.taken.is_empty() {
        let mut managers: Vec<&str> = trial.taken.iter().map(|(manager, _)| manager.as_str()).collect();
        managers.sort_unstable();
        managers.dedup();
        change.reason = format!("{} changed it", managers.join(", "));
    }
    // Neither values nor ownership would change: only the record is behind.
    let key = mask_key(desired, seen);
    if change.fields.is_empty() && change.action == Action::Update {
        if attest(&key, live) == attest(&key, result) {
            change.action = Action::Unchanged;
            change.reason.clear();
            change.drift = false;
        } else {
            change.reason = format!("{}; only who owns its fields changes", change.reason);
        }
    }
}

fn failed(
    desired: &Desired,
    seen: &Observation,
    object: &DesiredObject,
    trial: &Trial,
    error: &ClusterError,
    change: &mut Change,
    problems: &mut Diagnostics,
) {
    let name = object.key.human();
    if !trial.foreign.is_empty() {
        let all: Vec<String> = trial
            .foreign
            .iter()
            .map(|(manager, path)| format!("{path} is owned by {manager}"))
            .collect();
        problems.push(
            Diagnostic::error(format!("{name}: other field managers own what the stack wants to set"))
                .detail(format!(
                    "{}\nremove the fields from the manifest, or set conflicts: force to take them, or conflicts: yield to leave \
                     them",
                    all.join("\n")
                ))
                .at(object.origin.clone())
                .object(object.key.clone()),
        );
        return;
    }
    let immutable = immutable_fields(error);
    if immutable.is_empty() {
        let mut problem = refused(object, error);
        if !trial.beside.is_empty() {
            problem.detail = format!("{}\n{}", problem.detail, stands_beside(&trial.beside, &object.key));
        }
        problems.push(problem);
        return;
    }
    let fields: Vec<String> = immutable
        .iter()
        .map(|(field, message)| {
            redact(
                format!("{field}: {message}").trim_start_matches(": "),
                &object.value,
                &object.write_only,
            )
        })
        .collect();
    let replaceable = seen
        .live
        .get(&object.key)
        .is_some_and(|live| may_replace(desired, &object.key, live));
    if !replaceable {
        problems.push(
            Diagnostic::error(format!("{name}: a field that cannot change would have to"))
                .detail(format!(
                    "{}\ngive the object another name, or undo the change, or list {} under replace to have it deleted and made \
                     again",
                    fields.join("\n"),
                    object.key.kind
                ))
                .at(object.origin.clone())
                .object(object.key.clone()),
        );
        return;
    }
    match seen.recreations.get(&object.key) {
        Some(Ok(())) => {
            change.action = Action::Replace;
            change.drift = false;
            // For a Job the server repeats the whole template, and the fields are shown below.
            change.reason = if object.key.kind == "Job" && !desired.policy.replace.contains("Job") {
                "a Job cannot change, so it is made again and runs again; what runs of the old one is waited for"
                    .to_owned()
            } else {
                fields.join("; ")
            };
        }
        Some(Err(e)) => problems.push(refused(object, e)),
        None => problems.push(refused(object, error)),
    }
}

/// What to do about items of others that keep ours out of a list: manager and path.
pub(crate) fn stands_beside(items: &[(String, String)], key: &ObjectKey) -> String {
    let all: Vec<String> = items
        .iter()
        .map(|(manager, path)| format!("{path} of {manager}"))
        .collect();
    let namespace = if key.namespace.is_empty() {
        String::new()
    } else {
        format!(" --namespace {}", key.namespace)
    };
    format!(
        "in the same list stands what the stack did not put there: {}. If that is what it clashes with, take it out (kubectl edit \
         {}{namespace} {}) or write it into the manifest in place of the other item, and apply again",
        all.join(", "),
        key.kind.to_lowercase(),
        key.name
    )
}

fn refused(object: &DesiredObject, error: &ClusterError) -> Diagnostic {
    let words = redact(&error.to_string(), &object.value, &object.write_only);
    Diagnostic::error(format!("{} would be refused", object.key.human()))
        .detail(words)
        .at(object.origin.clone())
        .object(object.key.clone())
}

/// The fields that change: exactly, if there is an answer of the server; otherwise those of the manifest that differ.
fn shown(
    desired: &Desired,
    seen: &Observation,
    object: &DesiredObject,
    live: &Value,
    result: Option<&Value>,
) -> Vec<FieldChange> {
    let key = mask_key(desired, seen);
    let wanted = seen.wanted.get(&object.key).map_or(&object.value, |w| &w.body);
    let mut fields = diff::fields(live, result, wanted, &object.write_only, &key);
    for field in fields.iter_mut().filter(|f| f.after.is_some()) {
        let origin = object.fields.find(&diff::pointer_of(&object.value, &field.path));
        field.origin = origin.filter(|origin| origin.file != object.origin.file);
    }
    fields
}

/// If the stack only reports drift, foreign changes stay.
fn only_reported(desired: &Desired, object: &DesiredObject, change: &mut Change, problems: &mut Diagnostics) {
    if desired.policy.drift != Drift::Report || !change.drift || change.action != Action::Update {
        return;
    }
    let fields: Vec<&str> = change.fields.iter().map(|f| f.path.as_str()).collect();
    problems.push(
        Diagnostic::warning(format!("{} is not as the stack sets it", object.key.human()))
            .detail(format!(
                "{} ({}). It is only reported, as drift: report says, and taken back when its manifest changes or with drift: revert",
                change.reason,
                fields.join(", ")
            ))
            .object(object.key.clone()),
    );
    change.action = Action::Unchanged;
    change.reason = format!("left alone: {}", change.reason);
}

/// In a field war the other writer wins, and is named.
fn at_war(seen: &Observation, object: &DesiredObject, change: &mut Change, problems: &mut Diagnostics) {
    let Some(entry) = seen
        .entry(&object.key)
        .filter(|_| change.drift && change.action == Action::Update)
    else {
        return;
    };
    let recent = entry.reverted.iter().filter(|at| seen.at - **at < WAR_SECONDS).count();
    if recent >= WAR_REVERTS {
        let fields: Vec<&str> = change.fields.iter().map(|f| f.path.as_str()).collect();
        problems.push(
            Diagnostic::warning(format!("{}: somebody keeps changing what the stack sets", object.key.human()))
                .detail(format!(
                    "{} ({}); reverted {recent} times within the hour and left alone now. Remove the field from the manifest, \
                     stop the other writer, or set conflicts: yield",
                    change.reason,
                    fields.join(", ")
                ))
                .object(object.key.clone()),
        );
        change.action = Action::Unchanged;
        change.reason = format!("left alone: {}", change.reason);
        change.fields.clear();
    }
}
