//! The resources of one build, in the order in which they came. No two have the same name.

use super::id::Id;
use super::resource::{Behavior, Resource};
use crate::diagnostic::Diagnostic;
use crate::yaml::{Content, Node};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug, Clone, Default)]
pub(super) struct ResMap {
    pub(super) all: Vec<Resource>,
}

impl ResMap {
    /// Adds resources; one whose name is taken is refused.
    pub(super) fn append(&mut self, more: Vec<Resource>) -> Result<(), Vec<(Diagnostic, Resource)>> {
        let mut taken: HashSet<Id> = self.all.iter().map(|r| r.id().normal()).collect();
        let mut refused = Vec::new();
        for resource in more {
            if taken.insert(resource.id().normal()) {
                self.all.push(resource);
            } else {
                let id = resource.id();
                let problem = Diagnostic::error(format!("{id} is there twice"))
                    .detail("Two resources of one build cannot have the same kind, namespace and name. Remove one, or give one of them another name or namespace.");
                refused.push((problem, resource));
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(refused) }
    }

    /// The first two resources that have the same name, if there are any.
    pub(super) fn conflict(&self) -> Option<(&Resource, &Resource)> {
        let mut seen: HashMap<Id, usize> = HashMap::with_capacity(self.all.len());
        for (i, resource) in self.all.iter().enumerate() {
            if let Some(first) = seen.insert(resource.id().normal(), i) {
                return Some((&self.all[first], resource));
            }
        }
        None
    }

    /// Indices of the resources that have, or had, this name.
    pub(super) fn with_any_id(&self, id: &Id) -> Vec<usize> {
        (0..self.all.len()).filter(|i| self.all[*i].has_id(id)).collect()
    }

    /// Adds a generated resource: as a new one, instead of one that is there, or merged into it.
    pub(super) fn absorb(&mut self, mut new: Resource) -> Result<(), String> {
        let id = new.id();
        match self.with_any_id(&id)[..] {
            [] => match new.behavior {
                Behavior::Merge | Behavior::Replace => Err(format!(
                    "{id} does not exist, so there is nothing to merge into or replace; check the name and namespace, or use behavior: create"
                )),
                _ => {
                    self.all.push(new);
                    Ok(())
                }
            },
            [index] => {
                let old = &self.all[index];
                match new.behavior {
                    Behavior::Replace => inherit(&mut new, old),
                    Behavior::Merge => {
                        inherit(&mut new, old);
                        for field in ["data", "binaryData"] {
                            merge_data(&mut new.node, &old.node, field);
                        }
                        new.origin = old.origin.clone();
                    }
                    _ => {
                        return Err(format!(
                            "{id} exists already; say behavior: merge or behavior: replace if it is meant to change it"
                        ));
                    }
                }
                self.all[index] = new;
                Ok(())
            }
            ref many => Err(format!("{id} could be merged into any of {} resources", many.len())),
        }
    }
}

/// What a generated resource takes over from the one that it replaces.
fn inherit(new: &mut Resource, old: &Resource) {
    for field in ["labels", "annotations"] {
        let mut texts = old.texts(field);
        texts.extend(new.texts(field));
        new.set_texts(field, &texts);
    }
    new.needs_hash = new.needs_hash && old.needs_hash;
    new.behavior = old.behavior;
    new.previous.clone_from(&old.previous);
    new.prefixes.clone_from(&old.prefixes);
    new.suffixes.clone_from(&old.suffixes);
    new.var_names.clone_from(&old.var_names);
    new.transformations.clone_from(&old.transformations);
    let (name, namespace) = (old.name().to_owned(), old.namespace().to_owned());
    new.set_name(&name);
    new.set_namespace(&namespace);
}

fn merge_data(new: &mut Node, old: &Node, field: &str) {
    let texts = |node: &Node| -> BTreeMap<Arc<str>, Node> {
        let map = node.get(field).map(Node::entries).unwrap_or_default();
        map.iter()
            .map(|e| {
                (
                    e.key.clone(),
                    Node::string(e.value.text().unwrap_or_default()).at(e.value.at),
                )
            })
            .collect()
    };
    let mut merged = texts(old);
    merged.extend(texts(new));
    new.remove(field);
    if !merged.is_empty() {
        let entries = merged
            .into_iter()
            .map(|(key, value)| crate::yaml::Entry {
                key,
                at: value.at,
                value,
            })
            .collect();
        new.set(field, Node::new(Content::Map(entries)));
    }
}
