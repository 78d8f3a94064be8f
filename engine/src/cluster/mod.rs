//! The port to Kubernetes: the few requests that the engine sends, and the classes of errors.
//!
//! Values are JSON; nothing here knows stacks. `connect` creates a client (`client`, with the credentials of a `plugin`),
//! `wire` implements the port on the network, and `retry` repeats what may succeed. Tests put their own implementation
//! behind the same trait.

mod client;
pub mod connect;
mod credentials;
mod error;
mod exec;
pub mod kinds;
mod plugin;
mod proxy;
mod retry;
mod wire;

pub use error::{Cause, ClusterError};
pub use exec::{CommandOutput, PodCommand};
pub use proxy::{ServiceAnswer, ServiceRequest};
pub use retry::{first_contact, retrying};
pub use wire::KubeCluster;

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use serde_json::Value;
use std::fmt;

/// The field manager of every server-side apply.
pub const FIELD_MANAGER: &str = "myelin";

/// A served kind: where its objects live.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// API group; empty for core.
    pub group: String,
    /// Version, without the group.
    pub version: String,
    /// Kind.
    pub kind: String,
    /// Plural name, as in URLs.
    pub plural: String,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether objects have a status that a controller reports in, if that is known: the cluster says it of its kinds, the table
    /// of built-in kinds does not.
    pub has_status: Option<bool>,
}

impl Resource {
    /// `apps/v1`, `v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// One object's address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    /// Its kind.
    pub resource: Resource,
    /// Its namespace; ignored for cluster-scoped kinds.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.resource.namespaced {
            write!(f, "{} {}/{}", self.resource.kind, self.namespace, self.name)
        } else {
            write!(f, "{} {}", self.resource.kind, self.name)
        }
    }
}

/// A list and the version to watch from.
#[derive(Debug, Clone, Default)]
pub struct List {
    /// The objects, each with `apiVersion` and `kind`.
    pub items: Vec<Value>,
    /// Version of the list.
    pub resource_version: String,
}

/// Which objects of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selection {
    /// One namespace; all of them (or the cluster scope) when absent.
    pub namespace: Option<String>,
    /// Label selector; empty for all.
    pub labels: String,
    /// Field selector; empty for all.
    pub fields: String,
}

/// Whether a request may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It takes effect.
    Real,
    /// The server answers what would happen.
    DryRun,
}

/// What becomes of an object's dependants when it is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// The garbage collector deletes them afterwards.
    Background,
    /// The object goes after them.
    Foreground,
    /// They stay.
    Orphan,
}

/// Preconditions of a delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// UID that the object must still have.
    pub uid: String,
    /// Version that the object must still have.
    pub resource_version: Option<String>,
}

/// An event of a watch.
#[derive(Debug, Clone, PartialEq)]
pub enum WatchEvent {
    /// The object is there, in this state.
    Applied(Value),
    /// The object is gone; its last state.
    Deleted(Value),
    /// Nothing happened up to this version.
    Bookmark(String),
}

/// A finished or failed request.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, ClusterError>>;

/// The requests that the engine sends. Each has its own deadline and is sent once: the caller retries.
pub trait Cluster: Send + Sync + 'static {
    /// The kinds served at `apps/v1` or `v1`; None when that group and version is not served.
    fn discover<'a>(&'a self, api_version: &'a str) -> Answer<'a, Option<Vec<Resource>>>;

    /// One object, or None.
    fn get<'a>(&'a self, target: &'a Target) -> Answer<'a, Option<Value>>;

    /// All objects of a kind that match a selection, in pages.
    fn list<'a>(&'a self, resource: &'a Resource, selection: &'a Selection) -> Answer<'a, List>;

    /// Server-side apply as [`FIELD_MANAGER`]; `force` takes fields from other managers.
    fn apply<'a>(&'a self, target: &'a Target, body: &'a Value, force: bool, mode: Mode) -> Answer<'a, Value> {
        self.apply_as(FIELD_MANAGER, target, body, force, mode)
    }

    /// Server-side apply as a field manager of one's own.
    fn apply_as<'a>(
        &'a self,
        manager: &'a str,
        target: &'a Target,
        body: &'a Value,
        force: bool,
        mode: Mode,
    ) -> Answer<'a, Value>;

    /// Creates an object that must not exist yet.
    fn create<'a>(&'a self, target: &'a Target, body: &'a Value, mode: Mode) -> Answer<'a, Value>;

    /// Replaces an object; the body's resourceVersion is the precondition.
    fn update<'a>(&'a self, target: &'a Target, body: &'a Value) -> Answer<'a, Value>;

    /// Changes an object by a JSON patch (RFC 6902).
    fn json_patch<'a>(&'a self, target: &'a Target, patch: &'a Value, mode: Mode) -> Answer<'a, Value>;

    /// Deletes an object. A `NotFound` answer is an error like any other.
    fn delete<'a>(
        &'a self,
        target: &'a Target,
        precondition: &'a Precondition,
        propagation: Propagation,
        mode: Mode,
    ) -> Answer<'a, ()>;

    /// Requests a pod's eviction (a delete that the disruption budgets must allow); 429 if one does not.
    fn evict<'a>(&'a self, pod: &'a Target, uid: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            // A subresource is posted to like a collection below its object. Names of pods need no escaping in a path.
            let mut eviction = pod.clone();
            eviction.resource.plural = format!("pods/{}/eviction", pod.name);
            let body = serde_json::json!({
                "apiVersion": "policy/v1", "kind": "Eviction",
                "metadata": {"name": pod.name, "namespace": pod.namespace},
                "deleteOptions": {"preconditions": {"uid": uid}},
            });
            self.create(&eviction, &body, Mode::Real).await.map(|_| ())
        })
    }

    /// Events after a version, with bookmarks. The stream ends when the server ends it; an expired version is
    /// [`ClusterError::is_expired`].
    fn watch<'a>(
        &'a self,
        resource: &'a Resource,
        selection: &'a Selection,
        resource_version: &'a str,
    ) -> Answer<'a, BoxStream<'static, Result<WatchEvent, ClusterError>>>;

    /// The last lines of a container's log; of its previous run when `previous`.
    fn logs<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        previous: bool,
        lines: u32,
    ) -> Answer<'a, String>;

    /// Runs a command in a pod, with a text on its standard input if there is one. A command that fails is no error here.
    fn exec<'a>(&'a self, command: &'a PodCommand, stdin: Option<&'a [u8]>) -> Answer<'a, CommandOutput>;

    /// A GET to a Service through the API server. Any HTTP status counts as an answer, including the API server's own
    /// refusals.
    fn ask_service<'a>(&'a self, request: &'a ServiceRequest) -> Answer<'a, ServiceAnswer>;
}
