//! Admission plugins: what the server adds to objects, or refuses, because of other objects. It reads through the registry and
//! writes nothing but the object at hand; the order is the real server's order of plugins.

mod limits;
mod pods;
mod pool;
mod quota;
mod storage;

use serde_json::{Value, json};

use super::access::{Fields, set, struct_mut, sub};
use crate::kubernetes::registry::{Actor, Failure, Registry};
use crate::kubernetes::schema::resources::Resource;

pub(crate) use pool::{Pool, allocate};

/// What plugins do to a new object.
pub(crate) fn on_create(
    registry: &Registry,
    resource: &Resource,
    actor: &Actor,
    object: &mut Value,
) -> Result<(), Failure> {
    if resource.is_custom() {
        return Ok(());
    }
    match &*resource.storage {
        "nodes" => taint(actor, object),
        "pods" => {
            pods::priority(registry, object)?;
            pods::tolerations(object);
            pods::service_account(registry, object)?;
            limits::of_pod(registry, object)?;
        }
        "persistentvolumes" => storage::protect(object, "kubernetes.io/pv-protection"),
        "persistentvolumeclaims" => {
            storage::protect(object, "kubernetes.io/pvc-protection");
            limits::of_claim(registry, object)?;
            storage::default_class(registry, object);
        }
        "ingresses.networking.k8s.io" => default_ingress_class(registry, object),
        _ => {}
    }
    Ok(())
}

/// What plugins say to a new object that has its name: whether there is room for it.
pub(crate) fn check_room(registry: &Registry, resource: &Resource, object: &Value) -> Result<(), Failure> {
    if resource.is_custom() {
        Ok(())
    } else {
        quota::check(registry, resource, object)
    }
}

/// What plugins do to an update of the main resource.
pub(crate) fn on_update(registry: &Registry, resource: &Resource, old: &Value, new: &mut Value) -> Result<(), Failure> {
    match &*resource.storage {
        "persistentvolumeclaims" => storage::resize(registry, old, new),
        "pods" => pods::tolerations_kept(old, new),
        _ => Ok(()),
    }
}

/// A node that a user registers takes no pods until something says that it is ready; the model kubelet's nodes begin ready.
fn taint(actor: &Actor, object: &mut Value) {
    if actor.user.starts_with("system:") {
        return;
    }
    const KEY: &str = "node.kubernetes.io/not-ready";
    let Some(spec) = struct_mut(object, "spec") else { return };
    let mut taints = spec.items("taints").to_vec();
    if !taints
        .iter()
        .any(|taint| taint.text("key") == KEY && taint.text("effect") == "NoSchedule")
    {
        taints.push(json!({"key": KEY, "effect": "NoSchedule"}));
        set(spec, "taints", taints);
    }
}

fn default_ingress_class(registry: &Registry, object: &mut Value) {
    let annotated = sub(sub(object, "metadata"), "annotations").has("kubernetes.io/ingress.class");
    if annotated || sub(object, "spec").has("ingressClassName") {
        return;
    }
    if let Some(name) = marked_default(
        registry,
        "ingressclasses.networking.k8s.io",
        "ingressclass.kubernetes.io/is-default-class",
    ) && let Some(spec) = struct_mut(object, "spec")
    {
        set(spec, "ingressClassName", name);
    }
}

/// The youngest object of a resource that an annotation marks as the default.
fn marked_default(registry: &Registry, resource: &str, annotation: &str) -> Option<String> {
    let all = registry.list(resource, None, None).ok()?;
    all.iter()
        .filter(|class| sub(sub(class.value(), "metadata"), "annotations").text(annotation) == "true")
        .max_by_key(|class| {
            (
                sub(class.value(), "metadata").text("creationTimestamp").to_owned(),
                std::cmp::Reverse(class.name().to_owned()),
            )
        })
        .map(|class| class.name().to_owned())
}

/// A refusal that names the object: `pods "p" is forbidden: …`.
fn forbidden(resource: &str, object: &Value, why: &str) -> Failure {
    let metadata = sub(object, "metadata");
    let name = if metadata.text("name").is_empty() {
        metadata.text("generateName")
    } else {
        metadata.text("name")
    };
    let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
    Failure::forbidden(group, plural, name, why)
}
