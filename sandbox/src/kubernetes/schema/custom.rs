//! Custom resources: from a CustomResourceDefinition to resources with types.
//!
//! The types serve ownership and merging (list kinds, keys with defaults, atomic maps). The original schema is kept for
//! `admission`, which prunes, defaults and validates by it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::resources::{Gvr, Resource, Subresource, Typing};
use super::{Field, ListKind, Node, NodeId, Scalar, Schema, Shape, Strategic, Struct, Type, builtin};

/// The parts of a definition's version that the registry and the API need.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    /// The structural schema as it was written (`openAPIV3Schema`).
    pub validation: Value,
    /// Whether `/status` is served.
    pub status: bool,
    /// Where `/scale` finds its fields, if it is served.
    pub scale: Option<ScalePaths>,
    /// Columns of tables.
    pub columns: Vec<Value>,
    /// JSON paths that field selectors may name.
    pub selectable: Vec<String>,
    /// The kind of lists.
    pub list_kind: String,
}

/// The JSON paths of a custom resource's scale.
#[derive(Debug, Clone, Default)]
pub struct ScalePaths {
    /// Such as `.spec.replicas`.
    pub spec: String,
    /// Such as `.status.replicas`.
    pub status: String,
    /// Such as `.status.labelSelector`.
    pub selector: Option<String>,
}

const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The resources that a definition serves, best version first.
pub(crate) fn resources(definition: &Value) -> Vec<Resource> {
    let spec = &definition["spec"];
    let names = &spec["names"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let texts = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect()
    };
    let (group, plural, kind) = (text(&spec["group"]), text(&names["plural"]), text(&names["kind"]));
    let versions = spec["versions"].as_array().cloned().unwrap_or_default();
    let stored = versions.iter().find(|version| version["storage"] == true);
    let storage_version = stored.map(|version| text(&version["name"])).unwrap_or_default();
    let mut out = Vec::new();
    for version in versions.iter().filter(|version| version["served"] == true) {
        let name = text(&version["name"]);
        let validation = version["schema"]["openAPIV3Schema"].clone();
        let (status, scale) = (&version["subresources"]["status"], &version["subresources"]["scale"]);
        let mut subresources = Vec::new();
        let verbs = || ["get", "patch", "update"].map(str::to_owned).to_vec();
        if scale.is_object() {
            subresources.push(Subresource {
                name: "scale".to_owned(),
                group_version: ("autoscaling".to_owned(), "v1".to_owned()),
                kind: "Scale".to_owned(),
                verbs: verbs(),
            });
        }
        if status.is_object() {
            let group_version = (String::new(), String::new());
            subresources.push(Subresource {
                name: "status".to_owned(),
                group_version,
                kind: kind.clone(),
                verbs: verbs(),
            });
        }
        let paths = scale.is_object().then(|| ScalePaths {
            spec: text(&scale["specReplicasPath"]),
            status: text(&scale["statusReplicasPath"]),
            selector: scale["labelSelectorPath"].as_str().map(str::to_owned),
        });
        let (schema, root) = typed(&validation);
        let selectable = version["selectableFields"].as_array().into_iter().flatten();
        out.push(Resource {
            gvr: Gvr {
                group: group.clone(),
                version: name,
                plural: plural.clone(),
            },
            singular: text(&names["singular"]),
            kind: kind.clone(),
            namespaced: spec["scope"] == "Namespaced",
            short_names: texts(&names["shortNames"]),
            categories: texts(&names["categories"]),
            verbs: VERBS.map(str::to_owned).to_vec(),
            subresources,
            storage: Arc::from(super::resources::storage_name(&group, &plural)),
            storage_version: storage_version.clone(),
            schema: Typing::Custom(Arc::new(schema), root),
            custom: Some(Arc::new(Definition {
                validation,
                status: status.is_object(),
                scale: paths,
                columns: version["additionalPrinterColumns"]
                    .as_array()
                    .cloned()
                    .unwrap_or_default(),
                selectable: selectable.map(|field| text(&field["jsonPath"])).collect(),
                list_kind: text(&names["listKind"]),
            })),
        });
    }
    out.sort_by_key(|resource| std::cmp::Reverse(rank(&resource.gvr.version)));
    out
}

/// How well a version is liked: stable before beta before alpha, higher numbers first; other names last.
fn rank(version: &str) -> (u8, u32, u32, std::cmp::Reverse<String>) {
    let other = (0, 0, 0, std::cmp::Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else {
        return other;
    };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let Ok(major) = rest[..end].parse() else { return other };
    let (stage, minor) = match &rest[end..] {
        "" => (3, ""),
        suffix => match (suffix.strip_prefix("beta"), suffix.strip_prefix("alpha")) {
            (Some(minor), _) => (2, minor),
            (_, Some(minor)) => (1, minor),
            _ => return other,
        },
    };
    (
        stage,
        major,
        minor.parse().unwrap_or(0),
        std::cmp::Reverse(String::new()),
    )
}

/// Types for a structural schema, with the metadata of every object.
fn typed(validation: &Value) -> (Schema, NodeId) {
    let mut builder = Builder {
        schema: Schema::default(),
        copied: HashMap::new(),
    };
    let root = builder.node(validation, true, 0);
    (builder.schema, root)
}

struct Builder {
    schema: Schema,
    copied: HashMap<NodeId, NodeId>,
}

/// Deeper schemas than this are not looked into.
const DEPTH: usize = 64;

impl Builder {
    fn node(&mut self, schema: &Value, is_object_root: bool, depth: usize) -> NodeId {
        if depth > DEPTH {
            return self.schema.push(Shape::Any);
        }
        if schema["x-kubernetes-int-or-string"] == true {
            return self.schema.push(Shape::Scalar(Scalar::IntOrString));
        }
        match schema["type"].as_str() {
            Some("string") => self.schema.push(Shape::Scalar(Scalar::String)),
            Some("integer") => self.schema.push(Shape::Scalar(Scalar::Int64)),
            Some("number") => self.schema.push(Shape::Scalar(Scalar::Number)),
            Some("boolean") => self.schema.push(Shape::Scalar(Scalar::Boolean)),
            Some("array") => self.list(schema, depth),
            Some("object") | None => self.object(schema, is_object_root, depth),
            Some(_) => self.schema.push(Shape::Any),
        }
    }

    fn list(&mut self, schema: &Value, depth: usize) -> NodeId {
        let items = &schema["items"];
        let item = self.node(items, false, depth + 1);
        let kind = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => ListKind::Set,
            Some("map") => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
                let keys = keys.filter_map(Value::as_str).map(|key| {
                    let default = items["properties"][key]
                        .get("default")
                        .filter(|d| !d.is_null())
                        .cloned();
                    (key.to_owned(), default)
                });
                ListKind::Map(keys.collect())
            }
            _ => ListKind::Atomic,
        };
        self.schema.push(Shape::List { item, kind })
    }

    fn object(&mut self, schema: &Value, is_object_root: bool, depth: usize) -> NodeId {
        let atomic = schema["x-kubernetes-map-type"] == "atomic";
        let preserve = schema["x-kubernetes-preserve-unknown-fields"] == true;
        let embedded = is_object_root || schema["x-kubernetes-embedded-resource"] == true;
        let properties = schema["properties"].as_object();
        if properties.is_none() && !embedded {
            let value = match &schema["additionalProperties"] {
                Value::Object(_) => self.node(&schema["additionalProperties"], false, depth + 1),
                _ if atomic => self.schema.push(Shape::Any),
                _ => return self.schema.push(Shape::Any),
            };
            return self.schema.push(Shape::Map { value, atomic });
        }
        let required: Vec<&str> = schema["required"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let mut fields = HashMap::new();
        for (name, property) in properties.into_iter().flatten() {
            let node = self.node(property, false, depth + 1);
            let required = required.contains(&name.as_str());
            let default = property.get("default").cloned();
            let field = Field {
                node,
                required,
                default,
                allowed: Vec::new(),
                patch: Strategic::default(),
            };
            fields.insert(name.clone(), field);
        }
        if embedded {
            let text = self.schema.push(Shape::Scalar(Scalar::String));
            let meta = builtin::schema().names.get(META).map(|id| builtin::schema().at(*id));
            let meta = meta.map(|meta| self.copy(meta));
            let plain = |node| Field {
                node,
                required: false,
                default: None,
                allowed: Vec::new(),
                patch: Strategic::default(),
            };
            fields.insert("apiVersion".to_owned(), plain(text));
            fields.insert("kind".to_owned(), plain(text));
            fields.extend(meta.map(|meta| ("metadata".to_owned(), plain(meta))));
        }
        let rest = preserve.then(|| self.schema.push(Shape::Any));
        self.schema.push(Shape::Struct(Struct { fields, atomic, rest }))
    }

    /// Copy a built-in type and all that it refers to.
    fn copy(&mut self, of: Type<'_>) -> NodeId {
        if let Some(id) = self.copied.get(&of.id()) {
            return *id;
        }
        let id = self.schema.push(Shape::Any);
        self.copied.insert(of.id(), id);
        let shape = match of.shape() {
            Shape::Struct(this) => {
                let mut fields = HashMap::new();
                for (name, field) in &this.fields {
                    let node = self.copy(of.to(field.node));
                    fields.insert(name.clone(), Field { node, ..field.clone() });
                }
                Shape::Struct(Struct {
                    fields,
                    atomic: this.atomic,
                    rest: None,
                })
            }
            Shape::Map { value, atomic } => Shape::Map {
                value: self.copy(of.to(*value)),
                atomic: *atomic,
            },
            Shape::List { item, kind } => Shape::List {
                item: self.copy(of.to(*item)),
                kind: kind.clone(),
            },
            other => other.clone(),
        };
        self.schema.nodes[id] = Node {
            name: of.name().map(str::to_owned),
            shape,
        };
        id
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_definition_becomes_a_resource_with_types() {
        let definition = json!({"spec": {"group": "e.com", "scope": "Namespaced", "names": {"plural": "ws", "kind": "W"},
            "versions": [
                {"name": "v1beta1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v1", "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "parts": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "kind"],
                            "items": {"type": "object", "properties": {"kind": {"type": "string", "default": "x"}}}}}}}}}}]}});
        let found = resources(&definition);
        assert_eq!(
            found.iter().map(|r| r.gvr.version.as_str()).collect::<Vec<_>>(),
            ["v1", "v1beta1"]
        );
        let root = found[0].root().unwrap();
        let parts = root.member("spec").and_then(|spec| spec.member("parts")).unwrap();
        let Shape::List {
            kind: ListKind::Map(keys),
            ..
        } = parts.shape()
        else {
            panic!()
        };
        assert_eq!(keys[1], ("kind".to_owned(), Some(json!("x"))));
        assert!(root.member("metadata").and_then(|m| m.member("labels")).is_some());
        assert!(root.member("unknown").is_none());
    }

    #[test]
    fn versions_are_liked_in_the_known_order() {
        let mut versions = ["v1alpha1", "foo", "v10", "v2beta1", "v1", "v2"];
        versions.sort_by_key(|v| std::cmp::Reverse(rank(v)));
        assert_eq!(versions, ["v10", "v2", "v1", "v2beta1", "v1alpha1", "foo"]);
    }
}
