//! `myelin plan DIR`: what an apply would change. The same text and hash as in Terraform and in the reconciler.

use super::exit;
use super::local::{LocalArguments, told};
use crate::access::ClusterArguments;
use crate::deployment::deployment;
use clap::{Args, ValueEnum};
use myelin_engine::observe::DryRun;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For a terminal.
    Text,
    /// For a comment on a pull request.
    Markdown,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let commit = arguments.local.wanted()?;
    let cluster = if arguments.cluster.is_given() {
        Some(arguments.cluster.connect().await?)
    } else {
        eprintln!(
            "warning: no cluster is named, so everything is planned as new (--kubeconfig, KUBECONFIG or --in-cluster)"
        );
        None
    };
    let planned = deployment(
        cluster.as_deref(),
        &commit,
        &arguments.local.owner(),
        DryRun::Changes,
        true,
    )
    .await
    .map_err(told)?;
    match arguments.output {
        Output::Text => println!("{planned}"),
        Output::Markdown => println!("### Plan · `{}`\n\n```\n{planned}\n```", planned.hash),
    }
    if planned.diagnostics().has_errors() {
        return Ok(exit::FAILED);
    }
    Ok(if planned.is_empty() { exit::OK } else { exit::CHANGES })
}
