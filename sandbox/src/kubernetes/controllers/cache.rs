//! What the controllers know of the store: all objects, found by resource, namespace, owner and node without a scan.
//!
//! It is fed with changes in the order of their revisions and nothing else, so it lags what a controller itself just wrote
//! until those changes come back: as an informer's cache does, and some recorded states exist only because of that.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use super::object::{self, Key};
use crate::kubernetes::store::Object;

/// An object's place: its resource (`plural.group`) and key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) resource: Arc<str>,
    pub(crate) key: Key,
}

/// All objects with their indexes.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    objects: HashMap<Arc<str>, BTreeMap<Key, Arc<Object>>>,
    by_uid: HashMap<String, Place>,
    dependents: HashMap<String, BTreeSet<Place>>,
    pods_by_node: HashMap<String, BTreeSet<Key>>,
    /// Pods that nobody owns.
    orphans: BTreeSet<Key>,
}

impl Cache {
    /// Stores the current state of an object, or removes it. Returns the previous state.
    pub(crate) fn apply(&mut self, resource: &Arc<str>, object: &Arc<Object>, gone: bool) -> Option<Arc<Object>> {
        let value = object.value();
        let place = Place {
            resource: resource.clone(),
            key: object::key_of(value),
        };
        let table = self.objects.entry(resource.clone()).or_default();
        let before = if gone {
            table.remove(&place.key)
        } else {
            table.insert(place.key.clone(), object.clone())
        };
        let pods = &**resource == "pods";
        if let Some(before) = &before {
            for owner in object::list(before.value(), "/metadata/ownerReferences") {
                let owner = owner["uid"].as_str().unwrap_or_default();
                if let Some(places) = self.dependents.get_mut(owner) {
                    places.remove(&place);
                    if places.is_empty() {
                        self.dependents.remove(owner);
                    }
                }
            }
            self.by_uid.remove(before.uid());
            if pods
                && let Some(keys) = self
                    .pods_by_node
                    .get_mut(object::text(before.value(), "/spec/nodeName"))
            {
                keys.remove(&place.key);
            }
        }
        if pods {
            let owned = !object::list(value, "/metadata/ownerReferences").is_empty();
            if gone || owned {
                self.orphans.remove(&place.key);
            } else {
                self.orphans.insert(place.key.clone());
            }
        }
        if !gone {
            for owner in object::list(value, "/metadata/ownerReferences") {
                let owner = owner["uid"].as_str().unwrap_or_default();
                self.dependents
                    .entry(owner.to_owned())
                    .or_default()
                    .insert(place.clone());
            }
            if pods {
                let node = object::text(value, "/spec/nodeName").to_owned();
                self.pods_by_node.entry(node).or_default().insert(place.key.clone());
            }
            self.by_uid.insert(object.uid().to_owned(), place);
        }
        before
    }

    /// An object.
    pub(crate) fn get(&self, resource: &str, key: &Key) -> Option<Arc<Object>> {
        self.objects.get(resource)?.get(key).cloned()
    }

    /// An object by namespace and name.
    pub(crate) fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.get(resource, &object::key(namespace, name))
    }

    /// All objects of a resource in a namespace, by name.
    pub(crate) fn in_namespace<'a>(
        &'a self,
        resource: &str,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        let from = object::key(namespace, "");
        let table = self.objects.get(resource);
        table.into_iter().flat_map(move |table| {
            let range = table.range((Bound::Included(from.clone()), Bound::Unbounded));
            range
                .take_while(move |(key, _)| &*key.0 == namespace)
                .map(|(_, object)| object)
        })
    }

    /// All objects of a resource.
    pub(crate) fn all(&self, resource: &str) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.get(resource).into_iter().flat_map(BTreeMap::values)
    }

    /// Where the object with a uid is.
    pub(crate) fn place(&self, uid: &str) -> Option<&Place> {
        self.by_uid.get(uid)
    }

    /// Objects that name an owner.
    pub(crate) fn dependents(&self, owner: &str) -> Vec<Place> {
        self.dependents.get(owner).into_iter().flatten().cloned().collect()
    }

    /// Objects of one resource that name an owner as their controller, by name.
    pub(crate) fn owned(&self, resource: &str, owner: &str) -> Vec<Arc<Object>> {
        let places = self
            .dependents
            .get(owner)
            .into_iter()
            .flatten()
            .filter(|place| &*place.resource == resource);
        places
            .filter_map(|place| self.get(resource, &place.key))
            .filter(|object| object::controller(object.value()).is_some_and(|(_, _, uid)| uid == owner))
            .collect()
    }

    /// Pods of a namespace that nobody owns.
    pub(crate) fn orphans<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = Arc<Object>> + 'a {
        let range = self
            .orphans
            .range((Bound::Included(object::key(namespace, "")), Bound::Unbounded));
        range
            .take_while(move |key| &*key.0 == namespace)
            .filter_map(|key| self.get("pods", key))
    }

    /// Pods on a node; the empty name has those that are on none.
    pub(crate) fn pods_on(&self, node: &str) -> Vec<Arc<Object>> {
        self.pods_by_node
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|key| self.get("pods", key))
            .collect()
    }
}

/// Whether a label selector (or, with `plain`, a map of labels) selects labels. An absent selector selects nothing.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let Some(selector) = selector.as_object() else {
        return false;
    };
    let has = |key: &str| labels.get(key).and_then(Value::as_str);
    let equal = |wanted: &Value| {
        wanted
            .as_object()
            .is_none_or(|map| map.iter().all(|(key, value)| has(key) == value.as_str()))
    };
    if !selector.contains_key("matchLabels") && !selector.contains_key("matchExpressions") {
        return equal(&Value::Object(selector.clone()));
    }
    let expressions = selector
        .get("matchExpressions")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    selector.get("matchLabels").is_none_or(equal)
        && expressions.iter().all(|expression| {
            let found = has(expression["key"].as_str().unwrap_or_default());
            let among = object::list(expression, "/values")
                .iter()
                .any(|value| value.as_str() == found);
            match expression["operator"].as_str().unwrap_or_default() {
                "In" => found.is_some() && among,
                "NotIn" => found.is_none() || !among,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}
