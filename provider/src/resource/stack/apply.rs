//! Applies a stack: create, update, destroy. The answer is true on every exit.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use myelin_engine::apply::{Destroy, Fate, Outcome, Progress, Run, apply as engine_apply, destroy as engine_destroy};
use myelin_engine::cluster::Cluster;
use myelin_engine::diagnostic::Diagnostics as EngineDiagnostics;
use myelin_engine::document::{DEFAULT_TIMEOUT, ProtectedKind, parse_duration};
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::{DryRun, observe, token_facts};
use myelin_engine::plan::plan as engine_plan;
use myelin_engine::record::{Owner, StackId};

use crate::diagnostic::{Diagnostic, Diagnostics, from_engine};
use crate::resource::provisioning_token::state::shown;
use crate::resource::{Applied, ApplyRequest, Call, Resource as _};
use crate::value::Value;

use super::desired::{Wanted, wanted};
use super::document::{Operation, timeout_of};
use super::intent::Intent;
use super::moved::is_moved;
use super::state::{objects_after, texts, with};
use super::{StackResource, stack_id};

pub(super) async fn apply(resource: &StackResource, call: &Call, request: ApplyRequest) -> Applied {
    if request.planned.is_null() {
        destroy(resource, call, request).await
    } else {
        deploy(resource, call, request).await
    }
}

async fn deploy(resource: &StackResource, call: &Call, request: ApplyRequest) -> Applied {
    let ApplyRequest {
        prior,
        planned,
        config,
        private,
    } = request;
    // The identity comes before the first step that can fail, and is in every answer.
    let identity = resource.identity_of(&planned);
    let answer = |state: Value, diagnostics: Diagnostics| Applied {
        state,
        private: private.clone(),
        identity: identity.clone(),
        diagnostics,
    };
    let operation = if prior.is_null() || is_moved(&prior) {
        Operation::Create
    } else {
        Operation::Update
    };
    let wanted = match wanted(resource.schema(), &config, operation) {
        Ok(wanted) => wanted,
        Err(problems) => return answer(prior, problems),
    };
    let cluster = match call.access.cluster().await {
        Ok(cluster) => cluster,
        Err(absent) => return answer(prior, absent.error().into()),
    };
    let Wanted {
        desired,
        objects,
        revision,
        warnings,
    } = wanted;
    let (id, has_tokens) = (desired.stack.clone(), !desired.tokens.is_empty());
    let desired = Arc::new(desired);
    let observed = tokio::select! {
        observed = observe(cluster.as_ref(), &desired, DryRun::Decisions) => observed,
        () = call.cancel.cancelled() => Err(EngineDiagnostics::from(interrupted())),
    };
    let observation = match observed {
        Ok(observation) => observation,
        Err(problems) => return answer(prior, told(&problems)),
    };
    if let Some(Owner::Git(_)) = observation.owner() {
        // As planned: nothing is changed, and the state stays as it was.
        return answer(planned.known_or_null(), warnings);
    }
    let plan = engine_plan(desired, Arc::new(observation), Owner::Terraform);
    let sent: Sent = Arc::default();
    let run = run(call, &sent);
    let outcome = in_time(call, engine_apply(Arc::clone(&cluster), &plan, &run))
        .await
        .unwrap_or_else(|| given_up(&sent));
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let mut diagnostics = warnings;
    diagnostics.extend(told(&outcome.diagnostics));
    if outcome.ready && !diagnostics.has_errors() {
        let tokens = if has_tokens {
            tokens_status(&*cluster, &id, &mut diagnostics).await
        } else {
            shown(&BTreeMap::new())
        };
        let state = with(
            &planned,
            [
                ("objects", objects),
                ("revision", revision),
                ("ready", Value::Bool(true)),
                ("components_status", texts(outcome.components)),
                ("tokens_status", tokens),
            ],
        );
        return answer(state, diagnostics);
    }
    if outcome.rolled_back && !prior.is_null() {
        // The cluster is as it was before this apply, and so is the state.
        return answer(prior, diagnostics);
    }
    if !diagnostics.has_errors() {
        diagnostics.push(not_ready(&outcome));
    }
    answer(unfinished(&prior, &planned, &objects, &outcome, &sent), diagnostics)
}

/// What became of the tokens. That it cannot be read back is a warning: the next refresh shows it.
async fn tokens_status(cluster: &dyn Cluster, id: &StackId, diagnostics: &mut Diagnostics) -> Value {
    match token_facts(cluster, id).await {
        Ok(known) => shown(&known),
        Err(problems) => {
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            diagnostics.push(Diagnostic::warning(
                "The tokens could not be read back",
                format!(
                    "{}\n\nEverything is applied; the next refresh shows their times.",
                    said.join("\n\n")
                ),
            ));
            shown(&BTreeMap::new())
        }
    }
}

/// How long an interrupted apply may take to end by itself. The engine gives its last requests five seconds. A user who
/// pressed Ctrl-C soon presses it again, and then nothing true is written down at all.
const PATIENCE: Duration = Duration::from_secs(8);

/// Waits for the engine; not forever once the call is cancelled. None leaves the last requests without an answer, which is
/// what a killed process does too: the record was written before them, so the next apply finds out.
async fn in_time(call: &Call, work: impl Future<Output = Outcome>) -> Option<Outcome> {
    tokio::select! {
        outcome = work => Some(outcome),
        () = async { call.cancel.cancelled().await; tokio::time::sleep(PATIENCE).await } => None,
    }
}

/// What is known of an apply that was abandoned: what the cluster had confirmed until then.
fn given_up(sent: &Sent) -> Outcome {
    let sent = sent.lock().unwrap_or_else(PoisonError::into_inner);
    let waiting = |key: &ObjectKey| (key.clone(), Fate::Waiting("interrupted".to_owned()));
    Outcome {
        objects: sent.iter().map(waiting).collect(),
        recorded: true,
        cancelled: true,
        ..Outcome::default()
    }
}

/// The state after an apply that did not finish.
fn unfinished(prior: &Value, planned: &Value, wanted: &Value, outcome: &Outcome, sent: &BTreeSet<ObjectKey>) -> Value {
    if prior.is_null() && !outcome.recorded {
        // Nothing of the stack is in the cluster, so there is nothing to keep track of.
        return Value::Null;
    }
    let base = if outcome.recorded || prior.is_null() {
        planned
    } else {
        prior
    };
    with(
        &base.known_or_null(),
        [
            ("objects", objects_after(prior, wanted, outcome, sent)),
            // Null until the first success: this distinguishes a failed first apply from a failed update.
            ("revision", prior.attribute("revision").clone()),
            ("ready", Value::Bool(false)),
            ("components_status", texts(outcome.components.clone())),
            // The next refresh shows what came of them.
            ("tokens_status", prior.attribute("tokens_status").clone()),
        ],
    )
}

fn not_ready(outcome: &Outcome) -> Diagnostic {
    if outcome.cancelled {
        return Diagnostic::error(
            "The apply was interrupted",
            "What was applied so far stays, and the next apply continues from there.",
        );
    }
    let waiting: Vec<String> = outcome
        .components
        .iter()
        .filter(|(_, status)| *status != "ready")
        .map(|(name, status)| format!("{name}: {status}"))
        .collect();
    Diagnostic::error("The stack is not ready", waiting.join("\n"))
}

async fn destroy(resource: &StackResource, call: &Call, request: ApplyRequest) -> Applied {
    let ApplyRequest { prior, private, .. } = request;
    let identity = resource.identity_of(&prior);
    let gone = |diagnostics: Diagnostics| Applied {
        state: Value::Null,
        private: Vec::new(),
        identity: identity.clone(),
        diagnostics,
    };
    let Some(id) = stack_id(&prior) else {
        let stays = is_moved(&prior).then(|| {
            Diagnostic::warning(
                "A moved object stays in the cluster",
                "It was moved here from another resource, and no apply has taken it over: nothing was deleted.",
            )
        });
        return gone(stays.into_iter().collect());
    };
    if is_takeover(&private, &prior, &id) {
        tracing::info!(stack = %id, "the first apply failed; its objects are taken over instead of destroyed");
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
    let (terms, run) = (terms(&prior), run(call, &Sent::default()));
    let destroyed = in_time(call, engine_destroy(cluster, &id, &Owner::Terraform, &terms, &run)).await;
    let outcome = destroyed.unwrap_or_else(|| given_up(&Sent::default()));
    let mut diagnostics = told(&outcome.diagnostics);
    if outcome.ready && !diagnostics.has_errors() {
        return gone(diagnostics);
    }
    if !diagnostics.has_errors() {
        diagnostics.push(not_ready(&outcome));
    }
    stays(diagnostics)
}

/// Whether this destroy is the first half of replacing a stack by itself, after a first apply that never succeeded.
fn is_takeover(private: &[u8], prior: &Value, id: &StackId) -> bool {
    prior.attribute("revision").is_null()
        && prior.attribute("ready").as_bool() != Some(true)
        && Intent::from_private(private).is_some_and(|intent| intent.replaces(id))
}

fn terms(prior: &Value) -> Destroy {
    let named = prior.attribute("delete_protected").as_list().unwrap_or_default();
    let kinds = named.iter().filter_map(|kind| {
        ProtectedKind::ALL
            .into_iter()
            .find(|protected| Some(protected.kind()) == kind.as_str())
    });
    let timeout = timeout_of(prior, Operation::Delete).and_then(|text| parse_duration(text).ok());
    Destroy {
        delete_protected: kinds.collect(),
        timeout: timeout.unwrap_or(DEFAULT_TIMEOUT),
    }
}

/// Objects that the cluster has confirmed.
type Sent = Arc<Mutex<BTreeSet<ObjectKey>>>;

fn run(call: &Call, sent: &Sent) -> Run {
    let sent = sent.clone();
    Run {
        cancel: call.cancel.clone(),
        progress: Arc::new(move |step| match step {
            Progress::Applied(object) => {
                tracing::info!(%object, "applied");
                sent.lock().unwrap_or_else(PoisonError::into_inner).insert(object);
            }
            Progress::Ready(object) => tracing::info!(%object, "ready"),
            Progress::Waiting(object, why) => tracing::info!(%object, why, "waiting"),
            Progress::Failed(object, why) => tracing::error!(%object, why, "failed"),
            Progress::Gone(object) => tracing::info!(%object, "gone"),
            Progress::ComponentReady(component) => tracing::info!(component, "component ready"),
        }),
        ..Run::default()
    }
}

fn interrupted() -> myelin_engine::diagnostic::Diagnostic {
    myelin_engine::diagnostic::Diagnostic::error("The apply was interrupted").detail("Nothing was changed.")
}

fn told(problems: &EngineDiagnostics) -> Diagnostics {
    problems.iter().map(|problem| from_engine(problem, |_| None)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(entries: &[(&str, Value)]) -> Value {
        Value::Map(
            entries
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        )
    }

    #[test]
    fn only_the_replacement_of_a_failed_first_apply_by_itself_is_a_takeover() {
        let id: StackId = "ns/s".parse().expect("a stack");
        let state = |revision: Value, ready| object(&[("revision", revision), ("ready", Value::Bool(ready))]);
        let replace = Intent::Deploy(Some(id.clone())).to_private();
        let elsewhere = Intent::Deploy("ns/t".parse().ok()).to_private();
        let failed = state(Value::Null, false);
        assert!(is_takeover(&replace, &failed, &id));
        assert!(
            !is_takeover(&Intent::Destroy.to_private(), &failed, &id),
            "a destroy destroys"
        );
        assert!(
            !is_takeover(&elsewhere, &failed, &id),
            "another stack takes nothing over"
        );
        assert!(!is_takeover(b"", &failed, &id));
        assert!(
            !is_takeover(&replace, &state(Value::string("r"), false), &id),
            "a failed update was healthy once"
        );
        assert!(
            !is_takeover(&replace, &state(Value::string("r"), true), &id),
            "-replace of a healthy stack replaces"
        );
    }
}
