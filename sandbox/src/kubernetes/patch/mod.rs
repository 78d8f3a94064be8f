//! The four ways of saying a change: JSON patch, merge patch, strategic merge patch, and apply.

pub mod merge;
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
pub(crate) fn patched(_: &Resource, live: &Value, patch: &Patch) -> Result<Value, Failure> {
    let mut value = live.clone();
    match patch {
        Patch::Merge(change) => merge::apply(&mut value, change),
        _ => return Err(Failure::unmodelled("this kind of patch yet")),
    }
    Ok(value)
}
