//! EC2, SSM and the metadata services behind HTTP on loopback.
//!
//! Signatures (SigV4) are accepted, not verified; the access key decides which policy holds.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Handle};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::access::{self, Caller};
use super::cloud::Cloud;
use super::error::Ec2Error;
use super::metadata::Metadata;
use super::params::Params;
use super::rates::Buckets;
use super::{control, fleet, images, instances, ssm, tags, templates};

/// The access key that may do everything. So may every other that no policy was given to.
pub const ADMINISTRATOR: &str = "AKIASANDBOX000000001";

/// Bodies over this many bytes are refused.
const BODY_LIMIT: usize = 2 << 20;

/// Where the model cloud listens. It stops when this is dropped.
#[derive(Debug)]
pub struct Endpoint {
    /// Address on loopback.
    pub address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Endpoint {
    /// What `AWS_ENDPOINT_URL` should say.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The environment of a tool that signs with this access key. Nothing that it sends leaves loopback.
    pub fn environment(&self, access_key: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL_EC2", self.url()),
            ("AWS_ENDPOINT_URL_SSM", self.url()),
            ("AWS_REGION", super::catalog::REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", access_key.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "sandbox".to_owned()),
        ]
    }

    /// What `AWS_EC2_METADATA_SERVICE_ENDPOINT` should say for the agent of an instance.
    pub fn metadata_url(&self, instance: &str) -> String {
        format!("http://{}/imds/{instance}", self.address)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What requests are served from.
#[derive(Clone)]
pub(super) struct Served {
    /// The cloud.
    pub(super) cloud: Cloud,
    metadata: Arc<Mutex<BTreeMap<String, Metadata>>>,
    buckets: Arc<Mutex<Buckets>>,
}

/// Serves a cloud on a port of loopback; 0 takes a free one.
///
/// # Errors
/// When the port cannot be bound.
pub async fn serve(cloud: Cloud, port: u16) -> std::io::Result<Endpoint> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let address = listener.local_addr()?;
    let served = Served {
        cloud,
        metadata: Arc::default(),
        buckets: Arc::default(),
    };
    let router = Router::new()
        .route("/", post(aws))
        .route("/imds/{instance}/{*path}", axum::routing::any(imds))
        .merge(control::routes())
        .layer(axum::extract::DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(served);
    let task = tokio::spawn(async move {
        // The listener never fails permanently; the task ends when the endpoint is dropped.
        let _ = axum::serve(listener, router).await;
    });
    Ok(Endpoint { address, task })
}

async fn aws(Handle(served): Handle<Served>, headers: HeaderMap, body: Bytes) -> Response {
    let request = served.cloud.world().id("req");
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let caller = Caller::of(header("authorization"), header("x-amz-security-token"));
    if let Some(target) = header("x-amz-target") {
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or(target);
        let outcome = command(&served, operation, &body, &caller);
        return finish(
            &served.cloud,
            operation,
            outcome.map(|v| v.to_string()),
            |outcome| match outcome {
                Ok(body) => amz_json(StatusCode::OK, body),
                Err(e) => amz_json(
                    StatusCode::from_u16(e.status).unwrap_or(StatusCode::BAD_REQUEST),
                    json!({"__type": e.code, "message": e.message}).to_string(),
                ),
            },
        )
        .await;
    }
    let params = Params::from_form(&body);
    let operation = params.owned("Action");
    let outcome = operate(&served, &operation, &params, &request, &caller);
    finish(&served.cloud, &operation, outcome, |outcome| match outcome {
        Ok(body) => xml(StatusCode::OK, body),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            xml(status, error.body(&request))
        }
    })
    .await
}

/// Logs the result of a request, and answers as the fault requires.
async fn finish(
    cloud: &Cloud,
    operation: &str,
    outcome: Result<String, Ec2Error>,
    write: impl FnOnce(Result<String, Ec2Error>) -> Response,
) -> Response {
    let code = outcome.as_ref().map_or_else(|e| e.code.clone(), |_| "ok".into());
    cloud.world().called(operation, &code);
    cloud.changed();
    match outcome {
        // Dropping the connection without an answer is what a lost response looks like to a client.
        Err(error) if error.code == "ConnectionReset" => reset(),
        Err(error) if error.code == "Hang" => {
            cloud.hangs();
            // Ends when the client goes, or with the server.
            std::future::pending().await
        }
        outcome => write(outcome),
    }
}

/// The failure to inject into a request: before or after its effect.
fn injected(served: &Served, operation: &str) -> Result<Option<Ec2Error>, Ec2Error> {
    let mut world = served.cloud.world();
    let call = world.call_count;
    let Some(failure) = world.faults.failure(operation, call) else {
        return Ok(None);
    };
    let error = Ec2Error::new(&failure.code, "injected by the sandbox").status(if failure.status == 0 {
        500
    } else {
        failure.status
    });
    if failure.after_effect {
        Ok(Some(error))
    } else {
        Err(error)
    }
}

fn operate(served: &Served, operation: &str, p: &Params, request: &str, caller: &Caller) -> Result<String, Ec2Error> {
    let cloud = &served.cloud;
    if cloud.world().faults.rate_limits {
        let mut buckets = served.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(operation, p, cloud.clock.now())?;
    }
    let lost = injected(served, operation)?;
    caller.in_time(cloud.clock.now())?;
    {
        let world = cloud.world();
        access::check(&world, caller, access::request(&world, operation, p))?;
    }
    let answer = match operation {
        "RunInstances" => instances::run(cloud, p, request),
        "CreateFleet" => fleet::create(cloud, p, request),
        "DescribeInstances" => instances::describe(cloud, p, request),
        "DescribeInstanceStatus" => instances::status(cloud, p, request),
        "TerminateInstances" => instances::terminate(cloud, p, request),
        "CreateTags" => tags::create(cloud, p, request),
        "DeleteTags" => tags::delete(cloud, p, request),
        "CreateLaunchTemplate" => templates::create(cloud, p, request),
        "CreateLaunchTemplateVersion" => templates::create_version(cloud, p, request),
        "DeleteLaunchTemplate" => templates::delete(cloud, p, request),
        "DescribeLaunchTemplates" => templates::describe(cloud, p, request),
        "DescribeLaunchTemplateVersions" => templates::describe_versions(cloud, p, request),
        "DescribeInstanceTypes" => images::types(p, request),
        "DescribeInstanceTypeOfferings" => images::offerings(p, request),
        "DescribeImages" => images::images(p, request),
        "DescribeSubnets" => images::subnets(p, request),
        "DescribeSpotPriceHistory" => images::spot_prices(cloud, p, request),
        "" => Err(Ec2Error::new("MissingAction", "The request is missing an action")),
        other => Err(Ec2Error::new(
            "UnsupportedOperation",
            format!("{other} is not modelled by this sandbox"),
        )
        .status(501)),
    };
    match (answer, lost) {
        (Ok(_), Some(error)) => Err(error),
        (answer, _) => answer,
    }
}

fn command(served: &Served, operation: &str, body: &Value, caller: &Caller) -> Result<Value, Ec2Error> {
    let cloud = &served.cloud;
    let lost = injected(served, operation)?;
    // SSM has a name of its own for that.
    caller.in_time(cloud.clock.now()).map_err(|e| Ec2Error {
        code: "ExpiredTokenException".into(),
        ..e
    })?;
    {
        let world = cloud.world();
        access::check(&world, caller, access::command(&world, operation, body)).map_err(|e| Ec2Error {
            code: "AccessDeniedException".into(),
            status: 400,
            ..e
        })?;
    }
    let answer = match operation {
        "GetParameter" => ssm::parameter(cloud, body),
        "SendCommand" => ssm::send(cloud, body),
        "GetCommandInvocation" => ssm::invocation(cloud, body),
        other => Err(Ec2Error::new(
            "UnknownOperationException",
            format!("{other} is not modelled by this sandbox"),
        )),
    };
    match (answer, lost) {
        (Ok(_), Some(error)) => Err(error),
        (answer, _) => answer,
    }
}

fn amz_json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body).into_response()
}

fn xml(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml;charset=UTF-8")], body).into_response()
}

/// A response whose body fails at once: the connection breaks.
fn reset() -> Response {
    let broken = futures::stream::once(async { Err::<Bytes, _>(std::io::Error::other("reset by the sandbox")) });
    Response::new(axum::body::Body::from_stream(broken))
}

async fn imds(
    Handle(served): Handle<Served>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    Path((instance, path)): Path<(String, String)>,
) -> Response {
    let _ = uri;
    let mut all = served.metadata.lock().unwrap_or_else(PoisonError::into_inner);
    let service = all
        .entry(instance.clone())
        .or_insert_with(|| Metadata::new(served.cloud.clone(), &instance));
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let (status, body) = match (method, path.as_str()) {
        (Method::PUT, "latest/api/token") => service.token(header("x-aws-ec2-metadata-token-ttl-seconds")),
        (Method::GET, path) => service.get(&format!("/{path}"), header("x-aws-ec2-metadata-token")),
        (Method::POST, "sandbox/down") => {
            service.set_down(true);
            (200, String::new())
        }
        (Method::POST, "sandbox/up") => {
            service.set_down(false);
            (200, String::new())
        }
        (Method::POST, "sandbox/expire") => {
            service.expire_sessions();
            (200, String::new())
        }
        _ => (405, String::new()),
    };
    (
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        body,
    )
        .into_response()
}

#[cfg(test)]
mod tests;
