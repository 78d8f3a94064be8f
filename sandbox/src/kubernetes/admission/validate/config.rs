//! ConfigMaps and Secrets.

use base64::Engine as _;
use serde_json::Value;

use super::super::access::{Fields, same, sub};
use super::super::errors::{Errors, Path};
use super::super::names;

/// All values together, in bytes.
const MAX: usize = 1024 * 1024;

fn decoded(value: &Value) -> Vec<u8> {
    base64::engine::general_purpose::STANDARD
        .decode(value.as_str().unwrap_or_default())
        .unwrap_or_default()
}

pub(super) fn config_map(object: &Value, errors: &mut Errors) {
    let mut size = 0;
    let (data, binary) = (Path::root("data"), Path::root("binaryData"));
    for (key, value) in object.map("data").into_iter().flatten() {
        errors.invalid_each(&data.key(key), key, names::config_key(key));
        if object.map("binaryData").is_some_and(|other| other.contains_key(key)) {
            errors.invalid(&data.key(key), key, "duplicate of key present in binaryData");
        }
        size += value.as_str().map_or(0, str::len);
    }
    for (key, value) in object.map("binaryData").into_iter().flatten() {
        errors.invalid_each(&binary.key(key), key, names::config_key(key));
        size += decoded(value).len();
    }
    if size > MAX {
        // the real server names no field here
        errors.too_long(&Path::root("[]"), MAX);
    }
}

pub(super) fn config_map_change(old: &Value, new: &Value, errors: &mut Errors) {
    frozen(old, new, &["data", "binaryData"], errors);
}

fn frozen(old: &Value, new: &Value, fields: &[&str], errors: &mut Errors) {
    if !old.yes("immutable") {
        return;
    }
    const WHY: &str = "field is immutable when `immutable` is set";
    if !new.yes("immutable") {
        errors.forbidden(&Path::root("immutable"), WHY);
    }
    for field in fields {
        if !same(old.at(field), new.at(field)) {
            errors.forbidden(&Path::root(field), WHY);
        }
    }
}

pub(super) fn secret(object: &Value, errors: &mut Errors) {
    let path = Path::root("data");
    let data = sub(object, "data");
    let mut size = 0;
    for (key, value) in data.as_object().into_iter().flatten() {
        errors.invalid_each(&path.key(key), key, names::config_key(key));
        size += decoded(value).len();
    }
    if size > MAX {
        errors.too_long(&path, MAX);
    }
    let required = |key: &str, errors: &mut Errors| {
        if !data.has(key) {
            errors.required(&path.key(key), "");
        }
    };
    match object.text("type") {
        "kubernetes.io/service-account-token" => {
            let annotations = sub(sub(object, "metadata"), "annotations");
            if annotations.text("kubernetes.io/service-account.name").is_empty() {
                let metadata = Path::root("metadata");
                errors.required(
                    &metadata.child("annotations").key("kubernetes.io/service-account.name"),
                    "",
                );
            }
        }
        "kubernetes.io/dockercfg" => docker(data, ".dockercfg", &path, errors),
        "kubernetes.io/dockerconfigjson" => docker(data, ".dockerconfigjson", &path, errors),
        "kubernetes.io/basic-auth" if !data.has("username") && !data.has("password") => {
            required("username", errors);
            required("password", errors);
        }
        "kubernetes.io/ssh-auth" if data.at("ssh-privatekey").is_none_or(|value| decoded(value).is_empty()) => {
            errors.required(&path.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            required("tls.crt", errors);
            required("tls.key", errors);
        }
        _ => {}
    }
}

/// Registry credentials must exist and be JSON; errors never show them.
fn docker(data: &Value, key: &str, path: &Path<'_>, errors: &mut Errors) {
    let Some(value) = data.at(key) else {
        errors.required(&path.key(key), "");
        return;
    };
    if let Some(why) = super::super::gojson::syntax_error(&decoded(value)) {
        errors.invalid(&path.key(key), "<secret contents redacted>", &why);
    }
}

pub(super) fn secret_change(old: &Value, new: &Value, errors: &mut Errors) {
    if new.text("type") != old.text("type") {
        errors.invalid(&Path::root("type"), new.text("type"), "field is immutable");
    }
    frozen(old, new, &["data"], errors);
}
