//! What admission plugins add to objects.

use serde_json::Value;

use crate::kubernetes::registry::{Actor, Failure, Registry};
use crate::kubernetes::schema::resources::Resource;

pub(crate) fn on_create(_: &Registry, _: &Resource, _: &Actor, _: &mut Value) -> Result<(), Failure> {
    Ok(())
}

pub(crate) fn on_update(_: &Registry, _: &Resource, _old: &Value, _new: &mut Value) -> Result<(), Failure> {
    Ok(())
}

/// Something taken from a pool; given back unless kept.
pub(crate) struct Reservation;

impl Reservation {
    pub(crate) fn keep(self) {}
}

pub(crate) fn allocate(
    _: &Registry,
    _: &Resource,
    _old: Option<&Value>,
    _new: &mut Value,
    _dry_run: bool,
) -> Result<Reservation, Failure> {
    Ok(Reservation)
}
