//! Verbs on objects: the one door to the store, for HTTP requests and controllers alike.
//!
//! What a controller needs:
//!
//! ```no_run
//! use myelin_sandbox::kubernetes::registry::{Actor, Registry};
//! use serde_json::json;
//! # async fn controller(registry: std::sync::Arc<Registry>) -> Result<(), Box<dyn std::error::Error>> {
//! let me = Actor::controller();
//! // Resources are named `plural.group` (`pods`, `deployments.apps`); objects are JSON as in a manifest.
//! let mut deployments = registry.watch_all("deployments.apps")?; // existing objects come first, as Added
//! loop {
//!     let event = deployments.next().await?; // Err(Expired): watch again from the start
//!     let deployment = event.object;
//!     let (namespace, name) = (deployment.namespace(), deployment.name());
//!     registry.modify_status(&me, "deployments.apps", namespace, name, |object| {
//!         object["status"]["observedGeneration"] = object["metadata"]["generation"].clone();
//!     })?; // read, change, write; again if somebody was faster; no write if nothing changed
//!     let pods = registry.list("pods", Some(namespace), Some(&json!({"app": "web"})))?;
//!     if pods.is_empty() {
//!         let made = registry.create(&me, "pods", namespace, json!({"metadata": {"generateName": "web-"}, "spec": {}}))?;
//!         registry.delete(&me, "pods", namespace, made.name(), &Default::default())?;
//!     }
//!     registry.clock().sleep(std::time::Duration::from_secs(1)).await; // virtual time, never tokio::time
//! }
//! # }
//! ```
//!
//! Every verb is synchronous and short; only watches and the clock wait. Errors are [`Failure`]s, the same that a client
//! would see (`is_not_found`, `is_conflict`, `is_already_exists`). `apiVersion` and `kind` may be left out of bodies.
//! Everything that the HTTP API does to a write (defaults, rules, managed fields, finalizers, generation) happens here.

mod actor;
mod apply;
mod create;
mod definitions;
mod delete;
mod evict;
mod failure;
mod founding;
mod read;
mod scale;
mod selector;
pub(crate) mod traits;
mod update;
mod watch;

use std::sync::Arc;

use serde_json::Value;

pub use actor::{Actor, DeleteOptions, FieldValidation, Part, Propagation, WriteOptions};
pub use delete::Deleted;
pub use failure::{Failure, FieldFault};
pub use read::{Listing, Query, Snapshot};
pub use selector::{Fields, Labels};
pub use watch::{Event, EventKind, Expired, Since, Watch};

use crate::clock::Clock;
use crate::kubernetes::admission::mutate::Pool;
use crate::kubernetes::patch::Patch;
use crate::kubernetes::schema::resources::{Catalog, Resource};
use crate::kubernetes::store::{Object, Store, Table};
use crate::meddling::Meddling;

/// All verbs on all objects.
#[derive(Debug)]
pub struct Registry {
    store: Store,
    catalog: Catalog,
    clock: Clock,
    meddling: Meddling,
    pool: Pool,
}

/// What a write did.
#[derive(Debug, Clone)]
pub struct Written {
    /// The object as it is now (or would be, after a dry run).
    pub object: Arc<Object>,
    /// Whether it is new.
    pub created: bool,
    /// What to tell the client in `Warning` headers.
    pub warnings: Vec<String>,
}

impl Registry {
    /// An empty registry on a clock, which remembers `window` changes per resource for watches.
    pub fn new(clock: Clock, window: usize) -> Self {
        Self {
            store: Store::new(window),
            catalog: Catalog::new(),
            clock,
            meddling: Meddling::default(),
            pool: Pool::default(),
        }
    }

    /// Addresses and ports that writes under way have taken.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The clock that everything waits on.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Webhooks and editors that get in the way.
    pub fn meddling(&self) -> &Meddling {
        &self.meddling
    }

    /// Which resources there are.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The store under the verbs; for its revision, its counts and to compact it.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// A resource by `plural.group`, in its storage version.
    pub fn resource(&self, name: &str) -> Result<Arc<Resource>, Failure> {
        self.catalog.served().by_storage(name).ok_or_else(Failure::no_such_path)
    }

    pub(crate) fn table(&self, resource: &Resource) -> Arc<Table> {
        self.store.table(&resource.storage)
    }

    /// One object, by `plural.group`, namespace (empty for cluster-scoped ones) and name.
    pub fn get(&self, resource: &str, namespace: &str, name: &str) -> Result<Arc<Object>, Failure> {
        self.read(&*self.resource(resource)?, namespace, name)
    }

    /// The object, or `None` if it is not there.
    pub fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.get(resource, namespace, name).ok()
    }

    /// The objects of a namespace (or of all) that a label selector selects: a `metav1.LabelSelector` or a plain map.
    pub fn list(
        &self,
        resource: &str,
        namespace: Option<&str>,
        selector: Option<&Value>,
    ) -> Result<Vec<Arc<Object>>, Failure> {
        let labels = selector
            .map(|s| Labels::from_value(s).unwrap_or_default())
            .unwrap_or_default();
        let query = Query {
            namespace: namespace.map(str::to_owned),
            labels,
            ..Query::default()
        };
        Ok(self.select(&*self.resource(resource)?, &query)?.objects)
    }

    /// Create an object.
    pub fn create(&self, actor: &Actor, resource: &str, namespace: &str, body: Value) -> Result<Arc<Object>, Failure> {
        let resource = self.resource(resource)?;
        Ok(self
            .create_in(actor, &resource, namespace, body, &WriteOptions::default())?
            .object)
    }

    /// Replace an object (PUT): the body's resourceVersion, if there is one, is a precondition.
    pub fn update(&self, actor: &Actor, resource: &str, namespace: &str, body: Value) -> Result<Arc<Object>, Failure> {
        self.put_part(actor, resource, namespace, body, Part::Main)
    }

    /// Replace an object's status (PUT on `/status`).
    pub fn update_status(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        body: Value,
    ) -> Result<Arc<Object>, Failure> {
        self.put_part(actor, resource, namespace, body, Part::Status)
    }

    fn put_part(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        body: Value,
        part: Part,
    ) -> Result<Arc<Object>, Failure> {
        let resource = self.resource(resource)?;
        let name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Ok(self
            .put(actor, &resource, namespace, &name, part, body, &WriteOptions::default())?
            .object)
    }

    /// Read, change, write; repeated if another writer was faster. Nothing is written if nothing changed.
    pub fn modify(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        name: &str,
        change: impl FnMut(&mut Value),
    ) -> Result<Arc<Object>, Failure> {
        self.modify_part(actor, resource, namespace, name, Part::Main, change)
    }

    /// The same on `/status`.
    pub fn modify_status(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        name: &str,
        change: impl FnMut(&mut Value),
    ) -> Result<Arc<Object>, Failure> {
        self.modify_part(actor, resource, namespace, name, Part::Status, change)
    }

    /// The same on any part of the object.
    pub fn modify_part(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        name: &str,
        part: Part,
        mut change: impl FnMut(&mut Value),
    ) -> Result<Arc<Object>, Failure> {
        let resource = self.resource(resource)?;
        let written = self.rewrite(
            actor,
            &resource,
            namespace,
            name,
            part,
            &WriteOptions::default(),
            &mut |live: &Object| {
                let mut next = live.value().clone();
                change(&mut next);
                Ok(update::Proposal::update(next))
            },
        )?;
        Ok(written.object)
    }

    /// Patch an object or one of its parts.
    pub fn patch(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        name: &str,
        part: Part,
        patch: &Patch,
    ) -> Result<Arc<Object>, Failure> {
        let resource = self.resource(resource)?;
        Ok(self
            .patch_in(actor, &resource, namespace, name, part, patch, &WriteOptions::default())?
            .object)
    }

    /// Delete an object. It may stay for a while: for its finalizers, or for its grace period.
    pub fn delete(
        &self,
        actor: &Actor,
        resource: &str,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Failure> {
        self.delete_in(actor, &*self.resource(resource)?, namespace, name, options)
    }

    /// All objects of a resource in all namespaces as `Added`, and then what happens to them.
    pub fn watch_all(&self, resource: &str) -> Result<Watch, Failure> {
        self.watch(&*self.resource(resource)?, Query::default(), Since::Start)
    }
}
