//! From what was sent to what the kind's types can hold.

use serde_json::Value;

use crate::kubernetes::registry::{Failure, FieldValidation};
use crate::kubernetes::schema::resources::Resource;

/// A body that fits its kind.
pub(crate) struct Decoded {
    pub(crate) value: Value,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn decode(_: &Resource, body: Value, _: FieldValidation) -> Result<Decoded, Failure> {
    Ok(Decoded {
        value: body,
        warnings: Vec::new(),
    })
}

pub(crate) fn decode_patched(
    resource: &Resource,
    _live: &Value,
    body: Value,
    validation: FieldValidation,
) -> Result<Decoded, Failure> {
    decode(resource, body, validation)
}
