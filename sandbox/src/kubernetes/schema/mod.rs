//! What an object's fields are: the types behind server-side apply, decoding, strategic merge, OpenAPI and `kubectl explain`.
//!
//! A `Schema` is an arena of nodes; a `Type` is a place in it. Built-in kinds come from facts, custom kinds from their
//! definitions. Nothing here judges values beyond their shape: rules are in `admission`.

pub mod builtin;
pub mod custom;
pub(crate) mod document;
pub mod quantity;
pub mod resources;
pub(crate) mod versions;

use std::collections::HashMap;

use serde_json::Value;

/// An index into a schema's nodes.
pub type NodeId = usize;

/// A set of types that may refer to each other.
#[derive(Debug, Default)]
pub struct Schema {
    /// The nodes; a `NodeId` is an index.
    pub nodes: Vec<Node>,
    /// Nodes by the name of their type.
    pub names: HashMap<String, NodeId>,
    /// Root nodes by `group/version/Kind` (`v1/Pod`, `apps/v1/Deployment`).
    pub kinds: HashMap<String, NodeId>,
}

/// One type.
#[derive(Debug, Clone)]
pub struct Node {
    /// The name that the API gives it, such as `io.k8s.api.core.v1.Container`; inline types have none.
    pub name: Option<String>,
    /// What its values look like.
    pub shape: Shape,
}

/// What values of a type look like.
#[derive(Debug, Clone)]
pub enum Shape {
    /// A leaf.
    Scalar(Scalar),
    /// An object with known fields.
    Struct(Struct),
    /// An object with free keys.
    Map {
        /// The type of every value.
        value: NodeId,
        /// Owned as a whole.
        atomic: bool,
    },
    /// A list.
    List {
        /// The type of every item.
        item: NodeId,
        /// How items are told apart.
        kind: ListKind,
    },
    /// Anything: maps are merged by key, lists and scalars are leaves.
    Any,
}

/// The kinds of leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// An amount such as `100m`; a string or a number on the wire.
    Quantity,
    /// A number or text.
    IntOrString,
    /// Base64 text.
    Bytes,
    /// RFC 3339 in seconds.
    Time,
    /// RFC 3339 in microseconds.
    MicroTime,
    /// A JSON value that is not looked into.
    Opaque,
}

/// An object with known fields.
#[derive(Debug, Clone, Default)]
pub struct Struct {
    /// The fields by name.
    pub fields: HashMap<String, Field>,
    /// Owned as a whole.
    pub atomic: bool,
    /// The type of unknown fields; `None` means that none are allowed (they are pruned or refused).
    pub rest: Option<NodeId>,
}

/// A field of a struct.
#[derive(Debug, Clone)]
pub struct Field {
    /// Its type.
    pub node: NodeId,
    /// Whether the API calls it required.
    pub required: bool,
    /// Its default as the API publishes it.
    pub default: Option<Value>,
    /// The values that are allowed, where the API publishes them.
    pub allowed: Vec<String>,
    /// How a strategic merge patch treats it.
    pub patch: Strategic,
}

/// How a strategic merge patch treats a field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strategic {
    /// Lists are merged by item and not replaced.
    pub merge: bool,
    /// Only keys that the patch retains stay.
    pub retain_keys: bool,
    /// Maps and structs are replaced and not merged.
    pub replace: bool,
    /// The field that names an item of a list of objects.
    pub key: Option<String>,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq)]
pub enum ListKind {
    /// Not at all: the list is owned as a whole.
    Atomic,
    /// By value.
    Set,
    /// By these fields, with the defaults of those that may be left out.
    Map(Vec<(String, Option<Value>)>),
}

/// A place in a schema.
#[derive(Debug, Clone, Copy)]
pub struct Type<'a> {
    schema: &'a Schema,
    id: NodeId,
}

impl Schema {
    /// Add a node.
    pub fn push(&mut self, shape: Shape) -> NodeId {
        self.nodes.push(Node { name: None, shape });
        self.nodes.len() - 1
    }

    /// The type at an index.
    pub fn at(&self, id: NodeId) -> Type<'_> {
        Type { schema: self, id }
    }

    /// The root type of a kind, by `v1/Pod` or `apps/v1/Deployment`.
    pub fn kind(&self, gvk: &str) -> Option<Type<'_>> {
        self.kinds.get(gvk).map(|id| self.at(*id))
    }
}

impl<'a> Type<'a> {
    /// What its values look like.
    pub fn shape(self) -> &'a Shape {
        &self.schema.nodes[self.id].shape
    }

    /// The API's name of this type; inline types have none.
    pub fn name(self) -> Option<&'a str> {
        self.schema.nodes[self.id].name.as_deref()
    }

    /// The last part of the API's name: `Container`.
    pub fn short_name(self) -> &'a str {
        self.name().map_or("", |name| name.rsplit('.').next().unwrap_or(name))
    }

    /// Its index.
    pub fn id(self) -> NodeId {
        self.id
    }

    /// Another type of the same schema.
    pub fn to(self, id: NodeId) -> Self {
        Self {
            schema: self.schema,
            id,
        }
    }

    /// The field's definition, if this is a struct that has it.
    pub fn field(self, name: &str) -> Option<&'a Field> {
        match self.shape() {
            Shape::Struct(fields) => fields.fields.get(name),
            _ => None,
        }
    }

    /// The type of the value under a key of an object of this type, if such a key may be.
    pub fn member(self, name: &str) -> Option<Self> {
        match self.shape() {
            Shape::Struct(this) => this
                .fields
                .get(name)
                .map(|f| f.node)
                .or(this.rest)
                .map(|id| self.to(id)),
            Shape::Map { value, .. } => Some(self.to(*value)),
            Shape::Any => Some(self),
            _ => None,
        }
    }

    /// Whether values are owned as a whole.
    pub fn is_atomic(self) -> bool {
        match self.shape() {
            Shape::Struct(this) => this.atomic,
            Shape::Map { atomic, .. } => *atomic,
            Shape::List { kind, .. } => *kind == ListKind::Atomic,
            Shape::Scalar(_) => true,
            Shape::Any => false,
        }
    }
}
