//! A model of EC2: the query protocol on loopback, instances with a life cycle on the virtual clock, and faults on
//! demand.
//!
//! In reading order: [`params`] and [`xml`] are the wire format, [`error`] its errors; [`catalog`] is what the region
//! offers; [`cloud`] the state and its rules; [`access`] the authorization; then one file per family of operations;
//! [`rates`] the account's request rates; [`server`] serves them over HTTP, [`control`] gives access to faults;
//! [`metadata`] is the instance metadata service. Features of real EC2 that are missing here are refused with
//! `UnsupportedOperation`, never half implemented.

mod access;
pub mod catalog;
pub mod cloud;
mod control;
mod error;
mod faults;
mod filters;
mod fleet;
mod images;
mod instances;
mod launch;
mod metadata;
mod params;
mod rates;
mod server;
mod ssm;
mod tags;
mod templates;
mod tokens;
mod xml;

pub use access::{Ask, Policy, PolicyError, Verdict, instance_key};
pub use cloud::{Cloud, Instance, Lifecycle, State, Times};
pub use error::Ec2Error;
pub use faults::{Failure, Faults, NoCapacity};
pub use server::{ADMINISTRATOR, Endpoint, serve};
pub use ssm::Command;
