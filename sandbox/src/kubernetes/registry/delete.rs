//! Delete: at once, after finalizers, or after a grace period.

use std::sync::Arc;

use serde_json::{Value, json};

use super::definitions::{CLEANUP, DEFINITIONS};
use super::{Actor, DeleteOptions, Failure, Propagation, Registry, traits, update};
use crate::clock;
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::store::{self, Object, Refused};

/// What a delete did.
#[derive(Debug, Clone)]
pub struct Deleted {
    /// The last state of the object, or its state with the deletion mark.
    pub object: Arc<Object>,
    /// Whether it is gone.
    pub gone: bool,
    /// What to tell the client in `Warning` headers.
    pub warnings: Vec<String>,
}

const ATTEMPTS: usize = 20;
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

impl Registry {
    /// Delete an object of a resource.
    pub fn delete_in(
        &self,
        _actor: &Actor,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Failure> {
        let table = self.table(resource);
        let key = store::key(namespace, name);
        let (group, plural) = (&resource.gvr.group, &resource.gvr.plural);
        let absent = || Failure::not_found(group, plural, name);
        for _ in 0..ATTEMPTS {
            let live = table.get(&key).ok_or_else(absent)?;
            check_preconditions(resource, &live, options)?;
            if &*resource.storage == "namespaces" && matches!(name, "default" | "kube-system" | "kube-public") {
                let why = "this namespace may not be deleted";
                return Err(Failure::forbidden(group, plural, name, why));
            }
            let warnings = warnings(resource, options);
            let mut next = live.value().clone();
            mark(self, resource, &mut next, options);
            let gone = update::is_released(&next);
            if !gone && next == *live.value() {
                return Ok(Deleted {
                    object: live,
                    gone: false,
                    warnings,
                });
            }
            let raises = !gone || &*resource.storage == "pods";
            if raises && traits::has_generation(resource) && !live.is_deleting() {
                let generation = next["metadata"]["generation"].as_i64().unwrap_or_default();
                next["metadata"]["generation"] = (generation + 1).into();
            }
            if options.dry_run {
                let object = Arc::new(Object::unstored(&key, next, live.revision()));
                return Ok(Deleted { object, gone, warnings });
            }
            if gone && &*resource.storage == "pods" && next != *live.value() {
                // A pod is marked first, without a grace period, and is deleted in a second write.
                match table.replace(&key, next, live.revision()) {
                    Ok(_) | Err(Refused::Raced | Refused::Exists) => continue,
                    Err(Refused::Absent) => return Err(absent()),
                }
            }
            let outcome = if gone {
                // Only pods are marked before they go; of others, marks that were never stored are not shown.
                let marked = live.is_deleting() || &*resource.storage == "pods";
                let last = if marked { next } else { live.value().clone() };
                table.remove(&key, last, live.revision())
            } else {
                table.replace(&key, next, live.revision())
            };
            match outcome {
                Ok(object) => {
                    self.after_write(resource, Some(&live), &object);
                    return Ok(Deleted { object, gone, warnings });
                }
                Err(Refused::Absent) => return Err(absent()),
                Err(Refused::Raced | Refused::Exists) => {}
            }
        }
        Err(Failure::stale(group, plural, name))
    }
}

fn warnings(resource: &Resource, options: &DeleteOptions) -> Vec<String> {
    if options.propagation.is_none() && &*resource.storage == "jobs.batch" {
        return vec![
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them \
             or set propagationPolicy=Orphan to suppress this warning"
                .to_owned(),
        ];
    }
    Vec::new()
}

fn check_preconditions(resource: &Resource, live: &Object, options: &DeleteOptions) -> Result<(), Failure> {
    // The kind, and not the resource, is what the store names here.
    let conflict = |why: String| Failure::conflict(&resource.gvr.group, &resource.kind, live.name(), &why);
    if let Some(uid) = &options.uid
        && uid != live.uid()
    {
        return Err(conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted \
             and then recreated",
            live.uid()
        )));
    }
    if let Some(version) = &options.resource_version
        && *version != live.revision().to_string()
    {
        return Err(conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The \
             object might have been modified",
            live.revision()
        )));
    }
    Ok(())
}

/// Write the deletion onto the object: time, grace period, and the finalizers of the propagation policy.
fn mark(registry: &Registry, resource: &Resource, object: &mut Value, options: &DeleteOptions) {
    let grace = grace(resource, object, options);
    let now = registry.clock().now();
    let already = object["metadata"]["deletionTimestamp"].is_string();
    let current = object["metadata"]["deletionGracePeriodSeconds"].as_i64();
    if !already || current.is_some_and(|current| grace < current) {
        let span = jiff::SignedDuration::from_secs(grace.clamp(0, 1 << 31));
        let due = now.checked_add(span).unwrap_or(now);
        object["metadata"]["deletionTimestamp"] = clock::seconds(due).into();
        // A namespace is deleted through its own finalizers and has no grace period.
        if &*resource.storage != "namespaces" {
            object["metadata"]["deletionGracePeriodSeconds"] = grace.into();
        }
    }
    if &*resource.storage == DEFINITIONS && !already {
        let mut held = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
        held.retain(|finalizer| finalizer != CLEANUP);
        held.push(CLEANUP.into());
        object["metadata"]["finalizers"] = held.into();
    }
    let mut finalizers: Vec<Value> = object["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    let wanted = match options.propagation {
        Some(Propagation::Foreground) => Some(FOREGROUND),
        Some(Propagation::Orphan) => Some(ORPHAN),
        Some(Propagation::Background) => None,
        None if finalizers.iter().any(|f| f == FOREGROUND || f == ORPHAN) => return,
        None => traits::orphans_by_default(resource).then_some(ORPHAN),
    };
    let before = finalizers.clone();
    finalizers.retain(|f| f != FOREGROUND && f != ORPHAN);
    if let Some(wanted) = wanted {
        finalizers.push(wanted.into());
    }
    if finalizers != before {
        object["metadata"]["finalizers"] = finalizers.into();
        if object["metadata"]["finalizers"] == json!([])
            && let Some(metadata) = object["metadata"].as_object_mut()
        {
            metadata.remove("finalizers");
        }
    }
    if &*resource.storage == "namespaces" {
        object["status"]["phase"] = "Terminating".into();
    }
}

/// Seconds until the object may go: only pods that a kubelet knows take time.
fn grace(resource: &Resource, object: &Value, options: &DeleteOptions) -> i64 {
    if &*resource.storage != "pods" {
        return 0;
    }
    let own = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let wanted = options.grace_period.unwrap_or(own).max(0);
    let unscheduled = object["spec"]["nodeName"].as_str().is_none_or(str::is_empty);
    let finished = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if unscheduled || finished { 0 } else { wanted }
}
