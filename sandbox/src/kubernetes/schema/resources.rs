//! The served resources: groups, versions, names, verbs and subresources, as in discovery.
//!
//! Built-in ones come from `facts/discovery.json` (a Kubernetes 1.36 API server's own aggregated discovery); custom
//! ones are added and removed at run time when their definitions are established and deleted.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use serde::Deserialize;

use super::{NodeId, Schema, Type, builtin};

const FACTS: &str = include_str!("../../../facts/discovery.json");

/// Group, version and plural name of a resource; the group of the core API is empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Gvr {
    /// The API group.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The plural name in paths.
    pub plural: String,
}

/// A resource in one version of its group.
#[derive(Debug)]
pub struct Resource {
    /// Group, version and plural name.
    pub gvr: Gvr,
    /// Singular name.
    pub singular: String,
    /// The kind of its objects.
    pub kind: String,
    /// Whether its objects live in namespaces.
    pub namespaced: bool,
    /// What `kubectl` accepts for it, such as `po`.
    pub short_names: Vec<String>,
    /// Such as `all`.
    pub categories: Vec<String>,
    /// What can be done with it.
    pub verbs: Vec<String>,
    /// Its subresources.
    pub subresources: Vec<Subresource>,
    /// Where its objects are stored: `plural.group`, the same for all versions.
    pub storage: Arc<str>,
    /// The version that objects are stored in.
    pub storage_version: String,
    /// The types of its objects.
    pub schema: Typing,
    /// What only custom resources have.
    pub custom: Option<Arc<super::custom::Definition>>,
}

/// A subresource as discovery tells it.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// Such as `status`.
    pub name: String,
    /// `group/version` of what it speaks; the resource's own if empty.
    pub group_version: (String, String),
    /// Kind of what it speaks.
    pub kind: String,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

/// Where the types of a resource are.
#[derive(Debug, Clone)]
pub enum Typing {
    /// A built-in type.
    Builtin(NodeId),
    /// A custom resource's own schema.
    Custom(Arc<Schema>, NodeId),
    /// The sandbox has no types for it; it is listed by discovery and refused with a 501.
    Unmodelled,
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.gvr.group, &self.gvr.version)
    }

    /// The API version in which objects are stored.
    pub fn storage_api_version(&self) -> String {
        api_version(&self.gvr.group, &self.storage_version)
    }

    /// The type of its objects; `None` if the sandbox does not model it.
    pub fn root(&self) -> Option<Type<'_>> {
        match &self.schema {
            Typing::Builtin(id) => Some(builtin::schema().at(*id)),
            Typing::Custom(schema, id) => Some(schema.at(*id)),
            Typing::Unmodelled => None,
        }
    }

    /// A subresource by name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Whether this is a custom resource.
    pub fn is_custom(&self) -> bool {
        self.custom.is_some()
    }

    /// `deployments.apps`, `pods`: how messages name it.
    pub fn qualified(&self) -> &str {
        &self.storage
    }

    /// The group that messages about stored objects name: both groups of events keep theirs as the core's.
    pub(crate) fn storage_group(&self) -> &str {
        self.storage.split_once('.').map_or("", |(_, group)| group)
    }

    /// `Deployment.apps`, `Pod`: how messages name its kind.
    pub fn qualified_kind(&self) -> String {
        if self.gvr.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.gvr.group)
        }
    }
}

/// `v1` or `apps/v1`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// `pods` or `deployments.apps`.
pub fn storage_name(group: &str, plural: &str) -> String {
    if group.is_empty() {
        plural.to_owned()
    } else {
        format!("{plural}.{group}")
    }
}

/// All resources that are served now.
#[derive(Debug)]
pub struct Catalog {
    inner: RwLock<Arc<Served>>,
}

/// A snapshot of what is served.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// Groups in discovery order with their versions in order of preference; the core group comes first.
    pub groups: Vec<(String, Vec<String>)>,
    by_gvr: HashMap<Gvr, Arc<Resource>>,
    by_storage: HashMap<String, Arc<Resource>>,
    order: Vec<Gvr>,
}

impl Served {
    /// A resource by group, version and plural name.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let gvr = Gvr {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
        };
        self.by_gvr.get(&gvr).cloned()
    }

    /// A resource by `plural.group`, in its storage version.
    pub fn by_storage(&self, storage: &str) -> Option<Arc<Resource>> {
        self.by_storage.get(storage).cloned()
    }

    /// The resource of a kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.in_version(group, version).find(|resource| resource.kind == kind)
    }

    /// The resources of a group version, in discovery order.
    pub fn in_version<'a>(&'a self, group: &'a str, version: &'a str) -> impl Iterator<Item = Arc<Resource>> + 'a {
        let order = self
            .order
            .iter()
            .filter(move |gvr| gvr.group == group && gvr.version == version);
        order.filter_map(|gvr| self.by_gvr.get(gvr).cloned())
    }

    /// Each stored resource once.
    pub fn stored(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.by_storage.values()
    }

    /// Whether a group version is served.
    pub fn has_version(&self, group: &str, version: &str) -> bool {
        self.groups
            .iter()
            .any(|(name, versions)| name == group && versions.iter().any(|v| v == version))
    }

    fn add(&mut self, resource: Arc<Resource>) {
        let gvr = resource.gvr.clone();
        match self.groups.iter_mut().find(|(name, _)| *name == gvr.group) {
            Some((_, versions)) if versions.contains(&gvr.version) => {}
            Some((_, versions)) => versions.push(gvr.version.clone()),
            None => self.groups.push((gvr.group.clone(), vec![gvr.version.clone()])),
        }
        let at_home =
            storage_name(&gvr.group, &gvr.plural) == *resource.storage && gvr.version == resource.storage_version;
        if at_home || !self.by_storage.contains_key(&*resource.storage) {
            self.by_storage.insert(resource.storage.to_string(), resource.clone());
        }
        self.order.push(gvr.clone());
        self.by_gvr.insert(gvr, resource);
    }

    fn remove(&mut self, storage: &str) {
        self.by_gvr.retain(|_, resource| &*resource.storage != storage);
        self.by_storage.remove(storage);
        let (order, by_gvr) = (&mut self.order, &self.by_gvr);
        order.retain(|gvr| by_gvr.contains_key(gvr));
        let order = &self.order;
        for (group, versions) in &mut self.groups {
            versions.retain(|version| order.iter().any(|gvr| gvr.group == *group && gvr.version == *version));
        }
        self.groups.retain(|(_, versions)| !versions.is_empty());
    }
}

impl Catalog {
    /// The built-in resources.
    pub fn new() -> Self {
        let mut served = Served::default();
        for resource in builtin_resources() {
            served.add(Arc::new(resource));
        }
        Self {
            inner: RwLock::new(Arc::new(served)),
        }
    }

    /// What is served now.
    pub fn served(&self) -> Arc<Served> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Serve a custom resource's versions, instead of what its definition served before.
    pub fn install(&self, storage: &str, resources: Vec<Resource>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let mut served = Served::clone(&inner);
        served.remove(storage);
        for resource in resources {
            served.add(Arc::new(resource));
        }
        *inner = Arc::new(served);
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Deserialize)]
struct Facts {
    core: ListFact,
    groups: ListFact,
}

#[derive(Deserialize)]
struct ListFact {
    items: Vec<GroupFact>,
}

#[derive(Deserialize)]
struct GroupFact {
    #[serde(default)]
    metadata: NameFact,
    versions: Vec<VersionFact>,
}

#[derive(Deserialize, Default)]
struct NameFact {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
struct VersionFact {
    version: String,
    resources: Vec<ResourceFact>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceFact {
    resource: String,
    response_kind: KindFact,
    scope: String,
    singular_resource: String,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    verbs: Vec<String>,
    #[serde(default)]
    subresources: Vec<SubresourceFact>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubresourceFact {
    subresource: String,
    response_kind: KindFact,
    verbs: Vec<String>,
}

#[derive(Deserialize)]
struct KindFact {
    group: String,
    version: String,
    kind: String,
}

/// Kinds that several groups or versions serve: where objects are kept.
fn stored_as<'a>(group: &'a str, version: &'a str, plural: &'a str) -> (String, &'a str) {
    match (group, plural) {
        ("events.k8s.io", "events") => ("events".to_owned(), "v1"),
        ("autoscaling", "horizontalpodautoscalers") => (storage_name(group, plural), "v2"),
        _ => (storage_name(group, plural), version),
    }
}

fn builtin_resources() -> Vec<Resource> {
    let facts: Facts =
        serde_json::from_str(FACTS).expect("the committed facts are well-formed; a unit test reads them");
    let schema = builtin::schema();
    let mut out = Vec::new();
    for group in facts.core.items.into_iter().chain(facts.groups.items) {
        let name = group.metadata.name;
        for version in group.versions {
            for fact in version.resources {
                let gvk = format!("{}/{}", api_version(&name, &version.version), fact.response_kind.kind);
                let typing = schema
                    .kinds
                    .get(&gvk)
                    .map_or(Typing::Unmodelled, |id| Typing::Builtin(*id));
                let (storage, storage_version) = stored_as(&name, &version.version, &fact.resource);
                out.push(Resource {
                    gvr: Gvr {
                        group: name.clone(),
                        version: version.version.clone(),
                        plural: fact.resource.clone(),
                    },
                    singular: fact.singular_resource,
                    kind: fact.response_kind.kind,
                    namespaced: fact.scope == "Namespaced",
                    short_names: fact.short_names,
                    categories: fact.categories,
                    verbs: fact.verbs,
                    subresources: fact
                        .subresources
                        .into_iter()
                        .map(|s| Subresource {
                            name: s.subresource,
                            group_version: (s.response_kind.group, s.response_kind.version),
                            kind: s.response_kind.kind,
                            verbs: s.verbs,
                        })
                        .collect(),
                    storage: Arc::from(storage),
                    storage_version: storage_version.to_owned(),
                    schema: typing,
                    custom: None,
                });
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_resources_are_found_by_path_and_by_storage() {
        let served = Catalog::new().served();
        assert_eq!(served.get("apps", "v1", "deployments").unwrap().kind, "Deployment");
        assert_eq!(
            served.by_storage("deployments.apps").unwrap().qualified_kind(),
            "Deployment.apps"
        );
        assert_eq!(
            served
                .by_storage("horizontalpodautoscalers.autoscaling")
                .unwrap()
                .gvr
                .version,
            "v2"
        );
        assert_eq!(
            served.get("events.k8s.io", "v1", "events").unwrap().qualified(),
            "events"
        );
        assert_eq!(served.groups[0].0, "");
    }

    #[test]
    fn a_removed_group_disappears() {
        let catalog = Catalog::new();
        catalog.install("pods", Vec::new());
        assert!(catalog.served().get("", "v1", "pods").is_none());
        assert!(catalog.served().has_version("", "v1"));
        catalog.install("leases.coordination.k8s.io", Vec::new());
        assert!(!catalog.served().has_version("coordination.k8s.io", "v1"));
    }
}
