//! What a write may touch: status apart from the rest, and what counts as a change of the spec.

use serde_json::Value;

use crate::kubernetes::registry::{Part, traits};
use crate::kubernetes::schema::resources::Resource;

pub(crate) fn for_create(resource: &Resource, object: &mut Value) {
    if traits::keeps_status(resource)
        && resource.is_custom()
        && let Some(object) = object.as_object_mut()
    {
        object.remove("status");
    }
}

pub(crate) fn for_update(resource: &Resource, old: &Value, new: &mut Value, part: Part) {
    match part {
        Part::Status => {
            let mut kept = old.clone();
            kept["status"] = new["status"].take();
            if let Some(managed) = new["metadata"].get("managedFields") {
                kept["metadata"]["managedFields"] = managed.clone();
            }
            *new = kept;
        }
        Part::Main if traits::keeps_status(resource) => match old.get("status") {
            Some(status) => new["status"] = status.clone(),
            None => {
                if let Some(new) = new.as_object_mut() {
                    new.remove("status");
                }
            }
        },
        _ => {}
    }
}

pub(crate) fn spec_changed(_: &Resource, old: &Value, new: &Value) -> bool {
    old["spec"] != new["spec"]
}
