//! get, list, create, update, patch, delete over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::negotiate::{Form, Media};
use super::reply::{self, Reply};
use super::route::{self, Target};
use super::{Api, Call, body, protobuf, reviews, subresources, table};
use crate::kubernetes::patch::Patch;
use crate::kubernetes::registry::{
    Actor, DeleteOptions, Deleted, Failure, FieldFault, FieldValidation, Fields, Labels, Listing, Part, Propagation,
    Query, Snapshot, WriteOptions, Written, traits,
};
use crate::kubernetes::schema::resources::{Resource, Typing, api_version};
use crate::kubernetes::schema::versions;
use crate::kubernetes::store::{Object, render_body};

/// Answer a request for objects (watches and pod streams are answered elsewhere).
pub(crate) fn answer(api: &Arc<Api>, call: &Call, target: &Target, bytes: &Bytes) -> Result<Reply, Failure> {
    let reply =
        answer_plainly(api, call, target, bytes).unwrap_or_else(|failure| reply::failure(&failure, &call.accept));
    Ok(match deprecation(&target.resource) {
        Some(warning) => reply.warn(&[warning.to_owned()]),
        None => reply,
    })
}

/// What the server warns of whenever somebody uses a resource.
fn deprecation(resource: &Resource) -> Option<&'static str> {
    match (resource.gvr.group.as_str(), resource.gvr.plural.as_str()) {
        ("", "endpoints") => Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        _ => None,
    }
}

fn answer_plainly(api: &Arc<Api>, call: &Call, target: &Target, bytes: &Bytes) -> Result<Reply, Failure> {
    let resource = &target.resource;
    let (media, form) = call.accept.object()?;
    if matches!(resource.schema, Typing::Unmodelled) && !reviews::is_review(resource) {
        check_method(call, target)?;
        if call.parts.method == Method::GET && target.name.is_empty() && target.subresource.is_empty() {
            return list(api, call, target, media, form);
        }
        return Err(Failure::unmodelled(&format!(
            "{} ({})",
            resource.qualified(),
            resource.api_version()
        )));
    }
    check_method(call, target)?;
    if reviews::is_review(resource) {
        return reviews::answer(api, call, target, bytes, media);
    }
    if !target.subresource.is_empty() && part(&target.subresource).is_none() {
        return subresources::answer(api, call, target, bytes, media);
    }
    match call.parts.method {
        Method::GET | Method::HEAD if target.name.is_empty() => list(api, call, target, media, form),
        Method::GET | Method::HEAD => {
            check_version_reached(api, call)?;
            let object = api.registry.read(resource, &target.namespace, &target.name)?;
            one(api, call, target, 200, &object, media, form)
        }
        Method::POST => create(api, call, target, bytes, media, form),
        Method::PUT => {
            let options = write_options(call, "UpdateOptions")?;
            let parsed = parse(resource, call, bytes)?;
            let options = WriteOptions {
                duplicates: parsed.duplicates,
                ..options
            };
            let actor = actor(call);
            let written = api.registry.put(
                &actor,
                resource,
                &target.namespace,
                &target.name,
                part(&target.subresource).unwrap_or(Part::Main),
                parsed.value,
                &options,
            )?;
            write_reply(api, call, target, &written, media, form)
        }
        Method::PATCH => patch(api, call, target, bytes, media, form),
        Method::DELETE if target.name.is_empty() => delete_collection(api, call, target, bytes, media, form),
        Method::DELETE => delete(api, call, target, bytes, media, form),
        _ => Err(route::method_not_allowed()),
    }
}

/// Parts that are written like the object itself.
fn part(subresource: &str) -> Option<Part> {
    [
        Part::Main,
        Part::Status,
        Part::Finalize,
        Part::Approval,
        Part::EphemeralContainers,
        Part::Resize,
    ]
    .into_iter()
    .find(|part| part.name() == subresource)
}

fn check_method(call: &Call, target: &Target) -> Result<(), Failure> {
    let verb = super::verb(call, Some(target));
    let known = matches!(
        call.parts.method,
        Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE
    );
    let on_collection = target.name.is_empty();
    let fits = match call.parts.method {
        Method::POST => on_collection || !target.subresource.is_empty(),
        Method::PUT | Method::PATCH => !on_collection,
        _ => true,
    };
    let verbs = if target.subresource.is_empty() {
        &target.resource.verbs
    } else {
        let first = target.subresource.split('/').next().unwrap_or_default();
        match target.resource.subresource(first) {
            Some(subresource) => &subresource.verbs,
            None => return Err(Failure::no_such_path()),
        }
    };
    let reads = |verb: &str| verbs.iter().any(|v| v == verb);
    if known && fits && (reads(verb) || (verb == "get" && call.parts.method == Method::HEAD && reads("get"))) {
        return Ok(());
    }
    Err(route::method_not_allowed())
}

/// Who writes.
pub(crate) fn actor(call: &Call) -> Actor {
    Actor {
        user: call.user.name.clone(),
        groups: call.user.groups.clone(),
        manager: call.manager(),
    }
}

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

fn unsupported_media_type(accepted: &str) -> Failure {
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
            let rule = format!("invalid character {odd:?} (at position {at})");
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

fn create(
    api: &Arc<Api>,
    call: &Call,
    target: &Target,
    bytes: &Bytes,
    media: Media,
    form: Form,
) -> Result<Reply, Failure> {
    let resource = &target.resource;
    let options = write_options(call, "CreateOptions")?;
    let parsed = parse(resource, call, bytes)?;
    let namespace = if resource.namespaced && target.namespace.is_empty() {
        return Err(route::method_not_allowed());
    } else {
        &target.namespace
    };
    let options = WriteOptions {
        duplicates: parsed.duplicates,
        ..options
    };
    let written = api
        .registry
        .create_in(&actor(call), resource, namespace, parsed.value, &options)?;
    write_reply(api, call, target, &written, media, form)
}

fn patch(
    api: &Arc<Api>,
    call: &Call,
    target: &Target,
    bytes: &Bytes,
    media: Media,
    form: Form,
) -> Result<Reply, Failure> {
    let resource = &target.resource;
    let declared = call.header("content-type").unwrap_or_default();
    let kind = declared.split(';').next().unwrap_or_default().trim();
    let mut accepted = vec!["application/json-patch+json", "application/merge-patch+json"];
    if !resource.is_custom() {
        accepted.push("application/strategic-merge-patch+json");
    }
    accepted.push("application/apply-patch+yaml");
    if !accepted.contains(&kind) {
        return Err(unsupported_media_type(&accepted.join(", ")));
    }
    let is_apply = kind == "application/apply-patch+yaml";
    let mut options = write_options(call, "PatchOptions")?;
    options.force = matches!(call.query("force"), Some("true" | "1"));
    patch_option_faults(call, is_apply)?;
    let patch = if is_apply {
        let text = String::from_utf8_lossy(bytes);
        let parsed = body::yaml(&text).map_err(|error| {
            Failure::bad_request(format!("error decoding YAML: error converting YAML to JSON: {error}"))
        })?;
        match options.field_validation {
            FieldValidation::Strict if !parsed.duplicates.is_empty() => {
                return Err(Failure::bad_request(format!(
                    "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
                    parsed.duplicates.join("\n  ")
                )));
            }
            FieldValidation::Warn => options.warnings = parsed.duplicates,
            _ => {}
        }
        apply_identity(resource, target, &parsed.value)?;
        Patch::Apply(parsed.value)
    } else {
        let parsed = body::json(bytes).map_err(|error| match kind {
            "application/json-patch+json" => Failure::bad_request(format!("error decoding patch: {error}")),
            _ => Failure::bad_request(format!("error decoding patch: {error}")),
        })?;
        options.duplicates = parsed.duplicates;
        match kind {
            "application/json-patch+json" => Patch::Json(parsed.value),
            "application/merge-patch+json" => Patch::Merge(parsed.value),
            _ => Patch::Strategic(parsed.value),
        }
    };
    let part = part(&target.subresource).unwrap_or(Part::Main);
    let actor = actor(call);
    if is_apply && part == Part::Main && api.registry.read(resource, &target.namespace, &target.name).is_err() {
        super::auth::authorize(&api.registry, &call.user, "create", target)?;
    }
    let written = api.registry.patch_in(
        &actor,
        resource,
        &target.namespace,
        &target.name,
        part,
        &patch,
        &options,
    )?;
    write_reply(api, call, target, &written, media, form)
}

/// `fieldManager` is needed by apply, `force` is for apply alone.
pub(crate) fn patch_option_faults(call: &Call, is_apply: bool) -> Result<(), Failure> {
    let mut faults = Vec::new();
    if is_apply && call.query("fieldManager").is_none_or(str::is_empty) {
        faults.push(FieldFault::required("fieldManager", "is required for apply patch"));
    }
    if !is_apply && call.query("force").is_some() {
        faults.push(FieldFault::forbidden(
            "force",
            "may not be specified for non-apply patch",
        ));
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Failure::invalid("meta.k8s.io", "PatchOptions", "", &faults))
    }
}

/// An apply body must say what it is, and be what the request is about.
fn apply_identity(resource: &Resource, target: &Target, value: &Value) -> Result<(), Failure> {
    if !value.is_object() && !value.is_null() {
        return Err(Failure::bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of \
             type map[string]interface {{}}",
            json_type(value)
        )));
    }
    let (version, kind) = (
        value["apiVersion"].as_str().unwrap_or_default(),
        value["kind"].as_str().unwrap_or_default(),
    );
    let (wanted, wanted_kind) = expected_kind(resource, &target.subresource);
    if version != wanted || kind != wanted_kind {
        let (group, bare) = version.split_once('/').unwrap_or(("", version));
        return Err(Failure::bad_request(format!(
            "invalid object type: {group}/{bare}, Kind={kind}"
        )));
    }
    if let Some(name) = value["metadata"]["name"].as_str()
        && name != target.name
    {
        return Err(Failure::bad_request(format!(
            "name in URL does not match name in apply patch: {} != {name}",
            target.name
        )));
    }
    Ok(())
}

/// The apiVersion and kind that a subresource speaks.
pub(crate) fn expected_kind(resource: &Resource, subresource: &str) -> (String, String) {
    match resource.subresource(subresource) {
        Some(sub) if !sub.group_version.1.is_empty() => (
            api_version(&sub.group_version.0, &sub.group_version.1),
            sub.kind.clone(),
        ),
        _ => (resource.api_version(), resource.kind.clone()),
    }
}

fn write_reply(
    api: &Arc<Api>,
    call: &Call,
    target: &Target,
    written: &Written,
    media: Media,
    form: Form,
) -> Result<Reply, Failure> {
    let status = if written.created { 201 } else { 200 };
    Ok(one(api, call, target, status, &written.object, media, form)?.warn(&written.warnings))
}

/// An object in the form that was asked for.
fn one(
    api: &Arc<Api>,
    call: &Call,
    target: &Target,
    status: u16,
    object: &Arc<Object>,
    media: Media,
    form: Form,
) -> Result<Reply, Failure> {
    let resource = &target.resource;
    match form {
        Form::Object => Ok(Reply::json(status, rendered(resource, object), media)),
        Form::Partial => Ok(Reply::value(status, &partial(object), media)),
        Form::PartialList => Err(wrong_form(&format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*core.{})",
            resource.kind
        ))),
        Form::Table => {
            let include = table::include(call.query("includeObject"))?;
            let version = object.value()["metadata"]["resourceVersion"].clone();
            let metadata = json!({"resourceVersion": version});
            let now = api.registry.clock().now();
            let rows = [object.clone()];
            Ok(Reply::value(
                status,
                &table::render(resource, &rows, metadata, include, now),
                media,
            ))
        }
    }
}

pub(crate) fn wrong_form(message: &str) -> Failure {
    let mut failure = Failure::new(406, "NotAcceptable", message);
    failure.details = Some(json!({}));
    failure
}

/// `PartialObjectMetadata` of an object.
pub(crate) fn partial(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.value()["metadata"],
    })
}

/// An object's JSON in the version that the resource speaks, `kind` and `apiVersion` first.
pub(crate) fn rendered(resource: &Resource, object: &Object) -> Vec<u8> {
    let converted;
    let body: &[u8] = if versions::is_stored_form(resource) {
        object.body()
    } else {
        converted = render_body(&versions::from_storage(resource, object.value()));
        &converted
    };
    let mut out = Vec::with_capacity(body.len() + 64);
    push_headed(&mut out, &resource.kind, &resource.api_version(), body);
    out
}

fn push_headed(out: &mut Vec<u8>, kind: &str, api_version: &str, body: &[u8]) {
    out.extend_from_slice(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\"").as_bytes());
    if body.len() > 2 {
        out.push(b',');
        out.extend_from_slice(&body[1..]);
    } else {
        out.push(b'}');
    }
}

/// Label and field selectors of a request.
pub(crate) fn query(call: &Call, target: &Target) -> Result<Query, Failure> {
    let resource = &target.resource;
    let labels = call
        .query("labelSelector")
        .map(Labels::parse)
        .transpose()?
        .unwrap_or_default();
    let mut fields = call
        .query("fieldSelector")
        .map(Fields::parse)
        .transpose()?
        .unwrap_or_default();
    for name in fields.names() {
        if !traits::selectable(resource, name) {
            return Err(Failure::bad_request(format!("field label not supported: {name}")));
        }
    }
    if resource.gvr.group == "events.k8s.io" {
        fields = fields
            .renamed("regarding.name", "involvedObject.name")
            .renamed("regarding.kind", "involvedObject.kind");
    }
    if target.watch && !target.name.is_empty() {
        fields = Fields::equal("metadata.name", &target.name);
    }
    let namespace = (!target.namespace.is_empty()).then(|| target.namespace.clone());
    Ok(Query {
        namespace,
        labels,
        fields,
    })
}

fn number_query(call: &Call, name: &str) -> Result<Option<i64>, Failure> {
    match call.query(name) {
        None | Some("") => Ok(None),
        Some(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Failure::bad_request(format!(
                "strconv.ParseInt: parsing {text:?}: invalid syntax"
            ))),
        },
    }
}

/// A get or list of a version that does not exist yet waits in vain on a real server; so this says at once.
fn check_version_reached(api: &Api, call: &Call) -> Result<u64, Failure> {
    let text = call.query("resourceVersion").unwrap_or_default();
    if text.is_empty() {
        return Ok(0);
    }
    let Ok(version) = text.parse::<u64>() else {
        return Err(Failure::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: \
             invalid syntax"
        )));
    };
    let current = api.registry.store().revision();
    if version > current {
        let message = format!("Too large resource version: {version}, current: {current}");
        let mut failure = Failure::new(504, "Timeout", message.clone());
        failure.details = Some(json!({
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        }));
        failure.message = format!("Timeout: {message}");
        return Err(failure);
    }
    Ok(version)
}

/// Where a list starts and what it reads, from `limit`, `continue`, `resourceVersion` and `resourceVersionMatch`.
struct Window {
    snapshot: Snapshot,
    after: Option<String>,
    limit: Option<usize>,
}

fn window(api: &Api, call: &Call) -> Result<Window, Failure> {
    let limit = number_query(call, "limit")?
        .filter(|n| *n > 0)
        .and_then(|n| usize::try_from(n).ok());
    number_query(call, "timeoutSeconds")?;
    let version = call.query("resourceVersion").unwrap_or_default();
    let matching = call.query("resourceVersionMatch").unwrap_or_default();
    let token = call.query("continue").unwrap_or_default();
    let mut faults = Vec::new();
    if !matching.is_empty() {
        if version.is_empty() {
            let rule = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            faults.push(FieldFault::forbidden("resourceVersionMatch", rule));
        }
        if !token.is_empty() {
            let rule = "resourceVersionMatch is forbidden when continue is provided";
            faults.push(FieldFault::forbidden("resourceVersionMatch", rule));
        }
        if matching != "Exact" && matching != "NotOlderThan" {
            let supported = ["Exact", "NotOlderThan", ""];
            faults.push(FieldFault::not_supported(
                "resourceVersionMatch",
                &matching.into(),
                &supported,
            ));
        }
        if matching == "Exact" && version == "0" {
            let rule = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            faults.push(FieldFault::forbidden("resourceVersionMatch", rule));
        }
    }
    if call.query("sendInitialEvents").is_some() {
        faults.push(FieldFault::forbidden(
            "sendInitialEvents",
            "sendInitialEvents is forbidden for list",
        ));
    }
    if !faults.is_empty() {
        return Err(Failure::invalid("meta.k8s.io", "ListOptions", "", &faults));
    }
    if !token.is_empty() {
        if !version.is_empty() && version != "0" {
            return Err(Failure::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let (revision, after) = open_token(token)?;
        return Ok(Window {
            snapshot: Snapshot::At(revision),
            after: Some(after),
            limit,
        });
    }
    let version = check_version_reached(api, call)?;
    // A read of any version comes from the cache, which knows no limits.
    let limit = limit.filter(|_| call.query("resourceVersion") != Some("0"));
    let exact = matching == "Exact" || (matching.is_empty() && limit.is_some() && version > 0);
    let snapshot = if exact { Snapshot::At(version) } else { Snapshot::Latest };
    Ok(Window {
        snapshot,
        after: None,
        limit,
    })
}

/// A continue token: where the last page ended, and at which revision it was read.
fn seal_token(revision: u64, key: &str) -> String {
    use base64::Engine as _;
    let token = json!({"v": "meta.k8s.io/v1", "rv": revision, "start": key});
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token.to_string())
}

fn open_token(token: &str) -> Result<(u64, String), Failure> {
    use base64::Engine as _;
    let refuse = |why: String| Failure::bad_request(format!("invalid continue token: {why}"));
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(token)
        .map_err(|error| refuse(format!("continue key is not valid: {error}")))?;
    let value: Value =
        serde_json::from_slice(&bytes).map_err(|error| refuse(format!("continue key is not valid: {error}")))?;
    match (value["rv"].as_u64(), value["start"].as_str()) {
        (Some(revision), Some(start)) if revision > 0 => Ok((revision, start.to_owned())),
        _ => Err(refuse(
            "continue key is not valid: incorrect encoded start resourceVersion".to_owned(),
        )),
    }
}

fn list(api: &Arc<Api>, call: &Call, target: &Target, media: Media, form: Form) -> Result<Reply, Failure> {
    let resource = &target.resource;
    let query = query(call, target)?;
    let window = window(api, call)?;
    let continuing = window.after.is_some();
    let listing = api
        .registry
        .select_page(resource, &query, window.snapshot, window.after.as_deref(), window.limit)
        .map_err(|failure| {
            if failure.code == 410 && continuing {
                let message = "The provided continue parameter is too old to display a consistent list result. You can \
                               start a new list without the continue parameter.";
                return Failure::expired(message);
            }
            failure
        })?;
    let metadata = list_metadata(&listing);
    match form {
        Form::Object => Ok(Reply::json(200, render_list(resource, &listing, &metadata), media)),
        Form::Partial => Err(wrong_form(&format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*core.{}List)",
            resource.kind
        ))),
        Form::PartialList => {
            let items: Vec<Value> = listing.objects.iter().map(|object| partial(object)).collect();
            let list = json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata, "items": items,
            });
            Ok(Reply::value(200, &list, media))
        }
        Form::Table => {
            let include = table::include(call.query("includeObject"))?;
            let now = api.registry.clock().now();
            Ok(Reply::value(
                200,
                &table::render(resource, &listing.objects, metadata, include, now),
                media,
            ))
        }
    }
}

fn list_metadata(listing: &Listing) -> Value {
    let mut metadata = json!({"resourceVersion": listing.revision.to_string()});
    if let Some(key) = &listing.next {
        metadata["continue"] = seal_token(listing.revision, key).into();
    }
    if let Some(remaining) = listing.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

/// A list, put together from the objects' shared JSON.
fn render_list(resource: &Resource, listing: &Listing, metadata: &Value) -> Vec<u8> {
    let list_kind = match &resource.custom {
        Some(custom) if !custom.list_kind.is_empty() => custom.list_kind.clone(),
        _ => format!("{}List", resource.kind),
    };
    let version = resource.api_version();
    let mut out = Vec::with_capacity(listing.objects.len() * 1024 + 256);
    let head = format!("{{\"kind\":\"{list_kind}\",\"apiVersion\":\"{version}\",\"metadata\":{metadata},\"items\":[");
    out.extend_from_slice(head.as_bytes());
    let stored = versions::is_stored_form(resource);
    for (index, object) in listing.objects.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        if resource.is_custom() {
            push_headed(&mut out, &resource.kind, &version, object.body());
        } else if stored {
            out.extend_from_slice(object.body());
        } else {
            out.extend_from_slice(&render_body(&versions::from_storage(resource, object.value())));
        }
    }
    out.extend_from_slice(b"]}");
    out
}

/// `DeleteOptions` from the body and the query; what the query says wins.
fn delete_options(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, Failure> {
    let mut options = DeleteOptions::default();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        let text = String::from_utf8_lossy(bytes);
        let media = call.header("content-type").unwrap_or_default();
        let parsed = if media.starts_with("application/yaml") {
            body::yaml(&text)
        } else {
            body::json(bytes).map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))
        };
        parsed.map_err(Failure::bad_request)?.value
    };
    let kind = body["kind"].as_str().unwrap_or("DeleteOptions");
    if kind != "DeleteOptions" {
        return Err(Failure::bad_request(format!(
            "expect DeleteOptions, but got kind {kind}"
        )));
    }
    options.grace_period = match number_query(call, "gracePeriodSeconds")? {
        Some(seconds) => Some(seconds),
        None => body["gracePeriodSeconds"].as_i64(),
    };
    let policy = call
        .query("propagationPolicy")
        .or_else(|| body["propagationPolicy"].as_str());
    let orphan = match call.query("orphanDependents") {
        Some(text) => Some(text == "true"),
        None => body["orphanDependents"].as_bool(),
    };
    let mut faults = Vec::new();
    options.propagation = match (policy, orphan) {
        (Some(_), Some(_)) => {
            let rule = "orphanDependents and deletionPropagation cannot be both set";
            faults.push(FieldFault::invalid(
                "propagationPolicy",
                &policy.unwrap_or_default().into(),
                rule,
            ));
            None
        }
        (Some("Background"), _) | (None, Some(false)) => Some(Propagation::Background),
        (Some("Foreground"), _) => Some(Propagation::Foreground),
        (Some("Orphan"), _) | (None, Some(true)) => Some(Propagation::Orphan),
        (Some(other), _) => {
            let supported = ["Background", "Foreground", "Orphan", "nil"];
            faults.push(FieldFault::not_supported(
                "propagationPolicy",
                &other.into(),
                &supported,
            ));
            None
        }
        (None, None) => None,
    };
    let dry_run = call
        .query
        .iter()
        .filter(|(key, _)| key == "dryRun")
        .map(|(_, value)| value.clone());
    let in_body = body["dryRun"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned));
    for value in dry_run.chain(in_body) {
        match value.as_str() {
            "All" => options.dry_run = true,
            "" => {}
            other => faults.push(FieldFault::not_supported("dryRun", &json!([other]), &["All"])),
        }
    }
    if !faults.is_empty() {
        return Err(Failure::invalid("meta.k8s.io", "DeleteOptions", "", &faults));
    }
    options.uid = body["preconditions"]["uid"].as_str().map(str::to_owned);
    options.resource_version = body["preconditions"]["resourceVersion"].as_str().map(str::to_owned);
    Ok(options)
}

fn delete(
    api: &Arc<Api>,
    call: &Call,
    target: &Target,
    bytes: &Bytes,
    media: Media,
    form: Form,
) -> Result<Reply, Failure> {
    let resource = &target.resource;
    let options = delete_options(call, bytes)?;
    let Deleted { object, gone, warnings } =
        api.registry
            .delete_in(&actor(call), resource, &target.namespace, &target.name, &options)?;
    if gone && !traits::delete_returns_object(resource) {
        let mut details = json!({"name": target.name, "kind": resource.gvr.plural, "uid": object.uid()});
        if !resource.gvr.group.is_empty() {
            details["group"] = resource.gvr.group.clone().into();
        }
        let status =
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
        return Ok(Reply::value(200, &status, media).warn(&warnings));
    }
    let accepted =
        !gone && options.propagation.is_some_and(|p| p != Propagation::Orphan) && explicit_orphan(call, bytes);
    Ok(one(
        api,
        call,
        target,
        if accepted { 202 } else { 200 },
        &object,
        media,
        form,
    )?
    .warn(&warnings))
}

/// Only the deprecated `orphanDependents: false` makes the answer a 202.
fn explicit_orphan(call: &Call, bytes: &[u8]) -> bool {
    call.query("orphanDependents") == Some("false")
        || serde_json::from_slice::<Value>(bytes).is_ok_and(|body| body["orphanDependents"] == false)
}

fn delete_collection(
    api: &Arc<Api>,
    call: &Call,
    target: &Target,
    bytes: &Bytes,
    media: Media,
    form: Form,
) -> Result<Reply, Failure> {
    let options = delete_options(call, bytes)?;
    let query = query(call, target)?;
    let listing = api.registry.select(&target.resource, &query)?;
    let actor = actor(call);
    let mut deleted = Vec::with_capacity(listing.objects.len());
    for object in &listing.objects {
        match api
            .registry
            .delete_in(&actor, &target.resource, object.namespace(), object.name(), &options)
        {
            Ok(_) => deleted.push(object.clone()),
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
    }
    let listing = Listing {
        objects: deleted,
        revision: listing.revision,
        next: None,
        remaining: None,
    };
    let metadata = list_metadata(&listing);
    match form {
        Form::Table => {
            let include = table::include(call.query("includeObject"))?;
            let now = api.registry.clock().now();
            let table = table::render(&target.resource, &listing.objects, metadata, include, now);
            Ok(Reply::value(200, &table, media))
        }
        _ => Ok(Reply::json(
            200,
            render_list(&target.resource, &listing, &metadata),
            media,
        )),
    }
}
