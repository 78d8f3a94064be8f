//! `myelin validate DIR`: everything that can be wrong with documents and manifests, without a cluster.

use super::local::LocalArguments;
use clap::Args;

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
    let objects: usize = commit.stacks.iter().map(|stack| stack.desired.objects.len()).sum();
    println!("{} stacks, {objects} objects: valid", commit.stacks.len());
    Ok(())
}
