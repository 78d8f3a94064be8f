//! A resource on its way through the transformers: its YAML, the names it has had, and what the final steps need. The
//! original keeps this history in internal annotations; here it never touches the resource itself.

use super::id::{Gvk, Id};
use super::shared::Sharing;
use crate::object::split_api_version;
use crate::tree::TreePath;
use crate::yaml::{At, Content, Entry, Node, Tag};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How a generated resource joins those that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Behavior {
    #[default]
    Unspecified,
    Create,
    Replace,
    Merge,
}

/// A name that a resource had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Previous {
    pub(super) namespace: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) kind: Arc<str>,
}

/// Where a resource or a change to it came from, for `buildMetadata`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Provenance {
    /// Read from a file.
    File(TreePath),
    /// Made or changed by something that a file configures.
    Configured {
        file: TreePath,
        api_version: Arc<str>,
        kind: Arc<str>,
        name: Arc<str>,
        namespace: Arc<str>,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Resource {
    pub(super) node: Node,
    /// Oldest first.
    pub(super) previous: Vec<Previous>,
    pub(super) prefixes: Vec<Arc<str>>,
    pub(super) suffixes: Vec<Arc<str>>,
    pub(super) needs_hash: bool,
    pub(super) behavior: Behavior,
    /// Variables whose value this resource gives.
    pub(super) var_names: Vec<Arc<str>>,
    pub(super) origin: Option<Provenance>,
    pub(super) transformations: Vec<Provenance>,
    pub(super) sharing: Sharing,
}

const NOTHING: &str = "";

/// Represents what the original keeps among the annotations; no real annotation has this key.
const HISTORY: &str = "internal.config.kubernetes.io/\0history";

impl Resource {
    pub(super) fn new(node: Node) -> Self {
        Self {
            node,
            previous: Vec::new(),
            prefixes: Vec::new(),
            suffixes: Vec::new(),
            needs_hash: false,
            behavior: Behavior::default(),
            var_names: Vec::new(),
            origin: None,
            transformations: Vec::new(),
            sharing: Sharing::default(),
        }
    }

    pub(super) fn at(&self) -> At {
        self.node.at
    }

    pub(super) fn api_version(&self) -> &str {
        self.node.get("apiVersion").and_then(Node::text).unwrap_or(NOTHING)
    }

    pub(super) fn kind(&self) -> &str {
        self.node.get("kind").and_then(Node::text).unwrap_or(NOTHING)
    }

    pub(super) fn name(&self) -> &str {
        self.meta("name")
    }

    pub(super) fn namespace(&self) -> &str {
        self.meta("namespace")
    }

    fn meta(&self, field: &str) -> &str {
        let value = self.node.path(&["metadata", field]);
        value.filter(|v| !v.is_null()).and_then(Node::text).unwrap_or(NOTHING)
    }

    pub(super) fn gvk(&self) -> Gvk {
        Gvk::of(self.api_version(), self.kind())
    }

    /// The name it has now.
    pub(super) fn id(&self) -> Id {
        Id {
            gvk: self.gvk(),
            namespace: self.namespace().into(),
            name: self.name().into(),
        }
    }

    /// The name it had first.
    pub(super) fn original_id(&self) -> Id {
        self.previous_ids().next().unwrap_or_else(|| self.id())
    }

    /// The names it had before, oldest first. The group and version are always today's.
    pub(super) fn previous_ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.previous.iter().map(|p| {
            let (group, version) = split_api_version(self.api_version());
            Id {
                gvk: Gvk {
                    group: group.into(),
                    version: version.into(),
                    kind: p.kind.clone(),
                },
                namespace: p.namespace.clone(),
                name: p.name.clone(),
            }
        })
    }

    /// Whether one of its names, old or new, is this one.
    pub(super) fn has_id(&self, id: &Id) -> bool {
        (self.name() == &*id.name && self.id().same(id))
            || (self.previous.iter().any(|p| p.name == id.name) && self.previous_ids().any(|p| p.same(id)))
    }

    /// Keeps the name it has now as one that it had.
    pub(super) fn remember_name(&mut self) {
        let id = self.id();
        self.previous.push(Previous {
            namespace: id.effective_namespace().into(),
            name: id.name.clone(),
            kind: id.gvk.kind.clone(),
        });
        self.renew_annotations();
    }

    /// The original rewrites all annotations when it records something in them.
    fn renew_annotations(&mut self) {
        if self.sharing.is_empty() {
            return;
        }
        let annotations = self.node.get_mut("metadata").and_then(|m| m.get_mut("annotations"));
        if let Some(Content::Map(entries)) = annotations.map(|a| &mut a.content) {
            entries.iter_mut().for_each(|entry| entry.value.one = 0);
        }
    }

    /// Gives nodes that are one what was written to one of them.
    pub(super) fn settle(&mut self) {
        if !self.sharing.is_empty() {
            self.sharing.settle(&mut self.node);
        }
    }

    /// Puts something among the annotations for as long as a patch runs: the original keeps the resource's history there, which
    /// a patch can wipe with the rest of them. Whether there is anything to wipe.
    pub(super) fn show_history(&mut self) -> bool {
        let any = !self.previous.is_empty()
            || self.needs_hash
            || self.behavior != Behavior::Unspecified
            || self.origin.is_some();
        if any {
            set_text(field_map(self.metadata(), "annotations"), HISTORY, NOTHING);
        }
        any && self.node.path(&["metadata", "annotations", HISTORY]).is_some()
    }

    /// Takes it out again; whether it was still there.
    pub(super) fn hide_history(&mut self) -> bool {
        let annotations = self.node.get_mut("metadata").and_then(|m| m.get_mut("annotations"));
        annotations.is_some_and(|a| a.remove(HISTORY).is_some())
    }

    /// Takes it out of wherever a patch copied the metadata to.
    pub(super) fn hide_copied_history(&mut self) {
        hide_copies(&mut self.node);
    }

    /// What a patch wiped that replaced all annotations.
    pub(super) fn forget_history(&mut self) {
        self.previous.clear();
        self.prefixes.clear();
        self.suffixes.clear();
        self.needs_hash = false;
        self.behavior = Behavior::Unspecified;
        self.forget_origin();
    }

    pub(super) fn forget_origin(&mut self) {
        self.origin = None;
        self.transformations.clear();
    }

    pub(super) fn set_kind(&mut self, kind: &str) {
        set_text(&mut self.node, "kind", kind);
    }

    pub(super) fn set_name(&mut self, name: &str) {
        set_text(self.metadata(), "name", name);
    }

    pub(super) fn set_namespace(&mut self, namespace: &str) {
        if namespace.is_empty() {
            if let Some(metadata) = self.node.get_mut("metadata") {
                metadata.remove("namespace");
            }
        } else {
            set_text(self.metadata(), "namespace", namespace);
        }
    }

    /// Its metadata, made if it has none.
    pub(super) fn metadata(&mut self) -> &mut Node {
        field_map(&mut self.node, "metadata")
    }

    /// The texts of its labels or annotations.
    pub(super) fn texts(&self, field: &str) -> BTreeMap<Arc<str>, Arc<str>> {
        let map = self
            .node
            .path(&["metadata", field])
            .map(Node::entries)
            .unwrap_or_default();
        map.iter()
            .map(|e| (e.key.clone(), e.value.text().unwrap_or(NOTHING).into()))
            .collect()
    }

    /// Replaces labels or annotations; none at all removes the field.
    pub(super) fn set_texts(&mut self, field: &str, texts: &BTreeMap<Arc<str>, Arc<str>>) {
        set_texts(self.metadata(), field, texts);
    }

    /// Makes text of every label or annotation value, as the original does whenever it touches them.
    pub(super) fn make_texts(&mut self, field: &str) {
        let Some(metadata) = self.node.get_mut("metadata") else {
            return;
        };
        let Some(map) = metadata.get_mut(field) else { return };
        if map.entries().is_empty() {
            metadata.remove(field);
        } else if let Content::Map(entries) = &mut map.content {
            for entry in entries {
                if let Content::Scalar(scalar) = &mut entry.value.content {
                    scalar.tag = Tag::Str;
                } else {
                    entry.value.content = Node::string("").content;
                }
            }
        }
    }
}

fn hide_copies(node: &mut Node) {
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::Seq(items) => items.iter_mut().for_each(hide_copies),
        Content::Map(entries) => {
            entries.retain_mut(|entry| {
                let held = entry.value.get(HISTORY).is_some();
                hide_copies(&mut entry.value);
                &*entry.key != HISTORY && !(held && entry.value.is_empty_map())
            });
        }
    }
}

/// The map under `key`, made if there is none or null. A node that is no map becomes one: a patch can put anything anywhere.
pub(super) fn field_map<'a>(node: &'a mut Node, key: &str) -> &'a mut Node {
    if !node.is_map() {
        node.content = Node::map().content;
    }
    if node.get(key).is_none_or(Node::is_null) {
        let at = node.at;
        node.set(key, Node::map().at(at));
    }
    node.get_mut(key).expect("it was just made")
}

pub(super) fn set_text(node: &mut Node, key: &str, text: &str) {
    match node.get_mut(key) {
        Some(value) => {
            let quoted = value.as_scalar().map(|scalar| scalar.quoted);
            let new = Node::string(text);
            value.content = match quoted {
                Some(quoted) => new.in_quotes(quoted),
                None => new,
            }
            .content;
        }
        None => {
            let at = node.at;
            node.set(key, Node::string(text).at(at));
        }
    }
}

/// Replaces the map of texts under `key`; an empty one removes it.
pub(super) fn set_texts(node: &mut Node, key: &str, texts: &BTreeMap<Arc<str>, Arc<str>>) {
    let at = node.get(key).map_or(node.at, |n| n.at);
    node.remove(key);
    if !texts.is_empty() {
        let entries = texts
            .iter()
            .map(|(key, text)| Entry {
                key: key.clone(),
                at,
                value: Node::string(text.clone()).at(at),
            })
            .collect();
        node.set(key, Node::new(Content::Map(entries)).at(at));
    }
}
