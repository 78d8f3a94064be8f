//! The controllers: they make objects do what they say.
//!
//! There is one file each, all driven by one loop (`world`) on the sandbox's clock; only changes of the store and times
//! cause anything. They write through the registry like any client, so that a user's write between theirs is a conflict
//! for them too. Each file says what its controller does not do; the ledger is in `sandbox/README.md`.

pub(crate) mod amount;
mod autoscaler;
mod bootstrap;
mod budget;
pub(crate) mod cache;
pub(crate) mod claim;
mod claims_of_set;
mod cron;
mod cronjob;
mod daemonset;
mod deployment;
pub(crate) mod endpoints;
pub(crate) mod events;
mod garbage;
mod job;
mod job_indexes;
mod job_rules;
mod namespace;
pub(crate) mod object;
pub(crate) mod pods;
mod queue;
mod quota;
mod replicaset;
mod revisions;
mod rollback;
mod rollout;
mod service_account;
mod statefulset;
pub(crate) mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kubernetes::kubelet::exec::Canned;
use crate::kubernetes::kubelet::logs::{self, LogQuery};
use crate::kubernetes::registry::{Actor, DeleteOptions, Failure, Registry};
use world::World;

/// What the cluster is like.
#[derive(Debug, Clone)]
pub struct Config {
    /// The nodes that the sandbox runs itself.
    pub nodes: Vec<Node>,
    /// The provisioner behind the default storage class; without one claims wait for volumes made by hand.
    pub provisioner: Option<Provisioner>,
    /// What `kube-root-ca.crt` holds.
    pub root_certificate: String,
    /// How long a server of an unknown image takes before its probes succeed, in milliseconds.
    pub start_time: u64,
    /// Commands that `exec` knows the answer to, looked at before those of annotations and ConfigMaps.
    pub commands: Vec<Canned>,
}

/// A node that the sandbox runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// How many cores it offers.
    pub cpu: String,
    /// How much memory it offers.
    pub memory: String,
    /// How many pods fit.
    pub pods: u32,
}

/// A node that joins a cluster that runs.
#[derive(Debug, Clone)]
pub(crate) struct Joining {
    /// Name and size.
    pub(crate) node: Node,
    /// `spec.providerID`.
    pub(crate) provider_id: String,
    /// Its labels.
    pub(crate) labels: serde_json::Value,
    /// Its address.
    pub(crate) address: String,
}

/// The sandbox's own provisioner of volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Provisioner {
    /// Whether volumes are made only when a pod needs them.
    pub waits_for_consumer: bool,
}

impl Provisioner {
    /// Its name in storage classes.
    pub const NAME: &'static str = "sandbox.myelin.dev/volumes";
    /// The default storage class.
    pub const CLASS: &'static str = "standard";
}

impl Default for Config {
    fn default() -> Self {
        Self {
            nodes: vec![Node::named("node1")],
            provisioner: Some(Provisioner {
                waits_for_consumer: false,
            }),
            root_certificate: String::new(),
            start_time: 300,
            commands: Vec::new(),
        }
    }
}

impl Node {
    /// A node of the usual size.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            cpu: "64".to_owned(),
            memory: "256Gi".to_owned(),
            pods: 10_000,
        }
    }
}

/// The controllers, the scheduler and the kubelets of a sandbox.
#[derive(Clone)]
pub struct Workloads {
    world: Arc<Mutex<World>>,
}

impl std::fmt::Debug for Workloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workloads").finish_non_exhaustive()
    }
}

impl Workloads {
    /// A cluster on a registry; nothing moves until `run` or `settle`.
    pub fn new(registry: Arc<Registry>, config: Config) -> Self {
        Self {
            world: Arc::new(Mutex::new(World::new(registry, config))),
        }
    }

    /// Runs one node more. False when there is one of that name.
    pub(crate) fn join(&self, joining: Joining) -> bool {
        let mut world = self.lock();
        let name = joining.node.name.clone();
        if world.kubelet.runs(&name) {
            return false;
        }
        world.kubelet.add(&name, joining.address);
        world.config.nodes.push(joining.node);
        let body = serde_json::json!({
            "metadata": {"name": name, "labels": joining.labels}, "spec": {"providerID": joining.provider_id},
        });
        let made = world.registry.create(&Actor::kubelet(&name), "nodes", "", body);
        if made.is_err() {
            drop(made);
            world.kubelet.remove(&name);
            world.config.nodes.retain(|n| n.name != name);
            return false;
        }
        true
    }

    /// The machine under a node is gone: its Node object is deleted, and its pods are removed without being terminated.
    pub(crate) fn leave(&self, name: &str) {
        let mut world = self.lock();
        world.kubelet.remove(name);
        world.config.nodes.retain(|n| n.name != name);
        let options = DeleteOptions {
            grace_period: Some(0),
            ..DeleteOptions::default()
        };
        let actor = Actor::controller();
        for pod in world.cache.pods_on(name) {
            // Who deletes it meanwhile does the same.
            let _ = world
                .registry
                .delete(&actor, "pods", pod.namespace(), pod.name(), &options);
        }
        let _ = world.registry.delete(&actor, "nodes", "", name, &options);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Do all that can be done at the clock's present time. When there is something to do next, if nothing happens before.
    ///
    /// For tests that step the clock themselves: `settle`, advance the clock to what it returned, and again.
    pub fn settle(&self) -> Option<jiff::Timestamp> {
        loop {
            let mut world = self.lock();
            if !world.turn() {
                return world.due().and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
            }
        }
    }

    /// One turn: `None` if there is more to do at once, otherwise when there will be.
    fn turn(&self) -> Option<Option<jiff::Timestamp>> {
        let mut world = self.lock();
        if world.turn() {
            return None;
        }
        Some(world.due().and_then(|at| jiff::Timestamp::from_millisecond(at).ok()))
    }

    /// What a container printed. An error is what the API would say.
    pub fn logs(&self, namespace: &str, pod: &str, query: &LogQuery) -> Result<Vec<u8>, Failure> {
        let world = self.lock();
        let pod = world.registry.get("pods", namespace, pod)?;
        let log = logs::source(&world, pod.value(), query)?;
        Ok(logs::select(&log, query, world.now, 0).0)
    }

    /// Run forever: whenever the store changes or a time has come.
    pub async fn run(self) {
        let (registry, mut changed) = {
            let world = self.lock();
            (world.registry.clone(), world.registry.store().changes())
        };
        loop {
            changed.mark_unchanged();
            let Some(due) = self.turn() else {
                tokio::task::yield_now().await;
                continue;
            };
            let due = due.unwrap_or(jiff::Timestamp::MAX);
            tokio::select! {
                result = changed.changed() => if result.is_err() { return },
                () = registry.clock().sleep_until(due) => {}
            }
        }
    }
}
