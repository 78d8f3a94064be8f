//! From what was sent to what the kind's types can hold.

use serde_json::Value;

use crate::kubernetes::registry::{Failure, WriteOptions};
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::schema::versions;

/// A body that fits its kind.
pub(crate) struct Decoded {
    pub(crate) value: Value,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn decode(resource: &Resource, body: Value, _: &WriteOptions) -> Result<Decoded, Failure> {
    Ok(Decoded {
        value: versions::to_storage(resource, body),
        warnings: Vec::new(),
    })
}

pub(crate) fn decode_patched(
    resource: &Resource,
    _live: &Value,
    body: Value,
    options: &WriteOptions,
) -> Result<Decoded, Failure> {
    decode(resource, body, options)
}
