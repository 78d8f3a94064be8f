//! StatefulSets. They have no deadline and no condition: only their pods and events show problems.
//!
//! A broken pod of another revision counts as well. The controller waits for it and never replaces it, even if the
//! update that broke it has been reverted: somebody has to delete the pod.

use super::replicaset::refused_by_events;
use crate::gate::{
    Heals, Verdict,
    finding::{Finding, Severity},
    judge::Subject,
    pod_reasons::{Restarts, look},
    reading::{count, counted, number, text},
    rollout::{Counts, weigh},
};
use serde_json::Value;

pub(in crate::gate) fn judge(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    if !subject.observed() {
        return Verdict::in_progress(now, "its controller has not seen the change yet");
    }
    let wanted = number(value, "/spec/replicas").unwrap_or(1);
    let update = text(value, "/status/updateRevision");
    let on_delete = text(value, "/spec/updateStrategy/type") == "OnDelete";
    let stale = |revision: &str| !update.is_empty() && !revision.is_empty() && revision != update;
    let mut more: Vec<Finding> = refused_by_events(subject, count(value, "/status/replicas"), wanted)
        .into_iter()
        .collect();
    let mut pods = Vec::new();
    for pod in subject.sights.pods_of(subject.key) {
        if !stale(&pod.revision) || on_delete {
            pods.push(pod);
            continue;
        }
        // A working old pod will be replaced in its turn, or is below the partition.
        let seen = look(pod, subject.sights, subject.settings, Restarts::Endless, now);
        let broken = seen.findings.into_iter().find(|f| f.severity == Severity::Failing);
        match broken.filter(|_| !pod.deleting) {
            Some(finding) => more.push(Finding {
                heals: Heals::Others,
                proved: false,
                because: format!(
                    "pod {} is of an older revision, and the StatefulSet will not replace it while it is broken: delete the pod",
                    pod.name
                ),
                ..finding
            }),
            None => pods.push(pod),
        }
    }
    let outdated = wanted - count(value, "/status/updatedReplicas");
    let remark = if outdated > 0 && on_delete {
        format!(
            "{} runs the old revision until somebody deletes it (OnDelete)",
            counted(outdated, "pod")
        )
    } else {
        String::new()
    };
    let counts = Counts {
        wanted,
        short: short(value, wanted, on_delete),
        remark,
    };
    weigh(subject.sights, subject.settings, now, pods.into_iter(), counts, more)
}

fn short(value: &Value, wanted: i64, on_delete: bool) -> Option<String> {
    let status = |field: &str| count(value, &format!("/status/{field}"));
    let (have, ready, updated) = (status("replicas"), status("readyReplicas"), status("updatedReplicas"));
    let available = number(value, "/status/availableReplicas").unwrap_or(ready);
    if have > wanted {
        return Some(format!("{} to stop", counted(have - wanted, "pod")));
    }
    if ready < wanted {
        return Some(format!("{ready} of {} ready", counted(wanted, "pod")));
    }
    if available < wanted {
        return Some(format!("{available} of {} available", counted(wanted, "pod")));
    }
    if on_delete {
        return None;
    }
    let partition = number(value, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let to_update = (wanted - partition).max(0);
    let same = text(value, "/status/currentRevision") == text(value, "/status/updateRevision");
    if !same && updated < to_update {
        return Some(format!("{updated} of {} updated", counted(to_update, "pod")));
    }
    if !same && partition == 0 {
        return Some("its rollout has not been declared complete yet".to_owned());
    }
    None
}
