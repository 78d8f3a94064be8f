//! `crds`: OpenAPI type definitions whose marks (`x-kubernetes-object-ref-kind`, `x-kubernetes-identity`, ...) say
//! where custom resources hold names, labels, annotations and references.

use super::config::{Config, NameReference};
use super::fieldspec::{FieldSpec, add};
use super::id::Gvk;
use crate::yaml::Node;
use std::sync::Arc;

/// Types inside types, at most.
const DEEPEST: usize = 32;
/// Fields of one kind, at most, with those of the types that it refers to.
const MOST_PROPERTIES: usize = 100_000;

pub(super) fn read(definitions: &Node) -> Result<Config, String> {
    let mut config = Config::default();
    if !definitions.is_map() {
        return Err(format!(
            "type definitions must be a map, not {}",
            definitions.kind_name()
        ));
    }
    for definition in definitions.entries() {
        if !definition.value.is_map() {
            return Err(format!(
                "\"{}\" must be a type definition with a Schema, not {}; a CustomResourceDefinition belongs under resources",
                definition.key,
                definition.value.kind_name()
            ));
        }
        let properties = properties(&definition.value);
        if ["kind", "apiVersion", "metadata"]
            .iter()
            .all(|name| properties.is_some_and(|p| p.get(name).is_some()))
        {
            let kind = definition.key.rsplit('.').next().unwrap_or_default();
            let gvk = Gvk {
                kind: kind.into(),
                ..Gvk::default()
            };
            walk(definitions, &definition.key, &gvk, &mut (Vec::new(), 0), &mut config)?;
        }
    }
    Ok(config)
}

fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.entries()
        .iter()
        .find(|e| e.key.eq_ignore_ascii_case(name))
        .map(|e| &e.value)
}

fn properties(definition: &Node) -> Option<&Node> {
    field(field(definition, "Schema")?, "properties")
}

/// Where the walk is, and how many properties it has seen.
type Walked = (Vec<Arc<str>>, usize);

fn walk(all: &Node, name: &str, gvk: &Gvk, walked: &mut Walked, config: &mut Config) -> Result<(), String> {
    let (path, seen) = walked;
    let Some(properties) = all.get(name).and_then(properties) else {
        return Ok(());
    };
    if path.len() > DEEPEST {
        return Err(format!(
            "types refer to each other deeper than {DEEPEST} levels, at {name}"
        ));
    }
    *seen += properties.entries().len();
    if *seen > MOST_PROPERTIES {
        return Err(format!(
            "the types of one kind come to more than {MOST_PROPERTIES} fields; their references multiply them, at {name}"
        ));
    }
    for property in properties.entries() {
        let (path, _) = &mut *walked;
        path.push(property.key.clone());
        let spec = |tail: Option<&str>| FieldSpec {
            gvk: gvk.clone(),
            path: path
                .iter()
                .map(|p| &**p)
                .chain(tail)
                .collect::<Vec<_>>()
                .join("/")
                .into(),
            create: false,
        };
        let mark = |name: &str| property.value.get(name).and_then(Node::text);
        for (name, specs) in [
            ("x-kubernetes-annotation", &mut config.common_annotations),
            ("x-kubernetes-label-selector", &mut config.common_labels),
            ("x-kubernetes-identity", &mut config.name_prefix),
        ] {
            if mark(name).is_some() {
                add(specs, spec(None))?;
            }
        }
        if let (Some(version), Some(kind)) = (
            mark("x-kubernetes-object-ref-api-version"),
            mark("x-kubernetes-object-ref-kind"),
        ) {
            let key = mark("x-kubernetes-object-ref-name-key").unwrap_or("name");
            let target = Gvk {
                group: "".into(),
                version: version.into(),
                kind: kind.into(),
            };
            let reference = NameReference {
                target,
                fields: vec![spec(Some(key))],
            };
            config.merge(&Config {
                name_reference: vec![reference],
                ..Config::default()
            })?;
        }
        if let Some(reference) = mark("$ref") {
            walk(all, reference, gvk, walked, config)?;
        }
        walked.0.pop();
    }
    Ok(())
}
