//! The executor: starts what may start, waits for the gates, and ends when everything has a result.
//!
//! One loop owns all state; requests and waits run as tasks and report to it. `order` decides what an object waits for,
//! `step` how it is sent, `gates` whether it is ready, and `ending` when the run is over and with what result.

mod ending;
mod others;
mod tokens;

use super::Run;
use super::gates::{Gates, Passage, Stuck, Tell, Until};
use super::ledger::Ledger;
use super::mint::{Failure, Judged};
use super::order::{Condition, Consequence, Order};
use super::outcome::{Fate, Outcome, Progress};
use super::step::{Step, Stepped};
use crate::cluster::{Cluster, ClusterError, Resource};
use crate::desired::{DesiredObject, Redaction};
use crate::gate::{State, needs_watching};
use crate::graph::BASE;
use crate::object::ObjectKey;
use crate::observe::Manners;
use crate::plan::{Action, Change, Plan};
use crate::record::RecordError;
use crate::token::{Revoke, Stored};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::Instrument as _;

/// Grace period for requests in flight after a cancellation.
const GRACE: Duration = Duration::from_secs(5);

/// Minimum time between two writes of confirmed objects to the record before the end.
const CHECKPOINT: Duration = Duration::from_secs(2);

/// The state of an object during the run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Status {
    Pending,
    Applying,
    /// In the cluster, but its gate has not opened.
    Applied,
    Ready,
    Ended(Fate),
}

/// What a task reports.
enum Done {
    /// A request came back.
    Stepped(ObjectKey, Box<Stepped>),
    /// The wait for an object's gate ended.
    Passed(ObjectKey, Box<Passage>),
    /// The object of somebody else is ready, or why it is not.
    Required(usize, Result<(), String>),
    /// The checks of a component ended.
    Verified(String, Result<(), String>),
    /// What to do about a token is decided.
    Judged(ObjectKey, Box<Judged>),
    /// A mint ended.
    Minted(ObjectKey, Box<Result<(Stored, Option<Revoke>), Failure>>),
}

/// One run of a plan.
pub(super) struct Executor<'a> {
    cluster: Arc<dyn Cluster>,
    plan: &'a Plan,
    run: &'a Run,
    pub(super) ledger: Ledger,
    objects: HashMap<&'a ObjectKey, (&'a DesiredObject, &'a Change)>,
    status: BTreeMap<ObjectKey, Status>,
    order: Order,
    gates: Arc<Gates>,
    /// Secrets to remove from what others say.
    redaction: Arc<Redaction>,
    /// Objects with a gate, and their resources.
    gated: BTreeMap<ObjectKey, Resource>,
    /// The gates' last reasons for objects that are not ready.
    reasons: BTreeMap<ObjectKey, String>,
    /// Components whose checks failed, and why.
    unverified: BTreeMap<String, String>,
    tasks: JoinSet<Done>,
    running: HashMap<tokio::task::Id, ObjectKey>,
    permits: Arc<Semaphore>,
    started: BTreeMap<String, Instant>,
    deadline: Instant,
    checkpoint: Instant,
    pub(super) outcome: Outcome,
    /// The deadline has passed, and the waits that it ends have ended.
    late: bool,
    /// Everything is ready, but must stay so for a while before it is trusted.
    steadying: bool,
    stopped: bool,
    superseded: bool,
}

impl<'a> Executor<'a> {
    /// Prepares a run. `applied` are objects that this run has already created: the namespace, before the record.
    pub(super) fn new(
        cluster: Arc<dyn Cluster>,
        plan: &'a Plan,
        run: &'a Run,
        ledger: Ledger,
        deadline: Instant,
    ) -> Self {
        let changes: HashMap<&ObjectKey, &Change> = plan.changes.iter().map(|c| (&c.key, c)).collect();
        let objects: HashMap<_, _> = plan
            .desired
            .objects
            .iter()
            .filter_map(|o| Some((&o.key, (o, *changes.get(&o.key)?))))
            .collect();
        let redaction = Arc::new(Redaction::of(&plan.desired));
        let (progress, words) = (Arc::clone(&run.progress), Arc::clone(&redaction));
        let tell: Tell = Arc::new(move |key, verdict| {
            if verdict.state != State::Current {
                progress(Progress::Waiting(key.clone(), words.redact(&verdict.line(key))));
            }
        });
        let gates = match &run.gates {
            Some(shared) => shared.beside(tell),
            None => Gates::new(Arc::clone(&cluster), run.settings, run.patience, tell),
        };
        Self {
            gates: Arc::new(gates),
            redaction,
            gated: BTreeMap::new(),
            reasons: BTreeMap::new(),
            unverified: BTreeMap::new(),
            cluster,
            plan,
            run,
            ledger,
            status: objects
                .keys()
                .copied()
                .chain(plan.desired.tokens.iter().map(|t| &t.key))
                .map(|k| (k.clone(), Status::Pending))
                .collect(),
            objects,
            order: Order::of(&plan.desired),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            permits: Arc::new(Semaphore::new(run.in_flight.max(1))),
            started: BTreeMap::new(),
            deadline,
            checkpoint: Instant::now(),
            outcome: Outcome::default(),
            late: false,
            steadying: false,
            stopped: false,
            superseded: false,
        }
    }

    /// Runs to the end: everything ready and steady, or failed, timed out, or cancelled.
    pub(super) async fn execute(&mut self) {
        self.prepare_gates();
        let begin = self.order.begin();
        self.follow(begin).await;
        loop {
            if self.stopped || self.is_over() {
                break;
            }
            let (cancel, deadline) = (self.run.cancel.clone(), self.deadline);
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    self.outcome.cancelled = true;
                    break;
                }
                Some(done) = self.tasks.join_next_with_id() => self.done(done).await,
                () = tokio::time::sleep_until(deadline), if !self.late => self.time_out(),
                // What does not return by now is reported as uncertain.
                () = tokio::time::sleep_until(deadline + GRACE), if self.late => {
                    self.stopped = true;
                    break;
                }
            }
        }
        self.drain().await;
        self.settle_fates();
    }

    /// Opens the watches before anything is applied, so that nothing happens unseen.
    fn prepare_gates(&mut self) {
        let observation = &self.plan.observation;
        for object in &self.plan.desired.objects {
            let kind = (object.api_version.clone(), object.key.kind.clone());
            if let Some(resource) = observation.resources.get(&kind).filter(|_| needs_watching(&object.key)) {
                self.gates.prepare(&object.key, resource);
            }
        }
        for (i, (_, requirement)) in self.plan.desired.requires.iter().enumerate() {
            self.require(i, requirement);
        }
    }

    /// Follows every consequence to its end.
    async fn follow(&mut self, consequences: Vec<Consequence>) {
        let mut queue: std::collections::VecDeque<Consequence> = consequences.into();
        while let Some(consequence) = queue.pop_front() {
            match consequence {
                Consequence::Start(key) => queue.extend(self.start(&key)),
                Consequence::Verify(name) => self.start_checks(&name),
                Consequence::Complete(name) if name == BASE => {}
                Consequence::Complete(name) => {
                    (self.run.progress)(Progress::ComponentReady(name.clone()));
                    self.save().await;
                }
                Consequence::Skip(key, why) => self.end(&key, Fate::Skipped(why)),
                Consequence::Broken(..) => {}
            }
        }
    }

    /// Starts one object; one that needs no request is done at once.
    fn start(&mut self, key: &ObjectKey) -> Vec<Consequence> {
        if let Some(wanted) = self.plan.desired.token(key) {
            return self.start_token(wanted);
        }
        let Some((object, change)) = self.objects.get(key).copied() else {
            return Vec::new();
        };
        if let Some(component) = &object.component {
            self.started.entry(component.clone()).or_insert_with(Instant::now);
        }
        if change.action == Action::Unchanged {
            let seen = &self.plan.observation;
            let resource = seen.resources.get(&(object.api_version.clone(), key.kind.clone()));
            return self.applied(key, seen.live.get(key), resource);
        }
        self.status.insert(key.clone(), Status::Applying);
        let step = self.step(object, change);
        let permits = Arc::clone(&self.permits);
        let id = key.clone();
        let stepping = async move {
            let _permit = permits.acquire_owned().await;
            Done::Stepped(id, Box::new(step.run().await))
        };
        let handle = self.tasks.spawn(stepping.in_current_span());
        self.running.insert(handle.id(), key.clone());
        Vec::new()
    }

    fn step(&self, object: &DesiredObject, change: &Change) -> Step {
        let seen = &self.plan.observation;
        let entry = seen.entry(&object.key);
        let body = seen
            .wanted
            .get(&object.key)
            .map_or_else(|| object.value.clone(), |w| w.body.clone());
        Step {
            cluster: Arc::clone(&self.cluster),
            key: object.key.clone(),
            api_version: object.api_version.clone(),
            action: change.action,
            live: seen.live.get(&object.key).cloned(),
            body,
            resource: seen
                .resources
                .get(&(object.api_version.clone(), object.key.kind.clone()))
                .cloned(),
            manners: Manners {
                policy: self.plan.desired.policy.conflicts,
                adopting: change.action == Action::Adopt || entry.is_none_or(|e| e.uid.is_none()),
                owned: entry.map(|e| e.owned.clone()).unwrap_or_default(),
                key: self.ledger.key().clone(),
            },
            redaction: Redaction::of_object(&object.value, &object.write_only),
            set: self.plan.desired.stack.apply_set(),
            adopt: self.plan.desired.policy.adopt,
            wait_for_run: !self.plan.desired.policy.replace.contains(&object.key.kind),
            deadline: self.deadline_of(object.component.as_deref()),
            cancel: self.run.cancel.clone(),
        }
    }

    /// Handles the report of a task.
    async fn done(&mut self, done: Result<(tokio::task::Id, Done), tokio::task::JoinError>) {
        let done = match done {
            Ok((id, done)) => {
                self.running.remove(&id);
                done
            }
            Err(e) => {
                // A panic in a step is a bug; the object's fate is unknown.
                if let Some(key) = self.running.remove(&e.id()) {
                    self.end(&key, Fate::Uncertain("an internal error ended the request".into()));
                    let fallen = self.order.failed(&key, false);
                    self.follow(fallen).await;
                }
                return;
            }
        };
        match done {
            Done::Passed(key, passage) => {
                let consequences = self.passed(&key, &passage);
                self.follow(consequences).await;
            }
            Done::Judged(key, judged) => {
                let consequences = self.judged(&key, *judged).await;
                self.follow(consequences).await;
            }
            Done::Minted(key, result) => {
                let consequences = self.minted(&key, *result).await;
                self.follow(consequences).await;
            }
            Done::Required(index, ready) => {
                let consequences = self.required(index, ready);
                self.follow(consequences).await;
            }
            Done::Verified(name, result) => {
                let consequences = self.verified(&name, result);
                self.follow(consequences).await;
            }
            Done::Stepped(key, stepped) => {
                let consequences = match *stepped {
                    Stepped::Applied(live, left, resource) => {
                        self.confirm(&key, &live, left);
                        self.applied(&key, Some(&live), Some(&resource))
                    }
                    Stepped::Failed(why) => {
                        self.end(&key, Fate::Failed(why));
                        self.order.failed(&key, false)
                    }
                    Stepped::Uncertain(why) => {
                        self.end(&key, Fate::Uncertain(why));
                        self.order.failed(&key, false)
                    }
                };
                self.follow(consequences).await;
            }
        }
    }

    fn confirm(&mut self, key: &ObjectKey, live: &Value, more: Vec<String>) {
        if let Some((object, change)) = self.objects.get(key).copied() {
            let mut left = self
                .plan
                .observation
                .wanted
                .get(key)
                .map(|w| w.left.clone())
                .unwrap_or_default();
            left.extend(more);
            left.sort_unstable();
            left.dedup();
            self.ledger.confirm(object, live, &left, change.drift);
        }
    }

    /// The object is in the cluster: what waits only for that may continue, and its gate begins.
    fn applied(&mut self, key: &ObjectKey, live: Option<&Value>, resource: Option<&Resource>) -> Vec<Consequence> {
        let acted = self.status.get(key) == Some(&Status::Applying);
        self.status.insert(key.clone(), Status::Applied);
        if acted {
            (self.run.progress)(Progress::Applied(key.clone()));
        }
        let mut consequences = self.order.met(&Condition::Applied(key.clone()));
        consequences.extend(self.order.met(&Condition::Tried(key.clone())));
        match live.zip(resource).filter(|_| needs_watching(key)) {
            None => {
                self.status.insert(key.clone(), Status::Ready);
                if acted {
                    (self.run.progress)(Progress::Ready(key.clone()));
                }
                consequences.extend(self.order.met(&Condition::Ready(key.clone())));
            }
            Some((live, resource)) => {
                self.gates.applied(key, live, resource.has_status);
                self.gated.insert(key.clone(), resource.clone());
                self.wait(key, Until::Ready);
            }
        }
        consequences
    }

    /// Waits for an object's gate.
    fn wait(&mut self, key: &ObjectKey, until: Until) {
        let Some(resource) = self.gated.get(key).cloned() else {
            return;
        };
        let component = self.objects.get(key).and_then(|(o, _)| o.component.as_deref());
        let deadline = self.deadline_of(component);
        let (gates, cancel, key) = (Arc::clone(&self.gates), self.run.cancel.clone(), key.clone());
        self.tasks.spawn(async move {
            let passage = gates.pass(&key, &resource, until, None, deadline, &cancel).await;
            Done::Passed(key, Box::new(passage))
        });
    }

    /// The wait for a gate ended.
    fn passed(&mut self, key: &ObjectKey, passage: &Passage) -> Vec<Consequence> {
        let complaint = passage.complaint(key, |text| self.redaction.redact(text));
        match passage {
            Passage::Open(_) if self.status.get(key) == Some(&Status::Applied) => {
                self.status.insert(key.clone(), Status::Ready);
                (self.run.progress)(Progress::Ready(key.clone()));
                self.order.met(&Condition::Ready(key.clone()))
            }
            Passage::Open(_) => Vec::new(),
            Passage::Stuck {
                how: Stuck::Cancelled, ..
            } => {
                self.reasons.extend(complaint.map(|why| (key.clone(), why)));
                Vec::new()
            }
            Passage::Stuck { .. } => {
                self.end(key, Fate::Failed(complaint.unwrap_or_default()));
                self.order.failed(key, true)
            }
        }
    }

    fn end(&mut self, key: &ObjectKey, fate: Fate) {
        if let Fate::Failed(why) | Fate::Uncertain(why) = &fate {
            (self.run.progress)(Progress::Failed(key.clone(), why.clone()));
        }
        self.status.insert(key.clone(), Status::Ended(fate));
    }

    fn deadline_of(&self, component: Option<&str>) -> Instant {
        let own = component.and_then(|name| {
            let limit = self.plan.desired.components.get(name)?.timeout?;
            Some(*self.started.get(name)? + limit)
        });
        own.map_or(self.deadline, |own| own.min(self.deadline))
    }

    /// Writes the record if there is something to write and enough time has passed.
    async fn save(&mut self) {
        if self.ledger.is_dirty() && self.checkpoint.elapsed() >= CHECKPOINT {
            self.write().await;
        }
    }

    /// Writes the record now. If another run has superseded this one, this run stops.
    pub(super) async fn write(&mut self) {
        self.checkpoint = Instant::now();
        // After a cancellation, do not wait for a server that hangs; the next apply finds out.
        let patience = if self.run.cancel.is_cancelled() {
            2 * GRACE
        } else {
            Duration::from_secs(600)
        };
        let write = self.ledger.write(&*self.cluster, &self.run.cancel);
        let written = tokio::time::timeout(patience, write)
            .await
            .unwrap_or(Err(RecordError::Cluster(ClusterError::TimedOut(patience))));
        if let Err(e) = written {
            self.outcome.tell(e.diagnostic(&self.plan.desired.stack, "writing"));
            if e == RecordError::Superseded {
                self.superseded = true;
                self.stopped = true;
            }
        }
    }

    /// Whether another run has written the record: it is in charge now.
    pub(super) fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// Whether the run was ended early.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped
    }
}
