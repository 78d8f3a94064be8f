//! Who does something, and how they want it done.

/// The writer: the user for authorization and audit, and the field manager for `managedFields`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The user's name.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
    /// The field manager.
    pub manager: String,
}

impl Actor {
    /// A cluster administrator that writes under a field manager.
    pub fn admin(manager: &str) -> Self {
        let groups = vec!["system:masters".to_owned(), "system:authenticated".to_owned()];
        Self {
            user: "sandbox-admin".to_owned(),
            groups,
            manager: manager.to_owned(),
        }
    }

    /// What controllers write as: field manager `kube-controller-manager`.
    pub fn controller() -> Self {
        Self::system("system:kube-controller-manager", "kube-controller-manager")
    }

    /// What the scheduler writes as.
    pub fn scheduler() -> Self {
        Self::system("system:kube-scheduler", "kube-scheduler")
    }

    /// What the kubelet of a node writes as.
    pub fn kubelet(node: &str) -> Self {
        Self::system(&format!("system:node:{node}"), "kubelet")
    }

    /// What the API server itself writes as.
    pub fn server() -> Self {
        Self::system("system:apiserver", "kube-apiserver")
    }

    fn system(user: &str, manager: &str) -> Self {
        let groups = vec!["system:masters".to_owned(), "system:authenticated".to_owned()];
        Self {
            user: user.to_owned(),
            groups,
            manager: manager.to_owned(),
        }
    }
}

/// What to do about unknown and duplicate fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Refuse.
    Strict,
    /// Warn and drop.
    #[default]
    Warn,
    /// Drop.
    Ignore,
}

/// How a write is to be done.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    /// Answer as if it had been done, and do nothing.
    pub dry_run: bool,
    /// Unknown and duplicate fields.
    pub field_validation: FieldValidation,
    /// Apply only: take fields from their owners.
    pub force: bool,
    /// Paths of fields that the body held twice.
    pub duplicates: Vec<String>,
    /// What reading the body gave rise to already.
    pub warnings: Vec<String>,
}

/// How a delete is to be done.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    /// Answer as if it had been done, and do nothing.
    pub dry_run: bool,
    /// Seconds that the object may take to go; its own if `None`.
    pub grace_period: Option<i64>,
    /// What happens to dependents; the resource's own default if `None`.
    pub propagation: Option<Propagation>,
    /// Only if the object has this uid.
    pub uid: Option<String>,
    /// Only if the object has this resourceVersion.
    pub resource_version: Option<String>,
}

/// What a delete does to the objects that the deleted one owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// The owner goes at once, dependents after it.
    Background,
    /// Dependents go first.
    Foreground,
    /// Dependents stay and are released.
    Orphan,
}

/// A part of an object that is written by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// All but what subresources keep.
    Main,
    /// `/status`.
    Status,
    /// A namespace's `/finalize`.
    Finalize,
    /// `/approval` of a certificate signing request.
    Approval,
    /// A pod's `/ephemeralcontainers`.
    EphemeralContainers,
    /// A pod's `/resize`.
    Resize,
    /// `/scale`: one field of the object.
    Scale,
    /// A pod's `/binding`: its node.
    Binding,
}

impl Part {
    /// The subresource's name; empty for the object itself.
    pub fn name(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Finalize => "finalize",
            Self::Approval => "approval",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Scale => "scale",
            Self::Binding => "binding",
        }
    }
}
