//! What every object's metadata must satisfy, on create and on update. The name's own rule is the kind's (see `strategy`).

use serde_json::Value;

use super::access::{Fields, same, sub};
use super::errors::{Errors, Path, Shown};
use super::gojson;
use super::names;
use super::strategy::{NameRule, Scope};

const METADATA: Path<'static> = Path::root("metadata");
/// All keys and values of annotations together, in bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Checks the metadata of a whole object.
pub(crate) fn validate(object: &Value, scope: Scope, rule: NameRule) -> Errors {
    validate_at(sub(object, "metadata"), scope, rule, &METADATA)
}

/// Checks metadata that stands at `path`.
pub(crate) fn validate_at(meta: &Value, scope: Scope, rule: NameRule, path: &Path<'_>) -> Errors {
    let mut errors = Errors::new();
    let generate = meta.text("generateName");
    if !generate.is_empty() {
        errors.invalid_each(&path.child("generateName"), generate, rule.prefix_problems(generate));
    }
    let name = meta.text("name");
    if name.is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    } else {
        errors.invalid_each(&path.child("name"), name, rule.problems(name));
    }
    let namespace = meta.text("namespace");
    match scope {
        Scope::Namespaced if namespace.is_empty() => errors.required(&path.child("namespace"), ""),
        Scope::Namespaced => errors.invalid_each(&path.child("namespace"), namespace, names::label(namespace)),
        Scope::Cluster if !namespace.is_empty() => {
            errors.forbidden(&path.child("namespace"), "not allowed on this type");
        }
        Scope::Cluster => {}
    }
    if let Some(generation) = meta.int("generation").filter(|generation| *generation < 0) {
        errors.invalid(
            &path.child("generation"),
            generation,
            "must be greater than or equal to 0",
        );
    }
    labels(meta.at("labels"), &path.child("labels"), &mut errors);
    annotations(meta.at("annotations"), &path.child("annotations"), &mut errors);
    owners(meta, &path.child("ownerReferences"), &mut errors);
    finalizers(meta, &path.child("finalizers"), &mut errors);
    managed_fields(meta, &path.child("managedFields"), &mut errors);
    errors
}

/// Checks that an update does not change immutable metadata.
pub(crate) fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let (new, old) = (sub(new, "metadata"), sub(old, "metadata"));
    let path = &METADATA;
    if old.has("deletionTimestamp") {
        let before = old.texts("finalizers");
        let added: Vec<String> = new
            .texts("finalizers")
            .into_iter()
            .filter(|one| !before.contains(one))
            .map(gojson::quote)
            .collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            );
            errors.forbidden(&path.child("finalizers"), &detail);
        }
    }
    if new.text("resourceVersion").is_empty() {
        errors.invalid(&path.child("resourceVersion"), "", "must be specified for an update");
    }
    let (is, was) = (
        new.int("generation").unwrap_or_default(),
        old.int("generation").unwrap_or_default(),
    );
    if is < was {
        errors.invalid(&path.child("generation"), is, "must not be decremented");
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        if !same(new.at(field), old.at(field)) {
            errors.invalid(&path.child(field), new.at(field), "field is immutable");
        }
    }
    labels(new.at("labels"), &path.child("labels"), &mut errors);
    annotations(new.at("annotations"), &path.child("annotations"), &mut errors);
    owners(new, &path.child("ownerReferences"), &mut errors);
    managed_fields(new, &path.child("managedFields"), &mut errors);
    errors
}

/// Checks label keys and values.
pub(crate) fn labels(value: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    for (key, value) in value.and_then(Value::as_object).into_iter().flatten() {
        errors.invalid_each(path, key, names::qualified_name(key));
        let value = value.as_str().unwrap_or_default();
        errors.invalid_each(path, value, names::label_value(value));
    }
}

/// Checks annotation keys, and the size of all of them.
pub(crate) fn annotations(value: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in value.and_then(Value::as_object).into_iter().flatten() {
        errors.invalid_each(path, key, names::qualified_name(&key.to_lowercase()));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > ANNOTATIONS_MAX {
        errors.too_long(path, ANNOTATIONS_MAX);
    }
}

fn owners(meta: &Value, path: &Path<'_>, errors: &mut Errors) {
    let all = meta.items("ownerReferences");
    let mut controller: Option<&Value> = None;
    for owner in all {
        let (group, version) = match owner.text("apiVersion").split_once('/') {
            Some((group, version)) => (group, version),
            None => ("", owner.text("apiVersion")),
        };
        if version.is_empty() {
            errors.invalid(
                &path.child("apiVersion"),
                owner.text("apiVersion"),
                "version must not be empty",
            );
        }
        for field in ["kind", "name", "uid"] {
            if owner.text(field).is_empty() {
                errors.invalid(&path.child(field), "", "must not be empty");
            }
        }
        if group.is_empty() && version == "v1" && owner.text("kind") == "Event" {
            errors.invalid(
                path,
                Shown::raw(owner_text(owner)),
                "/v1, Kind=Event is disallowed from being an owner",
            );
        }
        if owner.yes("controller") {
            if let Some(first) = controller {
                let list = all.iter().map(owner_text).collect::<Vec<_>>().join(",");
                let detail = format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {}/{} and {}/{}",
                    first.text("kind"),
                    first.text("name"),
                    owner.text("kind"),
                    owner.text("name")
                );
                errors.invalid(path, Shown::raw(format!("[{list}]")), &detail);
            } else {
                controller = Some(owner);
            }
        }
    }
}

/// An owner reference as the server prints it, its fields in the order of its type.
fn owner_text(owner: &Value) -> String {
    let mut parts: Vec<String> = ["apiVersion", "kind", "name", "uid"]
        .iter()
        .map(|field| format!("\"{field}\":{}", gojson::string(owner.text(field))))
        .collect();
    for field in ["controller", "blockOwnerDeletion"] {
        if let Some(value) = owner.at(field).and_then(Value::as_bool) {
            parts.push(format!("\"{field}\":{value}"));
        }
    }
    format!("{{{}}}", parts.join(","))
}

fn finalizers(meta: &Value, path: &Path<'_>, errors: &mut Errors) {
    let all = meta.texts("finalizers");
    for name in &all {
        errors.invalid_each(path, name, names::qualified_name(name));
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        let list = all
            .iter()
            .map(|name| gojson::string(name))
            .collect::<Vec<_>>()
            .join(",");
        errors.invalid(
            path,
            Shown::raw(format!("[{list}]")),
            "finalizer orphan and finalizer foregroundDeletion cannot be both set",
        );
    }
}

/// What only the built-in kinds ask of a finalizer: a domain, or a name that Kubernetes itself uses.
pub(crate) fn known_finalizers(object: &Value, errors: &mut Errors) {
    let list = METADATA.child("finalizers");
    for (index, name) in sub(object, "metadata").texts("finalizers").into_iter().enumerate() {
        if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
            errors.invalid(
                &list.index(index),
                name,
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
    }
}

fn managed_fields(meta: &Value, path: &Path<'_>, errors: &mut Errors) {
    for (index, entry) in meta.items("managedFields").iter().enumerate() {
        let path = path.index(index);
        if !matches!(entry.text("operation"), "Apply" | "Update") {
            errors.invalid(
                &path.child("operation"),
                entry.text("operation"),
                "must be `Apply` or `Update`",
            );
        }
        if !matches!(entry.text("fieldsType"), "" | "FieldsV1") {
            errors.invalid(
                &path.child("fieldsType"),
                entry.text("fieldsType"),
                "must be `FieldsV1`",
            );
        }
        let manager = entry.text("manager");
        if manager.len() > 128 {
            errors.too_long(&path.child("manager"), 128);
        }
        for (index, c) in manager.chars().enumerate() {
            if c.is_control() {
                let detail = format!("should only contain printable characters at position {index}");
                errors.invalid(&path.child("manager"), manager, &detail);
            }
        }
    }
}
