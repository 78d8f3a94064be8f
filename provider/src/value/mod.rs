//! Terraform values in memory: what a `DynamicValue` holds once its type is known.
//!
//! A `Value` does not carry its type; the schema does, and every function that needs it takes it. Lists, sets and tuples
//! share one variant, maps and objects another, because the wire does not tell them apart either. Nothing here knows gRPC.

mod json;
mod msgpack;
mod number;
mod path;
mod refinement;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeMap;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

pub use json::{Attributes, decode_json};
pub use msgpack::{decode_msgpack, encode_msgpack};
pub use number::Number;
pub use path::{Path, Step};
pub use refinement::Refinements;
pub use types::Type;

/// How deep a value may nest. Our own types are five deep; only a hostile dynamic value comes near.
pub const MAX_DEPTH: usize = 64;

/// How large one encoded value may be, in bytes: the same as a whole message.
pub const MAX_BYTES: usize = 256 << 20;

/// One value. Equality is Terraform's: unknown equals unknown whatever its refinements say.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Absent.
    Null,
    /// Known after apply. Refinements are what is already certain about it; they are handed back as they came.
    Unknown(Refinements),
    /// `true` or `false`.
    Bool(bool),
    /// A number of any size.
    Number(Number),
    /// Text in Unicode normal form C.
    String(String),
    /// The elements of a list, set or tuple.
    List(Vec<Value>),
    /// The elements of a map or the attributes of an object.
    Map(BTreeMap<String, Value>),
    /// A value of a place whose type is `dynamic`, with the type it has.
    Dynamic(Box<(Type, Value)>),
}

impl Value {
    /// Unknown, with nothing else certain about it.
    pub const UNKNOWN: Value = Value::Unknown(Refinements::NONE);

    /// A string in the form in which Terraform compares strings.
    pub fn string(text: impl Into<String>) -> Value {
        Value::String(normal(text.into()))
    }

    /// The text, if this is a known string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The truth, if this is a known bool.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The elements, if this is a known list, set or tuple.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(elements) => Some(elements),
            _ => None,
        }
    }

    /// The elements or attributes, if this is a known map or object.
    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match self {
            Value::Map(elements) => Some(elements),
            _ => None,
        }
    }

    /// The attribute of that name; `Null` if this is no object or has no such attribute.
    pub fn attribute(&self, name: &str) -> &Value {
        static NULL: Value = Value::Null;
        self.as_map()
            .and_then(|attributes| attributes.get(name))
            .unwrap_or(&NULL)
    }

    /// Whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// Whether this itself is unknown (its elements may be, all the same).
    pub fn is_unknown(&self) -> bool {
        matches!(self, Value::Unknown(_))
    }

    /// The value with null for everything unknown: what may be stored of it.
    #[must_use]
    pub fn known_or_null(&self) -> Value {
        match self {
            Value::Unknown(_) => Value::Null,
            Value::List(elements) => Value::List(elements.iter().map(Value::known_or_null).collect()),
            Value::Map(elements) => Value::Map(
                elements
                    .iter()
                    .map(|(key, value)| (key.clone(), value.known_or_null()))
                    .collect(),
            ),
            Value::Dynamic(inner) => Value::Dynamic(Box::new((inner.0.clone(), inner.1.known_or_null()))),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => self.clone(),
        }
    }

    /// Whether neither this nor anything in it is unknown.
    pub fn is_wholly_known(&self) -> bool {
        match self {
            Value::Unknown(_) => false,
            Value::List(elements) => elements.iter().all(Value::is_wholly_known),
            Value::Map(elements) => elements.values().all(Value::is_wholly_known),
            Value::Dynamic(inner) => inner.1.is_wholly_known(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
        }
    }
}

/// Normal form C, in which Terraform keeps every string: a live value in another form would differ forever.
pub fn normal(text: String) -> String {
    match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text,
        IsNormalized::No | IsNormalized::Maybe => text.nfc().collect(),
    }
}

/// Why bytes are not a value of the type: where, and what was found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", if path.is_root() { "value".to_owned() } else { path.to_string() })]
pub struct DecodeError {
    /// Where in the value.
    pub path: Path,
    /// What is wrong there.
    pub problem: String,
}
