//! Starts a node from its configuration, and runs it to its end.

use super::control::{Control, Wishes};
use super::view::{Shared, set};
use crate::admin;
use crate::backoff;
use crate::config::{self, Config};
use crate::credentials::Credentials;
use crate::drain::notices::{self, Notices};
use crate::ec2::{Ec2, Endpoints};
use crate::front::forward::Front;
use crate::front::serve;
use crate::gossip::net;
use crate::identity::{self, Identity, IdentityError, TAG_STATE};
use crate::metadata::{Metadata, MetadataError};
use crate::presence::Tag;
use crate::state_tag;
use crate::workload::supervise::{self, Health, Order, Status};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

/// How long the metadata service may be unavailable when the agent starts. After that the agent exits, and systemd
/// restarts it.
const IDENTITY: Duration = Duration::from_secs(600);

/// How often the loop runs without an event.
const LOOK: Duration = Duration::from_millis(200);

/// How long a finished node waits for EC2 to accept its last tag.
const LAST_TAG: Duration = Duration::from_secs(8);

/// How long requests that pass through a finished node may take to finish.
const FRONT: Duration = Duration::from_secs(30);

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// There is nothing to run.
    #[error(
        "there is no workload: write the command after `--`, or workload.command or workload.health in the configuration"
    )]
    NoWorkload,
    /// The identity is unknown.
    #[error("{0}")]
    Identity(#[from] IdentityError),
    /// The metadata service's address is none.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// An endpoint is none, or a part cannot start.
    #[error("{0}")]
    Part(String),
    /// Signals cannot be received.
    #[error("listen for signals: {0}")]
    Signals(#[from] std::io::Error),
}

/// Runs a node until it is told to stop and has drained.
///
/// # Errors
/// When it cannot start.
pub async fn run(config: Config) -> Result<(), RunError> {
    if config.workload.command.is_empty() && config.workload.health.is_none() {
        return Err(RunError::NoWorkload);
    }
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let endpoint = std::env::var("AWS_EC2_METADATA_SERVICE_ENDPOINT")
        .ok()
        .filter(|v| !v.is_empty());
    let metadata = Arc::new(Metadata::new(endpoint.as_deref())?);
    let identity = tokio::select! {
        identity = who(&metadata, &config) => identity?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tracing::info!(instance = identity.instance, cluster = identity.cluster, role = identity.role, zone = identity.zone, address = %identity.address, "this is the node");
    if let (Some(front), Some(_)) = (&config.front, &config.peers)
        && front.listen.ip().is_loopback()
        && !identity.address.is_loopback()
    {
        let (listen, address) = (front.listen, identity.address);
        tracing::warn!(%listen, %address, "front.listen is a loopback address: peers cannot pass requests to this node; listen on its address, or on 0.0.0.0");
    }
    let left = metadata.get(&format!("meta-data/tags/instance/{TAG_STATE}")).await;
    // A draining node must not begin to serve because the agent was restarted.
    let first = notices::look(&metadata, &Notices::default(), Duration::ZERO).await;

    let credentials = Credentials::new(Credentials::from_environment(), Arc::clone(&metadata));
    let ec2 = Ec2::new(&identity.region, &Endpoints::from_environment(), credentials).map_err(RunError::Part)?;
    let ec2 = Arc::new(ec2);
    let (asks, mut asked) = mpsc::channel(16);
    let shared = Arc::new(Shared::new(identity, Arc::clone(&ec2), asks));
    // Before the workload: where an address is taken, nothing was started that would have to be ended.
    let front = match config.front.clone() {
        Some(front) => Some(
            serve::serve(Front::new(front, Arc::clone(&shared)))
                .await
                .map_err(RunError::Part)?,
        ),
        None => None,
    };
    let parts = admin::serve(&config.admin, &shared).await.map_err(RunError::Part)?;
    let (tag, tag_wish) = watch::channel(None);
    let (told_tag, told) = watch::channel(matches!(left, Ok(None)).then_some(Tag::Absent));
    let rebalance = first.rebalance && config.drain.rebalance == config::Rebalance::Drain;
    let held = rebalance || !first.is_empty();
    let (order, order_seen) = watch::channel(if held { Order::Terminate } else { Order::Run });
    let (tell_status, mut status) = watch::channel(Status {
        health: if held { Health::Stopped } else { Health::Starting(None) },
        pid: None,
        restarts: 0,
    });
    let (tell_notices, mut seen) = watch::channel(first);
    let poll = tokio::spawn(poll(Arc::clone(&metadata), Arc::clone(&shared), tell_notices));
    let keeper = tokio::spawn(state_tag::keep(
        ec2,
        shared.identity.instance.clone(),
        tag_wish,
        told_tag,
        members(&shared),
    ));
    let workload = tokio::spawn(supervise::supervise(config.workload.clone(), order_seen, tell_status));
    let (leave, left_word) = oneshot::channel();
    let peers = config.peers.clone().map(|peers| {
        let tags = net::Tags {
            cluster: config.identity.cluster_tag.clone(),
            role: config.identity.role_tag.clone(),
        };
        let port = config.front.as_ref().map_or(0, |f| f.listen.port());
        tokio::spawn(net::run(peers, tags, port, Arc::clone(&shared), left_word))
    });
    let mut control = Control::new(Arc::clone(&shared), &config, Wishes { order, tag }, held);
    let mut look = tokio::time::interval(LOOK);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = look.tick() => {}
            _ = status.changed() => {}
            _ = seen.changed() => {}
            Some(ask) = asked.recv() => control.ask(ask),
            _ = terminate.recv() => control.stop = true,
            _ = interrupt.recv() => control.stop = true,
        }
        let workload = status.borrow().clone();
        let notices = seen.borrow().clone();
        if control.look(&notices, &workload, *told.borrow()) {
            break;
        }
    }
    // Requests that this front passes to peers are not the workload's, and may finish.
    if let Some(front) = front {
        front.close(control.left().min(FRONT)).await;
    }
    let _ = leave.send(());
    if let Some(peers) = peers {
        // It announces that it leaves and ends; nodes that it does not reach find out.
        let _ = tokio::time::timeout(Duration::from_secs(1), peers).await;
    }
    let mut told = told;
    let untagged = told.wait_for(|t| *t == Some(Tag::Absent));
    if tokio::time::timeout(LAST_TAG, untagged).await.is_err() {
        tracing::warn!("EC2 did not take the last state of the tag in time; the pool sees the node as draining");
    }
    for task in [poll, keeper, workload] {
        task.abort();
    }
    drop(parts);
    Ok(())
}

/// Number of peers of a node.
fn members(shared: &Arc<Shared>) -> impl Fn() -> usize + Send + use<> {
    let peers = shared.peers.subscribe();
    move || peers.borrow().len()
}

/// Requests the identity until the metadata service answers, for a while.
async fn who(metadata: &Metadata, config: &Config) -> Result<Identity, IdentityError> {
    let began = Instant::now();
    let mut failures = 0;
    loop {
        match identity::read(metadata, &config.identity).await {
            Ok(identity) => return Ok(identity),
            Err(error) if began.elapsed() >= IDENTITY => return Err(error),
            Err(error) => {
                failures += 1;
                let longest = Duration::from_secs(15);
                let wait = backoff::full_jitter(Duration::from_secs(1), longest, failures, rand::random());
                tracing::warn!(%error, "the node does not know who it is yet");
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// Polls for notices as long as there is a receiver.
async fn poll(metadata: Arc<Metadata>, shared: Arc<Shared>, tell: watch::Sender<Notices>) {
    while !tell.is_closed() {
        tokio::time::sleep(notices::EVERY).await;
        let known = tell.borrow().clone();
        let next = notices::look(&metadata, &known, shared.now()).await;
        if let Some(trouble) = next.trouble.as_ref().filter(|_| known.trouble.is_none()) {
            tracing::warn!(trouble, "notices cannot be read; what is known stays");
        }
        if next.trouble.is_none() && known.trouble.is_some() {
            tracing::info!("notices are read again");
        }
        set(&tell, next);
    }
}
