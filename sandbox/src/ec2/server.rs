//! EC2, SSM and the metadata services behind HTTP on loopback, and a small control API for faults.
//!
//! Signatures (SigV4) are accepted, not verified. The control API lives under `/sandbox/`; no AWS client ever asks there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Handle};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::cloud::Cloud;
use super::error::Ec2Error;
use super::faults::Faults;
use super::metadata::Metadata;
use super::params::Params;
use super::{fleet, images, instances, tags, templates};

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

#[derive(Clone)]
struct Served {
    cloud: Cloud,
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
        .route("/sandbox/faults", get(show_faults).put(set_faults))
        .route("/sandbox/calls", get(calls).delete(clear_calls))
        .route("/sandbox/instances/{id}/notice", post(notice))
        .route("/sandbox/instances/{id}/rebalance", post(rebalance))
        .route("/sandbox/parameters", axum::routing::put(set_parameter))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(served);
    let task = tokio::spawn(async move {
        // The listener never fails for good; the task ends when the endpoint is dropped.
        let _ = axum::serve(listener, router).await;
    });
    Ok(Endpoint { address, task })
}

async fn aws(Handle(served): Handle<Served>, headers: HeaderMap, body: Bytes) -> Response {
    let request = served.cloud.world().id("req");
    if let Some(target) = headers.get("x-amz-target").and_then(|v| v.to_str().ok()) {
        return ssm(&served.cloud, target, &body);
    }
    let params = Params::from_form(&body);
    let operation = params.owned("Action");
    let outcome = operate(&served, &operation, &params, &request);
    let code = outcome.as_ref().map_or_else(|e| e.code.clone(), |_| "ok".into());
    served.cloud.world().called(&operation, &code);
    match outcome {
        Ok(body) => xml(StatusCode::OK, body),
        // Dropping the connection without an answer is what a lost response looks like to a client.
        Err(error) if error.code == "ConnectionReset" => reset(),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            xml(status, error.body(&request))
        }
    }
}

fn operate(served: &Served, operation: &str, p: &Params, request: &str) -> Result<String, Ec2Error> {
    let cloud = &served.cloud;
    let (limited, failure) = {
        let mut world = cloud.world();
        (world.faults.rate_limits, world.faults.failure(operation))
    };
    if limited {
        let mut buckets = served.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.take(operation, p, cloud.clock.now())?;
    }
    let failed = failure.map(|f| {
        (
            f.after_effect,
            Ec2Error::new(&f.code, "injected by the sandbox").status(f.status),
        )
    });
    if let Some((false, error)) = &failed {
        return Err(error.clone());
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
    match failed {
        Some((true, error)) if answer.is_ok() => Err(error),
        _ => answer,
    }
}

fn ssm(cloud: &Cloud, target: &str, body: &[u8]) -> Response {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let answer = match target {
        "AmazonSSM.GetParameter" => images::parameter(cloud, &body),
        other => Err(Ec2Error::new(
            "UnknownOperationException",
            format!("{other} is not modelled by this sandbox"),
        )),
    };
    let operation = target.rsplit('.').next().unwrap_or(target);
    cloud
        .world()
        .called(operation, answer.as_ref().map_or_else(|e| e.code.as_str(), |_| "ok"));
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(e) => (StatusCode::BAD_REQUEST, json!({"__type": e.code, "message": e.message})),
    };
    (
        status,
        [(header::CONTENT_TYPE, "application/x-amz-json-1.1")],
        body.to_string(),
    )
        .into_response()
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

async fn show_faults(Handle(served): Handle<Served>) -> Response {
    axum::Json(served.cloud.world().faults.clone()).into_response()
}

async fn set_faults(Handle(served): Handle<Served>, body: Bytes) -> Response {
    match serde_json::from_slice::<Faults>(&body) {
        Ok(faults) => {
            served.cloud.world().faults = faults;
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("these are no faults: {error}")).into_response(),
    }
}

async fn calls(Handle(served): Handle<Served>) -> Response {
    let world = served.cloud.world();
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for (operation, _) in &world.calls {
        *counts.entry(operation).or_default() += 1;
    }
    let list: Vec<Value> = world
        .calls
        .iter()
        .map(|(o, c)| json!({"operation": o, "outcome": c}))
        .collect();
    axum::Json(json!({"total": world.call_count, "launched": world.launched, "counts": counts, "calls": list}))
        .into_response()
}

async fn clear_calls(Handle(served): Handle<Served>) -> StatusCode {
    served.cloud.world().calls.clear();
    StatusCode::NO_CONTENT
}

async fn notice(Handle(served): Handle<Served>, Path(id): Path<String>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let after = body.get("seconds").and_then(Value::as_i64).unwrap_or(120);
    answer(
        served
            .cloud
            .spot_notice(&id, SignedDuration::from_secs(after.clamp(0, 86_400))),
    )
}

async fn rebalance(Handle(served): Handle<Served>, Path(id): Path<String>) -> Response {
    answer(served.cloud.recommend_rebalance(&id))
}

async fn set_parameter(Handle(served): Handle<Served>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |field: &str| body.get(field).and_then(Value::as_str);
    match (text("name"), text("value")) {
        (Some(name), Some(value)) => {
            served.cloud.world().parameters.insert(name.into(), value.into());
            StatusCode::NO_CONTENT.into_response()
        }
        _ => (StatusCode::BAD_REQUEST, "write {\"name\": …, \"value\": …}").into_response(),
    }
}

fn answer(done: Result<(), Ec2Error>) -> Response {
    match done {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => (StatusCode::NOT_FOUND, error.message).into_response(),
    }
}

/// Token buckets at EC2's published rates (EC2 developer guide, "Request throttling"), per account and region.
#[derive(Debug, Default)]
struct Buckets(BTreeMap<&'static str, (f64, Timestamp)>);

impl Buckets {
    fn take(&mut self, operation: &str, p: &Params, now: Timestamp) -> Result<(), Ec2Error> {
        let filtered = p.at("Filter").is_some() || p.at("InstanceId").is_some() || p.at("MaxResults").is_some();
        let (name, burst, refill) = match operation {
            "RunInstances" => ("RunInstances", 5.0, 2.0),
            "TerminateInstances" => ("TerminateInstances", 100.0, 5.0),
            "CreateTags" | "DeleteTags" => ("Tags", 100.0, 10.0),
            "CreateLaunchTemplateVersion" => ("CreateLaunchTemplateVersion", 100.0, 5.0),
            "DescribeInstances" if !filtered => ("unfiltered", 50.0, 10.0),
            o if o.starts_with("Describe") => ("Describe", 100.0, 20.0),
            _ => ("mutating", 50.0, 5.0),
        };
        let (left, since) = self.0.entry(name).or_insert((burst, now));
        let refilled = *left + now.duration_since(*since).as_secs_f64() * refill;
        *left = refilled.min(burst);
        *since = now;
        if *left < 1.0 {
            return Err(Ec2Error::throttled());
        }
        *left -= 1.0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::ec2::cloud::{State, Times};
    use crate::ec2::faults::{Failure, NoCapacity};
    use std::time::Duration;

    fn served() -> Served {
        let cloud = Cloud::new(Clock::new(0.0), Times::default());
        Served {
            cloud,
            metadata: Arc::default(),
            buckets: Arc::default(),
        }
    }

    fn call(served: &Served, form: &str) -> Result<String, String> {
        let p = Params::from_form(form.as_bytes());
        operate(served, &p.owned("Action"), &p, "r").map_err(|e| e.code)
    }

    const RUN: &str = "Action=RunInstances&ImageId=ami-08600000000000001&InstanceType=m5.large&MinCount=1&MaxCount=1";

    fn ids(answer: &str) -> Vec<&str> {
        let parts = answer.split("<instanceId>").skip(1);
        parts.filter_map(|p| p.split('<').next()).collect()
    }

    #[test]
    fn a_client_token_is_exact() {
        let s = served();
        let first = call(&s, &format!("{RUN}&ClientToken=t")).expect("launched");
        let again = call(&s, &format!("{RUN}&ClientToken=t")).expect("the same");
        assert_eq!(ids(&first), ids(&again));
        let other = call(&s, &format!("{}&ClientToken=t", RUN.replace("m5.large", "c6i.large")));
        assert_eq!(other, Err("IdempotentParameterMismatch".into()));
        let in_zone = format!("{RUN}&ClientToken=t&SubnetId=subnet-0bbbbbbbbbbbbbbb2");
        assert_ne!(
            ids(&call(&s, &in_zone).expect("another zone launches again")),
            ids(&first)
        );
        call(
            &s,
            &format!("Action=TerminateInstances&InstanceId.1={}", ids(&first)[0]),
        )
        .expect("terminated");
        assert_eq!(
            call(&s, &format!("{RUN}&ClientToken=t")),
            Err("IdempotentInstanceTerminated".into())
        );
    }

    #[test]
    fn an_instance_lives_by_the_clock() {
        let s = served();
        let id = ids(&call(&s, RUN).expect("launched"))[0].to_owned();
        let state = |s: &Served| {
            let world = s.cloud.world();
            world
                .instances
                .get(&id)
                .and_then(|i| i.state(s.cloud.clock.now(), &s.cloud.times))
        };
        assert_eq!(state(&s), Some(State::Pending));
        s.cloud.clock.advance(Duration::from_secs(13));
        assert_eq!(state(&s), Some(State::Running));
        s.cloud.spot_notice(&id, SignedDuration::from_secs(120)).expect("given");
        s.cloud.clock.advance(Duration::from_secs(121));
        assert_eq!(state(&s), Some(State::ShuttingDown));
        s.cloud.clock.advance(Duration::from_secs(60));
        let listed = call(&s, "Action=DescribeInstances").expect("listed");
        assert!(listed.contains("Server.SpotInstanceTermination"), "{listed}");
        s.cloud.clock.advance(Duration::from_secs(7200));
        assert!(ids(&call(&s, "Action=DescribeInstances").expect("listed")).is_empty());
    }

    #[test]
    fn faults_do_what_they_say() {
        let s = served();
        s.cloud.world().faults.no_capacity = vec![NoCapacity::default()];
        assert_eq!(call(&s, RUN), Err("InsufficientInstanceCapacity".into()));
        let lost = Failure {
            operation: "RunInstances".into(),
            code: "ConnectionReset".into(),
            status: 500,
            after_effect: true,
            times: Some(1),
        };
        s.cloud.world().faults = Faults {
            failures: vec![lost],
            visibility_lag: 30,
            ..Faults::default()
        };
        assert_eq!(call(&s, &format!("{RUN}&ClientToken=x")), Err("ConnectionReset".into()));
        assert_eq!(s.cloud.world().launched, 1, "the effect happened");
        assert!(
            ids(&call(&s, "Action=DescribeInstances").expect("listed")).is_empty(),
            "not seen yet"
        );
        assert_eq!(ids(&call(&s, &format!("{RUN}&ClientToken=x")).expect("found")).len(), 1);
        assert_eq!(s.cloud.world().launched, 1, "the token found it");
    }

    #[test]
    fn the_published_rates_hold_when_asked() {
        let s = served();
        s.cloud.world().faults.rate_limits = true;
        let outcomes: Vec<bool> = (0..8).map(|_| call(&s, RUN).is_ok()).collect();
        assert_eq!(outcomes.iter().filter(|ok| **ok).count(), 5);
        s.cloud.clock.advance(Duration::from_secs(1));
        assert!(call(&s, RUN).is_ok());
    }

    #[test]
    fn limits_that_other_emulators_miss_are_errors() {
        let s = served();
        let big = base64_of(16 * 1024 + 1);
        let tags: String = (1..=51)
            .map(|n| format!("&TagSpecification.1.Tag.{n}.Key=k{n}"))
            .collect();
        let metadata = "&MetadataOptions.InstanceMetadataTags=enabled&TagSpecification.1.ResourceType=instance";
        for (more, code) in [
            (format!("&UserData={big}"), "InvalidParameterValue"),
            (
                format!("&TagSpecification.1.ResourceType=instance{tags}"),
                "TagLimitExceeded",
            ),
            (
                "&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=aws:x".into(),
                "InvalidParameterValue",
            ),
            (
                format!("{metadata}&TagSpecification.1.Tag.1.Key=a/b"),
                "InvalidParameterValue",
            ),
            ("&SubnetId=subnet-1".into(), "InvalidSubnetID.NotFound"),
            ("&MaxResults=1&DryRun=true".into(), "DryRunOperation"),
        ] {
            assert_eq!(call(&s, &format!("{RUN}{more}")), Err(code.into()), "{more:.60}");
        }
        assert_eq!(call(&s, "Action=MoveAddressToVpc"), Err("UnsupportedOperation".into()));
    }

    fn base64_of(bytes: usize) -> String {
        use base64::Engine as _;
        base64::prelude::BASE64_URL_SAFE.encode(vec![b'a'; bytes])
    }

    #[test]
    fn a_fleet_takes_what_there_is_and_names_what_there_is_not() {
        let s = served();
        let template =
            "Action=CreateLaunchTemplate&LaunchTemplateName=pool&LaunchTemplateData.ImageId=ami-08600000000000001";
        call(&s, template).expect("made");
        s.cloud.world().faults.no_capacity = vec![NoCapacity {
            instance_type: Some("c6i.large".into()),
            ..NoCapacity::default()
        }];
        let fleet = "Action=CreateFleet&Type=instant&ClientToken=f&TargetCapacitySpecification.TotalTargetCapacity=3\
            &TargetCapacitySpecification.DefaultTargetCapacityType=spot\
            &LaunchTemplateConfigs.1.LaunchTemplateSpecification.LaunchTemplateName=pool\
            &LaunchTemplateConfigs.1.LaunchTemplateSpecification.Version=1\
            &LaunchTemplateConfigs.1.Overrides.1.InstanceType=c6i.large\
            &LaunchTemplateConfigs.1.Overrides.2.InstanceType=m5.large";
        let answer = call(&s, fleet).expect("partly");
        assert!(
            answer.contains("<errorCode>InsufficientInstanceCapacity</errorCode>"),
            "{answer}"
        );
        assert_eq!(s.cloud.alive().len(), 3);
        assert!(s.cloud.alive().iter().all(|i| i.instance_type == "m5.large"));
        call(&s, fleet).expect("the same again");
        assert_eq!(s.cloud.alive().len(), 3, "the token launched nothing");
    }

    #[test]
    fn the_metadata_service_speaks_version_two_only() {
        let s = served();
        let id = ids(&call(&s, &format!("{RUN}&MetadataOptions.InstanceMetadataTags=enabled&TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=Role&TagSpecification.1.Tag.1.Value=worker")).expect("launched"))[0].to_owned();
        let mut service = Metadata::new(s.cloud.clone(), &id);
        assert_eq!(service.get("/latest/meta-data/instance-id", None).0, 401);
        let (status, token) = service.token(Some("60"));
        assert_eq!(status, 200);
        assert_eq!(
            service.get("/latest/meta-data/instance-id", Some(&token)),
            (200, id.clone())
        );
        assert_eq!(
            service.get("/latest/meta-data/tags/instance/Role", Some(&token)),
            (200, "worker".into())
        );
        assert_eq!(
            service.get("/latest/meta-data/spot/instance-action", Some(&token)).0,
            404
        );
        s.cloud.spot_notice(&id, SignedDuration::from_secs(120)).expect("given");
        assert_eq!(
            service.get("/latest/meta-data/spot/instance-action", Some(&token)).0,
            200
        );
        s.cloud.clock.advance(Duration::from_secs(61));
        assert_eq!(
            service.get("/latest/meta-data/instance-id", Some(&token)).0,
            401,
            "the session is over"
        );
    }
}
