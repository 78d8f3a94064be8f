//! What a write may not touch: status on the main resource, everything else on `/status`, generations. Runs after decoding and
//! defaults, before validation; allocation of addresses and ports is the registry's.

mod service;

use serde_json::{Value, json};

use super::access::{Fields, copy, default, remove, same, set, struct_mut, sub};
use super::defaults;
use super::strategy::{self, Generation, Status, Strategy};
use crate::kubernetes::registry::Part;
use crate::kubernetes::schema::quantity::Quantity;
use crate::kubernetes::schema::resources::Resource;

/// Makes a new object ready to be validated and stored. `metadata` already has its name and UID; `now` is the time of the write
/// in RFC 3339.
pub(crate) fn for_create(resource: &Resource, object: &mut Value, now: &str) {
    let strategy = strategy::of_resource(resource);
    if strategy.status == Status::Apart {
        remove(object, "status");
        initial_status(&strategy, object, now);
    }
    match (strategy.group, strategy.kind) {
        ("", "Namespace") => finalizers(object, "kubernetes"),
        ("", "Pod") => {
            quality_of_service(object);
            gate(object, now);
        }
        ("", "Service") => service::for_create(object),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => no_rules(object),
        ("batch", "Job") => {
            defaults::job_selector(object);
            // Labels that nobody gave are those of its pods.
            if object["metadata"]["labels"]
                .as_object()
                .is_none_or(serde_json::Map::is_empty)
            {
                let labels = object["spec"]["template"]["metadata"]["labels"].clone();
                if labels.is_object() {
                    object["metadata"]["labels"] = labels;
                }
            }
        }
        ("apps", "DaemonSet") => template_generation(object, 1),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            let stored = storage_version(object);
            set(
                object,
                "status",
                json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": stored}),
            );
        }
        _ => {}
    }
    empty_status(&strategy, object);
}

/// Makes an update ready: what the part does not own stays as it was.
pub(crate) fn for_update(resource: &Resource, old: &Value, new: &mut Value, part: Part, now: &str) {
    let strategy = strategy::of_resource(resource);
    match part {
        Part::Main => main(&strategy, old, new),
        Part::Status | Part::Approval => status(&strategy, old, new, now),
        Part::Finalize => only(old, new, &["spec", "finalizers"]),
        Part::EphemeralContainers => only(old, new, &["spec", "ephemeralContainers"]),
        Part::Resize => resize(old, new),
        Part::Scale => main(&strategy, old, new),
        Part::Binding => {}
    }
}

/// DaemonSets count the generations of their template in an annotation that old clients read.
fn template_generation(object: &mut Value, generation: i64) {
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"]["deprecated.daemonset.template.generation"] = generation.to_string().into();
}

fn main(strategy: &Strategy, old: &Value, new: &mut Value) {
    if (strategy.group, strategy.kind) == ("apps", "DaemonSet") {
        let count = &old["metadata"]["annotations"]["deprecated.daemonset.template.generation"];
        let count: i64 = count.as_str().and_then(|n| n.parse().ok()).unwrap_or(1);
        let changed = old["spec"]["template"] != new["spec"]["template"];
        template_generation(new, count + i64::from(changed));
    }
    if strategy.status != Status::Plain {
        copy(new, old, "status");
    }
    match (strategy.group, strategy.kind) {
        ("", "Namespace") => {
            if let Some(spec) = struct_mut(new, "spec") {
                copy(spec, sub(old, "spec"), "finalizers");
            }
        }
        ("", "Pod") => {
            if let Some(spec) = struct_mut(new, "spec") {
                copy(spec, sub(old, "spec"), "ephemeralContainers");
            }
        }
        ("", "Service") => service::for_update(new, old),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => no_rules(new),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => stored_versions(new),
        _ => {}
    }
}

/// Everything but status stays, and of metadata what belongs to the main resource.
fn status(strategy: &Strategy, old: &Value, new: &mut Value, now: &str) {
    let mut kept = old.clone();
    copy(&mut kept, new, "status");
    // most kinds take labels and annotations along; custom resources and definitions keep all of the old metadata
    let keeps_metadata = strategy.kind.is_empty() || strategy.kind == "CustomResourceDefinition";
    if keeps_metadata {
        if let Some(metadata) = struct_mut(&mut kept, "metadata") {
            copy(metadata, sub(new, "metadata"), "managedFields");
        }
    } else {
        copy(&mut kept, new, "metadata");
    }
    match strategy.kind {
        "Pod" => {
            if let Some(metadata) = struct_mut(&mut kept, "metadata") {
                copy(metadata, sub(old, "metadata"), "deletionTimestamp");
                copy(metadata, sub(old, "metadata"), "ownerReferences");
            }
            if let Some(status) = struct_mut(&mut kept, "status") {
                copy(status, sub(old, "status"), "qosClass");
            }
        }
        "PersistentVolume" if sub(&kept, "status").text("phase") != sub(old, "status").text("phase") => {
            if let Some(status) = struct_mut(&mut kept, "status") {
                set(status, "lastPhaseTransitionTime", now);
            }
        }
        "Service" => {
            if let Some(status) = struct_mut(&mut kept, "status") {
                default(status, "loadBalancer", json!({}));
            }
        }
        _ => {}
    }
    *new = kept;
}

/// Of the new object only one field and the managed fields count.
fn only(old: &Value, new: &mut Value, path: &[&str; 2]) {
    let mut kept = old.clone();
    let [part, field] = *path;
    if let Some(target) = struct_mut(&mut kept, part) {
        copy(target, sub(new, part), field);
    }
    if let Some(metadata) = struct_mut(&mut kept, "metadata") {
        copy(metadata, sub(new, "metadata"), "managedFields");
    }
    *new = kept;
}

/// Of a resize only the resources of containers count.
fn resize(old: &Value, new: &mut Value) {
    let mut kept = old.clone();
    for list in ["containers", "initContainers"] {
        let wanted = sub(new, "spec").items(list).to_vec();
        let Some(spec) = struct_mut(&mut kept, "spec") else {
            continue;
        };
        for container in super::access::items_mut(spec, list) {
            if let Some(other) = wanted.iter().find(|other| other.text("name") == container.text("name")) {
                copy(container, other, "resources");
                copy(container, other, "resizePolicy");
            }
        }
    }
    if let Some(metadata) = struct_mut(&mut kept, "metadata") {
        copy(metadata, sub(new, "metadata"), "managedFields");
    }
    *new = kept;
}

/// The status that the server itself writes into a new object.
fn initial_status(strategy: &Strategy, object: &mut Value, now: &str) {
    let status = match (strategy.group, strategy.kind) {
        ("", "Pod") => json!({"phase": "Pending"}),
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "PersistentVolumeClaim") => json!({"phase": "Pending"}),
        ("", "PersistentVolume") => json!({"phase": "Pending", "lastPhaseTransitionTime": now}),
        _ => return,
    };
    set(object, "status", status);
}

/// The zero of each kind's status, where its type is not optional: fields without `omitempty` appear.
fn empty_status(strategy: &Strategy, object: &mut Value) {
    if object.has("status") {
        return;
    }
    let status = match (strategy.group, strategy.kind) {
        ("apps", "Deployment")
        | ("batch", "CronJob" | "Job")
        | ("", "ResourceQuota")
        | ("certificates.k8s.io", "CertificateSigningRequest")
        | ("networking.k8s.io", "ServiceCIDR")
        | ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy")
        | ("apiregistration.k8s.io", "APIService")
        | ("resource.k8s.io", "ResourceClaim")
        | ("flowcontrol.apiserver.k8s.io", _) => json!({}),
        ("apps", "DaemonSet") => {
            json!({"currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0})
        }
        ("apps", "StatefulSet") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => json!({"replicas": 0}),
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("autoscaling", "HorizontalPodAutoscaler") => json!({"desiredReplicas": 0, "currentMetrics": null}),
        ("policy", "PodDisruptionBudget") => {
            json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0})
        }
        ("storage.k8s.io", "VolumeAttachment") => json!({"attached": false}),
        ("", "Node") => json!({
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {"machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "", "architecture": ""},
        }),
        _ => return,
    };
    set(object, "status", status);
}

/// Whether an update of the main resource raises the generation.
pub(crate) fn spec_changed(resource: &Resource, old: &Value, new: &Value) -> bool {
    let strategy = strategy::of_resource(resource);
    let (is, was) = (sub(new, "metadata"), sub(old, "metadata"));
    let also = match strategy.kind {
        // a new annotation may be a new reason for a rollout
        "Deployment" => !same(is.at("annotations"), was.at("annotations")),
        "EndpointSlice" => !same(is.at("labels"), was.at("labels")),
        _ => false,
    };
    also || match strategy.generation {
        Generation::None => false,
        Generation::Of(fields) => fields.iter().any(|field| !same(new.at(field), old.at(field))),
        Generation::AllButStatus => differs_outside(new, old, &["metadata", "status"]),
        Generation::AllButMetadata => differs_outside(new, old, &["metadata"]),
    }
}

fn differs_outside(new: &Value, old: &Value, except: &[&str]) -> bool {
    let differs = |a: &Value, b: &Value| {
        a.as_object()
            .into_iter()
            .flatten()
            .any(|(key, value)| !except.contains(&key.as_str()) && b.get(key) != Some(value))
    };
    differs(new, old) || differs(old, new)
}

/// The store keeps no empty list apart from none.
fn no_rules(object: &mut Value) {
    if object.items("rules").is_empty() {
        set(object, "rules", Value::Null);
    }
}

/// Adds a finalizer to a namespace's spec unless it is there.
fn finalizers(object: &mut Value, name: &str) {
    if let Some(spec) = struct_mut(object, "spec") {
        let mut list = spec.items("finalizers").to_vec();
        if !list.iter().any(|one| one == name) {
            list.push(name.into());
        }
        set(spec, "finalizers", list);
    }
}

fn storage_version(object: &Value) -> Vec<String> {
    let versions = sub(object, "spec").items("versions");
    versions
        .iter()
        .filter(|version| version.yes("storage"))
        .take(1)
        .map(|version| version.text("name").to_owned())
        .collect()
}

fn stored_versions(new: &mut Value) {
    let storage = storage_version(new);
    if let Some(status) = struct_mut(new, "status") {
        let mut stored = status.items("storedVersions").to_vec();
        for version in storage {
            if !stored.iter().any(|one| one == version.as_str()) {
                stored.push(version.into());
            }
        }
        set(status, "storedVersions", stored);
    }
}

/// Guaranteed, Burstable or BestEffort, from what the pod's containers ask for and may use.
/// A pod with scheduling gates says from the start why it is not scheduled.
fn gate(object: &mut Value, now: &str) {
    let gated = object["spec"]["schedulingGates"]
        .as_array()
        .is_some_and(|gates| !gates.is_empty());
    if gated && let Some(status) = struct_mut(object, "status") {
        let condition = json!({
            "type": "PodScheduled", "status": "False", "lastProbeTime": null, "lastTransitionTime": now,
            "reason": "SchedulingGated", "message": "Scheduling is blocked due to non-empty scheduling gates",
        });
        set(status, "conditions", json!([condition]));
    }
}

fn quality_of_service(object: &mut Value) {
    let class = qos_class(sub(object, "spec"));
    if let Some(status) = struct_mut(object, "status") {
        set(status, "qosClass", class);
    }
}

/// The quality of service class of a pod spec.
pub(crate) fn qos_class(spec: &Value) -> &'static str {
    let amount = |resources: &Value, part: &str, name: &str| {
        sub(resources, part)
            .at(name)
            .and_then(Value::as_str)
            .and_then(Quantity::parse)
            .map(Quantity::nano)
            .filter(|amount| *amount > 0)
    };
    let whole = sub(spec, "resources");
    let all: Vec<&Value> = if whole.map("requests").is_some() || whole.map("limits").is_some() {
        vec![whole]
    } else {
        spec.items("containers")
            .iter()
            .chain(spec.items("initContainers"))
            .map(|container| sub(container, "resources"))
            .collect()
    };
    let names = ["cpu", "memory"];
    let any = all.iter().any(|one| {
        names
            .iter()
            .any(|name| amount(one, "requests", name).is_some() || amount(one, "limits", name).is_some())
    });
    if !any {
        return "BestEffort";
    }
    let guaranteed = all.iter().all(|one| {
        names.iter().all(|name| {
            let limit = amount(one, "limits", name);
            limit.is_some() && amount(one, "requests", name).is_none_or(|request| Some(request) == limit)
        })
    });
    if guaranteed { "Guaranteed" } else { "Burstable" }
}
