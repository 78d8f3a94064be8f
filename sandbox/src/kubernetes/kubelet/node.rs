//! The nodes that the sandbox runs: their status, and what happens to a lost one.
//!
//! A node with the annotation `sandbox.myelin.dev/lost: "true"` no longer reports. After 40 s it is `Unknown` and
//! tainted, and its pods are not ready. When their tolerations expire, the pods are deleted but stay, because nothing
//! confirms that they ended.

use serde_json::{Value, json};

use crate::kubernetes::controllers::events::Event;
use crate::kubernetes::controllers::object::{self, Key};
use crate::kubernetes::controllers::world::{Outcome, Seen, Who, World};
use crate::kubernetes::registry::{Actor, Failure};

const LOST: &str = "sandbox.myelin.dev/lost";
const GRACE: i64 = 40_000;
const EVICTION: i64 = 300_000;
const TAINT: &str = "node.kubernetes.io/unreachable";
const KIND: (&str, &str) = ("v1", "Node");

pub(crate) fn observe(world: &mut World, seen: &Seen) {
    if !seen.gone() && world.kubelet.runs(seen.object.name()) {
        let lost = |node: &Value| is_lost(node);
        let was = seen.before.as_ref().is_some_and(|before| lost(before.value()));
        match (was, lost(seen.value())) {
            (false, true) => world.enqueue_in(Who::Node, object::key_of(seen.value()), GRACE),
            _ => world.enqueue(Who::Node, object::key_of(seen.value())),
        }
    }
}

/// Whether a node has stopped reporting.
pub(crate) fn is_lost(node: &Value) -> bool {
    object::annotation(node, LOST) == Some("true")
}

pub(crate) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(node) = world.cache.get("nodes", key) else {
        return Outcome::Done;
    };
    let result = if is_lost(node.value()) {
        lose(world, node.value())
    } else {
        report(world, node.value())
    };
    result.into()
}

fn set_taints(world: &World, node: &Value, lost: bool) -> Result<Value, Failure> {
    let mut taints: Vec<Value> = object::list(node, "/spec/taints")
        .iter()
        .filter(|taint| taint["key"] != TAINT)
        .cloned()
        .collect();
    if lost {
        for effect in ["NoSchedule", "NoExecute"] {
            taints.push(json!({"key": TAINT, "effect": effect, "timeAdded": object::time(world.now)}));
        }
    }
    let same = object::list(node, "/spec/taints")
        .iter()
        .any(|taint| taint["key"] == TAINT)
        == lost;
    if same {
        return Ok(node.clone());
    }
    let mut next = node.clone();
    if taints.is_empty() {
        if let Some(spec) = next["spec"].as_object_mut() {
            spec.remove("taints");
        }
    } else {
        next["spec"]["taints"] = taints.into();
    }
    Ok(world.update("nodes", next)?.value().clone())
}

fn condition(world: &World, node: &Value, kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let now = object::time(world.now);
    let old = object::condition(node, kind).filter(|old| old["status"] == status);
    json!({
        "type": kind, "status": status, "lastHeartbeatTime": old.map_or(&now, |old| &old["lastHeartbeatTime"]),
        "lastTransitionTime": old.map_or(&now, |old| &old["lastTransitionTime"]), "reason": reason, "message": message,
    })
}

fn report(world: &mut World, node: &Value) -> Result<(), Failure> {
    let node = set_taints(world, node, false)?;
    let Some(config) = world
        .config
        .nodes
        .iter()
        .find(|config| config.name == object::name(&node))
        .cloned()
    else {
        return Ok(());
    };
    let capacity = json!({"cpu": config.cpu, "memory": config.memory, "pods": config.pods.to_string(), "ephemeral-storage": "100Gi"});
    let mut next = node.clone();
    let status = object::object_mut(&mut next, "status");
    status.insert("capacity".to_owned(), capacity.clone());
    status.insert("allocatable".to_owned(), capacity);
    let address = world.kubelet.host_ip(&config.name);
    let arch = node
        .pointer("/metadata/labels/kubernetes.io~1arch")
        .cloned()
        .unwrap_or_else(|| "amd64".into());
    status.insert(
        "addresses".to_owned(),
        json!([{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": config.name}]),
    );
    status.insert(
        "daemonEndpoints".to_owned(),
        json!({"kubeletEndpoint": {"Port": 10250}}),
    );
    status.insert(
        "nodeInfo".to_owned(),
        json!({
            "architecture": arch, "bootID": "", "containerRuntimeVersion": "sandbox://1", "kernelVersion": "sandbox", "kubeProxyVersion": "",
            "kubeletVersion": "v1.36.2-sandbox", "machineID": "", "operatingSystem": "linux", "osImage": "Myelin sandbox", "systemUUID": "",
        }),
    );
    let conditions = vec![
        condition(
            world,
            &node,
            "MemoryPressure",
            "False",
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
        ),
        condition(
            world,
            &node,
            "DiskPressure",
            "False",
            "KubeletHasNoDiskPressure",
            "kubelet has no disk pressure",
        ),
        condition(
            world,
            &node,
            "PIDPressure",
            "False",
            "KubeletHasSufficientPID",
            "kubelet has sufficient PID available",
        ),
        condition(
            world,
            &node,
            "Ready",
            "True",
            "KubeletReady",
            "kubelet is posting ready status",
        ),
    ];
    next["status"]["conditions"] = conditions.into();
    if next["status"] == node["status"] {
        return Ok(());
    }
    world
        .registry
        .update_status(&Actor::kubelet(&config.name), "nodes", "", next)?;
    // Its pods report again.
    for pod in world.cache.pods_on(&config.name) {
        world.enqueue(Who::Pod, object::key("", pod.uid()));
    }
    Ok(())
}

fn lose(world: &mut World, node: &Value) -> Result<(), Failure> {
    let name = object::name(node).to_owned();
    if object::condition(node, "Ready").is_some_and(|c| c["status"] == "True") {
        let node = set_taints(world, node, true)?;
        let mut next = node.clone();
        let kinds = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
        let unknown: Vec<Value> = kinds
            .iter()
            .map(|kind| {
                condition(
                    world,
                    &node,
                    kind,
                    "Unknown",
                    "NodeStatusUnknown",
                    "Kubelet stopped posting node status.",
                )
            })
            .collect();
        next["status"]["conditions"] = unknown.into();
        world.update_status("nodes", next)?;
        world.event(Event::normal(
            &node,
            KIND,
            "node-controller",
            "NodeNotReady",
            format!("Node {name} status is now: NodeNotReady"),
        ));
        for pod in world.cache.pods_on(&name) {
            let mut next = pod.value().clone();
            for condition in next["status"]["conditions"]
                .as_array_mut()
                .into_iter()
                .flatten()
                .filter(|c| c["type"] == "Ready" && c["status"] == "True")
            {
                condition["status"] = "False".into();
                condition["lastTransitionTime"] = object::time(world.now);
            }
            if next != *pod.value() {
                world.update_status("pods", next)?;
            }
        }
        world.enqueue_in(Who::Node, object::key("", &name), EVICTION);
        return Ok(());
    }
    let since = object::condition(node, "Ready")
        .and_then(|c| object::seconds(c, "/lastTransitionTime"))
        .unwrap_or(0)
        * 1000;
    if world.now < since + EVICTION {
        world.enqueue_at(Who::Node, object::key("", &name), since + EVICTION);
        return Ok(());
    }
    for pod in world.cache.pods_on(&name) {
        let daemon = object::controller(pod.value()).is_some_and(|(kind, _, _)| kind == "DaemonSet");
        if !daemon && !object::is_deleting(pod.value()) {
            world.delete("pods", pod.value(), None)?;
        }
    }
    Ok(())
}
