//! Claims, volumes and storage classes, and what their updates may change.

use serde_json::Value;

use super::super::access::{Fields, copy, same, set, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::{gojson, names, selectors};
use super::number::{self, one_of};
use super::{diff, placement, volumes};

const SPEC: Path<'static> = Path::root("spec");
const MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

fn access_modes(spec: &Value, errors: &mut Errors) {
    let list = SPEC.child("accessModes");
    let modes = spec.texts("accessModes");
    if modes.is_empty() {
        errors.required(&list, "at least 1 access mode is required");
    }
    for mode in &modes {
        if !MODES.contains(mode) {
            errors.unsupported(&list, *mode, &MODES);
        }
    }
    if modes.len() > 1 && modes.contains(&"ReadWriteOncePod") {
        errors.forbidden(&list, "may not use ReadWriteOncePod with other access modes");
    }
}

pub(super) fn claim(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    access_modes(spec, errors);
    selectors::validate(spec.at("selector"), &SPEC.child("selector"), errors);
    let requests = sub(sub(spec, "resources"), "requests");
    let resources = SPEC.child("resources");
    match number::amount(requests, "storage") {
        None => errors.required(&resources.child("storage"), ""),
        Some(size) if size.nano() <= 0 => {
            let requests = resources.child("requests");
            errors.invalid(&requests.key("storage"), size.canonical(), "must be greater than zero");
        }
        Some(_) => {}
    }
    if let Some(class) = spec
        .at("storageClassName")
        .and_then(Value::as_str)
        .filter(|class| !class.is_empty())
    {
        errors.invalid_each(&SPEC.child("storageClassName"), class, names::subdomain(class));
    }
    one_of(spec, "volumeMode", &["Block", "Filesystem"], false, &SPEC, errors);
    for field in ["dataSource", "dataSourceRef"] {
        let Some(source) = spec.at(field) else { continue };
        let at = SPEC.child(field);
        for part in ["name", "kind"] {
            if source.text(part).is_empty() {
                errors.required(&at.child(part), "");
            }
        }
        let group = source.text("apiGroup");
        if group.is_empty() && source.text("kind") != "PersistentVolumeClaim" {
            errors.invalid(
                &at,
                source.text("kind"),
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            );
        }
    }
}

const FIXED: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

pub(super) fn claim_change(old: &Value, new: &Value, errors: &mut Errors) {
    let (before, after) = (sub(old, "spec"), sub(new, "spec"));
    let mut allowed = after.clone();
    if before.text("volumeName").is_empty() && !after.text("volumeName").is_empty() {
        // binding the claim
        copy(&mut allowed, before, "volumeName");
    }
    if !before.has("storageClassName") && after.has("storageClassName") {
        // a default class found after the fact
        copy(&mut allowed, before, "storageClassName");
    }
    let bound = sub(old, "status").text("phase") == "Bound";
    if bound {
        let was = sub(sub(before, "resources"), "requests").clone();
        if let Some(resources) = allowed.get_mut("resources") {
            set(resources, "requests", was);
        }
        copy(&mut allowed, before, "volumeAttributesClassName");
        let size = |spec: &Value| number::amount(sub(sub(spec, "resources"), "requests"), "storage");
        let given = number::amount(sub(sub(old, "status"), "capacity"), "storage");
        if let (Some(was), Some(is)) = (size(before), size(after))
            && is.compare(was).is_lt()
            && given.is_none_or(|given| is.compare(given).is_le())
        {
            let at = SPEC.child("resources");
            let at = at.child("requests");
            errors.forbidden(&at.child("storage"), "field can not be less than status.capacity");
        }
    }
    if !same(Some(&allowed), Some(before)) {
        let text = diff::unified(&diff::claim_spec(before), &diff::claim_spec(after));
        errors.forbidden(&SPEC, &format!("{FIXED}\n{text}"));
    }
}

const SOURCES: [&str; 22] = [
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "hostPath",
    "glusterfs",
    "nfs",
    "rbd",
    "iscsi",
    "cinder",
    "cephfs",
    "fc",
    "flocker",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];

pub(super) fn volume(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    access_modes(spec, errors);
    let capacity = SPEC.child("capacity");
    let sizes = spec.map("capacity");
    if sizes.is_none_or(serde_json::Map::is_empty) {
        errors.required(&capacity, "");
    } else if sizes.is_some_and(|sizes| !sizes.contains_key("storage") || sizes.len() > 1) {
        errors.unsupported(&capacity, Shown::from(sub(spec, "capacity")), &["storage"]);
    }
    if let Some(size) = number::amount(sub(spec, "capacity"), "storage").filter(|size| size.nano() <= 0) {
        errors.invalid(&capacity.key("storage"), size.canonical(), "must be greater than zero");
    }
    one_of(
        spec,
        "persistentVolumeReclaimPolicy",
        &["Delete", "Recycle", "Retain"],
        false,
        &SPEC,
        errors,
    );
    let mut found = 0;
    for kind in SOURCES {
        let Some(source) = spec.at(kind) else { continue };
        found += 1;
        let at = SPEC.child(kind);
        if found > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type");
            continue;
        }
        match kind {
            "hostPath" => volumes::host_path(source, &at, errors),
            "local" => {
                if source.text("path").is_empty() {
                    errors.required(&at.child("path"), "");
                } else if let Some(why) = names::backsteps(source.text("path")) {
                    errors.invalid(&at.child("path"), source.text("path"), why);
                }
                if !spec.has("nodeAffinity") {
                    errors.required(&SPEC.child("nodeAffinity"), "Local volume requires node affinity");
                }
            }
            "nfs" => {
                for field in ["server", "path"] {
                    if source.text(field).is_empty() {
                        errors.required(&at.child(field), "");
                    }
                }
            }
            "csi" => {
                for field in ["driver", "volumeHandle"] {
                    if source.text(field).is_empty() {
                        errors.required(&at.child(field), "");
                    }
                }
            }
            _ => {}
        }
    }
    if found == 0 {
        errors.required(&SPEC, "must specify a volume type");
    }
    if sub(spec, "hostPath").text("path") == "/" && spec.text("persistentVolumeReclaimPolicy") == "Recycle" {
        errors.forbidden(
            &SPEC.child("persistentVolumeReclaimPolicy"),
            "may not be 'recycle' for a hostPath mount of '/'",
        );
    }
    let class = spec.text("storageClassName");
    if !class.is_empty() {
        errors.invalid_each(&SPEC.child("storageClassName"), class, names::subdomain(class));
    }
    one_of(spec, "volumeMode", &["Block", "Filesystem"], false, &SPEC, errors);
    if let Some(affinity) = spec.at("nodeAffinity") {
        let at = SPEC.child("nodeAffinity");
        match affinity.at("required") {
            Some(required) => placement::node_selector(required, &at.child("required"), errors),
            None => errors.required(&at.child("required"), "must specify required node constraints"),
        }
    }
}

pub(super) fn volume_change(old: &Value, new: &Value, errors: &mut Errors) {
    let (before, after) = (sub(old, "spec"), sub(new, "spec"));
    for kind in SOURCES {
        if !same(before.at(kind), after.at(kind)) {
            errors.forbidden(
                &SPEC.child("persistentvolumesource"),
                "spec.persistentvolumesource is immutable after creation",
            );
            break;
        }
    }
    if !same(before.at("volumeMode"), after.at("volumeMode")) {
        errors.invalid(&SPEC.child("volumeMode"), after.at("volumeMode"), "field is immutable");
    }
    if before.has("nodeAffinity") && !same(before.at("nodeAffinity"), after.at("nodeAffinity")) {
        errors.invalid(
            &SPEC.child("nodeAffinity"),
            after.at("nodeAffinity"),
            "field is immutable",
        );
    }
}

pub(super) fn class(object: &Value, errors: &mut Errors) {
    let root = Path::root("");
    let provisioner = object.text("provisioner");
    if provisioner.is_empty() {
        errors.required(&Path::root("provisioner"), provisioner);
    } else {
        errors.invalid_each(
            &Path::root("provisioner"),
            provisioner,
            names::qualified_name(&provisioner.to_lowercase()),
        );
    }
    let parameters = Path::root("parameters");
    for (key, _) in object.map("parameters").into_iter().flatten() {
        if key.is_empty() {
            errors.invalid(&parameters, key, "field can not be empty.");
        }
    }
    one_of(object, "reclaimPolicy", &["Delete", "Retain"], false, &root, errors);
    if object.text("volumeBindingMode").is_empty() {
        errors.required(&Path::root("volumeBindingMode"), "");
    }
    one_of(
        object,
        "volumeBindingMode",
        &["Immediate", "WaitForFirstConsumer"],
        false,
        &root,
        errors,
    );
}

pub(super) fn class_change(old: &Value, new: &Value, errors: &mut Errors) {
    if !same(old.at("parameters"), new.at("parameters")) {
        errors.forbidden(&Path::root("parameters"), "updates to parameters are forbidden.");
    }
    if old.text("provisioner") != new.text("provisioner") {
        errors.forbidden(&Path::root("provisioner"), "updates to provisioner are forbidden.");
    }
    for field in ["reclaimPolicy", "volumeBindingMode"] {
        if !same(old.at(field), new.at(field)) {
            if field == "reclaimPolicy" {
                errors.forbidden(&Path::root(field), "updates to reclaimPolicy are forbidden.");
            } else {
                errors.invalid(&Path::root(field), new.at(field), "field is immutable");
            }
        }
    }
}

pub(super) fn attachment(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    for field in ["attacher", "nodeName"] {
        if spec.text(field).is_empty() {
            errors.required(&SPEC.child(field), "");
        }
    }
}

pub(super) fn attachment_change(old: &Value, new: &Value, errors: &mut Errors) {
    if !same(old.at("spec"), new.at("spec")) {
        errors.invalid(&SPEC, Shown::raw(gojson::text(sub(new, "spec"))), "field is immutable");
    }
}
