//! Deletes one object by UID and version, and waits until it is gone.

use crate::cluster::{Cluster, ClusterError, Mode, Precondition, Propagation, Selection, Target, WatchEvent, retrying};
use crate::observe::{is_deleting, uid};
use futures::StreamExt as _;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often a delete is retried because only the version changed; status writes do that all the time.
const MOVED: usize = 8;

/// Time limit of the last look at an object that is not going away.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// The result of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removal {
    /// The object is gone.
    Gone,
    /// It is kept, for this reason.
    Kept(String),
    /// It was deleted but still exists; the text names what holds it.
    Held(String),
    /// The server refused.
    Refused(ClusterError),
    /// Cancelled before it was gone.
    Cancelled,
}

/// Deletes the object with this UID and waits until it is gone. `keep` is called for every newer state of it.
pub(super) async fn remove(
    cluster: &dyn Cluster,
    target: &Target,
    expected: &str,
    seen: &Value,
    keep: &(dyn Fn(&Value) -> Option<String> + Sync),
    deadline: Instant,
    cancel: &CancellationToken,
) -> Removal {
    let mut live = seen.clone();
    for _ in 0..MOVED {
        if uid(&live) != Some(expected) {
            return Removal::Kept("another object has taken its name".into());
        }
        if let Some(reason) = keep(&live) {
            return Removal::Kept(reason);
        }
        if is_deleting(&live) {
            break;
        }
        let version = live
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let precondition = Precondition {
            uid: expected.to_owned(),
            resource_version: version,
        };
        let sent = retrying(cancel, || {
            cluster.delete(target, &precondition, propagation(target), Mode::Real)
        })
        .await;
        match sent {
            Ok(()) => break,
            Err(e) if e.is_not_found() => return Removal::Gone,
            Err(e) if e.is_conflict() => {}
            Err(e) => return Removal::Refused(e),
        }
        match retrying(cancel, || cluster.get(target)).await {
            Ok(Some(newer)) => live = newer,
            Ok(None) => return Removal::Gone,
            Err(e) => return Removal::Refused(e),
        }
    }
    gone(cluster, target, expected, deadline, cancel).await
}

/// Pods of a workload are deleted before the workload is gone, so that what they used may be deleted after it.
fn propagation(target: &Target) -> Propagation {
    match target.resource.kind.as_str() {
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" | "CronJob" | "ReplicationController" => {
            Propagation::Foreground
        }
        _ => Propagation::Background,
    }
}

/// Waits by watch until the object with this UID is gone.
pub(super) async fn gone(
    cluster: &dyn Cluster,
    target: &Target,
    expected: &str,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Removal {
    loop {
        let last = match retrying(cancel, || cluster.get(target)).await {
            Ok(Some(live)) if uid(&live) == Some(expected) => live,
            Ok(_) => return Removal::Gone,
            Err(e) => return Removal::Refused(e),
        };
        let version = last
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let news = next_state(cluster, target, &version);
        tokio::select! {
            () = cancel.cancelled() => return Removal::Cancelled,
            () = tokio::time::sleep_until(deadline) => return Removal::Held(held(cluster, target, last).await),
            () = news => {}
        }
    }
}

/// What holds the object now, if that can be read quickly: the state seen first may be incomplete.
async fn held(cluster: &dyn Cluster, target: &Target, last: Value) -> String {
    let now = tokio::time::timeout(LAST_LOOK, cluster.get(target)).await;
    holders(&now.ok().and_then(Result::ok).flatten().unwrap_or(last))
}

/// Returns when the object is deleted, or when the watch has nothing more to say and the object must be read again.
async fn next_state(cluster: &dyn Cluster, target: &Target, version: &str) {
    let selection = Selection {
        namespace: target.resource.namespaced.then(|| target.namespace.clone()),
        labels: String::new(),
        fields: format!("metadata.name={}", target.name),
    };
    match cluster.watch(&target.resource, &selection, version).await {
        Ok(mut events) => {
            while let Some(event) = events.next().await {
                match event {
                    Ok(WatchEvent::Applied(_) | WatchEvent::Bookmark(_)) => {}
                    Ok(WatchEvent::Deleted(_)) => return,
                    Err(_) => break,
                }
            }
        }
        Err(e) => tracing::debug!(%target, error = %e, "a watch could not be opened"),
    }
    // The watch ended, or never started: read again, but not in a tight loop.
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Returns at the object's next change, or when its watch has nothing more to say.
pub(super) async fn changed(cluster: &dyn Cluster, target: &Target, version: &str) {
    let selection = Selection {
        namespace: target.resource.namespaced.then(|| target.namespace.clone()),
        labels: String::new(),
        fields: format!("metadata.name={}", target.name),
    };
    if let Ok(mut events) = cluster.watch(&target.resource, &selection, version).await
        && let Some(Ok(_)) = events.next().await
    {
        return;
    }
    // No watch, or one that ended at once: do not loop tightly.
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// What holds an object that does not go away.
pub(super) fn holders(live: &Value) -> String {
    let list = |p: &str| {
        live.pointer(p)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    };
    let all: Vec<&str> = list("/metadata/finalizers").chain(list("/spec/finalizers")).collect();
    let conditions: Vec<String> = live
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|c| {
            let text = |n: &str| c.get(n).and_then(Value::as_str).unwrap_or_default();
            live.get("kind").and_then(Value::as_str) == Some("Namespace") && text("status") == "True"
        })
        .filter_map(|c| c.get("message").and_then(Value::as_str).map(str::to_owned))
        .collect();
    let held = match all.len() {
        0 => "it is still there, and no finalizer holds it".to_owned(),
        1 => format!("its finalizer {} holds it", all[0]),
        _ => format!("its finalizers {} hold it", all.join(", ")),
    };
    if conditions.is_empty() {
        held
    } else {
        format!("{held}: {}", conditions.join("; "))
    }
}
