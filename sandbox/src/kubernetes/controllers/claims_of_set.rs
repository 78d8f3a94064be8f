//! The volume claims of a StatefulSet's pods: made before the pod, kept or deleted as the retention policy says.

use serde_json::{Value, json};

use super::events::{Event, STATEFUL_SET};
use super::object;
use super::statefulset::{SOURCE, ordinal};
use super::world::World;
use crate::kubernetes::registry::{Failure, Part};

fn names<'a>(set: &'a Value, pod: &'a Value) -> impl Iterator<Item = (String, &'a Value)> {
    object::list(set, "/spec/volumeClaimTemplates")
        .iter()
        .map(|template| (format!("{}-{}", object::name(template), object::name(pod)), template))
}

/// Make the claims that a pod needs and that are not there.
pub(super) fn ensure(world: &mut World, set: &Value, pod: &Value) -> Result<(), Failure> {
    for (name, template) in names(set, pod) {
        if world
            .registry
            .find("persistentvolumeclaims", object::namespace(set), &name)
            .is_some()
        {
            continue;
        }
        let mut labels = template["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        labels.extend(
            set["spec"]["selector"]["matchLabels"]
                .as_object()
                .cloned()
                .unwrap_or_default(),
        );
        let mut body = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": object::namespace(set), "labels": labels},
            "spec": template["spec"],
        });
        if let Some(annotations) = template["metadata"].get("annotations") {
            body["metadata"]["annotations"] = annotations.clone();
        }
        let what = format!(
            "Create Claim {name} Pod {} in StatefulSet {}",
            object::name(pod),
            object::name(set)
        );
        match world.create("persistentvolumeclaims", object::namespace(set), body) {
            Ok(_) => world.event(Event::normal(
                set,
                STATEFUL_SET,
                SOURCE,
                "SuccessfulCreate",
                format!("{what} success"),
            )),
            Err(failure) => {
                let message = format!(
                    "{} failed error: {}",
                    what.replacen("Create", "create", 1),
                    failure.message
                );
                world.event(Event::warning(set, STATEFUL_SET, SOURCE, "FailedCreate", message));
                return Err(failure);
            }
        }
    }
    Ok(())
}

/// Write onto each claim who takes it along when he goes.
pub(super) fn release_policy(world: &mut World, set: &Value, pods: &[&Value]) -> Result<(), Failure> {
    let policy = &set["spec"]["persistentVolumeClaimRetentionPolicy"];
    let (deleted, scaled) = (policy["whenDeleted"] == "Delete", policy["whenScaled"] == "Delete");
    if object::list(set, "/spec/volumeClaimTemplates").is_empty() {
        return Ok(());
    }
    let first = object::number(set, "/spec/ordinals/start").unwrap_or(0);
    let count = object::number(set, "/spec/replicas").unwrap_or(1);
    for pod in pods {
        let condemned = ordinal(set, pod).is_some_and(|at| !(first..first + count).contains(&at));
        for (name, _) in names(set, pod) {
            let Some(claim) = world
                .cache
                .find("persistentvolumeclaims", object::namespace(set), &name)
            else {
                continue;
            };
            let mut owners: Vec<Value> = object::list(claim.value(), "/metadata/ownerReferences").to_vec();
            let (set_uid, pod_uid) = (object::uid(set), object::uid(pod));
            owners.retain(|owner| owner["uid"] != set_uid && (pod_uid.is_empty() || owner["uid"] != pod_uid));
            if scaled && condemned && !pod_uid.is_empty() {
                owners.push(reference(pod, "v1", "Pod"));
            } else if deleted {
                owners.push(reference(set, "apps/v1", "StatefulSet"));
            }
            if owners.as_slice() == object::list(claim.value(), "/metadata/ownerReferences") {
                continue;
            }
            let place = super::cache::Place {
                resource: "persistentvolumeclaims".into(),
                key: object::key_of(claim.value()),
            };
            world.modify(&place, Part::Main, |claim| {
                if owners.is_empty() {
                    if let Some(metadata) = claim["metadata"].as_object_mut() {
                        metadata.remove("ownerReferences");
                    }
                } else {
                    claim["metadata"]["ownerReferences"] = owners.clone().into();
                }
            })?;
        }
    }
    Ok(())
}

/// An owner without control: the claim is deleted with it, and nothing else follows.
fn reference(owner: &Value, api_version: &str, kind: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": object::name(owner), "uid": object::uid(owner)})
}
