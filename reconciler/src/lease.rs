//! One replica works on a source at a time: a Kubernetes Lease says which. Who stops well gives it back, and the next one has it
//! at once; who is killed loses it when it was not renewed for its duration, by the clock of the one who waits.

use crate::control::make_namespace;
use crate::pause::Pause;
use futures::StreamExt as _;
use jiff::Timestamp;
use myelin_engine::cluster::{Cluster, ClusterError, Mode, Selection, Target, WatchEvent, kinds};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A lease that was not renewed for so long is free.
const DURATION: Duration = Duration::from_secs(4);
/// How often the holder renews it.
const RENEW: Duration = Duration::from_secs(1);
/// How long a holder that cannot renew still believes in it: less than others wait, so that two never work at once.
const BELIEVE: Duration = Duration::from_millis(2_500);

/// The lease of one source.
#[derive(Clone)]
pub(crate) struct Lease {
    cluster: Arc<dyn Cluster>,
    target: Target,
    identity: String,
}

impl Lease {
    pub(crate) fn new(cluster: Arc<dyn Cluster>, namespace: &str, source: &str, identity: &str) -> Self {
        Self {
            cluster,
            target: Target {
                resource: kinds::known("coordination.k8s.io/v1", "Lease"),
                namespace: namespace.to_owned(),
                name: format!("myelin-source-{source}"),
            },
            identity: identity.to_owned(),
        }
    }

    /// Waits until the lease is ours, or `stop`. Answers whether it is.
    pub(crate) async fn acquire(&self, stop: &CancellationToken) -> bool {
        let mut pause = Pause::default();
        while !stop.is_cancelled() {
            let attempt = stop.run_until_cancelled(self.attempt()).await;
            match attempt {
                Some(Ok(())) => return true,
                Some(Err(error)) => {
                    tracing::warn!(lease = self.target.name, %error, "the lease could not be read or taken");
                    stop.run_until_cancelled(pause.rest()).await;
                }
                None => {}
            }
        }
        false
    }

    /// Waits for the lease to be free and takes it. An error means: look again.
    async fn attempt(&self) -> Result<(), ClusterError> {
        let mut seen: Option<(Value, Instant)> = None;
        loop {
            let Some(live) = self.cluster.get(&self.target).await? else {
                match self.cluster.create(&self.target, &self.body(None), Mode::Real).await {
                    Err(error) if error.is_already_exists() => continue,
                    Err(error) if error.is_not_found() => {
                        make_namespace(&*self.cluster, &self.target.namespace).await?;
                        continue;
                    }
                    other => return other.map(|_| ()),
                }
            };
            let since = match &seen {
                Some((before, since)) if before["spec"] == live["spec"] => *since,
                _ => Instant::now(),
            };
            let holder = live
                .pointer("/spec/holderIdentity")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if holder.is_empty() || holder == self.identity || since.elapsed() >= DURATION {
                match self.cluster.update(&self.target, &self.body(Some(&live))).await {
                    Err(error) if error.is_conflict() => continue,
                    other => return other.map(|_| ()),
                }
            }
            let version = live
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str)
                .unwrap_or_default();
            self.changes(version, since + DURATION).await;
            seen = Some((live, since));
        }
    }

    /// Returns when the lease changes after a version, or at a time.
    async fn changes(&self, version: &str, until: Instant) {
        let selection = Selection {
            namespace: Some(self.target.namespace.clone()),
            fields: format!("metadata.name={}", self.target.name),
            ..Selection::default()
        };
        let change = async {
            let Ok(mut events) = self.cluster.watch(&self.target.resource, &selection, version).await else {
                return std::future::pending().await;
            };
            while let Some(Ok(event)) = events.next().await {
                if !matches!(event, WatchEvent::Bookmark(_)) {
                    return;
                }
            }
            std::future::pending::<()>().await;
        };
        let _ = tokio::time::timeout_at(until, change).await;
    }

    /// Renews the lease until `stop`; ends before it is another's when it cannot be renewed.
    pub(crate) async fn keep(&self, stop: &CancellationToken) {
        let mut renewed = Instant::now();
        loop {
            if stop.run_until_cancelled(tokio::time::sleep(RENEW)).await.is_none() {
                return;
            }
            match tokio::time::timeout(BELIEVE, self.renew()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => {
                    tracing::warn!(lease = self.target.name, "another replica holds the lease");
                    return;
                }
                _ if renewed.elapsed() >= BELIEVE => {
                    tracing::warn!(
                        lease = self.target.name,
                        "the lease could not be renewed; others may take it"
                    );
                    return;
                }
                _ => {}
            }
        }
    }

    async fn renew(&self) -> Result<bool, ClusterError> {
        let Some(live) = self.cluster.get(&self.target).await? else {
            return Ok(false);
        };
        if live.pointer("/spec/holderIdentity").and_then(Value::as_str) != Some(&self.identity) {
            return Ok(false);
        }
        match self.cluster.update(&self.target, &self.body(Some(&live))).await {
            Err(error) if error.is_conflict() => Ok(false),
            other => other.map(|_| true),
        }
    }

    /// Gives it back, so that the next one need not wait.
    pub(crate) async fn release(&self) {
        let Ok(Some(mut live)) = self.cluster.get(&self.target).await else {
            return;
        };
        if live.pointer("/spec/holderIdentity").and_then(Value::as_str) == Some(&self.identity) {
            live["spec"]["holderIdentity"] = "".into();
            if let Err(error) = self.cluster.update(&self.target, &live).await {
                tracing::warn!(lease = self.target.name, %error, "the lease was not given back; it expires");
            }
        }
    }

    fn body(&self, live: Option<&Value>) -> Value {
        let now = format!("{:.6}", Timestamp::now());
        let mut body = live.cloned().unwrap_or_else(|| {
            json!({
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {
                    "name": self.target.name,
                    "namespace": self.target.namespace,
                    "labels": {"app.kubernetes.io/managed-by": "myelin"},
                },
                "spec": {"leaseTransitions": 0},
            })
        });
        let spec = &mut body["spec"];
        if spec["holderIdentity"].as_str() != Some(&self.identity) {
            spec["leaseTransitions"] = (spec["leaseTransitions"].as_i64().unwrap_or(0) + 1).into();
            spec["acquireTime"] = now.as_str().into();
        }
        spec["holderIdentity"] = self.identity.as_str().into();
        spec["leaseDurationSeconds"] = DURATION.as_secs().into();
        spec["renewTime"] = now.into();
        body
    }
}
