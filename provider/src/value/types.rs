//! Terraform's types and their JSON form, such as `["map","string"]`.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::MAX_DEPTH;

/// A type constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// `true` or `false`.
    Bool,
    /// A number of any size.
    Number,
    /// Text.
    String,
    /// Any type; the value says which.
    Dynamic,
    /// Elements of one type, in order.
    List(Box<Type>),
    /// Distinct elements of one type.
    Set(Box<Type>),
    /// Elements of one type by key.
    Map(Box<Type>),
    /// Elements each of its own type, in order.
    Tuple(Vec<Type>),
    /// Attributes each of its own type.
    Object(BTreeMap<String, Type>),
}

/// Why JSON is not a type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Terraform type: {0}")]
pub struct TypeError(String);

impl Type {
    /// A list of this.
    pub fn list(element: Type) -> Type {
        Type::List(Box::new(element))
    }

    /// A map of this.
    pub fn map(element: Type) -> Type {
        Type::Map(Box::new(element))
    }

    /// An object of these attributes.
    pub fn object<N: Into<String>>(attributes: impl IntoIterator<Item = (N, Type)>) -> Type {
        Type::Object(attributes.into_iter().map(|(name, ty)| (name.into(), ty)).collect())
    }

    /// The JSON form.
    pub fn to_json(&self) -> Json {
        match self {
            Type::Bool => json!("bool"),
            Type::Number => json!("number"),
            Type::String => json!("string"),
            Type::Dynamic => json!("dynamic"),
            Type::List(element) => json!(["list", element.to_json()]),
            Type::Set(element) => json!(["set", element.to_json()]),
            Type::Map(element) => json!(["map", element.to_json()]),
            Type::Tuple(elements) => json!(["tuple", elements.iter().map(Type::to_json).collect::<Vec<_>>()]),
            Type::Object(attributes) => {
                let attributes: serde_json::Map<String, Json> = attributes
                    .iter()
                    .map(|(name, ty)| (name.clone(), ty.to_json()))
                    .collect();
                json!(["object", attributes])
            }
        }
    }

    /// The JSON form as bytes, as schemas carry it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_json().to_string().into_bytes()
    }

    /// Reads the JSON form.
    ///
    /// # Errors
    /// If it is not JSON, names no type, or nests deeper than [`MAX_DEPTH`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Type, TypeError> {
        let json: Json = serde_json::from_slice(bytes).map_err(|error| TypeError(error.to_string()))?;
        Type::from_json(&json, 0)
    }

    fn from_json(json: &Json, depth: usize) -> Result<Type, TypeError> {
        if depth > MAX_DEPTH {
            return Err(TypeError(format!("nested deeper than {MAX_DEPTH}")));
        }
        let element = |json: &Json| Type::from_json(json, depth + 1).map(Box::new);
        match json {
            Json::String(name) => match name.as_str() {
                "bool" => Ok(Type::Bool),
                "number" => Ok(Type::Number),
                "string" => Ok(Type::String),
                "dynamic" => Ok(Type::Dynamic),
                other => Err(TypeError(format!("unknown primitive {other:?}"))),
            },
            Json::Array(parts) => match parts.as_slice() {
                [Json::String(kind), inner] if kind == "list" => Ok(Type::List(element(inner)?)),
                [Json::String(kind), inner] if kind == "set" => Ok(Type::Set(element(inner)?)),
                [Json::String(kind), inner] if kind == "map" => Ok(Type::Map(element(inner)?)),
                [Json::String(kind), Json::Array(inner)] if kind == "tuple" => inner
                    .iter()
                    .map(|ty| Type::from_json(ty, depth + 1))
                    .collect::<Result<_, _>>()
                    .map(Type::Tuple),
                // A third part names optional attributes; they are part of conversion, not of values.
                [Json::String(kind), Json::Object(inner), ..] if kind == "object" && parts.len() <= 3 => inner
                    .iter()
                    .map(|(name, ty)| Ok((name.clone(), Type::from_json(ty, depth + 1)?)))
                    .collect::<Result<_, TypeError>>()
                    .map(Type::Object),
                _ => Err(TypeError(
                    "an array that is no list, set, map, tuple or object".to_owned(),
                )),
            },
            _ => Err(TypeError("neither a name nor an array".to_owned())),
        }
    }
}
