//! Defaults of volumes, claims and storage classes.

use serde_json::{Value, json};

use super::super::access::{Fields, default, default_text, set, struct_mut};
use super::pod;

pub(super) fn claim(object: &mut Value) {
    if let Some(spec) = struct_mut(object, "spec") {
        default(spec, "volumeMode", "Filesystem");
        default(spec, "resources", json!({}));
    }
    if let Some(status) = struct_mut(object, "status") {
        default_text(status, "phase", "Pending");
    }
}

pub(super) fn volume(object: &mut Value) {
    if let Some(spec) = struct_mut(object, "spec") {
        default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
        default(spec, "volumeMode", "Filesystem");
        pod::source(spec);
    }
    if let Some(status) = struct_mut(object, "status") {
        default_text(status, "phase", "Pending");
    }
}

pub(super) fn class(object: &mut Value) {
    default(object, "reclaimPolicy", "Delete");
    default(object, "volumeBindingMode", "Immediate");
}

pub(super) fn csi_driver(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    default(spec, "attachRequired", true);
    default(spec, "podInfoOnMount", false);
    default(spec, "storageCapacity", false);
    default(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    default(spec, "requiresRepublish", false);
    default(spec, "seLinuxMount", false);
    if spec.items("volumeLifecycleModes").is_empty() {
        set(spec, "volumeLifecycleModes", json!(["Persistent"]));
    }
}
