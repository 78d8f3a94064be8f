//! Deployments: complete if the counts are right for the ReplicaSet of the current template, and its pods can be
//! trusted.
//!
//! Old pods that are still stopping do not delay it. `Available` says nothing about the new pods, because it stays True
//! while old pods serve.

use super::replicaset;
use crate::{
    gate::{
        Cause, Heals, Moment, Verdict,
        essence::same_template,
        judge::Subject,
        reading::{condition, count, counted, flag, number, text},
        rollout::{Counts, weigh},
        sights::Seen,
    },
    object::ObjectKey,
};
use serde_json::Value;

pub(in crate::gate) fn judge(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    if flag(value, "/spec/paused") {
        let words = condition(value, "Progressing").filter(|c| c.reason == "DeploymentPaused");
        let words = words.map_or_else(|| "Deployment is paused".to_owned(), |c| c.words());
        return Verdict::waiting(now, Heals::Spec, Cause::Held, words, "spec.paused is true").beyond_doubt();
    }
    if !subject.observed() {
        return Verdict::in_progress(now, "its controller has not seen the change yet");
    }
    let set = new_set(subject);
    let progressing = condition(value, "Progressing");
    let wanted = number(value, "/spec/replicas").unwrap_or(1);
    let mut more = Vec::new();
    if let Some((key, seen)) = set {
        more.extend(replicaset::refused(subject, key, &seen.value));
    }
    let pods = set.into_iter().flat_map(|(key, _)| subject.sights.pods_of(key));
    let counts = Counts {
        wanted,
        short: short(value, wanted, set.is_some() || subject.sights.is_blind()),
        remark: remark(value),
    };
    let verdict = weigh(subject.sights, subject.settings, now, pods, counts, more);
    match progressing.filter(|c| c.reason == "ProgressDeadlineExceeded") {
        Some(deadline) if verdict.state == crate::gate::State::InProgress => {
            past_deadline(verdict, &deadline.words(), now)
        }
        _ => verdict,
    }
}

/// The deadline is only a condition: the Deployment keeps trying. The reported reason is what delayed it, not the
/// deadline.
fn past_deadline(verdict: Verdict, deadline: &str, now: Moment) -> Verdict {
    let because = if verdict.because.is_empty() {
        deadline.to_owned()
    } else {
        format!("{}; {deadline}", verdict.because)
    };
    let (reason, because) = if verdict.reason.is_empty() && verdict.cause.is_none() {
        (deadline.to_owned(), verdict.because)
    } else {
        (verdict.reason, because)
    };
    Verdict {
        because,
        log: verdict.log,
        check_again_at: verdict.check_again_at,
        ..Verdict::failed(
            now,
            verdict.heals.unwrap_or(Heals::Itself),
            verdict.cause.unwrap_or(Cause::Deadline),
            reason,
        )
    }
}

fn short(value: &Value, wanted: i64, set_is_known: bool) -> Option<String> {
    let status = |field: &str| count(value, &format!("/status/{field}"));
    let (have, updated, ready, available) = (
        status("replicas"),
        status("updatedReplicas"),
        status("readyReplicas"),
        status("availableReplicas"),
    );
    if updated < wanted {
        return Some(format!("{updated} of {} updated", counted(wanted, "pod")));
    }
    if have > wanted {
        return Some(format!("{} to stop", counted(have - wanted, "old pod")));
    }
    if ready < wanted {
        return Some(format!("{ready} of {} ready", counted(wanted, "pod")));
    }
    if available < wanted {
        return Some(format!("{available} of {} available", counted(wanted, "pod")));
    }
    if wanted > 0 && !set_is_known {
        return Some("its ReplicaSet has not been seen yet".to_owned());
    }
    let without_deadline = number(value, "/spec/progressDeadlineSeconds").is_none_or(|s| s >= i64::from(i32::MAX));
    let progressing = condition(value, "Progressing");
    let settled = progressing.is_some_and(|c| c.is_true() && c.reason == "NewReplicaSetAvailable");
    if wanted > 0 && !settled && !without_deadline {
        return Some("its rollout has not been declared complete yet".to_owned());
    }
    None
}

fn remark(value: &Value) -> String {
    match count(value, "/status/terminatingReplicas") {
        0 => String::new(),
        1 => "1 old pod is still stopping".to_owned(),
        n => format!("{n} old pods are still stopping"),
    }
}

/// The ReplicaSet of the current template. The controller compares templates without the hash label; if defaulting has
/// changed between versions, the recorded revision decides.
fn new_set<'a>(subject: &Subject<'a>) -> Option<(&'a ObjectKey, &'a Seen)> {
    let value = subject.value();
    let revision = text(value, "/metadata/annotations/deployment.kubernetes.io~1revision");
    let sights = subject.sights;
    let mut sets: Vec<_> = sights
        .owned(subject.key, "ReplicaSet")
        .filter_map(|key| Some((key, sights.object(key)?)))
        .collect();
    sets.sort_by_key(|(key, _)| *key);
    sets.iter()
        .find(|(_, seen)| same_template(&seen.value, value))
        .or_else(|| {
            sets.iter().find(|(_, seen)| {
                !revision.is_empty()
                    && text(&seen.value, "/metadata/annotations/deployment.kubernetes.io~1revision") == revision
            })
        })
        .copied()
}
