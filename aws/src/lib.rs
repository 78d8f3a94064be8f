//! The cloud port on EC2 and SSM: the only crate that compiles the AWS SDK.
//!
//! [`connect`] makes the clients from the settings and the environment that every AWS tool reads, [`Ec2`] sends the requests, each
//! once, and `shape` turns answers into the engine's words. Nothing is decided here, and nothing here knows Kubernetes.

mod connect;
mod ec2;
mod fail;
mod shape;

pub use connect::{AssumeRole, ConnectError, Settings, connect, connect_with};
pub use ec2::Ec2;
