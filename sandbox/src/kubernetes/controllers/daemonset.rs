//! DaemonSets: one pod on every node that fits.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::events::{DAEMON_SET, Event};
use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use super::{pods, replicaset, revisions};
use crate::kubernetes::kubelet::placement;
use crate::kubernetes::registry::Failure;
use crate::kubernetes::store::Object;

const SOURCE: &str = "daemonset-controller";
const HASH: &str = "controller-revision-hash";
const GENERATION: &str = "deprecated.daemonset.template.generation";

pub(super) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        "daemonsets.apps" if !seen.gone() => world.enqueue(Who::DaemonSet, object::key_of(seen.value())),
        "nodes" => {
            // A heartbeat or a status changes nothing here.
            let shape = |node: &Value| (node["spec"].clone(), node["metadata"]["labels"].clone());
            if seen
                .before
                .as_ref()
                .is_some_and(|before| !seen.gone() && shape(before.value()) == shape(seen.value()))
            {
                return;
            }
            let keys: Vec<Key> = world
                .cache
                .all("daemonsets.apps")
                .map(|set| object::key_of(set.value()))
                .collect();
            for key in keys {
                world.enqueue(Who::DaemonSet, key);
            }
        }
        "pods" => {
            if let Some(("DaemonSet", name, _)) = object::controller(seen.value()) {
                world.enqueue(Who::DaemonSet, object::key(seen.object.namespace(), name));
            }
        }
        _ => {}
    }
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(set) = world.cache.get("daemonsets.apps", key) else {
        return Outcome::Done;
    };
    reconcile(world, set.value()).into()
}

/// Where a daemon pod is, or is meant to be.
fn target(pod: &Value) -> String {
    let node = object::text(pod, "/spec/nodeName");
    if !node.is_empty() {
        return node.to_owned();
    }
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
    object::text(pod, terms).to_owned()
}

fn reconcile(world: &mut World, set: &Value) -> Result<(), Failure> {
    let pods = replicaset::claim_pods(world, set, "apps/v1", "DaemonSet")?;
    if object::is_deleting(set) {
        return Ok(());
    }
    let collisions = object::number(set, "/status/collisionCount").unwrap_or(0);
    let revisions = revisions::current(world, set, "DaemonSet", collisions)?;
    let hash = object::label(revisions.update.value(), "controller.kubernetes.io/hash")
        .unwrap_or_default()
        .to_owned();
    let nodes: Vec<Arc<Object>> = world.cache.all("nodes").cloned().collect();
    let mut by_node: BTreeMap<String, Vec<Arc<Object>>> = BTreeMap::new();
    for pod in &pods {
        by_node.entry(target(pod.value())).or_default().push(pod.clone());
    }
    let mut outcome = Ok(());
    for node in &nodes {
        let wanted = placement::daemon_fits(&set["spec"]["template"]["spec"], node.value());
        let here = by_node.get(node.name()).cloned().unwrap_or_default();
        let result = place(world, set, node, wanted, &here, &hash);
        outcome = outcome.and(result);
    }
    for (node, orphans) in &by_node {
        if nodes.iter().all(|known| known.name() != node) {
            for pod in orphans.iter().filter(|pod| !object::is_deleting(pod.value())) {
                world.delete("pods", pod.value(), None)?;
            }
        }
    }
    if outcome.is_ok() && object::text(set, "/spec/updateStrategy/type") != "OnDelete" {
        outcome = update(world, set, &nodes, &by_node, &hash);
    }
    if object::number(set, "/status/observedGeneration").is_some() {
        // Only the first status is written before the pods of its turn can be seen.
        by_node.clear();
        for pod in world
            .registry
            .list("pods", Some(object::namespace(set)), Some(&set["spec"]["selector"]))?
        {
            if object::controller(pod.value()).is_some_and(|(_, _, uid)| uid == object::uid(set)) {
                by_node.entry(target(pod.value())).or_default().push(pod);
            }
        }
    }
    write_status(world, set, &nodes, &by_node, &hash)?;
    outcome?;
    let live: Vec<String> = pods
        .iter()
        .filter_map(|pod| object::label(pod.value(), HASH).map(|hash| format!("{}-{hash}", object::name(set))))
        .chain([revisions.update.name().to_owned()])
        .collect();
    let live: Vec<&str> = live.iter().map(String::as_str).collect();
    revisions::truncate(
        world,
        &revisions,
        &live,
        object::number(set, "/spec/revisionHistoryLimit").unwrap_or(10),
    )
}

/// Make the pod of a node, or take away what should not be there.
fn place(
    world: &mut World,
    set: &Value,
    node: &Arc<Object>,
    wanted: bool,
    here: &[Arc<Object>],
    hash: &str,
) -> Result<(), Failure> {
    let mut running = Vec::new();
    for pod in here {
        if object::is_deleting(pod.value()) {
            continue;
        }
        if pods::phase(pod.value()) == "Failed" {
            let message = format!(
                "Found failed daemon pod {}/{} on node {}, will try to kill it",
                pod.namespace(),
                pod.name(),
                node.name()
            );
            world.event(Event::warning(set, DAEMON_SET, SOURCE, "FailedDaemonPod", message));
            delete(world, set, pod)?;
        } else {
            running.push(pod);
        }
    }
    // A pod that is going holds its node until it has ended.
    let leaving = here.iter().any(|pod| pods::is_terminating(pod.value()));
    if wanted && running.is_empty() && !leaving {
        return create(world, set, node.name(), hash);
    }
    let spare = if wanted { 1 } else { 0 };
    running.sort_by_key(|pod| object::seconds(pod.value(), "/metadata/creationTimestamp"));
    for pod in running.into_iter().skip(spare) {
        delete(world, set, pod)?;
    }
    Ok(())
}

fn delete(world: &mut World, set: &Value, pod: &Arc<Object>) -> Result<(), Failure> {
    world.delete("pods", pod.value(), None)?;
    world.event(Event::normal(
        set,
        DAEMON_SET,
        SOURCE,
        "SuccessfulDelete",
        format!("Deleted pod: {}", pod.name()),
    ));
    Ok(())
}

fn create(world: &mut World, set: &Value, node: &str, hash: &str) -> Result<(), Failure> {
    let mut pod = replicaset::pod_from(&set["spec"]["template"], set, "apps/v1", "DaemonSet");
    let labels = object::object_mut(&mut pod["metadata"], "labels");
    labels.insert(HASH.to_owned(), hash.into());
    labels.insert(
        "pod-template-generation".to_owned(),
        object::annotation(set, GENERATION)
            .map_or_else(|| object::generation(set).to_string(), str::to_owned)
            .into(),
    );
    let field = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]});
    pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"] =
        json!([field]);
    let mut tolerations: Vec<Value> = object::list(&pod, "/spec/tolerations").to_vec();
    for (key, effect) in [
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ] {
        tolerations.push(json!({"key": key, "operator": "Exists", "effect": effect}));
    }
    pod["spec"]["tolerations"] = tolerations.into();
    match world.create("pods", object::namespace(set), pod) {
        Ok(pod) => {
            world.event(Event::normal(
                set,
                DAEMON_SET,
                SOURCE,
                "SuccessfulCreate",
                format!("Created pod: {}", pod.name()),
            ));
            Ok(())
        }
        Err(failure) => {
            world.event(Event::warning(
                set,
                DAEMON_SET,
                SOURCE,
                "FailedCreate",
                format!("Error creating: {}", failure.message),
            ));
            Err(failure)
        }
    }
}

/// Take down pods of old templates, as many as may be unavailable.
fn update(
    world: &mut World,
    set: &Value,
    nodes: &[Arc<Object>],
    by_node: &BTreeMap<String, Vec<Arc<Object>>>,
    hash: &str,
) -> Result<(), Failure> {
    let wanted: Vec<&Arc<Object>> = nodes
        .iter()
        .filter(|node| placement::daemon_fits(&set["spec"]["template"]["spec"], node.value()))
        .collect();
    let total = i64::try_from(wanted.len()).unwrap_or(0);
    let most = object::scaled(
        &set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"],
        total,
        true,
    )
    .max(1);
    let min_ready = object::number(set, "/spec/minReadySeconds").unwrap_or(0);
    let mut unavailable = 0;
    let (mut broken, mut candidates) = (Vec::new(), Vec::new());
    for node in wanted {
        let pods: Vec<&Arc<Object>> = by_node
            .get(node.name())
            .into_iter()
            .flatten()
            .filter(|pod| !pods::is_finished(pod.value()))
            .collect();
        let Some(pod) = pods.iter().find(|pod| !object::is_deleting(pod.value())) else {
            unavailable += 1;
            continue;
        };
        let available = pods::is_available(pod.value(), min_ready, world.now);
        let old = object::label(pod.value(), HASH) != Some(hash);
        if !available {
            unavailable += 1;
        }
        if old && available {
            candidates.push((*pod).clone());
        } else if old {
            broken.push((*pod).clone());
        }
    }
    let room = usize::try_from(most - unavailable).unwrap_or(0);
    // What does not work may go at once: nothing is lost.
    for pod in broken.into_iter().chain(candidates.into_iter().take(room)) {
        delete(world, set, &pod)?;
    }
    Ok(())
}

fn write_status(
    world: &mut World,
    set: &Value,
    nodes: &[Arc<Object>],
    by_node: &BTreeMap<String, Vec<Arc<Object>>>,
    hash: &str,
) -> Result<(), Failure> {
    let min_ready = object::number(set, "/spec/minReadySeconds").unwrap_or(0);
    let [
        mut desired,
        mut current,
        mut misplaced,
        mut ready,
        mut available,
        mut updated,
    ] = [0_i64; 6];
    for node in nodes {
        let here = by_node.get(node.name()).map_or(&[][..], Vec::as_slice);
        let wanted = placement::daemon_fits(&set["spec"]["template"]["spec"], node.value());
        if !wanted {
            misplaced += i64::from(!here.is_empty());
            continue;
        }
        desired += 1;
        let mut here: Vec<&Arc<Object>> = here.iter().collect();
        here.sort_by_key(|pod| {
            (
                object::is_deleting(pod.value()),
                object::seconds(pod.value(), "/metadata/creationTimestamp"),
            )
        });
        let Some(pod) = here.first() else { continue };
        current += 1;
        if pods::is_ready(pod.value()) {
            ready += 1;
            available += i64::from(pods::is_available(pod.value(), min_ready, world.now));
            if let Some(at) = pods::available_at(pod.value(), min_ready).filter(|at| *at > world.now) {
                world.enqueue_at(Who::DaemonSet, object::key_of(set), at);
            }
        }
        updated += i64::from(object::label(pod.value(), HASH) == Some(hash));
    }
    let mut next = Map::new();
    for (field, value) in [
        ("currentNumberScheduled", current),
        ("numberMisscheduled", misplaced),
        ("desiredNumberScheduled", desired),
        ("numberReady", ready),
    ] {
        next.insert(field.to_owned(), value.into());
    }
    next.insert("observedGeneration".to_owned(), object::generation(set).into());
    object::set_nonzero(&mut next, "updatedNumberScheduled", updated);
    object::set_nonzero(&mut next, "numberAvailable", available);
    object::set_nonzero(&mut next, "numberUnavailable", desired - available);
    let next = Value::Object(next);
    if set["status"] == next {
        return Ok(());
    }
    let mut object = set.clone();
    object["status"] = next;
    world.update_status("daemonsets.apps", object).map(|_| ())
}
