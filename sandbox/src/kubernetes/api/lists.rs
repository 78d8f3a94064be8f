//! Lists: selectors, pages, continue tokens, and rendering from the objects' shared JSON.

use std::sync::Arc;

use serde_json::{Value, json};

use super::negotiate::{Form, Media};
use super::reply::Reply;
use super::route::Target;
use super::verbs::{partial, push_headed, wrong_form};
use super::{Api, Call, table};
use crate::kubernetes::registry::{Failure, FieldFault, Fields, Labels, Listing, Query, Snapshot, traits};
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::schema::versions;
use crate::kubernetes::store::render_body;

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
            return Err(Failure::bad_request(traits::unselectable(resource, name)));
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

pub(super) fn number_query(call: &Call, name: &str) -> Result<Option<i64>, Failure> {
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

/// On a real server, a get or list of a version that does not exist yet waits in vain, so this answers at once.
pub(super) fn check_version_reached(api: &Api, call: &Call) -> Result<u64, Failure> {
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

/// Answer a list.
pub(super) fn list(api: &Arc<Api>, call: &Call, target: &Target, media: Media, form: Form) -> Result<Reply, Failure> {
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
                &table::render(resource, &listing.objects, &metadata, include, now),
                media,
            ))
        }
    }
}

pub(super) fn list_metadata(listing: &Listing) -> Value {
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
pub(super) fn render_list(resource: &Resource, listing: &Listing, metadata: &Value) -> Vec<u8> {
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
