//! Applies a token: create, update, destroy. The answer is true on every exit.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use myelin_engine::apply::{Destroy, Progress, Run, apply_token, destroy as engine_destroy};
use myelin_engine::cluster::Cluster;
use myelin_engine::desired::lone_token;
use myelin_engine::diagnostic::Diagnostics as EngineDiagnostics;
use myelin_engine::record::{Owner, StackId};

use crate::diagnostic::{Diagnostic, Diagnostics, from_engine};
use crate::resource::{Applied, ApplyRequest, Call, Resource as _};
use crate::value::Value;

use super::document::{self, Operation};
use super::plan::owned_by_git;
use super::read::{Found, find};
use super::state::{is_adopted, with_facts, without_facts};
use super::{TokenResource, intent, shown, token_id};

/// How long an interrupted apply may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) async fn apply(resource: &TokenResource, call: &Call, request: ApplyRequest) -> Applied {
    if request.planned.is_null() {
        destroy(resource, call, request).await
    } else {
        mint(resource, call, request).await
    }
}

async fn mint(resource: &TokenResource, call: &Call, request: ApplyRequest) -> Applied {
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
    let operation = if prior.is_null() {
        Operation::Create
    } else {
        Operation::Update
    };
    let (mut token, timeout) = match document::token(resource.schema(), &config, operation) {
        Ok(read) => read,
        Err(problems) => return answer(prior, problems),
    };
    token.adopt |= is_adopted(&prior);
    let cluster = match call.access.cluster().await {
        Ok(cluster) => cluster,
        Err(absent) => return answer(prior, absent.error().into()),
    };
    let id = StackId::of_token(&token.namespace, &token.name);
    if let Ok(Some(Found {
        owner: Owner::Git(source),
        ..
    })) = find(&*cluster, &id).await
    {
        // As planned: nothing is changed, and the state stays as it was.
        return answer(planned.known_or_null(), owned_by_git(&source).into());
    }
    let desired = Arc::new(lone_token(&token, timeout));
    let run = run(call);
    let applied = in_time(
        call,
        apply_token(Arc::clone(&cluster), &desired, &Owner::Terraform, &run),
    )
    .await;
    let (ready, recorded, mut diagnostics) = match applied {
        Some(Ok(outcome)) => (outcome.ready, outcome.recorded, told(&outcome.diagnostics)),
        Some(Err(problems)) => (false, !prior.is_null(), told(&problems)),
        None => (false, true, Diagnostics::default()),
    };
    if ready && !diagnostics.has_errors() {
        return match facts_of(&*cluster, &id).await {
            Ok(found) => match found.and_then(|found| found.facts) {
                Some(facts) => answer(with_facts(&planned, &without_due(facts)), diagnostics),
                None => answer(
                    without_facts(&planned.known_or_null(), None),
                    Diagnostic::error(
                        format!("The record of token {} is gone", shown(&id)),
                        "Somebody deleted it while the token was applied. Apply again: the value is taken over.",
                    )
                    .into(),
                ),
            },
            Err(problems) => {
                diagnostics.extend(told(&problems));
                answer(without_facts(&planned.known_or_null(), None), diagnostics)
            }
        };
    }
    if !diagnostics.has_errors() {
        diagnostics.push(Diagnostic::error(
            "The apply was interrupted",
            "The record in the cluster says how far it came; the next apply continues from there.",
        ));
    }
    if prior.is_null() && !recorded {
        // Nothing of the token is in the cluster, so there is nothing to keep track of.
        return answer(Value::Null, diagnostics);
    }
    // A failed update leaves the old terms in the state, so that the next plan still shows the change.
    let base = if prior.is_null() {
        without_facts(&planned.known_or_null(), Some("the first value is minted"))
    } else {
        prior
    };
    let state = match facts_of(&*cluster, &id).await {
        Ok(Some(Found { facts: Some(facts), .. })) => with_facts(&base, &facts),
        _ => base,
    };
    answer(state, diagnostics)
}

/// A value that expires during the apply still counts as planned, with nothing due. The next read corrects that.
fn without_due(facts: myelin_engine::observe::TokenFacts) -> myelin_engine::observe::TokenFacts {
    myelin_engine::observe::TokenFacts { due: None, ..facts }
}

async fn facts_of(cluster: &dyn Cluster, id: &StackId) -> Result<Option<Found>, EngineDiagnostics> {
    match tokio::time::timeout(PATIENCE, find(cluster, id)).await {
        Ok(found) => found,
        Err(_) => Err(EngineDiagnostics::from(
            myelin_engine::diagnostic::Diagnostic::error("the token could not be read back in time")
                .detail("what was done is in its record; the next refresh shows it"),
        )),
    }
}

/// Waits for the engine; not forever once the call is cancelled. None is what a killed process leaves, too: the record was
/// written before the effect, so the next apply finds out.
async fn in_time<T>(call: &Call, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = async { call.cancel.cancelled().await; tokio::time::sleep(PATIENCE).await } => None,
    }
}

async fn destroy(resource: &TokenResource, call: &Call, request: ApplyRequest) -> Applied {
    let ApplyRequest { prior, private, .. } = request;
    let identity = resource.identity_of(&prior);
    let gone = |diagnostics: Diagnostics| Applied {
        state: Value::Null,
        private: Vec::new(),
        identity: identity.clone(),
        diagnostics,
    };
    let Some(id) = token_id(&prior) else {
        return gone(Diagnostics::default());
    };
    if prior.attribute("value_hash").is_null() && intent::replaces(&private, &id) {
        tracing::info!(
            token = shown(&id),
            "the first apply failed; the next continues from its record"
        );
        return gone(Diagnostics::default());
    }
    let stays = |diagnostics: Diagnostics| Applied {
        state: prior.clone(),
        private: private.clone(),
        identity: identity.clone(),
        diagnostics,
    };
    let cluster = match call.access.cluster().await {
        Ok(cluster) => cluster,
        Err(absent) => return stays(absent.error().into()),
    };
    let terms = Destroy {
        delete_protected: Default::default(),
        timeout: document::timeout(&prior, Operation::Delete),
    };
    let run = run(call);
    let Some(outcome) = in_time(call, engine_destroy(cluster, &id, &Owner::Terraform, &terms, &run)).await else {
        return stays(Diagnostic::error("The destroy was interrupted", "The next one continues from there.").into());
    };
    let mut diagnostics = told(&outcome.diagnostics);
    if outcome.ready && !diagnostics.has_errors() {
        return gone(diagnostics);
    }
    if !diagnostics.has_errors() {
        diagnostics.push(Diagnostic::error(
            format!("The token {} could not be given up", shown(&id)),
            "The next destroy continues from there.",
        ));
    }
    stays(diagnostics)
}

fn run(call: &Call) -> Run {
    Run {
        cancel: call.cancel.clone(),
        progress: Arc::new(|step| match step {
            Progress::Applied(token) => tracing::info!(%token, "minted"),
            Progress::Failed(token, why) => tracing::error!(%token, why, "failed"),
            Progress::Waiting(token, why) => tracing::info!(%token, why, "waiting"),
            Progress::Ready(_) | Progress::Gone(_) | Progress::ComponentReady(_) => {}
        }),
        ..Run::default()
    }
}

fn told(problems: &EngineDiagnostics) -> Diagnostics {
    problems.iter().map(|problem| from_engine(problem, |_| None)).collect()
}
