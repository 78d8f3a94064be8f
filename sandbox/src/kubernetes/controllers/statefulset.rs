//! StatefulSets: pods with names, one after the other.
//!
//! A turn looks at each ordinal in order and, unless pods may be managed in parallel, stops at the first that is not ready; the
//! status is counted from what the turn began with. That is why a created pod shows only in the next status.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::events::{Event, STATEFUL_SET};
use super::object::{self, Key};
use super::revisions::{self, Revisions};
use super::world::{Outcome, Seen, Who, World};
use super::{claims_of_set, pods, replicaset};
use crate::kubernetes::registry::Failure;
use crate::kubernetes::store::Object;

pub(super) const SOURCE: &str = "statefulset-controller";
const HASH: &str = "controller-revision-hash";

pub(super) fn observe(world: &mut World, seen: &Seen) {
    let namespace = seen.object.namespace().to_owned();
    match &*seen.resource {
        "statefulsets.apps" if !seen.gone() => world.enqueue(Who::StatefulSet, object::key_of(seen.value())),
        "pods" => {
            for pod in [Some(&seen.object), seen.before.as_ref()].into_iter().flatten() {
                if let Some(("StatefulSet", name, _)) = object::controller(pod.value()) {
                    world.enqueue(Who::StatefulSet, object::key(&namespace, name));
                }
            }
        }
        // A claim that has gone may be missing to a pod that waits for it.
        "persistentvolumeclaims" if seen.gone() => {
            let made_from = |set: &Value| {
                let templates = object::list(set, "/spec/volumeClaimTemplates").iter();
                let mut prefixes = templates.map(|claim| format!("{}-{}-", object::name(claim), object::name(set)));
                prefixes.any(|prefix| seen.object.name().starts_with(&prefix))
            };
            let sets = world.cache.in_namespace("statefulsets.apps", &namespace);
            let keys: Vec<Key> = sets
                .filter(|set| made_from(set.value()))
                .map(|set| object::key_of(set.value()))
                .collect();
            for key in keys {
                world.enqueue(Who::StatefulSet, key);
            }
        }
        _ => {}
    }
}

/// The ordinal at the end of a pod's name.
pub(super) fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    object::name(pod)
        .strip_prefix(object::name(set))?
        .strip_prefix('-')?
        .parse()
        .ok()
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(set) = world.cache.get("statefulsets.apps", key) else {
        return Outcome::Done;
    };
    reconcile(world, set.value()).into()
}

fn reconcile(world: &mut World, set: &Value) -> Result<(), Failure> {
    let mut pods = replicaset::claim_pods(world, set, "apps/v1", "StatefulSet")?;
    pods.retain(|pod| ordinal(set, pod.value()).is_some());
    let collisions = object::number(set, "/status/collisionCount").unwrap_or(0);
    let revisions = revisions::current(world, set, "StatefulSet", collisions)?;
    let current = text_or(object::text(set, "/status/currentRevision"), revisions.update.name());
    let current = if revisions.all.iter().any(|r| r.name() == current) {
        current
    } else {
        revisions.update.name().to_owned()
    };
    let mut turn = Turn::new(set, &revisions, current.clone(), pods);
    let outcome = turn.run(world);
    let mut status = turn.status;
    if object::text(set, "/spec/updateStrategy/type") != "OnDelete" || status.update == status.current {
        let wanted = object::number(set, "/spec/replicas").unwrap_or(1);
        let done = [status.updated, status.ready, status.replicas]
            .iter()
            .all(|count| *count == wanted);
        if done && object::text(set, "/spec/updateStrategy/type") == "RollingUpdate" {
            status.current_replicas = status.updated;
            status.current = status.update.clone();
        }
    }
    status.write(world, set, revisions.collisions)?;
    outcome?;
    let live: Vec<String> = turn
        .slots
        .iter()
        .chain(&turn.condemned)
        .filter_map(|slot| object::label(&slot.pod, HASH).map(str::to_owned))
        .chain([current, revisions.update.name().to_owned()])
        .collect();
    let live: Vec<&str> = live.iter().map(String::as_str).collect();
    revisions::truncate(
        world,
        &revisions,
        &live,
        object::number(set, "/spec/revisionHistoryLimit").unwrap_or(10),
    )
}

fn text_or(text: &str, other: &str) -> String {
    if text.is_empty() {
        other.to_owned()
    } else {
        text.to_owned()
    }
}

/// A pod that is, or the one that would be made.
struct Slot {
    ordinal: i64,
    pod: Value,
    made: bool,
}

impl Slot {
    fn deleting(&self) -> bool {
        object::is_deleting(&self.pod)
    }

    fn ready(&self) -> bool {
        self.made && pods::phase(&self.pod) == "Running" && pods::is_ready(&self.pod)
    }

    fn revision(&self) -> &str {
        object::label(&self.pod, HASH).unwrap_or_default()
    }
}

#[derive(Default)]
struct Status {
    replicas: i64,
    ready: i64,
    available: i64,
    current_replicas: i64,
    updated: i64,
    current: String,
    update: String,
}

impl Status {
    fn count(&mut self, slots: &[Slot], min_ready: i64, now: i64) {
        let count = |test: &dyn Fn(&Slot) -> bool| {
            i64::try_from(slots.iter().filter(|slot| slot.made && test(slot)).count()).unwrap_or(0)
        };
        self.replicas += count(&|_| true);
        self.ready += count(&Slot::ready);
        self.available += count(&|slot| slot.ready() && pods::is_available(&slot.pod, min_ready, now));
        let (current, update) = (self.current.clone(), self.update.clone());
        self.current_replicas += count(&|slot| !slot.deleting() && slot.revision() == current);
        self.updated += count(&|slot| !slot.deleting() && slot.revision() == update);
    }

    fn write(&self, world: &World, set: &Value, collisions: i64) -> Result<(), Failure> {
        let mut next = Map::new();
        next.insert("observedGeneration".to_owned(), object::generation(set).into());
        next.insert("replicas".to_owned(), self.replicas.into());
        object::set_nonzero(&mut next, "readyReplicas", self.ready);
        object::set_nonzero(&mut next, "currentReplicas", self.current_replicas);
        object::set_nonzero(&mut next, "updatedReplicas", self.updated);
        next.insert("currentRevision".to_owned(), self.current.as_str().into());
        next.insert("updateRevision".to_owned(), self.update.as_str().into());
        next.insert("collisionCount".to_owned(), collisions.into());
        next.insert("availableReplicas".to_owned(), self.available.into());
        let next = Value::Object(next);
        if set["status"] == next {
            return Ok(());
        }
        let mut object = set.clone();
        object["status"] = next;
        world.update_status("statefulsets.apps", object).map(|_| ())
    }
}

struct Turn<'a> {
    set: &'a Value,
    slots: Vec<Slot>,
    condemned: Vec<Slot>,
    status: Status,
    parallel: bool,
}

impl<'a> Turn<'a> {
    fn new(set: &'a Value, revisions: &Revisions, current: String, pods: Vec<Arc<Object>>) -> Self {
        let first = object::number(set, "/spec/ordinals/start").unwrap_or(0);
        let count = object::number(set, "/spec/replicas").unwrap_or(1);
        let status = Status {
            current,
            update: revisions.update.name().to_owned(),
            ..Status::default()
        };
        let mut slots: Vec<Slot> = Vec::new();
        let mut condemned: Vec<Slot> = Vec::new();
        let mut pods: Vec<(i64, Arc<Object>)> = pods
            .into_iter()
            .filter_map(|pod| Some((ordinal(set, pod.value())?, pod)))
            .collect();
        pods.sort_by_key(|(ordinal, _)| *ordinal);
        for at in first..first + count {
            match pods.iter().find(|(ordinal, _)| *ordinal == at) {
                Some((_, pod)) => slots.push(Slot {
                    ordinal: at,
                    pod: pod.value().clone(),
                    made: true,
                }),
                None => slots.push(Slot {
                    ordinal: at,
                    pod: new_pod(set, revisions, &status.current, at),
                    made: false,
                }),
            }
        }
        for (ordinal, pod) in pods
            .into_iter()
            .rev()
            .filter(|(at, _)| !(first..first + count).contains(at))
        {
            condemned.push(Slot {
                ordinal,
                pod: pod.value().clone(),
                made: true,
            });
        }
        let parallel = object::text(set, "/spec/podManagementPolicy") == "Parallel";
        Self {
            set,
            slots,
            condemned,
            status,
            parallel,
        }
    }

    fn run(&mut self, world: &mut World) -> Result<(), Failure> {
        let min_ready = object::number(self.set, "/spec/minReadySeconds").unwrap_or(0);
        self.status.count(&self.slots, min_ready, world.now);
        self.status.count(&self.condemned, min_ready, world.now);
        if object::is_deleting(self.set) {
            return Ok(());
        }
        claims_of_set::release_policy(
            world,
            self.set,
            &self
                .slots
                .iter()
                .chain(&self.condemned)
                .map(|slot| &slot.pod)
                .collect::<Vec<_>>(),
        )?;
        for i in 0..self.slots.len() {
            if self.place(world, i, min_ready)? {
                return Ok(());
            }
        }
        let first_unhealthy = self
            .slots
            .iter()
            .chain(self.condemned.iter().rev())
            .find(|slot| !slot.ready() || slot.deleting())
            .map(|slot| slot.ordinal);
        for slot in &self.condemned {
            if slot.deleting() {
                if self.parallel {
                    continue;
                }
                return Ok(());
            }
            if !slot.ready() && !self.parallel && Some(slot.ordinal) != first_unhealthy {
                return Ok(());
            }
            delete_pod(world, self.set, &slot.pod)?;
            if !self.parallel {
                return Ok(());
            }
        }
        self.update(world)
    }

    /// Bring one ordinal to where it should be. True if the turn ends here.
    fn place(&mut self, world: &mut World, i: usize, min_ready: i64) -> Result<bool, Failure> {
        let slot = &self.slots[i];
        if !slot.made {
            create_pod(world, self.set, &slot.pod)?;
            return Ok(!self.parallel);
        }
        if pods::is_finished(&slot.pod) {
            if !slot.deleting() {
                let (reason, word) = if pods::phase(&slot.pod) == "Failed" {
                    ("RecreatingFailedPod", "failed")
                } else {
                    ("RecreatingTerminatedPod", "terminated")
                };
                let about = format!(
                    "StatefulSet {}/{} is recreating {word} Pod {}",
                    object::namespace(self.set),
                    object::name(self.set),
                    object::name(&slot.pod)
                );
                world.event(Event::warning(self.set, STATEFUL_SET, SOURCE, reason, about));
                delete_pod(world, self.set, &slot.pod)?;
            }
            return Ok(!self.parallel || slot.deleting());
        }
        if pods::phase(&slot.pod) == "Pending" {
            claims_of_set::ensure(world, self.set, &slot.pod)?;
        }
        if self.parallel {
            return Ok(false);
        }
        if slot.deleting() || !slot.ready() {
            return Ok(true);
        }
        if !pods::is_available(&slot.pod, min_ready, world.now) {
            if let Some(at) = pods::available_at(&slot.pod, min_ready) {
                world.enqueue_at(Who::StatefulSet, object::key_of(self.set), at);
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Replace the last pod of another revision, if those after it are well.
    fn update(&mut self, world: &mut World) -> Result<(), Failure> {
        if object::text(self.set, "/spec/updateStrategy/type") == "OnDelete" {
            return Ok(());
        }
        let first = object::number(self.set, "/spec/ordinals/start").unwrap_or(0);
        let partition = first + object::number(self.set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
        for slot in self.slots.iter().rev().filter(|slot| slot.ordinal >= partition) {
            if slot.made && slot.revision() != self.status.update && !slot.deleting() {
                delete_pod(world, self.set, &slot.pod)?;
                self.status.current_replicas -= i64::from(slot.revision() == self.status.current);
                return Ok(());
            }
            if !slot.ready() || slot.deleting() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn delete_pod(world: &mut World, set: &Value, pod: &Value) -> Result<(), Failure> {
    world.delete("pods", pod, None)?;
    let message = format!(
        "Delete Pod {} in StatefulSet {} successful",
        object::name(pod),
        object::name(set)
    );
    world.event(Event::normal(set, STATEFUL_SET, SOURCE, "SuccessfulDelete", message));
    Ok(())
}

fn create_pod(world: &mut World, set: &Value, pod: &Value) -> Result<(), Failure> {
    claims_of_set::ensure(world, set, pod)?;
    let what = format!("Create Pod {} in StatefulSet {}", object::name(pod), object::name(set));
    match world.create("pods", object::namespace(set), pod.clone()) {
        Ok(_) => {
            world.event(Event::normal(
                set,
                STATEFUL_SET,
                SOURCE,
                "SuccessfulCreate",
                format!("{what} successful"),
            ));
            Ok(())
        }
        Err(failure) if failure.is_already_exists() => Err(failure),
        Err(failure) => {
            let message = format!(
                "{} failed error: {}",
                what.replacen("Create", "create", 1),
                failure.message
            );
            world.event(Event::warning(set, STATEFUL_SET, SOURCE, "FailedCreate", message));
            Err(failure)
        }
    }
}

/// The pod of an ordinal: of the current revision below the partition, of the new one from there on.
fn new_pod(set: &Value, revisions: &Revisions, current: &str, ordinal: i64) -> Value {
    let first = object::number(set, "/spec/ordinals/start").unwrap_or(0);
    let old = object::text(set, "/spec/updateStrategy/type") == "RollingUpdate"
        && ordinal < first + object::number(set, "/spec/updateStrategy/rollingUpdate/partition").unwrap_or(0);
    let revision = if old {
        revisions
            .all
            .iter()
            .find(|r| r.name() == current)
            .unwrap_or(&revisions.update)
    } else {
        &revisions.update
    };
    let template = revisions::template(revision.value());
    let mut pod = replicaset::pod_from(&template, set, "apps/v1", "StatefulSet");
    let name = format!("{}-{ordinal}", object::name(set));
    if let Some(metadata) = pod["metadata"].as_object_mut() {
        metadata.remove("generateName");
        metadata.insert("name".to_owned(), name.as_str().into());
    }
    let labels = object::object_mut(&mut pod["metadata"], "labels");
    labels.insert("statefulset.kubernetes.io/pod-name".to_owned(), name.as_str().into());
    labels.insert("apps.kubernetes.io/pod-index".to_owned(), ordinal.to_string().into());
    labels.insert(HASH.to_owned(), revision.name().into());
    pod["spec"]["hostname"] = name.as_str().into();
    pod["spec"]["subdomain"] = set["spec"]["serviceName"].clone();
    if pod["spec"]["subdomain"].is_null()
        && let Some(spec) = pod["spec"].as_object_mut()
    {
        spec.remove("subdomain");
    }
    let claims: Vec<Value> = object::list(set, "/spec/volumeClaimTemplates")
        .iter()
        .map(|claim| json!({"name": object::name(claim), "persistentVolumeClaim": {"claimName": format!("{}-{name}", object::name(claim))}}))
        .collect();
    let mut volumes: Vec<Value> = object::list(&pod, "/spec/volumes").to_vec();
    volumes.retain(|volume| claims.iter().all(|claim| claim["name"] != volume["name"]));
    let all: Vec<Value> = claims.into_iter().chain(volumes).collect();
    if !all.is_empty() {
        pod["spec"]["volumes"] = all.into();
    }
    pod
}
