//! ControllerRevisions: the templates that a StatefulSet or DaemonSet has had, by number.

use std::sync::Arc;

use serde_json::{Value, json};

use super::object;
use super::world::World;
use crate::kubernetes::registry::Failure;
use crate::kubernetes::store::Object;

const RESOURCE: &str = "controllerrevisions.apps";

/// The revision of the current template and all others, oldest first.
pub(super) struct Revisions {
    pub(super) update: Arc<Object>,
    pub(super) all: Vec<Arc<Object>>,
    pub(super) collisions: i64,
}

/// The recorded template of an owner.
fn data(owner: &Value) -> Value {
    let mut template = owner["spec"]["template"].clone();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// The template that a revision recorded.
pub(super) fn template(revision: &Value) -> Value {
    let mut template = revision["data"]["spec"]["template"].clone();
    if let Some(template) = template.as_object_mut() {
        template.remove("$patch");
    }
    template
}

/// Find or make the revision of an owner's template.
pub(super) fn current(world: &mut World, owner: &Value, kind: &str, collisions: i64) -> Result<Revisions, Failure> {
    let number = |revision: &Arc<Object>| revision.value()["revision"].as_i64().unwrap_or(0);
    let mut all = world.cache.owned(RESOURCE, object::uid(owner));
    all.sort_by_key(|revision| {
        (
            number(revision),
            object::seconds(revision.value(), "/metadata/creationTimestamp"),
            revision.name().to_owned(),
        )
    });
    let wanted = data(owner);
    let next = all.last().map_or(1, |last| number(last) + 1);
    if let Some(at) = all.iter().rposition(|revision| revision.value()["data"] == wanted) {
        if at + 1 == all.len() {
            return Ok(Revisions {
                update: all[at].clone(),
                all,
                collisions,
            });
        }
        // An old template is wanted again: its revision becomes the newest.
        let mut body = all[at].value().clone();
        body["revision"] = next.into();
        let update = world.update(RESOURCE, body)?;
        all.remove(at);
        all.push(update.clone());
        return Ok(Revisions {
            update,
            all,
            collisions,
        });
    }
    let hash = object::short_hash(&wanted, collisions);
    let mut labels = owner["spec"]["template"]["metadata"]["labels"].clone();
    if !labels.is_object() {
        labels = json!({});
    }
    labels["controller.kubernetes.io/hash"] = hash.as_str().into();
    let body = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", object::name(owner)), "namespace": object::namespace(owner), "labels": labels,
            "ownerReferences": [object::owner_reference(owner, "apps/v1", kind)],
        },
        "data": wanted,
        "revision": next,
    });
    let update = match world.create(RESOURCE, object::namespace(owner), body) {
        Err(failure) if failure.is_already_exists() => {
            // Made in the turn before and not read yet, or another template of this hash.
            let live = world.registry.get(
                RESOURCE,
                object::namespace(owner),
                &format!("{}-{hash}", object::name(owner)),
            )?;
            if live.value()["data"] != wanted {
                return current(world, owner, kind, collisions + 1);
            }
            live
        }
        other => other?,
    };
    all.push(update.clone());
    Ok(Revisions {
        update,
        all,
        collisions,
    })
}

/// Delete what is beyond the history limit and used by no pod.
pub(super) fn truncate(world: &World, revisions: &Revisions, live: &[&str], limit: i64) -> Result<(), Failure> {
    let unused: Vec<&Arc<Object>> = revisions
        .all
        .iter()
        .filter(|revision| !live.contains(&revision.name()))
        .collect();
    let excess = usize::try_from(i64::try_from(unused.len()).unwrap_or(0) - limit.max(0)).unwrap_or(0);
    for revision in unused.into_iter().take(excess) {
        world.delete(RESOURCE, revision.value(), None)?;
    }
    Ok(())
}
