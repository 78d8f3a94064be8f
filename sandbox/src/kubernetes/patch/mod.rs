//! The four ways of saying a change: JSON patch, merge patch, strategic merge patch, and apply (which `fields` does).

mod json;
pub mod merge;
mod strategic;
pub(crate) mod yaml;

use serde_json::Value;

use crate::kubernetes::registry::Failure;
use crate::kubernetes::schema::resources::Resource;

/// A change to an object, as a client sends it.
#[derive(Debug, Clone, PartialEq)]
pub enum Patch {
    /// RFC 6902: a list of operations.
    Json(Value),
    /// RFC 7386: what is named replaces, null removes.
    Merge(Value),
    /// A merge that knows lists by key and directives.
    Strategic(Value),
    /// Server-side apply: the fields that the manager wants to own.
    Apply(Value),
}

/// The object after a patch other than apply.
pub(crate) fn patched(resource: &Resource, live: &Value, patch: &Patch) -> Result<Value, Failure> {
    match patch {
        Patch::Json(operations) => {
            let Some(list) = operations.as_array() else {
                return Err(Failure::bad_request(format!(
                    "error decoding patch: json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                    kind(operations)
                )));
            };
            if list.len() > json::OPERATIONS {
                let message = format!(
                    "The allowed maximum operations in a JSON patch is {}, got {}",
                    json::OPERATIONS,
                    list.len()
                );
                return Err(Failure::new(413, "RequestEntityTooLarge", message));
            }
            let mut value = live.clone();
            json::apply(&mut value, list).map_err(|_| {
                Failure::new(
                    422,
                    "Invalid",
                    "the server rejected our request due to an error in our request",
                )
            })?;
            Ok(value)
        }
        Patch::Merge(change) => {
            if !change.is_object() {
                return Err(not_a_map(change));
            }
            let mut value = live.clone();
            merge::apply(&mut value, change);
            Ok(value)
        }
        Patch::Strategic(change) => {
            let (Some(was), Some(map)) = (live.as_object(), change.as_object()) else {
                return Err(not_a_map(change));
            };
            let merged = strategic::apply(resource.root(), was, map).map_err(Failure::unreasoned)?;
            Ok(Value::Object(merged))
        }
        Patch::Apply(_) => Err(Failure::unreasoned("an apply is no patch of this kind")),
    }
}

fn not_a_map(change: &Value) -> Failure {
    Failure::bad_request(format!(
        "error decoding patch: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
        kind(change)
    ))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
