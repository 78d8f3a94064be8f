//! Who owns which field: field sets, typed comparison and merging, and `metadata.managedFields`.
//!
//! `set` is the algebra of field sets, `typed` walks values by their types, `apply` is what an apply does with both,
//! `managed` keeps the books in objects. The rules are those of Kubernetes' server-side apply; none of it knows HTTP.

mod apply;
#[cfg(test)]
mod laws;
pub(crate) mod managed;
mod remove;
mod set;
mod typed;

pub use set::FieldSet;
