//! ReplicaSets, on their own and as the part of a Deployment that creates the pods; and pods that the API server
//! refuses to create for a controller.

use crate::{
    gate::{
        Cause, Verdict,
        events::Notes,
        finding::Finding,
        healing,
        judge::Subject,
        reading::{condition, count, counted, number, text},
        rollout::{Counts, weigh},
    },
    object::ObjectKey,
};
use serde_json::Value;

pub(in crate::gate) fn judge(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    if !subject.observed() {
        return Verdict::in_progress(now, "its controller has not seen the change yet");
    }
    let wanted = number(value, "/spec/replicas").unwrap_or(1);
    let (have, available) = (
        count(value, "/status/replicas"),
        count(value, "/status/availableReplicas"),
    );
    let short = if have > wanted {
        Some(format!("{} to stop", counted(have - wanted, "pod")))
    } else if available < wanted {
        Some(format!("{available} of {} available", counted(wanted, "pod")))
    } else {
        None
    };
    let more = refused(subject, subject.key, value).into_iter().collect();
    let counts = Counts {
        wanted,
        short,
        remark: String::new(),
    };
    let pods = subject.sights.pods_of(subject.key);
    weigh(subject.sights, subject.settings, now, pods, counts, more)
}

/// Refused pods according to the condition of a ReplicaSet. The condition stays set while the admitted pods run, so it
/// counts only as long as pods are missing.
pub(in crate::gate) fn refused(subject: &Subject<'_>, set: &ObjectKey, value: &Value) -> Option<Finding> {
    if count(value, "/status/replicas") >= number(value, "/spec/replicas").unwrap_or(1) {
        return None;
    }
    let failure = condition(value, "ReplicaFailure").filter(|c| c.is_true())?;
    let notes = subject.sights.notes(set);
    let said = notes.newest(text(value, "/metadata/uid"), |n| n.reason == "FailedCreate");
    let since = said.map_or(subject.since_seen(set), |n| n.first);
    Some(Finding::graced(
        healing::refused(failure.message),
        Cause::Refused,
        since,
        subject.settings.event_grace,
        subject.now,
        failure.words(),
    ))
}

/// Refused pods of a StatefulSet, DaemonSet or Job according to events, because these kinds have no condition for that.
pub(in crate::gate) fn refused_by_events(subject: &Subject<'_>, has: i64, wants: i64) -> Option<Finding> {
    if has >= wants {
        return None;
    }
    let notes = subject.sights.notes(subject.key);
    let uid = text(subject.value(), "/metadata/uid");
    let refusal = notes.newest(uid, |n| n.reason == "FailedCreate")?;
    let success = notes.newest(uid, |n| n.reason == "SuccessfulCreate");
    if success.is_some_and(|s| Notes::after(s, refusal)) || refusal.last < subject.applied.at {
        return None;
    }
    Some(Finding::graced(
        healing::refused(&refusal.message),
        Cause::Refused,
        refusal.first.max(subject.applied.at),
        subject.settings.event_grace,
        subject.now,
        refusal.words(),
    ))
}
