//! How each kind is created, updated and deleted: names, namespaces, generations, what a write may not touch, what a delete
//! answers. One table, one line a kind. It changes nothing itself (see `prepare`).

use super::names::{self, Problems};
use crate::kubernetes::schema::resources::Resource;

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In none.
    Cluster,
}

/// What a kind asks of its objects' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain: most kinds.
    Subdomain,
    /// RFC 1123 label: namespaces, services.
    Label,
    /// RFC 1035 label.
    Label1035,
    /// Anything that can stand in a URL: RBAC.
    PathSegment,
    /// An IP address in canonical form.
    Ip,
}

impl NameRule {
    /// What is wrong with a name.
    pub fn problems(self, name: &str) -> Problems {
        match self {
            Self::Subdomain => names::subdomain(name),
            Self::Label => names::label(name),
            Self::Label1035 => names::label_1035(name),
            Self::PathSegment => names::path_segment(name),
            Self::Ip => match name.parse::<std::net::IpAddr>() {
                Err(_) => names::ip(name),
                Ok(ip) if ip.to_string() == name => Vec::new(),
                Ok(ip) => vec![format!("must be in canonical form ({:?})", ip.to_string())],
            },
        }
    }

    /// What is wrong with a `generateName`.
    pub fn prefix_problems(self, prefix: &str) -> Problems {
        match self {
            Self::PathSegment => names::path_segment_prefix(prefix),
            _ => self.problems(&names::mask_trailing_dash(prefix)),
        }
    }
}

/// When `metadata.generation` rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The kind has none.
    None,
    /// When the top-level fields named change.
    Of(&'static [&'static str]),
    /// When anything but metadata and status changes: custom resources with a status subresource.
    AllButStatus,
    /// When anything but metadata changes: custom resources without one.
    AllButMetadata,
}

/// What a delete without a policy does to dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// They are collected later.
    Background,
    /// They stay.
    Orphan,
    /// They stay, and a Warning says that they do.
    OrphanWithWarning,
}

/// Whether a kind's status is written apart from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There is no status subresource; a status is a field like any other.
    Plain,
    /// Dropped on create, kept on update; only `/status` writes it.
    Apart,
    /// Kept on create, kept apart on update: nodes.
    FreeOnCreate,
}

/// How a kind is written.
#[derive(Clone, Copy, Debug)]
pub struct Strategy {
    /// The API group; "" is core.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Where its objects live.
    pub scope: Scope,
    /// What its names must be.
    pub name: NameRule,
    /// When its generation rises.
    pub generation: Generation,
    /// Where its status is written.
    pub status: Status,
    /// Whether a PUT needs no resourceVersion.
    pub unconditional_update: bool,
    /// Whether a PUT creates what is not there.
    pub create_on_update: bool,
    /// Whether an immediate delete answers the object instead of a Status.
    pub returns_deleted: bool,
    /// What a delete without a policy does to dependents.
    pub propagation: Propagation,
}

const NS: Scope = Scope::Namespaced;
const CL: Scope = Scope::Cluster;
const SPEC: Generation = Generation::Of(&["spec"]);
const NO: Generation = Generation::None;

const fn kind(group: &'static str, kind: &'static str, scope: Scope, generation: Generation) -> Strategy {
    Strategy {
        group,
        kind,
        scope,
        name: NameRule::Subdomain,
        generation,
        status: Status::Plain,
        unconditional_update: true,
        create_on_update: false,
        returns_deleted: false,
        propagation: Propagation::Background,
    }
}

impl Strategy {
    const fn status(mut self) -> Self {
        self.status = Status::Apart;
        self
    }
    const fn named(mut self, name: NameRule) -> Self {
        self.name = name;
        self
    }
    const fn conditional(mut self) -> Self {
        self.unconditional_update = false;
        self
    }
    const fn creating(mut self) -> Self {
        self.create_on_update = true;
        self
    }
    const fn returning(mut self) -> Self {
        self.returns_deleted = true;
        self
    }
    const fn orphaning(mut self, how: Propagation) -> Self {
        self.propagation = how;
        self
    }
    const fn free_on_create(mut self) -> Self {
        self.status = Status::FreeOnCreate;
        self
    }

    /// The strategy of a custom resource.
    pub const fn custom(scope: Scope, status: bool) -> Self {
        let plain = kind(
            "",
            "",
            scope,
            if status {
                Generation::AllButStatus
            } else {
                Generation::AllButMetadata
            },
        )
        .conditional();
        if status { plain.status() } else { plain }
    }
}

const ADMISSION: &str = "admissionregistration.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const RESOURCE: &str = "resource.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";

/// Every built-in kind that is stored.
pub const ALL: &[Strategy] = &[
    kind("", "ConfigMap", NS, NO),
    kind("", "Endpoints", NS, NO).creating(),
    kind("", "Event", NS, NO).creating(),
    kind("events.k8s.io", "Event", NS, NO).creating(),
    kind("", "LimitRange", NS, NO).creating(),
    kind("", "Namespace", CL, NO).named(NameRule::Label).status(),
    kind("", "Node", CL, NO).free_on_create(),
    kind("", "PersistentVolumeClaim", NS, NO).status().returning(),
    kind("", "PersistentVolume", CL, NO).status().returning(),
    kind("", "Pod", NS, SPEC).status().returning(),
    kind("", "PodTemplate", NS, Generation::Of(&["template"])).returning(),
    kind("", "ReplicationController", NS, SPEC)
        .status()
        .orphaning(Propagation::Orphan),
    kind("", "ResourceQuota", NS, NO).status().returning(),
    kind("", "Secret", NS, NO),
    kind("", "ServiceAccount", NS, NO).returning(),
    kind("", "Service", NS, NO)
        .named(NameRule::Label)
        .status()
        .creating()
        .returning(),
    kind("apps", "ControllerRevision", NS, NO),
    kind("apps", "DaemonSet", NS, SPEC).status(),
    kind("apps", "Deployment", NS, SPEC).status(),
    kind("apps", "ReplicaSet", NS, SPEC).status(),
    kind("apps", "StatefulSet", NS, SPEC).named(NameRule::Label).status(),
    kind("autoscaling", "HorizontalPodAutoscaler", NS, NO).status(),
    kind("batch", "CronJob", NS, SPEC).status(),
    kind("batch", "Job", NS, SPEC)
        .status()
        .orphaning(Propagation::OrphanWithWarning),
    kind("certificates.k8s.io", "CertificateSigningRequest", CL, NO).status(),
    kind("coordination.k8s.io", "Lease", NS, NO).conditional().creating(),
    kind(
        "discovery.k8s.io",
        "EndpointSlice",
        NS,
        Generation::Of(&["addressType", "endpoints", "ports"]),
    ),
    kind(NETWORKING, "Ingress", NS, SPEC).status(),
    kind(NETWORKING, "IngressClass", CL, SPEC),
    kind(NETWORKING, "IPAddress", CL, NO).named(NameRule::Ip),
    kind(NETWORKING, "NetworkPolicy", NS, SPEC),
    kind(NETWORKING, "ServiceCIDR", CL, NO).status(),
    kind("policy", "PodDisruptionBudget", NS, SPEC).status().conditional(),
    kind(RBAC, "ClusterRole", CL, NO)
        .named(NameRule::PathSegment)
        .creating(),
    kind(RBAC, "ClusterRoleBinding", CL, NO)
        .named(NameRule::PathSegment)
        .creating(),
    kind(RBAC, "Role", NS, NO).named(NameRule::PathSegment).creating(),
    kind(RBAC, "RoleBinding", NS, NO)
        .named(NameRule::PathSegment)
        .creating(),
    kind(
        "scheduling.k8s.io",
        "PriorityClass",
        CL,
        Generation::Of(&["value", "globalDefault", "description", "preemptionPolicy"]),
    ),
    kind(STORAGE, "CSIDriver", CL, NO).conditional().returning(),
    kind(STORAGE, "CSINode", CL, NO).conditional().returning(),
    kind(STORAGE, "CSIStorageCapacity", NS, NO).conditional().returning(),
    kind(STORAGE, "StorageClass", CL, NO).returning(),
    kind(STORAGE, "VolumeAttachment", CL, NO)
        .status()
        .conditional()
        .returning(),
    kind(STORAGE, "VolumeAttributesClass", CL, NO).returning(),
    kind(ADMISSION, "MutatingAdmissionPolicy", CL, SPEC).conditional(),
    kind(ADMISSION, "MutatingAdmissionPolicyBinding", CL, SPEC).conditional(),
    kind(
        ADMISSION,
        "MutatingWebhookConfiguration",
        CL,
        Generation::Of(&["webhooks"]),
    )
    .conditional(),
    kind(ADMISSION, "ValidatingAdmissionPolicy", CL, SPEC)
        .status()
        .conditional(),
    kind(ADMISSION, "ValidatingAdmissionPolicyBinding", CL, SPEC).conditional(),
    kind(
        ADMISSION,
        "ValidatingWebhookConfiguration",
        CL,
        Generation::Of(&["webhooks"]),
    )
    .conditional(),
    kind("apiextensions.k8s.io", "CustomResourceDefinition", CL, SPEC)
        .status()
        .conditional(),
    kind("apiregistration.k8s.io", "APIService", CL, NO)
        .status()
        .conditional(),
    kind("node.k8s.io", "RuntimeClass", CL, NO),
    kind(RESOURCE, "DeviceClass", CL, SPEC),
    kind(RESOURCE, "ResourceClaim", NS, NO).status(),
    kind(RESOURCE, "ResourceClaimTemplate", NS, NO),
    kind(RESOURCE, "ResourceSlice", CL, SPEC),
    kind(FLOW, "FlowSchema", CL, SPEC).status().conditional(),
    kind(FLOW, "PriorityLevelConfiguration", CL, SPEC)
        .status()
        .conditional(),
];

/// The strategy of a built-in kind.
pub fn of(group: &str, kind: &str) -> Option<&'static Strategy> {
    ALL.iter().find(|one| one.kind == kind && one.group == group)
}

/// The strategy of a resource's objects; a kind without a line of its own is written like a ConfigMap.
pub(crate) fn of_resource(resource: &Resource) -> Strategy {
    let scope = if resource.namespaced {
        Scope::Namespaced
    } else {
        Scope::Cluster
    };
    match &resource.custom {
        Some(custom) => Strategy::custom(scope, custom.status),
        None => of(&resource.gvr.group, &resource.kind)
            .copied()
            .unwrap_or_else(|| kind("", "Unknown", scope, NO)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_one_line() {
        for (index, one) in ALL.iter().enumerate() {
            assert!(
                ALL[index + 1..]
                    .iter()
                    .all(|other| (other.group, other.kind) != (one.group, one.kind)),
                "{}",
                one.kind
            );
        }
        assert!(of("apps", "Deployment").is_some_and(|one| one.status == Status::Apart));
        assert!(of("", "Deployment").is_none());
    }
}
