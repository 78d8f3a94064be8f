//! The identity of a resource during rendering: group, version, kind, namespace and name, and the rules by which one
//! identity matches another.

use crate::object::split_api_version;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// Group, version and kind; as a selector, an empty part matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Gvk {
    pub(super) group: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) kind: Arc<str>,
}

impl Gvk {
    pub(super) fn of(api_version: &str, kind: &str) -> Self {
        let (group, version) = split_api_version(api_version);
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    pub(super) fn is_selected_by(&self, selector: &Self) -> bool {
        let fits = |part: &Arc<str>, wanted: &Arc<str>| wanted.is_empty() || part == wanted;
        fits(&self.kind, &selector.kind) && fits(&self.group, &selector.group) && fits(&self.version, &selector.version)
    }

    /// Whether objects of this kind are known to have no namespace. Unknown kinds are taken to have one.
    pub(super) fn is_cluster_scoped(&self) -> bool {
        CLUSTER_SCOPED.contains(&(&*self.group, &*self.version, &*self.kind))
    }
}

impl fmt::Display for Gvk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |text: &Arc<str>, none: &'static str| {
            if text.is_empty() {
                none.to_owned()
            } else {
                text.to_string()
            }
        };
        write!(
            f,
            "{} {}",
            part(&self.kind, "(any kind)"),
            part(&self.version, "(any version)")
        )?;
        if self.group.is_empty() {
            Ok(())
        } else {
            write!(f, " of {}", self.group)
        }
    }
}

/// A resource's name in full.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Id {
    pub(super) gvk: Gvk,
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
}

/// The namespace of what has none, for comparisons.
pub(super) const NO_NAMESPACE: &str = "_non_namespaceable_";

impl Id {
    /// The namespace for comparisons: `default` where none is given.
    pub(super) fn effective_namespace(&self) -> &str {
        effective(&self.gvk, &self.namespace)
    }

    /// The form in which two names of the same resource are equal.
    pub(super) fn normal(&self) -> Self {
        Self {
            namespace: self.effective_namespace().into(),
            ..self.clone()
        }
    }

    /// Whether it is what a partial name asks for; an empty part matches everything.
    pub(super) fn is_selected_by(&self, wanted: &Self) -> bool {
        (wanted.namespace.is_empty() || *wanted.namespace == *self.effective_namespace())
            && (wanted.name.is_empty() || wanted.name == self.name)
            && self.gvk.is_selected_by(&wanted.gvk)
    }

    pub(super) fn same(&self, other: &Self) -> bool {
        self.name == other.name && self.gvk == other.gvk && self.effective_namespace() == other.effective_namespace()
    }
}

fn effective<'a>(gvk: &Gvk, namespace: &'a str) -> &'a str {
    if gvk.is_cluster_scoped() {
        NO_NAMESPACE
    } else if namespace.is_empty() {
        "default"
    } else {
        namespace
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.gvk.kind)?;
        if !self.namespace.is_empty() {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.name)
    }
}

/// The kinds that the original knows to be cluster-scoped (`openapi.precomputedIsNamespaceScoped` of kustomize 5.5).
static CLUSTER_SCOPED: LazyLock<HashSet<(&str, &str, &str)>> = LazyLock::new(|| {
    let mut all = HashSet::new();
    for (group, versions, kinds) in [
        (
            "admissionregistration.k8s.io",
            &["v1", "v1beta1"][..],
            &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"][..],
        ),
        (
            "apiextensions.k8s.io",
            &["v1", "v1beta1"],
            &["CustomResourceDefinition"],
        ),
        ("apiregistration.k8s.io", &["v1", "v1beta1"], &["APIService"]),
        (
            "certificates.k8s.io",
            &["v1", "v1beta1"],
            &["CertificateSigningRequest"],
        ),
        (
            "flowcontrol.apiserver.k8s.io",
            &["v1beta1"],
            &["FlowSchema", "PriorityLevelConfiguration"],
        ),
        ("networking.k8s.io", &["v1", "v1beta1"], &["IngressClass"]),
        ("node.k8s.io", &["v1", "v1beta1"], &["RuntimeClass"]),
        ("policy", &["v1beta1"], &["PodSecurityPolicy"]),
        (
            "rbac.authorization.k8s.io",
            &["v1", "v1beta1"],
            &["ClusterRole", "ClusterRoleBinding"],
        ),
        ("scheduling.k8s.io", &["v1", "v1beta1"], &["PriorityClass"]),
        (
            "storage.k8s.io",
            &["v1", "v1beta1"],
            &["CSIDriver", "CSINode", "StorageClass", "VolumeAttachment"],
        ),
        (
            "",
            &["v1"],
            &[
                "ComponentStatus",
                "Namespace",
                "Node",
                "NodeProxyOptions",
                "PersistentVolume",
            ],
        ),
    ] {
        for version in versions {
            all.extend(kinds.iter().map(|kind| (group, *version, *kind)));
        }
    }
    all
});
