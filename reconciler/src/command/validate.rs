//! `myelin validate DIR`: reports every error in documents and manifests that can be found without a cluster.

use super::local::LocalArguments;
use crate::deployment::{WantedCommit, WantedStack};
use anyhow::bail;
use clap::Args;
use myelin_engine::document::DocumentKind;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    local: LocalArguments,
}

pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let commit = arguments.local.wanted()?;
    for warning in commit.warnings.iter() {
        eprintln!("{warning}");
    }
    if commit.stacks.is_empty() && commit.pools.is_empty() {
        // A wrong folder must not look like a good one.
        bail!("no document of myelin.dev lies there: name the folder that holds them");
    }
    println!("{}: valid", summary(&commit));
    Ok(())
}

/// How much of what there is.
fn summary(commit: &WantedCommit) -> String {
    let is_token = |stack: &&WantedStack| stack.name.kind == DocumentKind::ProvisioningToken;
    let tokens = commit.stacks.iter().filter(is_token).count();
    let objects: usize = commit.stacks.iter().map(|stack| stack.desired.objects.len()).sum();
    let counts = [
        (commit.stacks.len() - tokens, "stack"),
        (objects, "object"),
        (tokens, "token"),
        (commit.pools.len(), "pool"),
    ];
    let there = counts.iter().filter(|(number, _)| *number > 0);
    let words: Vec<String> = there
        .map(|(number, what)| format!("{number} {what}{}", if *number == 1 { "" } else { "s" }))
        .collect();
    words.join(", ")
}
