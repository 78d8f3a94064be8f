//! Plain manifests: every document of every `.yaml`, `.yml` and `.json` file, read as kubectl reads it, with lists
//! split into their items. A subfolder with a kustomization is rendered as such.

use super::Options;
use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use crate::object::Object;
use crate::tree::{Found, Tree, TreePath};
use crate::yaml::{At, Content, Node, Profile, parse, to_json};

/// Folders inside folders, at most.
const DEEPEST: usize = 32;

pub(super) fn folder(tree: &Tree, path: &TreePath, options: &Options) -> Result<Vec<Object>, Diagnostics> {
    let mut problems = Diagnostics::new();
    let mut objects = Vec::new();
    walk(tree, path, options, 0, &mut objects, &mut problems);
    problems.or(objects).map(|(objects, _)| objects)
}

fn walk(
    tree: &Tree,
    path: &TreePath,
    options: &Options,
    depth: usize,
    objects: &mut Vec<Object>,
    problems: &mut Diagnostics,
) {
    if depth > DEEPEST {
        problems.push(Diagnostic::error(format!(
            "{}: folders are nested deeper than {DEEPEST}",
            tree.show(path)
        )));
        return;
    }
    let names = match tree.list(path) {
        Ok(names) => names,
        Err(e) => return problems.push(Diagnostic::error(e.to_string())),
    };
    for name in names.iter().filter(|n| !n.starts_with('.')) {
        let Some(child) = path.join(name) else { continue };
        let found = match tree.find(&child) {
            Ok(found) => found,
            Err(e) => {
                problems.push(Diagnostic::error(e.to_string()));
                continue;
            }
        };
        let result = match found {
            // A link to a folder above would go round forever.
            Found::Folder(real) if path.is_in(&real) => continue,
            Found::Folder(real) if super::has_kustomization(tree, &real) => {
                super::kustomize::render(tree, &real, options)
            }
            Found::Folder(_) => {
                walk(tree, &child, options, depth + 1, objects, problems);
                continue;
            }
            Found::File(_) if is_manifest(name) => file(tree, &child, options),
            Found::File(_) => continue,
        };
        match result {
            Ok(more) => objects.extend(more),
            Err(more) => problems.extend(more),
        }
    }
}

fn is_manifest(name: &str) -> bool {
    [".yaml", ".yml", ".json"].iter().any(|end| name.ends_with(end))
}

pub(super) fn file(tree: &Tree, path: &TreePath, options: &Options) -> Result<Vec<Object>, Diagnostics> {
    let shown = tree.show(path);
    let bytes = tree.read(path).map_err(|e| Diagnostic::error(e.to_string()))?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Diagnostic::error("the file is not UTF-8 text").at(FilePlace::file(&shown)))?;
    let documents =
        parse(text, tree.file_id(path), Profile::Manifest, options.limits).map_err(|e| e.in_file(&shown))?;
    let mut problems = Diagnostics::new();
    let mut objects = Vec::new();
    for document in documents {
        split(document, &mut |node| match object(&node, &shown) {
            Ok(object) => objects.push(object),
            Err(problem) => problems.push(problem),
        });
    }
    problems.or(objects).map(|(objects, _)| objects)
}

/// Hands on a document, or the items of a `List`, or those of the lists inside it.
fn split(mut node: Node, take: &mut impl FnMut(Node)) {
    let is_list = node
        .get("kind")
        .and_then(Node::as_str)
        .is_some_and(|kind| kind.ends_with("List"));
    if is_list && node.get("items").is_some_and(Node::is_seq) {
        if let Some(Content::Seq(items)) = node.remove("items").map(|n| n.content) {
            items.into_iter().for_each(|item| split(item, take));
        }
    } else {
        take(node);
    }
}

fn object(node: &Node, shown: &str) -> Result<Object, Diagnostic> {
    let place = |at: At| FilePlace {
        file: shown.to_owned(),
        line: Some(at.line),
        column: None,
    };
    if !node.is_map() {
        return Err(
            Diagnostic::error(format!("a manifest must be a map, not {}", node.kind_name())).at(place(node.at)),
        );
    }
    for path in [&["apiVersion"][..], &["kind"], &["metadata", "name"]] {
        let value = node.path(path);
        if value.and_then(Node::as_str).is_none_or(str::is_empty) {
            let field = path.join(".");
            let (summary, at) = match value {
                Some(value) if !value.is_null() => (
                    format!("{field} must be a string that is not empty, not {}", value.kind_name()),
                    value.at,
                ),
                _ => (format!("the manifest has no {field}"), node.at),
            };
            let detail = match value.filter(|value| !value.is_null()).and_then(Node::text) {
                Some(text) if !text.is_empty() => format!("Write it in quotes: \"{text}\"."),
                _ => "Every object needs apiVersion, kind and metadata.name.".to_owned(),
            };
            return Err(Diagnostic::error(summary).detail(detail).at(place(at)));
        }
    }
    let value = to_json(node).map_err(|e| e.in_file(shown))?;
    Ok(Object {
        value,
        origin: place(node.at),
        fields: super::fields::origins(node, &|_| shown.to_owned()),
    })
}
