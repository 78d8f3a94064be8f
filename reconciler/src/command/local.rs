//! Documents in a folder on disk, for the commands that work without a repository.

use super::keys::KeyArguments;
use crate::deployment::{self, WantedCommit};
use crate::git;
use crate::pools::Earlier;
use crate::sops::Decryption;
use anyhow::Context as _;
use clap::Args;
use myelin_engine::diagnostic::Diagnostics;
use myelin_engine::record::Owner;
use myelin_engine::tree::{Tree, TreeLimits, TreePath};
use std::path::PathBuf;

/// Which documents, and for whom.
#[derive(Debug, Clone, Args)]
pub(crate) struct LocalArguments {
    /// Folder with the documents.
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Folder that sources may reach into: the repository. DIR itself if not given.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Name of the git source that owns the stacks.
    #[arg(long, value_name = "NAME", default_value = "git")]
    source: String,
    #[command(flatten)]
    keys: KeyArguments,
}

impl LocalArguments {
    /// The owner that records name.
    pub(crate) fn owner(&self) -> Owner {
        Owner::Git(self.source.clone())
    }

    /// Whether there may be pools that the folder does not name any more: when the environment names a region or a profile.
    pub(crate) fn may_have_pools(&self) -> Earlier {
        let names = ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"];
        let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        if names.iter().any(is_set) {
            Earlier::Perhaps
        } else {
            Earlier::Unlikely
        }
    }

    /// Reads and renders everything.
    ///
    /// # Errors
    /// All problems of all documents and manifests.
    pub(crate) fn wanted(&self) -> anyhow::Result<WantedCommit> {
        let root = self.root.as_ref().unwrap_or(&self.dir);
        let real =
            |path: &PathBuf| std::fs::canonicalize(path).with_context(|| format!("cannot open {}", path.display()));
        let (root, dir) = (real(root)?, real(&self.dir)?);
        let inside = dir
            .strip_prefix(&root)
            .ok()
            .and_then(|path| path.to_str())
            .with_context(|| format!("{} does not lie in {}", dir.display(), root.display()))?;
        let folder = TreePath::root().join(inside).context("the folder leads nowhere")?;
        let tree = Tree::open(&root, TreeLimits::default())?.opened_by(Decryption::with(&self.keys.choice()));
        let (_, wanted) = deployment::wanted(&tree, &folder).map_err(told)?;
        Ok(wanted)
    }

    /// Reads and renders a revision of the repository that contains the folder.
    ///
    /// # Errors
    /// When there is no such revision, or with all problems of its documents.
    pub(crate) fn wanted_at(&self, revision: &str) -> anyhow::Result<WantedCommit> {
        let found = git::revision(&self.dir, revision).with_context(|| format!("cannot read revision {revision}"))?;
        let tree = found.tree.opened_by(Decryption::with(&self.keys.choice()));
        let (_, wanted) = deployment::wanted(&tree, &found.folder).map_err(told)?;
        Ok(wanted)
    }
}

/// All problems as one error.
pub(crate) fn told(problems: Diagnostics) -> anyhow::Error {
    problems.into()
}
