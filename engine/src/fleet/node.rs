//! An instance, its status and its Kubernetes node → the pool's judgement of it. Pure.

use super::identity::{HASH_VERSION, TAG_ATTEMPT, TAG_DRAIN, TAG_HASH, TAG_HASH_VERSION, TAG_SLOT, TAG_STATE};
use crate::cloud::{Instance, InstanceState, InstanceStatus};
use crate::document::{Health, NodePool};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// Whether a node can be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeHealth {
    /// It is ready.
    Ready,
    /// Not yet.
    Starting,
    /// It will not become ready, for this reason.
    Failed(String),
    /// It leaves by itself: it has a spot notice, or its agent drains it.
    Leaving,
}

/// The Kubernetes node on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterNode {
    /// Its name.
    pub name: String,
    /// Its Ready condition.
    pub ready: bool,
    /// Whether it is cordoned.
    pub cordoned: bool,
}

/// One node of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The instance.
    pub instance: Instance,
    /// Number of the launch that created it; None if its tags do not say.
    pub slot: Option<u32>,
    /// Hash of what it was launched from; None if its tags do not say.
    pub spec_hash: Option<String>,
    /// Since when it is drained for removal.
    pub draining_since: Option<Timestamp>,
    /// Whether it can be relied on.
    pub health: NodeHealth,
    /// Its Kubernetes node, if the pool's nodes are cluster nodes and it has joined.
    pub cluster_node: Option<ClusterNode>,
}

impl Node {
    /// Whether it is ready and not being drained.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.health == NodeHealth::Ready && self.draining_since.is_none() && !self.instance.state.is_ended()
    }

    /// Whether its tags say which launch created it, and from what.
    #[must_use]
    pub fn is_identified(&self) -> bool {
        self.slot.is_some() && self.spec_hash.is_some()
    }

    /// What the node reports about itself.
    #[must_use]
    pub fn state_tag(&self) -> Option<&str> {
        self.instance.tags.get(TAG_STATE).map(String::as_str)
    }

    /// `i-1 (g4dn.xlarge spot in eu-west-1a)`.
    #[must_use]
    pub fn place(&self) -> String {
        let i = &self.instance;
        format!("{} {} in {}", i.instance_type, i.lifecycle.word(), i.zone)
    }

    /// Why it differs from the document; None if it does not.
    #[must_use]
    pub fn outdated(&self, pool: &NodePool, hash: &str) -> Option<String> {
        let i = &self.instance;
        let version = i.tags.get(TAG_HASH_VERSION).map_or("", String::as_str);
        if let Some(own) = &self.spec_hash
            && own != hash
            && version == HASH_VERSION
        {
            return Some(format!("launched from specification {own}, now {hash}"));
        }
        if !pool.instance_types.contains(&i.instance_type) {
            return Some(format!("{} is not in instanceTypes any more", i.instance_type));
        }
        if !i.subnet.is_empty() && !pool.subnets.contains(&i.subnet) {
            return Some(format!("{} is not in subnets any more", i.subnet));
        }
        None
    }
}

/// The time from `then` to `now`; zero if `then` is later.
pub(super) fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// Makes a node of what was seen.
#[must_use]
pub(super) fn node(
    pool: &NodePool,
    instance: Instance,
    status: Option<&InstanceStatus>,
    cluster_node: Option<ClusterNode>,
    now: Timestamp,
) -> Node {
    let tag = |key: &str| instance.tags.get(key).map(String::as_str);
    let slot = tag(TAG_SLOT).and_then(|t| t.parse().ok());
    let identified = slot.is_some() && tag(TAG_ATTEMPT).is_some();
    let spec_hash = tag(TAG_HASH).filter(|_| identified).map(str::to_owned);
    let draining_since = tag(TAG_DRAIN).and_then(|t| t.parse().ok());
    let health = health(pool, &instance, status, cluster_node.as_ref(), now);
    Node {
        slot,
        spec_hash,
        draining_since,
        health,
        cluster_node,
        instance,
    }
}

fn health(
    pool: &NodePool,
    instance: &Instance,
    status: Option<&InstanceStatus>,
    cluster_node: Option<&ClusterNode>,
    now: Timestamp,
) -> NodeHealth {
    let age = since(instance.launched_at, now);
    let patience = pool.rollout.health_timeout;
    let late = |what: &str| {
        if age > patience {
            NodeHealth::Failed(format!("{what} {} s after its launch", age.as_secs()))
        } else {
            NodeHealth::Starting
        }
    };
    match instance.state {
        InstanceState::Pending => return late("still pending"),
        InstanceState::Running => {}
        other if other.is_ended() => return NodeHealth::Leaving,
        other => return NodeHealth::Failed(format!("somebody brought it to {}", other.word())),
    }
    match instance.tags.get(TAG_STATE).map(String::as_str) {
        Some("draining" | "drained") => return NodeHealth::Leaving,
        Some("failed") => return NodeHealth::Failed("its agent says failed".into()),
        _ => {}
    }
    match pool.rollout.health {
        Health::Tag => match instance.tags.get(TAG_STATE).map(String::as_str) {
            Some("ready") => NodeHealth::Ready,
            _ => late("its tag does not say ready"),
        },
        Health::Kubernetes => match cluster_node {
            Some(node) if node.ready => NodeHealth::Ready,
            Some(_) => late("its Kubernetes node is not Ready"),
            None => late("it has not joined the cluster"),
        },
        Health::StatusChecks => match status {
            Some(s) if s.system == "impaired" || s.instance == "impaired" => {
                NodeHealth::Failed(format!("status checks: system {}, instance {}", s.system, s.instance))
            }
            Some(s) if s.system == "ok" && s.instance == "ok" => NodeHealth::Ready,
            Some(s) => late(&format!("status checks: system {}, instance {},", s.system, s.instance)),
            // Status checks are read only for young nodes: an old one that runs has passed them.
            None if age > patience => NodeHealth::Ready,
            None => NodeHealth::Starting,
        },
    }
}

/// The instance id and the node of a Kubernetes Node object (`spec.providerID`: `aws:///eu-west-1a/i-…`).
pub(super) fn cluster_node(object: &Value) -> Option<(String, ClusterNode)> {
    let provider = object.pointer("/spec/providerID")?.as_str()?;
    let id = provider.strip_prefix("aws://")?.rsplit('/').next()?;
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True");
    let node = ClusterNode {
        name: object.pointer("/metadata/name")?.as_str()?.to_owned(),
        ready,
        cordoned: object
            .pointer("/spec/unschedulable")
            .and_then(Value::as_bool)
            .unwrap_or(false),
    };
    Some((id.to_owned(), node))
}
