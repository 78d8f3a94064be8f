//! Applies a pool: create, update, destroy. The answer is true on every exit.

use std::future::Future;
use std::time::Duration;

use myelin_engine::document::{KubernetesNodes, parse_duration};
use myelin_engine::fleet::{DrainPolicy, FleetPlan, Known, NodeFacts, PoolId, apply_pool, destroy_pool};
use myelin_engine::record::Owner;
use tokio_util::sync::CancellationToken;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::stack::document::told;
use crate::resource::stack::state::with;
use crate::resource::{Applied, ApplyRequest, Call, Resource as _};
use crate::value::Value;

use super::plan::{decide, known};
use super::state::{nodes, requests, steps, user_data_hash};
use super::{PoolResource, document, intent, known_nodes, owned_by_git, pool_id, ports};

/// How long an interrupted apply may take to end by itself: drains are cancelled and the state is returned.
const PATIENCE: Duration = Duration::from_secs(8);

/// A drain where the document says nothing of it; the document's own default.
const DRAIN: Duration = Duration::from_secs(300);

pub(super) async fn apply(resource: &PoolResource, call: &Call, request: ApplyRequest) -> Applied {
    if request.planned.is_null() {
        destroy(resource, call, request).await
    } else {
        Box::pin(bring_about(resource, call, request)).await
    }
}

async fn bring_about(resource: &PoolResource, call: &Call, request: ApplyRequest) -> Applied {
    let ApplyRequest {
        prior,
        planned,
        config,
        private,
    } = request;
    let identity = resource.identity_of(&planned);
    let answer = |state: Value, diagnostics: Diagnostics| Applied {
        state,
        private: private.clone(),
        identity: identity.clone(),
        diagnostics,
    };
    let pool = match document::pool(&resource.schema, &config) {
        Ok(pool) => pool,
        Err(problems) => return answer(prior, problems),
    };
    let ports = match ports(call, &planned).await {
        Ok(ports) => ports,
        Err(absent) => return answer(prior, absent.error().into()),
    };
    let cancel = call.cancel.child_token();
    let run = super::run(call, cancel.clone());
    // The planned image is launched, even if the parameter names another one by now.
    let known = match planned.attribute("image_id").as_str() {
        Some(image) => Known {
            image: Some(image.to_owned()),
            update_image: false,
            ..known(&pool, &prior, &planned)
        },
        None => known(&pool, &prior, &planned),
    };
    let decided = tokio::select! {
        decided = decide(&ports, &pool, &known, &run) => decided,
        () = call.cancel.cancelled() => {
            return answer(prior, Diagnostic::error("The apply was interrupted", "Nothing was changed.").into());
        }
    };
    let (observed, fleet) = match decided {
        Ok(decided) => decided,
        Err(problems) => return answer(prior, told(&resource.schema, &problems)),
    };
    if let Some(Owner::Git(source)) = &observed.owner {
        // As planned: nothing is changed, and the state stays as it was.
        return answer(planned.known_or_null(), owned_by_git(source).into());
    }
    if fleet.diagnostics.has_errors() {
        return answer(prior, told(&resource.schema, &fleet.diagnostics));
    }
    let limit = document::timeout(&planned, if prior.is_null() { "create" } else { "update" });
    let outcome = in_time(call, &cancel, limit, apply_pool(&ports, &fleet, &run)).await;
    let shown = with_plan(&planned, &fleet, &user_data_hash(&pool));
    let Some((outcome, late)) = outcome else {
        let base = if prior.is_null() { unfinished(&shown) } else { prior };
        return answer(base, interrupted().into());
    };
    let mut diagnostics = told(&resource.schema, &outcome.diagnostics);
    tracing::info!(pool = %fleet.id, requests = %outcome.calls, "the pool was applied");
    let found = [("nodes", nodes(&outcome.nodes)), ("requests", requests(&outcome.calls))];
    if outcome.ready && !diagnostics.has_errors() {
        return answer(with(&shown, found), diagnostics);
    }
    if late {
        diagnostics.push(Diagnostic::error(
            format!("The pool {} was not ready in time", fleet.id),
            "What was launched stays and is adopted by the next apply. timeouts says how long it may take.",
        ));
    }
    if !diagnostics.has_errors() {
        diagnostics.push(interrupted());
    }
    let base = if prior.is_null() { unfinished(&shown) } else { prior };
    answer(with(&base, found), diagnostics)
}

/// What the plan left open, from the plan that is carried out.
fn with_plan(planned: &Value, fleet: &FleetPlan, data: &Value) -> Value {
    let newer = fleet.newer_image.as_deref().map_or(Value::Null, Value::string);
    let found = [
        ("image_id", Value::string(fleet.image.as_str())),
        ("newer_image_id", newer),
        ("user_data_hash", data.clone()),
        ("spec_hash", Value::string(fleet.spec_hash.as_str())),
        ("steps", steps(fleet)),
    ];
    let open = found
        .into_iter()
        .filter(|(name, _)| !planned.attribute(name).is_wholly_known());
    with(planned, open)
}

/// A first apply that did not finish: its hash says so.
fn unfinished(shown: &Value) -> Value {
    with(&shown.known_or_null(), [("spec_hash", Value::Null)])
}

fn interrupted() -> Diagnostic {
    Diagnostic::error(
        "The apply was interrupted",
        "What was launched stays, drains were called off; the next apply finds it by its tags and goes on.",
    )
}

/// Waits for the engine, but not forever once the call is cancelled or its time is over; the second part says which.
/// None means the same as a killed process: tags were written before the effect, so the next apply finds out.
async fn in_time<T>(
    call: &Call,
    cancel: &CancellationToken,
    limit: Option<Duration>,
    work: impl Future<Output = T>,
) -> Option<(T, bool)> {
    let timer = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(work);
    let late = tokio::select! {
        done = &mut work => return Some((done, false)),
        () = timer => true,
        () = call.cancel.cancelled() => false,
    };
    cancel.cancel();
    tokio::select! {
        done = work => Some((done, late)),
        () = tokio::time::sleep(PATIENCE) => None,
    }
}

/// How the nodes of a stored pool are emptied.
fn drain_policy(prior: &Value) -> DrainPolicy {
    let timeout = prior.attribute("rollout").attribute("drain_timeout").as_str();
    let kubernetes = prior.attribute("kubernetes");
    DrainPolicy {
        timeout: timeout.and_then(|text| parse_duration(text).ok()).unwrap_or(DRAIN),
        kubernetes: (!kubernetes.is_null()).then(|| KubernetesNodes {
            force_at_deadline: kubernetes.attribute("at_deadline").as_str() == Some("force"),
        }),
    }
}

async fn destroy(resource: &PoolResource, call: &Call, request: ApplyRequest) -> Applied {
    let ApplyRequest { prior, private, .. } = request;
    let identity = resource.identity_of(&prior);
    let gone = |diagnostics: Diagnostics| Applied {
        state: Value::Null,
        private: Vec::new(),
        identity: identity.clone(),
        diagnostics,
    };
    let Some(id): Option<PoolId> = pool_id(&prior) else {
        return gone(Diagnostics::default());
    };
    if prior.attribute("spec_hash").is_null() && intent::replaces(&private, &id) {
        tracing::info!(pool = %id, "the first apply failed; the next adopts its nodes");
        return gone(Diagnostics::default());
    }
    let stays = |state: Value, diagnostics: Diagnostics| Applied {
        state,
        private: private.clone(),
        identity: identity.clone(),
        diagnostics,
    };
    let ports = match ports(call, &prior).await {
        Ok(ports) => ports,
        Err(absent) => return stays(prior, absent.error().into()),
    };
    let cancel = call.cancel.child_token();
    let run = super::run(call, cancel.clone());
    let (policy, known) = (drain_policy(&prior), known_nodes(&prior));
    let limit = document::timeout(&prior, "delete");
    let work = destroy_pool(&ports, &id, &policy, &known, &run);
    let Some((outcome, _)) = in_time(call, &cancel, limit, work).await else {
        return stays(
            prior,
            Diagnostic::error("The destroy was interrupted", "The next one continues from there.").into(),
        );
    };
    let mut diagnostics = told(&resource.schema, &outcome.diagnostics);
    if outcome.ready && !diagnostics.has_errors() {
        return gone(diagnostics);
    }
    if !diagnostics.has_errors() {
        diagnostics.push(Diagnostic::error(
            format!("The pool {id} could not be destroyed"),
            "The next destroy continues from there.",
        ));
    }
    // Refused before it looked, it knows of no nodes: then the state stays as it was.
    let left: &[NodeFacts] = &outcome.nodes;
    if left.is_empty() {
        return stays(prior, diagnostics);
    }
    let state = with(&prior, [("nodes", nodes(left))]);
    stays(state, diagnostics)
}
