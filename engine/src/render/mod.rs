//! A folder of the source tree → objects, each with its file and line: as a kustomization if there is one, otherwise as
//! plain manifests. A function of the tree alone: no network, no environment, and nothing is executed. Neither the
//! meaning of values nor `${VARIABLE}` substitution belongs here.

mod fields;
mod kustomize;
mod manifests;

use crate::diagnostic::Diagnostics;
use crate::object::Object;
use crate::tree::{Found, Tree, TreePath};
use crate::yaml::Limits;

#[cfg(test)]
mod tests;

/// How to render.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Let kustomizations read files outside their own folder, anywhere in the tree
    /// (`--load-restrictor=LoadRestrictionsNone`).
    pub load_anywhere: bool,
    /// What one file may cost.
    pub limits: Limits,
}

/// The names under which a kustomization may be kept.
pub const KUSTOMIZATION_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

fn has_kustomization(tree: &Tree, folder: &TreePath) -> bool {
    KUSTOMIZATION_NAMES
        .iter()
        .filter_map(|name| folder.join(name))
        .any(|p| matches!(tree.find(&p), Ok(Found::File(_))))
}

/// Renders the kustomization in a folder of the tree, as `kustomize build` does; a folder without one is an error.
///
/// # Errors
/// Everything that is wrong with the input, each with its file and line.
pub fn render_kustomization(tree: &Tree, path: &TreePath, options: &Options) -> Result<Vec<Object>, Diagnostics> {
    match tree.find(path) {
        Ok(Found::Folder(folder)) => kustomize::render(tree, &folder, options),
        Ok(Found::File(_)) => {
            Err(crate::diagnostic::Diagnostic::error(format!("\"{}\" is a file, not a folder", tree.show(path))).into())
        }
        Err(e) => Err(crate::diagnostic::Diagnostic::error(e.to_string()).into()),
    }
}

/// Renders a folder or file of the tree: a kustomization if the folder has one; else its manifests, and those of its
/// subfolders, in the order of their names.
///
/// # Errors
/// Everything that is wrong with the input, each with its file and line.
pub fn render(tree: &Tree, path: &str, options: &Options) -> Result<Vec<Object>, Diagnostics> {
    let start = TreePath::root()
        .join(path)
        .ok_or_else(|| crate::diagnostic::Diagnostic::error(format!("\"{path}\" lies outside of the source tree")))?;
    match tree.find(&start) {
        Ok(Found::File(file)) => manifests::file(tree, &file, options),
        Ok(Found::Folder(folder)) if has_kustomization(tree, &folder) => kustomize::render(tree, &folder, options),
        Ok(Found::Folder(folder)) => manifests::folder(tree, &folder, options),
        Err(e) => Err(crate::diagnostic::Diagnostic::error(e.to_string()).into()),
    }
}
