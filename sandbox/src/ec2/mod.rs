//! A model of EC2: the query protocol on loopback, instances with a life cycle on the virtual clock, and faults on demand.
//!
//! In reading order: [`params`] and [`xml`] are the wire, [`error`] its errors; [`catalog`] what the region offers; [`cloud`] the
//! state and its rules; [`access`] who may do what; one file per family of operations; [`rates`] the account's request rates;
//! [`server`] puts them behind HTTP, [`control`] is the way to faults; [`metadata`] is the instance metadata service. What real EC2 does and this does not is refused with `UnsupportedOperation`, never half done.

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
