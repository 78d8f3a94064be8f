//! Applies patches: strategic merge by the patch's own name or a selection, JSON patches by a selection.

use super::generate::Problem;
use super::jsonpatch::{self, Operation};
use super::kustomization::Patch;
use super::load::{self, Loader};
use super::reader::Located;
use super::resmap::ResMap;
use super::resource::Resource;
use super::schema::Schema;
use super::selector::Selector;
use super::smp;
use crate::tree::TreePath;
use crate::yaml::{At, Content, Node, Profile};

/// What a text turned out to be.
pub(super) enum Loaded {
    Merge(Vec<Resource>),
    Json(Vec<Operation>),
}

/// What a merge patch may change besides the content.
#[derive(Debug, Clone, Copy, Default)]
struct Allow {
    name: bool,
    kind: bool,
}

/// Reads a text as resources to merge, or else as a JSON patch.
pub(super) fn read(loader: &Loader<'_>, text: &str, path: &TreePath, from: At) -> Result<Loaded, Problem> {
    let merge = loader
        .nodes(text, path, Profile::Kustomize)
        .map(|nodes| shifted(loader, nodes, path, from));
    let (nodes, at) = match merge {
        Ok(nodes) if !nodes.iter().any(Node::is_seq) => {
            let resources = load::resources(nodes)?;
            if resources.is_empty() {
                return Err(("the patch is empty".to_owned(), from));
            }
            return Ok(Loaded::Merge(resources));
        }
        Ok(nodes) => (
            loader.nodes(text, path, Profile::Settings),
            nodes.first().map_or(from, |n| n.at),
        ),
        Err(e) => (Err(e), from),
    };
    if text.starts_with('[') && serde_json::from_str::<serde_json::Value>(text).is_err() {
        return Err(("a JSON patch that starts with \"[\" must be JSON, with its names in quotes; or write it as a YAML list with dashes".to_owned(), at));
    }
    match &shifted(loader, nodes?, path, from)[..] {
        [one] if one.items().is_empty() && one.is_seq() => Err(("the patch is empty".to_owned(), at)),
        [one] => jsonpatch::read(one).map(Loaded::Json).map_err(|e| (e, at)),
        _ => Err(("a JSON patch is one document".to_owned(), at)),
    }
}

/// Gives the nodes of an inline text their positions in the file: line by line if the text is in the file unchanged
/// (`|`), otherwise where it begins. A text from a file of its own (`from` has no line) has the right positions
/// already.
fn shifted(loader: &Loader<'_>, mut nodes: Vec<Node>, path: &TreePath, from: At) -> Vec<Node> {
    if from.line > 0 {
        let literal = loader.tree.read(path).is_ok_and(|bytes| is_literal(&bytes, from));
        for node in &mut nodes {
            place_in(node, from, literal);
        }
    }
    nodes
}

fn place_in(node: &mut Node, from: At, literal: bool) {
    let place = |at: At| match (literal, at.line) {
        (true, 1..) => At {
            file: from.file,
            line: from.line.saturating_add(at.line),
            column: 0,
        },
        _ => from,
    };
    node.at = place(node.at);
    match &mut node.content {
        Content::Scalar(_) => {}
        Content::Seq(items) => items.iter_mut().for_each(|item| place_in(item, from, literal)),
        Content::Map(entries) => {
            for entry in entries {
                entry.at = place(entry.at);
                place_in(&mut entry.value, from, literal);
            }
        }
    }
}

/// Whether the text at a position is a block that is in the file line by line.
fn is_literal(file: &[u8], at: At) -> bool {
    let line = file.split(|byte| *byte == b'\n').nth(at.line as usize - 1);
    let start = line
        .and_then(|line| std::str::from_utf8(line).ok())
        .and_then(|line| line.chars().nth((at.column as usize).saturating_sub(1)));
    start == Some('|')
}

pub(super) fn load(loader: &Loader<'_>, patch: &Patch, file: &TreePath) -> Result<(Loaded, At), Problem> {
    match (&patch.path, &patch.patch) {
        (Some(named), None) => {
            let (text, path) = loader.text(named)?;
            Ok((
                read(loader, &text, &path, At::default()).map_err(|(e, at)| located(e, at, named))?,
                named.at,
            ))
        }
        (None, Some(inline)) => Ok((
            read(loader, inline.text.trim(), file, inline.at).map_err(|(e, at)| located(e, at, inline))?,
            inline.at,
        )),
        (Some(_), Some(_)) => Err(("a patch has a path or an inline patch, not both".to_owned(), patch.at)),
        (None, None) => Err(("a patch needs a path or an inline patch".to_owned(), patch.at)),
    }
}

fn located(error: String, at: At, named: &Located) -> Problem {
    if at.line > 0 {
        (error, at)
    } else {
        (format!("{}: {error}", named.text), named.at)
    }
}

/// One entry of `patches` or `patchesJson6902`.
pub(super) fn apply(
    resources: &mut ResMap,
    patch: &Patch,
    loaded: &Loaded,
    at: At,
    schema: &Schema,
) -> Result<(), Problem> {
    let option = |name: &str| patch.options.get(name).copied().unwrap_or(false);
    let allow = Allow {
        name: option("allowNameChange"),
        kind: option("allowKindChange"),
    };
    match loaded {
        Loaded::Json(operations) => {
            let Some(target) = &patch.target else {
                return Err(("a JSON patch needs a target".to_owned(), at));
            };
            json(resources, target, operations, patch.json_only).map_err(|e| (e, at))
        }
        Loaded::Merge(merges) => match (&patch.target, &merges[..]) {
            (None, _) => merges
                .iter()
                .try_for_each(|merge| by_name(resources, merge, allow, schema).map_err(|e| (e, at))),
            (Some(target), [merge]) => by_target(resources, target, merge, allow, schema).map_err(|e| (e, at)),
            (Some(_), _) => Err(("a patch with a target must hold one resource only".to_owned(), at)),
        },
    }
}

/// An entry of `patchesStrategicMerge`: merges into the one resource that has, or had, the patch's name. The original
/// treats it like a patch with a target, which turns labels and annotations into texts, so that a null removes none of
/// them.
pub(super) fn merge_by_name(resources: &mut ResMap, merge: &Resource, schema: &Schema) -> Result<(), String> {
    let mut merge = merge.clone();
    merge.make_texts("labels");
    merge.make_texts("annotations");
    by_name(resources, &merge, Allow::default(), schema)
}

fn by_name(resources: &mut ResMap, merge: &Resource, allow: Allow, schema: &Schema) -> Result<(), String> {
    let id = merge.id();
    match resources.with_any_id(&id)[..] {
        [index] => {
            let keep = merge_into(&mut resources.all[index], merge.node.clone(), allow, schema)?;
            if !keep {
                resources.all.remove(index);
            }
            Ok(())
        }
        [] => Err(format!(
            "the patch is for {id} ({}), which is not there; check its apiVersion, kind, name and namespace, or give the patch a target",
            merge.api_version()
        )),
        ref many => Err(format!(
            "the patch is for {id}, and {} resources have or had that name",
            many.len()
        )),
    }
}

/// Refuses a patch that comes to too much for the resources that it is for.
fn affordable(weight: usize, resources: usize) -> Result<(), String> {
    if weight.saturating_mul(resources) <= super::MOST_COPIED {
        return Ok(());
    }
    Err(format!(
        "the patch would put more than {} values into {resources} resources; make it or its target smaller",
        super::MOST_COPIED
    ))
}

fn by_target(
    resources: &mut ResMap,
    target: &Selector,
    merge: &Resource,
    allow: Allow,
    schema: &Schema,
) -> Result<(), String> {
    let mut patch = merge.clone();
    patch.make_texts("labels");
    patch.make_texts("annotations");
    let mut failed = None;
    let selected: Vec<bool> = resources.all.iter().map(|r| target.selects(r)).collect();
    affordable(patch.node.weight(), selected.iter().filter(|s| **s).count())?;
    let mut selected = selected.into_iter();
    resources.all.retain_mut(|resource| {
        if !selected.next().unwrap_or(false) || failed.is_some() {
            return true;
        }
        let mut node = patch.node.clone();
        super::resource::set_text(&mut node, "apiVersion", resource.api_version());
        merge_into(resource, node, allow, schema).unwrap_or_else(|e| {
            failed = Some(e);
            true
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    match resources.conflict() {
        Some((first, _)) => Err(format!("after the patch there are two resources {}", first.id())),
        None => Ok(()),
    }
}

/// Whether the resource is still there.
fn merge_into(resource: &mut Resource, patch: Node, allow: Allow, schema: &Schema) -> Result<bool, String> {
    let (kind, name, namespace) = (
        resource.kind().to_owned(),
        resource.name().to_owned(),
        resource.namespace().to_owned(),
    );
    if allow.name || allow.kind {
        resource.remember_name();
    }
    let of = schema.kind(resource.api_version(), &kind);
    let shown = resource.show_history();
    let id = resource.id();
    let at = resource.node.at;
    let node = std::mem::replace(&mut resource.node, Node::null());
    let Some(merged) = smp::merge(node, patch, schema, of).map_err(|e| format!("patching {id}: {e}"))? else {
        return Ok(false);
    };
    resource.node = merged.at(at);
    resource.settle();
    if !resource.hide_history() && shown {
        resource.forget_history();
    }
    if resource.node.is_empty_map() {
        return Ok(false);
    }
    if !allow.kind {
        resource.set_kind(&kind);
    }
    if !allow.name {
        resource.set_name(&name);
    }
    resource.set_namespace(&namespace);
    Ok(true)
}

fn json(resources: &mut ResMap, target: &Selector, operations: &[Operation], json_only: bool) -> Result<(), String> {
    let selected: Vec<usize> = (0..resources.all.len())
        .filter(|i| target.selects(&resources.all[*i]))
        .collect();
    affordable(jsonpatch::weight(operations), selected.len())?;
    for index in selected {
        let resource = &mut resources.all[index];
        if !json_only {
            resource.remember_name();
        }
        let id = resource.id();
        // The original keeps a resource's history in annotations, so that the map exists for a patch to add to. Its
        // origin is lost with the annotations; everything else is put back.
        let shown = resource.show_history();
        let told = |e: String| format!("patching {id}: {e}");
        jsonpatch::apply(&mut resource.node, operations).map_err(told)?;
        if let Some(metadata) = resource.node.get("metadata").filter(|m| !m.is_map() && !m.is_null()) {
            return Err(told(format!("it makes {} of the metadata", metadata.kind_name())));
        }
        if !resource.hide_history() && shown {
            resource.forget_origin();
        }
        if shown {
            resource.hide_copied_history();
        }
        let node = std::mem::replace(&mut resource.node, Node::null());
        resource.node = jsonpatch::renewed(node).map_err(told)?;
        resource.sharing.end();
    }
    Ok(())
}
