//! Variables: `$(NAME)` in known places becomes the value of a field of some resource. Deprecated in favour of
//! `replacements`.

use super::config::Config;
use super::fieldspec::visit;
use super::generate::Problem;
use super::id::{Gvk, Id};
use super::reader::Reader;
use super::resmap::ResMap;
use crate::yaml::{At, Content, Node, Scalar, Tag, go_float_g, to_json};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Var {
    pub(super) at: At,
    pub(super) name: String,
    object: Id,
    field: String,
}

impl Var {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let name = r.text("name");
        let at = r.at();
        let object = r.inner("objref", "a var's objref", |r| {
            let api_version = r.text("apiVersion");
            let (group, version, kind) = (r.text("group"), r.text("version"), r.text("kind"));
            let gvk = if api_version.is_empty() {
                Gvk {
                    group: group.into(),
                    version: version.into(),
                    kind: kind.into(),
                }
            } else {
                Gvk::of(&api_version, &kind)
            };
            Id {
                gvk,
                name: r.text("name").into(),
                namespace: r.text("namespace").into(),
            }
        });
        let field = r
            .inner("fieldref", "a var's fieldref", |r| r.text("fieldpath"))
            .unwrap_or_default();
        let field = if field.is_empty() {
            "metadata.name".to_owned()
        } else {
            field
        };
        Self {
            at,
            name,
            object: object.unwrap_or_default(),
            field,
        }
    }
}

/// Adds a kustomization's vars to those of its bases, and notes which resources give their values.
pub(super) fn declare(known: &mut Vec<Var>, more: &[Var], resources: &mut ResMap) -> Result<(), Problem> {
    for var in more {
        // A namespace in the objref is compared literally, so that one for a cluster-scoped kind finds nothing.
        let namespace = &var.object.namespace;
        let fits = |id: &Id| {
            id.name == var.object.name
                && id.gvk == var.object.gvk
                && (namespace.is_empty() || id.effective_namespace() == &**namespace)
        };
        let mut matched: Vec<usize> = Vec::new();
        for (i, resource) in resources.all.iter().enumerate() {
            if fits(&resource.id()) || resource.previous_ids().any(|id| fits(&id)) {
                matched.push(i);
            }
        }
        match matched[..] {
            [] => {}
            [one] => resources.all[one].var_names.push(var.name.as_str().into()),
            _ => {
                return Err((
                    format!(
                        "the var {} could mean {} resources; give its objref a namespace",
                        var.name,
                        matched.len()
                    ),
                    var.at,
                ));
            }
        }
    }
    absorb(known, more)
}

/// Adds vars; a name may be taken once.
pub(super) fn absorb(known: &mut Vec<Var>, more: &[Var]) -> Result<(), Problem> {
    for var in more {
        if known.iter().any(|k| k.name == var.name) {
            return Err((format!("the var {} is declared twice", var.name), var.at));
        }
        known.push(var.clone());
    }
    Ok(())
}

/// Replaces the variables wherever the configuration says.
pub(super) fn resolve(resources: &mut ResMap, vars: &[Var], config: &Config) -> Result<(), Problem> {
    if vars.is_empty() {
        return Ok(());
    }
    let mut values: BTreeMap<&str, Option<Value>> = BTreeMap::new();
    for var in vars {
        let source = resources
            .all
            .iter()
            .find(|r| r.var_names.iter().any(|n| **n == *var.name));
        let source = source.ok_or_else(|| {
            (
                format!("the var {} is about {}, which is not there", var.name, var.object),
                var.at,
            )
        })?;
        let value = field(&source.node, &var.field).ok_or_else(|| {
            (
                format!("{} has no field {} for the var {}", source.id(), var.field, var.name),
                var.at,
            )
        })?;
        let value = to_json(value).map_err(|e| (e.message, var.at))?;
        values.insert(
            &var.name,
            match value {
                Value::Null => Some("null".into()),
                value => Some(value).filter(|v| v.is_string() || v.is_number() || v.is_boolean()),
            },
        );
    }
    let mut room = super::MOST_TEXT;
    for resource in &mut resources.all {
        let (gvk, at, id) = (resource.gvk(), resource.at(), resource.id());
        for spec in &config.var_reference {
            visit(&mut resource.node, &gvk, spec, None, &mut |node| {
                replace(node, &values, &mut room)
            })
            .map_err(|e| (format!("replacing vars in {id}: {e}"), at))?;
        }
        resource.settle();
    }
    Ok(())
}

/// The value at `a.b[0].c`; `\.` is a dot inside a key.
fn field<'a>(node: &'a Node, path: &str) -> Option<&'a Node> {
    let mut node = node;
    for part in super::replacement::split_path(path) {
        let (name, indices) = match part.split_once('[') {
            Some((name, rest)) if rest.ends_with(']') => (name.to_owned(), rest[..rest.len() - 1].to_owned()),
            _ => (part.clone(), String::new()),
        };
        if !name.is_empty() {
            node = match (&node.content, name.parse::<usize>()) {
                (Content::Seq(items), Ok(index)) => items.get(index)?,
                _ => node.get(&name)?,
            };
        }
        for index in indices.split("][").filter(|i| !i.is_empty()) {
            node = node.items().get(index.parse::<usize>().ok()?)?;
        }
    }
    Some(node)
}

fn replace(node: &mut Node, values: &BTreeMap<&str, Option<Value>>, room: &mut usize) -> Result<(), String> {
    match &mut node.content {
        Content::Scalar(scalar) => expand(scalar, values, room)?,
        Content::Map(entries) => {
            for entry in entries {
                if let Content::Scalar(scalar) = &mut entry.value.content {
                    expand(scalar, values, room)?;
                }
            }
        }
        Content::Seq(items) => {
            for item in items {
                match &mut item.content {
                    Content::Scalar(scalar) if scalar.tag == Tag::Str => expand(scalar, values, room)?,
                    _ => return Err(format!("expected a list of strings, found {}", item.kind_name())),
                }
            }
        }
    }
    Ok(())
}

/// Replaces `$(NAME)`; `$$` is a dollar. A text that is nothing but one variable takes its type too. `room` is what all texts may still grow.
fn expand(scalar: &mut Scalar, values: &BTreeMap<&str, Option<Value>>, room: &mut usize) -> Result<(), String> {
    if scalar.tag != Tag::Str || !scalar.text.contains('$') {
        return Ok(());
    }
    let text = scalar.text.clone();
    let mut out = String::with_capacity(text.len());
    let mut rest: &str = &text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let Some(next) = after.chars().next() else {
            rest = &rest[dollar..];
            break;
        };
        match (next, after.find(')')) {
            ('$', _) => {
                out.push('$');
                rest = &after[1..];
            }
            ('(', Some(end)) => {
                let name = &after[1..end];
                let value = values.get(name).and_then(Option::as_ref);
                let whole = text.len() == name.len() + 3;
                match value {
                    Some(value) if whole => {
                        *scalar = typed(value);
                        return Ok(());
                    }
                    Some(value) => {
                        let value = typed(value).text;
                        *room = room
                            .checked_sub(value.len())
                            .ok_or("the values of the variables make the texts too long")?;
                        out.push_str(&value);
                    }
                    None => {
                        out.push_str("$(");
                        out.push_str(name);
                        out.push(')');
                    }
                }
                rest = &after[end + 1..];
            }
            (next, _) => {
                out.push('$');
                out.push(next);
                rest = &after[next.len_utf8()..];
            }
        }
    }
    out.push_str(rest);
    scalar.text = out.into();
    Ok(())
}

fn typed(value: &Value) -> Scalar {
    let (text, tag) = match value {
        Value::Bool(b) => (b.to_string(), Tag::Bool),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() => (go_float_g(f), Tag::Float),
            _ => (n.to_string(), Tag::Int),
        },
        Value::String(s) => (s.clone(), Tag::Str),
        other => (other.to_string(), Tag::Str),
    };
    Scalar {
        text: text.into(),
        tag,
        quoted: false,
    }
}
