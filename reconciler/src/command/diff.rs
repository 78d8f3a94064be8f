//! `myelin diff DIR`: the difference between cluster and documents, line by line like `kubectl diff`, computed by dry
//! runs on the server. Exit code 2 if there is a difference.

use super::exit;
use super::local::{LocalArguments, told};
use crate::access::ClusterArguments;
use crate::deployment::deployment;
use crate::identity::Identities;
use crate::output::{Colour, write};
use crate::report::diff;
use clap::Args;
use myelin_engine::observe::DryRun;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// A revision of the repository that contains DIR, instead of the files on disk.
    #[arg(long, value_name = "REV")]
    rev: Option<String>,
    /// Only drift: what others changed in what the stacks set.
    #[arg(long)]
    drift: bool,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let commit = match &arguments.rev {
        Some(rev) => arguments.local.wanted_at(rev)?,
        None => arguments.local.wanted()?,
    };
    let cluster = arguments.cluster.connect().await?;
    let owner = arguments.local.owner();
    let planned = deployment(
        Some(&cluster),
        Some(&Identities::Person(cluster.clone())),
        &commit,
        &owner,
        DryRun::Changes,
        true,
    )
    .await
    .map_err(told)?;
    let text = diff(&planned, arguments.drift, Colour::of_stdout());
    write(&text)?;
    let problems = planned.diagnostics();
    for problem in problems.iter() {
        eprintln!("{problem}");
    }
    if problems.has_errors() {
        return Ok(exit::FAILED);
    }
    Ok(if text.is_empty() { exit::OK } else { exit::CHANGES })
}
