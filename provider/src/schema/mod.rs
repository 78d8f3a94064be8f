//! What a configuration may contain: one description from which the protocol schema, the checks before any work, and
//! the reference docs are derived.
//!
//! There are deliberately no nested blocks: in a plan, Terraform cannot add or remove a block or make it unknown, while
//! nested attributes can be all of that.

mod docs;
mod identity;
mod rules;
mod wire;

use crate::value::{Path, Step, Type, Value};

pub use docs::{Page, markdown};
pub use identity::{IdentityAttribute, IdentitySchema};
pub use rules::{Rule, check_configuration};

/// A schema of the provider, a resource, a data source or an ephemeral resource.
#[derive(Debug, Clone)]
pub struct Schema {
    /// Grows when stored state has to be converted.
    pub version: i64,
    /// What it is for, in Markdown.
    pub description: &'static str,
    /// In the order in which a person reads them.
    pub attributes: Vec<Attribute>,
}

/// Who gives an attribute its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The configuration must.
    Required,
    /// The configuration may; otherwise it is null.
    Optional,
    /// The configuration may; otherwise the provider chooses.
    OptionalComputed,
    /// Only the provider.
    Computed,
}

/// The shape of a nested attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nesting {
    /// One object.
    Single,
    /// Objects in order.
    List,
    /// Objects by name.
    Map,
}

/// What kind of value an attribute has.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A value of a plain type.
    Plain(Type),
    /// Objects with a schema of their own.
    Nested(Nesting, Vec<Attribute>),
}

/// One attribute.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Its name in HCL.
    pub name: &'static str,
    /// What kind of value it has.
    pub kind: Kind,
    /// Who gives the value.
    pub presence: Presence,
    /// Never shown.
    pub sensitive: bool,
    /// Never stored: only the configuration has it.
    pub write_only: bool,
    /// A change of it makes another instance.
    pub replaces: bool,
    /// What to write instead, if it should no longer be used.
    pub deprecated: Option<&'static str>,
    /// What it means, in Markdown.
    pub description: &'static str,
    /// What a known value of it must be.
    pub rules: Vec<Rule>,
}

impl Attribute {
    fn new(name: &'static str, kind: Kind, presence: Presence, description: &'static str) -> Attribute {
        Attribute {
            name,
            kind,
            presence,
            sensitive: false,
            write_only: false,
            replaces: false,
            deprecated: None,
            description,
            rules: Vec::new(),
        }
    }

    /// An attribute that the configuration must give.
    pub fn required(name: &'static str, ty: Type, description: &'static str) -> Attribute {
        Attribute::new(name, Kind::Plain(ty), Presence::Required, description)
    }

    /// An attribute that the configuration may give.
    pub fn optional(name: &'static str, ty: Type, description: &'static str) -> Attribute {
        Attribute::new(name, Kind::Plain(ty), Presence::Optional, description)
    }

    /// An attribute that only the provider gives.
    pub fn computed(name: &'static str, ty: Type, description: &'static str) -> Attribute {
        Attribute::new(name, Kind::Plain(ty), Presence::Computed, description)
    }

    /// An optional attribute made of objects.
    pub fn nested(
        name: &'static str,
        nesting: Nesting,
        attributes: Vec<Attribute>,
        description: &'static str,
    ) -> Attribute {
        Attribute::new(name, Kind::Nested(nesting, attributes), Presence::Optional, description)
    }

    /// The same, given by somebody else.
    #[must_use]
    pub fn with_presence(mut self, presence: Presence) -> Attribute {
        self.presence = presence;
        self
    }

    /// The same, never shown.
    #[must_use]
    pub fn sensitive(mut self) -> Attribute {
        self.sensitive = true;
        self
    }

    /// The same, never stored and never shown.
    #[must_use]
    pub fn write_only(mut self) -> Attribute {
        self.write_only = true;
        self.sensitive = true;
        self
    }

    /// The same; a change makes another instance.
    #[must_use]
    pub fn replaces(mut self) -> Attribute {
        self.replaces = true;
        self
    }

    /// The same, with one more rule.
    #[must_use]
    pub fn rule(mut self, rule: Rule) -> Attribute {
        self.rules.push(rule);
        self
    }

    /// The type of its values.
    pub fn ty(&self) -> Type {
        match &self.kind {
            Kind::Plain(ty) => ty.clone(),
            Kind::Nested(nesting, attributes) => {
                let object = object_type(attributes);
                match nesting {
                    Nesting::Single => object,
                    Nesting::List => Type::list(object),
                    Nesting::Map => Type::map(object),
                }
            }
        }
    }

    /// Whether the provider may give the value.
    pub fn is_computed(&self) -> bool {
        matches!(self.presence, Presence::Computed | Presence::OptionalComputed)
    }
}

impl Schema {
    /// The type of a whole value.
    pub fn ty(&self) -> Type {
        object_type(&self.attributes)
    }

    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// The value with every write-only attribute null: what may be planned, returned and stored.
    pub fn without_write_only(&self, value: &Value) -> Value {
        without_write_only(&self.attributes, value)
    }
}

fn object_type(attributes: &[Attribute]) -> Type {
    Type::object(attributes.iter().map(|attribute| (attribute.name, attribute.ty())))
}

fn without_write_only(attributes: &[Attribute], value: &Value) -> Value {
    let Value::Map(given) = value else { return value.clone() };
    let mut object = given.clone();
    for attribute in attributes {
        let Some(value) = object.get_mut(attribute.name) else {
            continue;
        };
        if attribute.write_only {
            *value = Value::Null;
            continue;
        }
        let Kind::Nested(nesting, inner) = &attribute.kind else {
            continue;
        };
        *value = match (nesting, &*value) {
            (Nesting::Single, single) => without_write_only(inner, single),
            (Nesting::List, Value::List(elements)) => Value::List(
                elements
                    .iter()
                    .map(|element| without_write_only(inner, element))
                    .collect(),
            ),
            (Nesting::Map, Value::Map(elements)) => Value::Map(
                elements
                    .iter()
                    .map(|(key, element)| (key.clone(), without_write_only(inner, element)))
                    .collect(),
            ),
            (Nesting::List | Nesting::Map, other) => other.clone(),
        };
    }
    Value::Map(object)
}

impl Schema {
    /// The places of the write-only values that a configuration sets.
    pub fn write_only_in(&self, config: &Value) -> Vec<Path> {
        // Ours are all at the top; the schema's own test sees to that.
        let set = |attribute: &&Attribute| attribute.write_only && !config.attribute(attribute.name).is_null();
        self.attributes
            .iter()
            .filter(set)
            .map(|attribute| Path::attribute(attribute.name))
            .collect()
    }

    /// The part of a state that a configuration could say.
    pub fn configurable(&self, state: &Value) -> Value {
        configurable(&self.attributes, state)
    }
}

fn configurable(attributes: &[Attribute], state: &Value) -> Value {
    let Value::Map(given) = state else { return state.clone() };
    let kept = attributes.iter().map(|attribute| {
        let value = given.get(attribute.name).unwrap_or(&Value::Null);
        let value = match (&attribute.kind, attribute.presence) {
            (_, Presence::Computed) => Value::Null,
            _ if attribute.write_only => Value::Null,
            (Kind::Nested(_, inner), _) => match value {
                Value::List(elements) => {
                    Value::List(elements.iter().map(|element| configurable(inner, element)).collect())
                }
                Value::Map(elements) if matches!(attribute.kind, Kind::Nested(Nesting::Map, _)) => Value::Map(
                    elements
                        .iter()
                        .map(|(key, element)| (key.clone(), configurable(inner, element)))
                        .collect(),
                ),
                other => configurable(inner, other),
            },
            (Kind::Plain(_), _) => value.clone(),
        };
        (attribute.name.to_owned(), value)
    });
    Value::Map(kept.collect())
}

impl Schema {
    /// The place of a field of a document (camelCase names, keys and positions as they are) among these attributes; as far as
    /// it goes, for a field that the schema does not have.
    pub fn locate(&self, fields: &[String]) -> Option<Path> {
        let mut attributes: &[Attribute] = &self.attributes;
        let mut path = Path::root();
        let mut fields = fields.iter();
        while let Some(field) = fields.next() {
            let Some(attribute) = attributes.iter().find(|attribute| same_name(attribute.name, field)) else {
                break;
            };
            path = path.then(Step::Attribute(attribute.name.to_owned()));
            let element = match &attribute.kind {
                Kind::Nested(Nesting::Single, inner) => {
                    attributes = inner;
                    continue;
                }
                Kind::Nested(nesting, inner) => {
                    attributes = inner;
                    *nesting == Nesting::List
                }
                Kind::Plain(Type::List(_)) => {
                    attributes = &[];
                    true
                }
                Kind::Plain(Type::Map(_)) => {
                    attributes = &[];
                    false
                }
                Kind::Plain(_) => break,
            };
            match (fields.next(), element) {
                (Some(key), false) => path = path.then(Step::Key(key.clone())),
                (Some(index), true) => match index.parse() {
                    Ok(index) => path = path.then(Step::Index(index)),
                    Err(_) => break,
                },
                (None, _) => break,
            }
        }
        (!path.is_root()).then_some(path)
    }
}

/// Whether `api_version` is `apiVersion`.
fn same_name(snake: &str, camel: &str) -> bool {
    let letters = |text: &str| {
        text.chars()
            .filter(|letter| *letter != '_')
            .collect::<String>()
            .to_ascii_lowercase()
    };
    letters(snake) == letters(camel)
}
