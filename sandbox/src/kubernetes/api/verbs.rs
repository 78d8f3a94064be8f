//! get, list, create, update, patch, delete over HTTP.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::negotiate::{Form, Media};
use super::reply::{self, Reply};
use super::route::{self, Target};
use super::{Api, Call, bodies, body, deletes, lists, reviews, subresources, table};
use crate::kubernetes::patch::Patch;
use crate::kubernetes::registry::{Actor, Failure, FieldFault, FieldValidation, Part, WriteOptions, Written};
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

/// The server's warning about any use of a resource.
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
            return lists::list(api, call, target, media, form);
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
        Method::GET | Method::HEAD if target.name.is_empty() => lists::list(api, call, target, media, form),
        Method::GET | Method::HEAD => {
            lists::check_version_reached(api, call)?;
            let object = api.registry.read(resource, &target.namespace, &target.name)?;
            one(api, call, target, 200, &object, media, form)
        }
        Method::POST => create(api, call, target, bytes, media, form),
        Method::PUT => {
            let options = bodies::write_options(call, "UpdateOptions")?;
            let parsed = bodies::parse(resource, call, bytes)?;
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
        Method::DELETE if target.name.is_empty() => deletes::delete_collection(api, call, target, bytes, media, form),
        Method::DELETE => deletes::delete(api, call, target, bytes, media, form),
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

fn create(
    api: &Arc<Api>,
    call: &Call,
    target: &Target,
    bytes: &Bytes,
    media: Media,
    form: Form,
) -> Result<Reply, Failure> {
    let resource = &target.resource;
    let options = bodies::write_options(call, "CreateOptions")?;
    let parsed = bodies::parse(resource, call, bytes)?;
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
        let known = kind == "application/strategic-merge-patch+json";
        let failure = bodies::unsupported_media_type(&accepted.join(", "));
        return Err(if known {
            failure
        } else {
            Failure {
                message: "415: Unsupported Media Type".to_owned(),
                ..failure
            }
        });
    }
    let is_apply = kind == "application/apply-patch+yaml";
    let mut options = bodies::write_options(call, "PatchOptions")?;
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
            bodies::json_type(value)
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
pub(super) fn one(
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
                &table::render(resource, &rows, &metadata, include, now),
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

pub(super) fn push_headed(out: &mut Vec<u8>, kind: &str, api_version: &str, body: &[u8]) {
    out.extend_from_slice(format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\"").as_bytes());
    if body.len() > 2 {
        out.push(b',');
        out.extend_from_slice(&body[1..]);
    } else {
        out.push(b'}');
    }
}
