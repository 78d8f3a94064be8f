//! `myelin hand-over NAMESPACE/STACK --to git:SOURCE|terraform`: changes the owner of a stack, with `--token` of a
//! token, or with `--pool` of a pool of nodes, whose owner is a tag in EC2. Only the owner changes. While git owns a
//! stack, `terraform plan` is empty and says so; while Terraform owns it, a source refuses to touch it.
//!
//! A source is known by what it has reported in the cluster. If other sources have reported and this one has not, the
//! name is taken for a mistake: nobody would drive the stack. If none has reported, or the reports cannot be read, the
//! name is accepted with a warning that it was not checked.

use super::control::unknown;
use super::exit;
use super::local::told;
use crate::access::ClusterArguments;
use crate::control::{self, NAMESPACE};
use crate::pools;
use anyhow::{Context as _, bail};
use clap::Args;
use myelin_engine::cluster::Cluster;
use myelin_engine::fleet::PoolId;
use myelin_engine::mask::hex;
use myelin_engine::record::{Owner, StackId, hand_over, read};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The stack.
    #[arg(value_name = "NAMESPACE/STACK")]
    stack: StackId,
    /// The name is that of a token that is a document of its own.
    #[arg(long)]
    token: bool,
    /// CLUSTER/NAME of a pool of nodes. No Kubernetes cluster is needed for it.
    #[arg(long, conflicts_with = "token")]
    pool: bool,
    /// Its new owner: `terraform`, or `git:` and the name of a source.
    #[arg(long, value_name = "OWNER")]
    to: Owner,
    /// Namespace of the reconciler's own objects, where sources report.
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    if arguments.pool {
        return pool(arguments).await;
    }
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
    is_source(to, Ok(Arc::clone(&cluster)), &arguments.namespace).await?;
    let run = hex(&rand::random::<[u8; 8]>());
    hand_over(&*cluster, stack, &from, to, &run, &cancel)
        .await
        .with_context(|| format!("cannot give {title} from {from} to {to}"))?;
    println!("{title} was {from}'s and is {to}'s now");
    say_next(to);
    Ok(exit::OK)
}

async fn pool(arguments: &Arguments) -> anyhow::Result<u8> {
    let id = PoolId {
        cluster: arguments.stack.namespace.clone(),
        name: arguments.stack.name.clone(),
    };
    is_source(&arguments.to, arguments.cluster.connect().await, &arguments.namespace).await?;
    match pools::hand_over(&id, &arguments.to).await.map_err(told)? {
        Some(from) if from == arguments.to => println!("pool {id} is {from}'s already"),
        Some(from) => println!("pool {id} was {from}'s and is {}'s now", arguments.to),
        None => println!("pool {id} was nobody's and is {}'s now", arguments.to),
    }
    say_next(&arguments.to);
    Ok(exit::OK)
}

/// Refuses a source that nobody runs, as far as the cluster tells which there are; else says that it was not checked.
async fn is_source(to: &Owner, cluster: anyhow::Result<Arc<dyn Cluster>>, namespace: &str) -> anyhow::Result<()> {
    let Owner::Git(source) = to else {
        return Ok(());
    };
    let unchecked = match cluster {
        Err(error) => format!("{error:#}"),
        Ok(cluster) => match control::all(&*cluster, namespace).await {
            Ok(mut all) => {
                all.retain(|_, (_, status)| !status.state.is_empty());
                if all.contains_key(source) {
                    return Ok(());
                }
                if !all.is_empty() {
                    bail!(
                        "{}; nothing was changed. A new source reports as soon as `myelin run` has it",
                        unknown(source, namespace, all.keys())
                    );
                }
                format!("no source has reported in namespace {namespace} yet")
            }
            Err(error) => format!("the sources cannot be read: {error}"),
        },
    };
    eprintln!(
        "warning: whether there is a source {source} was not checked ({unchecked}); nobody drives this until `myelin run` \
         has one of that name"
    );
    Ok(())
}

fn say_next(to: &Owner) {
    match to {
        Owner::Git(source) => {
            println!("next: a document for it under source {source}; `terraform plan` is empty from now on");
        }
        Owner::Terraform => {
            println!("next: remove its document from git; `terraform plan` shows the difference, if any");
        }
    }
}
