//! From a folder of the source tree to objects, each with the file and line that it came from: kustomizations where there
//! is one, plain manifests where there is none. A function of the tree alone: no network, no environment, nothing is run.
//! What the values mean is others' business; so is `${VARIABLE}` substitution.

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
    /// Let kustomizations read files outside of their own folder, anywhere in the tree
    /// (`--load-restrictor=LoadRestrictionsNone`).
    pub load_anywhere: bool,
    /// What one file may cost.
    pub limits: Limits,
}

/// The names under which a kustomization may be kept.
pub const KUSTOMIZATION_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

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
        Ok(Found::Folder(folder)) => manifests::folder(tree, &folder, options),
        Err(e) => Err(crate::diagnostic::Diagnostic::error(e.to_string()).into()),
    }
}
