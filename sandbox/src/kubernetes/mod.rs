//! The embedded Kubernetes API, from what objects are made of to how they are sent.

pub mod admission;
pub mod api;
pub mod controllers;
pub mod fields;
pub mod kubelet;
pub mod patch;
pub mod registry;
pub mod schema;
pub mod store;
pub(crate) mod streams;
