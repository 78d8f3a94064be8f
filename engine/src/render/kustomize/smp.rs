//! Strategic merge: a patch in the shape of the resource. Maps merge key by key, and null removes a key. Lists with
//! merge keys in the schema merge element by element, the patch's elements first; other lists are replaced. `$patch:
//! delete | replace | merge` controls this. It follows kustomize's own merge, not the API server's: `$setElementOrder`,
//! `$retainKeys` and `$deleteFromPrimitiveList` are plain keys here.

use super::schema::{Schema, Type};
use super::shared::overwritten;
use super::smp_several::Several;
use crate::yaml::{Content, Entry, Node, Tag};
use std::collections::HashSet;
use std::sync::Arc;

/// Merges `patch` into `dest`; `None` when the patch deletes it.
pub(super) fn merge(dest: Node, patch: Node, schema: &Schema, of: Option<Type>) -> Result<Option<Node>, String> {
    // The original makes a new resource of the patch then, and keeps the old one.
    if patch.get("$patch").and_then(Node::text) == Some("replace") {
        return Ok(Some(dest));
    }
    Merge { schema }.walk(Some(dest), Patch::Other(patch), of)
}

/// The patch's side of a field: nothing, a value of its own, or the destination itself. (What was added from the patch
/// is merged again, with itself, which resolves the directives and nulls inside it.)
pub(super) enum Patch {
    None,
    Other(Node),
    Same,
}

#[derive(PartialEq, Clone, Copy)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

pub(super) struct Merge<'a> {
    schema: &'a Schema,
}

fn present(node: Option<&Node>) -> bool {
    node.is_some_and(|n| !n.is_null())
}

impl Merge<'_> {
    pub(super) fn walk(&self, dest: Option<Node>, patch: Patch, of: Option<Type>) -> Result<Option<Node>, String> {
        let other = match &patch {
            Patch::Other(node) => Some(node),
            _ => None,
        };
        let shape = if present(dest.as_ref()) {
            dest.as_ref()
        } else {
            other.filter(|n| !n.is_null())
        };
        let Some(shape) = shape else {
            // Null is nothing, except where the resource says so in a word and the patch says nothing of it.
            let spelled = |n: &Node| n.text().is_some_and(|text| !text.is_empty());
            return Ok(dest.filter(|n| matches!(patch, Patch::None) && spelled(n)));
        };
        if let (Some(a), Some(b)) = (dest.as_ref().filter(|n| !n.is_null()), other.filter(|n| !n.is_null()))
            && std::mem::discriminant(&a.content) != std::mem::discriminant(&b.content)
        {
            return Err(format!(
                "the patch has {} where the resource has {}",
                b.kind_name(),
                a.kind_name()
            ));
        }
        match &shape.content {
            Content::Map(_) => self.map(dest, patch, of),
            Content::Scalar(_) => Ok(match patch {
                // What the patch merely repeats still comes from where it did.
                Patch::Other(mut node) if !node.is_null() => {
                    let one = dest.as_ref().map_or(0, |d| d.one);
                    if let (Content::Scalar(new), Some(Content::Scalar(old))) =
                        (&mut node.content, dest.as_ref().map(|d| &d.content))
                    {
                        *new = new.clone().over(old);
                    }
                    let same = dest.filter(|d| *d == node);
                    Some(overwritten(same.unwrap_or(node), one))
                }
                Patch::Other(_) => None,
                Patch::None | Patch::Same => dest.filter(|n| !n.is_null()),
            }),
            Content::Seq(_) => {
                if of.is_some_and(|t| self.schema.merge_keys(t).is_some()) {
                    self.list(dest, patch, of)
                } else {
                    Ok(match patch {
                        Patch::Other(node) => (!node.is_null()).then_some(node),
                        Patch::None | Patch::Same => dest,
                    })
                }
            }
        }
    }

    /// What to walk on with, after the directive of this place: `None` ends it (deleted).
    fn begin(&self, dest: Option<Node>, patch: Patch) -> Result<Option<(Node, Patch)>, String> {
        match (dest.filter(|n| !n.is_null()), patch) {
            (None, Patch::Other(mut node)) => match directive(&mut node).unwrap_or(Directive::Merge) {
                Directive::Delete => Ok(None),
                _ if node.is_null() => Ok(None),
                _ => Ok(Some((node, Patch::Same))),
            },
            (None, _) => Ok(None),
            (Some(_), Patch::Other(node)) if node.is_null() => Ok(None),
            (Some(dest), Patch::Other(mut node)) => match directive(&mut node)? {
                Directive::Delete => Ok(None),
                Directive::Replace => Ok(Some((node, Patch::Same))),
                Directive::Merge => Ok(Some((dest, Patch::Other(node)))),
            },
            (Some(mut dest), Patch::Same) => match directive(&mut dest)? {
                Directive::Delete => Ok(None),
                _ => Ok(Some((dest, Patch::Same))),
            },
            (Some(dest), Patch::None) => Ok(Some((dest, Patch::None))),
        }
    }

    fn map(&self, dest: Option<Node>, patch: Patch, of: Option<Type>) -> Result<Option<Node>, String> {
        let Some((mut node, patch)) = self.begin(dest, patch)? else {
            return Ok(None);
        };
        let Content::Map(entries) = std::mem::replace(&mut node.content, Content::Map(Vec::new())) else {
            return Ok(Some(node));
        };
        let (mut news, same) = match patch {
            Patch::Other(Node {
                content: Content::Map(news),
                ..
            }) => (news.into_iter().map(Some).collect::<Vec<_>>(), false),
            Patch::Same => (Vec::new(), true),
            _ => (Vec::new(), false),
        };
        let index = Index::of(&news);
        let mut merged = Vec::with_capacity(entries.len() + news.len());
        for Entry { key, at, value } in entries {
            let field = of.and_then(|t| self.schema.field(t, &key));
            let theirs = match index.find(&news, &key).and_then(|i| news[i].take()) {
                Some(entry) => Patch::Other(entry.value),
                None if same => Patch::Same,
                None => Patch::None,
            };
            let value = self.walk(Some(value), theirs, field).map_err(|e| deeper(&key, &e))?;
            merged.extend(value.map(|value| Entry { key, at, value }));
        }
        for Entry { key, at, value } in news.into_iter().flatten() {
            let field = of.and_then(|t| self.schema.field(t, &key));
            let value = self
                .walk(None, Patch::Other(value), field)
                .map_err(|e| deeper(&key, &e))?;
            merged.extend(value.map(|value| Entry { key, at, value }));
        }
        node.content = Content::Map(merged);
        Ok(Some(node))
    }

    fn list(&self, dest: Option<Node>, patch: Patch, of: Option<Type>) -> Result<Option<Node>, String> {
        let begun = match (dest.filter(|n| !n.is_null()), patch) {
            // The original takes a new list as it is, with a directive for the whole list among its elements.
            (None, Patch::Other(node)) => (!node.is_null()).then_some((node, Patch::Same)),
            (dest, patch) => self.begin(dest, patch)?,
        };
        let Some((mut node, patch)) = begun else {
            return Ok(None);
        };
        let Content::Seq(items) = std::mem::replace(&mut node.content, Content::Seq(Vec::new())) else {
            return Ok(Some(node));
        };
        let keys = of.and_then(|t| self.schema.merge_keys(t)).unwrap_or_default();
        let (theirs, same) = match patch {
            Patch::Other(Node {
                content: Content::Seq(theirs),
                ..
            }) => (theirs, false),
            Patch::Same => (Vec::new(), true),
            _ => (Vec::new(), false),
        };
        let merged = if keys.is_empty() {
            primitives(items, theirs)
        } else {
            self.elements(items, theirs, same, &keys, of.and_then(|t| self.schema.elements(t)))?
        };
        node.content = Content::Seq(merged);
        Ok(Some(node))
    }

    /// Merges lists of maps by their keys: first the patch's elements in its order, then the rest.
    fn elements(
        &self,
        ours: Vec<Node>,
        theirs: Vec<Node>,
        same: bool,
        keys: &[Arc<str>],
        of: Option<Type>,
    ) -> Result<Vec<Node>, String> {
        let mut wanted: Vec<Vec<Arc<str>>> = Vec::new();
        let mut seen = HashSet::new();
        for item in theirs.iter().chain(&ours) {
            let values = values_of(item, keys);
            if seen.insert(values.clone()) {
                wanted.push(values);
            }
        }
        let incomplete = wanted.iter().any(|values| values.iter().any(|v| v.is_empty()));
        let repeats = |items: &[Node]| {
            let mut seen = HashSet::new();
            !items.iter().all(|item| seen.insert(values_of(item, keys)))
        };
        let small = ours.len() + theirs.len() <= Several::LONGEST;
        if small && (keys.len() > 1 || incomplete || repeats(&ours) || repeats(&theirs)) {
            return Several { merge: self, keys, of }.elements(ours, theirs, same);
        }
        let mut ours: Vec<Option<Node>> = ours.into_iter().map(Some).collect();
        let mut theirs: Vec<Option<Node>> = theirs.into_iter().map(Some).collect();
        let mut ours_by = Finder::new(&ours, keys);
        let mut theirs_by = Finder::new(&theirs, keys);
        let mut merged: Vec<Node> = Vec::new();
        for values in wanted {
            let mine = ours_by.take(&mut ours, &values);
            let patch = match theirs_by.take(&mut theirs, &values) {
                // If a patch's element asks for replacement, the original keeps its own element.
                Some(node) if mine.is_some() && node.get("$patch").and_then(Node::text) == Some("replace") => {
                    merged.extend(mine);
                    continue;
                }
                Some(node) => Patch::Other(node),
                None if same => Patch::Same,
                None => Patch::None,
            };
            let Some(mut element) = self.walk(mine, patch, of)? else {
                continue;
            };
            if element.is_empty_map() {
                continue;
            }
            for (key, value) in keys.iter().zip(&values).filter(|(_, v)| !v.is_empty()) {
                if element.get(key).is_none() {
                    element.set(key, Node::tagged(value.clone(), super::plain_tag(value)));
                }
            }
            merged.push(element);
        }
        // Of a list too long for the original's way, what repeats a key stays behind everything else.
        merged.extend(ours.into_iter().flatten());
        Ok(merged)
    }
}

fn deeper(key: &str, error: &str) -> String {
    match error.split_once(": ") {
        Some((path, rest)) if path.starts_with("in ") => format!("in {key}.{}: {rest}", &path[3..]),
        _ => format!("in {key}: {error}"),
    }
}

/// Finds the first element, not taken yet, that has the given key values.
struct Finder {
    by_values: std::collections::HashMap<Vec<Arc<str>>, Vec<usize>>,
}

impl Finder {
    fn new(items: &[Option<Node>], keys: &[Arc<str>]) -> Self {
        let mut by_values: std::collections::HashMap<Vec<Arc<str>>, Vec<usize>> = std::collections::HashMap::new();
        for (i, item) in items.iter().enumerate().rev() {
            if let Some(item) = item {
                by_values.entry(values_of(item, keys)).or_default().push(i);
            }
        }
        Self { by_values }
    }

    fn take(&mut self, items: &mut [Option<Node>], values: &[Arc<str>]) -> Option<Node> {
        let index = self.by_values.get_mut(values).and_then(Vec::pop)?;
        items[index].take()
    }
}

pub(super) fn values_of(item: &Node, keys: &[Arc<str>]) -> Vec<Arc<str>> {
    keys.iter()
        .map(|key| match item.get(key).map(|n| &n.content) {
            Some(Content::Scalar(s)) if s.tag != Tag::Null => s.text.clone(),
            _ => "".into(),
        })
        .collect()
}

/// Merges lists of scalars (finalizers): the patch's first, then the others, each once.
fn primitives(ours: Vec<Node>, theirs: Vec<Node>) -> Vec<Node> {
    let mut seen = HashSet::new();
    let all = theirs.into_iter().chain(ours);
    all.filter(|n| n.text().is_none_or(|text| seen.insert(text.to_owned())))
        .collect()
}

/// Takes the directive out of a patch's map or list.
fn directive(node: &mut Node) -> Result<Directive, String> {
    const KEY: &str = "$patch";
    let read = |text: Option<&str>| match text {
        Some("delete") => Ok(Directive::Delete),
        Some("replace") => Ok(Directive::Replace),
        Some("merge") => Ok(Directive::Merge),
        other => Err(format!(
            "$patch: {} is not known; use delete, replace or merge",
            other.unwrap_or("(no text)")
        )),
    };
    match &mut node.content {
        Content::Map(_) => match node.get(KEY).map(|n| read(n.text())) {
            None => Ok(Directive::Merge),
            Some(found) => {
                let found = found?;
                node.remove(KEY);
                Ok(found)
            }
        },
        Content::Seq(items) => {
            // Only an element that is nothing but the directive speaks for the list.
            let first = items
                .iter()
                .find(|n| n.get(KEY).is_some())
                .filter(|n| n.entries().len() == 1);
            match first.and_then(|n| n.get(KEY)).map(|n| n.text().map(str::to_owned)) {
                None => Ok(Directive::Merge),
                Some(text) => {
                    let found = read(text.as_deref())?;
                    items.retain(|n| n.get(KEY).and_then(Node::text) != text.as_deref());
                    Ok(found)
                }
            }
        }
        Content::Scalar(_) => Ok(Directive::Merge),
    }
}

/// Where the keys of a patch's map are; a scan for a few, a table for many.
enum Index {
    Few,
    Many(std::collections::HashMap<Arc<str>, usize>),
}

impl Index {
    fn of(entries: &[Option<Entry>]) -> Self {
        if entries.len() <= 16 {
            return Self::Few;
        }
        Self::Many(
            entries
                .iter()
                .enumerate()
                .filter_map(|(i, e)| Some((e.as_ref()?.key.clone(), i)))
                .collect(),
        )
    }

    fn find(&self, entries: &[Option<Entry>], key: &str) -> Option<usize> {
        match self {
            Self::Few => entries.iter().position(|e| e.as_ref().is_some_and(|e| &*e.key == key)),
            Self::Many(table) => table.get(key).copied(),
        }
    }
}
