//! Wire definitions of the Terraform plugin protocol (version 6, minors up to 6.11), of the services that go-plugin
//! expects beside it, and of gRPC's health check. Generated from `definitions/*.proto` at build time.
//!
//! Holds no logic: what a message means is the provider's business.

/// The Terraform plugin protocol, `tfplugin6`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod tfplugin6 {
    tonic::include_proto!("tfplugin6");
}

/// go-plugin's controller, stdio and broker services.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod plugin {
    tonic::include_proto!("plugin");
}

/// gRPC's standard health check.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
