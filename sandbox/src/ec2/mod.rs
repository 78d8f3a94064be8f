//! A model of EC2: the query protocol on loopback, instances with a life cycle on the virtual clock, and faults on demand.
//!
//! In reading order: [`params`] and [`xml`] are the wire, [`error`] its errors; [`catalog`] what the region offers; [`cloud`] the
//! state and its rules; one file per family of operations; [`server`] puts them behind HTTP; [`metadata`] is the instance metadata
//! service. What real EC2 does and this does not is refused with `UnsupportedOperation`, never half done.

pub mod catalog;
pub mod cloud;
mod error;
mod faults;
mod filters;
mod fleet;
mod images;
mod instances;
mod launch;
mod metadata;
mod params;
mod server;
mod tags;
mod templates;
mod tokens;
mod xml;

pub use cloud::{Cloud, Instance, Lifecycle, State, Times};
pub use error::Ec2Error;
pub use faults::{Failure, Faults, NoCapacity};
pub use server::{ADMINISTRATOR, Endpoint, serve};
