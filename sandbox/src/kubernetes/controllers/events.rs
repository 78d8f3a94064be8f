//! Events as components write them: one object for a series, counted.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::object;
use super::world::Millis;
use crate::kubernetes::registry::{Actor, Registry};

/// What to say about an object.
#[derive(Debug, Clone)]
pub(crate) struct Event<'a> {
    /// The object.
    pub(crate) about: &'a Value,
    /// Its `apiVersion` and `kind`.
    pub(crate) kind: (&'a str, &'a str),
    /// The part of it, such as `spec.containers{c}`.
    pub(crate) field_path: Option<String>,
    pub(crate) warning: bool,
    pub(crate) reason: &'a str,
    pub(crate) message: String,
    /// The component, such as `kubelet`.
    pub(crate) source: &'a str,
}

/// The kinds that events are about.
pub(crate) const POD: (&str, &str) = ("v1", "Pod");
pub(crate) const DEPLOYMENT: (&str, &str) = ("apps/v1", "Deployment");
pub(crate) const REPLICA_SET: (&str, &str) = ("apps/v1", "ReplicaSet");
pub(crate) const STATEFUL_SET: (&str, &str) = ("apps/v1", "StatefulSet");
pub(crate) const DAEMON_SET: (&str, &str) = ("apps/v1", "DaemonSet");
pub(crate) const JOB: (&str, &str) = ("batch/v1", "Job");
pub(crate) const CRON_JOB: (&str, &str) = ("batch/v1", "CronJob");
pub(crate) const CLAIM: (&str, &str) = ("v1", "PersistentVolumeClaim");

impl<'a> Event<'a> {
    /// Something that is as it should be.
    pub(crate) fn normal(
        about: &'a Value,
        kind: (&'a str, &'a str),
        source: &'a str,
        reason: &'a str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            about,
            kind,
            field_path: None,
            warning: false,
            reason,
            message: message.into(),
            source,
        }
    }

    /// Something that is not.
    pub(crate) fn warning(
        about: &'a Value,
        kind: (&'a str, &'a str),
        source: &'a str,
        reason: &'a str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            warning: true,
            ..Self::normal(about, kind, source, reason, message)
        }
    }

    /// About a part of the object.
    pub(crate) fn at(mut self, field_path: String) -> Self {
        self.field_path = Some(field_path);
        self
    }
}

#[derive(Debug)]
struct Series {
    namespace: Arc<str>,
    name: String,
    count: u64,
}

/// Remembers the series that are being counted.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    series: HashMap<String, Series>,
    written: u64,
}

/// How many series are remembered; the oldest half is forgotten beyond.
const REMEMBERED: usize = 20_000;

impl Recorder {
    /// Write an event, or count it.
    pub(crate) fn record(&mut self, registry: &Registry, now: Millis, event: &Event<'_>) {
        let namespace = match object::namespace(event.about) {
            "" => "default",
            namespace => namespace,
        };
        let part = event.field_path.as_deref().unwrap_or_default();
        let about = object::uid(event.about);
        let identity = format!(
            "{}|{about}|{part}|{}|{}|{}",
            event.source, event.warning, event.reason, event.message
        );
        let modern = event.source == "default-scheduler";
        let time = object::time(now);
        if let Some(series) = self.series.get_mut(&identity) {
            series.count += 1;
            let count = series.count;
            let counted = registry.modify(
                &actor(event.source),
                "events",
                &series.namespace,
                &series.name,
                |object| {
                    if modern {
                        // The first repetition starts a series of one.
                        object["series"] = json!({"count": count - 1, "lastObservedTime": object::micro_time(now)});
                    } else {
                        object["count"] = count.into();
                        object["lastTimestamp"] = time.clone();
                    }
                },
            );
            if counted.is_ok() {
                return;
            }
            self.series.remove(&identity);
        }
        self.written += 1;
        if self.series.len() >= REMEMBERED {
            self.series.clear();
        }
        let unique = u64::try_from(now)
            .unwrap_or(0)
            .wrapping_mul(1_000_000)
            .wrapping_add(self.written);
        let name = format!("{}.{unique:016x}", object::name(event.about));
        let mut involved = json!({
            "kind": event.kind.1, "name": object::name(event.about), "uid": about, "apiVersion": event.kind.0,
            "resourceVersion": event.about["metadata"]["resourceVersion"],
        });
        if !object::namespace(event.about).is_empty() {
            involved["namespace"] = object::namespace(event.about).into();
        }
        if let Some(part) = &event.field_path {
            involved["fieldPath"] = part.as_str().into();
        }
        let mut body = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": involved,
            "type": if event.warning { "Warning" } else { "Normal" },
            "reason": event.reason,
            "message": event.message,
            "reportingComponent": event.source,
        });
        if modern {
            body["eventTime"] = object::micro_time(now);
            body["action"] = if event.reason == "Scheduled" {
                "Binding"
            } else {
                "Scheduling"
            }
            .into();
            body["reportingInstance"] = format!("{}-sandbox", event.source).into();
        } else {
            body["source"] = json!({"component": event.source});
            if event.source == "kubelet" {
                let node = object::text(event.about, "/spec/nodeName");
                body["source"]["host"] = node.into();
                body["reportingInstance"] = node.into();
            }
            body["firstTimestamp"] = time.clone();
            body["lastTimestamp"] = time;
            body["count"] = 1.into();
        }
        // A namespace that is being deleted accepts no more events, and nothing waits for them.
        if registry.create(&actor(event.source), "events", namespace, body).is_ok() {
            self.series.insert(
                identity,
                Series {
                    namespace: Arc::from(namespace),
                    name,
                    count: 1,
                },
            );
        }
    }
}

fn actor(source: &str) -> Actor {
    match source {
        "default-scheduler" => Actor::scheduler(),
        "kubelet" => Actor::kubelet("sandbox"),
        _ => Actor::controller(),
    }
}
