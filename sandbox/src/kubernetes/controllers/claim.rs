//! Volumes and claims: binding, the sandbox's own provisioner, protection while in use, release.
//!
//! A claim that cannot be bound is looked at again every 15 s and not when a volume appears: so the real binder does it.

use std::sync::Arc;

use serde_json::{Value, json};

use super::amount;
use super::cache::Place;
use super::events::{CLAIM, Event};
use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use super::{Provisioner, pods};
use crate::kubernetes::registry::{Failure, Part};
use crate::kubernetes::store::Object;

const SOURCE: &str = "persistentvolume-controller";
const CLAIMS: &str = "persistentvolumeclaims";
const VOLUMES: &str = "persistentvolumes";
const CLASSES: &str = "storageclasses.storage.k8s.io";
const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";
pub(crate) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BOUND_BY: &str = "pv.kubernetes.io/bound-by-controller";
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const RESYNC: i64 = 15_000;
/// How long a new claim waits for the binder.
const BINDER: i64 = 5;
/// Where in its period the binder looks again.
const PHASE: i64 = 10_000;

pub(super) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        CLAIMS => {
            // The binder is slower than the scheduler: a pod made with its claim is refused once.
            let fresh = seen.before.is_none() && volume_of(seen.value()).is_none();
            let pause = if fresh { BINDER } else { 0 };
            world.enqueue_in(Who::Claim, object::key_of(seen.value()), pause);
            if let Some(volume) = volume_of(seen.value()) {
                world.enqueue(Who::Volume, object::key("", volume));
            }
        }
        VOLUMES => {
            world.enqueue(Who::Volume, object::key_of(seen.value()));
            let reference = &seen.value()["spec"]["claimRef"];
            if let (Some(namespace), Some(name)) = (reference["namespace"].as_str(), reference["name"].as_str()) {
                world.enqueue(Who::Claim, object::key(namespace, name));
            }
        }
        "pods" => {
            let used = |pod: &Value| pods::is_finished(pod) || object::is_deleting(pod);
            let relevant = seen.gone()
                || seen
                    .before
                    .as_ref()
                    .is_some_and(|before| used(before.value()) != used(seen.value()));
            if relevant {
                for name in claims_of(seen.value()) {
                    world.enqueue(Who::Claim, object::key(seen.object.namespace(), &name));
                }
            }
        }
        _ => {}
    }
}

fn volume_of(claim: &Value) -> Option<&str> {
    claim["spec"]["volumeName"].as_str().filter(|name| !name.is_empty())
}

/// The names of the claims that a pod mounts.
pub(crate) fn claims_of(pod: &Value) -> Vec<String> {
    let volumes = object::list(pod, "/spec/volumes").iter();
    let named = volumes.filter_map(|volume| {
        if volume["ephemeral"].is_object() {
            return Some(format!(
                "{}-{}",
                object::name(pod),
                volume["name"].as_str().unwrap_or_default()
            ));
        }
        volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned)
    });
    named.collect()
}

pub(super) fn sync_claim(world: &mut World, key: &Key) -> Outcome {
    let Some(claim) = world.cache.get(CLAIMS, key) else {
        return Outcome::Done;
    };
    reconcile(world, claim.value()).into()
}

fn reconcile(world: &mut World, claim: &Value) -> Result<(), Failure> {
    let protected = object::finalizers(claim).any(|f| f == CLAIM_PROTECTION);
    if object::is_deleting(claim) {
        if protected && !in_use(world, claim) {
            unprotect(world, CLAIMS, claim, CLAIM_PROTECTION)?;
        }
        return Ok(());
    }
    if !protected {
        let place = Place {
            resource: CLAIMS.into(),
            key: object::key_of(claim),
        };
        world.modify(&place, Part::Main, |claim| protect(claim, CLAIM_PROTECTION))?;
        return Ok(());
    }
    match volume_of(claim) {
        Some(volume) => bound(world, claim, volume),
        None => find_volume(world, claim),
    }
}

fn protect(object: &mut Value, finalizer: &str) {
    let mut finalizers: Vec<Value> = object::list(object, "/metadata/finalizers").to_vec();
    if !finalizers.iter().any(|f| f == finalizer) {
        finalizers.push(finalizer.into());
        object["metadata"]["finalizers"] = finalizers.into();
    }
}

fn unprotect(world: &World, resource: &str, object: &Value, finalizer: &str) -> Result<(), Failure> {
    let place = Place {
        resource: resource.into(),
        key: object::key_of(object),
    };
    let result = world.modify(&place, Part::Main, |object| {
        let left: Vec<Value> = object::list(object, "/metadata/finalizers")
            .iter()
            .filter(|f| *f != finalizer)
            .cloned()
            .collect();
        object["metadata"]["finalizers"] = left.into();
    });
    match result {
        Err(failure) if !failure.is_not_found() => Err(failure),
        _ => Ok(()),
    }
}

/// Whether a pod holds a claim: one that is on no node yet does not, since no node would start it with a claim that is going.
fn in_use(world: &World, claim: &Value) -> bool {
    let mut pods = world.cache.in_namespace("pods", object::namespace(claim));
    pods.any(|pod| {
        let value = pod.value();
        !pods::is_finished(value)
            && !object::text(value, "/spec/nodeName").is_empty()
            && claims_of(value).iter().any(|name| name == object::name(claim))
    })
}

/// A claim that names its volume: confirm it, or say that it is lost.
fn bound(world: &mut World, claim: &Value, volume: &str) -> Result<(), Failure> {
    let phase = object::text(claim, "/status/phase");
    let Some(volume) = world.cache.find(VOLUMES, "", volume) else {
        if object::annotation(claim, COMPLETED).is_some() && phase != "Lost" {
            world.event(Event::warning(
                claim,
                CLAIM,
                SOURCE,
                "ClaimLost",
                "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
            ));
            let mut next = claim.clone();
            next["status"]["phase"] = "Lost".into();
            return world.update_status(CLAIMS, next).map(|_| ());
        }
        return Ok(());
    };
    let reference = &volume.value()["spec"]["claimRef"];
    let ours = reference.is_null()
        || (reference["name"] == object::name(claim) && reference["namespace"] == object::namespace(claim));
    if !ours {
        if phase != "Bound" {
            world.enqueue_at(Who::Claim, object::key_of(claim), next_resync(world.now));
        }
        return Ok(());
    }
    bind(world, claim, &volume)
}

fn find_volume(world: &mut World, claim: &Value) -> Result<(), Failure> {
    let class = object::text(claim, "/spec/storageClassName").to_owned();
    let found = if class.is_empty() {
        None
    } else {
        world.cache.find(CLASSES, "", &class)
    };
    let waits = found
        .as_ref()
        .is_some_and(|c| c.value()["volumeBindingMode"] == "WaitForFirstConsumer");
    let selected = object::annotation(claim, SELECTED_NODE).is_some();
    if let Some(volume) = matching(world, claim, &class).filter(|_| !waits || selected || reserved(world, claim)) {
        return bind(world, claim, &volume);
    }
    world.enqueue_at(Who::Claim, object::key_of(claim), next_resync(world.now));
    if waits && !selected {
        world.event(Event::normal(
            claim,
            CLAIM,
            SOURCE,
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        ));
        // Not counted again each period: the real binder does not look at it either.
        return Ok(());
    }
    if class.is_empty() {
        let message = "no persistent volumes available for this claim and no storage class is set";
        world.event(Event::normal(claim, CLAIM, SOURCE, "FailedBinding", message));
        return Ok(());
    }
    let Some(found) = found else {
        let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
        world.event(Event::warning(claim, CLAIM, SOURCE, "ProvisioningFailed", message));
        return Ok(());
    };
    let provisioner = object::text(found.value(), "/provisioner").to_owned();
    if provisioner == Provisioner::NAME {
        return provision(world, claim, found.value());
    }
    if provisioner == "kubernetes.io/no-provisioner" {
        let message = "no volume plugin matched name: kubernetes.io/no-provisioner";
        world.event(Event::warning(claim, CLAIM, SOURCE, "ProvisioningFailed", message));
        return Ok(());
    }
    let names = [
        "volume.beta.kubernetes.io/storage-provisioner",
        "volume.kubernetes.io/storage-provisioner",
    ];
    let mut live = claim.clone();
    if names
        .iter()
        .any(|name| object::annotation(claim, name) != Some(&provisioner))
    {
        for name in names {
            object::object_mut(&mut live["metadata"], "annotations")
                .insert(name.to_owned(), provisioner.as_str().into());
        }
        live = world.update(CLAIMS, live)?.value().clone();
    }
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system administrator. If volume creation is \
         delayed, please verify that the provisioner is running and correctly registered."
    );
    world.event(Event::normal(&live, CLAIM, SOURCE, "ExternalProvisioning", message));
    Ok(())
}

fn next_resync(now: i64) -> i64 {
    now + RESYNC - (now - PHASE).rem_euclid(RESYNC)
}

/// Whether some volume was reserved for this claim by hand.
fn reserved(world: &World, claim: &Value) -> bool {
    world.cache.all(VOLUMES).any(|volume| {
        let reference = &volume.value()["spec"]["claimRef"];
        reference["name"] == object::name(claim) && reference["namespace"] == object::namespace(claim)
    })
}

/// The smallest free volume that is large enough; of equal ones the one that came last.
fn matching(world: &World, claim: &Value, class: &str) -> Option<Arc<Object>> {
    let size = |value: &Value| value.as_str().and_then(amount::units).unwrap_or(0);
    let wanted = size(&claim["spec"]["resources"]["requests"]["storage"]);
    let modes = object::list(claim, "/spec/accessModes");
    let volumes = world.cache.all(VOLUMES).filter(|volume| {
        let value = volume.value();
        let reference = &value["spec"]["claimRef"];
        let free = reference.is_null()
            || (reference["name"] == object::name(claim) && reference["namespace"] == object::namespace(claim));
        let has = object::list(value, "/spec/accessModes");
        let selector = &claim["spec"]["selector"];
        free && !object::is_deleting(value)
            && object::text(value, "/spec/storageClassName") == class
            && object::text(value, "/spec/volumeMode") == object::text(claim, "/spec/volumeMode")
            && modes.iter().all(|mode| has.contains(mode))
            && size(&value["spec"]["capacity"]["storage"]) >= wanted
            && (selector.is_null() || super::cache::selects(selector, volume.labels()))
    });
    volumes
        .min_by_key(|volume| {
            (
                volume.value()["spec"]["claimRef"].is_null(),
                size(&volume.value()["spec"]["capacity"]["storage"]),
                std::cmp::Reverse(volume.revision()),
            )
        })
        .cloned()
}

/// Four writes: the volume names the claim, then reports it; the claim names the volume, then reports it.
fn bind(world: &mut World, claim: &Value, volume: &Arc<Object>) -> Result<(), Failure> {
    let mut next = volume.value().clone();
    if next["spec"]["claimRef"]["uid"] != object::uid(claim) {
        let by_hand = !next["spec"]["claimRef"].is_null();
        next["spec"]["claimRef"] = json!({
            "kind": "PersistentVolumeClaim", "namespace": object::namespace(claim), "name": object::name(claim), "uid": object::uid(claim),
            "apiVersion": "v1", "resourceVersion": claim["metadata"]["resourceVersion"],
        });
        if !by_hand {
            object::object_mut(&mut next["metadata"], "annotations").insert(BOUND_BY.to_owned(), "yes".into());
        }
        next = world.update(VOLUMES, next)?.value().clone();
    }
    set_phase(world, next, "Bound")?;
    let mut next = claim.clone();
    if volume_of(claim).is_none() {
        next["spec"]["volumeName"] = volume.name().into();
        object::object_mut(&mut next["metadata"], "annotations").insert(BOUND_BY.to_owned(), "yes".into());
    }
    object::object_mut(&mut next["metadata"], "annotations").insert(COMPLETED.to_owned(), "yes".into());
    if next != *claim {
        next = world.update(CLAIMS, next)?.value().clone();
    }
    let mut status = next.clone();
    status["status"]["phase"] = "Bound".into();
    status["status"]["accessModes"] = volume.value()["spec"]["accessModes"].clone();
    status["status"]["capacity"] = volume.value()["spec"]["capacity"].clone();
    if status["status"] != next["status"] {
        world.update_status(CLAIMS, status)?;
    }
    Ok(())
}

fn set_phase(world: &World, mut volume: Value, phase: &str) -> Result<(), Failure> {
    if volume["status"]["phase"] == phase {
        return Ok(());
    }
    volume["status"]["phase"] = phase.into();
    volume["status"]["lastPhaseTransitionTime"] = object::time(world.now);
    world.update_status(VOLUMES, volume).map(|_| ())
}

/// The sandbox's own provisioner: creates a volume of the requested size.
fn provision(world: &mut World, claim: &Value, class: &Value) -> Result<(), Failure> {
    let name = format!("pvc-{}", object::uid(claim));
    let body = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": name, "annotations": {"pv.kubernetes.io/provisioned-by": Provisioner::NAME},
            "finalizers": [VOLUME_PROTECTION],
        },
        "spec": {
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "accessModes": claim["spec"]["accessModes"],
            "volumeMode": claim["spec"]["volumeMode"],
            "persistentVolumeReclaimPolicy": class["reclaimPolicy"],
            "storageClassName": object::name(class),
            "hostPath": {"path": format!("/var/lib/sandbox/{name}"), "type": "DirectoryOrCreate"},
            "claimRef": {
                "kind": "PersistentVolumeClaim", "namespace": object::namespace(claim), "name": object::name(claim), "uid": object::uid(claim),
                "apiVersion": "v1", "resourceVersion": claim["metadata"]["resourceVersion"],
            },
        },
    });
    match world.create(VOLUMES, "", body) {
        Ok(volume) => {
            let message = format!("Successfully provisioned volume {name}");
            world.event(Event::normal(
                claim,
                CLAIM,
                Provisioner::NAME,
                "ProvisioningSucceeded",
                message,
            ));
            bind(world, claim, &volume)
        }
        Err(failure) if failure.is_already_exists() => Ok(()),
        Err(failure) => Err(failure),
    }
}

pub(super) fn sync_volume(world: &mut World, key: &Key) -> Outcome {
    let Some(volume) = world.cache.get(VOLUMES, key) else {
        return Outcome::Done;
    };
    reconcile_volume(world, volume.value()).into()
}

fn reconcile_volume(world: &mut World, volume: &Value) -> Result<(), Failure> {
    let reference = &volume["spec"]["claimRef"];
    let claim = world.cache.find(
        CLAIMS,
        reference["namespace"].as_str().unwrap_or_default(),
        reference["name"].as_str().unwrap_or_default(),
    );
    let bound = claim.filter(|claim| reference["uid"].is_null() || reference["uid"] == claim.uid());
    let protected = object::finalizers(volume).any(|f| f == VOLUME_PROTECTION);
    if object::is_deleting(volume) {
        if protected && bound.is_none() {
            unprotect(world, VOLUMES, volume, VOLUME_PROTECTION)?;
        }
        return Ok(());
    }
    if !protected {
        let place = Place {
            resource: VOLUMES.into(),
            key: object::key_of(volume),
        };
        world.modify(&place, Part::Main, |volume| protect(volume, VOLUME_PROTECTION))?;
        return Ok(());
    }
    if reference.is_null() || reference["uid"].is_null() {
        return set_phase(world, volume.clone(), "Available");
    }
    if bound.is_some() {
        return Ok(());
    }
    if volume["status"]["phase"] != "Released" {
        set_phase(world, volume.clone(), "Released")?;
    }
    if volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
        && object::annotation(volume, "pv.kubernetes.io/provisioned-by") == Some(Provisioner::NAME)
    {
        world.delete(VOLUMES, volume, None)?;
    }
    Ok(())
}
