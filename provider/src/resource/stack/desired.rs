//! What a configuration wants: the document, the files under its source, the objects.

use std::collections::{BTreeMap, BTreeSet};

use myelin_engine::desired::{Desired, desired};
use myelin_engine::document::UNKNOWN;
use myelin_engine::mask::MaskKey;
use myelin_engine::object::{Object, ObjectKey};
use myelin_engine::render::{self, render};
use myelin_engine::tree::{Tree, TreeLimits, TreePath};
use sha2::{Digest as _, Sha256};

use crate::diagnostic::{Diagnostic, Diagnostics, from_engine};
use crate::schema::Schema;
use crate::value::{Path, Value};

use super::document::{self, Operation};

/// What a configuration wants, and how that is shown.
#[derive(Debug)]
pub(super) struct Wanted {
    /// For the engine.
    pub(super) desired: Desired,
    /// The attribute `objects`.
    pub(super) objects: Value,
    /// The attribute `revision`.
    pub(super) revision: Value,
    /// Warnings.
    pub(super) warnings: Diagnostics,
}

/// Reads the document and the source and decides what the stack should be. A pure function of configuration and files.
///
/// # Errors
/// All problems at once.
pub(super) fn wanted(schema: &Schema, config: &Value, operation: Operation) -> Result<Wanted, Diagnostics> {
    let stack = document::stack(schema, config, operation)?;
    let (rendered, tree) = rendered(&stack.source)?;
    let desired = desired(&stack, &document::variables(config), rendered, &|file| tree.text(file))
        .map_err(|problems| document::told(schema, &problems))?;
    let warnings = document::told(schema, &desired.warnings);
    let canonical = desired.canonical(&MaskKey::of_identity(&stack.namespace, &stack.name));
    let implicit: BTreeSet<&ObjectKey> = desired.objects.iter().filter(|o| o.implicit).map(|o| &o.key).collect();
    let objects: BTreeMap<String, Value> = canonical
        .into_iter()
        // The namespace that the stack makes for itself is the stack's only if it was not there before: a fact of the
        // cluster, which a planned value may not depend on.
        .filter(|(key, _)| !implicit.contains(key))
        .map(|(key, json)| (key.to_string(), json.map_or(Value::UNKNOWN, Value::string)))
        .collect();
    // A name that is not known yet makes the whole map unknown: its keys are.
    let objects = if objects.keys().any(|key| key.contains(UNKNOWN)) {
        Value::UNKNOWN
    } else {
        Value::Map(objects)
    };
    let revision = revision(&objects);
    Ok(Wanted {
        desired,
        objects,
        revision,
        warnings,
    })
}

/// Names a set of objects: the hash of their keys and canonical JSON.
fn revision(objects: &Value) -> Value {
    let Some(entries) = objects.as_map().filter(|_| objects.is_wholly_known()) else {
        return Value::UNKNOWN;
    };
    let mut hash = Sha256::new();
    for (key, json) in entries {
        for part in [key.as_str(), json.as_str().unwrap_or_default()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    Value::string(myelin_engine::mask::hex(&hash.finalize()[..8]))
}

/// The objects under a source, and the files that they come from. Paths are relative to the working folder, as everywhere in
/// Terraform; problems and components see them relative to the source.
fn rendered(source: &str) -> Result<(Vec<Object>, Tree), Diagnostics> {
    let refuse = |why: String| {
        let problem = Diagnostic::error(format!("The source {source} cannot be read"), why);
        Diagnostics::from(problem.at(Path::attribute("source")))
    };
    let absolute = std::path::absolute(source).map_err(|error| refuse(error.to_string()))?;
    let kind = std::fs::metadata(&absolute).map_err(|error| {
        refuse(format!(
            "{}: {error}.\n\nIt is relative to the folder that Terraform runs in; a module's own files begin with \
             ${{path.module}}.",
            absolute.display()
        ))
    })?;
    // A kustomization may build on others outside its own folder, so the tree is the whole file system. These are the
    // files of the user who runs Terraform; the renderer restricts files (not folders) to the kustomization's own.
    let Some(root) = absolute.ancestors().last() else {
        return Err(refuse("it has no root".to_owned()));
    };
    let inside = absolute.strip_prefix(root).ok().and_then(|path| path.to_str());
    let inside = inside.ok_or_else(|| refuse("its name is not Unicode".to_owned()))?;
    let place = TreePath::root()
        .join(inside)
        .ok_or_else(|| refuse("it leads out of the file system".to_owned()))?;
    let folder = if kind.is_dir() {
        Some(place.clone())
    } else {
        place.parent()
    };
    let tree = Tree::open(root, TreeLimits::default())
        .map_err(|error| refuse(error.to_string()))?
        .shown_from(folder.unwrap_or_else(TreePath::root));
    match render(&tree, place.as_str(), &render::Options::default()) {
        Ok(objects) => Ok((objects, tree)),
        Err(problems) => Err(problems.iter().map(|problem| from_engine(problem, |_| None)).collect()),
    }
}
