//! The built-in kinds with plural and scope, so that a plan needs no cluster and a second plan sends only lists. Facts
//! from the Kubernetes API reference, for versions that are served since 1.27.

use super::Resource;

/// apiVersion, kind, plural, namespaced.
const BUILT_IN: &[(&str, &str, &str, bool)] = &[
    ("v1", "ConfigMap", "configmaps", true),
    ("v1", "Endpoints", "endpoints", true),
    ("v1", "Event", "events", true),
    ("v1", "LimitRange", "limitranges", true),
    ("v1", "Namespace", "namespaces", false),
    ("v1", "Node", "nodes", false),
    ("v1", "PersistentVolume", "persistentvolumes", false),
    ("v1", "PersistentVolumeClaim", "persistentvolumeclaims", true),
    ("v1", "Pod", "pods", true),
    ("v1", "PodTemplate", "podtemplates", true),
    ("v1", "ReplicationController", "replicationcontrollers", true),
    ("v1", "ResourceQuota", "resourcequotas", true),
    ("v1", "Secret", "secrets", true),
    ("v1", "Service", "services", true),
    ("v1", "ServiceAccount", "serviceaccounts", true),
    (
        "admissionregistration.k8s.io/v1",
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        false,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        false,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        false,
    ),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        false,
    ),
    (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
        "customresourcedefinitions",
        false,
    ),
    ("apiregistration.k8s.io/v1", "APIService", "apiservices", false),
    ("apps/v1", "ControllerRevision", "controllerrevisions", true),
    ("apps/v1", "DaemonSet", "daemonsets", true),
    ("apps/v1", "Deployment", "deployments", true),
    ("apps/v1", "ReplicaSet", "replicasets", true),
    ("apps/v1", "StatefulSet", "statefulsets", true),
    (
        "autoscaling/v1",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        true,
    ),
    (
        "autoscaling/v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        true,
    ),
    ("batch/v1", "CronJob", "cronjobs", true),
    ("batch/v1", "Job", "jobs", true),
    (
        "certificates.k8s.io/v1",
        "CertificateSigningRequest",
        "certificatesigningrequests",
        false,
    ),
    ("coordination.k8s.io/v1", "Lease", "leases", true),
    ("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", true),
    ("events.k8s.io/v1", "Event", "events", true),
    ("flowcontrol.apiserver.k8s.io/v1", "FlowSchema", "flowschemas", false),
    (
        "flowcontrol.apiserver.k8s.io/v1",
        "PriorityLevelConfiguration",
        "prioritylevelconfigurations",
        false,
    ),
    ("networking.k8s.io/v1", "Ingress", "ingresses", true),
    ("networking.k8s.io/v1", "IngressClass", "ingressclasses", false),
    ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies", true),
    ("node.k8s.io/v1", "RuntimeClass", "runtimeclasses", false),
    ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", true),
    ("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", false),
    (
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        false,
    ),
    ("rbac.authorization.k8s.io/v1", "Role", "roles", true),
    ("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings", true),
    ("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", false),
    ("storage.k8s.io/v1", "CSIDriver", "csidrivers", false),
    ("storage.k8s.io/v1", "CSINode", "csinodes", false),
    ("storage.k8s.io/v1", "CSIStorageCapacity", "csistoragecapacities", true),
    ("storage.k8s.io/v1", "StorageClass", "storageclasses", false),
    ("storage.k8s.io/v1", "VolumeAttachment", "volumeattachments", false),
];

/// The built-in kind at exactly this version; None if discovery is needed.
#[must_use]
pub fn built_in(api_version: &str, kind: &str) -> Option<Resource> {
    let (_, _, plural, namespaced) = BUILT_IN.iter().find(|(v, k, _, _)| *v == api_version && *k == kind)?;
    let (group, version) = crate::object::split_api_version(api_version);
    Some(Resource {
        group: group.into(),
        version: version.into(),
        kind: kind.into(),
        plural: (*plural).into(),
        namespaced: *namespaced,
        has_status: None,
    })
}

/// Every built-in kind that an object of a stack may be of, once.
#[must_use]
pub fn all_built_in() -> Vec<Resource> {
    let mut seen = std::collections::BTreeSet::new();
    let mut all: Vec<Resource> = BUILT_IN
        .iter()
        .rev()
        .filter_map(|(version, kind, ..)| built_in(version, kind))
        .filter(|r| r.kind != "Event" && seen.insert((r.group.clone(), r.kind.clone())))
        .collect();
    all.sort();
    all
}

/// Whether a group belongs to Kubernetes itself: its kinds never come from a CustomResourceDefinition of a stack.
#[must_use]
pub fn is_built_in_group(group: &str) -> bool {
    BUILT_IN
        .iter()
        .any(|(v, ..)| crate::object::split_api_version(v).0 == group)
}

/// Whether a kind is namespaced, as far as that is known without a cluster. Built-in kinds are known; other kinds count
/// as cluster-scoped if they are named `Cluster…` or `…Class`, as is customary.
#[must_use]
pub fn is_namespaced(group: &str, kind: &str) -> bool {
    let same = |v: &str| crate::object::split_api_version(v).0 == group;
    match BUILT_IN.iter().find(|(v, k, ..)| *k == kind && same(v)) {
        Some((_, _, _, namespaced)) => *namespaced,
        None => !(kind.starts_with("Cluster") || kind.ends_with("Class")),
    }
}

/// A built-in kind that the engine itself uses.
#[must_use]
pub fn known(api_version: &str, kind: &str) -> Resource {
    built_in(api_version, kind).expect("the caller names a kind of the table above")
}
