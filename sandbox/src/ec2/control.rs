//! The control API under `/sandbox/`, a path that no AWS client uses: faults, the log of calls, notices, parameters,
//! policies.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State as Handle};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::access::Policy;
use super::error::Ec2Error;
use super::faults::Faults;
use super::server::Served;

/// Its routes.
pub(super) fn routes() -> Router<Served> {
    Router::new()
        .route("/sandbox/faults", get(show_faults).put(set_faults))
        .route("/sandbox/calls", get(calls).delete(clear_calls))
        .route("/sandbox/instances/{id}/notice", post(notice))
        .route("/sandbox/instances/{id}/reclaim", post(reclaim))
        .route("/sandbox/instances/{id}/rebalance", post(rebalance))
        .route("/sandbox/parameters", put(set_parameter))
        .route("/sandbox/policies", put(set_policy))
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

/// `{"accessKey" or "role": …, "policy": …}`.
async fn set_policy(Handle(served): Handle<Served>, body: Bytes) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |field: &str| body.get(field).and_then(Value::as_str);
    let policy = match Policy::read(&body["policy"]) {
        Ok(policy) => policy,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    match (text("accessKey"), text("role")) {
        (Some(key), None) => served.cloud.with_policy(key, policy),
        (None, Some(role)) => served.cloud.with_role_policy(role, policy),
        _ => return (StatusCode::BAD_REQUEST, "write either accessKey or role").into_response(),
    }
    StatusCode::NO_CONTENT.into_response()
}

async fn reclaim(Handle(served): Handle<Served>, Path(id): Path<String>) -> Response {
    answer(served.cloud.reclaim(&id))
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
