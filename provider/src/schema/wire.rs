//! The protocol's form of a schema. Terraform panics on a schema without a block and on a type that is not type JSON.

use myelin_proto::tfplugin6::{self as tf, schema as wire};

use super::{Attribute, Kind, Nesting, Presence, Schema};

impl Schema {
    /// The protocol's form.
    pub fn to_wire(&self) -> tf::Schema {
        tf::Schema {
            version: self.version,
            block: Some(wire::Block {
                version: self.version,
                attributes: self.attributes.iter().map(attribute).collect(),
                description: self.description.to_owned(),
                description_kind: tf::StringKind::Markdown.into(),
                ..wire::Block::default()
            }),
        }
    }
}

fn attribute(attribute: &Attribute) -> wire::Attribute {
    let (ty, nested_type) = match &attribute.kind {
        Kind::Plain(ty) => (ty.to_bytes(), None),
        Kind::Nested(nesting, attributes) => (Vec::new(), Some(object(*nesting, attributes))),
    };
    wire::Attribute {
        name: attribute.name.to_owned(),
        r#type: ty,
        nested_type,
        description: attribute.description.to_owned(),
        required: attribute.presence == Presence::Required,
        optional: matches!(attribute.presence, Presence::Optional | Presence::OptionalComputed),
        computed: attribute.is_computed(),
        sensitive: attribute.sensitive,
        description_kind: tf::StringKind::Markdown.into(),
        deprecated: attribute.deprecated.is_some(),
        write_only: attribute.write_only,
        deprecation_message: attribute.deprecated.unwrap_or_default().to_owned(),
    }
}

fn object(nesting: Nesting, attributes: &[Attribute]) -> wire::Object {
    wire::Object {
        attributes: attributes.iter().map(attribute).collect(),
        nesting: match nesting {
            Nesting::Single => wire::object::NestingMode::Single,
            Nesting::List => wire::object::NestingMode::List,
            Nesting::Map => wire::object::NestingMode::Map,
        }
        .into(),
        ..wire::Object::default()
    }
}
