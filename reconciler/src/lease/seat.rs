//! The Lease of one source: who works on it. Written only when it changes hands.

use super::LABEL;
use super::choice::{Choice, choose, preferred};
use super::replica::Replica;
use crate::control::make_namespace;
use crate::pause::Pause;
use jiff::Timestamp;
use myelin_engine::cluster::{Cluster, ClusterError, Mode, Precondition, Propagation, Target, kinds};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A replica that has beaten for so long is there to stay: sources that should be its go over to it.
const SETTLED: Duration = Duration::from_secs(20);
/// How often a holder checks whether another replica should have its source.
const REVIEW: Duration = Duration::from_secs(10);

/// The Lease of one source, as this replica sees it.
#[derive(Clone)]
pub(crate) struct Seat {
    cluster: Arc<dyn Cluster>,
    replica: Replica,
    source: String,
    target: Target,
}

impl Seat {
    pub(crate) fn new(cluster: Arc<dyn Cluster>, replica: Replica, source: &str) -> Self {
        Self {
            target: Target {
                resource: kinds::known("coordination.k8s.io/v1", "Lease"),
                namespace: replica.shared.namespace.clone(),
                name: format!("myelin-source-{source}"),
            },
            cluster,
            replica,
            source: source.to_owned(),
        }
    }

    fn me(&self) -> &str {
        &self.replica.shared.identity
    }

    /// Waits until the source is ours, or `stop`. Answers whether it is.
    pub(crate) async fn acquire(&self, stop: &CancellationToken) -> bool {
        let mut pause = Pause::default();
        while !stop.is_cancelled() {
            match stop.run_until_cancelled(self.attempt()).await {
                Some(Ok(())) => return true,
                Some(Err(error)) => {
                    tracing::warn!(lease = self.target.name, %error, "the lease could not be taken");
                    stop.run_until_cancelled(pause.rest()).await;
                }
                None => {}
            }
        }
        false
    }

    async fn attempt(&self) -> Result<(), ClusterError> {
        let shared = &self.replica.shared;
        let mut believed = shared.believed.subscribe();
        let mut seats = shared.seats.subscribe();
        let mut deferred = false;
        loop {
            // The senders live as long as we do.
            let _ = believed.wait_for(|believed| *believed).await;
            let _ = seats.wait_for(Option::is_some).await;
            let seat = seats
                .borrow_and_update()
                .as_ref()
                .and_then(|seats| seats.get(&self.source).cloned());
            let now = Instant::now();
            let (choice, mine) = {
                let beats = shared.beats();
                let choice = choose(seat.as_ref().and_then(holder), self.me(), &beats, shared.pace, now);
                let mine = preferred(&self.source, self.me(), &beats, shared.pace, now) == self.me();
                (choice, mine)
            };
            let dead = match choice {
                Choice::Wait(until) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => {}
                        _ = seats.changed() => {}
                    }
                    continue;
                }
                Choice::Take => None,
                Choice::TakeFrom(holder) => Some(holder),
            };
            // It should be another's: it gets a little time to take it.
            if !mine && !deferred {
                deferred = true;
                tokio::select! {
                    () = tokio::time::sleep(shared.pace.silence) => {}
                    _ = seats.changed() => {}
                }
                continue;
            }
            if let Some(dead) = &dead
                && !self.is_silent(dead).await?
            {
                continue;
            }
            if self.write(seat.as_ref(), self.me()).await? {
                if let Some(dead) = dead {
                    tracing::warn!(
                        source = self.source,
                        from = dead,
                        "took the source over from a silent replica"
                    );
                }
                return Ok(());
            }
        }
    }

    /// Checks once more before a source is taken from a replica, in case the watch is behind. Deletes its Lease.
    async fn is_silent(&self, replica: &str) -> Result<bool, ClusterError> {
        let shared = &self.replica.shared;
        let target = shared.target(replica);
        let known = shared.beats().get(replica).map(|beat| beat.version.clone());
        let Some(live) = self.cluster.get(&target).await? else {
            return Ok(true);
        };
        let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if known.as_deref() != Some(text("/metadata/resourceVersion")) {
            // It lives. The watch will say so as well; until then there is nothing to be done.
            tokio::time::sleep(shared.pace.beat()).await;
            return Ok(false);
        }
        let precondition = Precondition {
            uid: text("/metadata/uid").to_owned(),
            resource_version: known,
        };
        match self
            .cluster
            .delete(&target, &precondition, Propagation::Background, Mode::Real)
            .await
        {
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(true),
        }
    }

    /// Writes a holder, if the Lease is still as it was seen. False when it is not.
    async fn write(&self, seen: Option<&Value>, holder: &str) -> Result<bool, ClusterError> {
        let body = self.body(seen, holder);
        let written = match seen {
            Some(_) => self.cluster.update(&self.target, &body).await,
            None => match self.cluster.create(&self.target, &body, Mode::Real).await {
                Err(error) if error.is_not_found() => {
                    make_namespace(&*self.cluster, &self.target.namespace).await?;
                    return Ok(false);
                }
                other => other,
            },
        };
        match written {
            Ok(lease) => {
                // What the watch brings next is this or newer: what was replaced, it has brought already.
                self.replica.shared.seats.send_modify(|seats| {
                    seats.get_or_insert_default().insert(self.source.clone(), lease);
                });
                Ok(true)
            }
            Err(error) if error.is_conflict() || error.is_already_exists() || error.is_not_found() => {
                // The watch brings what came between.
                tokio::time::sleep(self.replica.shared.pace.beat() / 4).await;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns when the source is no longer ours: another replica has it, our heartbeats are not confirmed, or it
    /// should be another's.
    pub(crate) async fn keep(&self, stop: &CancellationToken) {
        let shared = &self.replica.shared;
        let mut believed = shared.believed.subscribe();
        let mut seats = shared.seats.subscribe();
        let lost = seats.wait_for(|seats| {
            let seat = seats.as_ref().and_then(|seats| seats.get(&self.source));
            seat.is_none_or(|seat| holder(seat) != Some(self.me()))
        });
        let review = async {
            loop {
                tokio::time::sleep(REVIEW).await;
                let now = Instant::now();
                let beats = shared.beats();
                let chosen = preferred(&self.source, self.me(), &beats, shared.pace, now);
                let settled = |beat: &super::choice::Beat| now >= beat.since + SETTLED;
                if chosen != self.me() && beats.get(chosen).is_some_and(settled) {
                    return chosen.to_owned();
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = believed.wait_for(|believed| !believed) => {}
            _ = lost => tracing::warn!(source = self.source, "another replica has the source now"),
            to = review => tracing::info!(source = self.source, to, "the source goes over to a replica that joined"),
        }
    }

    /// Gives the source back, so that the next one need not wait.
    pub(crate) async fn release(&self) {
        let seat = self
            .replica
            .shared
            .seats
            .borrow()
            .as_ref()
            .and_then(|seats| seats.get(&self.source).cloned());
        let Some(seat) = seat.filter(|seat| holder(seat) == Some(self.me())) else {
            return;
        };
        if let Err(error) = self.write(Some(&seat), "").await {
            tracing::warn!(source = self.source, %error, "the source was not given back; it is free when we are silent");
        }
    }

    fn body(&self, seen: Option<&Value>, holder: &str) -> Value {
        let now = format!("{:.6}", Timestamp::now());
        let mut body = seen.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": self.target.name,
                    "namespace": self.target.namespace,
                    "labels": {"app.kubernetes.io/managed-by": "myelin", LABEL: "source"},
                },
                "spec": {"leaseTransitions": 0},
            })
        });
        // Leases of an older version carry no label and would not be seen.
        body["metadata"]["labels"][LABEL] = "source".into();
        let spec = &mut body["spec"];
        spec["leaseTransitions"] = (spec["leaseTransitions"].as_i64().unwrap_or(0) + 1).into();
        spec["acquireTime"] = now.as_str().into();
        spec["renewTime"] = now.into();
        spec["holderIdentity"] = holder.into();
        spec["leaseDurationSeconds"] = self.replica.shared.pace.silence.as_secs().max(1).into();
        body
    }
}

/// Who holds a Lease; None when nobody does.
fn holder(lease: &Value) -> Option<&str> {
    let holder = lease.pointer("/spec/holderIdentity").and_then(Value::as_str)?;
    (!holder.is_empty()).then_some(holder)
}
