//! `cargo xtask docs`: writes the reference pages under `docs/` from the provider's schemas, and the JSON Schemas of
//! the documents under `schemas/` from their reader.
//!
//! The provider and `myelin` do the writing, so that a page cannot differ from the schema. Tests of both fail while the
//! committed files are stale.

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
    let programs = Programs::build(Profile::Debug)?;
    let provider = programs.path("terraform-provider-myelin")?;
    let docs = repository::root().join("docs");
    let status = Command::new(provider)
        .arg("--docs")
        .arg(&docs)
        .status()
        .context("run the provider")?;
    ensure!(status.success(), "the provider could not write the pages");
    let schemas = repository::root().join("schemas");
    let status = Command::new(programs.path("myelin")?)
        .args(["schema", "--write"])
        .arg(&schemas)
        .status()
        .context("run myelin")?;
    ensure!(status.success(), "myelin could not write the schemas");
    println!("wrote the reference under docs/ and the JSON Schemas under schemas/");
    Ok(())
}
