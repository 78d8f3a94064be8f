//! The permanent identity of an instance, beside its state: flat attributes, always sent completely known.

use std::collections::BTreeMap;

use myelin_proto::tfplugin6::{self as tf, resource_identity_schema as wire};

use crate::value::{Type, Value};

/// One part of an identity.
#[derive(Debug, Clone)]
pub struct IdentityAttribute {
    /// Its name.
    pub name: &'static str,
    /// Whether an import must give it; otherwise it may.
    pub required: bool,
    /// What it means.
    pub description: &'static str,
}

/// The identity of a resource type. Every part is a string.
#[derive(Debug, Clone)]
pub struct IdentitySchema {
    /// Grows when the parts change.
    pub version: i64,
    /// The parts.
    pub attributes: Vec<IdentityAttribute>,
}

impl IdentitySchema {
    /// The type of an identity.
    pub fn ty(&self) -> Type {
        Type::object(self.attributes.iter().map(|attribute| (attribute.name, Type::String)))
    }

    /// An identity of these parts, in the order of the schema.
    pub fn value<'a>(&self, parts: impl IntoIterator<Item = &'a str>) -> Value {
        let names = self.attributes.iter().map(|attribute| attribute.name.to_owned());
        Value::Map(
            names
                .zip(parts.into_iter().map(Value::string))
                .collect::<BTreeMap<_, _>>(),
        )
    }

    /// The protocol's form.
    pub fn to_wire(&self) -> tf::ResourceIdentitySchema {
        tf::ResourceIdentitySchema {
            version: self.version,
            identity_attributes: self
                .attributes
                .iter()
                .map(|attribute| wire::IdentityAttribute {
                    name: attribute.name.to_owned(),
                    r#type: Type::String.to_bytes(),
                    required_for_import: attribute.required,
                    optional_for_import: !attribute.required,
                    description: attribute.description.to_owned(),
                })
                .collect(),
        }
    }
}
