//! Judges one object by what was seen: the rules for every kind, then the rule of its own kind.
//!
//! Pure: the same sights, settings and moment give the same verdict.

use super::{
    Cause, Moment, Settings, Verdict,
    kinds::{
        autoscaler, claim, custom, daemonset, definition, deletion, deployment, job, network, pod, replicaset,
        statefulset,
    },
    reading::{number, text},
    sights::{Parting, Seen, Sights},
};
use crate::object::ObjectKey;
use serde_json::Value;

/// What is known about the apply that the gate belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// When the server answered it.
    pub at: Moment,
    /// `metadata.generation` in the answer; `None` for kinds without one.
    pub generation: Option<i64>,
    /// Whether objects of this kind have a status: from discovery (a `status` subresource). `None` if that is not known.
    pub has_status: Option<bool>,
}

impl Applied {
    /// From the server's answer to an apply.
    #[must_use]
    pub fn answered(answer: &Value, at: Moment) -> Self {
        Self {
            at,
            generation: number(answer, "/metadata/generation"),
            has_status: None,
        }
    }
}

pub(super) struct Subject<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) seen: &'a Seen,
    pub(super) sights: &'a Sights,
    pub(super) applied: &'a Applied,
    pub(super) settings: &'a Settings,
    pub(super) now: Moment,
}

impl<'a> Subject<'a> {
    pub(super) fn value(&self) -> &'a Value {
        &self.seen.value
    }

    /// Whether its controller has written a status for the applied generation. A missing `observedGeneration` does not
    /// count: the first writes of a status have none.
    pub(super) fn observed(&self) -> bool {
        let generation = number(self.value(), "/metadata/generation").unwrap_or(0);
        number(self.value(), "/status/observedGeneration").is_some_and(|observed| observed >= generation)
    }

    /// Since when an object has been seen; since the apply if it has not been seen.
    pub(super) fn since_seen(&self, key: &ObjectKey) -> Moment {
        self.sights.object(key).map_or(self.applied.at, |seen| seen.first)
    }

    pub(super) fn has_status(&self) -> Option<bool> {
        self.applied.has_status.or_else(|| {
            let definitions = self.sights.of_kind("CustomResourceDefinition", "");
            definitions
                .map(|(_, seen)| &seen.value)
                .find(|d| text(d, "/spec/group") == self.key.group && text(d, "/spec/names/kind") == self.key.kind)
                .map(custom::status_in_definition)
        })
    }
}

/// Judges one object by everything that was seen up to `now`.
#[must_use]
pub fn judge(sights: &Sights, key: &ObjectKey, applied: &Applied, settings: &Settings, now: Moment) -> Verdict {
    let pod = sights.pod(key);
    if let Some(pod) = pod {
        let place = Seen {
            value: Value::Null,
            first: applied.at,
        };
        let subject = Subject {
            key,
            seen: &place,
            sights,
            applied,
            settings,
            now,
        };
        if pod.deleting {
            return deletion::judge(&subject, &Value::Null);
        }
        return pod::judge(&subject, pod);
    }
    let Some(seen) = sights.object(key) else {
        return match sights.parting(key) {
            Some(Parting::Completed) => {
                let mut verdict = Verdict::gone(now, "it had completed, and was removed");
                verdict.cause = Some(Cause::Ended);
                verdict
            }
            Some(Parting::Taken) => Verdict::gone(now, "it was removed"),
            None => Verdict::in_progress(now, "it has not been seen yet"),
        };
    };
    let subject = Subject {
        key,
        seen,
        sights,
        applied,
        settings,
        now,
    };
    let value = subject.value();
    if value
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|t| !t.is_null())
    {
        return deletion::judge(&subject, value);
    }
    let stale = applied
        .generation
        .zip(number(value, "/metadata/generation"))
        .is_some_and(|(applied, seen)| seen < applied);
    if stale {
        return Verdict::in_progress(now, "the watch has not shown the change yet");
    }
    match (key.group.as_str(), key.kind.as_str()) {
        ("apps", "Deployment") => deployment::judge(&subject),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replicaset::judge(&subject),
        ("apps", "StatefulSet") => statefulset::judge(&subject),
        ("apps", "DaemonSet") => daemonset::judge(&subject),
        ("batch", "Job") => job::judge(&subject),
        ("", "PersistentVolumeClaim") => claim::judge(&subject),
        ("", "PersistentVolume") => claim::judge_volume(&subject),
        ("", "Service") => network::judge_service(&subject),
        ("networking.k8s.io", "Ingress") => network::judge_ingress(&subject),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaler::judge(&subject),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition::judge_definition(&subject),
        ("apiregistration.k8s.io", "APIService") => definition::judge_service(&subject),
        ("policy", "PodDisruptionBudget") if !subject.observed() => {
            Verdict::in_progress(now, "its controller has not seen it yet").advisory()
        }
        ("", "Namespace") if text(value, "/status/phase") == "Terminating" => deletion::judge(&subject, value),
        (group, _) if is_built_in(group) => Verdict::current(now, ""),
        _ => custom::judge(&subject),
    }
}

/// Groups of Kubernetes' own kinds, whose objects need no controller to be ready. A name that ends in `.k8s.io` is not
/// enough: Gateway API, snapshots and metrics are custom resources.
fn is_built_in(group: &str) -> bool {
    matches!(
        group,
        "" | "apps"
            | "batch"
            | "autoscaling"
            | "policy"
            | "admissionregistration.k8s.io"
            | "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "authentication.k8s.io"
            | "authorization.k8s.io"
            | "certificates.k8s.io"
            | "coordination.k8s.io"
            | "discovery.k8s.io"
            | "events.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "internal.apiserver.k8s.io"
            | "networking.k8s.io"
            | "node.k8s.io"
            | "rbac.authorization.k8s.io"
            | "resource.k8s.io"
            | "scheduling.k8s.io"
            | "storage.k8s.io"
            | "storagemigration.k8s.io"
    )
}
