//! Finds the live objects of a stack: one list per kind, by label; objects that a list does not show are read by name.

use super::IN_FLIGHT;
use crate::cluster::{Cluster, ClusterError, Resource, Selection, Target, kinds, retrying};
use crate::object::ObjectKey;
use crate::record::{PART_OF, StackId};
use futures::StreamExt as _;
use futures::TryStreamExt as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

/// From this number of objects of one kind and namespace on, one list is cheaper than reading each.
const LIST_FROM: usize = 5;

pub(crate) type Kind = (String, String);

/// The resources of kinds, and which of them the cluster does not serve. Built-in kinds need no request.
pub(crate) async fn resources<'a>(
    cluster: &dyn Cluster,
    kinds: impl Iterator<Item = (&'a String, &'a String)>,
    cancel: &CancellationToken,
) -> Result<(BTreeMap<Kind, Resource>, BTreeSet<Kind>), ClusterError> {
    let mut found = BTreeMap::new();
    let mut asked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (api_version, kind) in kinds {
        match kinds::built_in(api_version, kind) {
            Some(resource) => {
                found.insert((api_version.clone(), kind.clone()), resource);
            }
            None => {
                asked.entry(api_version.clone()).or_default().insert(kind.clone());
            }
        }
    }
    let mut missing = BTreeSet::new();
    for (api_version, kinds) in asked {
        let served = retrying(cancel, || cluster.discover(&api_version))
            .await?
            .unwrap_or_default();
        for kind in kinds {
            let at = (api_version.clone(), kind.clone());
            match served.iter().find(|r| r.kind == kind) {
                Some(resource) => {
                    found.insert(at, resource.clone());
                }
                None => {
                    missing.insert(at);
                }
            }
        }
    }
    Ok((found, missing))
}

/// All live objects among `keys` (with their apiVersions). `confirmed` are those that the record has seen live. Without
/// a record, a missing namespace saves all requests for its contents.
pub(crate) async fn find(
    cluster: &dyn Cluster,
    stack: &StackId,
    keys: &BTreeMap<ObjectKey, String>,
    confirmed: &BTreeSet<&ObjectKey>,
    resources: &BTreeMap<Kind, Resource>,
    has_record: bool,
    cancel: &CancellationToken,
) -> Result<BTreeMap<ObjectKey, Value>, ClusterError> {
    let mut live = BTreeMap::new();
    let mut absent: Option<&str> = None;
    if !has_record {
        let key = ObjectKey::new("", "Namespace", "", &*stack.namespace);
        let target = Target {
            resource: kinds::known("v1", "Namespace"),
            namespace: String::new(),
            name: key.name.clone(),
        };
        match retrying(cancel, || cluster.get(&target)).await? {
            Some(value) => {
                live.insert(key, value);
            }
            None => absent = Some(&stack.namespace),
        }
    }
    let mut groups: BTreeMap<(&Resource, &str), BTreeSet<&ObjectKey>> = BTreeMap::new();
    for (key, api_version) in keys {
        let resource = resources.get(&(api_version.clone(), key.kind.clone()));
        if let Some(resource) = resource.filter(|r| !r.namespaced || Some(key.namespace.as_str()) != absent) {
            groups.entry((resource, &key.namespace)).or_default().insert(key);
        }
    }
    let label = format!("{PART_OF}={}", stack.apply_set());
    let listed: Vec<Vec<Value>> = futures::stream::iter(
        // Owned, so that the future is `Send` for every caller.
        groups
            .keys()
            .map(|(resource, namespace)| ((*resource).clone(), (*namespace).to_owned()))
            .collect::<Vec<_>>(),
    )
    .map(|(resource, namespace)| list(cluster, resource, namespace, label.clone(), cancel))
    .buffer_unordered(IN_FLIGHT)
    .try_collect()
    .await?;
    take(&mut live, listed, keys);
    // Objects without our label: not created yet, somebody else's, or stripped of it.
    let mut reads = Vec::new();
    let mut lists = Vec::new();
    for ((resource, namespace), keys) in &groups {
        let unseen: Vec<&ObjectKey> = keys.iter().filter(|k| !live.contains_key(**k)).copied().collect();
        let unconfirmed = unseen.iter().filter(|k| !confirmed.contains(**k)).count();
        if unseen.len() >= LIST_FROM && unconfirmed > 0 {
            lists.push(((*resource).clone(), (*namespace).to_owned()));
        } else {
            reads.extend(unseen.into_iter().map(|k| super::target(resource, k)));
        }
    }
    let listed: Vec<Vec<Value>> = futures::stream::iter(
        lists
            .into_iter()
            .map(|(resource, namespace)| list(cluster, resource, namespace, String::new(), cancel)),
    )
    .buffer_unordered(IN_FLIGHT)
    .try_collect()
    .await?;
    take(&mut live, listed, keys);
    let read: Vec<Option<Value>> = futures::stream::iter(
        reads
            .into_iter()
            .map(|target| async move { retrying(cancel, || cluster.get(&target)).await }),
    )
    .buffer_unordered(IN_FLIGHT)
    .try_collect()
    .await?;
    take(&mut live, vec![read.into_iter().flatten().collect()], keys);
    Ok(live)
}

async fn list(
    cluster: &dyn Cluster,
    resource: Resource,
    namespace: String,
    labels: String,
    cancel: &CancellationToken,
) -> Result<Vec<Value>, ClusterError> {
    let namespace = (!namespace.is_empty()).then_some(namespace);
    let selection = Selection {
        namespace,
        labels,
        fields: String::new(),
    };
    match retrying(cancel, || cluster.list(&resource, &selection)).await {
        Ok(list) => Ok(list.items),
        // The kind has vanished since discovery, and its objects with it.
        Err(e) if e.is_not_found() => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

/// Keeps the objects that belong to `keys`. If a kind turns out to be cluster-scoped, the key has a namespace and the
/// live object does not.
fn take(live: &mut BTreeMap<ObjectKey, Value>, lists: Vec<Vec<Value>>, keys: &BTreeMap<ObjectKey, String>) {
    for value in lists.into_iter().flatten() {
        let key = ObjectKey::of(&value);
        if keys.contains_key(&key) {
            live.insert(key, value);
        } else if key.namespace.is_empty() {
            let same = |k: &&ObjectKey| k.group == key.group && k.kind == key.kind && k.name == key.name;
            if let Some(key) = keys.keys().find(same) {
                live.insert(key.clone(), value);
            }
        }
    }
}
