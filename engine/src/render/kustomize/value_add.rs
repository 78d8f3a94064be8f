//! ValueAddTransformer: writes one text into a field of many resources, as the whole value or as one part of a file
//! path.

use super::fieldspec;
use super::load::Loader;
use super::plain_tag;
use super::reader::{Located, Reader};
use super::resmap::ResMap;
use super::resource::Resource;
use super::selector::Selector;
use crate::diagnostic::Diagnostics;
use crate::yaml::{At, Content, Entry, Node, Profile, Tag};

#[derive(Debug, Clone)]
pub(super) struct ValueAdd {
    value: String,
    targets: Vec<Target>,
}

#[derive(Debug, Clone)]
struct Target {
    at: At,
    select: Option<Selector>,
    path: Vec<String>,
    /// Which part of the file path the value becomes, from 1; none replaces the whole field.
    position: Option<usize>,
}

impl ValueAdd {
    /// Reads the fields of the transformer. Its value is by default the name of the kustomization's folder.
    pub(super) fn read(r: &mut Reader<'_>, loader: &Loader<'_>) -> Self {
        let at = r.at();
        let value = r.text("value").trim().to_owned();
        let mut targets = r.list("targets", "a target", Target::read);
        if let Some(named) = r.located("targetFilePath").filter(|l| !l.text.is_empty()) {
            match shared_targets(&named, loader) {
                Ok(more) => targets.extend(more),
                Err(problems) => r.problems(problems),
            }
        }
        if targets.is_empty() {
            r.problem(at, "a ValueAddTransformer needs at least one target");
        }
        let value = if value.is_empty() {
            loader.root.name().to_owned()
        } else {
            value
        };
        if value.is_empty() {
            r.problem(at, "a ValueAddTransformer in the root of the source tree needs a value");
        }
        Self { value, targets }
    }

    pub(super) fn apply(&self, resources: &mut ResMap) -> Result<(), (String, At)> {
        for target in &self.targets {
            for resource in &mut resources.all {
                if target.select.as_ref().is_none_or(|s| s.selects(resource)) {
                    self.set(resource, target).map_err(|e| (e, target.at))?;
                    resource.settle();
                }
            }
        }
        Ok(())
    }

    fn set(&self, resource: &mut Resource, target: &Target) -> Result<(), String> {
        let about = |e: String, resource: &Resource| {
            format!("adding a value to {} of {}: {e}", target.path.join("/"), resource.id())
        };
        let found = find_or_make(&mut resource.node, &target.path);
        let node = match found {
            Ok(Some(node)) => node,
            Ok(None) => return Ok(()),
            Err(e) => return Err(about(e, resource)),
        };
        let kind = node.kind_name();
        let Content::Scalar(scalar) = &mut node.content else {
            return Err(about(format!("expected a scalar, found {kind}"), resource));
        };
        let text = match target.position {
            None => self.value.clone(),
            Some(position) => with_part(&scalar.text, position, &self.value),
        };
        scalar.tag = plain_tag(&text);
        scalar.text = text.into();
        node.moved_to(target.at);
        Ok(())
    }
}

fn shared_targets(named: &Located, loader: &Loader<'_>) -> Result<Vec<Target>, Diagnostics> {
    let tell = |problem| Diagnostics::from(super::plugins::tell(loader, problem));
    let (text, path) = loader.text(named).map_err(tell)?;
    let nodes = loader.nodes(&text, &path, Profile::Settings).map_err(tell)?;
    let mut problems = Diagnostics::new();
    let mut all = Vec::new();
    for node in &nodes {
        let what = "a file of targets";
        let more = Reader::known(node, loader.tree, &mut problems, what, |r| {
            r.list("targets", "a target", Target::read)
        });
        all.extend(more);
    }
    problems.or(all).map(|(all, _)| all)
}

impl Target {
    fn read(r: &mut Reader<'_>) -> Self {
        let at = r.at();
        let select = r.inner("selector", "a target's selector", Selector::read);
        let path = r.text("fieldPath");
        if path.is_empty() {
            r.problem(at, "a target needs a fieldPath");
        }
        let position = r.integer("filePathPosition").unwrap_or(0);
        let position = usize::try_from(position).unwrap_or_else(|_| {
            r.problem(at, format!("filePathPosition counts from 1, and {position} is less"));
            0
        });
        Self {
            at,
            select,
            path: fieldspec::split(&path).into_iter().filter(|p| !p.is_empty()).collect(),
            position: (position > 0).then_some(position),
        }
    }
}

/// The node at a path, made where it is missing. Below null and past the end of a list nothing is made.
fn find_or_make<'a>(node: &'a mut Node, path: &[String]) -> Result<Option<&'a mut Node>, String> {
    let Some((part, rest)) = path.split_first() else {
        return Ok(Some(node));
    };
    if node.is_null() {
        return Ok(None);
    }
    let (kind, at) = (node.kind_name(), node.at);
    let made = if rest.is_empty() {
        Node::tagged("", Tag::Str)
    } else {
        Node::map()
    };
    match &mut node.content {
        Content::Seq(items) => {
            let index = place_in(items, part, made)?;
            items.get_mut(index).map_or(Ok(None), |item| find_or_make(item, rest))
        }
        Content::Map(entries) => {
            if part == "*" || part.starts_with('[') || part.parse::<usize>().is_ok() {
                return Err(format!("\"{part}\" needs a list, and there is a map"));
            }
            let index = entries.iter().position(|e| *e.key == **part).unwrap_or_else(|| {
                let value = match rest.first() {
                    Some(next) if next.starts_with('[') || next == "-" => Node::seq(),
                    _ => made,
                };
                entries.push(Entry {
                    key: part.as_str().into(),
                    at,
                    value: value.at(at),
                });
                entries.len() - 1
            });
            find_or_make(&mut entries[index].value, rest)
        }
        Content::Scalar(_) => Err(format!("there is {kind} where \"{part}\" is looked for")),
    }
}

/// The index of the element that a part of a path means; `[name=value]` makes it.
fn place_in(items: &mut Vec<Node>, part: &str, made: Node) -> Result<usize, String> {
    let length = items.len();
    if part == "-" {
        return length.checked_sub(1).ok_or_else(|| "the list is empty".to_owned());
    }
    if let Ok(index) = part.parse::<usize>() {
        return Ok(index);
    }
    let (name, value) = part
        .strip_prefix('[')
        .and_then(|p| p.strip_suffix(']'))
        .and_then(|p| p.split_once('='))
        .ok_or_else(|| {
            format!("there is a list where \"{part}\" is looked for; [name=value], an index or - chooses an element")
        })?;
    let text = |item: &Node| -> Option<String> {
        let node = if name.is_empty() { Some(item) } else { item.get(name) };
        node.and_then(Node::text).map(str::to_owned)
    };
    if let Some(index) = items.iter().position(|item| text(item).as_deref() == Some(value)) {
        return Ok(index);
    }
    let mut new = made;
    if name.is_empty() {
        new = Node::tagged(value, plain_tag(value));
    } else {
        if !new.is_map() {
            new = Node::map();
        }
        new.set(name, Node::tagged(value, plain_tag(value)));
    }
    items.push(new);
    Ok(length)
}

/// A file path with one more part, the `position`th from 1 or the last.
fn with_part(path: &str, position: usize, part: &str) -> String {
    let absolute = path.starts_with('/');
    let trimmed = path.trim_matches('/');
    let mut parts: Vec<&str> = if trimmed.is_empty() {
        Vec::new()
    } else {
        trimmed.split('/').filter(|p| !p.is_empty()).collect()
    };
    parts.insert((position - 1).min(parts.len()), part);
    format!("{}{}", if absolute { "/" } else { "" }, parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::with_part;

    #[test]
    fn a_part_goes_into_a_file_path_where_it_is_asked_for() {
        for (path, position, want) in [
            ("/a/b/c", 1, "/v/a/b/c"),
            ("a/b", 2, "a/v/b"),
            ("a/b/", 3, "a/b/v"),
            ("a/b", 4, "a/b/v"),
            ("", 1, "v"),
            ("", 2, "v"),
        ] {
            assert_eq!(with_part(path, position, "v"), want, "{path} {position}");
        }
    }
}
