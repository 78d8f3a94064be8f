//! `metadata.managedFields`.

use serde_json::Value;

use crate::kubernetes::registry::Part;
use crate::kubernetes::schema::resources::Resource;

pub(crate) fn on_update(_: &Resource, _live: Option<&Value>, _new: &mut Value, _manager: &str, _: Part, _now: &str) {}

pub(crate) fn keep_times_of_unchanged(_old: &Value, _new: &mut Value) {}

pub(crate) fn on_apply(
    _: &Resource,
    _live: &Value,
    _config: &Value,
    _manager: &str,
    _: Part,
    _force: bool,
    _now: &str,
) -> Result<Value, crate::kubernetes::registry::Failure> {
    Err(crate::kubernetes::registry::Failure::unmodelled(
        "server-side apply yet",
    ))
}
