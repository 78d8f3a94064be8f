//! ResourceQuotas: a new object that would exceed its namespace's quota is refused. Usage is counted from the existing
//! objects and not from the quota's status, so that it cannot lag.

use serde_json::Value;

use super::super::access::{Fields, sub};
use super::forbidden;
use crate::kubernetes::registry::{Failure, Registry};
use crate::kubernetes::schema::quantity::Quantity;
use crate::kubernetes::schema::resources::Resource;

/// Checks a new object against the quotas of its namespace.
pub(super) fn check(registry: &Registry, resource: &Resource, object: &Value) -> Result<(), Failure> {
    if !resource.namespaced || &*resource.storage == "resourcequotas" {
        return Ok(());
    }
    let namespace = sub(object, "metadata").text("namespace");
    let quotas = registry
        .list("resourcequotas", Some(namespace), None)
        .unwrap_or_default();
    for quota in quotas {
        let spec = sub(quota.value(), "spec");
        if !in_scope(spec, resource, object) {
            continue;
        }
        let mut over = (Vec::new(), Vec::new(), Vec::new());
        let mut unsaid = Vec::new();
        for (name, hard) in spec.map("hard").into_iter().flatten() {
            let Some(hard) = hard.as_str().and_then(Quantity::parse) else {
                continue;
            };
            if &*resource.storage == "pods" && is_compute(name) {
                unsaid.extend(
                    containers_without(object, name)
                        .into_iter()
                        .map(|container| (name.clone(), container)),
                );
            }
            let Some(wanted) = usage(name, resource, object) else {
                continue;
            };
            if wanted == 0 {
                continue;
            }
            let others = registry
                .list(&resource.storage, Some(namespace), None)
                .unwrap_or_default();
            let used: i128 = others
                .iter()
                .filter(|other| in_scope(spec, resource, other.value()) && counts(resource, other.value()))
                .filter_map(|other| usage(name, resource, other.value()))
                .fold(0, i128::saturating_add);
            if used.saturating_add(wanted) > hard.nano() {
                over.0.push(format!("{name}={}", shown(wanted, hard)));
                over.1.push(format!("{name}={}", shown(used, hard)));
                over.2.push(format!("{name}={}", hard.canonical()));
            }
        }
        if !unsaid.is_empty() {
            let list: Vec<String> = unsaid
                .iter()
                .map(|(name, container)| format!("{name} for: {container}"))
                .collect();
            let why = format!("failed quota: {}: must specify {}", quota.name(), list.join("; "));
            return Err(forbidden(&resource.storage, object, &why));
        }
        if !over.0.is_empty() {
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                quota.name(),
                over.0.join(","),
                over.1.join(","),
                over.2.join(",")
            );
            return Err(forbidden(&resource.storage, object, &why));
        }
    }
    Ok(())
}

/// An amount in the notation of the limit it is held against.
fn shown(nano: i128, like: Quantity) -> String {
    let text = like.canonical();
    let binary = text.ends_with('i') && nano % 1_073_741_824_000_000_000 == 0;
    if binary {
        return Quantity::parse(&format!("{}Gi", nano / 1_073_741_824_000_000_000)).map_or(text, Quantity::canonical);
    }
    let mebi = 1_048_576_000_000_000_i128;
    if text.ends_with('i') && nano % mebi == 0 {
        return Quantity::parse(&format!("{}Mi", nano / mebi)).map_or(text, Quantity::canonical);
    }
    Quantity::parse(&format!("{nano}n")).map_or(text, Quantity::canonical)
}

fn is_compute(name: &str) -> bool {
    matches!(
        name,
        "cpu" | "memory" | "requests.cpu" | "requests.memory" | "limits.cpu" | "limits.memory"
    )
}

fn split(name: &str) -> (&'static str, &str) {
    match name.split_once('.') {
        Some(("limits", rest)) => ("limits", rest),
        Some(("requests", rest)) => ("requests", rest),
        _ => ("requests", name),
    }
}

fn containers_without(pod: &Value, name: &str) -> Vec<String> {
    let (part, resource) = split(name);
    let spec = sub(pod, "spec");
    let says = |container: &&Value| !sub(sub(container, "resources"), part).has(resource);
    spec.items("containers")
        .iter()
        .chain(spec.items("initContainers"))
        .filter(says)
        .map(|one| one.text("name").to_owned())
        .collect()
}

/// Pods that are over use nothing.
fn counts(resource: &Resource, object: &Value) -> bool {
    &*resource.storage != "pods" || !matches!(sub(object, "status").text("phase"), "Succeeded" | "Failed")
}

/// How much of a quota's resource an object uses, in nano-units; `None` if it is of no concern.
fn usage(name: &str, resource: &Resource, object: &Value) -> Option<i128> {
    const ONE: i128 = 1_000_000_000;
    let storage = &*resource.storage;
    if let Some(counted) = name.strip_prefix("count/") {
        return (counted == storage).then_some(ONE);
    }
    let spec = sub(object, "spec");
    match storage {
        "pods" => {
            if name == "pods" {
                return Some(ONE);
            }
            let (part, wanted) = split(name);
            let of = |container: &Value| {
                sub(sub(container, "resources"), part)
                    .at(wanted)
                    .and_then(Value::as_str)
                    .and_then(Quantity::parse)
                    .map_or(0, Quantity::nano)
            };
            let running: i128 = spec.items("containers").iter().map(of).fold(0, i128::saturating_add);
            let starting = spec.items("initContainers").iter().map(of).max().unwrap_or_default();
            (is_compute(name) || name.contains("ephemeral-storage") || name.contains('/'))
                .then(|| running.max(starting))
        }
        "services" => match name {
            "services" => Some(ONE),
            "services.loadbalancers" if spec.text("type") == "LoadBalancer" => Some(ONE),
            "services.nodeports" if matches!(spec.text("type"), "NodePort" | "LoadBalancer") => {
                i128::try_from(spec.items("ports").len()).ok().map(|count| count * ONE)
            }
            _ => None,
        },
        "persistentvolumeclaims" => match name {
            "persistentvolumeclaims" => Some(ONE),
            "requests.storage" => sub(sub(spec, "resources"), "requests")
                .at("storage")
                .and_then(Value::as_str)
                .and_then(Quantity::parse)
                .map(Quantity::nano),
            _ => None,
        },
        "secrets" | "configmaps" | "replicationcontrollers" => (name == storage).then_some(ONE),
        _ => None,
    }
}

/// Whether a quota with scopes is about this object.
fn in_scope(spec: &Value, resource: &Resource, object: &Value) -> bool {
    let pod = sub(object, "spec");
    let is = |scope: &str| match scope {
        "Terminating" => pod.has("activeDeadlineSeconds"),
        "NotTerminating" => !pod.has("activeDeadlineSeconds"),
        "BestEffort" => super::super::prepare::qos_class(pod) == "BestEffort",
        "NotBestEffort" => super::super::prepare::qos_class(pod) != "BestEffort",
        _ => true,
    };
    let scopes = spec.texts("scopes");
    if scopes.is_empty() && !spec.has("scopeSelector") {
        return true;
    }
    if &*resource.storage != "pods" {
        return false;
    }
    let selected = sub(spec, "scopeSelector")
        .items("matchExpressions")
        .iter()
        .all(|expression| {
            if expression.text("scopeName") != "PriorityClass" {
                return is(expression.text("scopeName"));
            }
            let class = pod.text("priorityClassName");
            match expression.text("operator") {
                "In" => expression.texts("values").contains(&class),
                "NotIn" => !expression.texts("values").contains(&class),
                "Exists" => !class.is_empty(),
                _ => class.is_empty(),
            }
        });
    scopes.into_iter().all(is) && selected
}
