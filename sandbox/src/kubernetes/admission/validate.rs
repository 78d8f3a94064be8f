//! Rules per kind.

use serde_json::Value;

use crate::kubernetes::registry::{Failure, FieldFault, Part, Registry};
use crate::kubernetes::schema::resources::Resource;

pub(crate) fn on_create(
    _: &Registry,
    _: &Resource,
    _: &Value,
    _warnings: &mut Vec<String>,
) -> Result<Vec<FieldFault>, Failure> {
    Ok(Vec::new())
}

pub(crate) fn on_update(
    _: &Registry,
    _: &Resource,
    _old: &Value,
    _new: &Value,
    _: Part,
    _warnings: &mut Vec<String>,
) -> Result<Vec<FieldFault>, Failure> {
    Ok(Vec::new())
}
