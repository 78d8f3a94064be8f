//! The pool as an acting run sees it, look after look. It adds what the run knows better than a lagging list: what it
//! has just launched, drained or terminated, and what cannot have vanished without a trace.

use super::Ports;
use super::identity::{PoolId, TAG_DRAIN};
use super::node::{Node, node, since};
use super::observe::{cluster_nodes, statuses, whole};
use crate::cloud::{Cloud, Instance, InstanceState, Lifecycle};
use crate::diagnostic::Diagnostics;
use crate::document::NodePool;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long an instance must be absent from every list before it counts as gone.
const ABSENCE: Duration = Duration::from_secs(60);

/// How long after a terminate request a list may still show the instance running, before the request is repeated.
const ENDING: Duration = Duration::from_secs(60);

/// What a run knows.
#[derive(Default)]
pub(super) struct View {
    /// Live nodes by id.
    pub(super) nodes: BTreeMap<String, Node>,
    /// Launched but not listed yet.
    pub(super) coming: BTreeMap<String, (Lifecycle, Timestamp)>,
    /// Every instance that was ever listed for a slot and attempt, ended ones included.
    pub(super) launches: BTreeMap<(u32, u32), BTreeSet<String>>,
    raw: BTreeMap<String, Instance>,
    absent_since: BTreeMap<String, Timestamp>,
    drain: BTreeMap<String, Option<Timestamp>>,
    ending: BTreeMap<String, Timestamp>,
}

impl View {
    /// Notes launched instances.
    pub(super) fn launched(&mut self, ids: &[String], lifecycle: Lifecycle, now: Timestamp) {
        for id in ids {
            if !self.raw.contains_key(id) {
                self.coming.insert(id.clone(), (lifecycle, now));
            }
        }
    }

    /// Notes that a drain began (a time) or was cancelled (None): tags lag too.
    pub(super) fn drained(&mut self, ids: &[String], since: Option<Timestamp>) {
        for id in ids {
            self.drain.insert(id.clone(), since);
            if let Some(node) = self.nodes.get_mut(id) {
                node.draining_since = since;
            }
        }
    }

    /// Notes a request to terminate instances.
    pub(super) fn ended(&mut self, ids: &[String], now: Timestamp) {
        for id in ids {
            self.ending.insert(id.clone(), now);
            self.coming.remove(id);
            if let Some(node) = self.nodes.get_mut(id) {
                node.instance.state = InstanceState::ShuttingDown;
            }
        }
    }

    /// Listed instances of a launch.
    pub(super) fn seen_of(&self, slot: u32, attempt: u32) -> usize {
        self.launches.get(&(slot, attempt)).map_or(0, BTreeSet::len)
    }

    /// All nodes in their current state.
    pub(super) fn list(&self) -> Vec<Node> {
        self.nodes.values().cloned().collect()
    }

    /// Observes again.
    pub(super) async fn look(
        &mut self,
        cloud: &dyn Cloud,
        ports: &Ports,
        pool: &NodePool,
        cancel: &CancellationToken,
    ) -> Result<(), Diagnostics> {
        self.look_at_instances(cloud, ports, &PoolId::of(pool)).await?;
        let now = ports.clock.now();
        let live: Vec<Instance> = self.raw.values().cloned().collect();
        let statuses = statuses(cloud, pool, &live, false, now).await?;
        let mut ignored = Diagnostics::new();
        let cluster_nodes = cluster_nodes(ports, pool, cancel, &mut ignored).await?;
        self.nodes = live
            .into_iter()
            .map(|i| {
                let (status, own) = (statuses.get(&i.id), cluster_nodes.get(&i.id).cloned());
                (i.id.clone(), node(pool, i, status, own, now))
            })
            .collect();
        self.overlay(now);
        Ok(())
    }

    /// Observes the instances only, without their health.
    pub(super) async fn look_at_instances(
        &mut self,
        cloud: &dyn Cloud,
        ports: &Ports,
        id: &PoolId,
    ) -> Result<(), Diagnostics> {
        let listed = whole(&format!("instances of pool {id}"), cloud.instances(&id.filters()).await)?;
        let now = ports.clock.now();
        let mut gone: BTreeSet<String> = self.raw.keys().cloned().collect();
        for instance in listed {
            gone.remove(&instance.id);
            self.take(instance);
        }
        // Launched instances that are not visible yet are requested too.
        gone.extend(
            self.coming
                .iter()
                .filter(|(_, (_, at))| since(*at, now) >= ABSENCE)
                .map(|(id, _)| id.clone()),
        );
        let gone: Vec<String> = gone.into_iter().take(1000).collect();
        if gone.is_empty() {
            return Ok(());
        }
        // A terminated instance stays listed for about an hour. An instance that vanishes is requested by its id.
        let found = whole("the pool's instances", cloud.instances_by_id(&gone).await)?;
        let mut absent: BTreeSet<String> = gone.into_iter().collect();
        for instance in found {
            absent.remove(&instance.id);
            self.take(instance);
        }
        for id in absent {
            let first = *self.absent_since.entry(id.clone()).or_insert(now);
            if self.raw.contains_key(&id) && since(first, now) >= ABSENCE {
                self.raw.remove(&id);
                self.absent_since.remove(&id);
            }
        }
        Ok(())
    }

    fn take(&mut self, instance: Instance) {
        let number = |key: &str| instance.tags.get(key).and_then(|t| t.parse::<u32>().ok());
        if let (Some(slot), Some(attempt)) = (number(super::TAG_SLOT), number(super::TAG_ATTEMPT)) {
            self.launches
                .entry((slot, attempt))
                .or_default()
                .insert(instance.id.clone());
        }
        self.coming.remove(&instance.id);
        self.absent_since.remove(&instance.id);
        if instance.state.is_ended() {
            self.raw.remove(&instance.id);
        } else {
            self.raw.insert(instance.id.clone(), instance);
        }
    }

    fn overlay(&mut self, now: Timestamp) {
        self.ending.retain(|_, at| since(*at, now) < ENDING);
        for (id, node) in &mut self.nodes {
            if let Some(drain) = self.drain.get(id) {
                node.draining_since = *drain;
            }
            if self.ending.contains_key(id) {
                node.instance.state = InstanceState::ShuttingDown;
            }
        }
    }

    /// Live instances for a destroy, which has no document to judge them by, and since when each is drained.
    pub(super) fn instances(&self, now: Timestamp) -> Vec<(&Instance, Option<Timestamp>)> {
        self.raw
            .values()
            .filter(|i| self.ending.get(&i.id).is_none_or(|at| since(*at, now) >= ENDING))
            .map(|i| {
                let own = self.drain.get(&i.id).copied();
                let tag = || i.tags.get(TAG_DRAIN).and_then(|t| t.parse().ok());
                (i, own.unwrap_or_else(tag))
            })
            .collect()
    }

    /// Whether an instance is known to be alive.
    pub(super) fn has(&self, id: &str) -> bool {
        self.raw.contains_key(id)
    }

    /// Whether no live instance is left.
    pub(super) fn is_empty(&self) -> bool {
        self.raw.is_empty() && self.coming.is_empty()
    }
}
