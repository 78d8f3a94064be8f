//! From the attributes to the engine's `ProvisioningToken` document: the same JSON that the YAML reader makes.

use std::time::Duration;

use myelin_engine::document::{API_VERSION, ProvisioningToken, TOKEN_TIMEOUT, parse_duration, token_from_value};
use serde_json::{Map, json};

use crate::diagnostic::Diagnostics;
use crate::resource::stack::document::{camel_case, field, told};
use crate::schema::{Presence, Schema};
use crate::value::Value;

/// Attributes that are Terraform's own: the document's spec does not have them.
const NOT_IN_SPEC: [&str; 3] = ["name", "namespace", "timeouts"];

/// Which operation's end is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// The first apply.
    Create,
    /// A later one.
    Update,
    /// The destroy.
    Delete,
}

/// Whether something is unknown: then there is no document yet.
pub(super) fn is_undecided(schema: &Schema, config: &Value) -> bool {
    let inputs = schema.attributes.iter().filter(|a| a.presence != Presence::Computed);
    inputs.into_iter().any(|a| !config.attribute(a.name).is_wholly_known())
}

/// The end of an operation.
pub(super) fn timeout(attributes: &Value, operation: Operation) -> Duration {
    let name = match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
    };
    let text = attributes.attribute("timeouts").attribute(name).as_str();
    text.and_then(|text| parse_duration(text).ok()).unwrap_or(TOKEN_TIMEOUT)
}

/// Reads the document that a configuration describes, and the end of the operation.
///
/// # Errors
/// All its problems at once, each with its attribute.
pub(super) fn token(
    schema: &Schema,
    config: &Value,
    operation: Operation,
) -> Result<(ProvisioningToken, Duration), Diagnostics> {
    let mut spec = Map::new();
    for attribute in &schema.attributes {
        if attribute.presence == Presence::Computed || NOT_IN_SPEC.contains(&attribute.name) {
            continue;
        }
        if let Some(value) = field(&attribute.kind, config.attribute(attribute.name)) {
            spec.insert(camel_case(attribute.name), value);
        }
    }
    let text = |name| config.attribute(name).as_str().unwrap_or_default();
    let document = json!({
        "apiVersion": API_VERSION, "kind": "ProvisioningToken",
        "metadata": {"name": text("name"), "namespace": text("namespace")}, "spec": spec,
    });
    match token_from_value(document, &|_| None) {
        Ok(token) => Ok((token, timeout(config, operation))),
        Err(problems) => Err(told(schema, &problems)),
    }
}
