//! Which lists a strategic merge patch merges, and by which keys: from a table for the built-in kinds, or from the
//! OpenAPI document that a kustomization names, which then replaces the table. Types are indexes into the table.

use crate::yaml::Node;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// A place in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Type(usize);

#[derive(Debug, Default, Clone)]
pub(super) struct Schema {
    /// By `group/version/kind` or `version/kind`.
    by_kind: HashMap<String, usize>,
    /// By the name of the OpenAPI definition.
    by_name: HashMap<String, usize>,
    types: Vec<Shape>,
}

#[derive(Debug, Default, Clone)]
struct Shape {
    fields: HashMap<Arc<str>, usize>,
    /// The type of every value of a map.
    values: Option<usize>,
    /// The type of every element of a list.
    elements: Option<usize>,
    /// The merge keys, if it is a list that is merged; none for a list of scalars.
    merge: Option<Arc<[Arc<str>]>>,
}

impl Schema {
    /// The table of the built-in kinds.
    pub(super) fn built_in() -> &'static Self {
        static TABLE: LazyLock<Schema> = LazyLock::new(|| Schema::from_table(include_str!("facts/merge-keys.txt")));
        &TABLE
    }

    pub(super) fn kind(&self, api_version: &str, kind: &str) -> Option<Type> {
        self.by_kind.get(&format!("{api_version}/{kind}")).copied().map(Type)
    }

    pub(super) fn field(&self, of: Type, name: &str) -> Option<Type> {
        let shape = self.types.get(of.0)?;
        shape.fields.get(name).copied().or(shape.values).map(Type)
    }

    pub(super) fn elements(&self, of: Type) -> Option<Type> {
        self.types.get(of.0)?.elements.map(Type)
    }

    pub(super) fn merge_keys(&self, of: Type) -> Option<Arc<[Arc<str>]>> {
        self.types.get(of.0)?.merge.clone()
    }

    fn from_table(text: &'static str) -> Self {
        let mut schema = Self::default();
        let count = text.lines().filter(|l| l.starts_with("type ")).count();
        schema.types.resize(count, Shape::default());
        let mut current = 0;
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["type", id, name, ref kinds @ ..] => {
                    current = id.parse().expect("the table numbers its types");
                    schema.by_name.insert(name.to_owned(), current);
                    schema
                        .by_kind
                        .extend(kinds.iter().map(|kind| ((*kind).to_owned(), current)));
                }
                [name, shape, target, ref merge @ ..] => {
                    let target: Option<usize> = target.parse().ok();
                    let merge = merge
                        .get(1)
                        .map(|keys| keys.split(',').filter(|k| *k != "-").map(Arc::from).collect());
                    let field = match shape {
                        "obj" => target,
                        "map" => Some(schema.push(Shape {
                            values: target,
                            ..Shape::default()
                        })),
                        _ => Some(schema.push(Shape {
                            elements: target,
                            merge,
                            ..Shape::default()
                        })),
                    };
                    if let Some(field) = field {
                        schema.types[current].fields.insert(name.into(), field);
                    }
                }
                _ => {}
            }
        }
        schema
    }

    fn push(&mut self, shape: Shape) -> usize {
        self.types.push(shape);
        self.types.len() - 1
    }

    /// The schema of an OpenAPI (v2) document, on top of another: definitions of the same name take the place of its.
    pub(super) fn with_openapi(mut self, document: &Node) -> Self {
        let definitions = document.get("definitions").map(Node::entries).unwrap_or_default();
        let first = self.types.len();
        self.types.resize(first + definitions.len(), Shape::default());
        for (i, definition) in definitions.iter().enumerate() {
            self.by_name.insert(definition.key.to_string(), first + i);
        }
        for (i, definition) in definitions.iter().enumerate() {
            let shape = self.shape(&definition.value, 0);
            self.types[first + i] = shape;
            let kinds = definition
                .value
                .get("x-kubernetes-group-version-kind")
                .map(Node::items)
                .unwrap_or_default();
            for kind in kinds {
                let part = |name| kind.get(name).and_then(Node::text).unwrap_or_default();
                let group = part("group");
                let slash = if group.is_empty() { "" } else { "/" };
                let kind = format!("{group}{slash}{}/{}", part("version"), part("kind"));
                self.by_kind.insert(kind, first + i);
            }
        }
        self
    }

    fn shape(&mut self, node: &Node, depth: usize) -> Shape {
        let mut shape = Shape::default();
        if depth > 64 {
            return shape;
        }
        for property in node.get("properties").map(Node::entries).unwrap_or_default() {
            if let Some(target) = self.target(&property.value, depth) {
                shape.fields.insert(property.key.clone(), target);
            }
        }
        shape.values = node.get("additionalProperties").and_then(|n| self.target(n, depth));
        shape.elements = node.get("items").and_then(|n| self.target(n, depth));
        let strategy = node
            .get("x-kubernetes-patch-strategy")
            .and_then(Node::text)
            .unwrap_or_default();
        if strategy.split(',').any(|s| s == "merge") {
            let list = node.get("x-kubernetes-list-map-keys").map(Node::items);
            let keys = match list {
                Some(keys) => keys.iter().filter_map(Node::text).map(Arc::from).collect(),
                None => node
                    .get("x-kubernetes-patch-merge-key")
                    .and_then(Node::text)
                    .map(Arc::from)
                    .into_iter()
                    .collect(),
            };
            shape.merge = Some(keys);
        }
        shape
    }

    fn target(&mut self, node: &Node, depth: usize) -> Option<usize> {
        if !node.is_map() {
            return None;
        }
        match node.get("$ref").and_then(Node::text) {
            Some(reference) => self.by_name.get(reference.rsplit('/').next()?).copied(),
            None => {
                let shape = self.shape(node, depth + 1);
                Some(self.push(shape))
            }
        }
    }
}
