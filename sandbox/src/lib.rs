//! An embedded Kubernetes API for demos and tests. It is a test double and says so.
//!
//! Reading order: [`clock`] (virtual time), [`faults`] and [`meddling`] (what goes wrong on demand), then [`kubernetes`]
//! from schema to HTTP, [`ec2`] beside it, `join` between the two, then [`Sandbox`], which puts them together.

pub mod clock;
pub mod ec2;
pub mod faults;
mod join;
pub mod kubernetes;
pub mod meddling;
mod sandbox;

pub use sandbox::{Options, Sandbox, StartError};
