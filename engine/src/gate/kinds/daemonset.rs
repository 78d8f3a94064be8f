//! DaemonSets: one pod on every matching node. They never report a failure themselves, and an update removes the old
//! pod first.

use super::replicaset::refused_by_events;
use crate::gate::{
    Verdict,
    judge::Subject,
    reading::{count, counted, text},
    rollout::{Counts, weigh},
};

pub(in crate::gate) fn judge(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    if !subject.observed() {
        return Verdict::in_progress(now, "its controller has not seen the change yet");
    }
    let status = |field: &str| count(value, &format!("/status/{field}"));
    let wanted = status("desiredNumberScheduled");
    let on_delete = text(value, "/spec/updateStrategy/type") == "OnDelete";
    let short = [
        ("currentNumberScheduled", "placed"),
        ("updatedNumberScheduled", "updated"),
        ("numberReady", "ready"),
        ("numberAvailable", "available"),
    ]
    .into_iter()
    .filter(|(field, _)| !(on_delete && *field == "updatedNumberScheduled"))
    .find(|(field, _)| status(field) < wanted)
    .map(|(field, word)| format!("{} of {} {word}", status(field), counted(wanted, "pod")));
    let generation = text(value, "/metadata/annotations/deprecated.daemonset.template.generation");
    let new = |g: &str| on_delete || generation.is_empty() || g.is_empty() || g == generation;
    let pods = subject
        .sights
        .pods_of(subject.key)
        .filter(|p| new(&p.template_generation));
    let more = refused_by_events(subject, status("currentNumberScheduled"), wanted)
        .into_iter()
        .collect();
    let remark = if wanted == 0 {
        "no node wants its pod".to_owned()
    } else {
        String::new()
    };
    let counts = Counts { wanted, short, remark };
    weigh(subject.sights, subject.settings, now, pods, counts, more)
}
