//! Reads what a kustomization names: files inside its own folder (anywhere in the tree if that is allowed), and folders
//! anywhere in the tree that are not above it. Turns manifests into resources.

use super::generate::Problem;
use super::jsonpatch::as_json;
use super::reader::Located;
use super::resource::Resource;
use crate::render::{KUSTOMIZATION_NAMES, Options};
use crate::tree::{Found, Tree, TreeError, TreePath};
use crate::yaml::{At, Content, Node, Profile, Tag, parse};
use std::collections::VecDeque;
use std::sync::Arc;

/// Kustomizations inside kustomizations, at most.
const DEEPEST: usize = 64;

/// Where one kustomization may read.
#[derive(Debug, Clone)]
pub(super) struct Loader<'a> {
    pub(super) tree: &'a Tree,
    pub(super) options: &'a Options,
    /// The kustomization's folder, without links.
    pub(super) root: TreePath,
    /// The folders of the kustomizations that led here, this one last.
    pub(super) trail: Vec<TreePath>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(tree: &'a Tree, options: &'a Options, root: TreePath) -> Self {
        Self {
            tree,
            options,
            trail: vec![root.clone()],
            root,
        }
    }

    /// The loader of another kustomization that this one names.
    pub(super) fn enter(&self, root: TreePath) -> Self {
        let mut trail = self.trail.clone();
        trail.push(root.clone());
        Self {
            root,
            trail,
            ..self.clone()
        }
    }

    fn path(&self, named: &Located) -> Result<TreePath, Problem> {
        if named.text.starts_with('/') {
            return Err((
                format!("\"{}\" must be a path relative to this folder", named.text),
                named.at,
            ));
        }
        self.root
            .join(&named.text)
            .ok_or_else(|| (format!("\"{}\" lies outside of the source tree", named.text), named.at))
    }

    /// The content of a file, and its path.
    pub(super) fn file(&self, named: &Located) -> Result<(Arc<[u8]>, TreePath), Problem> {
        let path = self.path(named)?;
        let refuse = |e: TreeError| match remote(&named.text) {
            Some(why) => (why, named.at),
            None => (e.to_string(), named.at),
        };
        match self.tree.find(&path).map_err(refuse)? {
            Found::Folder(_) => Err((
                format!("\"{}\" is a folder where a file is needed", named.text),
                named.at,
            )),
            Found::File(real) => {
                if !self.options.load_anywhere && !real.is_in(&self.root) {
                    return Err((
                        format!(
                            "\"{}\" lies outside of the kustomization's folder; move it there, or allow it with --load-restrictor=LoadRestrictionsNone",
                            named.text
                        ),
                        named.at,
                    ));
                }
                let bytes = self.tree.read(&real).map_err(|e| (e.to_string(), named.at))?;
                Ok((bytes, path))
            }
        }
    }

    pub(super) fn text(&self, named: &Located) -> Result<(String, TreePath), Problem> {
        let (bytes, path) = self.file(named)?;
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok((text.to_owned(), path)),
            Err(_) => Err((format!("\"{}\" is not UTF-8 text", named.text), named.at)),
        }
    }

    /// Whether a name leads to a folder rather than a file.
    pub(super) fn is_folder(&self, named: &Located) -> bool {
        self.path(named)
            .is_ok_and(|path| matches!(self.tree.find(&path), Ok(Found::Folder(_))))
    }

    /// The folder of another kustomization. One that holds this one would go round forever.
    pub(super) fn folder(&self, named: &Located) -> Result<TreePath, Problem> {
        let path = self.path(named)?;
        let missing = |e: TreeError| match remote(&named.text) {
            Some(why) => (why, named.at),
            None => (e.to_string(), named.at),
        };
        match self.tree.find(&path).map_err(missing)? {
            Found::File(_) => Err((
                format!("\"{}\" is a file where a folder is needed", named.text),
                named.at,
            )),
            Found::Folder(real) => {
                if let Some(above) = self.trail.iter().find(|visited| visited.is_in(&real)) {
                    return Err((
                        format!(
                            "\"{}\" leads to \"{}\", which is or holds \"{}\" on the way here: a cycle",
                            named.text,
                            self.tree.show(&real),
                            self.tree.show(above)
                        ),
                        named.at,
                    ));
                }
                if self.trail.len() >= DEEPEST {
                    return Err((format!("kustomizations are nested deeper than {DEEPEST}"), named.at));
                }
                Ok(real)
            }
        }
    }

    /// The kustomization file of a folder.
    pub(super) fn kustomization(&self, folder: &TreePath) -> Result<TreePath, String> {
        let shown = self.tree.show(folder);
        let mut found = KUSTOMIZATION_NAMES
            .iter()
            .filter_map(|name| folder.join(name))
            .filter(|path| matches!(self.tree.find(path), Ok(Found::File(_))));
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(format!(
                "there is no {} in \"{shown}\"",
                KUSTOMIZATION_NAMES.join(" or ")
            )),
            (_, Some(_)) => Err(format!(
                "there is more than one kustomization file in \"{shown}\"; keep one"
            )),
        }
    }

    /// The nodes of a text of manifests.
    pub(super) fn nodes(&self, text: &str, path: &TreePath, profile: Profile) -> Result<Vec<Node>, Problem> {
        let file = self.tree.file_id(path);
        parse(text, file, profile, self.options.limits).map_err(|e| {
            (
                e.message,
                At {
                    file,
                    line: e.line,
                    column: e.column,
                },
            )
        })
    }
}

/// Why a path that is not there may be meant for another place.
pub(super) fn remote(text: &str) -> Option<String> {
    let looks = text.contains("://")
        || text.contains("?ref=")
        || text.starts_with("git@")
        || text.starts_with("git::")
        || ["github.com/", "github.com:", "gitlab.com/", "bitbucket.org/"]
            .iter()
            .any(|host| text.starts_with(host));
    looks.then(|| {
        format!(
            "\"{text}\" is not in the source tree, and nothing is fetched over the network; fetch it into the repository and name it by its relative path"
        )
    })
}

/// The resources of parsed manifests: lists are split, what has no content is left out, the rest must have a kind and a name.
pub(super) fn resources(nodes: Vec<Node>) -> Result<Vec<Resource>, Problem> {
    // A file that is one List is opened as it is; all other lists go through JSON.
    let mut only = nodes.len() == 1;
    let mut queue: VecDeque<Node> = nodes.into();
    let mut all = Vec::new();
    while let Some(mut node) = queue.pop_front() {
        if node.is_null() || node.is_empty_map() || (node.is_seq() && node.items().is_empty()) {
            continue;
        }
        if !node.is_map() {
            return Err((format!("a resource must be a map, not {}", node.kind_name()), node.at));
        }
        let is_list = node
            .get("kind")
            .and_then(Node::text)
            .is_some_and(|kind| kind.ends_with("List"));
        if is_list && node.get("items").is_some() {
            let kind = node.get("kind").and_then(Node::text);
            let as_it_is = std::mem::take(&mut only) && matches!(kind, Some("List" | "ResourceList"));
            match node.remove("items").map(|items| (items.at, items.content)) {
                Some((_, Content::Seq(items))) if as_it_is => queue.extend(items),
                Some((at, Content::Seq(items))) => {
                    for item in &items {
                        queue.push_back(as_json(item).map_err(|e| (e, at))?);
                    }
                }
                Some((at, Content::Map(_))) => return Err(("items must be a list, not a map".to_owned(), at)),
                Some((at, Content::Scalar(scalar))) if !matches!(scalar.tag, Tag::Null | Tag::Blank) => {
                    return Err((format!("items must be a list, not \"{}\"", scalar.text), at));
                }
                _ => {}
            }
            continue;
        }
        if let Some(metadata) = node.get("metadata").filter(|m| !m.is_map() && !m.is_null()) {
            return Err((
                format!("metadata must be a map, not {}", metadata.kind_name()),
                metadata.at,
            ));
        }
        let text = |path: &[&str]| {
            node.path(path)
                .filter(|n| !n.is_null())
                .and_then(Node::text)
                .unwrap_or_default()
        };
        for (field, value) in [
            ("kind", text(&["kind"])),
            ("metadata.name", text(&["metadata", "name"])),
        ] {
            if value.is_empty() && !(field == "metadata.name" && is_list) {
                return Err((format!("the resource has no {field}"), node.at));
            }
        }
        all.push(Resource::new(node));
    }
    Ok(all)
}
