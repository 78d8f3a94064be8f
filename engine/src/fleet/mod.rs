//! Pools of nodes: document and the cloud's list → plan → nodes, never lost, duplicated or dropped.
//!
//! [`observe_pool`] reads, [`plan_pool`] decides, [`apply_pool`] acts until everything is as planned or reports why
//! not, and [`destroy_pool`] removes the pool. The truth is in EC2's tags: no state is needed to continue after a kill,
//! and none is kept here except recent refusals. Nothing here knows what runs on the nodes.
//!
//! - `identity` (tags, hash, tokens), `intent` (what is about to be launched, written first), `owner` (who owns the
//!   pool)
//! - `node`, `find` (a pool without its document), `observe`, `plan`, `told` (the plan as text), `step` (what to do
//!   now)
//! - `pace` (the account's request rates), then the acting rooms `look`, `launch`, `drain`, `apply`, `destroy`

mod apply;
mod cooling;
mod destroy;
mod drain;
mod find;
mod identity;
mod intent;
mod launch;
mod look;
mod node;
mod observe;
mod outcome;
mod owner;
mod pace;
mod plan;
mod step;
mod told;

pub use cooling::Cooling;
pub use find::{Found, find_pool, list_instances};
pub use identity::{
    HASH_VERSION, PoolId, TAG_ATTEMPT, TAG_CLUSTER, TAG_DRAIN, TAG_DRAIN_HOOK, TAG_HASH, TAG_HASH_VERSION, TAG_POOL,
    TAG_SLOT, TAG_STATE, TAG_UNDRAIN_HOOK, spec_hash,
};
pub use intent::{TAG_INTENT, TAG_TARGET};
pub use node::{ClusterNode, Node, NodeHealth};
pub use observe::Observed;
pub use outcome::{FleetOutcome, FleetProgress, FleetRun, NodeFacts};
pub use owner::{TAG_OWNER, hand_over_pool, pools_of};
pub use pace::Pace;
pub use plan::{FleetPlan, LEAK_AGE, NodeFate, NodePlan};

use crate::clock::Clock;
use crate::cloud::Cloud;
use crate::cluster::Cluster;
use crate::diagnostic::Diagnostics;
use crate::document::{KubernetesNodes, NodePool};
use futures::future::BoxFuture;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What a fleet acts through.
#[derive(Clone)]
pub struct Ports {
    /// The cloud.
    pub cloud: Arc<dyn Cloud>,
    /// The Kubernetes cluster that the nodes belong to, if any.
    pub cluster: Option<Arc<dyn Cluster>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// What a front end remembers of a pool. Everything works without it; it makes decisions safer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// The image that was pinned for the document's current `image`. Omit it if the document now names another source.
    pub image: Option<String>,
    /// Take the image that the parameter names now instead of the pinned one.
    pub update_image: bool,
    /// Look up what the parameter names now, in order to report it (costs two requests).
    pub look_for_newer: bool,
    /// Read the owner even if there is nothing to do (costs a request).
    pub look_for_owner: bool,
    /// Read the status checks of old nodes too (costs a request per 1000 nodes).
    pub check_health: bool,
    /// Instances that the pool had. A list that lacks them is checked by id before it is believed.
    pub nodes: BTreeSet<String>,
}

/// How to drain nodes when the document no longer exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainPolicy {
    /// Time limit of a node's drain.
    pub timeout: Duration,
    /// How to drain cluster nodes; None if the nodes are in no cluster.
    pub kubernetes: Option<KubernetesNodes>,
}

impl DrainPolicy {
    /// The policy of a document.
    #[must_use]
    pub fn of(pool: &NodePool) -> Self {
        Self {
            timeout: pool.rollout.drain_timeout,
            kubernetes: pool.kubernetes.clone(),
        }
    }
}

/// Observes a pool.
///
/// # Errors
/// The cloud or the cluster refused, did not answer, answered in part, or lists nothing although nodes are known.
/// Nothing may be decided on that.
pub fn observe_pool<'a>(
    ports: &'a Ports,
    pool: &'a NodePool,
    known: &'a Known,
    run: &'a FleetRun,
) -> BoxFuture<'a, Result<Observed, Diagnostics>> {
    Box::pin(async move {
        let cloud = pace::Paced::new(ports, run);
        observe::observe(&cloud, ports, pool, known, &run.cancel).await
    })
}

/// Decides what would change.
#[must_use]
pub fn plan_pool(pool: &NodePool, observed: &Observed, now: Timestamp) -> FleetPlan {
    plan::plan(pool, observed, now)
}

/// Executes a plan. Never fails as a whole: the outcome holds the final state, with errors among its diagnostics.
pub fn apply_pool<'a>(ports: &'a Ports, plan: &'a FleetPlan, run: &'a FleetRun) -> BoxFuture<'a, FleetOutcome> {
    Box::pin(apply::apply(ports, plan, run))
}

/// Drains and terminates every instance that carries the pool's tags, then deletes its launch templates. `known` names
/// instances that the front end remembers.
pub fn destroy_pool<'a>(
    ports: &'a Ports,
    id: &'a PoolId,
    drain: &'a DrainPolicy,
    known: &'a BTreeSet<String>,
    run: &'a FleetRun,
) -> BoxFuture<'a, FleetOutcome> {
    Box::pin(destroy::destroy(ports, id, drain, known, run))
}
