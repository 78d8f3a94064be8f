//! Volumes of pods: one source each, and what each source needs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::access::Fields;
use super::super::errors::{Errors, Path};
use super::super::names;
use super::containers;
use super::number::{self, one_of};

/// The kinds of volume source, in the order in which the server looks at them.
const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "configMap",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "azureDisk",
    "portworxVolume",
    "scaleIO",
    "projected",
    "storageos",
    "photonPersistentDisk",
    "csi",
    "ephemeral",
    "image",
];

/// Checks all volumes; answers the names that containers can mount.
pub(super) fn all<'a>(spec: &'a Value, path: &Path<'_>, errors: &mut Errors) -> BTreeSet<&'a str> {
    let list = path.child("volumes");
    let mut seen = BTreeSet::new();
    for (index, volume) in spec.items("volumes").iter().enumerate() {
        let path = list.index(index);
        source(volume, &path, errors);
        let name = volume.text("name");
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            let problems = names::label(name);
            let fine = problems.is_empty();
            errors.invalid_each(&path.child("name"), name, problems);
            if fine && !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
    }
    seen
}

fn source(volume: &Value, path: &Path<'_>, errors: &mut Errors) {
    let mut found = 0;
    for kind in SOURCES {
        let Some(value) = volume.at(kind) else { continue };
        found += 1;
        let at = path.child(kind);
        if found > 1 {
            errors.forbidden(&at, "may not specify more than 1 volume type");
            continue;
        }
        one(kind, value, &at, errors);
    }
    if found == 0 {
        errors.required(path, "must specify a volume type");
    }
}

fn required(value: &Value, fields: &[&str], path: &Path<'_>, errors: &mut Errors) {
    for field in fields {
        if value.text(field).is_empty() {
            errors.required(&path.child(field), "");
        }
    }
}

fn one(kind: &str, value: &Value, path: &Path<'_>, errors: &mut Errors) {
    match kind {
        "emptyDir" if number::amount(value, "sizeLimit").is_some_and(|size| size.is_negative()) => {
            errors.forbidden(
                &path.child("sizeLimit"),
                "SizeLimit field must be a valid resource quantity",
            );
        }
        "hostPath" => host_path(value, path, errors),
        "gitRepo" => required(value, &["repository"], path, errors),
        "secret" => {
            required(value, &["secretName"], path, errors);
            mode(value, "defaultMode", path, errors);
            items(value, path, errors);
        }
        "configMap" => {
            required(value, &["name"], path, errors);
            mode(value, "defaultMode", path, errors);
            items(value, path, errors);
        }
        "persistentVolumeClaim" => required(value, &["claimName"], path, errors),
        "downwardAPI" => {
            mode(value, "defaultMode", path, errors);
            downward(value, path, errors);
        }
        "projected" => projected(value, path, errors),
        "nfs" => {
            required(value, &["server", "path"], path, errors);
            if !value.text("path").is_empty() && !value.text("path").starts_with('/') {
                errors.invalid(&path.child("path"), value.text("path"), "must be an absolute path");
            }
        }
        "csi" => required(value, &["driver"], path, errors),
        "image" => one_of(
            value,
            "pullPolicy",
            &["Always", "IfNotPresent", "Never"],
            false,
            path,
            errors,
        ),
        "ephemeral" if !value.has("volumeClaimTemplate") => {
            errors.required(&path.child("volumeClaimTemplate"), "");
        }
        "iscsi" => required(value, &["targetPortal", "iqn"], path, errors),
        "gcePersistentDisk" => required(value, &["pdName"], path, errors),
        "awsElasticBlockStore" | "cinder" => required(value, &["volumeID"], path, errors),
        "glusterfs" => required(value, &["endpoints", "path"], path, errors),
        "azureFile" => required(value, &["secretName", "shareName"], path, errors),
        "vsphereVolume" => required(value, &["volumePath"], path, errors),
        _ => {}
    }
}

/// A directory of the node.
pub(super) fn host_path(value: &Value, path: &Path<'_>, errors: &mut Errors) {
    let place = value.text("path");
    if place.is_empty() {
        errors.required(&path.child("path"), "");
        return;
    }
    if let Some(why) = names::backsteps(place) {
        errors.invalid(&path.child("path"), place, why);
    }
    const KNOWN: [&str; 8] = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    if !KNOWN.contains(&value.text("type")) {
        errors.unsupported(&path.child("type"), value.text("type"), &KNOWN);
    }
}

fn mode(value: &Value, field: &str, path: &Path<'_>, errors: &mut Errors) {
    if let Some(mode) = value.int(field).filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(
            &path.child(field),
            mode,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}

fn relative(item: &Value, path: &Path<'_>, errors: &mut Errors) {
    let place = item.text("path");
    if place.is_empty() {
        errors.required(&path.child("path"), "");
        return;
    }
    if let Some(why) = names::escapes(place) {
        errors.invalid(&path.child("path"), place, why);
    } else if place.starts_with("..") {
        errors.invalid(&path.child("path"), place, "must not start with '..'");
    }
}

fn items(value: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("items");
    for (index, item) in value.items("items").iter().enumerate() {
        let path = list.index(index);
        if item.text("key").is_empty() {
            errors.required(&path.child("key"), "");
        }
        relative(item, &path, errors);
        mode(item, "mode", &path, errors);
    }
}

fn downward(value: &Value, path: &Path<'_>, errors: &mut Errors) {
    for item in value.items("items") {
        relative(item, path, errors);
        match (item.at("fieldRef"), item.at("resourceFieldRef")) {
            (Some(field), both) => {
                containers::field_ref(field, &path.child("fieldRef"), false, errors);
                if both.is_some() {
                    errors.invalid(
                        path,
                        "resource",
                        "fieldRef and resourceFieldRef can not be specified simultaneously",
                    );
                }
            }
            (None, Some(resource)) => containers::resource_ref(resource, &path.child("resourceFieldRef"), true, errors),
            (None, None) => errors.required(path, "one of fieldRef and resourceFieldRef is required"),
        }
        mode(item, "mode", path, errors);
    }
}

fn projected(value: &Value, path: &Path<'_>, errors: &mut Errors) {
    mode(value, "defaultMode", path, errors);
    let list = path.child("sources");
    for (index, source) in value.items("sources").iter().enumerate() {
        let at = list.index(index);
        let mut found = 0;
        for kind in [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ] {
            let Some(value) = source.at(kind) else { continue };
            found += 1;
            let path = at.child(kind);
            if found > 1 {
                errors.forbidden(&path, "may not specify more than 1 volume type");
                continue;
            }
            match kind {
                "secret" | "configMap" => {
                    required(value, &["name"], &path, errors);
                    items(value, &path, errors);
                }
                "downwardAPI" => downward(value, &path, errors),
                "serviceAccountToken" => {
                    let seconds = value.int("expirationSeconds").unwrap_or(3600);
                    if seconds < 600 {
                        errors.invalid(
                            &path.child("expirationSeconds"),
                            seconds,
                            "may not specify a duration less than 10 minutes",
                        );
                    } else if seconds > 1 << 32 {
                        errors.invalid(
                            &path.child("expirationSeconds"),
                            seconds,
                            "may not specify a duration larger than 2^32 seconds",
                        );
                    }
                    relative(value, &path, errors);
                }
                _ => {}
            }
        }
        if found == 0 {
            errors.required(&at, "must specify a volume type");
        }
    }
}
