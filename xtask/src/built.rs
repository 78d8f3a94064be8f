//! Builds the workspace's programs, and knows their paths.

use crate::repository;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::process::Command;

/// How the programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// As the tests build them: what `cargo test` has built is not built again.
    Debug,
    /// As they are released: what a measurement is taken of.
    Release,
}

/// The workspace's programs of one profile.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Builds every program of the workspace; cargo prints its progress.
    ///
    /// # Errors
    /// When cargo fails.
    pub(crate) fn build(profile: Profile) -> Result<Self> {
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(cargo);
        command
            .args(["build", "--workspace", "--bins", "--locked"])
            .current_dir(repository::root());
        if profile == Profile::Release {
            command.arg("--release");
        }
        let status = command.status().context("run cargo build")?;
        ensure!(status.success(), "the workspace does not build");
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository::root().join("target"), PathBuf::from);
        Ok(Self {
            folder: target.join(if profile == Profile::Release {
                "release"
            } else {
                "debug"
            }),
        })
    }

    /// The path of one of them.
    ///
    /// # Errors
    /// When the workspace has no such program.
    pub(crate) fn path(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if !path.is_file() {
            bail!("{} was not built", path.display());
        }
        Ok(path)
    }
}
