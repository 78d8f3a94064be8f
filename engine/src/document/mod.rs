//! The `Stack` document as types that cannot be wrong.
//!
//! The YAML reader and the Terraform provider both supply the same JSON (`apiVersion`, `kind`, `metadata`, `spec`,
//! camelCase names) and get the same [`Stack`] or all problems at once. Nothing here reads files or manifests. A field
//! that is known but not implemented yet is an error that says so; no field is accepted and ignored.

mod account;
mod dependency;
mod duration;
mod fields;
mod node_pool;
mod policy;
mod schema;
mod stack;
mod token;
mod verify;

pub use dependency::{DocumentKind, DocumentName};
pub use duration::{parse_duration, show_duration};
pub use fields::Places;
pub use node_pool::{
    Capacity, Health, Image, KubernetesNodes, NodePool, Rollout, RootVolume, Share, Size, TAG_PREFIX, USER_DATA_LIMIT,
    node_pool_from_value,
};
pub use policy::{Match, PolicyRule};
pub use schema::{json_schema, json_schema_of_all};
pub(crate) use stack::is_variable;
pub use stack::stack_from_value;
pub use token::{
    Exec, Issuer, ObjectName, PodChoice, ProvisioningToken, SecretTarget, TOKEN_TIMEOUT, token_from_value,
};
pub use verify::{Ask, Check, Http};

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// `apiVersion` of every document.
pub const API_VERSION: &str = "myelin.dev/v1alpha1";

/// What a front end writes instead of a value of `images` or `substitute` that it does not know yet (a Terraform unknown).
/// It contains a control character, so no YAML text can spell it by accident.
pub const UNKNOWN: &str = "\u{1}myelin:unknown\u{1}";

/// The default timeout of a stack.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A text that the front end may not know yet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Text {
    /// Known.
    Known(String),
    /// Known only at apply (a Terraform unknown).
    Unknown,
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if text == UNKNOWN {
            Self::Unknown
        } else {
            Self::Known(text.to_owned())
        }
    }
}

/// Kubernetes objects in components that start in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Name; with the namespace it identifies the stack and names its record.
    pub name: String,
    /// Namespace of the record and of every namespaced object that names none. Created if absent.
    pub namespace: String,
    /// A kustomization, or a folder or file of manifests; relative to the document.
    pub source: String,
    /// Image name → tag, `sha256:` digest, or a whole other reference.
    pub images: BTreeMap<String, Text>,
    /// Values of `${NAME}` in manifests.
    pub substitute: BTreeMap<String, Text>,
    /// Components by name; none given means that the whole source is one.
    pub components: BTreeMap<String, Component>,
    /// Objects someone else owns that must be ready before anything of the stack but its namespace is applied.
    pub requires: Vec<Requirement>,
    /// Time limit of every wait of the stack.
    pub timeout: Duration,
    /// Whether objects that are no longer rendered are deleted.
    pub prune: bool,
    /// The protected kinds that prune and destroy may delete.
    pub delete_protected: BTreeSet<ProtectedKind>,
    /// Kinds whose objects may be deleted and made again when a change to an immutable field needs it.
    pub replace: BTreeSet<String>,
    /// What to do with an object that exists and that no stack's record names.
    pub adopt: Adopt,
    /// What to do when another field manager owns a field with another value.
    pub conflicts: Conflicts,
    /// What to do when somebody else changes what the stack sets.
    pub drift: Drift,
    /// What to do when a component fails.
    pub on_failure: OnFailure,
    /// The stack's own rules, which every object must satisfy.
    pub policies: Vec<PolicyRule>,
    /// Whether pod templates carry a checksum of the ConfigMaps and Secrets of the stack that they read.
    pub restart_on_config_change: bool,
    /// One-time secrets by name, minted before the components that name them.
    pub tokens: BTreeMap<String, ProvisioningToken>,
    /// Documents that must be ready before this one starts.
    pub depends_on: BTreeSet<DocumentName>,
    /// Account as `namespace/name` that a reconciler uses to change the stack, if its configuration allows that. Other
    /// front ends ignore it.
    pub service_account: Option<String>,
}

/// What to do if another writer changes a field that the stack sets, while the manifest is unchanged. A deleted object
/// is recreated in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drift {
    /// Revert it.
    #[default]
    Revert,
    /// Report it and leave it, until the object's manifest changes.
    Report,
}

/// A part of the stack that becomes ready as one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Component {
    /// Folder or file under the source; objects from it belong to the component. `.` is the whole source.
    pub path: String,
    /// Components that must be ready before this one starts.
    pub after: BTreeSet<String>,
    /// Objects someone else owns that must be ready first.
    pub requires: Vec<Requirement>,
    /// Time limit of this component's wait, counted from its start; the stack's timeout holds as well.
    pub timeout: Option<Duration>,
    /// Tokens that must be stored before this one starts.
    pub tokens: BTreeSet<String>,
    /// Checks to run in this order once its objects are ready; the component is ready only when they succeed.
    pub verify: Vec<Check>,
}

/// An object someone else owns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// `apiVersion`, as in a manifest.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; the stack's when empty and the kind is namespaced.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Fields of the object by dotted path that must have these values as well, for kinds whose status has no conditions.
    pub fields: BTreeMap<String, String>,
    /// How long to wait for it; None means the stack's own timeout.
    pub timeout: Option<Duration>,
}

/// Kinds that hold or scope what cannot be recreated: never deleted unless asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtectedKind {
    /// `PersistentVolumeClaim`
    PersistentVolumeClaim,
    /// `PersistentVolume`
    PersistentVolume,
    /// `Namespace`
    Namespace,
    /// `CustomResourceDefinition`
    CustomResourceDefinition,
}

impl ProtectedKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::PersistentVolumeClaim,
        Self::PersistentVolume,
        Self::Namespace,
        Self::CustomResourceDefinition,
    ];

    /// The kind's name.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::PersistentVolumeClaim => "PersistentVolumeClaim",
            Self::PersistentVolume => "PersistentVolume",
            Self::Namespace => "Namespace",
            Self::CustomResourceDefinition => "CustomResourceDefinition",
        }
    }

    /// The protected kind that an object of this group and kind is, if any.
    #[must_use]
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        let right_group = if kind == "CustomResourceDefinition" {
            "apiextensions.k8s.io"
        } else {
            ""
        };
        Self::ALL.into_iter().find(|k| k.kind() == kind && group == right_group)
    }
}

/// What to do with an object that exists and that the record does not name.
///
/// An object that carries this stack's own ApplySet label is the stack's, whatever the policy; one that carries another's is
/// refused, whatever the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adopt {
    /// Refuse, at plan.
    #[default]
    Never,
    /// Take it over unless it has an owner reference or the marks of another tool.
    IfUnowned,
    /// Take it over.
    Always,
}

/// What to do when another field manager owns a field that the stack wants with another value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Conflicts {
    /// Refuse, at plan, with manager and path.
    #[default]
    Fail,
    /// Take the field.
    Force,
    /// Leave the field to the other manager.
    Yield,
}

/// What to do when a component fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// Keep what is healthy, start nothing that waits for the failed component.
    #[default]
    Stop,
    /// Go back to the last state in which everything was ready. A first apply has none and stops.
    Rollback,
}
