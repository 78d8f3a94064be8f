//! The schemas say what the reader takes: the same fields with the same kinds, words and bounds, no more and no less.

use super::*;
use crate::document::fields::asked;
use crate::document::{node_pool_from_value, stack_from_value, token_from_value};
use std::collections::BTreeMap;

/// What a schema says of each field, by path; `*` stands for names and positions.
fn said(fields: &[Field], path: &str, all: &mut BTreeMap<String, String>) {
    for field in fields {
        let at = format!("{path}.{}", field.name);
        let (kind, inner, below) = match &field.shape {
            Shape::Text | Shape::Pattern(_) => ("text".to_owned(), None, ""),
            Shape::Words(["myelin.dev/v1alpha1" | "Stack" | "ProvisioningToken" | "NodePool", ..]) => {
                ("text".to_owned(), None, "")
            }
            Shape::Words(words) => (format!("one of {}", words.join(" ")), None, ""),
            Shape::Flag => ("flag".to_owned(), None, ""),
            Shape::Whole(bounds) => (format!("{} to {}", bounds.start(), bounds.end()), None, ""),
            Shape::Duration => ("duration".to_owned(), None, ""),
            Shape::Texts => ("texts".to_owned(), None, ""),
            Shape::TextMap => ("map of texts".to_owned(), None, ""),
            Shape::Port | Shape::Share => ("anything".to_owned(), None, ""),
            Shape::Statuses => ("list".to_owned(), None, ""),
            Shape::Fields(inner) | Shape::OneOf(inner) => ("anything".to_owned(), Some(inner), ""),
            Shape::Entries(inner) => ("entries".to_owned(), Some(inner), ".*"),
            Shape::List(inner) => ("list".to_owned(), Some(inner), ".*"),
        };
        all.insert(at.clone(), kind);
        if let Some(inner) = inner {
            said(inner, &format!("{at}{below}"), all);
        }
    }
}

fn compare(kind: DocumentKind, documents: Vec<Value>) {
    let mut described = BTreeMap::new();
    said(&fields(kind), "", &mut described);
    asked::begin();
    for document in documents {
        // Whether it is a good document is not the question: all of its fields are asked for either way.
        match kind {
            DocumentKind::Stack => drop(stack_from_value(document, &|_| None)),
            DocumentKind::ProvisioningToken => drop(token_from_value(document, &|_| None)),
            DocumentKind::NodePool => drop(node_pool_from_value(document, &|_| None)),
        }
    }
    let taken = asked::end();
    for (path, what) in &taken {
        assert_eq!(
            Some(what),
            described.get(path),
            "{kind}: {path} as the reader takes it and as the schema has it"
        );
    }
    for path in described.keys() {
        assert!(taken.contains_key(path), "{kind}: the reader takes no {path}");
    }
}

#[test]
fn the_schemas_name_exactly_what_the_reader_takes() {
    let token = |issuer: Value| json!({"issuer": issuer});
    let issuers = [json!({"exec": {}}), json!({"random": {}}), json!({"signingKey": {}})];
    let stacks = issuers.iter().map(|issuer| {
        json!({"spec": {
            "components": {"*": {"requires": [{}], "verify": [{"http": {}}]}},
            "tokens": {"*": token(issuer.clone())}, "requires": [{}], "policies": [{}], "dependsOn": [{}]}})
    });
    let exec = json!({"spec": {"components": {"*": {"verify": [{"exec": {}}]}}}});
    compare(DocumentKind::Stack, stacks.chain([exec]).collect());
    let tokens = issuers.iter().map(|issuer| {
        let mut spec = token(issuer.clone());
        spec["dependsOn"] = json!([{}]);
        json!({"spec": spec})
    });
    compare(DocumentKind::ProvisioningToken, tokens.collect());
    compare(
        DocumentKind::NodePool,
        vec![json!({"spec": {"kubernetes": {}, "dependsOn": [{}]}})],
    );
}

#[test]
fn every_field_says_what_it_is_for_and_only_known_fields_are_taken() {
    fn check(schema: &Value, path: &str) {
        if let Some(properties) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], false, "{path}");
            for (name, inner) in properties {
                let text = inner["description"].as_str().unwrap_or_default();
                assert!(text.ends_with('.'), "{path}.{name}: {text:?}");
                check(inner, &format!("{path}.{name}"));
            }
        }
        for below in ["items", "additionalProperties"] {
            if schema[below].is_object() {
                check(&schema[below], path);
            }
        }
    }
    for kind in [
        DocumentKind::Stack,
        DocumentKind::ProvisioningToken,
        DocumentKind::NodePool,
    ] {
        check(&json_schema(kind), &kind.to_string());
    }
}
