//! What the API server does to an object before it is stored: defaults, rules, immutability.

pub(crate) mod decode;
pub(crate) mod defaults;
pub(crate) mod mutate;
pub mod names;
pub(crate) mod prepare;
pub(crate) mod validate;
