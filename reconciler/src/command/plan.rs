//! `myelin plan DIR`: what an apply would change, with the same text and hash as in Terraform and in the reconciler.
//! `--rev A..B` is for a pull request: what changes from one commit to another, judged by their rendered output alone.

use super::exit;
use super::local::{LocalArguments, told};
use crate::access::ClusterArguments;
use crate::deployment::{Deployment, deployment, from_to};
use crate::identity::Identities;
use crate::output::{Output as Form, write};
use crate::report::{View, markdown};
use anyhow::bail;
use clap::{Args, ValueEnum};
use myelin_engine::observe::DryRun;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// A revision of the repository that contains DIR, instead of the files on disk; or two, A..B: what B changes
    /// against A, without a cluster.
    #[arg(long, value_name = "REV|A..B")]
    rev: Option<String>,
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For a terminal.
    #[value(alias = "table")]
    Text,
    /// For a comment on a pull request.
    Markdown,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let planned = match arguments.rev.as_deref().and_then(|rev| rev.split_once("..")) {
        Some((before, after)) => {
            if before.is_empty() || after.is_empty() || after.starts_with('.') {
                bail!("--rev wants one revision or A..B, for example origin/main..HEAD");
            }
            let before = arguments.local.wanted_at(before)?;
            let after = arguments.local.wanted_at(after)?;
            from_to(&before, &after, &arguments.local.owner())
        }
        None => against_cluster(arguments).await?,
    };
    match arguments.output {
        Output::Text => write(&format!("{planned}\n"))?,
        Output::Markdown => write(&markdown(&planned))?,
        Output::Json => Form::Json.print(&View::of(&planned), |_| String::new())?,
        Output::Yaml => Form::Yaml.print(&View::of(&planned), |_| String::new())?,
    }
    if planned.diagnostics().has_errors() {
        return Ok(exit::FAILED);
    }
    Ok(if planned.is_empty() { exit::OK } else { exit::CHANGES })
}

async fn against_cluster(arguments: &Arguments) -> anyhow::Result<Deployment> {
    let mut commit = match &arguments.rev {
        Some(rev) => arguments.local.wanted_at(rev)?,
        None => arguments.local.wanted()?,
    };
    commit.had_pools = arguments.local.may_have_pools();
    let cluster = if arguments.cluster.is_given() {
        Some(arguments.cluster.connect().await?)
    } else {
        eprintln!(
            "warning: no cluster is named, so everything is planned as new (--kubeconfig, KUBECONFIG or --in-cluster)"
        );
        None
    };
    deployment(
        cluster.as_ref(),
        cluster.clone().map(Identities::Person).as_ref(),
        &commit,
        &arguments.local.owner(),
        DryRun::Changes,
        true,
    )
    .await
    .map_err(told)
}
