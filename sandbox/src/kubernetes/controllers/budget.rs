//! PodDisruptionBudgets: how many pods may be taken away now.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::events::Event;
use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use super::{cache, pods};
use crate::kubernetes::registry::Failure;
use crate::kubernetes::store::Object;

const SOURCE: &str = "controllermanager";
const KIND: (&str, &str) = ("policy/v1", "PodDisruptionBudget");
const BUDGETS: &str = "poddisruptionbudgets.policy";

pub(super) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        BUDGETS if !seen.gone() => world.enqueue(Who::Budget, object::key_of(seen.value())),
        "pods" => {
            let shown = |pod: &Value| {
                (
                    pods::is_ready(pod),
                    pods::is_finished(pod),
                    object::is_deleting(pod),
                    pod["metadata"]["labels"].clone(),
                )
            };
            if seen
                .before
                .as_ref()
                .is_some_and(|before| !seen.gone() && shown(before.value()) == shown(seen.value()))
            {
                return;
            }
            let keys: Vec<Key> = world
                .cache
                .in_namespace(BUDGETS, seen.object.namespace())
                .filter(|budget| selects(budget.value(), seen.object.labels()))
                .map(|budget| object::key_of(budget.value()))
                .collect();
            for key in keys {
                world.enqueue(Who::Budget, key);
            }
        }
        _ => {}
    }
}

/// An empty selector selects every pod of the namespace, an absent one none.
fn selects(budget: &Value, labels: &Value) -> bool {
    let selector = &budget["spec"]["selector"];
    selector.as_object().is_some_and(Map::is_empty) || cache::selects(selector, labels)
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(budget) = world.cache.get(BUDGETS, key) else {
        return Outcome::Done;
    };
    reconcile(world, budget.value()).into()
}

/// How many pods their controllers mean to have. A pod without a controller makes that unknowable.
fn expected(world: &World, pods: &[Arc<Object>]) -> Option<i64> {
    let mut seen: Vec<String> = Vec::new();
    let mut total = 0;
    for pod in pods {
        let (kind, name, uid) = object::controller(pod.value())?;
        let (mut kind, mut name, mut uid) = (kind.to_owned(), name.to_owned(), uid.to_owned());
        if kind == "ReplicaSet"
            && let Some(set) = world.cache.find("replicasets.apps", pod.namespace(), &name)
            && let Some((k, n, u)) = object::controller(set.value())
        {
            (kind, name, uid) = (k.to_owned(), n.to_owned(), u.to_owned());
        }
        if seen.contains(&uid) {
            continue;
        }
        seen.push(uid);
        let resource = match kind.as_str() {
            "Deployment" => "deployments.apps",
            "ReplicaSet" => "replicasets.apps",
            "StatefulSet" => "statefulsets.apps",
            _ => return None,
        };
        let owner = world.cache.find(resource, pod.namespace(), &name)?;
        total += object::number(owner.value(), "/spec/replicas").unwrap_or(1);
    }
    Some(total)
}

fn reconcile(world: &mut World, budget: &Value) -> Result<(), Failure> {
    let pods: Vec<Arc<Object>> = world
        .cache
        .in_namespace("pods", object::namespace(budget))
        .filter(|pod| selects(budget, pod.labels()))
        .cloned()
        .collect();
    if pods.is_empty() {
        world.event(Event::normal(budget, KIND, SOURCE, "NoPods", "No matching pods found"));
    }
    let matching = i64::try_from(pods.len()).unwrap_or(0);
    let spec = &budget["spec"];
    let managed = expected(world, &pods);
    let (total, desired) = if !spec["maxUnavailable"].is_null() {
        let total = managed.unwrap_or(0);
        (
            total,
            (total - object::scaled(&spec["maxUnavailable"], total, true)).max(0),
        )
    } else if spec["minAvailable"].is_string() {
        let total = managed.unwrap_or(0);
        (total, object::scaled(&spec["minAvailable"], total, true))
    } else {
        (matching, spec["minAvailable"].as_i64().unwrap_or(0))
    };
    let unmanaged = managed.is_none() && (!spec["maxUnavailable"].is_null() || spec["minAvailable"].is_string());
    let disrupted = budget["status"]["disruptedPods"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    let mut still = Map::new();
    let mut healthy = 0;
    for pod in &pods {
        if object::is_deleting(pod.value()) {
            continue;
        }
        if let Some(since) = disrupted.get(pod.name()) {
            let at = since
                .as_str()
                .and_then(|t| t.parse::<jiff::Timestamp>().ok())
                .map_or(0, jiff::Timestamp::as_millisecond);
            // An eviction that did not lead to a deletion within two minutes did not happen.
            if at + 120_000 > world.now {
                still.insert(pod.name().to_owned(), since.clone());
                world.enqueue_at(Who::Budget, object::key_of(budget), at + 120_000);
                continue;
            }
        }
        healthy += i64::from(pods::is_ready(pod.value()) && !pods::is_finished(pod.value()));
    }
    let allowed = if total == 0 || unmanaged {
        0
    } else {
        (healthy - desired).max(0)
    };
    let mut next = Map::new();
    if !still.is_empty() {
        next.insert("disruptedPods".to_owned(), still.into());
    }
    next.insert("observedGeneration".to_owned(), object::generation(budget).into());
    for (field, value) in [
        ("disruptionsAllowed", allowed),
        ("currentHealthy", healthy),
        ("desiredHealthy", desired),
        ("expectedPods", total),
    ] {
        next.insert(field.to_owned(), value.into());
    }
    let (status, reason) = if unmanaged {
        ("False", "SyncFailed")
    } else if allowed > 0 {
        ("True", "SufficientPods")
    } else {
        ("False", "InsufficientPods")
    };
    let old = object::condition(budget, "DisruptionAllowed");
    let mut condition = json!({
        "type": "DisruptionAllowed", "observedGeneration": object::generation(budget), "status": status,
        "lastTransitionTime": object::time(world.now), "reason": reason, "message": "",
    });
    if unmanaged {
        condition["message"] = "found no controller ref for a pod".into();
    }
    if let Some(old) = old.filter(|old| old["status"] == status) {
        condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
    }
    next.insert("conditions".to_owned(), json!([condition]));
    let next = Value::Object(next);
    if budget["status"] == next {
        return Ok(());
    }
    let mut object = budget.clone();
    object["status"] = next;
    world.update_status(BUDGETS, object).map(|_| ())
}
