//! From the attributes to the engine's `NodePool` document: the same JSON that the YAML reader makes.

use std::time::Duration;

use myelin_engine::document::{API_VERSION, NodePool, node_pool_from_value, parse_duration};
use serde_json::{Map, Value as Json, json};

use crate::diagnostic::Diagnostics;
use crate::resource::stack::document::{camel_case, field, told};
use crate::schema::{Presence, Schema};
use crate::value::Value;

/// Attributes that are Terraform's own: the document's spec does not have them.
const NOT_IN_SPEC: [&str; 2] = ["name", "timeouts"];

/// Whether something is unknown: then there is no document yet.
pub(super) fn is_undecided(schema: &Schema, config: &Value) -> bool {
    let inputs = schema.attributes.iter().filter(|a| a.presence != Presence::Computed);
    inputs.into_iter().any(|a| !config.attribute(a.name).is_wholly_known())
}

/// The end of an operation, where one is set.
pub(super) fn timeout(attributes: &Value, operation: &str) -> Option<Duration> {
    let text = attributes.attribute("timeouts").attribute(operation).as_str();
    text.and_then(|text| parse_duration(text).ok())
}

/// Reads the document that a configuration describes.
///
/// # Errors
/// All its problems at once, each with its attribute.
pub(super) fn pool(schema: &Schema, config: &Value) -> Result<NodePool, Diagnostics> {
    let mut spec = Map::new();
    for attribute in &schema.attributes {
        if attribute.presence == Presence::Computed || NOT_IN_SPEC.contains(&attribute.name) {
            continue;
        }
        if let Some(value) = field(&attribute.kind, config.attribute(attribute.name)) {
            spec.insert(camel_case(attribute.name), value);
        }
    }
    // A number of nodes or a part of them: HCL has one type for both.
    if let Some(Json::Object(rollout)) = spec.get_mut("rollout") {
        for share in ["surge", "maxUnavailable"] {
            let count = rollout
                .get(share)
                .and_then(Json::as_str)
                .and_then(|t| t.parse::<u32>().ok());
            if let Some(count) = count {
                rollout.insert(share.to_owned(), count.into());
            }
        }
    }
    let name = config.attribute("name").as_str().unwrap_or_default();
    let document = json!({
        "apiVersion": API_VERSION, "kind": "NodePool", "metadata": {"name": name}, "spec": spec,
    });
    node_pool_from_value(document, &|_| None).map_err(|problems| told(schema, &problems))
}
