//! The services that go-plugin expects beside the provider: controller, stdio, broker and health.

use std::sync::Arc;

use futures::stream::{self, BoxStream};
use myelin_proto::health::health_check_response::ServingStatus;
use myelin_proto::health::health_server;
use myelin_proto::health::{HealthCheckRequest, HealthCheckResponse};
use myelin_proto::plugin::{self, ConnInfo, StdioData};
use tonic::{Request, Response, Status, Streaming};

use crate::lifetime::Lifetime;

/// Ends the process.
#[derive(Debug)]
pub(super) struct Controller {
    lifetime: Arc<Lifetime>,
}

impl Controller {
    pub(super) fn new(lifetime: Arc<Lifetime>) -> Controller {
        Controller { lifetime }
    }
}

#[tonic::async_trait]
impl plugin::grpc_controller_server::GrpcController for Controller {
    async fn shutdown(&self, _: Request<plugin::Empty>) -> Result<Response<plugin::Empty>, Status> {
        self.lifetime.end();
        Ok(Response::new(plugin::Empty {}))
    }
}

/// Open and silent: we write to neither stdout nor stderr. Terraform logs anything here as unexpected.
#[derive(Debug)]
pub(super) struct Stdio;

#[tonic::async_trait]
impl plugin::grpc_stdio_server::GrpcStdio for Stdio {
    async fn stream_stdio(
        &self,
        _: Request<()>,
    ) -> Result<Response<BoxStream<'static, Result<StdioData, Status>>>, Status> {
        Ok(Response::new(Box::pin(stream::pending())))
    }
}

/// Open and silent: Terraform brokers no connections. The client's side is kept, so that it stays open too.
#[derive(Debug)]
pub(super) struct Broker;

#[tonic::async_trait]
impl plugin::grpc_broker_server::GrpcBroker for Broker {
    async fn start_stream(
        &self,
        request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<BoxStream<'static, Result<ConnInfo, Status>>>, Status> {
        let silence = stream::unfold(request.into_inner(), |mut client| async move {
            loop {
                match client.message().await {
                    // What it announces is of no interest.
                    Ok(Some(_)) => {}
                    // The client closed its side: so do we.
                    Ok(None) | Err(_) => return None,
                }
            }
        });
        Ok(Response::new(Box::pin(silence)))
    }
}

/// Serving, from the first moment.
#[derive(Debug)]
pub(super) struct Health;

impl Health {
    fn status(service: &str) -> Option<HealthCheckResponse> {
        // "plugin" is the name that go-plugin uses; the empty name is the whole server.
        matches!(service, "" | "plugin").then(|| HealthCheckResponse {
            status: ServingStatus::Serving.into(),
        })
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let status = Health::status(&request.get_ref().service);
        status
            .map(Response::new)
            .ok_or_else(|| Status::not_found("no such service"))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<BoxStream<'static, Result<HealthCheckResponse, Status>>>, Status> {
        let unknown = HealthCheckResponse {
            status: ServingStatus::ServiceUnknown.into(),
        };
        let status = Health::status(&request.get_ref().service).unwrap_or(unknown);
        // It never changes: one answer, then silence.
        let answers = futures::StreamExt::chain(stream::iter([Ok(status)]), stream::pending());
        Ok(Response::new(Box::pin(answers)))
    }
}
