//! Rules per kind: what may be created, and what an update may change. Each kind family has a file; the table here says which.
//! Rules about other objects (does the namespace exist, is the address free) are the registry's and admission plugins'.

mod config;
mod containers;
mod number;
mod placement;
mod pod;
mod pod_update;
mod security;
mod service;
mod volumes;
mod workload;

use serde_json::Value;

use super::access::sub;
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
    _warnings: &mut Vec<String>,
) -> Result<Vec<FieldFault>, Failure> {
    Ok(create(resource, object).into_faults())
}

/// What is wrong with an update.
pub(crate) fn on_update(
    _: &Registry,
    resource: &Resource,
    old: &Value,
    new: &Value,
    part: Part,
    _warnings: &mut Vec<String>,
) -> Result<Vec<FieldFault>, Failure> {
    Ok(update(resource, old, new, part).into_faults())
}

fn create(resource: &Resource, object: &Value) -> Errors {
    let strategy = strategy::of_resource(resource);
    let mut errors = metadata::validate(object, strategy.scope, strategy.name);
    if !resource.is_custom() {
        metadata::known_finalizers(object, &mut errors);
        whole(&strategy, object, &mut errors);
        on_create_only(&strategy, object, &mut errors);
    }
    errors
}

fn update(resource: &Resource, old: &Value, new: &Value, part: Part) -> Errors {
    let strategy = strategy::of_resource(resource);
    let scope = if resource.namespaced {
        Scope::Namespaced
    } else {
        Scope::Cluster
    };
    let mut errors = metadata::validate(new, scope, NameRule::PathSegment);
    errors.append(metadata::validate_update(new, old));
    if resource.is_custom() || part != Part::Main {
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
        _ => {}
    }
}

/// Rules that only a new object has to follow.
fn on_create_only(strategy: &Strategy, object: &Value, errors: &mut Errors) {
    let _ = (strategy, object, errors);
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
        _ => {}
    }
}
