//! Subresources that are not simply a part of the object: scale, eviction, binding, token.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::negotiate::Media;
use super::reply::Reply;
use super::route::{self, Target};
use super::{Api, Call, bodies, body, protobuf, verbs};
use crate::kubernetes::patch::Patch;
use crate::kubernetes::registry::{DeleteOptions, Failure, FieldFault, WriteOptions};

/// Answer a request for a subresource.
pub(crate) fn answer(
    api: &Arc<Api>,
    call: &Call,
    target: &Target,
    bytes: &Bytes,
    media: Media,
) -> Result<Reply, Failure> {
    match (&*target.resource.storage, target.subresource.as_str()) {
        (_, "scale") => scale(api, call, target, bytes, media),
        ("pods", "eviction") => eviction(api, call, target, bytes, media),
        ("pods", "binding") => binding(api, call, target, bytes, media),
        ("serviceaccounts", "token") => token(api, call, target, bytes, media),
        (_, other) => Err(Failure::unmodelled(&format!("{}/{other}", target.resource.qualified()))),
    }
}

fn scale(api: &Arc<Api>, call: &Call, target: &Target, bytes: &Bytes, media: Media) -> Result<Reply, Failure> {
    let (resource, namespace, name) = (&target.resource, target.namespace.as_str(), target.name.as_str());
    let actor = verbs::actor(call);
    let written = match call.parts.method {
        Method::GET | Method::HEAD => {
            let object = api.registry.read(resource, namespace, name)?;
            return Ok(Reply::value(
                200,
                &api.registry.scale_of(resource, object.value())?,
                media,
            ));
        }
        Method::PUT => {
            let options = bodies::write_options(call, "UpdateOptions")?;
            let sent = parse(bytes)?;
            api.registry
                .put_scale(&actor, resource, namespace, name, &sent, &options)?
        }
        Method::PATCH => {
            let mut options = bodies::write_options(call, "PatchOptions")?;
            options.force = matches!(call.query("force"), Some("true" | "1"));
            let media_type = call.header("content-type").unwrap_or_default();
            let kind = media_type.split(';').next().unwrap_or_default();
            verbs::patch_option_faults(call, kind == "application/apply-patch+yaml")?;
            let patch = match kind {
                "application/apply-patch+yaml" => {
                    let parsed = body::yaml(&String::from_utf8_lossy(bytes)).map_err(Failure::bad_request)?;
                    let (version, scale_kind) = (
                        parsed.value["apiVersion"].as_str().unwrap_or_default(),
                        parsed.value["kind"].as_str().unwrap_or_default(),
                    );
                    if (version, scale_kind) != ("autoscaling/v1", "Scale") {
                        let (group, bare) = version.split_once('/').unwrap_or(("", version));
                        return Err(Failure::bad_request(format!(
                            "invalid object type: {group}/{bare}, Kind={scale_kind}"
                        )));
                    }
                    Patch::Apply(parsed.value)
                }
                "application/json-patch+json" => Patch::Json(parse(bytes)?),
                "application/merge-patch+json" => Patch::Merge(parse(bytes)?),
                _ => Patch::Strategic(parse(bytes)?),
            };
            api.registry
                .patch_scale(&actor, resource, namespace, name, &patch, &options)?
        }
        _ => return Err(route::method_not_allowed()),
    };
    Ok(Reply::value(
        200,
        &api.registry.scale_of(resource, written.object.value())?,
        media,
    ))
}

/// JSON, or the protobuf form that typed clients send: its magic bytes begin no JSON.
fn parse(bytes: &Bytes) -> Result<Value, Failure> {
    if bytes.starts_with(protobuf::MAGIC) {
        return protobuf::decode(bytes)
            .map_err(|error| Failure::bad_request(format!("the object provided is unrecognized: {error}")));
    }
    body::json(bytes)
        .map(|parsed| parsed.value)
        .map_err(|error| Failure::bad_request(format!("couldn't get version/kind; json parse error: {error}")))
}

fn success(code: u16, media: Media) -> Reply {
    let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code});
    Reply::value(code, &status, media)
}

/// Eviction: a delete that must satisfy the disruption budgets.
fn eviction(api: &Arc<Api>, call: &Call, target: &Target, bytes: &Bytes, media: Media) -> Result<Reply, Failure> {
    let sent = if bytes.is_empty() { json!({}) } else { parse(bytes)? };
    let named = sent["metadata"]["name"].as_str().unwrap_or_default();
    if !named.is_empty() && named != target.name {
        return Err(Failure::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    let options = bodies::write_options(call, "CreateOptions")?;
    let wish = &sent["deleteOptions"];
    let delete = DeleteOptions {
        dry_run: options.dry_run || wish["dryRun"].as_array().is_some_and(|d| d.iter().any(|v| v == "All")),
        grace_period: wish["gracePeriodSeconds"].as_i64(),
        propagation: None,
        uid: wish["preconditions"]["uid"].as_str().map(str::to_owned),
        resource_version: wish["preconditions"]["resourceVersion"].as_str().map(str::to_owned),
    };
    api.registry
        .evict(&verbs::actor(call), &target.namespace, &target.name, &delete)?;
    Ok(success(201, media))
}

fn binding(api: &Arc<Api>, call: &Call, target: &Target, bytes: &Bytes, media: Media) -> Result<Reply, Failure> {
    let sent = parse(bytes)?;
    let node = sent["target"]["name"].as_str().unwrap_or_default().to_owned();
    if node.is_empty() {
        let fault = FieldFault::required("target.name", "");
        return Err(Failure::invalid("", "Binding", &target.name, &[fault]));
    }
    let options = bodies::write_options(call, "CreateOptions")?;
    let pod = api.registry.read(&target.resource, &target.namespace, &target.name)?;
    if let Some(bound) = pod.value()["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) {
        let why = format!("pod {} is already assigned to node \"{bound}\"", target.name);
        return Err(Failure::conflict("", "pods/binding", &target.name, &why));
    }
    api.registry
        .bind(&verbs::actor(call), &target.namespace, &target.name, &node, &options)?;
    Ok(success(201, media))
}

fn token(api: &Arc<Api>, call: &Call, target: &Target, bytes: &Bytes, media: Media) -> Result<Reply, Failure> {
    let account = api.registry.read(&target.resource, &target.namespace, &target.name)?;
    let sent = if bytes.is_empty() { json!({}) } else { parse(bytes)? };
    let _: WriteOptions = bodies::write_options(call, "CreateOptions")?;
    let seconds = sent["spec"]["expirationSeconds"].as_i64().unwrap_or(3600);
    let mut faults = Vec::new();
    let at = "spec.expirationSeconds";
    if seconds < 600 {
        faults.push(FieldFault::invalid(
            at,
            &seconds.into(),
            "may not specify a duration less than 10 minutes",
        ));
    }
    if seconds > 1 << 32 {
        faults.push(FieldFault::invalid(
            at,
            &seconds.into(),
            "may not specify a duration larger than 2^32 seconds",
        ));
    }
    if !faults.is_empty() {
        return Err(Failure::invalid("authentication.k8s.io", "TokenRequest", "", &faults));
    }
    let audiences = match sent["spec"]["audiences"].as_array().filter(|a| !a.is_empty()) {
        Some(audiences) => json!(audiences),
        None => json!(["https://kubernetes.default.svc"]),
    };
    let now = api.registry.clock().now();
    let end = now
        .checked_add(jiff::SignedDuration::from_secs(seconds))
        .unwrap_or(jiff::Timestamp::MAX);
    let claims = json!({
        "aud": audiences, "exp": end.as_second(), "iat": now.as_second(), "nbf": now.as_second(),
        "iss": "https://kubernetes.default.svc",
        "sub": format!("system:serviceaccount:{}:{}", target.namespace, target.name),
        "kubernetes.io": {"namespace": target.namespace,
            "serviceaccount": {"name": target.name, "uid": account.uid()}},
    });
    let mut spec = json!({"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": null});
    if sent["spec"]["boundObjectRef"].is_object() {
        spec["boundObjectRef"] = sent["spec"]["boundObjectRef"].clone();
    }
    let answer = json!({
        "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": target.name, "namespace": target.namespace, "creationTimestamp": crate::clock::seconds(now)},
        "spec": spec,
        "status": {"token": api.auth.mint(&claims), "expirationTimestamp": crate::clock::seconds(end)},
    });
    Ok(Reply::value(201, &answer, media))
}
