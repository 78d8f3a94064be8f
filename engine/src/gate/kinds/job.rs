//! Jobs: done when complete. In progress is not done, and a Job whose pod cannot start never reports a failure itself.
//!
//! A container's end is visible up to three seconds before the Job's own verdict, and its exit code is the reason to
//! report, not that the limit was reached.

use super::replicaset::refused_by_events;
use crate::gate::{
    Cause, Heals, LogSource, Moment, Verdict,
    finding::{Finding, Severity, next_revisit, worst},
    judge::Subject,
    pod_facts::{Container, Pod, Role, Run},
    pod_reasons::{Restarts, look},
    reading::{Condition, condition, count, flag, number, text},
    sights::job_completed,
};
use std::collections::BTreeSet;

/// Kubernetes' own default.
const BACKOFF_LIMIT: i64 = 6;

pub(in crate::gate) fn judge(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    let is_true = |kind: &str| condition(value, kind).filter(Condition::is_true);
    if job_completed(value) {
        let mut verdict = Verdict::current(now, "completed");
        verdict.cause = Some(Cause::Ended);
        return verdict;
    }
    if let Some(failed) = is_true("Failed").or(is_true("FailureTarget")) {
        return ended(subject, &failed.words());
    }
    if flag(value, "/spec/suspend") {
        return Verdict::current(now, "suspended: it runs when somebody resumes it");
    }
    let pods: Vec<&Pod> = subject.sights.pods_of(subject.key).collect();
    if let Some(why) = doomed(subject, &pods) {
        return ended(subject, &why);
    }
    let active = count(value, "/status/active");
    let unmade = i64::from(active == 0 && pods.iter().all(|p| p.finished()));
    let mut findings: Vec<Finding> = refused_by_events(subject, 0, unmade).into_iter().collect();
    for pod in pods.iter().filter(|p| !p.deleting && !p.finished()) {
        findings.append(&mut look(pod, subject.sights, subject.settings, Restarts::Limited, now).findings);
        findings.extend(companions(subject, pod));
    }
    let failures = subject.sights.epitaphs(subject.key);
    let doing = match (active, failures.last()) {
        (_, Some(last)) => {
            let limit = number(value, "/spec/backoffLimit").unwrap_or(BACKOFF_LIMIT);
            format!("attempt failed, {limit} more allowed: {}", last.words)
        }
        (0, None) => "it has not been started yet".to_owned(),
        (_, None) => "it is running".to_owned(),
    };
    let verdict = match worst(&findings) {
        Some(finding) if finding.severity == Severity::Failing || failures.is_empty() => finding.verdict(now),
        _ if failures.is_empty() => Verdict::in_progress(now, doing),
        _ => Verdict::waiting(now, Heals::Itself, Cause::Crash, doing, ""),
    };
    verdict.again(next_revisit(&findings))
}

/// A final verdict: the container's last message first, then the Job's own.
fn ended(subject: &Subject<'_>, own: &str) -> Verdict {
    let last = subject.sights.epitaphs(subject.key).last();
    let reason = last.map_or_else(|| own.to_owned(), |last| format!("{}; {own}", last.words));
    let mut verdict = Verdict::failed(subject.now, Heals::Ended, Cause::Ended, reason);
    let failed = |pod: &&Pod| last.is_some_and(|l| l.uid == pod.uid);
    verdict.log = subject.sights.pods_of(subject.key).find(failed).and_then(|pod| {
        let container = pod.containers.iter().find(|c| failure(c, pod))?;
        Some(LogSource {
            namespace: pod.namespace.clone(),
            pod: pod.name.clone(),
            container: container.name.clone(),
            previous: !matches!(container.run, Run::Ended(_)),
        })
    });
    verdict
}

fn failure(container: &Container, pod: &Pod) -> bool {
    container.role != Role::Sidecar
        && match &container.run {
            Run::Ended(exit) => exit.code != 0,
            _ => pod.restart_policy == "OnFailure" && container.restarts > 0,
        }
}

/// Whether its limit has been exceeded although it has not reported that yet. If the Job has its own failure rules (a
/// policy, a limit per index), its controller decides.
fn doomed(subject: &Subject<'_>, pods: &[&Pod]) -> Option<String> {
    let value = subject.value();
    if value.pointer("/spec/podFailurePolicy").is_some() || value.pointer("/spec/backoffLimitPerIndex").is_some() {
        return None;
    }
    let limit = number(value, "/spec/backoffLimit").unwrap_or(BACKOFF_LIMIT);
    if text(value, "/spec/template/spec/restartPolicy") == "OnFailure" {
        let restarts: i64 = pods
            .iter()
            .filter(|p| !p.finished())
            .flat_map(|p| &p.containers)
            .map(|c| c.restarts)
            .sum();
        return (restarts >= limit.max(1)).then(|| format!("{restarts} restarts, and its backoffLimit is {limit}"));
    }
    let mut failed: BTreeSet<&str> = subject
        .sights
        .epitaphs(subject.key)
        .iter()
        .map(|e| e.uid.as_str())
        .collect();
    for pod in pods.iter().filter(|p| !p.deleting) {
        if pod.phase == "Failed" || pod.containers.iter().any(|c| failure(c, pod)) {
            failed.insert(&pod.uid);
        }
    }
    let failed = i64::try_from(failed.len())
        .unwrap_or(i64::MAX)
        .max(count(value, "/status/failed"));
    (failed > limit).then(|| format!("{failed} failed, and its backoffLimit is {limit}"))
}

/// The work is done but another container of the pod keeps running, so the Job never completes.
fn companions(subject: &Subject<'_>, pod: &Pod) -> Option<Finding> {
    let main = || pod.containers.iter().filter(|c| c.role == Role::Main);
    let done = main().find(|c| matches!(&c.run, Run::Ended(exit) if exit.code == 0))?;
    let running = main().find(|c| matches!(c.run, Run::Running { .. }))?;
    let since: Moment = done.memory.since;
    let end = since.plus(subject.settings.companion_grace);
    let heals = if end <= subject.now { Heals::Spec } else { Heals::Itself };
    let mut finding = Finding::new(Severity::Waiting, heals, Cause::Held, since, String::new()).because(format!(
        "container {} ended with 0, container {} still runs",
        done.name, running.name
    ));
    finding.revisit = (end > subject.now).then_some(end);
    Some(finding)
}
