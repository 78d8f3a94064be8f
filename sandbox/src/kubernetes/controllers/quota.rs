//! ResourceQuotas: what a namespace has used. Whether one more object fits is admission's to say.
//!
//! Counts of objects and requests of pods are modelled; scopes and storage per class are not.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::amount;
use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use crate::kubernetes::registry::{Failure, Registry};

pub(super) fn observe(world: &mut World, seen: &Seen) {
    let namespace = seen.object.namespace();
    match &*seen.resource {
        "resourcequotas" if !seen.gone() => world.enqueue(Who::Quota, object::key_of(seen.value())),
        "pods" if seen.gone() || seen.before.is_none() || finished(seen.value()) => {
            let keys: Vec<Key> = world
                .cache
                .in_namespace("resourcequotas", namespace)
                .map(|quota| object::key_of(quota.value()))
                .collect();
            for key in keys {
                world.enqueue(Who::Quota, key);
            }
        }
        _ => {}
    }
}

fn finished(pod: &Value) -> bool {
    super::pods::is_finished(pod)
}

/// What a pod counts for, by the names that quotas use, in thousandths.
fn cost(pod: &Value) -> BTreeMap<String, i128> {
    let mut total: BTreeMap<String, i128> =
        BTreeMap::from([("pods".to_owned(), 1000), ("count/pods".to_owned(), 1000)]);
    for container in object::list(pod, "/spec/containers") {
        for kind in ["requests", "limits"] {
            for (name, amount) in container["resources"][kind].as_object().into_iter().flatten() {
                let amount = amount.as_str().and_then(amount::millis).unwrap_or(0);
                *total.entry(format!("{kind}.{name}")).or_default() += amount;
                if kind == "requests" {
                    *total.entry(name.clone()).or_default() += amount;
                }
            }
        }
    }
    total
}

fn used(registry: &Registry, namespace: &str, hard: &Map<String, Value>) -> Result<BTreeMap<String, i128>, Failure> {
    let mut total: BTreeMap<String, i128> = hard.keys().map(|name| (name.clone(), 0)).collect();
    for pod in registry.list("pods", Some(namespace), None)? {
        if finished(pod.value()) {
            continue;
        }
        for (name, amount) in cost(pod.value()) {
            if let Some(slot) = total.get_mut(&name) {
                *slot += amount;
            }
        }
    }
    for (name, slot) in &mut total {
        let resource = name.strip_prefix("count/").unwrap_or(name);
        let known = [
            "services",
            "secrets",
            "configmaps",
            "persistentvolumeclaims",
            "replicationcontrollers",
            "resourcequotas",
        ];
        if resource != "pods" && (name.starts_with("count/") || known.contains(&resource)) {
            *slot = registry
                .list(resource, Some(namespace), None)
                .map_or(0, |all| i128::try_from(all.len()).unwrap_or(0) * 1000);
        }
    }
    Ok(total)
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(quota) = world.cache.get("resourcequotas", key) else {
        return Outcome::Done;
    };
    let hard = quota.value()["spec"]["hard"].as_object().cloned().unwrap_or_default();
    let total = match used(&world.registry, &key.0, &hard) {
        Ok(total) => total,
        Err(_) => return Outcome::Retry,
    };
    let mut next = quota.value().clone();
    next["status"]["hard"] = Value::Object(hard.clone());
    let used: Map<String, Value> = hard
        .keys()
        .map(|name| (name.clone(), amount::show(total.get(name).copied().unwrap_or(0)).into()))
        .collect();
    next["status"]["used"] = used.into();
    if next["status"] == quota.value()["status"] {
        return Outcome::Done;
    }
    world.update_status("resourcequotas", next).map(|_| ()).into()
}
