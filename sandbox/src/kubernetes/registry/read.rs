//! get and list.

use std::sync::Arc;

use serde_json::Value;

use super::{Failure, Fields, Labels, Registry};
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::store::{self, Object};

/// Which objects of a resource.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// In this namespace; in all if `None`.
    pub namespace: Option<String>,
    /// With these labels.
    pub labels: Labels,
    /// With these fields.
    pub fields: Fields,
}

impl Query {
    /// Whether an object is among them (the namespace included).
    pub fn matches(&self, object: &Object) -> bool {
        self.namespace.as_deref().is_none_or(|ns| object.namespace() == ns) && self.selects(object.value())
    }

    /// Whether the selectors select it.
    pub fn selects(&self, object: &Value) -> bool {
        (self.labels.is_empty() || self.labels.matches(&object["metadata"]["labels"]))
            && (self.fields.is_empty() || self.fields.matches(object))
    }

    pub(crate) fn prefix(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/"),
            None => String::new(),
        }
    }
}

/// From where a list reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Snapshot {
    /// Now.
    #[default]
    Latest,
    /// As it was at this revision.
    At(u64),
}

/// A list.
#[derive(Debug)]
pub struct Listing {
    /// The objects, in the order of their storage keys.
    pub objects: Vec<Arc<Object>>,
    /// The revision that they are a snapshot of.
    pub revision: u64,
    /// The key of the last object, if the limit left some out.
    pub next: Option<String>,
    /// How many were left out; known only without selectors.
    pub remaining: Option<usize>,
}

impl Registry {
    /// One object of a resource.
    pub fn read(&self, resource: &Resource, namespace: &str, name: &str) -> Result<Arc<Object>, Failure> {
        self.table(resource)
            .get(&store::key(namespace, name))
            .ok_or_else(|| Failure::not_found(&resource.gvr.group, &resource.gvr.plural, name))
    }

    /// All objects that a query selects.
    pub fn select(&self, resource: &Resource, query: &Query) -> Result<Listing, Failure> {
        self.select_page(resource, query, Snapshot::Latest, None, None)
    }

    /// The objects that a query selects: after a key, at most `limit`.
    pub fn select_page(
        &self,
        resource: &Resource,
        query: &Query,
        snapshot: Snapshot,
        after: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Listing, Failure> {
        let table = self.table(resource);
        let prefix = query.prefix();
        let page = match snapshot {
            Snapshot::Latest => table.list(&prefix, after),
            Snapshot::At(revision) => table
                .list_at(&prefix, after, revision)
                .ok_or_else(|| Failure::expired("The resourceVersion for the provided list is too old."))?,
        };
        let plain = query.labels.is_empty() && query.fields.is_empty();
        let mut objects = page.objects;
        if !plain {
            objects.retain(|object| query.selects(object.value()));
        }
        let (mut next, mut remaining) = (None, None);
        if let Some(limit) = limit
            && objects.len() > limit
        {
            remaining = plain.then_some(objects.len() - limit);
            objects.truncate(limit);
            next = objects.last().map(|object| object.key().to_owned());
        }
        Ok(Listing {
            objects,
            revision: page.revision,
            next,
            remaining,
        })
    }
}
