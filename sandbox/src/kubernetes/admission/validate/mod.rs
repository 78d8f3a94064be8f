//! Rules per kind: what may be created, and what an update may change. Each kind family has a file; the table here says which.
//! Rules about other objects (does the namespace exist, is the address free) are the registry's and admission plugins'.

mod cluster;
mod config;
mod containers;
mod cron;
mod diff;
mod job;
mod network;
mod number;
mod placement;
mod pod;
mod pod_update;
mod policy;
mod rbac;
mod security;
mod service;
mod storage;
#[cfg(test)]
mod tests;
mod volumes;
mod workload;

use serde_json::Value;

use super::access::sub;
use super::custom;
use super::errors::Errors;
use super::metadata;
use super::strategy::{self, NameRule, Scope, Strategy};
use crate::kubernetes::registry::{Failure, FieldFault, Part, Registry};
use crate::kubernetes::schema::resources::Resource;

/// What is wrong with a new object.
pub(crate) fn on_create(
    _: &Registry,
    resource: &Resource,
    object: &Value,
    warnings: &mut Vec<String>,
) -> Result<Vec<FieldFault>, Failure> {
    Ok(create(resource, object, warnings).into_faults())
}

/// What is wrong with an update.
pub(crate) fn on_update(
    _: &Registry,
    resource: &Resource,
    old: &Value,
    new: &Value,
    part: Part,
    warnings: &mut Vec<String>,
) -> Result<Vec<FieldFault>, Failure> {
    Ok(update(resource, old, new, part, warnings).into_faults())
}

fn create(resource: &Resource, object: &Value, warnings: &mut Vec<String>) -> Errors {
    let strategy = strategy::of_resource(resource);
    let mut errors = metadata::validate(object, strategy.scope, strategy.name);
    if let Some(definition) = &resource.custom {
        custom::validate(&definition.validation, None, object, warnings, &mut errors);
    } else {
        metadata::known_finalizers(object, &mut errors);
        whole(&strategy, object, &mut errors);
    }
    errors
}

fn update(resource: &Resource, old: &Value, new: &Value, part: Part, warnings: &mut Vec<String>) -> Errors {
    let strategy = strategy::of_resource(resource);
    let scope = if resource.namespaced {
        Scope::Namespaced
    } else {
        Scope::Cluster
    };
    let mut errors = metadata::validate(new, scope, NameRule::PathSegment);
    errors.append(metadata::validate_update(new, old));
    if let Some(definition) = &resource.custom {
        custom::validate(&definition.validation, Some(old), new, warnings, &mut errors);
        return errors;
    }
    if part != Part::Main {
        return errors;
    }
    errors.append(metadata::validate_update(new, old));
    change(&strategy, old, new, &mut errors);
    if !is_checked_by_change(&strategy) {
        errors.append(metadata::validate(new, scope, NameRule::PathSegment));
        metadata::known_finalizers(new, &mut errors);
        whole(&strategy, new, &mut errors);
    }
    errors
}

/// Kinds whose updates are judged by what changed alone.
fn is_checked_by_change(strategy: &Strategy) -> bool {
    matches!((strategy.group, strategy.kind), ("", "Pod"))
}

/// Rules on an object as such.
fn whole(strategy: &Strategy, object: &Value, errors: &mut Errors) {
    match (strategy.group, strategy.kind) {
        ("", "ConfigMap") => config::config_map(object, errors),
        ("", "Secret") => config::secret(object, errors),
        ("", "Service") => service::service(object, errors),
        ("", "Pod") => pod::pod(object, errors),
        ("", "PodTemplate") => pod::template(sub(object, "template"), &super::errors::Path::root("template"), errors),
        ("", "ReplicationController") => workload::replication_controller(object, errors),
        ("apps", "Deployment") => workload::deployment(object, errors),
        ("apps", "ReplicaSet") => workload::replica_set(object, errors),
        ("apps", "StatefulSet") => workload::stateful_set(object, errors),
        ("apps", "DaemonSet") => workload::daemon_set(object, errors),
        ("batch", "Job") => job::job(object, errors),
        ("batch", "CronJob") => job::cron_job(object, errors),
        ("policy", "PodDisruptionBudget") => policy::budget(object, errors),
        ("autoscaling", "HorizontalPodAutoscaler") => policy::autoscaler(object, errors),
        ("coordination.k8s.io", "Lease") => policy::lease(object, errors),
        ("scheduling.k8s.io", "PriorityClass") => policy::priority_class(object, errors),
        ("", "PersistentVolumeClaim") => storage::claim(object, errors),
        ("", "PersistentVolume") => storage::volume(object, errors),
        ("storage.k8s.io", "StorageClass") => storage::class(object, errors),
        ("storage.k8s.io", "VolumeAttachment") => storage::attachment(object, errors),
        ("storage.k8s.io", "CSIDriver") => cluster::csi_driver(object, errors),
        ("rbac.authorization.k8s.io", "Role") => rbac::role(object, true, errors),
        ("rbac.authorization.k8s.io", "ClusterRole") => rbac::role(object, false, errors),
        ("rbac.authorization.k8s.io", "RoleBinding") => rbac::binding(object, true, errors),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => rbac::binding(object, false, errors),
        ("networking.k8s.io", "Ingress") => network::ingress(object, errors),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(object, errors),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(object, errors),
        ("", "Endpoints") => network::endpoints(object, errors),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object, errors),
        ("", "Node") => cluster::node(object, errors),
        ("", "ResourceQuota") => cluster::quota(object, errors),
        ("", "LimitRange") => cluster::limit_range(object, errors),
        ("", "Event") => cluster::event(object, false, errors),
        ("events.k8s.io", "Event") => cluster::event(object, true, errors),
        ("", "ServiceAccount") => cluster::service_account(object, errors),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => cluster::webhooks(object, false, errors),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => cluster::webhooks(object, true, errors),
        ("apiregistration.k8s.io", "APIService") => cluster::api_service(object, errors),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom::definition::check(object, errors),
        _ => {}
    }
}

/// Rules on what an update changes.
fn change(strategy: &Strategy, old: &Value, new: &Value, errors: &mut Errors) {
    match (strategy.group, strategy.kind) {
        ("", "ConfigMap") => config::config_map_change(old, new, errors),
        ("", "Secret") => config::secret_change(old, new, errors),
        ("", "Service") => service::change(old, new, errors),
        ("", "Pod") => pod_update::change(old, new, errors),
        ("apps", "Deployment" | "ReplicaSet" | "DaemonSet") => workload::selector_change(old, new, errors),
        ("apps", "StatefulSet") => workload::stateful_set_change(old, new, errors),
        ("apps", "ControllerRevision") => cluster::controller_revision_change(old, new, errors),
        ("batch", "Job") => job::job_change(old, new, errors),
        ("scheduling.k8s.io", "PriorityClass") => policy::priority_class_change(old, new, errors),
        ("", "PersistentVolumeClaim") => storage::claim_change(old, new, errors),
        ("", "PersistentVolume") => storage::volume_change(old, new, errors),
        ("storage.k8s.io", "StorageClass") => storage::class_change(old, new, errors),
        ("storage.k8s.io", "VolumeAttachment") => storage::attachment_change(old, new, errors),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => rbac::binding_change(old, new, errors),
        ("networking.k8s.io", "IngressClass") => network::ingress_class_change(old, new, errors),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice_change(old, new, errors),
        ("", "Node") => cluster::node_change(old, new, errors),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => custom::definition::change(old, new, errors),
        ("", "ResourceQuota") => cluster::quota_change(old, new, errors),
        _ => {}
    }
}
