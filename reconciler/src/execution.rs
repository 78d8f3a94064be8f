//! A planned deployment → effects, in the order of `dependsOn`, and the result for each stack and pool.
//!
//! The engine applies single stacks. This module decides when each may begin, and what its end means for the others.

use crate::deployment::{Deployment, WantedStack};
use crate::identity::{Actors, Identities};
use crate::pools::PlannedPool;
use crate::traces::traced;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use myelin_engine::apply::{Destroy, Outcome, Progress, Run, apply, destroy};
use myelin_engine::diagnostic::{Diagnostic, Diagnostics};
use myelin_engine::document::DocumentName;
use myelin_engine::fleet::{FleetOutcome, PoolId};
use myelin_engine::plan::Plan;
use myelin_engine::record::StackId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{Instrument as _, field};

/// Stacks that are applied at once. Most of that is waiting, which costs little; requests have a limit of their own.
const AT_ONCE: usize = 2_000;

/// Stacks that send their first requests at once. Each holds memory until it has ended, so of a thousand that are quickly done
/// not all begin together; one that waits for its objects makes room for the next.
const STARTING: usize = 96;

/// After so long without room the next ones begin all the same, whatever those before them do.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of each stack.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Stacks of the commit, by id.
    pub(crate) stacks: BTreeMap<StackId, Outcome>,
    /// Stacks that were not tried, and why.
    pub(crate) skipped: BTreeMap<StackId, String>,
    /// Stacks that were removed, or not.
    pub(crate) removed: BTreeMap<StackId, Outcome>,
    /// Pools of the commit.
    pub(crate) pools: BTreeMap<PoolId, FleetOutcome>,
    /// Pools that were not tried, and why.
    pub(crate) skipped_pools: BTreeMap<PoolId, String>,
    /// Pools that were removed, or not.
    pub(crate) removed_pools: BTreeMap<PoolId, FleetOutcome>,
}

impl Report {
    /// Whether everything is as the commit says.
    pub(crate) fn is_ready(&self) -> bool {
        let all = self.stacks.values().chain(self.removed.values());
        let mut pools = self.pools.values().chain(self.removed_pools.values());
        let none_skipped = self.skipped.is_empty() && self.skipped_pools.is_empty();
        none_skipped && all.into_iter().all(|outcome| outcome.ready) && pools.all(|outcome| outcome.ready)
    }

    /// Errors and warnings of all stacks.
    pub(crate) fn diagnostics(&self) -> Diagnostics {
        let mut all = Diagnostics::new();
        for outcome in self.stacks.values().chain(self.removed.values()) {
            all.extend(outcome.diagnostics.clone());
        }
        for outcome in self.pools.values().chain(self.removed_pools.values()) {
            all.extend(outcome.diagnostics.clone());
        }
        let skipped = self.skipped.iter().map(|(id, why)| (id.title(), why));
        let pools = self.skipped_pools.iter().map(|(id, why)| (format!("pool {id}"), why));
        for (title, why) in skipped.chain(pools) {
            all.push(Diagnostic::error(format!("{title} was not applied")).detail(why.clone()));
        }
        all
    }
}

/// Executes a deployment. A failed stack holds back those that depend on it and nothing else; stacks that are gone are removed
/// when everything new is ready.
pub(crate) async fn execute(acting: &Identities, deployment: &Deployment, run: &Run) -> Report {
    let mut report = Report::default();
    let actors = &Actors::new(acting, run);
    let stacks = deployment.plans.iter().map(|(stack, plan)| Step::Stack(stack, plan));
    let mut waiting: Vec<Step<'_>> = deployment.pools.planned.iter().map(Step::Pool).chain(stacks).collect();
    let mut done: BTreeSet<&DocumentName> = BTreeSet::new();
    let mut failed: BTreeSet<&DocumentName> = BTreeSet::new();
    for (stack, problems) in &deployment.refused {
        failed.insert(&stack.name);
        report.skipped.insert(stack.id.clone(), problems.to_string());
    }
    let mut working = FuturesUnordered::new();
    let mut room = Room::new(STARTING);
    loop {
        waiting.retain(|step| {
            let (name, after) = step.order();
            if let Some(cause) = after.iter().find(|on| failed.contains(on)) {
                failed.insert(name);
                step.skip(&mut report, format!("{cause} is not ready"));
                return false;
            }
            let free = after.iter().all(|on| done.contains(on));
            if !free || working.len() >= AT_ONCE || run.cancel.is_cancelled() {
                return true;
            }
            let Some(place) = room.take() else {
                return true;
            };
            let step = *step;
            working.push(async move {
                let ended = match step {
                    Step::Stack(stack, plan) => match actors.of(stack.account.as_ref()) {
                        Ok((cluster, run)) => {
                            let span = tracing::info_span!("stack", myelin.stack = %stack.id, error = field::Empty);
                            let run = leaving_when_it_waits(traced(run, plan, &span), &place);
                            let outcome = apply(cluster, plan, &run).instrument(span.clone()).await;
                            if !outcome.ready {
                                span.record("error", true);
                            }
                            Ended::Stack(Box::new(outcome))
                        }
                        Err(why) => Ended::Refused(why),
                    },
                    Step::Pool(pool) => {
                        place.leave();
                        Ended::Pool(Box::new(
                            deployment.pools.apply(pool, &deployment.owner, &run.cancel).await,
                        ))
                    }
                };
                place.leave();
                (step, ended)
            });
            false
        });
        let ended = tokio::select! {
            ended = working.next() => ended,
            () = room.grows() => continue,
        };
        let Some((step, ended)) = ended else {
            break;
        };
        let ready = match &ended {
            Ended::Stack(outcome) => outcome.ready,
            Ended::Pool(outcome) => outcome.ready,
            Ended::Refused(_) => false,
        };
        if ready {
            done.insert(step.order().0);
        } else {
            failed.insert(step.order().0);
        }
        match (step, ended) {
            (Step::Stack(stack, _), Ended::Stack(outcome)) => {
                report.stacks.insert(stack.id.clone(), *outcome);
            }
            (Step::Pool(pool), Ended::Pool(outcome)) => {
                report.pools.insert(pool.wanted.id(), *outcome);
            }
            (step, Ended::Refused(why)) => step.skip(&mut report, why),
            (Step::Stack(..), Ended::Pool(_)) | (Step::Pool(_), Ended::Stack(_)) => {}
        }
    }
    for step in waiting {
        step.skip(&mut report, "a newer commit or an interruption came first".to_owned());
    }
    if report.is_ready() && !run.cancel.is_cancelled() {
        for record in &deployment.gone {
            let terms = Destroy {
                delete_protected: BTreeSet::new(),
                timeout: myelin_engine::document::DEFAULT_TIMEOUT,
            };
            // By whom it was made.
            let account = deployment.changed_as.get(&record.stack.to_string());
            let account = account.and_then(|account| account.parse().ok());
            let (cluster, run) = match actors.of(account.as_ref()) {
                Ok(actor) => actor,
                Err(why) => {
                    report.skipped.insert(record.stack.clone(), why);
                    continue;
                }
            };
            let outcome = destroy(cluster, &record.stack, &deployment.owner, &terms, &run).await;
            report.removed.insert(record.stack.clone(), outcome);
        }
        // What ran on the nodes is gone before the nodes are.
        for id in deployment.pools.gone.keys() {
            let outcome = deployment.pools.remove(id, &deployment.owner, &run.cancel).await;
            report.removed_pools.insert(id.clone(), outcome);
        }
    }
    report
}

/// How many more may begin.
struct Room {
    free: usize,
    /// Nobody found a place since it grew last.
    crowded: bool,
    left: mpsc::UnboundedReceiver<()>,
    leave: mpsc::UnboundedSender<()>,
}

/// The place of one that has begun, until it waits or has ended.
#[derive(Clone)]
struct Place(Arc<(AtomicBool, mpsc::UnboundedSender<()>)>);

impl Room {
    fn new(free: usize) -> Self {
        let (leave, left) = mpsc::unbounded_channel();
        Self {
            free,
            crowded: false,
            left,
            leave,
        }
    }

    fn take(&mut self) -> Option<Place> {
        while self.left.try_recv().is_ok() {
            self.free += 1;
        }
        self.crowded = self.free == 0;
        self.free = self.free.checked_sub(1)?;
        Some(Place(Arc::new((AtomicBool::new(true), self.leave.clone()))))
    }

    /// Returns when there is more room than before; pends while nobody asks for any.
    async fn grows(&mut self) {
        if !self.crowded {
            return std::future::pending().await;
        }
        let late = tokio::time::timeout(PATIENCE, self.left.recv()).await.is_err();
        self.free += if late { STARTING } else { 1 };
        self.crowded = false;
    }
}

impl Place {
    fn leave(&self) {
        if self.0.0.swap(false, Ordering::Relaxed) {
            // There is no receiver any more when everything is over.
            let _ = self.0.1.send(());
        }
    }
}

/// A run that gives its place to another as soon as it only waits for an object.
fn leaving_when_it_waits(run: Run, place: &Place) -> Run {
    let (place, tell) = (place.clone(), Arc::clone(&run.progress));
    Run {
        progress: Arc::new(move |step| {
            if matches!(step, Progress::Waiting(..)) {
                place.leave();
            }
            tell(step);
        }),
        ..run
    }
}

/// One document that is brought about.
#[derive(Clone, Copy)]
enum Step<'a> {
    Stack(&'a WantedStack, &'a Plan),
    Pool(&'a PlannedPool),
}

/// What came of it.
enum Ended {
    Stack(Box<Outcome>),
    Pool(Box<FleetOutcome>),
    /// Nobody may act for it.
    Refused(String),
}

impl<'a> Step<'a> {
    /// Its name, and what it comes after.
    fn order(self) -> (&'a DocumentName, &'a BTreeSet<DocumentName>) {
        match self {
            Self::Stack(stack, _) => (&stack.name, &stack.after),
            Self::Pool(pool) => (&pool.wanted.name, &pool.wanted.after),
        }
    }

    fn skip(self, report: &mut Report, why: String) {
        match self {
            Self::Stack(stack, _) => {
                report.skipped.insert(stack.id.clone(), why);
            }
            Self::Pool(pool) => {
                report.skipped_pools.insert(pool.wanted.id(), why);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn whoever_waits_or_has_ended_makes_room_once_and_nobody_waits_for_ever() {
        let mut room = Room::new(2);
        let first = room.take().unwrap();
        let second = room.take().unwrap();
        assert!(room.take().is_none());
        first.leave();
        first.leave();
        room.grows().await;
        let _third = room.take().unwrap();
        assert!(room.take().is_none(), "one has left, once");
        second.leave();
        let _fourth = room.take().expect("who has left is seen without waiting");
        assert!(room.take().is_none());
        let before = tokio::time::Instant::now();
        room.grows().await;
        assert!(before.elapsed() >= PATIENCE, "nobody leaves");
        assert!(room.take().is_some());
        assert!(room.grows().now_or_never().is_none(), "nobody asks for room");
    }
}
