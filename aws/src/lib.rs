//! The cloud port on EC2 and SSM, and the key service for SOPS files: the only crate that compiles the AWS SDK.
//!
//! [`connect`] creates the clients from the settings and the environment that every AWS tool reads. [`Ec2`] sends the
//! requests, each once, `shape` translates answers into the engine's types, and [`Kms`] decrypts data keys. Nothing is
//! decided here, and nothing here knows Kubernetes.

mod connect;
mod ec2;
mod fail;
mod kms;
mod shape;

pub use connect::{AssumeRole, ConnectError, Settings, connect, connect_with};
pub use ec2::Ec2;
pub use kms::{KeyArn, Kms, KmsError, KmsSettings};
