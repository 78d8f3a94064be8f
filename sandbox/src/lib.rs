//! An embedded Kubernetes API for demos and tests. It is a test double and says so.
//!
//! Reading order: [`clock`] (virtual time), [`faults`] and [`meddling`] (what goes wrong on demand), then [`kubernetes`]
//! from schema to HTTP, then [`Sandbox`], which puts them together.

pub mod clock;
pub mod ec2;
pub mod faults;
pub mod kubernetes;
pub mod meddling;
mod sandbox;

pub use sandbox::{Options, Sandbox, StartError};
