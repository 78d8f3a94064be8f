//! Pods without a controller. A failed one stays failed: nothing creates another.

use crate::gate::{
    Cause, Heals, LogSource, Verdict,
    judge::Subject,
    pod_facts::{Pod, Role, Run},
    rollout::{Counts, weigh},
    sights::SUCCEEDED,
};

pub(in crate::gate) fn judge(subject: &Subject<'_>, pod: &Pod) -> Verdict {
    let now = subject.now;
    if pod.phase == SUCCEEDED {
        let mut verdict = Verdict::current(now, "completed");
        verdict.cause = Some(Cause::Ended);
        return verdict;
    }
    if let Some(verdict) = ended(subject, pod) {
        return verdict;
    }
    let short = (!(pod.ready && pod.phase == "Running")).then(|| match pod.phase.as_str() {
        "" | "Pending" => "it has not been started yet".to_owned(),
        _ => "it is not ready yet".to_owned(),
    });
    let counts = Counts {
        wanted: 1,
        short,
        remark: String::new(),
    };
    weigh(
        subject.sights,
        subject.settings,
        now,
        std::iter::once(pod),
        counts,
        Vec::new(),
    )
}

/// Whether it has ended for good: an event of the kubelet or the end of a container shows that before the phase does.
fn ended(subject: &Subject<'_>, pod: &Pod) -> Option<Verdict> {
    let now = subject.now;
    let failure = pod.containers.iter().find(|c| {
        c.role != Role::Sidecar && pod.restart_policy == "Never" && matches!(&c.run, Run::Ended(exit) if exit.code != 0)
    });
    let note = subject.sights.notes(subject.key).newest(&pod.uid, |n| {
        matches!(n.reason.as_str(), "Evicted" | "DeadlineExceeded" | "Preempted")
    });
    let mut words = Vec::new();
    if !pod.reason.is_empty() || !pod.message.is_empty() {
        let parts = [pod.reason.as_str(), pod.message.as_str()];
        words.push(
            parts
                .iter()
                .filter(|p| !p.is_empty())
                .copied()
                .collect::<Vec<_>>()
                .join(": "),
        );
    } else if let Some(note) = note {
        words.push(note.words());
    }
    if pod.phase != "Failed" && failure.is_none() && note.is_none() {
        return None;
    }
    let mut log = None;
    if let Some(container) = failure
        && let Run::Ended(exit) = &container.run
    {
        words.push(format!("container {}: {}", container.name, exit.words()));
        log = Some(LogSource {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container: container.name.clone(),
            previous: false,
        });
    }
    let mut verdict = Verdict::failed(now, Heals::Ended, Cause::Ended, words.join("; "));
    verdict.log = log;
    Some(verdict)
}
