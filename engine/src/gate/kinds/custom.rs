//! Custom resources, judged by the conventions that controllers follow: observed generation, `Ready`, `Reconciling`,
//! `Stalled`.
//!
//! A custom resource without a status is not ready yet: its controller may not have seen it. It counts as one that no
//! controller reports on after a grace period, or at once if its kind has no status.

use crate::gate::{
    Cause, Heals, Moment, Verdict,
    judge::Subject,
    reading::{Condition, condition, conditions, list, number, text},
};
use serde_json::Value;

pub(in crate::gate) fn judge(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    let generation = number(value, "/metadata/generation");
    if let (Some(generation), Some(observed)) = (generation, number(value, "/status/observedGeneration"))
        && observed < generation
    {
        return Verdict::in_progress(now, "its controller has not seen the change yet");
    }
    let about_now = |c: &Condition<'_>| match (c.observed_generation, generation) {
        (Some(observed), Some(generation)) => observed >= generation,
        _ => true,
    };
    let told = |kind: &str| condition(value, kind).filter(about_now);
    if let Some(c) = told("Stalled").filter(Condition::is_true) {
        return Verdict::failed(now, Heals::Spec, Cause::Condition, c.words());
    }
    if let Some(c) = told("Reconciling").filter(Condition::is_true) {
        return Verdict::waiting(now, Heals::Itself, Cause::Condition, c.words(), "");
    }
    for kind in ["Ready", "Available", "Programmed", "Accepted"] {
        if let Some(c) = condition(value, kind) {
            return if !about_now(&c) {
                Verdict::in_progress(now, format!("its condition {kind} is of an earlier version"))
            } else if c.is_true() {
                Verdict::current(now, "")
            } else {
                Verdict::waiting(now, Heals::Itself, Cause::Condition, c.words(), "")
            };
        }
    }
    let empty = value
        .get("status")
        .is_none_or(|s| s.as_object().is_none_or(serde_json::Map::is_empty));
    if !empty || conditions(value).next().is_some() {
        return Verdict::current(now, "");
    }
    if subject.has_status() == Some(false) {
        return Verdict::current(now, "its kind has no status");
    }
    // One that has existed for long without a status will not get one.
    let grace = subject.settings.status_grace;
    let made = Moment::parse(text(value, "/metadata/creationTimestamp"));
    if made.is_some_and(|made| made.plus(grace).plus(subject.settings.clock_skew) <= now) {
        return Verdict::current(now, "no controller reports on it");
    }
    let end = subject.since_seen(subject.key).max(subject.applied.at).plus(grace);
    if end <= now {
        return Verdict::current(now, "no controller reports on it");
    }
    Verdict::waiting(
        now,
        Heals::Itself,
        Cause::Unanswered,
        "",
        "no controller has reported on it yet",
    )
    .again(Some(end))
}

/// Whether a CRD gives its kind a status, read from the CRD itself if it was seen.
pub(in crate::gate) fn status_in_definition(definition: &Value) -> bool {
    list(definition, "/spec/versions")
        .iter()
        .any(|v| v.pointer("/subresources/status").is_some())
}
