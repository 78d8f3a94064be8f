//! Kubernetes Events about changes, on the source's ConfigMap and on the objects, so that `kubectl describe` and
//! `kubectl get events` show what the reconciler did and why.
//!
//! Everything is bounded: the queue, the rate, the length. A repeated event within ten minutes increments the series of
//! the first one instead of creating another. An event that cannot be written is dropped and logged; nothing waits for
//! it. The texts come from plans and verdicts, where secret values are masked.

use jiff::Timestamp;
use myelin_engine::cluster::{Cluster, ClusterError, Mode, Resource, Target, kinds};
use myelin_engine::object::{ObjectKey, split_api_version};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Who reports, in every event.
pub(crate) const CONTROLLER: &str = "myelin";
/// Events that may wait to be written.
const QUEUE: usize = 256;
/// Events that may be written at once after a rest.
const BURST: u32 = 60;
/// After a burst, one each so often.
const EACH: Duration = Duration::from_millis(500);
/// The same again within this time belongs to the same series.
const SERIES: Duration = Duration::from_secs(600);
/// Series that are remembered.
const REMEMBERED: usize = 1_000;
/// The API server takes 1 KiB of note.
const LONGEST: usize = 1_000;

/// How an event is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// As it should be.
    Normal,
    /// Worth a look.
    Warning,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    /// The source itself.
    Source,
    /// An object, at the apiVersion that it is applied at.
    Object(ObjectKey, String),
}

/// Something to tell.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Event {
    pub(crate) about: About,
    pub(crate) kind: Kind,
    /// In CamelCase, one of a few.
    pub(crate) reason: &'static str,
    /// What was done, in CamelCase.
    pub(crate) action: &'static str,
    pub(crate) note: String,
}

/// Takes events and writes them beside everything else.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<Event>,
}

impl Events {
    /// Starts the writer; it ends with the last clone of what is returned.
    pub(crate) fn start(cluster: Arc<dyn Cluster>, namespace: &str, source: &str) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let writer = Writer {
            cluster,
            source: Target {
                resource: kinds::known("v1", "ConfigMap"),
                namespace: namespace.to_owned(),
                name: format!("myelin-source-{source}"),
            },
            instance: std::env::var("HOSTNAME").unwrap_or_else(|_| CONTROLLER.to_owned()),
            known: BTreeMap::new(),
            allowance: Allowance {
                left: BURST,
                since: Instant::now(),
            },
            dropped: 0,
        };
        tokio::spawn(writer.run(waiting));
        Self { queue }
    }

    /// Queues an event. Never waits: what does not fit into the queue is dropped.
    pub(crate) fn tell(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            tracing::debug!("an event did not fit into the queue");
        }
    }

    /// Tells something about the source.
    pub(crate) fn of_source(&self, kind: Kind, reason: &'static str, action: &'static str, note: String) {
        self.tell(Event {
            about: About::Source,
            kind,
            reason,
            action,
            note,
        });
    }
}

/// So many at once, then one after the other.
#[derive(Debug)]
struct Allowance {
    left: u32,
    since: Instant,
}

impl Allowance {
    /// Whether one more may be written now.
    fn take(&mut self, now: Instant) -> bool {
        let gained = now.duration_since(self.since).as_millis() / EACH.as_millis();
        if gained > 0 {
            self.left = self
                .left
                .saturating_add(u32::try_from(gained).unwrap_or(BURST))
                .min(BURST);
            self.since = now;
        }
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

/// An event that was written.
#[derive(Debug)]
struct Series {
    target: Target,
    count: u32,
    first: Instant,
}

struct Writer {
    cluster: Arc<dyn Cluster>,
    source: Target,
    instance: String,
    known: BTreeMap<Event, Series>,
    allowance: Allowance,
    dropped: u64,
}

impl Writer {
    async fn run(mut self, mut waiting: mpsc::Receiver<Event>) {
        while let Some(mut event) = waiting.recv().await {
            shorten(&mut event.note);
            if !self.allowance.take(Instant::now()) {
                self.dropped += 1;
                continue;
            }
            if let Err(error) = self.put(event).await {
                tracing::warn!(source = self.source.name, %error, "an event could not be written");
            }
            if self.dropped > 0 && self.allowance.take(Instant::now()) {
                let note = format!("{} more events were left out to spare the cluster", self.dropped);
                self.dropped = 0;
                let summary = Event {
                    about: About::Source,
                    kind: Kind::Normal,
                    reason: "EventsLeftOut",
                    action: "Report",
                    note,
                };
                if let Err(error) = self.put(summary).await {
                    tracing::warn!(source = self.source.name, %error, "an event could not be written");
                }
            }
        }
    }

    async fn put(&mut self, event: Event) -> Result<(), ClusterError> {
        let now = Instant::now();
        self.known.retain(|_, series| now.duration_since(series.first) < SERIES);
        if let Some(series) = self.known.get_mut(&event) {
            series.count += 1;
            let patch = json!([{
                "op": "add",
                "path": "/series",
                "value": {"count": series.count, "lastObservedTime": micro()},
            }]);
            match self.cluster.json_patch(&series.target, &patch, Mode::Real).await {
                // The event has expired: it is created again.
                Err(error) if error.is_not_found() => {
                    self.known.remove(&event);
                }
                other => return other.map(|_| ()),
            }
        }
        let regarding = self.regarding(&event.about).await?;
        // Events of cluster-scoped objects live in `default`, as the API server demands.
        let namespace = match regarding["namespace"].as_str() {
            None | Some("") => "default".to_owned(),
            Some(namespace) => namespace.to_owned(),
        };
        let stem: String = regarding["name"]
            .as_str()
            .unwrap_or_default()
            .chars()
            .take(200)
            .collect();
        let target = Target {
            resource: kinds::known("events.k8s.io/v1", "Event"),
            namespace,
            name: format!("{stem}.{:016x}", rand::random::<u64>()),
        };
        let body = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": target.name,
                "namespace": target.namespace,
                "labels": {"app.kubernetes.io/managed-by": "myelin"},
            },
            "eventTime": micro(),
            "reportingController": CONTROLLER,
            "reportingInstance": self.instance,
            "type": match event.kind { Kind::Normal => "Normal", Kind::Warning => "Warning" },
            "reason": event.reason,
            "action": event.action,
            "note": event.note,
            "regarding": regarding,
            "related": {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "namespace": self.source.namespace,
                "name": self.source.name,
            },
        });
        self.cluster.create(&target, &body, Mode::Real).await?;
        while self.known.len() >= REMEMBERED {
            self.known.pop_first();
        }
        self.known.insert(
            event,
            Series {
                target,
                count: 1,
                first: now,
            },
        );
        Ok(())
    }

    /// What the event is about, with its UID: `kubectl describe` finds events by it.
    async fn regarding(&self, about: &About) -> Result<Value, ClusterError> {
        let target = match about {
            About::Source => Some(self.source.clone()),
            About::Object(key, api_version) => self.resource(api_version, &key.kind).await?.map(|resource| Target {
                resource,
                namespace: key.namespace.clone(),
                name: key.name.clone(),
            }),
        };
        let live = match &target {
            Some(target) => self.cluster.get(target).await?,
            None => None,
        };
        let mut regarding = match about {
            About::Source => json!({
                "apiVersion": "v1", "kind": "ConfigMap",
                "namespace": self.source.namespace, "name": self.source.name,
            }),
            About::Object(key, api_version) => json!({
                "apiVersion": api_version, "kind": key.kind, "name": key.name,
            }),
        };
        if let About::Object(key, _) = about
            && !key.namespace.is_empty()
        {
            regarding["namespace"] = key.namespace.as_str().into();
        }
        if let Some(uid) = live.as_ref().and_then(|live| live.pointer("/metadata/uid")) {
            regarding["uid"] = uid.clone();
        }
        Ok(regarding)
    }

    async fn resource(&self, api_version: &str, kind: &str) -> Result<Option<Resource>, ClusterError> {
        if let Some(resource) = kinds::built_in(api_version, kind) {
            return Ok(Some(resource));
        }
        if kinds::is_built_in_group(split_api_version(api_version).0) {
            return Ok(None);
        }
        let served = self.cluster.discover(api_version).await?.unwrap_or_default();
        Ok(served.into_iter().find(|resource| resource.kind == kind))
    }
}

fn shorten(note: &mut String) {
    if note.len() > LONGEST {
        let mut end = LONGEST;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push('…');
    }
}

fn micro() -> String {
    format!("{:.6}", Timestamp::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_events_come_at_a_rate() {
        let now = Instant::now();
        let mut allowance = Allowance {
            left: BURST,
            since: now,
        };
        let taken = (0..200).filter(|_| allowance.take(now)).count();
        assert_eq!(taken, BURST as usize);
        let later = now + EACH * 3;
        let taken = (0..200).filter(|_| allowance.take(later)).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn a_long_note_is_cut_at_a_character() {
        let mut note = "ä".repeat(2_000);
        shorten(&mut note);
        assert!(note.len() <= LONGEST + '…'.len_utf8() && note.ends_with('…'));
    }
}
