//! Deletes: options from body and query, and what the answer is.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::lists::{list_metadata, number_query, query, render_list};
use super::negotiate::{Form, Media};
use super::reply::Reply;
use super::route::Target;
use super::verbs::{actor, one};
use super::{Api, Call, body, table};
use crate::kubernetes::registry::{DeleteOptions, Deleted, Failure, FieldFault, Listing, Propagation, traits};

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
            let supported = ["Foreground", "Background", "Orphan", "nil"];
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

/// Answer the delete of one object.
pub(super) fn delete(
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

/// Answer the delete of all that a query selects.
pub(super) fn delete_collection(
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
            let table = table::render(&target.resource, &listing.objects, &metadata, include, now);
            Ok(Reply::value(200, &table, media))
        }
        _ => Ok(Reply::json(
            200,
            render_list(&target.resource, &listing, &metadata),
            media,
        )),
    }
}
