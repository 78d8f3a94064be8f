//! Replacements: copy a value from one field of one resource into fields of others.

use super::generate::Problem;
use super::id::Id;
use super::reader::{Located, Reader};
use super::resmap::ResMap;
use super::resource::Resource;
use super::selector::{Selector, anchored};
use crate::yaml::{At, Content, Entry, Node, Tag};

#[derive(Debug, Clone)]
pub(super) enum ReplacementEntry {
    Inline(Box<Replacement>),
    File(Located),
}

#[derive(Debug, Clone)]
pub(super) struct Replacement {
    at: At,
    source: Option<Source>,
    targets: Vec<Target>,
}

#[derive(Debug, Clone)]
struct Source {
    id: Id,
    field: String,
    options: Options,
}

#[derive(Debug, Clone)]
struct Target {
    select: Option<Selector>,
    reject: Vec<Selector>,
    fields: Vec<Located>,
    options: Options,
}

#[derive(Debug, Clone, Default)]
struct Options {
    delimiter: String,
    index: i64,
    create: bool,
}

const DEFAULT_FIELD: &str = "metadata.name";

impl Replacement {
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let source = r.inner("source", "a replacement's source", |r| {
            let id = Selector::read_exact(r);
            let field = r.text("fieldPath");
            let field = if field.is_empty() {
                DEFAULT_FIELD.to_owned()
            } else {
                field
            };
            Source {
                id,
                field,
                options: Options::read(r),
            }
        });
        let targets = r.list("targets", "a replacement's target", |r| Target {
            select: r.inner("select", "a target's selection", Selector::read),
            reject: r.list("reject", "a target's rejection", Selector::read),
            fields: r.texts("fieldPaths"),
            options: Options::read(r),
        });
        Self {
            at: r.at(),
            source,
            targets,
        }
    }

    /// Copies the value. `copied` counts what all replacements of a kustomization put into the resources.
    pub(super) fn apply(&self, resources: &mut ResMap, copied: &mut usize) -> Result<(), Problem> {
        let here = |e: String| (e, self.at);
        let Some(source) = &self.source else {
            return Err(here("a replacement needs a source and at least one target".to_owned()));
        };
        if self.targets.is_empty() {
            return Err(here("a replacement needs a source and at least one target".to_owned()));
        }
        let value = source.value(resources).map_err(here)?;
        for target in &self.targets {
            target.apply(resources, &value, self.at, copied).map_err(here)?;
        }
        Ok(())
    }
}

impl Options {
    fn read(r: &mut Reader<'_>) -> Self {
        r.inner("options", "a replacement's options", |r| {
            // The original reads it and does nothing with it.
            r.text("encoding");
            Self {
                delimiter: r.text("delimiter"),
                index: r.integer("index").unwrap_or(0),
                create: r.flag("create").unwrap_or(false),
            }
        })
        .unwrap_or_default()
    }
}

/// Every name that a resource has or had, today's first.
fn ids(resource: &Resource) -> Vec<Id> {
    std::iter::once(resource.id()).chain(resource.previous_ids()).collect()
}

impl Source {
    fn value(&self, resources: &ResMap) -> Result<Node, String> {
        let wanted = &self.id;
        let mut matched = resources
            .all
            .iter()
            .filter(|r| ids(r).iter().any(|id| id.is_selected_by(wanted)));
        let source = match (matched.next(), matched.next()) {
            (Some(one), None) => one,
            (None, _) => return Err(format!("the replacement's source {wanted} is not there")),
            (Some(a), Some(b)) => {
                return Err(format!(
                    "the replacement's source {wanted} could be {} or {}",
                    a.id(),
                    b.id()
                ));
            }
        };
        let path = split_path(&self.field);
        let found = lookup(&source.node, &path)?.filter(|n| !is_empty(n));
        let found = found.ok_or_else(|| format!("{} has no {} to take the value from", source.id(), self.field))?;
        if self.options.delimiter.is_empty() {
            return Ok(own(found));
        }
        let scalar = found.as_scalar().ok_or("a delimiter is only for texts and numbers")?;
        let parts: Vec<&str> = scalar.text.split(&self.options.delimiter).collect();
        let part = usize::try_from(self.options.index)
            .ok()
            .and_then(|i| parts.get(i))
            .ok_or_else(|| {
                format!(
                    "{} of {} has {} parts, and index {} is none of them",
                    self.field,
                    source.id(),
                    parts.len(),
                    self.options.index
                )
            })?;
        Ok(Node::tagged(*part, scalar.tag).at(found.at))
    }
}

/// A copy that shares nothing with what it is a copy of.
fn own(node: &Node) -> Node {
    let content = match &node.content {
        Content::Scalar(scalar) => Content::Scalar(scalar.clone()),
        Content::Seq(items) => Content::Seq(items.iter().map(own).collect()),
        Content::Map(entries) => {
            let entry = |e: &Entry| Entry {
                key: e.key.clone(),
                at: e.at,
                value: own(&e.value),
            };
            Content::Map(entries.iter().map(entry).collect())
        }
    };
    Node::new(content).at(node.at)
}

fn is_empty(node: &Node) -> bool {
    match &node.content {
        Content::Map(entries) => entries.is_empty(),
        Content::Seq(items) => items.is_empty(),
        Content::Scalar(s) => s.tag == Tag::Null,
    }
}

impl Target {
    fn apply(&self, resources: &mut ResMap, value: &Node, at: At, copied: &mut usize) -> Result<(), String> {
        let weight = value.weight();
        let Some(select) = &self.select else {
            return Err("a replacement's target must select resources".to_owned());
        };
        let fields: Vec<&str> = if self.fields.is_empty() {
            vec![DEFAULT_FIELD]
        } else {
            self.fields.iter().map(|f| f.text.as_str()).collect()
        };
        for resource in &mut resources.all {
            let ids = ids(resource);
            if !select.fits_texts(resource)
                || !ids.iter().any(|id| id.is_selected_by(&select.exact))
                || self.rejects(resource, &ids)
            {
                continue;
            }
            let id = resource.id();
            for field in &fields {
                let path = split_path(field);
                let found = each(
                    &mut resource.node,
                    &path,
                    self.options.create.then_some(value),
                    &mut |node| {
                        self.set(node, value)?;
                        node.moved_to(at);
                        *copied += if node.as_scalar().is_some() {
                            node.weight()
                        } else {
                            weight
                        };
                        if *copied > super::MOST_DOUBLED {
                            return Err(format!("replacements copy more than {} values", super::MOST_DOUBLED));
                        }
                        Ok(())
                    },
                )
                .map_err(|e| format!("replacing {field} of {id}: {e}"))?;
                if found == 0 {
                    let create = if self.options.create {
                        ""
                    } else {
                        "; options.create: true would make it"
                    };
                    return Err(format!("{id} has no {field} to replace{create}"));
                }
                resource.settle();
            }
        }
        Ok(())
    }

    /// Whether a resource is rejected, by its labels and annotations or by any name that it has or had.
    fn rejects(&self, resource: &Resource, ids: &[Id]) -> bool {
        self.reject.iter().any(|reject| {
            let by_texts = !(reject.labels.is_empty() && reject.annotations.is_empty()) && reject.fits_texts(resource);
            by_texts || (!reject.has_no_id() && ids.iter().any(|id| id.is_selected_by(&reject.exact)))
        })
    }

    fn set(&self, node: &mut Node, value: &Node) -> Result<(), String> {
        let mut new = value.text().unwrap_or_default().to_owned();
        if !self.options.delimiter.is_empty() {
            let old = node.text().ok_or("a delimiter is only for texts and numbers")?;
            let mut parts: Vec<&str> = old.split(&self.options.delimiter).collect();
            match usize::try_from(self.options.index) {
                Err(_) => parts.insert(0, &new),
                Ok(index) if index >= parts.len() => parts.push(&new),
                Ok(index) => parts[index] = &new,
            }
            new = parts.join(&self.options.delimiter);
        }
        match &mut node.content {
            // The field keeps its type: a number written over a text becomes text.
            Content::Scalar(scalar) => {
                match scalar.tag {
                    Tag::Blank if new.is_empty() => {}
                    Tag::Blank => scalar.tag = super::plain_tag(&new),
                    Tag::Null if super::plain_tag(&new) != Tag::Null => {
                        return Err(
                            "the field is null there and stays null; remove it, and let options.create make it"
                                .to_owned(),
                        );
                    }
                    tag @ (Tag::Int | Tag::Bool) if super::plain_tag(&new) != tag => {
                        let kind = if tag == Tag::Int {
                            "a whole number"
                        } else {
                            "true or false"
                        };
                        return Err(format!(
                            "{kind} stands there, and \"{new}\" is none; write the value in quotes there if it may be any text"
                        ));
                    }
                    _ => {}
                }
                scalar.text = new.as_str().into();
            }
            content => *content = value.content.clone(),
        }
        Ok(())
    }
}

impl Selector {
    /// The fields of a selector that are taken as they are.
    fn read_exact(r: &mut Reader<'_>) -> Id {
        Id {
            gvk: super::id::Gvk {
                group: r.text("group").into(),
                version: r.text("version").into(),
                kind: r.text("kind").into(),
            },
            name: r.text("name").into(),
            namespace: r.text("namespace").into(),
        }
    }
}

/// The parts of `a.b.[c=d.e].f\.g`. Brackets around dots without a `=` are only there to keep them together: `[example.com/x]`.
pub(super) fn split_path(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut open = false;
    let mut joined = false;
    // The original takes one dot in front of a path for nothing.
    for piece in path.strip_prefix('.').unwrap_or(path).split('.') {
        match parts.last_mut() {
            Some(last) if joined || open => {
                if joined {
                    last.pop();
                }
                last.push('.');
                last.push_str(piece);
            }
            _ => parts.push(piece.to_owned()),
        }
        let Some(last) = parts.last_mut() else { continue };
        joined = last.ends_with('\\');
        if open && last.ends_with(']') && !last.contains('=') {
            *last = last.trim_matches(['[', ']']).to_owned();
        }
        open = last.starts_with('[') && !last.ends_with(']');
    }
    parts
}

/// `[name=value]` as its two sides.
fn element(part: &str) -> Option<Result<(&str, &str), String>> {
    let inner = part.strip_prefix('[')?.strip_suffix(']')?;
    Some(
        inner
            .split_once('=')
            .ok_or_else(|| format!("{part} must have the form [field=value]")),
    )
}

/// The value at a path, if it is there.
fn lookup<'a>(node: &'a Node, path: &[String]) -> Result<Option<&'a Node>, String> {
    let mut node = node;
    for part in path.iter().map(|p| p.trim()).filter(|p| !p.is_empty()) {
        let next = if let Ok(index) = part.parse::<usize>() {
            match &node.content {
                Content::Seq(items) => items.get(index),
                _ => return Err(format!("{part} is an index, and there is {}", node.kind_name())),
            }
        } else if part == "-" {
            node.items().last()
        } else if let Some(element) = element(part) {
            let (name, value) = element?;
            node.items().iter().find(|item| {
                let text = if name.is_empty() {
                    item.text()
                } else {
                    item.get(name).and_then(Node::text)
                };
                text == Some(value)
            })
        } else if node.is_null() {
            None
        } else if node.is_map() {
            node.get(part)
        } else {
            return Err(format!("there is {} where \"{part}\" is looked for", node.kind_name()));
        };
        match next {
            Some(next) => node = next,
            None => return Ok(None),
        }
    }
    Ok(Some(node))
}

/// Calls `visit` on every value at a path, and returns their number. `create` is the value to be put there: with it,
/// missing fields are created.
fn each(
    node: &mut Node,
    path: &[String],
    create: Option<&Node>,
    visit: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<usize, String> {
    let Some((part, rest)) = path.split_first() else {
        visit(node)?;
        return Ok(1);
    };
    let part = part.as_str();
    if part.is_empty() && create.is_some() {
        return Err("a part of the path is empty".to_owned());
    }
    if let Ok(index) = part.parse::<usize>() {
        let items = list(node, part)?;
        if index == items.len()
            && let Some(value) = create
        {
            items.push(made(rest, value));
        }
        let length = items.len();
        let item = items
            .get_mut(index)
            .ok_or_else(|| format!("index {index} is asked for, and there are {length} elements"))?;
        return each(item, rest, create, visit);
    }
    if let Some(element) = element(part) {
        return in_elements(node, element?, rest, create, visit);
    }
    if part == "*" {
        let items = list(node, part)?;
        let mut found = 0;
        for item in items {
            found += each(item, rest, create, visit)?;
        }
        return Ok(found);
    }
    if node.is_null() {
        // The original makes what is below a null, and loses it.
        return Ok(usize::from(create.is_some()));
    }
    let at = node.at;
    let Content::Map(entries) = &mut node.content else {
        return Err(format!("there is {} where \"{part}\" is looked for", node.kind_name()));
    };
    let index = match (entries.iter().position(|e| &*e.key == part), create) {
        (Some(index), _) => index,
        (None, None) => return Ok(0),
        (None, Some(value)) => {
            entries.push(Entry {
                key: part.into(),
                at,
                value: made(rest, value).at(at),
            });
            entries.len() - 1
        }
    };
    each(&mut entries[index].value, rest, create, visit)
}

fn list<'a>(node: &'a mut Node, part: &str) -> Result<&'a mut Vec<Node>, String> {
    let kind = node.kind_name();
    match &mut node.content {
        Content::Seq(items) => Ok(items),
        _ => Err(format!("{part} needs a list, and there is {kind}")),
    }
}

/// What to make where the rest of a path goes on.
fn made(rest: &[String], value: &Node) -> Node {
    match rest.first() {
        Some(next) if next.parse::<usize>().is_ok() || next.starts_with('[') => Node::seq(),
        Some(_) => Node::map(),
        None => match &value.content {
            Content::Map(_) => Node::map(),
            Content::Seq(_) => Node::seq(),
            // It has no type yet, and takes that of its text.
            Content::Scalar(_) => Node::tagged("", Tag::Blank),
        },
    }
}

fn in_elements(
    node: &mut Node,
    (name, value): (&str, &str),
    rest: &[String],
    create: Option<&Node>,
    visit: &mut dyn FnMut(&mut Node) -> Result<(), String>,
) -> Result<usize, String> {
    let regex = regex::Regex::new(value)
        .or_else(|_| anchored(value))
        .map_err(|_| format!("{value} is not a regular expression"))?;
    let items = list(node, &format!("[{name}={value}]"))?;
    let mut found = 0;
    for item in items.iter_mut() {
        let fits = if name.is_empty() {
            item.text()
        } else {
            item.get(name).and_then(Node::text)
        };
        if fits.is_some_and(|text| regex.is_match(text.trim())) {
            found += if name.is_empty() {
                each(item, &[], create, visit)?
            } else {
                each(item, rest, create, visit)?
            };
        }
    }
    if found > 0 {
        return Ok(found);
    }
    let Some(_) = create else { return Ok(0) };
    let scalar = Node::tagged(value, super::plain_tag(value));
    let mut element = scalar.clone();
    if !name.is_empty() {
        element = Node::map();
        element.set(name, scalar);
    }
    items.push(element);
    let last = items.last_mut().expect("it was just added");
    each(last, if name.is_empty() { &[] } else { rest }, create, visit)
}

#[cfg(test)]
mod tests {
    use super::split_path;

    #[test]
    fn paths_split_at_dots_outside_of_brackets() {
        assert_eq!(
            split_path(r"spec.list.[name=a.b].x\.y"),
            ["spec", "list", "[name=a.b]", "x.y"]
        );
        assert_eq!(
            split_path("metadata.annotations.a\\.b/c"),
            ["metadata", "annotations", "a.b/c"]
        );
        assert_eq!(
            split_path("metadata.annotations.[a.b/c.d].[x]"),
            ["metadata", "annotations", "a.b/c.d", "[x]"]
        );
    }
}
