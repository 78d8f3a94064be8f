//! This replica among others: it sends heartbeats, receives those of others, and knows who holds which source.

use super::LABEL;
use super::choice::{Beat, Pace};
use crate::control::make_namespace;
use crate::pause::Pause;
use futures::StreamExt as _;
use jiff::Timestamp;
use myelin_engine::cluster::{
    Cluster, ClusterError, Mode, Precondition, Propagation, Selection, Target, WatchEvent, kinds,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The Lease of a replica that has not beaten for so long, by everybody's clock, is litter.
const LITTER: Duration = Duration::from_secs(3600);

/// Leases of sources as they were last seen, by source.
pub(super) type Seats = BTreeMap<String, Value>;

/// This replica.
#[derive(Clone)]
pub(crate) struct Replica {
    pub(super) shared: Arc<Shared>,
}

/// What the heartbeat thread and the working tasks share.
pub(super) struct Shared {
    pub(super) identity: String,
    pub(super) namespace: String,
    pub(super) pace: Pace,
    beats: Mutex<BTreeMap<String, Beat>>,
    /// None before the first list.
    pub(super) seats: watch::Sender<Option<Seats>>,
    /// Whether our own heartbeat was confirmed recently.
    pub(super) believed: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn beats(&self) -> MutexGuard<'_, BTreeMap<String, Beat>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The Lease of a replica.
    pub(super) fn target(&self, identity: &str) -> Target {
        Target {
            resource: kinds::known("coordination.k8s.io/v1", "Lease"),
            namespace: self.namespace.clone(),
            name: format!("myelin-replica-{identity}"),
        }
    }
}

impl Replica {
    /// A replica with a name of its own that sends heartbeats until `stop`; then it deletes its Lease.
    pub(crate) fn new(namespace: &str, pace: Pace) -> Self {
        Self {
            shared: Arc::new(Shared {
                identity: identity(),
                namespace: namespace.to_owned(),
                pace,
                beats: Mutex::default(),
                seats: watch::Sender::new(None),
                believed: watch::Sender::new(false),
            }),
        }
    }

    /// Whether the cluster has confirmed our heartbeat recently.
    pub(crate) fn is_believed(&self) -> bool {
        *self.shared.believed.borrow()
    }

    /// Sends and receives heartbeats until `stop`. Belongs into a thread of its own.
    pub(crate) async fn live(&self, cluster: Arc<dyn Cluster>, stop: CancellationToken) {
        let listening = stop.run_until_cancelled(listen(&self.shared, &*cluster));
        let beating = beat(&self.shared, &*cluster, &stop);
        futures::join!(listening, beating);
    }
}

/// Our identity: the pod's name if there is one, and unique at every start. Part of the name of an object.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_default().to_ascii_lowercase();
    let host: String = host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
        .take(60)
        .collect();
    let host = host.trim_matches('-');
    let host = if host.is_empty() { "myelin" } else { host };
    format!("{host}-{:08x}", rand::random::<u32>())
}

async fn beat(shared: &Shared, cluster: &dyn Cluster, stop: &CancellationToken) {
    let target = shared.target(&shared.identity);
    let mut live: Option<Value> = None;
    let mut confirmed: Option<Instant> = None;
    let mut tick = tokio::time::interval(shared.pace.beat());
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let asked = Instant::now();
        // A heartbeat that is not confirmed in time is worthless; the next one is sent.
        let answer = {
            let sent = tokio::time::timeout(shared.pace.belief(), once(shared, cluster, &target, live.as_ref()));
            tokio::pin!(sent);
            loop {
                let end = confirmed.map(|at| at + shared.pace.belief());
                let believing = *shared.believed.borrow();
                tokio::select! {
                    answer = &mut sent => break answer,
                    () = until(end), if believing => doubt(shared),
                }
            }
        };
        match answer {
            Ok(Ok(written)) => {
                live = Some(written);
                confirmed = Some(asked);
                shared
                    .believed
                    .send_if_modified(|believed| !std::mem::replace(believed, true));
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "a beat was not confirmed");
                live = None;
            }
            Err(_) => live = None,
        }
        if confirmed.is_none_or(|at| at.elapsed() >= shared.pace.belief()) {
            doubt(shared);
        }
    }
    // A replica that has said good-bye need not be waited for.
    if let Some(uid) = live
        .as_ref()
        .and_then(|live| live.pointer("/metadata/uid"))
        .and_then(Value::as_str)
    {
        let precondition = Precondition {
            uid: uid.to_owned(),
            resource_version: None,
        };
        let gone = cluster.delete(&target, &precondition, Propagation::Background, Mode::Real);
        let _ = tokio::time::timeout(Duration::from_secs(2), gone).await;
    }
}

fn doubt(shared: &Shared) {
    let changed = shared
        .believed
        .send_if_modified(|believed| std::mem::replace(believed, false));
    if changed {
        tracing::warn!("our beats are not confirmed; sources are left to others until they are");
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// One heartbeat: one request, except after a failure, when the state of the cluster is unknown.
async fn once(
    shared: &Shared,
    cluster: &dyn Cluster,
    target: &Target,
    live: Option<&Value>,
) -> Result<Value, ClusterError> {
    let body = |live: Option<&Value>| {
        let mut body = live.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": target.name,
                    "namespace": target.namespace,
                    "labels": {"app.kubernetes.io/managed-by": "myelin", LABEL: "replica"},
                },
            })
        });
        body["spec"] = json!({
            "holderIdentity": shared.identity,
            // The field counts whole seconds; how long silence is really borne is each listener's own.
            "leaseDurationSeconds": shared.pace.silence.as_secs().max(1),
            "renewTime": format!("{:.6}", Timestamp::now()),
        });
        body
    };
    if let Some(live) = live {
        return cluster.update(target, &body(Some(live))).await;
    }
    match cluster.get(target).await? {
        Some(live) => cluster.update(target, &body(Some(&live))).await,
        None => match cluster.create(target, &body(None), Mode::Real).await {
            Err(error) if error.is_not_found() => {
                make_namespace(cluster, &target.namespace).await?;
                cluster.create(target, &body(None), Mode::Real).await
            }
            other => other,
        },
    }
}

async fn listen(shared: &Shared, cluster: &dyn Cluster) {
    let resource = kinds::known("coordination.k8s.io/v1", "Lease");
    let selection = Selection {
        namespace: Some(shared.namespace.clone()),
        labels: LABEL.to_owned(),
        ..Selection::default()
    };
    let mut pause = Pause::default();
    loop {
        if let Err(error) = follow(shared, cluster, &resource, &selection, &mut pause).await {
            tracing::warn!(%error, "the other replicas cannot be heard");
        }
        pause.rest().await;
    }
}

async fn follow(
    shared: &Shared,
    cluster: &dyn Cluster,
    resource: &myelin_engine::cluster::Resource,
    selection: &Selection,
    pause: &mut Pause,
) -> Result<(), ClusterError> {
    let list = cluster.list(resource, selection).await?;
    let mut seats = Seats::new();
    let mut there = Vec::new();
    for lease in &list.items {
        match of(lease) {
            Some(Kind::Source(source)) => {
                seats.insert(source.to_owned(), lease.clone());
            }
            Some(Kind::Replica(identity)) => {
                there.push(identity.to_owned());
                heard(shared, identity, lease);
            }
            None => {}
        }
    }
    shared.beats().retain(|identity, _| there.contains(identity));
    shared.seats.send_replace(Some(seats));
    sweep(shared, cluster, &list.items).await;
    let mut version = list.resource_version;
    loop {
        let mut events = match cluster.watch(resource, selection, &version).await {
            Err(error) if error.is_expired() => return Ok(()),
            other => other?,
        };
        pause.reset();
        let began = Instant::now();
        while let Some(event) = events.next().await {
            let (lease, gone) = match event {
                Ok(WatchEvent::Applied(lease)) => (lease, false),
                Ok(WatchEvent::Deleted(lease)) => (lease, true),
                Ok(WatchEvent::Bookmark(at)) => {
                    version = at;
                    continue;
                }
                Err(error) if error.is_expired() => return Ok(()),
                Err(error) => return Err(error),
            };
            if let Some(at) = lease.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
                at.clone_into(&mut version);
            }
            match of(&lease) {
                Some(Kind::Replica(identity)) if gone => {
                    shared.beats().remove(identity);
                    // Whose holder said good-bye is free at once.
                    shared.seats.send_modify(|_| ());
                }
                Some(Kind::Replica(identity)) => heard(shared, identity, &lease),
                Some(Kind::Source(source)) => {
                    let source = source.to_owned();
                    shared.seats.send_modify(|seats| {
                        let seats = seats.get_or_insert_default();
                        if gone {
                            seats.remove(&source);
                        } else {
                            seats.insert(source, lease);
                        }
                    });
                }
                None => {}
            }
        }
        // Servers end watches after some minutes; one that ends at once must not be restarted in a tight loop.
        if began.elapsed() < Duration::from_secs(1) {
            return Ok(());
        }
    }
}

enum Kind<'a> {
    Replica(&'a str),
    Source(&'a str),
}

fn of(lease: &Value) -> Option<Kind<'_>> {
    let name = lease.pointer("/metadata/name")?.as_str()?;
    name.strip_prefix("myelin-replica-")
        .map(Kind::Replica)
        .or_else(|| name.strip_prefix("myelin-source-").map(Kind::Source))
}

fn heard(shared: &Shared, identity: &str, lease: &Value) {
    let now = Instant::now();
    let version = lease
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut beats = shared.beats();
    match beats.get_mut(identity) {
        Some(beat) if beat.version == version => {}
        Some(beat) => {
            version.clone_into(&mut beat.version);
            beat.heard = now;
        }
        None => {
            let beat = Beat {
                version: version.to_owned(),
                heard: now,
                since: now,
            };
            beats.insert(identity.to_owned(), beat);
        }
    }
}

/// Deletes Leases of replicas that disappeared long ago.
async fn sweep(shared: &Shared, cluster: &dyn Cluster, leases: &[Value]) {
    let now = Timestamp::now().as_second();
    for lease in leases {
        let text = |pointer: &str| lease.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let Some(Kind::Replica(identity)) = of(lease) else {
            continue;
        };
        let last = text("/spec/renewTime")
            .parse::<Timestamp>()
            .map_or(now, Timestamp::as_second);
        if identity != shared.identity && now - last > LITTER.as_secs().cast_signed() {
            let precondition = Precondition {
                uid: text("/metadata/uid").to_owned(),
                resource_version: Some(text("/metadata/resourceVersion").to_owned()),
            };
            // It is alive after all, or another replica was faster.
            let _ = cluster
                .delete(
                    &shared.target(identity),
                    &precondition,
                    Propagation::Background,
                    Mode::Real,
                )
                .await;
        }
    }
}
