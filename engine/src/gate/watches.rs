//! The kinds that a gate needs watched besides its object, so that one shared watch for each kind and namespace serves
//! all gates.

use crate::object::ObjectKey;

/// A kind to watch in the namespace of the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchedKind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// A version at which every supported server serves it.
    pub version: &'static str,
    /// Kind.
    pub kind: &'static str,
    /// Plural name in paths.
    pub plural: &'static str,
    /// Whether a refused watch can be tolerated: verdicts then come later or with less detail, and are still right.
    pub optional: bool,
}

const fn kind(group: &'static str, kind: &'static str, plural: &'static str, optional: bool) -> WatchedKind {
    WatchedKind {
        group,
        version: "v1",
        kind,
        plural,
        optional,
    }
}

const REPLICA_SET: WatchedKind = kind("apps", "ReplicaSet", "replicasets", false);
const POD: WatchedKind = kind("", "Pod", "pods", false);
const CLAIM: WatchedKind = kind("", "PersistentVolumeClaim", "persistentvolumeclaims", true);
const EVENT: WatchedKind = kind("", "Event", "events", true);
const ENDPOINT_SLICE: WatchedKind = kind("discovery.k8s.io", "EndpointSlice", "endpointslices", true);

/// What to watch for an object, besides the object itself.
#[must_use]
pub fn watches(key: &ObjectKey) -> &'static [WatchedKind] {
    match (key.group.as_str(), key.kind.as_str()) {
        ("apps", "Deployment") => &[REPLICA_SET, POD, CLAIM, EVENT],
        ("apps", "ReplicaSet" | "StatefulSet" | "DaemonSet")
        | ("", "ReplicationController" | "Pod")
        | ("batch", "Job") => &[POD, CLAIM, EVENT],
        ("", "PersistentVolumeClaim") => &[EVENT],
        ("", "Service") => &[ENDPOINT_SLICE, EVENT],
        _ => &[],
    }
}

/// Whether the object must be watched. If not, the server's answer alone is enough to judge it.
#[must_use]
pub fn needs_watching(key: &ObjectKey) -> bool {
    !watches(key).is_empty()
        || !matches!(
            (key.group.as_str(), key.kind.as_str()),
            (
                "",
                "ConfigMap" | "Secret" | "ServiceAccount" | "Namespace" | "LimitRange" | "ResourceQuota" | "Endpoints"
            ) | (
                "rbac.authorization.k8s.io" | "scheduling.k8s.io" | "storage.k8s.io" | "admissionregistration.k8s.io",
                _
            ) | ("networking.k8s.io", "NetworkPolicy" | "IngressClass")
                | ("batch", "CronJob")
        )
}
