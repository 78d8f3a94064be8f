//! Field specifications: a path of keys, through lists of maps, for a selection of kinds.

use super::id::Gvk;
use crate::yaml::{At, Content, Entry, Node, Tag};
use std::sync::Arc;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct FieldSpec {
    /// Which kinds; empty parts match all.
    pub(super) gvk: Gvk,
    pub(super) path: Arc<str>,
    /// Whether the path is made where it is missing.
    pub(super) create: bool,
}

/// What is created at the end of a missing path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar,
    Map,
}

impl FieldSpec {
    /// Whether both mean the same place for whatever this one selects.
    fn covers(&self, other: &Self) -> bool {
        self.gvk.is_selected_by(&other.gvk) && self.path == other.path
    }
}

/// Adds a place unless it is there.
pub(super) fn add(specs: &mut Vec<FieldSpec>, more: FieldSpec) -> Result<(), String> {
    match specs.iter().find(|s| s.covers(&more)) {
        Some(there) if there.create != more.create => Err(format!(
            "the field {} of {} is given twice, once with create: {} and once with create: {}",
            more.path, more.gvk, there.create, more.create
        )),
        Some(_) => Ok(()),
        None => {
            specs.push(more);
            Ok(())
        }
    }
}

pub(super) fn add_all(specs: &mut Vec<FieldSpec>, more: &[FieldSpec]) -> Result<(), String> {
    more.iter().try_for_each(|spec| add(specs, spec.clone()))
}

/// The parts of a path; `\/` is a slash inside a part.
pub(super) fn split(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for piece in path.split('/') {
        match parts.last_mut() {
            Some(last) if last.ends_with('\\') => {
                last.pop();
                last.push('/');
                last.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
    }
    parts
}

/// Calls `visit` on every value at the field path in `node`, a resource that `spec` selects. `kind` says what to create
/// if the field is missing and may be created.
pub(super) fn visit(
    node: &mut Node,
    gvk: &Gvk,
    spec: &FieldSpec,
    kind: Option<Kind>,
    visit: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    if !gvk.is_selected_by(&spec.gvk) {
        return Ok(());
    }
    visit_at(node, spec, &split(&spec.path), kind, visit)
}

/// The same for whatever `node` is, with the path of `spec` in its parts.
pub(super) fn visit_at(
    node: &mut Node,
    spec: &FieldSpec,
    parts: &[String],
    kind: Option<Kind>,
    visit: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    walk(node, parts, kind.filter(|_| spec.create), visit).map_err(|e| format!("at {}: {e}", spec.path))
}

fn walk(
    node: &mut Node,
    path: &[String],
    kind: Option<Kind>,
    visit: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<(), String> {
    let Some((part, rest)) = path.split_first() else {
        return visit(node);
    };
    if node.is_null() {
        return Ok(());
    }
    let at = node.at;
    match &mut node.content {
        Content::Seq(items) => items.iter_mut().try_for_each(|item| walk(item, path, kind, visit)),
        Content::Scalar(_) => Err(format!("expected a map or a list, found {}", node.kind_name())),
        Content::Map(entries) => {
            let (name, list) = match part.strip_suffix("[]") {
                Some(name) => (name, true),
                None => (part.as_str(), false),
            };
            if name.is_empty() {
                return Err("a part of the path is empty".to_owned());
            }
            let element = name.parse::<i64>().is_ok() || name == "-" || name == "*" || name.starts_with('[');
            if element && !entries.is_empty() {
                return Err(format!(
                    "\"{name}\" names an element of a list, and there is a map; a path goes into all elements of a list by itself"
                ));
            }
            let make = kind
                .filter(|_| !list)
                .map(|kind| if rest.is_empty() { kind } else { Kind::Map });
            let index = match entries.iter().position(|e| &*e.key == name) {
                Some(index) => index,
                None if make.is_some() => {
                    entries.push(Entry {
                        key: name.into(),
                        at,
                        value: Node::null().at(at),
                    });
                    entries.len() - 1
                }
                None => return Ok(()),
            };
            let field = &mut entries[index].value;
            if field.is_null() {
                field.content = match make {
                    Some(Kind::Map) => Node::map().content,
                    Some(Kind::Scalar) => Node::tagged("", Tag::Str).content,
                    None if list => Node::seq().content,
                    None => return if rest.is_empty() { visit(field) } else { Ok(()) },
                };
            }
            walk(field, rest, kind, visit)
        }
    }
}

/// Sets a scalar's text, as a string.
pub(super) fn set_scalar(node: &mut Node, text: &str) -> Result<(), String> {
    match &mut node.content {
        Content::Scalar(scalar) => {
            scalar.text = text.into();
            scalar.tag = Tag::Str;
            Ok(())
        }
        _ => Err(format!("expected a scalar, found {}", node.kind_name())),
    }
}

/// Sets a scalar's text, and notes what set it.
pub(super) fn set_scalar_at(node: &mut Node, text: &str, at: At) -> Result<(), String> {
    set_scalar(node, text)?;
    node.moved_to(at);
    Ok(())
}

/// What [`set_entry`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrote {
    /// It made the entry.
    New,
    /// It changed one.
    Old,
    /// It changed a node that is shown in other places too.
    Shared,
}

/// Sets one string of a map, and notes what set it. A new one gets the number `one`.
pub(super) fn set_entry(node: &mut Node, key: &str, text: &str, at: At, one: u32) -> Result<Wrote, String> {
    if !node.is_map() {
        return Err(format!("expected a map, found {}", node.kind_name()));
    }
    if key.is_empty() {
        return Err("the name of a label or annotation is empty".to_owned());
    }
    let wrote = match node.get(key) {
        None => Wrote::New,
        Some(old) if old.one == 0 => Wrote::Old,
        Some(_) => Wrote::Shared,
    };
    super::resource::set_text(node, key, text);
    if let Some(value) = node.get_mut(key) {
        value.moved_to(at);
        if wrote == Wrote::New {
            value.one = one;
        }
    }
    Ok(wrote)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{FileId, Limits, Profile, parse_one, to_json};

    #[test]
    fn places_are_found_through_lists_and_made_where_asked() {
        let text = "kind: X\nspec:\n  a: null\n  list:\n  - {name: 1}\n  - {name: 2, b: {c: d}}\n";
        let mut node = parse_one(text, FileId::default(), Profile::Kustomize, Limits::default()).unwrap();
        let gvk = Gvk::of("v1", "X");
        let spec = |path: &str, create| FieldSpec {
            gvk: Gvk::default(),
            path: path.into(),
            create,
        };
        let mut set = |n: &mut Node| set_scalar(n, "z");
        visit(&mut node, &gvk, &spec("spec/a/k", true), Some(Kind::Scalar), &mut set).unwrap();
        visit(
            &mut node,
            &gvk,
            &spec("spec/list/b/c", false),
            Some(Kind::Scalar),
            &mut set,
        )
        .unwrap();
        visit(
            &mut node,
            &gvk,
            &spec("spec/list[]/e", true),
            Some(Kind::Scalar),
            &mut set,
        )
        .unwrap();
        visit(&mut node, &gvk, &spec("spec/q[]/e", true), Some(Kind::Scalar), &mut set).unwrap();
        assert_eq!(
            to_json(&node).unwrap(),
            serde_json::json!({"kind": "X", "spec": {"a": {"k": "z"},
                "list": [{"name": 1, "e": "z"}, {"name": 2, "b": {"c": "z"}, "e": "z"}]}})
        );
        assert!(visit(&mut node, &gvk, &spec("kind/x", false), None, &mut set).is_err());
        assert_eq!(
            split(r"metadata/annotations/a.b\/c"),
            ["metadata", "annotations", "a.b/c"]
        );
    }
}
