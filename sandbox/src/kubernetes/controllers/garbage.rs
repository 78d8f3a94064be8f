//! Garbage collection: a dependant is deleted with its owner, before it in foreground mode, or is orphaned.

use serde_json::Value;

use super::cache::Place;
use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use crate::kubernetes::registry::{Failure, Part, Propagation};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// Work for the collector is named by uid: `("owner", uid)` for an owner that is going or gone, `("absent", uid)` for an
/// object whose owners must be looked for.
pub(super) fn observe(world: &mut World, seen: &Seen) {
    let uid = seen.object.uid();
    let owners = object::list(seen.value(), "/metadata/ownerReferences");
    if seen.gone()
        || (seen.object.is_deleting() && object::finalizers(seen.value()).any(|f| f == FOREGROUND || f == ORPHAN))
    {
        world.enqueue(Who::Garbage, object::key("owner", uid));
    } else if !owners.is_empty() {
        let before = seen
            .before
            .as_ref()
            .map(|before| object::list(before.value(), "/metadata/ownerReferences"));
        if before != Some(owners) {
            world.enqueue(Who::Garbage, object::key("absent", uid));
        }
    }
    // An owner that waits for its dependents may be done.
    if seen.gone()
        || seen
            .before
            .as_ref()
            .is_some_and(|before| object::list(before.value(), "/metadata/ownerReferences") != owners)
    {
        let before = seen.before.as_ref().map_or(owners, |before| {
            object::list(before.value(), "/metadata/ownerReferences")
        });
        for owner in before {
            let uid = owner["uid"].as_str().unwrap_or_default();
            let waits = world
                .cache
                .place(uid)
                .and_then(|place| world.cache.get(&place.resource, &place.key));
            if waits.is_some_and(|owner| owner.is_deleting()) {
                world.enqueue(Who::Garbage, object::key("owner", uid));
            }
        }
    }
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let result = if &*key.0 == "owner" {
        owner(world, &key.1)
    } else {
        absent(world, &key.1)
    };
    result.into()
}

fn owner(world: &mut World, uid: &str) -> Result<(), Failure> {
    let place = world.cache.place(uid).cloned();
    let live = place
        .as_ref()
        .and_then(|place| world.cache.get(&place.resource, &place.key));
    let dependents = world.cache.dependents(uid);
    let (Some(place), Some(live)) = (place, live) else {
        for dependent in dependents {
            collect(world, &dependent, false)?;
        }
        return Ok(());
    };
    if object::finalizers(live.value()).any(|f| f == ORPHAN) {
        for dependent in dependents {
            disown(world, &dependent, &[uid])?;
        }
        return release(world, &place, ORPHAN);
    }
    if !object::finalizers(live.value()).any(|f| f == FOREGROUND) {
        return Ok(());
    }
    let mut blocked = false;
    for dependent in &dependents {
        let Some(object) = world.cache.get(&dependent.resource, &dependent.key) else {
            continue;
        };
        let reference = object::list(object.value(), "/metadata/ownerReferences")
            .iter()
            .find(|owner| owner["uid"] == uid);
        let blocks = reference.is_some_and(|owner| owner["blockOwnerDeletion"] == true);
        blocked |= blocks;
        collect(world, dependent, blocks)?;
    }
    if blocked {
        Ok(())
    } else {
        release(world, &place, FOREGROUND)
    }
}

/// Whether the object that a reference names is there.
fn exists(world: &World, namespace: &str, reference: &Value) -> bool {
    let uid = reference["uid"].as_str().unwrap_or_default();
    if world.cache.place(uid).is_some() {
        return true;
    }
    // The cache may lag a creation; the store does not.
    let (group, version) = reference["apiVersion"]
        .as_str()
        .unwrap_or_default()
        .split_once('/')
        .unwrap_or(("", "v1"));
    let kind = reference["kind"].as_str().unwrap_or_default();
    let Some(resource) = world.registry.catalog().served().by_kind(group, version, kind) else {
        // Of a kind that is not served nothing is known: leave it alone, as the real collector does.
        return true;
    };
    let namespace = if resource.namespaced { namespace } else { "" };
    let live = world.registry.find(
        &resource.storage,
        namespace,
        reference["name"].as_str().unwrap_or_default(),
    );
    live.is_some_and(|live| live.uid() == uid)
}

fn absent(world: &mut World, uid: &str) -> Result<(), Failure> {
    match world.cache.place(uid).cloned() {
        Some(place) => collect(world, &place, false),
        None => Ok(()),
    }
}

/// Delete an object if none of its owners is left, or drop the references to those that are gone.
fn collect(world: &mut World, place: &Place, blocks: bool) -> Result<(), Failure> {
    let Some(live) = world.registry.find(&place.resource, &place.key.0, &place.key.1) else {
        return Ok(());
    };
    let owners = object::list(live.value(), "/metadata/ownerReferences");
    if owners.is_empty() || (live.is_deleting() && !blocks) {
        return Ok(());
    }
    let namespace = live.namespace().to_owned();
    let waiting = |reference: &Value| {
        let owner = world.cache.place(reference["uid"].as_str().unwrap_or_default());
        let owner = owner.and_then(|place| world.cache.get(&place.resource, &place.key));
        owner.is_some_and(|owner| owner.is_deleting() && object::finalizers(owner.value()).any(|f| f == FOREGROUND))
    };
    let (mut solid, mut gone) = (false, Vec::new());
    let mut foreground = false;
    for reference in owners {
        if !exists(world, &namespace, reference) {
            gone.push(reference["uid"].as_str().unwrap_or_default().to_owned());
        } else if waiting(reference) {
            foreground = true;
        } else {
            solid = true;
        }
    }
    if solid {
        let gone: Vec<&str> = gone.iter().map(String::as_str).collect();
        return if gone.is_empty() {
            Ok(())
        } else {
            disown(world, place, &gone)
        };
    }
    if live.is_deleting() {
        return Ok(());
    }
    // What waits for its own dependents passes the waiting on.
    let policy = if foreground && !world.cache.dependents(live.uid()).is_empty() {
        Some(Propagation::Foreground)
    } else if object::finalizers(live.value()).any(|f| f == ORPHAN) {
        Some(Propagation::Orphan)
    } else {
        Some(Propagation::Background)
    };
    world.delete(&place.resource, live.value(), policy)
}

fn disown(world: &World, place: &Place, uids: &[&str]) -> Result<(), Failure> {
    let result = world.modify(place, Part::Main, |object| {
        let left: Vec<Value> = object::list(object, "/metadata/ownerReferences")
            .iter()
            .filter(|owner| !uids.contains(&owner["uid"].as_str().unwrap_or_default()))
            .cloned()
            .collect();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            if left.is_empty() {
                metadata.remove("ownerReferences");
            } else {
                metadata.insert("ownerReferences".to_owned(), left.into());
            }
        }
    });
    match result {
        Err(failure) if !failure.is_not_found() => Err(failure),
        _ => Ok(()),
    }
}

fn release(world: &World, place: &Place, finalizer: &str) -> Result<(), Failure> {
    let result = world.modify(place, Part::Main, |object| {
        let left: Vec<Value> = object::list(object, "/metadata/finalizers")
            .iter()
            .filter(|f| *f != finalizer)
            .cloned()
            .collect();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            if left.is_empty() {
                metadata.remove("finalizers");
            } else {
                metadata.insert("finalizers".to_owned(), left.into());
            }
        }
    });
    match result {
        Err(failure) if !failure.is_not_found() => Err(failure),
        _ => Ok(()),
    }
}
