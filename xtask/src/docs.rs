//! `cargo xtask docs`: writes the reference pages under `docs/` from the provider's own schemas.
//!
//! The provider does the writing, so that a page cannot say what the schema does not; a test of the provider fails while the
//! committed pages are stale.

use crate::built::{Profile, Programs};
use crate::repository;
use anyhow::{Context, Result, bail, ensure};
use std::process::Command;

/// Builds the provider and lets it write.
///
/// # Errors
/// When it cannot be built or cannot write.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(argument) = arguments.first() {
        bail!("`cargo xtask docs` takes no argument, and {argument:?} was given");
    }
    let provider = Programs::build(Profile::Debug)?.path("terraform-provider-myelin")?;
    let docs = repository::root().join("docs");
    let status = Command::new(provider)
        .arg("--docs")
        .arg(&docs)
        .status()
        .context("run the provider")?;
    ensure!(status.success(), "the provider could not write the pages");
    println!("wrote docs/index.md and docs/resources/");
    Ok(())
}
