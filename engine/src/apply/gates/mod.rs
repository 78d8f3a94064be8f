//! Waiting for gates: shared watches feed one store of sights. A waiter is woken when a change concerns its object, or
//! when the verdict changes with time alone. Nothing polls.
//!
//! [`gate`](crate::gate) decides what a verdict is and when waiting ends. This module only delivers the observations
//! and keeps time.

mod feed;
#[cfg(test)]
mod tests;

use crate::{
    cluster::{Cluster, Resource, Selection, kinds},
    gate::{
        Applied, Change, Decision, Gate, LogSource, Moment, Patience, Settings, Sights, State, Verdict, Wanted,
        needs_watching, watches,
    },
    object::ObjectKey,
};
use feed::{Feed, FeedState};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many lines of a log are read to find the last one that says something.
const LOG_LINES: u32 = 20;
/// How long to wait for a log: it is helpful, but not worth a real wait.
const LOG_DEADLINE: Duration = Duration::from_secs(5);
/// The longest line of a log that is shown, in characters.
const LOG_LINE_LENGTH: usize = 300;

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Dependants may start.
    Ready,
    /// Ready for long enough to be trusted; an apply requires this before it succeeds.
    Steady,
    /// Ready, for an object of somebody else, who may fix whatever is wrong with it: only the timeout ends the wait.
    ReadyAtLast,
    /// It is gone: the object with this UID, whatever has the same name now.
    Gone,
}

/// Why a wait failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// Waiting longer is pointless.
    GivenUp,
    /// The timeout was over.
    TimedOut,
    /// It was cancelled.
    Cancelled,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// The condition is met.
    Open(Verdict),
    /// It is not met.
    Stuck {
        /// Why waiting ended.
        how: Stuck,
        /// The last verdict on the object.
        verdict: Verdict,
        /// The last line that its failing container wrote, if it could be read. Not masked.
        last_line: Option<String>,
    },
}

impl Passage {
    /// The message for the user; None if there is nothing to report. `mask` removes secrets from text of others.
    pub fn complaint(&self, key: &ObjectKey, mask: impl Fn(&str) -> String) -> Option<String> {
        let Self::Stuck {
            how,
            verdict,
            last_line,
        } = self
        else {
            return None;
        };
        let mut text = mask(&verdict.line(key));
        if *how == Stuck::TimedOut {
            text.push_str("; the time for it is over");
        }
        if let Some(line) = last_line {
            text.push_str(&format!("; the last line of its log: {}", mask(line)));
        }
        Some(text)
    }
}

/// Called when there is something new to say about an object.
pub type Tell = Arc<dyn Fn(&ObjectKey, &Verdict) + Send + Sync>;

/// The watches of one apply, or of several that share them, and their waiters. Dropping the last one ends the watches.
pub struct Gates {
    inner: Arc<Inner>,
    tell: Tell,
    stop: CancellationToken,
    guard: Arc<DropGuard>,
}

struct Inner {
    cluster: Arc<dyn Cluster>,
    settings: Settings,
    patience: Patience,
    started: Instant,
    started_at: Moment,
    state: Mutex<Store>,
}

#[derive(Default)]
struct Store {
    sights: Sights,
    gates: BTreeMap<ObjectKey, Gate>,
    waiting: HashMap<ObjectKey, Arc<Notify>>,
    feeds: BTreeMap<(Resource, Selection), Feed>,
}

impl Gates {
    /// Starts without watches: each begins when a waiter needs it.
    pub fn new(cluster: Arc<dyn Cluster>, settings: Settings, patience: Patience, tell: Tell) -> Self {
        let stop = CancellationToken::new();
        Self {
            inner: Arc::new(Inner {
                cluster,
                settings,
                patience,
                started: Instant::now(),
                started_at: Moment(jiff::Timestamp::now().as_millisecond()),
                state: Mutex::new(Store::default()),
            }),
            tell,
            guard: Arc::new(stop.clone().drop_guard()),
            stop,
        }
    }

    /// The same watches for another apply of the same commit, with its own listener: what one apply has seen, the other
    /// need not request.
    #[must_use]
    pub fn beside(&self, tell: Tell) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            tell,
            stop: self.stop.clone(),
            guard: Arc::clone(&self.guard),
        }
    }

    /// Starts the watches that an object needs before anybody waits for it. So changes during its apply are not missed,
    /// and the lists are read while requests are in flight.
    pub fn prepare(&self, key: &ObjectKey, resource: &Resource) {
        if needs_watching(key) {
            self.feeds_for(key, resource);
        }
    }

    /// Starts a gate after an apply, from the server's answer. Call it before [`Gates::pass`].
    pub fn applied(&self, key: &ObjectKey, answer: &Value, has_status: Option<bool>) {
        let now = self.inner.now();
        let mut store = self.inner.store();
        let applied = Applied {
            has_status,
            ..Applied::answered(answer, now)
        };
        let generation = |value: &Value| value.pointer("/metadata/generation").and_then(Value::as_i64);
        let known = store.sights.value(key).is_some_and(|seen| {
            seen.pointer("/metadata/uid") == answer.pointer("/metadata/uid") && generation(seen) >= generation(answer)
        });
        // The watch may have been faster than the answer, and be newer.
        if !known {
            store.sights.see(Change::Set(answer), now);
        }
        match store.gates.get_mut(key) {
            Some(gate) => gate.applied_again(applied),
            None => {
                store.gates.insert(key.clone(), Gate::new(key.clone(), applied));
            }
        }
    }

    /// Waits for one object. When waiting for deletion, `uid` is that of the object to be gone.
    pub async fn pass(
        &self,
        key: &ObjectKey,
        resource: &Resource,
        until: Until,
        uid: Option<&str>,
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> Passage {
        let waking = self.inner.waking(key);
        if until == Until::Gone || needs_watching(key) {
            let feeds = self.feeds_for(key, resource);
            for mut state in feeds {
                let live = state.wait_for(|s| *s != FeedState::Starting);
                tokio::select! {
                    _ = live => {}
                    () = sleep_until(deadline) => break,
                    () = cancel.cancelled() => break,
                }
            }
        }
        let mut said = String::new();
        loop {
            // Subscribe before looking, so that a change in between is not missed, however many wait for the same
            // object.
            let woken = waking.notified();
            tokio::pin!(woken);
            woken.as_mut().enable();
            let (verdict, decision) = self.inner.look(key, until, uid);
            let why = verdict.why();
            if why != said {
                (self.tell)(key, &verdict);
                said = why;
            }
            let wake = match decision {
                Decision::Open => return Passage::Open(verdict),
                Decision::GiveUp => return self.stuck(Stuck::GivenUp, verdict, cancel).await,
                Decision::Wait(at) => at.map_or(deadline, |at| self.inner.instant(at).min(deadline)),
            };
            tokio::select! {
                () = woken => {}
                () = cancel.cancelled() => return self.stuck(Stuck::Cancelled, verdict, cancel).await,
                () = sleep_until(wake) => {
                    if wake >= deadline {
                        return self.stuck(Stuck::TimedOut, verdict, cancel).await;
                    }
                }
            }
        }
    }

    async fn stuck(&self, how: Stuck, verdict: Verdict, cancel: &CancellationToken) -> Passage {
        let last_line = match &verdict.log {
            Some(source) if how != Stuck::Cancelled => tokio::select! {
                line = self.last_line(source) => line,
                () = cancel.cancelled() => None,
            },
            _ => None,
        };
        Passage::Stuck {
            how,
            verdict,
            last_line,
        }
    }

    /// The last line of a container's log that says something. Without the right to read logs there is none.
    async fn last_line(&self, source: &LogSource) -> Option<String> {
        let cluster = &self.inner.cluster;
        let log = cluster.logs(
            &source.namespace,
            &source.pod,
            &source.container,
            source.previous,
            LOG_LINES,
        );
        let log = timeout(LOG_DEADLINE, log).await.ok()?.ok()?;
        let line = log.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        let line = line.chars().filter(|c| !c.is_control()).take(LOG_LINE_LENGTH);
        Some(line.collect())
    }

    /// The states of all watches that an object needs; starts those that do not run yet.
    fn feeds_for(&self, key: &ObjectKey, resource: &Resource) -> Vec<tokio::sync::watch::Receiver<FeedState>> {
        let own = Selection {
            namespace: resource.namespaced.then(|| key.namespace.clone()),
            // A cluster has few objects of such kinds that are ours, and perhaps many that are not.
            fields: if resource.namespaced {
                String::new()
            } else {
                format!("metadata.name={}", key.name)
            },
            labels: String::new(),
        };
        let beside = watches(key).iter().map(|kind| {
            let api_version = if kind.group.is_empty() {
                kind.version.to_owned()
            } else {
                format!("{}/{}", kind.group, kind.version)
            };
            let selection = Selection {
                namespace: Some(key.namespace.clone()),
                ..Selection::default()
            };
            (kinds::known(&api_version, kind.kind), selection)
        });
        let all: BTreeSet<(Resource, Selection)> = std::iter::once((resource.clone(), own)).chain(beside).collect();
        let mut store = self.inner.store();
        all.into_iter()
            .map(|(resource, selection)| {
                let feed = store
                    .feeds
                    .entry((resource.clone(), selection.clone()))
                    .or_insert_with(|| Feed::start(Arc::clone(&self.inner), resource, selection, self.stop.clone()));
                feed.state()
            })
            .collect()
    }
}

impl Inner {
    fn store(&self) -> MutexGuard<'_, Store> {
        // A panic while it was held cannot have left it half written: every change is one call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        self.started_at.plus(self.started.elapsed())
    }

    fn instant(&self, at: Moment) -> Instant {
        self.started + at.since(self.started_at)
    }

    fn waking(&self, key: &ObjectKey) -> Arc<Notify> {
        Arc::clone(self.store().waiting.entry(key.clone()).or_default())
    }

    /// Wakes every waiter that a change concerns.
    fn wake(store: &Store, concerned: &BTreeSet<ObjectKey>) {
        for key in concerned {
            if let Some(notify) = store.waiting.get(key) {
                notify.notify_waiters();
            }
        }
    }

    fn see(&self, change: Change<'_>) {
        let now = self.now();
        let mut store = self.store();
        let concerned = store.sights.see(change, now);
        Self::wake(&store, &concerned);
    }

    /// A fresh list: an object that was seen before the request and is not in the list is gone. An object that was
    /// applied meanwhile may be younger than the list.
    fn see_list(&self, resource: &Resource, selection: &Selection, asked: u64, items: &[Value]) {
        let now = self.now();
        let mut store = self.store();
        let listed: BTreeSet<ObjectKey> = items.iter().map(ObjectKey::of).collect();
        let namespace = selection.namespace.as_deref().unwrap_or_default();
        let name = selection.fields.strip_prefix("metadata.name=");
        let lost: Vec<ObjectKey> = store
            .sights
            .unseen_since(&resource.kind, namespace, asked)
            .filter(|key| key.group == resource.group && name.is_none_or(|name| key.name == name))
            .filter(|key| !listed.contains(key))
            .cloned()
            .collect();
        for key in lost {
            let concerned = store.sights.lost(&key);
            Self::wake(&store, &concerned);
        }
        for item in items {
            let concerned = store.sights.see(Change::Listed(item), now);
            Self::wake(&store, &concerned);
        }
    }

    /// Pods may not be watched: from now on the rules use counts only.
    fn go_blind(&self) {
        let mut store = self.store();
        store.sights.go_blind();
        for notify in store.waiting.values() {
            notify.notify_waiters();
        }
    }

    fn look(&self, key: &ObjectKey, until: Until, uid: Option<&str>) -> (Verdict, Decision) {
        let now = self.now();
        let mut store = self.store();
        let Store { sights, gates, .. } = &mut *store;
        let gate = gates.entry(key.clone()).or_insert_with(|| {
            Gate::new(
                key.clone(),
                Applied {
                    at: now,
                    generation: None,
                    has_status: None,
                },
            )
        });
        let mut verdict = gate.look(sights, &self.settings, now);
        let wanted = if until == Until::Gone {
            Wanted::Gone
        } else {
            Wanted::Ready
        };
        if until == Until::Gone && sights.uid(key).is_none_or(|seen| uid.is_some_and(|uid| uid != seen)) {
            verdict.state = State::Gone;
        }
        let decision = self.patience.decide(wanted, &verdict, now);
        let steady = verdict.steady_at.filter(|at| *at > now);
        match (until, decision, steady) {
            (Until::ReadyAtLast, Decision::GiveUp, _) => {
                let again = verdict.check_again_at;
                (verdict, Decision::Wait(again))
            }
            (Until::Steady, Decision::Open, Some(at)) => (verdict, Decision::Wait(Some(at))),
            _ => (verdict, decision),
        }
    }
}
