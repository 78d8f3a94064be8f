//! What the server fills in while it decodes an object, before admission and validation see it. Values that depend on other
//! objects (cluster IPs, the default storage class, service accounts) are not filled in here.

mod extension;
mod network;
pub(crate) mod pod;
mod policy;
mod storage;
mod workload;

pub(crate) use workload::job_selector;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kubernetes::schema::resources::Resource;

use super::access::{Fields, copy, default_text, items_mut, object_mut, remove, set, struct_mut};

/// Fills in what the resource's objects have by default.
pub(crate) fn fill(resource: &Resource, object: &mut Value) {
    match &resource.custom {
        Some(definition) => super::custom::defaulting::apply(&definition.validation, object),
        None => apply(&resource.gvr.group, &resource.kind, object),
    }
}

/// Fills in the defaults of a built-in kind; other kinds are left as they are. Doing it twice changes nothing more.
pub(crate) fn apply(group: &str, kind: &str, object: &mut Value) {
    if !object.is_object() {
        return;
    }
    match (group, kind) {
        ("", "Pod") => pod::pod(object),
        ("", "PodTemplate") => pod::template(object, "template"),
        ("", "ReplicationController") => workload::replication_controller(object),
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "ReplicaSet") => workload::replica_set(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("apps", "DaemonSet") => workload::daemon_set(object),
        ("batch", "Job") => workload::job(object),
        ("batch", "CronJob") => workload::cron_job(object),
        ("", "Service") => network::service(object),
        ("", "Endpoints") => network::endpoints(object),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(object),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(object),
        ("", "PersistentVolume") => storage::volume(object),
        ("", "PersistentVolumeClaim") => storage::claim(object),
        ("storage.k8s.io", "StorageClass") => storage::class(object),
        ("storage.k8s.io", "CSIDriver") => storage::csi_driver(object),
        ("autoscaling", "HorizontalPodAutoscaler") => policy::autoscaler(object),
        ("", "LimitRange") => policy::limit_range(object),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => policy::role_binding(object),
        ("scheduling.k8s.io", "PriorityClass") => default_text(object, "preemptionPolicy", "PreemptLowerPriority"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => extension::webhooks(object, false),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => extension::webhooks(object, true),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy") => {
            extension::policy(object);
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding") => {
            extension::policy_binding(object);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => extension::definition(object),
        ("apiregistration.k8s.io", "APIService") => extension::api_service(object),
        ("", "Secret") => secret(object),
        ("", "Namespace") => namespace(object),
        ("", "Node") => node(object),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => flow_schema(object),
        _ => {}
    }
}

/// `stringData` is write-only: its values are copied into `data`, over existing ones.
fn secret(object: &mut Value) {
    default_text(object, "type", "Opaque");
    let Some(Value::Object(plain)) = remove(object, "stringData") else {
        return;
    };
    if plain.is_empty() {
        return;
    }
    if let Some(data) = object_mut(object, "data") {
        for (key, value) in plain {
            data.insert(key, STANDARD.encode(value.as_str().unwrap_or_default()).into());
        }
    }
}

/// A namespace carries its own name as a label, so that selectors can name it.
fn namespace(object: &mut Value) {
    let name = object
        .dig(&["metadata", "name"])
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    if let Some(metadata) = struct_mut(object, "metadata")
        && !name.is_empty()
        && let Some(labels) = object_mut(metadata, "labels")
    {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
    }
    if let Some(status) = struct_mut(object, "status") {
        default_text(status, "phase", "Active");
    }
}

fn node(object: &mut Value) {
    if let Some(status) = object.get_mut("status")
        && status.has("capacity")
        && !status.has("allocatable")
    {
        let from = status.clone();
        set(status, "allocatable", json!({}));
        copy(status, &json!({"allocatable": from.at("capacity")}), "allocatable");
    }
}

fn flow_schema(object: &mut Value) {
    if let Some(spec) = struct_mut(object, "spec") {
        super::access::default_int(spec, "matchingPrecedence", 1000);
    }
}

/// Runs `each` on every item of a list field.
fn for_each(value: &mut Value, list: &str, mut each: impl FnMut(&mut Value)) {
    for item in items_mut(value, list) {
        if item.is_object() {
            each(item);
        }
    }
}
