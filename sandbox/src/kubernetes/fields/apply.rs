//! What an apply does: merge, give up fields that are no longer named, find conflicts, take over by force.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::Value;

use super::managed::Entry;
use super::remove::{remove, with_parents};
use super::set::FieldSet;
use super::typed::{Comparison, compare, merge, to_set};
use crate::kubernetes::registry::Part;
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::schema::versions;

/// Finds a resource in another version, by `apiVersion`.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<Arc<Resource>>;

/// An object before and after a write, as it looks in every version that some manager uses.
pub(super) struct Change<'a> {
    pub(super) resource: &'a Resource,
    pub(super) part: Part,
    /// Stored forms.
    pub(super) old: &'a Value,
    pub(super) new: &'a Value,
    pub(super) lookup: Lookup<'a>,
}

impl Change<'_> {
    /// How the object changes, seen in a version; `None` if that version is not served any more.
    pub(super) fn seen_in(&self, api_version: &str) -> Option<Comparison> {
        let other;
        let resource = if api_version == self.resource.api_version() {
            self.resource
        } else {
            other = (self.lookup)(api_version)?;
            &other
        };
        let root = resource.root()?;
        let (old, new) = (
            versions::from_storage(resource, self.old),
            versions::from_storage(resource, self.new),
        );
        let mut comparison = compare(root, &old, &new);
        for set in [&mut comparison.added, &mut comparison.modified, &mut comparison.removed] {
            leave_out(resource, self.part, set);
        }
        Some(comparison)
    }

    /// The fields that this change takes from others, and the updated entries. `writer` is the index of the writer's
    /// own entry, if there is one.
    pub(super) fn settle(&self, entries: &mut [Entry], writer: Option<usize>) -> Vec<(usize, FieldSet)> {
        let mut seen: Vec<(String, Option<Comparison>)> = Vec::new();
        let mut conflicts = Vec::new();
        for (index, entry) in entries
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| Some(*index) != writer)
        {
            let known = seen.iter().position(|(version, _)| *version == entry.api_version);
            let at = known.unwrap_or_else(|| {
                seen.push((entry.api_version.clone(), self.seen_in(&entry.api_version)));
                seen.len() - 1
            });
            let Some(comparison) = &seen[at].1 else {
                // Of a version that is gone nothing can be owned.
                entry.fields = FieldSet::new();
                continue;
            };
            let changed = comparison.modified.clone().union(comparison.added.clone());
            let conflict = entry.fields.intersection(&changed);
            if !conflict.is_empty() {
                entry.fields = entry.fields.difference(&conflict);
                conflicts.push((index, conflict));
            }
            if !comparison.removed.is_empty() {
                entry.fields = entry.fields.difference(&comparison.removed);
            }
        }
        conflicts
    }
}

/// Leave out what no manager can own: identity, what the server keeps, and what this part may not write.
pub(super) fn leave_out(resource: &Resource, part: Part, set: &mut FieldSet) {
    for path in ["f:apiVersion", "f:kind"] {
        set.remove_exact(&[path]);
    }
    set.remove_exact(&["f:metadata"]);
    for name in [
        "f:name",
        "f:namespace",
        "f:creationTimestamp",
        "f:selfLink",
        "f:uid",
        "f:generation",
        "f:managedFields",
        "f:resourceVersion",
    ] {
        set.prune(&["f:metadata", name]);
    }
    leave_out_reset(resource, part, set);
}

/// What this part of the object may not write.
pub(super) fn leave_out_reset(resource: &Resource, part: Part, set: &mut FieldSet) {
    let has_status = crate::kubernetes::registry::traits::keeps_status(resource);
    match part {
        Part::Status if resource.is_custom() => set.keep_only("f:status"),
        Part::Status => {
            set.prune(&["f:spec"]);
            set.prune(&["f:metadata", "f:deletionTimestamp"]);
        }
        Part::Main if has_status => set.prune(&["f:status"]),
        Part::Scale => set.prune(&["f:status"]),
        _ => {}
    }
}

/// An apply, seen in the version of the request.
pub(super) struct Apply<'a> {
    pub(super) resource: &'a Resource,
    pub(super) part: Part,
    /// What the manager wants, as it was sent.
    pub(super) config: &'a Value,
    pub(super) lookup: Lookup<'a>,
}

impl Apply<'_> {
    /// The resulting object, in stored form and before defaults. In `entries` the manager owns what it applies now;
    /// `last` is what it owned by its previous apply.
    pub(super) fn object(&self, live: &Value, entries: &[Entry], last: Option<&Entry>) -> Option<Value> {
        let root = self.resource.root()?;
        let seen = versions::from_storage(self.resource, live);
        let merged = merge(root, Some(&seen), Some(self.config))?;
        let merged = versions::to_storage(self.resource, merged);
        let pruned = match last.filter(|last| !last.fields.is_empty()) {
            None => merged,
            Some(last) => self.prune(merged, entries, last)?,
        };
        Some(pruned)
    }

    /// Remove what the manager owned and no longer says, unless another manager owns it.
    fn prune(&self, merged: Value, entries: &[Entry], last: &Entry) -> Option<Value> {
        let Some(in_last) = self.version(&last.api_version) else {
            return Some(merged);
        };
        let root = in_last.root()?;
        let view = versions::from_storage(&in_last, &merged).into_owned();
        let mut pruned =
            remove(root, &view, &with_parents(root, &last.fields)).unwrap_or(Value::Object(serde_json::Map::new()));
        let mut api_versions: Vec<&str> = Vec::new();
        for entry in entries {
            if !api_versions.contains(&entry.api_version.as_str()) {
                api_versions.push(&entry.api_version);
            }
        }
        for api_version in api_versions {
            let Some(resource) = self.version(api_version) else {
                continue;
            };
            let root = resource.root()?;
            let owners = entries.iter().filter(|entry| entry.api_version == api_version);
            let owned = owners.fold(FieldSet::new(), |all, entry| all.union(entry.fields.clone()));
            let whole = self.convert(&merged, &resource);
            let less = self.convert_between(&pruned, &in_last, &resource);
            let kept = with_parents(root, &to_set(root, &less)).union(with_parents(root, &owned));
            let gone = with_parents(root, &to_set(root, &whole)).difference(&kept);
            let back = remove(root, &whole, &gone).unwrap_or(Value::Object(serde_json::Map::new()));
            pruned = self.convert_between(&back, &resource, &in_last).into_owned();
        }
        // What fell only because its parent fell, and was never this manager's, comes back.
        let fallen = with_parents(root, &to_set(root, &view)).difference(&with_parents(root, &to_set(root, &pruned)));
        let gone = fallen.intersection(&with_parents(root, &last.fields));
        let result = remove(root, &view, &gone).unwrap_or(Value::Object(serde_json::Map::new()));
        Some(versions::to_storage(&in_last, result))
    }

    fn version(&self, api_version: &str) -> Option<Arc<Resource>> {
        (self.lookup)(api_version)
    }

    fn convert<'v>(&self, stored: &'v Value, to: &Resource) -> Cow<'v, Value> {
        versions::from_storage(to, stored)
    }

    fn convert_between<'v>(&self, value: &'v Value, from: &Resource, to: &Resource) -> Cow<'v, Value> {
        if from.api_version() == to.api_version() {
            return Cow::Borrowed(value);
        }
        let stored = versions::to_storage(from, value.clone());
        Cow::Owned(versions::from_storage(to, &stored).into_owned())
    }
}
