//! What the server adds to claims and volumes: protection while in use, a default class; and when a claim may grow.

use serde_json::Value;

use super::super::access::{Fields, set, struct_mut, sub};
use super::{forbidden, marked_default};
use crate::kubernetes::registry::{Failure, Registry};
use crate::kubernetes::schema::quantity::Quantity;

/// A finalizer that keeps the object while pods use it.
pub(super) fn protect(object: &mut Value, finalizer: &str) {
    let Some(metadata) = struct_mut(object, "metadata") else {
        return;
    };
    let mut all = metadata.items("finalizers").to_vec();
    if !all.iter().any(|one| one == finalizer) {
        all.push(finalizer.into());
        set(metadata, "finalizers", all);
    }
}

/// A claim that names no class gets the default one; one that names "" gets none.
pub(super) fn default_class(registry: &Registry, object: &mut Value) {
    let annotated = sub(sub(object, "metadata"), "annotations").has("volume.beta.kubernetes.io/storage-class");
    if annotated || sub(object, "spec").has("storageClassName") {
        return;
    }
    if let Some(name) = marked_default(
        registry,
        "storageclasses.storage.k8s.io",
        "storageclass.kubernetes.io/is-default-class",
    ) && let Some(spec) = struct_mut(object, "spec")
    {
        set(spec, "storageClassName", name);
    }
}

fn asked(claim: &Value) -> Option<Quantity> {
    sub(sub(sub(claim, "spec"), "resources"), "requests")
        .at("storage")
        .and_then(Value::as_str)
        .and_then(Quantity::parse)
}

/// A bound claim grows only if its class lets it.
pub(super) fn resize(registry: &Registry, old: &Value, new: &Value) -> Result<(), Failure> {
    let (Some(before), Some(after)) = (asked(old), asked(new)) else {
        return Ok(());
    };
    if after.compare(before).is_le() || sub(old, "status").text("phase") != "Bound" {
        return Ok(());
    }
    let class = sub(new, "spec").text("storageClassName");
    let grows = registry
        .find("storageclasses.storage.k8s.io", "", class)
        .is_some_and(|class| class.value().yes("allowVolumeExpansion"));
    if grows {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(forbidden("persistentvolumeclaims", new, why))
}
