//! `myelin hand-over NAMESPACE/STACK --to git:SOURCE|terraform`: changes who drives a stack, or with `--token` a token. Only the record's owner changes; while
//! git owns a stack `terraform plan` is empty and says so, and the other way round a source refuses to touch it.

use super::exit;
use crate::access::ClusterArguments;
use anyhow::{Context as _, bail};
use clap::Args;
use myelin_engine::mask::hex;
use myelin_engine::record::{Owner, StackId, hand_over, read};
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The stack.
    #[arg(value_name = "NAMESPACE/STACK")]
    stack: StackId,
    /// The name is that of a token that is a document of its own.
    #[arg(long)]
    token: bool,
    /// Its new owner: `terraform`, or `git:` and the name of a source.
    #[arg(long, value_name = "OWNER")]
    to: Owner,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let cluster = arguments.cluster.connect().await?;
    let (to, cancel) = (&arguments.to, CancellationToken::new());
    let stack = if arguments.token {
        &StackId::of_token(&arguments.stack.namespace, &arguments.stack.name)
    } else {
        &arguments.stack
    };
    let title = stack.title();
    let stored = read(&*cluster, stack, &cancel)
        .await
        .with_context(|| format!("cannot read the record of {title}"))?;
    let Some(stored) = stored else {
        bail!("there is no {title} in this cluster");
    };
    let from = stored.record.owner;
    if from == *to {
        println!("{title} is {to}'s already");
        return Ok(exit::OK);
    }
    let run = hex(&rand::random::<[u8; 8]>());
    hand_over(&*cluster, stack, &from, to, &run, &cancel)
        .await
        .with_context(|| format!("cannot give {title} from {from} to {to}"))?;
    println!("{title} was {from}'s and is {to}'s now");
    match to {
        Owner::Git(source) => {
            println!("next: a document for it under source {source}; `terraform plan` is empty from now on");
        }
        Owner::Terraform => {
            println!("next: remove its document from git; `terraform plan` shows the difference, if any");
        }
    }
    Ok(exit::OK)
}
