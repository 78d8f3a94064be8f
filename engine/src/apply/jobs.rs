//! Waits for a Job's running containers before the Job is replaced: a migration that is killed half-way is worse than a
//! late one.
//!
//! A Job whose containers do not run (the image cannot be pulled, it is between two attempts, it has ended) is not
//! waited for.

use super::remove::changed;
use crate::cluster::{Cluster, ClusterError, Selection, Target, kinds, retrying};
use crate::observe::uid;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a watch on the Job may be silent before its pods are checked again: a container that ends between two
/// attempts does not always change the Job.
const LOOK: Duration = Duration::from_secs(5);

/// Whether the Job has completed or failed.
pub(super) fn has_ended(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|c| {
        let text = |n: &str| c.get(n).and_then(Value::as_str).unwrap_or_default();
        matches!(text("type"), "Complete" | "Failed") && text("status") == "True"
    })
}

/// Why a running Job could not be waited for.
pub(super) enum Busy {
    /// It was still running when the timeout was over.
    Late,
    /// Cancelled.
    Cancelled,
    /// The cluster refused.
    Refused(ClusterError),
}

/// Returns once no container of the Job with this UID runs.
pub(super) async fn at_rest(
    cluster: &dyn Cluster,
    target: &Target,
    expected: &str,
    deadline: Instant,
    cancel: &CancellationToken,
) -> Result<(), Busy> {
    loop {
        let job = match retrying(cancel, || cluster.get(target)).await {
            Ok(Some(job)) if uid(&job) == Some(expected) => job,
            Ok(_) => return Ok(()),
            Err(e) => return Err(Busy::Refused(e)),
        };
        if has_ended(&job) || !runs(cluster, target, expected, cancel).await.map_err(Busy::Refused)? {
            return Ok(());
        }
        let version = job
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .unwrap_or_default();
        tokio::select! {
            () = changed(cluster, target, version) => {}
            () = tokio::time::sleep(LOOK) => {}
            () = tokio::time::sleep_until(deadline) => return Err(Busy::Late),
            () = cancel.cancelled() => return Err(Busy::Cancelled),
        }
    }
}

/// Whether a container of one of the Job's pods runs.
async fn runs(
    cluster: &dyn Cluster,
    target: &Target,
    owner: &str,
    cancel: &CancellationToken,
) -> Result<bool, ClusterError> {
    let selection = Selection {
        namespace: Some(target.namespace.clone()),
        // Older and newer servers both set this label.
        labels: format!("job-name={}", target.name),
        ..Selection::default()
    };
    let pods = kinds::known("v1", "Pod");
    let pods = retrying(cancel, || cluster.list(&pods, &selection)).await?;
    let list = |v: &Value, p: &str| v.pointer(p).and_then(Value::as_array).cloned().unwrap_or_default();
    Ok(pods.items.iter().any(|pod| {
        let owned = list(pod, "/metadata/ownerReferences")
            .iter()
            .any(|o| o.get("uid").and_then(Value::as_str) == Some(owner));
        let running = ["/status/containerStatuses", "/status/initContainerStatuses"]
            .iter()
            .flat_map(|p| list(pod, p))
            .any(|c| c.pointer("/state/running").is_some());
        owned && running
    }))
}
