//! From the attributes of `myelin_stack` to the engine's `Stack` document, and back from a document's field to the
//! attribute.
//!
//! The document is the same JSON that the YAML reader produces; the engine interprets it and finds its errors.

use myelin_engine::desired::Variables;
use myelin_engine::diagnostic as engine;
use myelin_engine::document::{API_VERSION, Stack, Text, UNKNOWN, stack_from_value};
use serde_json::{Map, Value as Json};

use crate::diagnostic::{Diagnostics, from_engine};
use crate::schema::{Kind, Presence, Schema};
use crate::value::Value;

/// Attributes that are Terraform's own: the document does not have them.
const NOT_IN_DOCUMENT: [&str; 4] = ["name", "substitute_wo", "substitute_wo_version", "timeouts"];

/// Attributes whose single values may be unknown in a document.
const MAY_BE_UNKNOWN: [&str; 2] = ["images", "substitute"];

/// Whether so much is unknown that there is no document yet.
pub(super) fn is_undecided(schema: &Schema, config: &Value) -> bool {
    let mut inputs = schema
        .attributes
        .iter()
        .filter(|attribute| attribute.presence != Presence::Computed);
    inputs.any(|attribute| {
        let value = config.attribute(attribute.name);
        if MAY_BE_UNKNOWN.contains(&attribute.name) || attribute.write_only {
            value.is_unknown()
        } else {
            !value.is_wholly_known()
        }
    })
}

/// Which operation's end is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// The first apply.
    Create,
    /// A later one.
    Update,
    /// The destroy.
    Delete,
}

/// The end of an operation that `timeouts` names, if it does.
pub(super) fn timeout_of(attributes: &Value, operation: Operation) -> Option<&str> {
    let name = match operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
    };
    let special = attributes.attribute("timeouts").attribute(name).as_str();
    special.or_else(|| attributes.attribute("timeout").as_str())
}

/// Reads the document that a configuration describes.
///
/// # Errors
/// All its problems at once, each with its attribute.
pub(super) fn stack(schema: &Schema, config: &Value, operation: Operation) -> Result<Stack, Diagnostics> {
    let mut spec = Map::new();
    for attribute in &schema.attributes {
        if attribute.presence == Presence::Computed || NOT_IN_DOCUMENT.contains(&attribute.name) {
            continue;
        }
        if let Some(value) = field(&attribute.kind, config.attribute(attribute.name)) {
            spec.insert(camel_case(attribute.name), value);
        }
    }
    if let Some(timeout) = timeout_of(config, operation) {
        spec.insert("timeout".to_owned(), timeout.into());
    }
    let name = config.attribute("name").as_str().unwrap_or_default();
    let document =
        serde_json::json!({"apiVersion": API_VERSION, "kind": "Stack", "metadata": {"name": name}, "spec": spec});
    stack_from_value(document, &|_| None).map_err(|problems| told(schema, &problems))
}

/// The engine's problems with a document as Terraform's, each at its attribute.
pub(in crate::resource) fn told(schema: &Schema, problems: &engine::Diagnostics) -> Diagnostics {
    problems
        .iter()
        .map(|problem| {
            let mut told = from_engine(problem, |fields| schema.locate(in_attributes(fields)));
            // People who write HCL have no `spec`.
            if !problem.attribute.is_empty() {
                for prefix in ["spec.", "metadata."] {
                    if let Some(rest) = told.summary.strip_prefix(prefix) {
                        told.summary = rest.to_owned();
                    }
                }
            }
            told
        })
        .collect()
}

fn in_attributes(fields: &[String]) -> &[String] {
    match fields.split_first() {
        Some((first, rest)) if first == "spec" || first == "metadata" => rest,
        _ => fields,
    }
}

/// Write-only values, for the engine alone.
pub(super) fn variables(config: &Value) -> Variables {
    let values = config.attribute("substitute_wo").as_map();
    let write_only = values.into_iter().flatten().filter_map(|(name, value)| match value {
        Value::String(text) => Some((name.clone(), Text::Known(text.clone()))),
        Value::Unknown(_) => Some((name.clone(), Text::Unknown)),
        _ => None,
    });
    Variables {
        write_only: write_only.collect(),
        ..Variables::default()
    }
}

/// The JSON of an attribute's value; none for null. Names inside nested attributes become camelCase, keys of maps stay.
pub(in crate::resource) fn field(kind: &Kind, value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => return None,
        Value::Unknown(_) => Json::from(UNKNOWN),
        Value::Bool(truth) => Json::from(*truth),
        // Whole numbers stay numbers; anything else is the document's to refuse.
        Value::Number(number) => match number.to_string().parse::<i64>() {
            Ok(whole) => Json::from(whole),
            Err(_) => Json::from(number.to_string()),
        },
        Value::String(text) => Json::from(text.as_str()),
        Value::List(elements) => Json::Array(
            elements
                .iter()
                .filter_map(|element| element_field(kind, element))
                .collect(),
        ),
        Value::Map(elements) => match kind {
            Kind::Nested(crate::schema::Nesting::Single, _) => return element_field(kind, value),
            Kind::Nested(..) | Kind::Plain(_) => Json::Object(
                elements
                    .iter()
                    .filter_map(|(key, element)| Some((key.clone(), element_field(kind, element)?)))
                    .collect(),
            ),
        },
        Value::Dynamic(inner) => return field(kind, &inner.1),
    })
}

fn element_field(kind: &Kind, element: &Value) -> Option<Json> {
    match (kind, element) {
        (Kind::Nested(_, attributes), Value::Map(_)) => {
            let fields = attributes.iter().filter_map(|attribute| {
                Some((
                    camel_case(attribute.name),
                    field(&attribute.kind, element.attribute(attribute.name))?,
                ))
            });
            Some(Json::Object(fields.collect()))
        }
        _ => field(kind, element),
    }
}

/// `api_version` → `apiVersion`.
pub(in crate::resource) fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        out.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        out.push_str(letters.as_str());
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::schema::schema;
    use super::*;

    fn object(entries: &[(&str, Value)]) -> Value {
        Value::Map(
            entries
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        )
    }

    fn config(set: &[(&str, Value)]) -> Value {
        let mut all: BTreeMap<String, Value> = schema()
            .attributes
            .iter()
            .map(|attribute| (attribute.name.to_owned(), Value::Null))
            .collect();
        all.extend(
            [
                ("name", Value::string("s")),
                ("namespace", Value::string("ns")),
                ("source", Value::string("./k8s")),
            ]
            .iter()
            .chain(set)
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        Value::Map(all)
    }

    fn component(path: &str, after: &[&str]) -> Value {
        object(&[
            ("path", Value::string(path)),
            (
                "after",
                Value::List(after.iter().map(|name| Value::string(*name)).collect()),
            ),
            ("requires", Value::Null),
            ("timeout", Value::Null),
        ])
    }

    #[test]
    fn attributes_become_the_document_that_yaml_would_be() {
        let requirement = object(&[
            ("api_version", Value::string("v1")),
            ("kind", Value::string("Secret")),
            ("namespace", Value::Null),
            ("name", Value::string("x")),
        ]);
        let config = config(&[
            (
                "components",
                object(&[
                    ("a_b", Value::Null),
                    ("a", component("a", &[])),
                    ("b", component("b", &["a"])),
                ]),
            ),
            ("requires", Value::List(vec![requirement])),
            (
                "substitute",
                object(&[("A_B", Value::string("1")), ("C", Value::UNKNOWN)]),
            ),
            ("restart_on_config_change", Value::Bool(false)),
            ("timeout", Value::string("1m")),
            (
                "timeouts",
                object(&[
                    ("create", Value::string("2m")),
                    ("update", Value::Null),
                    ("delete", Value::Null),
                ]),
            ),
        ]);
        assert!(!is_undecided(&schema(), &config));
        let stack = stack(&schema(), &config, Operation::Create).expect("a stack");
        assert!(stack.components["b"].after.contains("a") && stack.components.len() == 2);
        assert_eq!(stack.requires[0].api_version, "v1");
        assert_eq!(stack.substitute["A_B"], Text::Known("1".to_owned()));
        assert_eq!(stack.substitute["C"], Text::Unknown);
        assert!(!stack.restart_on_config_change);
        assert_eq!(stack.timeout, Duration::from_secs(120));
        assert_eq!(
            super::stack(&schema(), &config, Operation::Update)
                .expect("a stack")
                .timeout,
            Duration::from_secs(60)
        );
    }

    #[test]
    fn what_is_wrong_is_told_at_its_attribute() {
        let config = config(&[("components", object(&[("a", component("/x", &["zz"]))]))]);
        let problems = stack(&schema(), &config, Operation::Create).expect_err("problems");
        let places: Vec<String> = problems
            .iter()
            .filter_map(|problem| problem.path.as_ref())
            .map(ToString::to_string)
            .collect();
        assert!(places.contains(&"components[\"a\"].path".to_owned()), "{places:?}");
        assert!(places.contains(&"components[\"a\"].after".to_owned()), "{places:?}");
        assert!(problems.iter().all(|problem| !problem.summary.contains("spec.")));
    }

    #[test]
    fn only_values_of_texts_may_be_unknown_in_a_document() {
        for (name, value, undecided) in [
            ("namespace", Value::UNKNOWN, true),
            ("images", Value::UNKNOWN, true),
            ("images", object(&[("a", Value::UNKNOWN)]), false),
            ("substitute_wo", object(&[("a", Value::UNKNOWN)]), false),
            ("components", object(&[("a", Value::UNKNOWN)]), true),
            ("objects", Value::UNKNOWN, false),
        ] {
            assert_eq!(is_undecided(&schema(), &config(&[(name, value)])), undecided, "{name}");
        }
    }
}
