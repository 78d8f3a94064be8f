//! When a job is over and when it tries again. Pure.

use std::sync::Arc;

use serde_json::Value;

use super::{object, pods};
use crate::kubernetes::store::Object;

/// The condition that ended a job.
pub(super) fn finished(job: &Value) -> Option<&Value> {
    object::list(job, "/status/conditions")
        .iter()
        .find(|c| matches!(c["type"].as_str(), Some("Complete" | "Failed")) && c["status"] == "True")
}

/// Whether the containers of pods that restart in place have failed more often than the limit allows.
pub(super) fn restarted_too_often(job: &Value, active: &[Arc<Object>], limit: i64) -> bool {
    if object::text(job, "/spec/template/spec/restartPolicy") != "OnFailure" {
        return false;
    }
    let running = active
        .iter()
        .filter(|pod| matches!(pods::phase(pod.value()), "Running" | "Pending"));
    let restarts: i64 = running.map(|pod| pods::restarts(pod.value())).sum();
    if limit == 0 { restarts > 0 } else { restarts >= limit }
}

/// When the next pod may be made after failures: 10 s after the last, 20 s, 40 s, at most 10 min.
pub(super) fn next_attempt(job: &Value, pods: &[Arc<Object>]) -> Option<i64> {
    let ended = |pod: &Value| {
        let statuses = object::list(pod, "/status/containerStatuses").iter();
        statuses
            .filter_map(|s| object::seconds(s, "/state/terminated/finishedAt"))
            .max()
            .or_else(|| object::seconds(pod, "/metadata/creationTimestamp"))
    };
    let last_success = pods
        .iter()
        .filter(|pod| pods::phase(pod.value()) == "Succeeded")
        .filter_map(|pod| ended(pod.value()))
        .max();
    let failures: Vec<i64> = pods
        .iter()
        .filter(|pod| pods::phase(pod.value()) == "Failed")
        .filter_map(|pod| ended(pod.value()))
        .filter(|at| last_success.is_none_or(|success| *at > success))
        .collect();
    let last = failures.iter().max()?;
    let _ = job;
    let pause = 10_i64.saturating_mul(1 << (failures.len() - 1).min(10)).min(600);
    Some((last + pause) * 1000)
}

/// The message of a `FailJob` rule that a failed pod meets.
pub(super) fn failure_policy(job: &Value, pods: &[Arc<Object>]) -> Option<String> {
    let rules = object::list(job, "/spec/podFailurePolicy/rules");
    for pod in pods
        .iter()
        .map(|pod| pod.value())
        .filter(|pod| pods::phase(pod) == "Failed")
    {
        for (i, rule) in rules.iter().enumerate() {
            let Some(matched) = meets(rule, pod) else { continue };
            if rule["action"] != "FailJob" {
                break;
            }
            return Some(format!(
                "Container {} for pod {}/{} failed with exit code {} matching FailJob rule at index {i}",
                matched.0,
                object::namespace(pod),
                object::name(pod),
                matched.1
            ));
        }
    }
    None
}

fn meets<'a>(rule: &Value, pod: &'a Value) -> Option<(&'a str, i64)> {
    let codes = &rule["onExitCodes"];
    let statuses = object::list(pod, "/status/containerStatuses")
        .iter()
        .chain(object::list(pod, "/status/initContainerStatuses"));
    statuses
        .filter(|status| codes["containerName"].is_null() || codes["containerName"] == status["name"])
        .find_map(|status| {
            let code = object::number(status, "/state/terminated/exitCode").filter(|code| *code != 0)?;
            let among = object::list(codes, "/values")
                .iter()
                .any(|value| value.as_i64() == Some(code));
            let fits = if codes["operator"] == "NotIn" { !among } else { among };
            (codes.is_object() && fits).then(|| (status["name"].as_str().unwrap_or_default(), code))
        })
}
