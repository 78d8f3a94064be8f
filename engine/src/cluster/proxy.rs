//! A GET to a Service through the API server's proxy. The answer's body is bounded and never logged.

use super::{ClusterError, wire};
use http::Request;
use http_body_util::BodyExt as _;
use kube::client::Body;
use std::pin::pin;
use std::time::Duration;

/// Bytes of a body that are read; what follows is not looked at.
const MAX_BODY: usize = 256 << 10;

/// The Service and the path to request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRequest {
    /// Namespace of the Service.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// Number or name of its port; empty when it has only one.
    pub port: String,
    /// Whether its pods speak TLS.
    pub https: bool,
    /// Path and query, from the first slash on.
    pub path: String,
    /// Time limit of the wait.
    pub deadline: Duration,
}

/// The answer of the Service, or of the API server itself if no pod is behind the Service.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceAnswer {
    /// HTTP status.
    pub status: u16,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for ServiceAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ServiceAnswer({}, {} bytes)", self.status, self.body.len())
    }
}

/// Asks once.
pub(super) async fn ask(client: &kube::Client, request: &ServiceRequest) -> Result<ServiceAnswer, ClusterError> {
    tokio::time::timeout(request.deadline, exchange(client, request))
        .await
        .unwrap_or(Err(ClusterError::TimedOut(request.deadline)))
}

async fn exchange(client: &kube::Client, asked: &ServiceRequest) -> Result<ServiceAnswer, ClusterError> {
    let scheme = if asked.https { "https:" } else { "" };
    let port = match (asked.port.as_str(), asked.https) {
        // With a scheme the name has three parts.
        ("", true) => ":".to_owned(),
        ("", false) => String::new(),
        (port, _) => format!(":{port}"),
    };
    let uri = format!(
        "/api/v1/namespaces/{}/services/{scheme}{}{port}/proxy{}",
        wire::escape(&asked.namespace),
        wire::escape(&asked.service),
        asked.path
    );
    let request = Request::get(uri)
        .header("Accept", "*/*")
        .body(Body::empty())
        .map_err(|e| ClusterError::Unreadable(format!("the request cannot be written: {e}")))?;
    let answer = client.send(request).await.map_err(wire::unreachable)?;
    let status = answer.status().as_u16();
    let mut stream = pin!(answer.into_body());
    let mut body = Vec::new();
    while let Some(frame) = stream.frame().await {
        if let Ok(data) = frame.map_err(wire::unreachable)?.into_data() {
            let room = MAX_BODY.saturating_sub(body.len());
            body.extend_from_slice(&data[..data.len().min(room)]);
        }
        if body.len() >= MAX_BODY {
            break;
        }
    }
    Ok(ServiceAnswer { status, body })
}
