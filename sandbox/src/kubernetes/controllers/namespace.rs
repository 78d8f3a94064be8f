//! Namespaces that are deleted: first their content, then they; and conditions that say what holds them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::object::{self, Key};
use super::world::{Millis, Outcome, Seen, Who, World};
use crate::kubernetes::registry::{Failure, Part};

/// How long a deleted namespace is left alone, so that other API servers hear of it.
const QUIET: Millis = 5000;

pub(super) fn observe(world: &mut World, seen: &Seen) {
    let first = seen.before.as_ref().is_none_or(|before| !before.is_deleting());
    if !seen.gone() && seen.object.is_deleting() && first {
        world.enqueue_in(Who::Namespace, object::key_of(seen.value()), QUIET);
    }
}

/// What is left in a namespace.
#[derive(Default)]
struct Left {
    /// Resources that are still there without a finalizer to wait for.
    stubborn: Vec<String>,
    by_resource: BTreeMap<String, usize>,
    by_finalizer: BTreeMap<String, usize>,
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(space) = world.cache.get("namespaces", key) else {
        return Outcome::Done;
    };
    if !space.is_deleting() {
        return Outcome::Done;
    }
    let left = match empty(world, space.name()) {
        Ok(left) => left,
        Err(_) => return Outcome::Retry,
    };
    let clean = left.by_resource.is_empty() && left.stubborn.is_empty();
    let mut next = space.value().clone();
    let conditions = conditions(world, space.value(), &left);
    next["status"]["conditions"] = conditions.into();
    if next["status"] != space.value()["status"] && world.update_status("namespaces", next).is_err() {
        return Outcome::Retry;
    }
    if !clean {
        return Outcome::Retry;
    }
    let place = super::cache::Place {
        resource: "namespaces".into(),
        key: key.clone(),
    };
    let result = world.modify(&place, Part::Finalize, |space| {
        let left: Vec<Value> = object::list(space, "/spec/finalizers")
            .iter()
            .filter(|f| *f != "kubernetes")
            .cloned()
            .collect();
        space["spec"]["finalizers"] = left.into();
    });
    result.map(|_| ()).into()
}

/// Delete everything in a namespace, and count what stays.
fn empty(world: &mut World, namespace: &str) -> Result<Left, Failure> {
    let mut left = Left::default();
    for resource in world
        .registry
        .catalog()
        .served()
        .stored()
        .map(|r| (r.storage.clone(), r.gvr.clone(), r.namespaced))
        .collect::<Vec<_>>()
    {
        let (storage, gvr, namespaced) = resource;
        if !namespaced {
            continue;
        }
        let Ok(objects) = world.registry.list(&storage, Some(namespace), None) else {
            continue;
        };
        for object in objects {
            // With their owner, if they have one that waits; the collector takes the rest.
            world.delete(&storage, object.value(), None)?;
        }
        let mut graceful = false;
        for object in world.registry.list(&storage, Some(namespace), None)? {
            let mut finalizers = object::finalizers(object.value()).peekable();
            if finalizers.peek().is_none() {
                graceful = true;
                continue;
            }
            *left.by_resource.entry(storage.to_string()).or_default() += 1;
            for finalizer in finalizers {
                *left.by_finalizer.entry(finalizer.to_owned()).or_default() += 1;
            }
        }
        if graceful {
            left.stubborn
                .push(format!("{}/{}, Resource={}", gvr.group, gvr.version, gvr.plural));
        }
    }
    Ok(left)
}

fn conditions(world: &World, space: &Value, left: &Left) -> Vec<Value> {
    let now = object::time(world.now);
    let name = object::name(space);
    let mut all = Vec::new();
    let mut add = |kind: &str, status: bool, reason: &str, message: String| {
        let mut condition = json!({"type": kind, "status": if status { "True" } else { "False" }, "lastTransitionTime": now, "reason": reason, "message": message});
        if let Some(old) = object::condition(space, kind)
            && old["status"] == condition["status"]
        {
            condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
        }
        all.push(condition);
    };
    add(
        "NamespaceDeletionDiscoveryFailure",
        false,
        "ResourcesDiscovered",
        "All resources successfully discovered".to_owned(),
    );
    add(
        "NamespaceDeletionGroupVersionParsingFailure",
        false,
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed".to_owned(),
    );
    if left.stubborn.is_empty() {
        let message = "All content successfully deleted, may be waiting on finalization";
        add(
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            message.to_owned(),
        );
    } else {
        let each: Vec<String> = left
            .stubborn
            .iter()
            .map(|gvr| format!("unexpected items still remain in namespace: {name} for gvr: {gvr}"))
            .collect();
        let each = if each.len() == 1 {
            each.concat()
        } else {
            format!("[{}]", each.join(", "))
        };
        let message = format!(
            "Failed to delete all resource types, {} remaining: {each}",
            left.stubborn.len()
        );
        add(
            "NamespaceDeletionContentFailure",
            true,
            "ContentDeletionFailed",
            message,
        );
    }
    // While deletions fail nothing is known of what will remain.
    let known = left.stubborn.is_empty();
    if !known || left.by_resource.is_empty() {
        add(
            "NamespaceContentRemaining",
            false,
            "ContentRemoved",
            "All content successfully removed".to_owned(),
        );
    } else {
        let each: Vec<String> = left
            .by_resource
            .iter()
            .map(|(resource, count)| format!("{} has {count} resource instances", dotted(resource)))
            .collect();
        add(
            "NamespaceContentRemaining",
            true,
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", each.join(", ")),
        );
    }
    if !known || left.by_finalizer.is_empty() {
        add(
            "NamespaceFinalizersRemaining",
            false,
            "ContentHasNoFinalizers",
            "All content-preserving finalizers finished".to_owned(),
        );
    } else {
        let each: Vec<String> = left
            .by_finalizer
            .iter()
            .map(|(finalizer, count)| format!("{finalizer} in {count} resource instances"))
            .collect();
        let message = format!(
            "Some content in the namespace has finalizers remaining: {}",
            each.join(", ")
        );
        add("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", message);
    }
    all
}

/// `configmaps.` and `deployments.apps`: how the controller names resources.
fn dotted(resource: &str) -> String {
    if resource.contains('.') {
        resource.to_owned()
    } else {
        format!("{resource}.")
    }
}
