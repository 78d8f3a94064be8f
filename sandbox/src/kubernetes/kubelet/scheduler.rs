//! The scheduler: gives each pod a node, or says why none will have it.
//!
//! It filters as the real one does and then takes the node with the fewest pods. It does not preempt, and knows no pod affinity.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::placement::{self, Taken, Unfit};
use crate::kubernetes::controllers::cache::Place;
use crate::kubernetes::controllers::claim;
use crate::kubernetes::controllers::events::{Event, POD};
use crate::kubernetes::controllers::object::{self, Key};
use crate::kubernetes::controllers::pods;
use crate::kubernetes::controllers::world::{Outcome, Seen, Who, World};
use crate::kubernetes::registry::{Actor, Failure, Part};
use crate::kubernetes::store::{self, Object};

const SOURCE: &str = "default-scheduler";

fn is_ours(pod: &Value) -> bool {
    let scheduler = object::text(pod, "/spec/schedulerName");
    object::text(pod, "/spec/nodeName").is_empty()
        && (scheduler.is_empty() || scheduler == SOURCE)
        && !object::is_deleting(pod)
        && !pods::is_finished(pod)
}

pub(crate) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        "pods" => {
            account(world, seen);
            let pod = seen.value();
            if !seen.gone() && is_ours(pod) {
                // What the scheduler itself wrote onto the status is no reason to look again.
                let changed = seen.before.as_ref().is_none_or(|before| {
                    before.value()["spec"] != pod["spec"]
                        || before.value()["metadata"]["labels"] != pod["metadata"]["labels"]
                });
                if changed {
                    world.enqueue(Who::Scheduler, object::key_of(pod));
                }
            } else if !object::text(pod, "/spec/nodeName").is_empty() {
                let freed = seen.gone()
                    || (pods::is_finished(pod)
                        && seen
                            .before
                            .as_ref()
                            .is_some_and(|before| !pods::is_finished(before.value())));
                if freed {
                    retry(world, |_| true);
                }
            }
        }
        "nodes" => {
            let shape = |node: &Value| {
                (
                    node["spec"].clone(),
                    node["metadata"]["labels"].clone(),
                    node["status"]["allocatable"].clone(),
                    ready(node),
                )
            };
            if seen
                .before
                .as_ref()
                .is_none_or(|before| seen.gone() || shape(before.value()) != shape(seen.value()))
            {
                retry(world, |_| true);
            }
        }
        "persistentvolumeclaims" => {
            let (namespace, name) = (seen.object.namespace().to_owned(), seen.object.name().to_owned());
            retry(world, |pod| {
                pod.namespace() == namespace && claim::claims_of(pod.value()).contains(&name)
            });
        }
        "persistentvolumes" | "storageclasses.storage.k8s.io" => {
            retry(world, |pod| !claim::claims_of(pod.value()).is_empty());
        }
        _ => {}
    }
}

fn ready(node: &Value) -> bool {
    object::condition(node, "Ready").is_some_and(|c| c["status"] == "True")
}

fn retry(world: &mut World, which: impl Fn(&Arc<Object>) -> bool) {
    let waiting: Vec<Key> = world
        .cache
        .pods_on("")
        .iter()
        .filter(|pod| is_ours(pod.value()) && which(pod))
        .map(|pod| object::key_of(pod.value()))
        .collect();
    for key in waiting {
        world.enqueue(Who::Scheduler, key);
    }
}

pub(crate) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(pod) = world.cache.get("pods", key) else {
        return Outcome::Done;
    };
    if !is_ours(pod.value()) || !object::list(pod.value(), "/spec/schedulingGates").is_empty() {
        return Outcome::Done;
    }
    place(world, &pod).into()
}

/// What the claims of a pod allow.
enum Claims {
    Bound,
    /// To be provisioned on the node that is chosen.
    Wait(Vec<Arc<Object>>),
    Refused(String),
}

fn claims(world: &World, pod: &Object) -> Claims {
    let mut waiting = Vec::new();
    for name in claim::claims_of(pod.value()) {
        let Some(found) = world.cache.find("persistentvolumeclaims", pod.namespace(), &name) else {
            return Claims::Refused(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        if found.is_deleting() {
            return Claims::Refused(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        if object::text(found.value(), "/status/phase") == "Lost" {
            return Claims::Refused(format!(
                "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{}\"",
                object::text(found.value(), "/spec/volumeName")
            ));
        }
        if object::annotation(found.value(), "pv.kubernetes.io/bind-completed").is_some() {
            continue;
        }
        let class = world.cache.find(
            "storageclasses.storage.k8s.io",
            "",
            object::text(found.value(), "/spec/storageClassName"),
        );
        if class.is_some_and(|class| class.value()["volumeBindingMode"] == "WaitForFirstConsumer") {
            waiting.push(found);
        } else {
            return Claims::Refused("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
    }
    if waiting.is_empty() {
        Claims::Bound
    } else {
        Claims::Wait(waiting)
    }
}

/// Tracks the usage of each node, change by change.
fn account(world: &mut World, seen: &Seen) {
    let holds = |pod: &Value| !object::text(pod, "/spec/nodeName").is_empty() && !pods::is_finished(pod);
    let was = seen
        .before
        .as_ref()
        .map(|before| before.value())
        .filter(|pod| holds(pod));
    let is = Some(seen.value()).filter(|pod| !seen.gone() && holds(pod));
    if let (Some(was), Some(is)) = (was, is)
        && was["spec"] == is["spec"]
    {
        return;
    }
    if let Some(pod) = was {
        let node = object::text(pod, "/spec/nodeName").to_owned();
        world.taken.entry(node).or_default().remove(&pod["spec"]);
    }
    if let Some(pod) = is {
        let node = object::text(pod, "/spec/nodeName").to_owned();
        world.taken.entry(node).or_default().add(&pod["spec"]);
    }
}

fn place(world: &mut World, pod: &Arc<Object>) -> Result<(), Failure> {
    let nodes: Vec<Arc<Object>> = world.cache.all("nodes").cloned().collect();
    let count = nodes.len();
    if count == 0 {
        return refuse(world, pod, "no nodes available to schedule pods");
    }
    let waiting = match claims(world, pod) {
        Claims::Refused(why) => return refuse(world, pod, &format!("0/{count} nodes are available: {why}. not found")),
        Claims::Bound => Vec::new(),
        Claims::Wait(waiting) => waiting,
    };
    let none = Taken::default();
    let mut best: Option<(i128, &str)> = None;
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut curable = 0;
    for node in &nodes {
        let taken = world.taken.get(node.name()).unwrap_or(&none);
        match placement::fits(&pod.value()["spec"], node.value(), taken) {
            Ok(()) if best.is_none_or(|(pods, _)| taken.pods < pods) => best = Some((taken.pods, node.name())),
            Ok(()) => {}
            Err(unfit) => {
                curable += usize::from(unfit.iter().all(|Unfit { curable, .. }| *curable));
                for Unfit { reason, .. } in unfit {
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
    }
    let Some((_, node)) = best else {
        let each: Vec<String> = reasons
            .iter()
            .map(|(reason, nodes)| format!("{nodes} {reason}"))
            .collect();
        let mut hopes = Vec::new();
        if curable > 0 {
            hopes.push(format!("{curable} No preemption victims found for incoming pod"));
        }
        if curable < count {
            hopes.push(format!("{} Preemption is not helpful for scheduling", count - curable));
        }
        let message = format!(
            "0/{count} nodes are available: {}. no new claims to deallocate, preemption: 0/{count} nodes are available: {}.",
            each.join(", "),
            hopes.join(", ")
        );
        return refuse(world, pod, &message);
    };
    if !waiting.is_empty() {
        return nominate(world, pod, node, &waiting);
    }
    bind(world, pod, node)
}

/// Say why no node will have it.
fn refuse(world: &mut World, pod: &Arc<Object>, message: &str) -> Result<(), Failure> {
    let old = object::condition(pod.value(), "PodScheduled");
    if old.is_none_or(|old| old["message"] != message || old["reason"] != "Unschedulable") {
        let now = object::time(world.now);
        let since = old
            .filter(|old| old["status"] == "False")
            .map_or(now, |old| old["lastTransitionTime"].clone());
        let condition = json!({
            "type": "PodScheduled", "observedGeneration": object::generation(pod.value()), "status": "False", "lastProbeTime": null,
            "lastTransitionTime": since, "reason": "Unschedulable", "message": message,
        });
        let mut next = pod.value().clone();
        let mut conditions: Vec<Value> = object::list(pod.value(), "/status/conditions")
            .iter()
            .filter(|c| c["type"] != "PodScheduled")
            .cloned()
            .collect();
        conditions.push(condition);
        next["status"]["conditions"] = conditions.into();
        world
            .registry
            .update_status(&Actor::scheduler(), "pods", pod.namespace(), next)?;
    }
    world.event(Event::warning(pod.value(), POD, SOURCE, "FailedScheduling", message));
    Ok(())
}

/// Tell the provisioner on which node the volumes are wanted; the pod is bound when they are there.
fn nominate(world: &mut World, pod: &Arc<Object>, node: &str, waiting: &[Arc<Object>]) -> Result<(), Failure> {
    if pod.value()["status"]["nominatedNodeName"] != node {
        let mut next = pod.value().clone();
        next["status"]["nominatedNodeName"] = node.into();
        world
            .registry
            .update_status(&Actor::scheduler(), "pods", pod.namespace(), next)?;
    }
    for found in waiting {
        if object::annotation(found.value(), claim::SELECTED_NODE).is_none() {
            let place = Place {
                resource: "persistentvolumeclaims".into(),
                key: object::key_of(found.value()),
            };
            world.modify(&place, Part::Main, |claim| {
                object::object_mut(&mut claim["metadata"], "annotations")
                    .insert(claim::SELECTED_NODE.to_owned(), node.into());
            })?;
        }
    }
    Ok(())
}

/// A binding is no update of the pod: it alone may set the node, and it sets the condition in the same write.
fn bind(world: &mut World, pod: &Arc<Object>, node: &str) -> Result<(), Failure> {
    let mut next = pod.value().clone();
    next["spec"]["nodeName"] = node.into();
    let mut conditions: Vec<Value> = object::list(pod.value(), "/status/conditions")
        .iter()
        .filter(|c| c["type"] != "PodScheduled")
        .cloned()
        .collect();
    conditions.push(json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": object::time(world.now)}));
    next["status"]["conditions"] = conditions.into();
    if let Some(status) = next["status"].as_object_mut() {
        status.remove("nominatedNodeName");
    }
    let table = world.registry.store().table("pods");
    if table
        .replace(&store::key(pod.namespace(), pod.name()), next.clone(), pod.revision())
        .is_err()
    {
        return Err(Failure::stale("", "pods", pod.name()));
    }
    let message = format!("Successfully assigned {}/{} to {node}", pod.namespace(), pod.name());
    world.event(Event::normal(&next, POD, SOURCE, "Scheduled", message));
    Ok(())
}
