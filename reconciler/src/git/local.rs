//! A revision of the repository in the current folder, for commands: read from its object store, never checked out.

use super::{GitError, Limits, repository::files_of};
use git2::Repository;
use myelin_engine::tree::{Tree, TreePath};
use std::path::Path;

/// The files of a revision.
#[derive(Debug)]
pub(crate) struct Revision {
    /// All files of the commit.
    pub(crate) tree: Tree,
    /// The folder that was named, inside the repository.
    pub(crate) folder: TreePath,
}

/// Reads a revision (a hash, a branch, a tag, `HEAD~1`) of the repository that a folder lies in.
///
/// # Errors
/// When there is no such repository or revision, or its files exceed a limit.
pub(crate) fn revision(folder: &Path, name: &str) -> Result<Revision, GitError> {
    let refused = |doing, error: &git2::Error| GitError::Refused {
        doing,
        url: folder.display().to_string(),
        said: error.message().to_owned(),
    };
    let store = Repository::discover(folder).map_err(|error| refused("looking for a repository around", &error))?;
    let commit = store
        .revparse_single(name)
        .and_then(|object| object.peel_to_commit())
        .map_err(|error| {
            let mut refusal = refused("looking for the revision in", &error);
            // What a pipeline meets first.
            if let (GitError::Refused { said, .. }, true) = (&mut refusal, store.is_shallow()) {
                said.push_str("; the clone is shallow: fetch more of its history (git fetch --unshallow)");
            }
            refusal
        })?;
    let unfit = |why: String| GitError::Unfit(format!("{}: {why}", folder.display()));
    let top = store
        .workdir()
        .ok_or_else(|| unfit("the repository has no files of its own (it is bare)".to_owned()))?;
    let real = |path: &Path| std::fs::canonicalize(path).map_err(|error| unfit(error.to_string()));
    let (top, real) = (real(top)?, real(folder)?);
    let inside = real
        .strip_prefix(&top)
        .ok()
        .and_then(Path::to_str)
        .and_then(|inside| TreePath::root().join(inside))
        .ok_or_else(|| unfit("it does not lie in the repository".to_owned()))?;
    Ok(Revision {
        tree: files_of(&store, &commit, Limits::default())?,
        folder: inside,
    })
}
