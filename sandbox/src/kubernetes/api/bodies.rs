//! What a write brings: its body in the media type that it declares, and its options from the query.

use serde_json::{Value, json};

use super::{Call, body, protobuf};
use crate::kubernetes::registry::{Failure, FieldFault, FieldValidation, WriteOptions};
use crate::kubernetes::schema::builtin;
use crate::kubernetes::schema::resources::Resource;

/// Parse a body in the media type that it says it has.
pub(crate) fn parse(resource: &Resource, call: &Call, bytes: &[u8]) -> Result<body::Parsed, Failure> {
    let kind = if resource.is_custom() {
        "unstructured.Unstructured"
    } else {
        &resource.kind
    };
    let declared = call.header("content-type").unwrap_or_default();
    let media = declared
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let parsed = match media.as_str() {
        "" | "application/json" => body::json(bytes).map_err(|error| {
            let shown = if bytes.is_empty() {
                "<empty>".to_owned()
            } else {
                excerpt(bytes)
            };
            Failure::bad_request(format!(
                "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse \
                 error: {error} ({shown})"
            ))
        })?,
        "application/yaml" => {
            let text = String::from_utf8_lossy(bytes);
            body::yaml(&text).map_err(|error| {
                Failure::bad_request(format!(
                    "the object provided is unrecognized (must be of type {kind}): {error} ({})",
                    excerpt(bytes)
                ))
            })?
        }
        "application/vnd.kubernetes.protobuf" if !resource.is_custom() => body::Parsed {
            value: protobuf::decode(bytes).map_err(|error| {
                Failure::bad_request(format!(
                    "the object provided is unrecognized (must be of type {kind}): {error}"
                ))
            })?,
            duplicates: Vec::new(),
        },
        _ => {
            return Err(unsupported_media_type(
                "application/json, application/yaml, application/vnd.kubernetes.protobuf",
            ));
        }
    };
    if !parsed.value.is_object() && !parsed.value.is_null() {
        return Err(Failure::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: \
             json: cannot unmarshal {} into Go value ({})",
            json_type(&parsed.value),
            excerpt(bytes)
        )));
    }
    check_kind(resource, &parsed.value)?;
    Ok(parsed)
}

pub(super) fn unsupported_media_type(accepted: &str) -> Failure {
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    let mut failure = Failure::new(415, "UnsupportedMediaType", message);
    failure.details = Some(json!({}));
    failure
}

pub(crate) fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn excerpt(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() < 200 => text.to_owned(),
        _ => format!("{} bytes", bytes.len()),
    }
}

/// The body's apiVersion and kind must be the request's.
fn check_kind(resource: &Resource, value: &Value) -> Result<(), Failure> {
    let (version, kind) = (
        value["apiVersion"].as_str().unwrap_or_default(),
        value["kind"].as_str().unwrap_or_default(),
    );
    let wanted = resource.api_version();
    if resource.is_custom() && kind.is_empty() {
        let message =
            "the object provided is unrecognized (must be of type unstructured.Unstructured): Object 'Kind' is missing";
        return Err(Failure::bad_request(message));
    }
    if (version.is_empty() || version == wanted) && (kind.is_empty() || kind == resource.kind) {
        return Ok(());
    }
    if resource.is_custom() && (version.is_empty() || version == wanted) {
        let fault = FieldFault::invalid("kind", &kind.into(), format!("must be {}", resource.kind));
        let name = value["metadata"]["name"].as_str().unwrap_or_default();
        return Err(Failure::invalid(&resource.gvr.group, kind, name, &[fault]));
    }
    let (given_group, given_version) = version.split_once('/').unwrap_or(("", version));
    if version == wanted || !resource.is_custom() && kind != resource.kind {
        let known = builtin::schema().kinds.contains_key(&format!("{version}/{kind}"));
        if known && version == wanted {
            let group = resource
                .gvr
                .group
                .split('.')
                .next()
                .filter(|group| !group.is_empty())
                .unwrap_or("core");
            return Err(Failure::bad_request(format!(
                "{kind} in version \"{given_version}\" cannot be handled as a {own}: converting ({given_version}.{kind}) to \
                 ({group}.{own}): unknown conversion",
                own = resource.kind
            )));
        }
        return Err(Failure::bad_request(format!(
            "{kind} in version \"{given_version}\" cannot be handled as a {}: no kind \"{kind}\" is registered for version \
             \"{version}\" in scheme \"k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30\"",
            resource.kind
        )));
    }
    let given = if given_group.is_empty() {
        given_version.to_owned()
    } else {
        version.to_owned()
    };
    let mut failure = Failure::bad_request(format!(
        "the API version in the data ({given}) does not match the expected API version ({wanted})"
    ));
    if resource.is_custom() {
        // Of a version that is not the request's the server knows no schema, so all but metadata is unknown to it.
        let fields = value.as_object().into_iter().flat_map(|map| map.keys());
        let unknown = fields.filter(|field| !matches!(field.as_str(), "apiVersion" | "kind" | "metadata"));
        failure.warnings = unknown.map(|field| format!("unknown field \"{field}\"")).collect();
    }
    Err(failure)
}

/// `dryRun`, `fieldManager`, `fieldValidation` and `force`.
pub(crate) fn write_options(call: &Call, kind: &str) -> Result<WriteOptions, Failure> {
    let mut faults = Vec::new();
    let mut options = WriteOptions::default();
    for (_, value) in call.query.iter().filter(|(key, _)| key == "dryRun") {
        match value.as_str() {
            "All" => options.dry_run = true,
            "" => {}
            other => faults.push(FieldFault::not_supported("dryRun", &json!([other]), &["All"])),
        }
    }
    if let Some(manager) = call.query("fieldManager") {
        if manager.len() > 128 {
            faults.push(FieldFault::too_long("fieldManager", 128));
        }
        if let Some((at, odd)) = manager.char_indices().find(|(_, c)| c.is_control()) {
            let rule = format!("invalid character U+{:04X} (at position {at})", u32::from(odd));
            faults.push(FieldFault::invalid("fieldManager", &manager.into(), rule));
        }
    }
    match call.query("fieldValidation") {
        None | Some("" | "Warn") => {}
        Some("Strict") => options.field_validation = FieldValidation::Strict,
        Some("Ignore") => options.field_validation = FieldValidation::Ignore,
        Some(other) => {
            let supported = ["", "Ignore", "Strict", "Warn"];
            faults.push(FieldFault::not_supported("fieldValidation", &other.into(), &supported));
        }
    }
    if faults.is_empty() {
        Ok(options)
    } else {
        Err(Failure::invalid("meta.k8s.io", kind, "", &faults))
    }
}
