//! Field ownership: field sets, typed comparison and merging, and `metadata.managedFields`.
//!
//! `set` is the algebra of field sets, `typed` walks values by their types, `apply` uses both for an apply, and
//! `managed` maintains the entries in objects. The rules are those of Kubernetes' server-side apply; nothing here knows
//! HTTP.

mod apply;
#[cfg(test)]
mod laws;
pub(crate) mod managed;
mod remove;
mod set;
mod typed;

pub use set::FieldSet;
