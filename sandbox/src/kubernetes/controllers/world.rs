//! One loop for all controllers, the scheduler and the kubelets: changes in, work out, on the virtual clock.
//!
//! Everything is driven by changes of the store and by times that have come. Work is done one item after the other in the order
//! in which it was caused; that is what makes a replay on a stepped clock give the same states every time. Nothing here
//! waits: `Driver` in the parent module does.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::cache::{Cache, Place};
use super::events::{Event, Recorder};
use super::object::{self, Key};
use super::queue::Queue;
use super::{
    autoscaler, budget, claim, cronjob, daemonset, deployment, endpoints, garbage, job, namespace, quota, replicaset,
    service_account, statefulset,
};
use crate::kubernetes::kubelet::{Kubelet, scheduler};
use crate::kubernetes::registry::{Actor, DeleteOptions, Failure, Part, Propagation, Registry};
use crate::kubernetes::store::{ChangeKind, Feed, Object};

/// Milliseconds since the epoch on the sandbox's clock.
pub(crate) type Millis = i64;

/// Who has something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Who {
    ServiceAccount,
    Namespace,
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    Job,
    FinishedJob,
    CronJob,
    Endpoints,
    Claim,
    Volume,
    Budget,
    Autoscaler,
    Quota,
    Garbage,
    Scheduler,
    Node,
    Pod,
}

/// An item of work.
pub(crate) type Work = (Who, Key);

/// How an item of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is as it should be.
    Done,
    /// Another writer was faster, or something is missing: retry, each time later.
    Retry,
    /// The same, from a second up.
    RetrySlowly,
}

impl From<Result<(), Failure>> for Outcome {
    fn from(result: Result<(), Failure>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(failure) if failure.is_not_found() => Self::Done,
            Err(_) => Self::Retry,
        }
    }
}

/// One change of one object, with what it was before.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) resource: Arc<str>,
    pub(crate) kind: ChangeKind,
    pub(crate) object: Arc<Object>,
    pub(crate) before: Option<Arc<Object>>,
}

impl Seen {
    pub(crate) fn value(&self) -> &Value {
        self.object.value()
    }

    pub(crate) fn gone(&self) -> bool {
        self.kind == ChangeKind::Deleted
    }
}

/// Everything that the controllers share.
pub(crate) struct World {
    pub(crate) registry: Arc<Registry>,
    pub(crate) config: super::Config,
    pub(crate) cache: Cache,
    pub(crate) now: Millis,
    pub(crate) queue: Queue<Work>,
    pub(crate) events: Recorder,
    pub(crate) kubelet: Kubelet,
    /// What is taken on each node.
    pub(crate) taken: std::collections::HashMap<String, crate::kubernetes::kubelet::placement::Taken>,
    pub(crate) actor: Actor,
    feeds: BTreeMap<Arc<str>, Feed>,
    served: usize,
}

/// How many items are worked on before the loop lets others have the thread.
const TURN: usize = 256;

impl World {
    pub(crate) fn new(registry: Arc<Registry>, config: super::Config) -> Self {
        let now = registry.clock().now().as_millisecond();
        let kubelet = Kubelet::new(&config);
        let mut world = Self {
            registry,
            config,
            cache: Cache::default(),
            now,
            queue: Queue::default(),
            events: Recorder::default(),
            kubelet,
            taken: std::collections::HashMap::new(),
            actor: Actor::controller(),
            feeds: BTreeMap::new(),
            served: 0,
        };
        super::bootstrap::run(&mut world);
        world
    }

    /// Processes what happened and what is due now. True if more is due at once.
    pub(crate) fn turn(&mut self) -> bool {
        self.now = self.registry.clock().now().as_millisecond().max(self.now);
        for _ in 0..TURN {
            self.drain();
            let Some(work) = self.queue.next(self.now) else {
                return false;
            };
            self.perform(&work);
        }
        true
    }

    /// When there is something to do next, if nothing happens before.
    pub(crate) fn due(&mut self) -> Option<Millis> {
        self.queue.due()
    }

    fn perform(&mut self, work: &Work) {
        let (who, key) = work;
        let outcome = match who {
            Who::ServiceAccount => service_account::sync(self, key),
            Who::Namespace => namespace::sync(self, key),
            Who::Deployment => deployment::sync(self, key),
            Who::ReplicaSet => replicaset::sync(self, key),
            Who::StatefulSet => statefulset::sync(self, key),
            Who::DaemonSet => daemonset::sync(self, key),
            Who::Job => job::sync(self, key),
            Who::FinishedJob => job::expire(self, key),
            Who::CronJob => cronjob::sync(self, key),
            Who::Endpoints => endpoints::sync(self, key),
            Who::Claim => claim::sync_claim(self, key),
            Who::Volume => claim::sync_volume(self, key),
            Who::Budget => budget::sync(self, key),
            Who::Autoscaler => autoscaler::sync(self, key),
            Who::Quota => quota::sync(self, key),
            Who::Garbage => garbage::sync(self, key),
            Who::Scheduler => scheduler::sync(self, key),
            Who::Node => crate::kubernetes::kubelet::node::sync(self, key),
            Who::Pod => crate::kubernetes::kubelet::wake(self, key),
        };
        match outcome {
            Outcome::Done => self.queue.forget(work),
            Outcome::Retry => self.queue.retry(work.clone(), self.now, 5),
            Outcome::RetrySlowly => self.queue.retry(work.clone(), self.now, 1000),
        }
    }

    /// Read all feeds in the order of revisions.
    fn drain(&mut self) {
        self.open_feeds();
        let mut changes: Vec<(u64, Arc<str>, ChangeKind, Arc<Object>)> = Vec::new();
        let mut expired: Vec<Arc<str>> = Vec::new();
        for (resource, feed) in &mut self.feeds {
            loop {
                match feed.poll() {
                    Ok(Some(change)) => {
                        changes.push((change.revision, resource.clone(), change.kind, change.object.clone()));
                    }
                    Ok(None) => break,
                    Err(_) => {
                        expired.push(resource.clone());
                        break;
                    }
                }
            }
        }
        changes.sort_by_key(|(revision, ..)| *revision);
        for (_, resource, kind, object) in changes {
            self.take(&resource, kind, &object);
            // A budget looks at every pod that comes or goes by itself.
            if &*resource == "pods" && kind != ChangeKind::Modified {
                while let Some(work) = self.queue.take(|(who, _)| *who == Who::Budget) {
                    self.perform(&work);
                }
            }
        }
        for resource in expired {
            self.resync(&resource);
        }
    }

    fn take(&mut self, resource: &Arc<str>, kind: ChangeKind, object: &Arc<Object>) {
        let before = self.cache.apply(resource, object, kind == ChangeKind::Deleted);
        let kind = if kind == ChangeKind::Modified && before.is_none() {
            ChangeKind::Added
        } else {
            kind
        };
        let seen = Seen {
            resource: resource.clone(),
            kind,
            object: object.clone(),
            before,
        };
        self.observe(&seen);
    }

    /// The history was too short for our delay: compare with the current objects.
    fn resync(&mut self, resource: &Arc<str>) {
        let table = self.registry.store().table(resource);
        let page = table.list("", None);
        let known: Vec<Arc<Object>> = self.cache.all(resource).cloned().collect();
        let mut present: BTreeMap<String, Arc<Object>> = page
            .objects
            .into_iter()
            .map(|object| (object.key().to_owned(), object))
            .collect();
        for object in known {
            match present.get(object.key()) {
                Some(live) if live.uid() == object.uid() => {
                    if live.revision() == object.revision() {
                        present.remove(object.key());
                    }
                }
                _ => self.take(resource, ChangeKind::Deleted, &object),
            }
        }
        for object in present.into_values() {
            self.take(resource, ChangeKind::Modified, &object);
        }
        self.feeds.insert(resource.clone(), Feed::new(table, page.revision));
    }

    /// Follow the resources that are served now; definitions add some at run time.
    fn open_feeds(&mut self) {
        let served = self.registry.catalog().served();
        let count = served.stored().count();
        if count == self.served {
            return;
        }
        self.served = count;
        let fresh: Vec<Arc<str>> = served
            .stored()
            .map(|resource| resource.storage.clone())
            .filter(|name| !self.feeds.contains_key(name))
            .collect();
        for name in fresh {
            // Events are written here and read by nobody here.
            if &*name != "events" && &*name != "events.events.k8s.io" {
                self.resync(&name);
            }
        }
    }

    /// Tell everyone whom a change may concern.
    fn observe(&mut self, seen: &Seen) {
        match &*seen.resource {
            "namespaces" => {
                service_account::observe(self, seen);
                namespace::observe(self, seen);
            }
            "serviceaccounts" | "configmaps" => service_account::observe(self, seen),
            "deployments.apps" => deployment::observe(self, seen),
            "replicasets.apps" => {
                deployment::observe(self, seen);
                replicaset::observe(self, seen);
            }
            "statefulsets.apps" => statefulset::observe(self, seen),
            "daemonsets.apps" => daemonset::observe(self, seen),
            "jobs.batch" => {
                job::observe(self, seen);
                cronjob::observe(self, seen);
            }
            "cronjobs.batch" => cronjob::observe(self, seen),
            "services" => endpoints::observe(self, seen),
            "persistentvolumeclaims" | "persistentvolumes" | "storageclasses.storage.k8s.io" => {
                claim::observe(self, seen);
                statefulset::observe(self, seen);
                scheduler::observe(self, seen);
            }
            "poddisruptionbudgets.policy" => budget::observe(self, seen),
            "horizontalpodautoscalers.autoscaling" => autoscaler::observe(self, seen),
            "resourcequotas" => quota::observe(self, seen),
            "nodes" => {
                scheduler::observe(self, seen);
                daemonset::observe(self, seen);
                crate::kubernetes::kubelet::node::observe(self, seen);
            }
            "pods" => {
                replicaset::observe(self, seen);
                deployment::observe(self, seen);
                statefulset::observe(self, seen);
                daemonset::observe(self, seen);
                job::observe(self, seen);
                scheduler::observe(self, seen);
                crate::kubernetes::kubelet::observe(self, seen);
                endpoints::observe(self, seen);
                budget::observe(self, seen);
                claim::observe(self, seen);
                quota::observe(self, seen);
            }
            _ => {}
        }
        garbage::observe(self, seen);
    }

    // -- what controllers do

    /// Put work in line.
    pub(crate) fn enqueue(&mut self, who: Who, key: Key) {
        self.queue.add((who, key));
    }

    /// Put work in line after a while.
    pub(crate) fn enqueue_in(&mut self, who: Who, key: Key, millis: Millis) {
        self.queue.add_at((who, key), self.now + millis.max(0));
    }

    /// Put work in line at a time.
    pub(crate) fn enqueue_at(&mut self, who: Who, key: Key, at: Millis) {
        self.queue.add_at((who, key), at.max(self.now));
    }

    pub(crate) fn create(&self, resource: &str, namespace: &str, body: Value) -> Result<Arc<Object>, Failure> {
        self.registry.create(&self.actor, resource, namespace, body)
    }

    /// Replace an object as it was read: a conflict if another writer was faster.
    pub(crate) fn update(&self, resource: &str, body: Value) -> Result<Arc<Object>, Failure> {
        let namespace = object::namespace(&body).to_owned();
        self.registry.update(&self.actor, resource, &namespace, body)
    }

    /// Replace an object's status as it was read.
    pub(crate) fn update_status(&self, resource: &str, body: Value) -> Result<Arc<Object>, Failure> {
        let namespace = object::namespace(&body).to_owned();
        self.registry.update_status(&self.actor, resource, &namespace, body)
    }

    /// Read, change, write.
    pub(crate) fn modify(
        &self,
        place: &Place,
        part: Part,
        change: impl FnMut(&mut Value),
    ) -> Result<Arc<Object>, Failure> {
        self.registry
            .modify_part(&self.actor, &place.resource, &place.key.0, &place.key.1, part, change)
    }

    /// Delete one object that we have seen: by its uid.
    pub(crate) fn delete(
        &self,
        resource: &str,
        object: &Value,
        propagation: Option<Propagation>,
    ) -> Result<(), Failure> {
        let options = DeleteOptions {
            uid: Some(object::uid(object).to_owned()),
            propagation,
            ..DeleteOptions::default()
        };
        match self.registry.delete(
            &self.actor,
            resource,
            object::namespace(object),
            object::name(object),
            &options,
        ) {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_not_found() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Write an Event about an object.
    #[allow(clippy::needless_pass_by_value, reason = "events are made to be said")]
    pub(crate) fn event(&mut self, event: Event<'_>) {
        let now = self.now;
        self.events.record(&self.registry, now, &event);
    }
}
