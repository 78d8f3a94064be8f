//! What an apply did → the Kubernetes Events that report it. Pure.

use crate::deployment::Deployment;
use crate::events::{About, Event, Kind};
use crate::execution::Report;
use myelin_engine::apply::Fate;
use myelin_engine::desired::{Desired, is_token};
use myelin_engine::diagnostic::Severity;
use myelin_engine::object::ObjectKey;
use myelin_engine::plan::{Action, Change, Plan};

/// Fields that are named in one event.
const FIELDS: usize = 6;

/// What the plan leaves alone although somebody changed it.
pub(crate) fn left_alone(plan: &Plan) -> impl Iterator<Item = &Change> {
    plan.changes
        .iter()
        .filter(|change| change.drift && change.action == Action::Unchanged)
}

/// One line about a change: the object, who made it, and which fields. It holds no values.
pub(crate) fn words(change: &Change) -> String {
    format!("{}: {}{}", change.key.human(), change.reason, fields(change))
}

/// The events of an apply: one for the source, one for each object that was touched, failed or left alone. None when nothing was done.
pub(crate) fn of(deployment: &Deployment, report: &Report, commit: &str) -> Vec<Event> {
    let mut all = Vec::new();
    let mut touched = 0;
    for (stack, plan) in &deployment.plans {
        let outcome = report.stacks.get(&stack.id);
        for change in &plan.changes {
            let about = about(&stack.desired, &change.key);
            let fate = outcome.and_then(|outcome| outcome.objects.get(&change.key));
            if let Some(Fate::Failed(why)) = fate {
                all.push(event(
                    about,
                    Kind::Warning,
                    "Failed",
                    "Apply",
                    format!("{why} (commit {commit})"),
                ));
                continue;
            }
            // What an interruption prevented is not reported as done.
            let undone = matches!(fate, Some(Fate::Skipped(_) | Fate::Uncertain(_)))
                || fate.is_none() && outcome.is_none_or(|outcome| outcome.cancelled);
            if undone && change.action != Action::Unchanged {
                continue;
            }
            if let Some((reason, action)) = said(change) {
                touched += usize::from(change.action != Action::Unchanged);
                let kind = if change.drift { Kind::Warning } else { Kind::Normal };
                let what = match &about {
                    About::Source => format!("{} {}: ", change.action.word(), change.key.human()),
                    About::Object(..) => String::new(),
                };
                let note = format!(
                    "{what}{}{} (commit {commit}, plan {})",
                    change.reason,
                    fields(change),
                    plan.hash
                );
                all.push(event(about, kind, reason, action, note));
            }
        }
    }
    for warning in report.stacks.values().flat_map(|outcome| outcome.diagnostics.iter()) {
        // What only the apply found out: an interrupted mint that was assumed to be alive when the plan was made.
        let token = warning.object.as_ref().is_some_and(is_token);
        if token && warning.severity == Severity::Warning {
            let note = format!("{}; {} (commit {commit})", warning.summary, warning.detail);
            all.push(event(About::Source, Kind::Warning, "MintInterrupted", "Apply", note));
        }
    }
    for (id, outcome) in &report.removed {
        let word = if outcome.ready { "removed" } else { "not wholly removed" };
        touched += 1;
        let note = format!("{} is {word}: no document names it (commit {commit})", id.title());
        all.push(event(About::Source, Kind::Normal, "StackRemoved", "Prune", note));
    }
    if touched > 0 && report.is_ready() {
        let what = if touched == 1 { "change" } else { "changes" };
        let note = format!(
            "{touched} {what} of commit {commit}, applied and ready (plan {})",
            deployment.hash
        );
        all.push(event(About::Source, Kind::Normal, "Applied", "Apply", note));
    }
    all
}

fn event(about: About, kind: Kind, reason: &'static str, action: &'static str, note: String) -> Event {
    Event {
        about,
        kind,
        reason,
        action,
        note,
    }
}

/// Reason and action of a change that is worth an event.
fn said(change: &Change) -> Option<(&'static str, &'static str)> {
    Some(match change.action {
        Action::Update if change.drift => ("DriftReverted", "Apply"),
        Action::Unchanged if change.drift => ("DriftReported", "Observe"),
        Action::Create if change.reason == "it is gone from the cluster" => ("DriftReverted", "Apply"),
        Action::Create => ("Created", "Apply"),
        Action::Adopt => ("Adopted", "Apply"),
        Action::Update => ("Updated", "Apply"),
        Action::Replace => ("Replaced", "Replace"),
        Action::Prune => ("Pruned", "Prune"),
        Action::Release => ("Released", "Release"),
        Action::Unchanged | Action::Unknown => return None,
    })
}

/// Events about a token are on the source, because the cluster has no such object. So are those about deleted objects.
fn about(desired: &Desired, key: &ObjectKey) -> About {
    match desired.object(key) {
        Some(object) => About::Object(key.clone(), object.api_version.clone()),
        None => About::Source,
    }
}

fn fields(change: &Change) -> String {
    if change.fields.is_empty() {
        return String::new();
    }
    let mut names: Vec<&str> = change
        .fields
        .iter()
        .take(FIELDS)
        .map(|field| field.path.as_str())
        .collect();
    if change.fields.len() > FIELDS {
        names.push("…");
    }
    format!(" [{}]", names.join(", "))
}
