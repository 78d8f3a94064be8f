//! Chooses the pod that runs a command: the one that is named, or the first ready one that matches a selector.
//!
//! Used for tokens and checks. It runs nothing itself.

use crate::cluster::{Cluster, Selection, Target, kinds, retrying};
use crate::document::{Exec, PodChoice};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The pod that runs the command. It must exist with its container running: what it needs was waited for before.
pub(super) async fn choose_pod(
    cluster: &dyn Cluster,
    exec: &Exec,
    cancel: &CancellationToken,
) -> Result<String, String> {
    let pods = kinds::known("v1", "Pod");
    let (name, pod) = match &exec.pod {
        PodChoice::Named(name) => {
            let target = Target {
                resource: pods,
                namespace: exec.namespace.clone(),
                name: name.clone(),
            };
            let pod = retrying(cancel, || cluster.get(&target)).await;
            let pod = pod.map_err(|e| format!("pod {}/{name} could not be read: {e}", exec.namespace))?;
            (
                name.clone(),
                pod.ok_or_else(|| format!("pod {}/{name} does not exist", exec.namespace))?,
            )
        }
        PodChoice::Selected(labels) => {
            let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let selection = Selection {
                namespace: Some(exec.namespace.clone()),
                labels: labels.join(","),
                ..Selection::default()
            };
            let list = retrying(cancel, || cluster.list(&pods, &selection)).await;
            let list = list.map_err(|e| format!("pods of namespace {} could not be listed: {e}", exec.namespace))?;
            let name = |p: &Value| {
                p.pointer("/metadata/name")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let mut ready: Vec<Value> = list.items.into_iter().filter(is_ready).collect();
            ready.sort_by_key(name);
            let pod = ready.into_iter().next();
            let pod = pod.ok_or_else(|| {
                format!(
                    "no ready pod in namespace {} has the labels {}",
                    exec.namespace, selection.labels
                )
            })?;
            (name(&pod), pod)
        }
    };
    let statuses = pod
        .pointer("/status/containerStatuses")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let wanted = |s: &&Value| {
        exec.container
            .as_deref()
            .is_none_or(|c| s.get("name").and_then(Value::as_str) == Some(c))
    };
    let Some(container) = statuses.iter().find(wanted) else {
        let names = exec.container.as_deref().unwrap_or("its container");
        return Err(format!("pod {}/{name}: {names} has not started", exec.namespace));
    };
    if container.pointer("/state/running").is_none() {
        let reason = container
            .pointer("/state/waiting/reason")
            .or_else(|| container.pointer("/state/terminated/reason"));
        let reason = reason.and_then(Value::as_str).unwrap_or("unknown");
        let which = container.get("name").and_then(Value::as_str).unwrap_or_default();
        return Err(format!(
            "pod {}/{name}: container {which} is not running ({reason})",
            exec.namespace
        ));
    }
    Ok(name)
}

pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && conditions
            .into_iter()
            .any(|c| c.get("type") == Some(&json!("Ready")) && c.get("status") == Some(&json!("True")))
}
