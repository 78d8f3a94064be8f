//! Drains a node before it is terminated: cordon, then the Eviction API in two tiers, up to a deadline. A node that is
//! in no cluster is told by its tag, and its agent answers by its own tag. A node without an agent runs its drain hook
//! over SSM, if it has one.
//!
//! A drain is called repeatedly: each look sends what is due and reports the state. Nothing is ever deleted with a
//! grace period of zero. Pods of DaemonSets and mirror pods stay; they end with the node.

use super::identity::{TAG_DRAIN_HOOK, TAG_STATE, TAG_UNDRAIN_HOOK};
use super::node::since;
use super::outcome::FleetRun;
use super::step::Drained;
use super::{ClusterNode, DrainPolicy};
use crate::cloud::{Cloud, CommandStatus, Instance, InstanceState, Kind};
use crate::cluster::{Cluster, ClusterError, Mode, Precondition, Propagation, Selection, Target, kinds, retrying};
use crate::diagnostic::{Diagnostic, Diagnostics};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// After the deadline, a forced drain gives pods this long for their own grace periods.
const FORCE: Duration = Duration::from_secs(60);

/// Instances that one SendCommand takes (SSM API reference).
const COMMAND_INSTANCES: usize = 50;

/// The state of a drain hook in this run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Hook {
    /// Sent as the command with this id.
    Sent(String),
    /// It failed in this way. It is not run again: repeating a hook that failed half-way does not help.
    Failed(String),
}

/// Drain hooks that this run has sent, by instance. A new process sends them again.
#[derive(Default)]
pub(super) struct Hooks(Mutex<BTreeMap<String, Hook>>);

impl Hooks {
    fn of(&self, id: &str) -> Option<Hook> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn note(&self, id: &str, hook: Hook) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id.to_owned(), hook);
    }
}

/// What a drain acts through.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) cloud: &'a dyn Cloud,
    pub(super) cluster: Option<&'a dyn Cluster>,
    pub(super) hooks: &'a Hooks,
    pub(super) policy: &'a DrainPolicy,
    pub(super) run: &'a FleetRun,
}

/// One look at the drain of an instance.
pub(super) async fn look(
    means: Means<'_>,
    instance: &Instance,
    node: Option<&ClusterNode>,
    began: Timestamp,
    now: Timestamp,
) -> Drained {
    let Means {
        cluster, policy, run, ..
    } = means;
    let cancel = &run.cancel;
    let state_tag = instance.tags.get(TAG_STATE).map(String::as_str);
    let over = since(began, now) >= policy.timeout;
    let Some(kubernetes) = &policy.kubernetes else {
        return match state_tag {
            None => by_hook(means, instance, over).await,
            Some(_) => by_agent(state_tag, over),
        };
    };
    let (Some(cluster), Some(node)) = (cluster, node) else {
        // The node never joined, or its cluster cannot be reached. Without the cluster, nothing is known about what
        // runs on it.
        return match (cluster, over) {
            (Some(_), _) => by_agent(state_tag, over),
            (None, true) if kubernetes.force_at_deadline => {
                Drained::Overdue("no cluster is configured to drain it in".into())
            }
            (None, true) => Drained::Refused("no cluster is configured to drain it in".into()),
            (None, false) => Drained::Waiting("no cluster is configured to drain it in".into()),
        };
    };
    match empty(cluster, node, over && kubernetes.force_at_deadline, cancel).await {
        Ok(None) => Drained::Empty,
        Ok(Some(why)) if kubernetes.force_at_deadline && since(began, now) >= policy.timeout + FORCE => {
            Drained::Overdue(why)
        }
        Ok(Some(why)) if over && !kubernetes.force_at_deadline => Drained::Refused(format!(
            "{why}, and drainTimeout of {} s is over",
            policy.timeout.as_secs()
        )),
        Ok(Some(why)) => Drained::Waiting(why),
        Err(e) if over && kubernetes.force_at_deadline => Drained::Overdue(e.to_string()),
        Err(e) if over => Drained::Refused(e.to_string()),
        Err(e) => Drained::Waiting(e.to_string()),
    }
}

/// On a node without an agent there is nothing to wait for.
fn by_agent(state_tag: Option<&str>, over: bool) -> Drained {
    match state_tag {
        None | Some("drained" | "failed") => Drained::Empty,
        Some(state) if over => Drained::Overdue(format!("its agent says {state}")),
        Some(state) => Drained::Waiting(format!("its agent says {state}")),
    }
}

/// Runs the instance's hook and checks its result. A failed hook holds the node until the deadline: somebody may still
/// repair it, and the remaining work gets the time that was promised.
async fn by_hook(means: Means<'_>, instance: &Instance, over: bool) -> Drained {
    let Some(hook) = instance.tags.get(TAG_DRAIN_HOOK) else {
        return Drained::Empty;
    };
    if instance.state != InstanceState::Running {
        return Drained::Empty;
    }
    let id = &instance.id;
    let why = match means.hooks.of(id) {
        Some(Hook::Failed(why)) => why,
        Some(Hook::Sent(command)) => match means.cloud.command_status(&command, id).await {
            Ok(CommandStatus::Succeeded) => return Drained::Empty,
            Ok(CommandStatus::Running) => "its drain hook runs".into(),
            Ok(CommandStatus::Failed(how)) => {
                let why = format!("its drain hook ended with {how}");
                means.run.tell(std::slice::from_ref(id), format!("{id}: {why}"));
                means.hooks.note(id, Hook::Failed(why.clone()));
                why
            }
            // An invocation becomes visible a little later than its command.
            Err(e) if e.kind == Kind::NotFound => "its drain hook starts".into(),
            Err(e) => format!("its drain hook cannot be looked at: {e}"),
        },
        None if over => "its drain hook was not run".into(),
        None => {
            let (ids, script) = (std::slice::from_ref(id), std::slice::from_ref(hook));
            match means.cloud.send_command(ids, script, means.policy.timeout).await {
                Ok(command) => {
                    means.run.tell(ids, format!("{id}: its drain hook runs"));
                    means.hooks.note(id, Hook::Sent(command));
                    "its drain hook runs".into()
                }
                Err(e) => format!("its drain hook cannot be sent: {e}"),
            }
        }
    };
    if over {
        Drained::Overdue(why)
    } else {
        Drained::Waiting(why)
    }
}

/// The warning for a node that is terminated although its drain did not finish.
pub(super) fn overdue(id: &str, found: &Drained) -> Option<Diagnostic> {
    let Drained::Overdue(why) = found else { return None };
    Some(
        Diagnostic::warning(format!("node {id} was ended at the deadline of its drain"))
            .detail(format!("{why}; a longer rollout.drainTimeout gives it more time")),
    )
}

/// Sends the undrain hooks of nodes that stay after all. A started drain hook is not interrupted: both are sent, in
/// this order. A hook that cannot be sent is reported and delays nothing.
pub(super) async fn undo<'a>(
    cloud: &dyn Cloud,
    kept: impl Iterator<Item = &'a Instance>,
    limit: Duration,
) -> Diagnostics {
    let mut by_hook: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for i in kept {
        let alone = i.state == InstanceState::Running && !i.tags.contains_key(TAG_STATE);
        if let (true, Some(hook)) = (alone, i.tags.get(TAG_UNDRAIN_HOOK)) {
            by_hook.entry(hook).or_default().push(i.id.clone());
        }
    }
    let mut problems = Diagnostics::new();
    for (hook, ids) in by_hook {
        let script = [hook.to_owned()];
        for some in ids.chunks(COMMAND_INSTANCES) {
            let Err(all) = cloud.send_command(some, &script, limit).await else {
                continue;
            };
            // One unreachable instance makes SSM refuse the command for all.
            for id in some {
                let alone = std::slice::from_ref(id);
                let sent = if some.len() == 1 {
                    Err(all.clone())
                } else {
                    cloud.send_command(alone, &script, limit).await.map(drop)
                };
                if let Err(e) = sent {
                    problems.push(
                        Diagnostic::warning(format!("the undrain hook of node {id} was not run"))
                            .detail(format!("{e}. Run it there yourself: {hook}")),
                    );
                }
            }
        }
    }
    problems
}

fn node_target(name: &str) -> Target {
    Target {
        resource: kinds::known("v1", "Node"),
        namespace: String::new(),
        name: name.to_owned(),
    }
}

/// Sets or removes a node's cordon. A node that is gone needs neither.
pub(super) async fn cordon(
    cluster: &dyn Cluster,
    name: &str,
    cordoned: bool,
    cancel: &CancellationToken,
) -> Result<(), ClusterError> {
    let patch = json!([{"op": "add", "path": "/spec/unschedulable", "value": cordoned}]);
    let target = node_target(name);
    match retrying(cancel, || cluster.json_patch(&target, &patch, Mode::Real)).await {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

/// Sends what is due, and returns what still prevents the drain.
async fn empty(
    cluster: &dyn Cluster,
    node: &ClusterNode,
    force: bool,
    cancel: &CancellationToken,
) -> Result<Option<String>, ClusterError> {
    if !node.cordoned {
        cordon(cluster, &node.name, true, cancel).await?;
    }
    let resource = kinds::known("v1", "Pod");
    let selection = Selection {
        fields: format!("spec.nodeName={}", node.name),
        ..Selection::default()
    };
    let pods = retrying(cancel, || cluster.list(&resource, &selection)).await?.items;
    let mut due: Vec<&Value> = pods.iter().filter(|p| is_due(p, &node.name)).collect();
    // Pods that the cluster needs are evicted after those that need them.
    let critical = |p: &&Value| {
        p.pointer("/spec/priorityClassName")
            .and_then(Value::as_str)
            .is_some_and(|c| c.starts_with("system-"))
    };
    if due.iter().any(|p| !critical(p)) {
        due.retain(|p| !critical(p));
    }
    let mut held = None;
    for pod in &due {
        if pod.pointer("/metadata/deletionTimestamp").is_some() {
            continue;
        }
        let sent = if force {
            delete(cluster, pod).await
        } else {
            evict(cluster, pod).await
        };
        match sent {
            Ok(()) => {}
            Err(e) if e.is_not_found() || e.is_conflict() => {}
            Err(ClusterError::Refused { code: 429, message, .. }) => {
                held.get_or_insert(format!("{} is held: {message}", human(pod)));
            }
            Err(e) => {
                held.get_or_insert(format!("{} cannot be evicted: {e}", human(pod)));
            }
        }
    }
    Ok(held.or_else(|| due.first().map(|p| format!("{} is ending", human(p)))))
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn human(pod: &Value) -> String {
    format!(
        "pod {}/{}",
        text(pod, "/metadata/namespace"),
        text(pod, "/metadata/name")
    )
}

/// Whether a pod must leave before the node is terminated.
fn is_due(pod: &Value, node: &str) -> bool {
    let owned_by_daemon = pod
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array)
        .is_some_and(|o| o.iter().any(|r| r["kind"] == "DaemonSet" && r["controller"] == true));
    let mirror = pod
        .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
        .is_some();
    let finished = matches!(text(pod, "/status/phase"), "Succeeded" | "Failed");
    text(pod, "/spec/nodeName") == node && !owned_by_daemon && !mirror && !finished
}

fn pod_target(pod: &Value) -> Target {
    Target {
        resource: kinds::known("v1", "Pod"),
        namespace: text(pod, "/metadata/namespace").to_owned(),
        name: text(pod, "/metadata/name").to_owned(),
    }
}

async fn evict(cluster: &dyn Cluster, pod: &Value) -> Result<(), ClusterError> {
    cluster.evict(&pod_target(pod), text(pod, "/metadata/uid")).await
}

async fn delete(cluster: &dyn Cluster, pod: &Value) -> Result<(), ClusterError> {
    let precondition = Precondition {
        uid: text(pod, "/metadata/uid").to_owned(),
        resource_version: None,
    };
    cluster
        .delete(&pod_target(pod), &precondition, Propagation::Background, Mode::Real)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_with_the_node_is_not_evicted() {
        let pod = |change: Value| {
            let mut pod = json!({"metadata": {"name": "a", "namespace": "n"}, "spec": {"nodeName": "w1"}, "status": {"phase": "Running"}});
            for (key, value) in change.as_object().cloned().unwrap_or_default() {
                for (inner, value) in value.as_object().cloned().unwrap_or_default() {
                    pod[&key][inner] = value;
                }
            }
            pod
        };
        for (change, due) in [
            (json!({}), true),
            (
                json!({"metadata": {"ownerReferences": [{"kind": "DaemonSet", "controller": true}]}}),
                false,
            ),
            (
                json!({"metadata": {"ownerReferences": [{"kind": "ReplicaSet", "controller": true}]}}),
                true,
            ),
            (
                json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}}),
                false,
            ),
            (json!({"status": {"phase": "Succeeded"}}), false),
            (json!({"spec": {"nodeName": "w2"}}), false),
        ] {
            assert_eq!(is_due(&pod(change.clone()), "w1"), due, "{change}");
        }
    }

    #[test]
    fn an_agent_is_waited_for_to_the_deadline_and_nobody_is_not() {
        assert_eq!(by_agent(None, false), Drained::Empty);
        assert!(matches!(by_agent(Some("ready"), false), Drained::Waiting(_)));
        assert!(matches!(by_agent(Some("ready"), true), Drained::Overdue(_)));
        assert_eq!(by_agent(Some("drained"), false), Drained::Empty);
    }
}
