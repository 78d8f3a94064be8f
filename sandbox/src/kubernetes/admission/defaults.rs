//! Defaults.

use serde_json::Value;

use crate::kubernetes::schema::resources::Resource;

pub(crate) fn fill(_: &Resource, _: &mut Value) {}

pub(crate) fn carry_over(_: &Resource, _old: &Value, _new: &mut Value) {}
