//! The cloud port on EC2 and SSM: the only crate that compiles the AWS SDK.
