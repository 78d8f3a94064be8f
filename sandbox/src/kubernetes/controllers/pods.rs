//! What controllers ask of a pod.

use serde_json::Value;

use super::object;

pub(crate) fn phase(pod: &Value) -> &str {
    object::text(pod, "/status/phase")
}

/// Whether it has come to its end.
pub(crate) fn is_finished(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether it counts as a replica: neither finished nor on its way out.
pub(crate) fn is_active(pod: &Value) -> bool {
    !is_finished(pod) && !object::is_deleting(pod)
}

/// Whether it is on its way out and still runs.
pub(crate) fn is_terminating(pod: &Value) -> bool {
    !is_finished(pod) && object::is_deleting(pod)
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    object::condition(pod, "Ready").is_some_and(|condition| condition["status"] == "True")
}

/// Whether it has been ready for `min_ready` seconds at a time in milliseconds.
pub(crate) fn is_available(pod: &Value, min_ready: i64, now: i64) -> bool {
    available_at(pod, min_ready).is_some_and(|at| at <= now)
}

/// When it is or was available, in milliseconds; `None` while it is not ready.
pub(crate) fn available_at(pod: &Value, min_ready: i64) -> Option<i64> {
    let condition = object::condition(pod, "Ready").filter(|condition| condition["status"] == "True")?;
    if min_ready == 0 {
        return Some(i64::MIN);
    }
    Some((object::seconds(condition, "/lastTransitionTime")? + min_ready) * 1000)
}

/// Restarts of all its containers.
pub(crate) fn restarts(pod: &Value) -> i64 {
    ["/status/containerStatuses", "/status/initContainerStatuses"]
        .into_iter()
        .flat_map(|list| object::list(pod, list))
        .filter_map(|status| status["restartCount"].as_i64())
        .sum()
}

/// The order in which a ReplicaSet gives up pods: the least useful first.
pub(crate) fn deletion_rank(pod: &Value) -> impl Ord + use<> {
    let phase = match phase(pod) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    };
    let cost = object::annotation(pod, "controller.kubernetes.io/pod-deletion-cost")
        .and_then(|cost| cost.parse::<i64>().ok())
        .unwrap_or(0);
    let ready_since = object::condition(pod, "Ready")
        .and_then(|condition| object::seconds(condition, "/lastTransitionTime"))
        .unwrap_or(0);
    let created = object::seconds(pod, "/metadata/creationTimestamp").unwrap_or(0);
    let assigned = !object::text(pod, "/spec/nodeName").is_empty();
    (
        assigned,
        phase,
        is_ready(pod),
        cost,
        std::cmp::Reverse(ready_since),
        std::cmp::Reverse(restarts(pod)),
        std::cmp::Reverse(created),
    )
}
