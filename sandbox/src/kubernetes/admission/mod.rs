//! What the API server does between decoding an object and storing it: types, defaults, what a write may touch, plugins, rules.
//! Reading order is the order in which the registry calls them: [`decode`], [`defaults`], [`mutate`], [`prepare`], [`validate`].
//! Everything but [`mutate`] is pure: values in, values and field errors out.

mod access;
mod custom;
pub(crate) mod decode;
pub(crate) mod defaults;
pub mod errors;
mod gojson;
pub(crate) mod metadata;
pub(crate) mod mutate;
pub mod names;
pub(crate) mod prepare;
pub mod selectors;
pub mod strategy;
pub(crate) mod validate;
mod wire;
