//! The types of the built-in kinds, read from `facts/schema.json`: field names, types, list kinds and patch strategies as
//! a Kubernetes 1.36 API server publishes them in its OpenAPI documents (descriptions left out).

use std::collections::{BTreeMap, HashMap};
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::Value;

use super::{Field, ListKind, Node, NodeId, Scalar, Schema, Shape, Strategic, Struct};

const FACTS: &str = include_str!("../../../facts/schema.json");
/// Types that the recorded facts leave out, written from the published API reference.
const MORE: &str = include_str!("../../../facts/schema-more.json");

#[derive(Deserialize)]
struct TypeFact {
    #[serde(default)]
    fields: BTreeMap<String, FieldFact>,
    #[serde(default)]
    required: Vec<String>,
    #[serde(default)]
    kinds: Vec<String>,
    #[serde(rename = "mapType")]
    map_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FieldFact {
    #[serde(rename = "type")]
    scalar: Option<String>,
    format: Option<String>,
    #[serde(rename = "ref")]
    reference: Option<String>,
    list: Option<String>,
    map: Option<String>,
    list_type: Option<String>,
    #[serde(default)]
    list_map_keys: Vec<String>,
    map_type: Option<String>,
    default: Option<Value>,
    #[serde(rename = "enum", default)]
    allowed: Vec<String>,
    patch_strategy: Option<String>,
    patch_merge_key: Option<String>,
}

/// Fields whose wire form is base64, which the facts do not tell apart from text.
const BASE64: [(&str, &str); 2] = [
    ("io.k8s.api.core.v1.Secret", "data"),
    ("io.k8s.api.core.v1.ConfigMap", "binaryData"),
];

/// The schema of all built-in kinds.
pub fn schema() -> &'static Schema {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let mut facts: BTreeMap<String, TypeFact> = parse(FACTS);
        facts.extend(parse(MORE));
        Builder::default().build(&facts)
    })
}

fn parse(text: &str) -> BTreeMap<String, TypeFact> {
    serde_json::from_str(text).expect("the committed facts are well-formed; a unit test reads them")
}

#[derive(Default)]
struct Builder {
    schema: Schema,
    scalars: HashMap<&'static str, NodeId>,
}

impl Builder {
    fn build(mut self, facts: &BTreeMap<String, TypeFact>) -> Schema {
        for name in facts.keys() {
            let id = self.schema.push(Shape::Any);
            self.schema.nodes[id].name = Some(name.clone());
            self.schema.names.insert(name.clone(), id);
        }
        for (name, fact) in facts {
            let id = self.schema.names[name];
            let shape = self.shape(name, fact, facts);
            self.schema.nodes[id].shape = shape;
            for kind in &fact.kinds {
                self.schema.kinds.insert(kind.clone(), id);
            }
        }
        self.schema
    }

    fn shape(&mut self, name: &str, fact: &TypeFact, facts: &BTreeMap<String, TypeFact>) -> Shape {
        let short = name.rsplit('.').next().unwrap_or(name);
        match short {
            "Quantity" => return Shape::Scalar(Scalar::Quantity),
            "IntOrString" => return Shape::Scalar(Scalar::IntOrString),
            "Time" => return Shape::Scalar(Scalar::Time),
            "MicroTime" => return Shape::Scalar(Scalar::MicroTime),
            "RawExtension" | "FieldsV1" => return Shape::Any,
            "JSON" | "JSONSchemaPropsOrArray" | "JSONSchemaPropsOrBool" | "JSONSchemaPropsOrStringArray" | "Patch" => {
                return Shape::Scalar(Scalar::Opaque);
            }
            _ => {}
        }
        let mut fields = HashMap::new();
        for (field_name, field) in &fact.fields {
            let base64 = BASE64.contains(&(name, field_name.as_str()));
            let node = self.field_node(field, facts, base64);
            let strategy = field.patch_strategy.as_deref().unwrap_or_default();
            fields.insert(
                field_name.clone(),
                Field {
                    node,
                    required: fact.required.contains(field_name),
                    default: field.default.clone(),
                    allowed: field.allowed.clone(),
                    patch: Strategic {
                        merge: strategy.contains("merge"),
                        retain_keys: strategy.contains("retainKeys"),
                        replace: strategy.contains("replace"),
                        key: field.patch_merge_key.clone(),
                    },
                },
            );
        }
        Shape::Struct(Struct {
            fields,
            atomic: fact.map_type.as_deref() == Some("atomic"),
            rest: None,
        })
    }

    fn field_node(&mut self, field: &FieldFact, facts: &BTreeMap<String, TypeFact>, base64: bool) -> NodeId {
        if let Some(item) = &field.list {
            let kind = match field.list_type.as_deref() {
                Some("map") => ListKind::Map(
                    field
                        .list_map_keys
                        .iter()
                        .map(|key| (key.clone(), key_default(item, key, facts)))
                        .collect(),
                ),
                Some("set") => ListKind::Set,
                _ => ListKind::Atomic,
            };
            let item = self.named(item, None);
            return self.schema.push(Shape::List { item, kind });
        }
        if let Some(value) = &field.map {
            let value = if base64 {
                self.scalar("byte")
            } else {
                self.named(value, None)
            };
            return self.schema.push(Shape::Map {
                value,
                atomic: field.map_type.as_deref() == Some("atomic"),
            });
        }
        if let Some(reference) = &field.reference {
            let id = self.named(reference, None);
            if field.map_type.as_deref() == Some("granular") {
                // This field makes granular what its type alone would own as a whole.
                let mut node = self.schema.nodes[id].clone();
                if matches!(node.shape, Shape::Any)
                    && let Some(fact) = facts.get(reference)
                {
                    node.shape = self.shape(reference, fact, facts);
                }
                if let Shape::Struct(this) = &mut node.shape {
                    this.atomic = false;
                }
                self.schema.nodes.push(Node {
                    name: None,
                    shape: node.shape,
                });
                return self.schema.nodes.len() - 1;
            }
            return id;
        }
        self.named(field.scalar.as_deref().unwrap_or("any"), field.format.as_deref())
    }

    fn named(&mut self, name: &str, format: Option<&str>) -> NodeId {
        if let Some(id) = self.schema.names.get(name) {
            return *id;
        }
        match (name, format) {
            ("string", Some("byte")) => self.scalar("byte"),
            ("string", _) => self.scalar("string"),
            ("integer", Some("int64")) => self.scalar("int64"),
            ("integer", _) => self.scalar("int32"),
            ("number", _) => self.scalar("number"),
            ("boolean", _) => self.scalar("boolean"),
            _ => self.scalar("any"),
        }
    }

    fn scalar(&mut self, name: &'static str) -> NodeId {
        if let Some(id) = self.scalars.get(name) {
            return *id;
        }
        let shape = match name {
            "byte" => Shape::Scalar(Scalar::Bytes),
            "string" => Shape::Scalar(Scalar::String),
            "int64" => Shape::Scalar(Scalar::Int64),
            "int32" => Shape::Scalar(Scalar::Int32),
            "number" => Shape::Scalar(Scalar::Number),
            "boolean" => Shape::Scalar(Scalar::Boolean),
            _ => Shape::Any,
        };
        let id = self.schema.push(shape);
        self.scalars.insert(name, id);
        id
    }
}

/// The default of a key field that may be left out, such as a port's protocol.
fn key_default(item: &str, key: &str, facts: &BTreeMap<String, TypeFact>) -> Option<Value> {
    let item = facts.get(item)?;
    let field = item.fields.get(key)?;
    // A required text is never absent: its zero is the empty one.
    let zero =
        || (field.scalar.as_deref() == Some("string") && item.required.iter().any(|r| r == key)).then(|| "".into());
    field.default.clone().or_else(zero)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_readable_and_know_lists_by_key() {
        let service = schema().kind("v1/Service").expect("services are built in");
        let ports = service.member("spec").and_then(|spec| spec.member("ports")).unwrap();
        let Shape::List {
            kind: ListKind::Map(keys),
            ..
        } = ports.shape()
        else {
            panic!("{:?}", ports.shape())
        };
        assert_eq!(keys[0].0, "port");
        assert_eq!(keys[1], ("protocol".to_owned(), Some(Value::from("TCP"))));
        let selector = service.member("spec").and_then(|spec| spec.member("selector")).unwrap();
        assert!(selector.is_atomic());
    }

    #[test]
    fn secret_data_is_base64_and_config_map_data_is_text() {
        let of = |kind: &str| {
            let Shape::Map { value, .. } = schema().kind(kind).unwrap().member("data").unwrap().shape() else {
                panic!()
            };
            schema().at(*value).shape().clone()
        };
        assert!(matches!(of("v1/Secret"), Shape::Scalar(Scalar::Bytes)));
        assert!(matches!(of("v1/ConfigMap"), Shape::Scalar(Scalar::String)));
    }
}
