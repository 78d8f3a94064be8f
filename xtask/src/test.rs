//! `cargo xtask test`: everything that must hold before a change lands, cheapest first.
//!
//! Each stage runs even if an earlier one failed, so that one run reports everything. `cargo test` comes last and its
//! output is left unchanged: the counts at the end are cargo's own. With one profile and one feature set, nothing is
//! built twice.

use crate::stage::{self, Ended};
use crate::{examples, house, infrastructure, markdown, quoted, workflows};
use anyhow::{Result, bail};
use std::process::Command;

/// Runs all stages.
///
/// # Errors
/// When a stage failed or a tool it needs is absent.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(argument) = arguments.first() {
        bail!("`cargo xtask test` takes no argument; {argument:?} may be meant for `cargo test`");
    }
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    tool_is_there(&cargo)?;
    let stages = [
        stage::quiet("format", &cargo, &["fmt", "--all", "--check"])?,
        stage::check("house rules", house::problems)?,
        stage::check("documentation", || {
            Ok([markdown::problems()?, quoted::problems()?].concat())
        })?,
        stage::check("examples", examples::problems)?,
        stage::check("workflows", workflows::problems)?,
        stage::check("infrastructure", infrastructure::problems)?,
        stage::quiet(
            "licences",
            &cargo,
            &["deny", "--log-level", "error", "check", "licenses", "bans", "sources"],
        )?,
        stage::quiet(
            "lints",
            &cargo,
            &[
                "clippy",
                "--quiet",
                "--workspace",
                "--all-targets",
                "--locked",
                "--",
                "-D",
                "warnings",
            ],
        )?,
        stage::loud(
            "tests",
            &cargo,
            &["test", "--quiet", "--workspace", "--locked", "--no-fail-fast"],
        )?,
    ];
    if stages.contains(&Ended::Failed) {
        bail!("not everything holds; see the stages marked FAIL and cargo's report");
    }
    Ok(())
}

/// cargo-deny is a separate program; without it the licence check would be skipped, and a skipped check is not green.
fn tool_is_there(cargo: &str) -> Result<()> {
    let there = Command::new(cargo)
        .args(["deny", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !there {
        bail!("cargo-deny is not installed; `cargo install cargo-deny --locked` installs it");
    }
    Ok(())
}
