//! What all stacks of a commit share on their way to the cluster: a limit on requests in flight, and one list per kind
//! instead of several per stack.
//!
//! [`Shared`] is the port with the limit. [`Survey`] answers the requests of observing a stack (its record, its objects
//! by label, its namespace) from lists of the whole cluster, each read once under an account that may read it.
//! Everything else passes through, under the account that changes the stack ([`View`]). A survey is valid for one
//! observation: it never answers after an effect.

use futures::stream::BoxStream;
use myelin_engine::cluster::{
    Answer, Cluster, ClusterError, CommandOutput, List, Mode, PodCommand, Precondition, Propagation, Resource,
    Selection, ServiceAnswer, ServiceRequest, Target, WatchEvent,
};
use myelin_engine::observe::set_of;
use myelin_engine::record::{PART_OF, StackId};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OnceCell, Semaphore};

/// Requests in flight, of all sources together and as whomever they ask. Watches and commands in pods, which last, are not among
/// them, nor are the few of a replica that beats.
pub(crate) const IN_FLIGHT: usize = 64;

/// A cluster with a limit on requests in flight.
pub(crate) struct Shared {
    inner: Arc<dyn Cluster>,
    permits: Arc<Semaphore>,
}

impl Shared {
    /// With a limit that it has in common with others. Who has two, of a source and of all, asks for them in that order.
    pub(crate) fn among(inner: Arc<dyn Cluster>, permits: &Arc<Semaphore>) -> Self {
        Self {
            inner,
            permits: Arc::clone(permits),
        }
    }

    fn limited<'a, T: Send + 'a>(&'a self, request: Answer<'a, T>) -> Answer<'a, T> {
        Box::pin(async move {
            // The semaphore is never closed; without a permit the request would go all the same.
            let _permit = self.permits.acquire().await;
            request.await
        })
    }
}

impl Cluster for Shared {
    fn discover<'a>(&'a self, api_version: &'a str) -> Answer<'a, Option<Vec<Resource>>> {
        self.limited(self.inner.discover(api_version))
    }

    fn get<'a>(&'a self, target: &'a Target) -> Answer<'a, Option<Value>> {
        self.limited(self.inner.get(target))
    }

    fn list<'a>(&'a self, resource: &'a Resource, selection: &'a Selection) -> Answer<'a, List> {
        self.limited(self.inner.list(resource, selection))
    }

    fn apply_as<'a>(
        &'a self,
        manager: &'a str,
        target: &'a Target,
        body: &'a Value,
        force: bool,
        mode: Mode,
    ) -> Answer<'a, Value> {
        self.limited(self.inner.apply_as(manager, target, body, force, mode))
    }

    fn create<'a>(&'a self, target: &'a Target, body: &'a Value, mode: Mode) -> Answer<'a, Value> {
        self.limited(self.inner.create(target, body, mode))
    }

    fn update<'a>(&'a self, target: &'a Target, body: &'a Value) -> Answer<'a, Value> {
        self.limited(self.inner.update(target, body))
    }

    fn json_patch<'a>(&'a self, target: &'a Target, patch: &'a Value, mode: Mode) -> Answer<'a, Value> {
        self.limited(self.inner.json_patch(target, patch, mode))
    }

    fn delete<'a>(
        &'a self,
        target: &'a Target,
        precondition: &'a Precondition,
        propagation: Propagation,
        mode: Mode,
    ) -> Answer<'a, ()> {
        self.limited(self.inner.delete(target, precondition, propagation, mode))
    }

    fn watch<'a>(
        &'a self,
        resource: &'a Resource,
        selection: &'a Selection,
        resource_version: &'a str,
    ) -> Answer<'a, BoxStream<'static, Result<WatchEvent, ClusterError>>> {
        self.inner.watch(resource, selection, resource_version)
    }

    fn logs<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        previous: bool,
        lines: u32,
    ) -> Answer<'a, String> {
        self.limited(self.inner.logs(namespace, pod, container, previous, lines))
    }

    fn exec<'a>(&'a self, command: &'a PodCommand, stdin: Option<&'a [u8]>) -> Answer<'a, CommandOutput> {
        self.inner.exec(command, stdin)
    }

    fn ask_service<'a>(&'a self, request: &'a ServiceRequest) -> Answer<'a, ServiceAnswer> {
        self.limited(self.inner.ask_service(request))
    }
}

/// A kind's objects as one list had them.
struct Listed {
    version: String,
    /// By ApplySet and namespace; those without a set by their own name below the empty set.
    by_set: Mutex<HashMap<(String, String), Vec<Value>>>,
    /// Objects that can be requested by name: only Namespaces, which many stacks use.
    by_name: BTreeMap<String, Value>,
}

/// What one group and version serves, once it is known.
type Served = Arc<OnceCell<Option<Vec<Resource>>>>;

/// One look at everything that stacks may own.
pub(crate) struct Survey {
    /// Who reads for all.
    reader: Arc<dyn Cluster>,
    /// Secrets of records, by namespace and name.
    records: BTreeMap<(String, String), Value>,
    lists: Mutex<BTreeMap<Resource, Arc<OnceCell<Listed>>>>,
    served: Mutex<BTreeMap<String, Served>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Survey {
    /// A survey that knows the records. `reader` may list everywhere.
    pub(crate) fn new(reader: Arc<dyn Cluster>, secrets: Vec<Value>) -> Self {
        let name = |secret: &Value, field: &str| {
            let text = secret
                .get("metadata")
                .and_then(|metadata| metadata.get(field))
                .and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let records = secrets
            .into_iter()
            .map(|secret| ((name(&secret, "namespace"), name(&secret, "name")), secret));
        Self {
            reader,
            records: records.collect(),
            lists: Mutex::default(),
            served: Mutex::default(),
        }
    }

    /// Secrets of all records.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Value> {
        self.records.values()
    }

    /// The version of each list that was read: a watch may begin there.
    pub(crate) fn versions(&self) -> BTreeMap<Resource, String> {
        let lists = lock(&self.lists);
        let read = lists
            .iter()
            .filter_map(|(resource, list)| Some((resource.clone(), list.get()?.version.clone())));
        read.collect()
    }

    async fn listed(&self, resource: &Resource) -> Result<Arc<OnceCell<Listed>>, ClusterError> {
        let cell = Arc::clone(lock(&self.lists).entry(resource.clone()).or_default());
        cell.get_or_try_init(|| self.read(resource)).await?;
        Ok(cell)
    }

    async fn read(&self, resource: &Resource) -> Result<Listed, ClusterError> {
        let is_namespace = is_namespace(resource);
        let selection = Selection {
            // Stacks share namespaces, and not all that they use are theirs.
            labels: if is_namespace {
                String::new()
            } else {
                PART_OF.to_owned()
            },
            ..Selection::default()
        };
        let list = self.reader.list(resource, &selection).await?;
        let mut by_set: HashMap<(String, String), Vec<Value>> = HashMap::new();
        let mut by_name = BTreeMap::new();
        for item in list.items {
            let text = |pointer: &str| {
                item.pointer(pointer)
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            if is_namespace {
                by_name.insert(text("/metadata/name"), item.clone());
            }
            if let Some(set) = set_of(&item) {
                let place = (set.to_owned(), text("/metadata/namespace"));
                by_set.entry(place).or_default().push(item);
            }
        }
        Ok(Listed {
            version: list.resource_version,
            by_set: Mutex::new(by_set),
            by_name,
        })
    }
}

fn is_namespace(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.kind == "Namespace"
}

/// A survey for the stacks of one identity: what is not in its lists is requested from `inner`.
pub(crate) struct View {
    /// What was seen for all.
    pub(crate) survey: Arc<Survey>,
    /// As whom everything else is asked.
    pub(crate) inner: Arc<dyn Cluster>,
}

impl Cluster for View {
    fn discover<'a>(&'a self, api_version: &'a str) -> Answer<'a, Option<Vec<Resource>>> {
        Box::pin(async move {
            let cell = Arc::clone(lock(&self.survey.served).entry(api_version.to_owned()).or_default());
            cell.get_or_try_init(|| self.survey.reader.discover(api_version))
                .await
                .cloned()
        })
    }

    fn get<'a>(&'a self, target: &'a Target) -> Answer<'a, Option<Value>> {
        Box::pin(async move {
            let resource = &target.resource;
            if is_namespace(resource) {
                let list = self.survey.listed(resource).await?;
                return Ok(list.get().and_then(|list| list.by_name.get(&target.name).cloned()));
            }
            let is_record = resource.group.is_empty()
                && resource.kind == "Secret"
                && StackId::of_record(&target.namespace, &target.name).is_some();
            if is_record {
                return Ok(self
                    .survey
                    .records
                    .get(&(target.namespace.clone(), target.name.clone()))
                    .cloned());
            }
            self.inner.get(target).await
        })
    }

    fn list<'a>(&'a self, resource: &'a Resource, selection: &'a Selection) -> Answer<'a, List> {
        Box::pin(async move {
            let set = selection
                .labels
                .strip_prefix(PART_OF)
                .and_then(|rest| rest.strip_prefix('='));
            let Some(set) = set.filter(|_| selection.fields.is_empty()) else {
                return self.inner.list(resource, selection).await;
            };
            let list = self.survey.listed(resource).await?;
            let Some(list) = list.get() else {
                return self.inner.list(resource, selection).await;
            };
            let place = (set.to_owned(), selection.namespace.clone().unwrap_or_default());
            // Requested once for each stack, so what is given away need not be kept.
            let items = lock(&list.by_set).remove(&place).unwrap_or_default();
            Ok(List {
                items,
                resource_version: list.version.clone(),
            })
        })
    }

    fn apply_as<'a>(
        &'a self,
        manager: &'a str,
        target: &'a Target,
        body: &'a Value,
        force: bool,
        mode: Mode,
    ) -> Answer<'a, Value> {
        self.inner.apply_as(manager, target, body, force, mode)
    }

    fn create<'a>(&'a self, target: &'a Target, body: &'a Value, mode: Mode) -> Answer<'a, Value> {
        self.inner.create(target, body, mode)
    }

    fn update<'a>(&'a self, target: &'a Target, body: &'a Value) -> Answer<'a, Value> {
        self.inner.update(target, body)
    }

    fn json_patch<'a>(&'a self, target: &'a Target, patch: &'a Value, mode: Mode) -> Answer<'a, Value> {
        self.inner.json_patch(target, patch, mode)
    }

    fn delete<'a>(
        &'a self,
        target: &'a Target,
        precondition: &'a Precondition,
        propagation: Propagation,
        mode: Mode,
    ) -> Answer<'a, ()> {
        self.inner.delete(target, precondition, propagation, mode)
    }

    fn watch<'a>(
        &'a self,
        resource: &'a Resource,
        selection: &'a Selection,
        resource_version: &'a str,
    ) -> Answer<'a, BoxStream<'static, Result<WatchEvent, ClusterError>>> {
        self.inner.watch(resource, selection, resource_version)
    }

    fn logs<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        previous: bool,
        lines: u32,
    ) -> Answer<'a, String> {
        self.inner.logs(namespace, pod, container, previous, lines)
    }

    fn exec<'a>(&'a self, command: &'a PodCommand, stdin: Option<&'a [u8]>) -> Answer<'a, CommandOutput> {
        self.inner.exec(command, stdin)
    }

    fn ask_service<'a>(&'a self, request: &'a ServiceRequest) -> Answer<'a, ServiceAnswer> {
        self.inner.ask_service(request)
    }
}
