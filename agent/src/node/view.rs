//! What the parts of a node share, and what the node reports to users.

use crate::ec2::Ec2;
use crate::front::counters::Counters;
use crate::gossip::peer::Peer;
use crate::identity::Identity;
use crate::node::Ask;
use crate::presence::Presence;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

/// The drain that is on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DrainView {
    /// Why.
    pub causes: Vec<&'static str>,
    /// The step: `finishing`, `hook`, `terminating`, `drained`.
    pub step: &'static str,
    /// Seconds until everything must have ended.
    pub seconds_left: u64,
}

/// What the node says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// Instance id.
    pub instance: String,
    /// Cluster.
    pub cluster: String,
    /// Role.
    pub role: String,
    /// Zone.
    pub zone: String,
    /// Private address.
    pub address: String,
    /// Its presence.
    pub presence: Presence,
    /// The workload.
    pub workload: &'static str,
    /// Why the workload is not healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Number of restarts.
    pub restarts: u64,
    /// Requests that it works on for the front.
    pub in_flight: u32,
    /// The state tag that EC2 has accepted; `none` for none.
    pub tag: &'static str,
    /// The drain that is on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainView>,
    /// What is wrong with the metadata service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata_trouble: Option<String>,
    /// Why there are no peers, where there should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers_trouble: Option<String>,
}

/// What the parts share.
#[derive(Debug)]
pub struct Shared {
    /// The node's identity.
    pub identity: Identity,
    /// Start of the monotonic clock.
    pub started: Instant,
    /// Requests to EC2, and their counts.
    pub ec2: Arc<Ec2>,
    /// The node's presence.
    pub presence: watch::Sender<Presence>,
    /// The other nodes of this cluster and role.
    pub peers: watch::Sender<Arc<Vec<Peer>>>,
    /// Why there are no peers, where there should be.
    pub peers_trouble: watch::Sender<Option<String>>,
    /// What it says of itself.
    pub view: watch::Sender<View>,
    /// Users' requests.
    pub asks: mpsc::Sender<Ask>,
    /// The front's counters.
    pub counters: Counters,
    /// Packets of gossip that were dropped.
    pub dropped: Dropped,
}

/// Packets of gossip that were dropped.
#[derive(Debug, Default)]
pub struct Dropped {
    /// From strangers.
    pub foreign: AtomicU64,
    /// Played again.
    pub replayed: AtomicU64,
    /// Of members, and of no use.
    pub unreadable: AtomicU64,
}

impl Shared {
    /// Of a node that starts and knows no peers yet.
    #[must_use]
    pub fn new(identity: Identity, ec2: Arc<Ec2>, asks: mpsc::Sender<Ask>) -> Self {
        let view = View {
            instance: identity.instance.clone(),
            cluster: identity.cluster.clone(),
            role: identity.role.clone(),
            zone: identity.zone.clone(),
            address: identity.address.to_string(),
            presence: Presence::Starting,
            workload: "starting",
            why: None,
            pid: None,
            restarts: 0,
            in_flight: 0,
            tag: "unknown",
            drain: None,
            metadata_trouble: None,
            peers_trouble: None,
        };
        Self {
            identity,
            started: Instant::now(),
            ec2,
            presence: watch::Sender::new(Presence::Starting),
            peers: watch::Sender::new(Arc::new(Vec::new())),
            peers_trouble: watch::Sender::new(None),
            view: watch::Sender::new(view),
            asks,
            counters: Counters::default(),
            dropped: Dropped::default(),
        }
    }

    /// Now, on the monotonic clock.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Publishes only changes.
pub(super) fn set<T: PartialEq>(channel: &watch::Sender<T>, value: T) {
    channel.send_if_modified(|held| {
        let changed = *held != value;
        *held = value;
        changed
    });
}
