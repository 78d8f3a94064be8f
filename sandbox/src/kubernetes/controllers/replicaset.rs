//! ReplicaSets: as many pods as are asked for.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::events::{Event, REPLICA_SET};
use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use super::{cache, pods};
use crate::kubernetes::registry::Failure;
use crate::kubernetes::store::Object;

const SOURCE: &str = "replicaset-controller";
/// No more pods than this are made in one turn.
const BURST: usize = 500;

pub(super) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        "replicasets.apps" if !seen.gone() => world.enqueue(Who::ReplicaSet, object::key_of(seen.value())),
        "pods" => {
            let owners = [Some(&seen.object), seen.before.as_ref()];
            let mut owned = false;
            for pod in owners.into_iter().flatten() {
                if let Some((kind, name, _)) = object::controller(pod.value()) {
                    owned = true;
                    if kind == "ReplicaSet" {
                        world.enqueue(Who::ReplicaSet, object::key(pod.namespace(), name));
                    }
                }
            }
            if !owned && !seen.gone() {
                adopters(world, seen);
            }
        }
        _ => {}
    }
}

/// A pod without a controller: whatever selects it checks again.
fn adopters(world: &mut World, seen: &Seen) {
    let namespace = seen.object.namespace();
    let keys: Vec<Key> = world
        .cache
        .in_namespace("replicasets.apps", namespace)
        .filter(|set| cache::selects(&set.value()["spec"]["selector"], seen.object.labels()))
        .map(|set| object::key_of(set.value()))
        .collect();
    for key in keys {
        world.enqueue(Who::ReplicaSet, key);
    }
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(set) = world.cache.get("replicasets.apps", key) else {
        return Outcome::Done;
    };
    match reconcile(world, set.value()) {
        Ok(()) => Outcome::Done,
        Err(failure) if failure.is_not_found() => Outcome::Done,
        Err(_) => Outcome::Retry,
    }
}

/// Pods of a controller: those it owns and the orphans that it selects, which it takes.
pub(super) fn claim_pods(
    world: &World,
    owner: &Value,
    api_version: &str,
    kind: &str,
) -> Result<Vec<Arc<Object>>, Failure> {
    let mut found = world.cache.owned("pods", object::uid(owner));
    if object::is_deleting(owner) {
        return Ok(found);
    }
    let selector = &owner["spec"]["selector"];
    found.retain(|pod| cache::selects(selector, pod.labels()) || object::is_deleting(pod.value()));
    let orphans: Vec<Arc<Object>> = world
        .cache
        .orphans(object::namespace(owner))
        .filter(|pod| pods::is_active(pod.value()) && cache::selects(selector, pod.labels()))
        .collect();
    for orphan in orphans {
        let mut pod = orphan.value().clone();
        pod["metadata"]["ownerReferences"] = json!([object::owner_reference(owner, api_version, kind)]);
        found.push(world.update("pods", pod)?);
    }
    Ok(found)
}

/// A pod as a template says, with its owner.
pub(super) fn pod_from(template: &Value, owner: &Value, api_version: &str, kind: &str) -> Value {
    let mut metadata = Map::new();
    for field in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template["metadata"].get(field) {
            metadata.insert(field.to_owned(), value.clone());
        }
    }
    metadata.insert("generateName".to_owned(), format!("{}-", object::name(owner)).into());
    metadata.insert("namespace".to_owned(), object::namespace(owner).into());
    metadata.insert(
        "ownerReferences".to_owned(),
        json!([object::owner_reference(owner, api_version, kind)]),
    );
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

fn reconcile(world: &mut World, set: &Value) -> Result<(), Failure> {
    let pods = claim_pods(world, set, "apps/v1", "ReplicaSet")?;
    let mut outcome = Ok(());
    if !object::is_deleting(set) {
        let active: Vec<Arc<Object>> = pods
            .iter()
            .filter(|pod| pods::is_active(pod.value()))
            .cloned()
            .collect();
        outcome = manage(world, set, &active);
    }
    write_status(world, set, &pods, outcome.as_ref().err())?;
    outcome
}

fn manage(world: &mut World, set: &Value, active: &[Arc<Object>]) -> Result<(), Failure> {
    let wanted = usize::try_from(object::number(set, "/spec/replicas").unwrap_or(1)).unwrap_or(0);
    if active.len() < wanted {
        let mut left = (wanted - active.len()).min(BURST);
        // Small batches first: if a pod is refused, the next ones would be too.
        let mut batch = 1;
        while left > 0 {
            for _ in 0..batch.min(left) {
                create_pod(world, set)?;
            }
            left -= batch.min(left);
            batch *= 2;
        }
        return Ok(());
    }
    let mut spare: Vec<&Arc<Object>> = active.iter().collect();
    spare.sort_by_key(|pod| pods::deletion_rank(pod.value()));
    for pod in spare.into_iter().take(active.len() - wanted) {
        world.delete("pods", pod.value(), None)?;
        let message = format!("Deleted pod: {}", pod.name());
        world.event(Event::normal(set, REPLICA_SET, SOURCE, "SuccessfulDelete", message));
    }
    Ok(())
}

fn create_pod(world: &mut World, set: &Value) -> Result<(), Failure> {
    let body = pod_from(&set["spec"]["template"], set, "apps/v1", "ReplicaSet");
    match world.create("pods", object::namespace(set), body) {
        Ok(pod) => {
            let message = format!("Created pod: {}", pod.name());
            world.event(Event::normal(set, REPLICA_SET, SOURCE, "SuccessfulCreate", message));
            Ok(())
        }
        Err(failure) => {
            let terminating = failure
                .details
                .as_ref()
                .is_some_and(|d| d["causes"][0]["reason"] == "NamespaceTerminating");
            if !terminating {
                let message = format!("Error creating: {}", failure.message);
                world.event(Event::warning(set, REPLICA_SET, SOURCE, "FailedCreate", message));
            }
            if terminating { Ok(()) } else { Err(failure) }
        }
    }
}

fn write_status(
    world: &mut World,
    set: &Value,
    pods: &[Arc<Object>],
    failure: Option<&Failure>,
) -> Result<(), Failure> {
    let min_ready = object::number(set, "/spec/minReadySeconds").unwrap_or(0);
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    let active: Vec<&Value> = pods
        .iter()
        .map(|pod| pod.value())
        .filter(|pod| pods::is_active(pod))
        .collect();
    let count =
        |test: &dyn Fn(&Value) -> bool| i64::try_from(active.iter().filter(|pod| test(pod)).count()).unwrap_or(0);
    let ready = count(&|pod| pods::is_ready(pod));
    let available = count(&|pod| pods::is_available(pod, min_ready, world.now));
    let mut next = Map::new();
    next.insert("replicas".to_owned(), active.len().into());
    object::set_nonzero(
        &mut next,
        "fullyLabeledReplicas",
        count(&|pod| cache::selects(labels, &pod["metadata"]["labels"])),
    );
    object::set_nonzero(&mut next, "readyReplicas", ready);
    object::set_nonzero(&mut next, "availableReplicas", available);
    next.insert(
        "terminatingReplicas".to_owned(),
        pods.iter()
            .filter(|pod| pods::is_terminating(pod.value()))
            .count()
            .into(),
    );
    next.insert("observedGeneration".to_owned(), object::generation(set).into());
    let old = object::condition(set, "ReplicaFailure");
    let condition = match (failure, old) {
        (Some(failure), None) => {
            let wanted = object::number(set, "/spec/replicas").unwrap_or(1);
            let reason = if usize::try_from(wanted).is_ok_and(|wanted| active.len() < wanted) {
                "FailedCreate"
            } else {
                "FailedDelete"
            };
            Some(
                json!({"type": "ReplicaFailure", "status": "True", "lastTransitionTime": object::time(world.now), "reason": reason, "message": failure.message}),
            )
        }
        (Some(_), Some(old)) => Some(old.clone()),
        (None, _) => None,
    };
    let mut conditions: Vec<Value> = object::list(set, "/status/conditions")
        .iter()
        .filter(|c| c["type"] != "ReplicaFailure")
        .cloned()
        .collect();
    conditions.extend(condition);
    if !conditions.is_empty() {
        next.insert("conditions".to_owned(), conditions.into());
    }
    if ready > available {
        let waiting = active
            .iter()
            .filter_map(|pod| pods::available_at(pod, min_ready))
            .filter(|at| *at > world.now)
            .min();
        if let Some(at) = waiting {
            world.enqueue_at(Who::ReplicaSet, object::key_of(set), at);
        }
    }
    let next = Value::Object(next);
    if set["status"] == next {
        return Ok(());
    }
    let mut object = set.clone();
    object["status"] = next;
    world.update_status("replicasets.apps", object).map(|_| ())
}
