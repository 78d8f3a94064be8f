//! Executes a plan in the order of the graph, with gates driven by watches. The outcome is true on every exit.
//!
//! [`apply`] shows the phases of one apply: claim the stack (namespace, then the record, before any other effect),
//! execute the graph, prune when everything new is healthy, write down the result. `run` is the executor, `order`
//! tracks what waits for what, `step` handles one object, `gates` waits for health, `ledger` keeps the record, `remove`
//! deletes one object, `retreat` orders the deletion of many, and `destroy` removes a stack.

mod custom;
mod destroy;
mod gates;
mod jobs;
mod ledger;
mod making;
mod mint;
mod order;
mod outcome;
mod pods;
mod prune;
mod reclaim;
mod remove;
mod retreat;
mod rollback;
mod run;
mod step;
mod takeover;
mod token;
mod verify;
mod withdraw;

pub use destroy::{Destroy, destroy};
pub use gates::{Gates, Passage, Stuck, Tell, Until};
pub use outcome::{Fate, Outcome, Progress};
pub use token::apply_token;

use crate::cluster::{Cluster, ClusterError, Mode, Target, kinds, retrying};
use crate::diagnostic::Diagnostic;
use crate::document::OnFailure;
use crate::gate::{Patience, Settings};
use crate::mask::hex;
use crate::object::ObjectKey;
use crate::observe::{is_deleting, uid};
use crate::plan::{Action, Plan};
use futures::future::BoxFuture;
use ledger::Ledger;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How to run an apply or destroy.
#[derive(Clone)]
pub struct Run {
    /// Cancelled to stop: nothing new starts, waits end at once, requests in flight get a short grace period.
    pub cancel: CancellationToken,
    /// Called for every step, from any thread. Must not block.
    pub progress: Arc<dyn Fn(Progress) + Send + Sync>,
    /// Limit of requests in flight.
    pub in_flight: usize,
    /// How long the gates observe before they trust.
    pub settings: Settings,
    /// How long a failure may last before waiting ends.
    pub patience: Patience,
    /// Watches that several applies share; with None, each apply has its own.
    pub gates: Option<Arc<Gates>>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            cancel: CancellationToken::new(),
            progress: Arc::new(|_| {}),
            in_flight: 32,
            settings: Settings::default(),
            patience: Patience::default(),
            gates: None,
        }
    }
}

/// Executes a plan. Never fails as a whole: what happened is in the outcome, errors among its diagnostics.
pub fn apply<'a>(cluster: Arc<dyn Cluster>, plan: &'a Plan, run: &'a Run) -> BoxFuture<'a, Outcome> {
    // Boxed, so that callers need not prove its inner borrows `Send`.
    Box::pin(execute(cluster, plan, run))
}

async fn execute(cluster: Arc<dyn Cluster>, plan: &Plan, run: &Run) -> Outcome {
    if let Some(refused) = refuse(plan) {
        return refused;
    }
    let (outcome, in_charge) = forward(Arc::clone(&cluster), plan, run).await;
    let failed = !outcome.ready && !outcome.cancelled && outcome.recorded && in_charge;
    if failed && plan.desired.policy.on_failure == OnFailure::Rollback {
        return rollback::roll_back(cluster, plan, run, outcome).await;
    }
    outcome
}

/// Executes one plan, and tells whether this run was still in charge at the end.
async fn forward(cluster: Arc<dyn Cluster>, plan: &Plan, run: &Run) -> (Outcome, bool) {
    if let Some(refused) = refuse(plan) {
        return (refused, false);
    }
    if plan.is_empty()
        && plan.observation.stored.as_ref().is_some_and(|s| {
            s.record.ready && s.record.journal.is_empty() && keeps_good(plan, s.record.good.as_deref())
        })
    {
        return (nothing_to_do(plan), true);
    }
    let deadline = Instant::now() + plan.desired.policy.timeout;
    // The namespace contains the record, so only the namespace is created before it. It carries the stack's label, so
    // that it is recognized as ours without a record.
    let shared;
    let plan = match make_namespace(&*cluster, plan, run, deadline).await {
        Ok(Founded::AsPlanned) => plan,
        Ok(Founded::ByAnother(key)) => {
            shared = uses_namespace(plan, &key);
            &shared
        }
        Err(why) => return (Outcome::refused(why), false),
    };
    let ledger = Ledger::of_plan(plan, rand::random(), &hex(&rand::random::<[u8; 8]>()));
    let mut executor = run::Executor::new(Arc::clone(&cluster), plan, run, ledger, deadline);
    executor.outcome.diagnostics.extend(plan.diagnostics.clone());
    executor.write().await;
    if !executor.ledger.is_written() || executor.is_stopped() {
        executor.outcome.superseded = executor.is_superseded();
        return (executor.outcome, false);
    }
    executor.execute().await;
    if executor.outcome.ready {
        prune::prune(&*cluster, plan, run, deadline, &mut executor).await;
        executor.close_tokens().await;
    }
    let components = executor.outcome.components.clone();
    let ready = executor.outcome.ready && !executor.outcome.diagnostics.has_errors();
    if ready {
        keep_good(plan, &mut executor);
        let verified = crate::plan::checks(executor.ledger.key(), &plan.desired);
        executor.ledger.keep_verified(verified);
    }
    executor.ledger.conclude(&components, ready);
    if !executor.is_superseded() {
        executor.write().await;
    }
    let superseded = executor.is_superseded();
    let mut outcome = executor.outcome;
    outcome.recorded = true;
    outcome.superseded = superseded;
    if outcome.diagnostics.has_errors() {
        outcome.ready = false;
    }
    (outcome, !superseded)
}

/// Whether the record already holds the last good state as the stack wants it kept.
fn keeps_good(plan: &Plan, kept: Option<&[u8]>) -> bool {
    match plan.desired.policy.on_failure {
        _ if plan.desired.going_back => true,
        OnFailure::Stop => kept.is_none(),
        // If the state is too large to keep, that was reported when it became good.
        OnFailure::Rollback => rollback::good(&plan.desired)
            .pack()
            .map_or(true, |now| kept == Some(&*now)),
    }
}

/// Everything is ready: stores this as the last good state.
fn keep_good(plan: &Plan, executor: &mut run::Executor<'_>) {
    if plan.desired.going_back {
        return;
    }
    if plan.desired.policy.on_failure == OnFailure::Stop {
        executor.ledger.keep_good(None);
        return;
    }
    match rollback::good(&plan.desired).pack() {
        Ok(packed) => executor.ledger.keep_good(Some(packed.into())),
        Err(why) => {
            executor.ledger.keep_good(None);
            executor.outcome.tell(
                Diagnostic::warning(format!(
                    "stack {} cannot be rolled back to this state",
                    plan.desired.stack
                ))
                .detail(format!(
                    "its manifests do not fit into the record: {why}; divide the stack"
                )),
            );
        }
    }
}

/// Refuses plans that must not be executed.
fn refuse(plan: &Plan) -> Option<Outcome> {
    let recorded = plan.observation.stored.is_some();
    let why = if plan.diagnostics.has_errors() {
        plan.diagnostics.clone()
    } else if !plan.observation.reached {
        Diagnostic::error("a plan that was made without a cluster cannot be applied")
            .detail("plan again with one")
            .into()
    } else if let Some(change) = plan.changes.iter().find(|c| c.action == Action::Unknown) {
        Diagnostic::error(format!("what {} will be is not known", change.key.human()))
            .detail("a value that it needs is still unknown at apply")
            .into()
    } else {
        return None;
    };
    Some(Outcome {
        recorded,
        ..Outcome::refused(why)
    })
}

/// The outcome if everything is as recorded, and was ready then.
fn nothing_to_do(plan: &Plan) -> Outcome {
    let components = plan
        .observation
        .stored
        .as_ref()
        .map(|s| s.record.components.clone())
        .unwrap_or_default();
    Outcome {
        objects: plan.changes.iter().map(|c| (c.key.clone(), Fate::Unchanged)).collect(),
        components,
        ready: true,
        recorded: true,
        diagnostics: plan.diagnostics.clone(),
        cancelled: false,
        superseded: false,
        rolled_back: false,
    }
}

/// Who created the stack's namespace.
enum Founded {
    /// As the plan says: it existed, or is created now.
    AsPlanned,
    /// Another stack's apply, or a user, between plan and apply.
    ByAnother(ObjectKey),
}

/// Creates the stack's namespace if it is absent. It is a create, not an apply: if several stacks find it absent at the
/// same time, one creates it and the others only use it. A namespace that is being deleted is waited for.
async fn make_namespace(
    cluster: &dyn Cluster,
    plan: &Plan,
    run: &Run,
    deadline: Instant,
) -> Result<Founded, Diagnostic> {
    let key = ObjectKey::new("", "Namespace", "", &*plan.desired.stack.namespace);
    let old = plan.observation.live.get(&key);
    let missing = plan.change(&key).is_some_and(|c| c.action == Action::Create) && old.is_none_or(is_deleting);
    let Some(object) = plan.desired.object(&key).filter(|_| missing) else {
        return Ok(Founded::AsPlanned);
    };
    let target = Target {
        resource: kinds::known("v1", "Namespace"),
        namespace: String::new(),
        name: key.name.clone(),
    };
    let failed = |e: ClusterError| {
        Diagnostic::error(format!("{} could not be made", key.human()))
            .detail(e.to_string())
            .object(key.clone())
    };
    if let Some(uid) = old.and_then(uid) {
        let why = match remove::gone(cluster, &target, uid, deadline, &run.cancel).await {
            remove::Removal::Gone => None,
            remove::Removal::Refused(e) => return Err(failed(e)),
            remove::Removal::Held(why) | remove::Removal::Kept(why) => Some(why),
            remove::Removal::Cancelled => Some("cancelled".to_owned()),
        };
        if let Some(why) = why {
            let summary = format!("the old {} does not go", key.human());
            return Err(Diagnostic::error(summary).detail(why).object(key));
        }
    }
    let sent = retrying(&run.cancel, || cluster.create(&target, &object.value, Mode::Real)).await;
    match sent {
        Ok(_) => Ok(Founded::AsPlanned),
        Err(e) if e.is_already_exists() => {
            // An earlier attempt of ours may have taken effect without an answer; its label shows that.
            let live = retrying(&run.cancel, || cluster.get(&target)).await.map_err(failed)?;
            let set = live.as_ref().and_then(crate::observe::set_of);
            if !object.implicit || set == Some(plan.desired.stack.apply_set().as_str()) {
                return Ok(Founded::AsPlanned);
            }
            Ok(Founded::ByAnother(key))
        }
        Err(e) => Err(failed(e)),
    }
}

/// The plan of a stack whose namespace was created by somebody else.
fn uses_namespace(plan: &Plan, key: &ObjectKey) -> Plan {
    let mut plan = plan.clone();
    for change in plan.changes.iter_mut().filter(|change| change.key == *key) {
        change.action = Action::Unchanged;
        "another made it meanwhile, and the stack only uses it".clone_into(&mut change.reason);
    }
    plan
}
