//! What people tell a source: `suspend`, `resume`, `reconcile`, `rollback`, `release`, `confirm`. All through the source's ConfigMap, so it works from anywhere that reaches the cluster.

use super::exit;
use super::wait::WaitArguments;
use crate::access::ClusterArguments;
use crate::control::{Board, Control, NAMESPACE};
use anyhow::{Context as _, bail};
use clap::Args;

/// Which source.
#[derive(Debug, Args)]
pub(crate) struct SourceArguments {
    /// Name of the source.
    #[arg(default_value = "git")]
    source: String,
    /// Namespace of the reconciler's own objects.
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
}

#[derive(Debug, Args)]
pub(crate) struct RollbackArguments {
    #[command(flatten)]
    source: SourceArguments,
    /// Commit to go back to; the source keeps it until `myelin release`.
    #[arg(long, value_name = "COMMIT")]
    to: String,
}

#[derive(Debug, Args)]
pub(crate) struct ConfirmArguments {
    /// Name of the source.
    source: String,
    /// Hash of the plan, as the refusal names it.
    hash: String,
    /// Namespace of the reconciler's own objects.
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,
    #[command(flatten)]
    wait: WaitArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(crate) async fn suspend(arguments: &SourceArguments) -> anyhow::Result<u8> {
    tell(arguments, "suspended", |control| control.suspended = true).await
}

pub(crate) async fn resume(arguments: &SourceArguments) -> anyhow::Result<u8> {
    tell(arguments, "resumed", |control| control.suspended = false).await
}

pub(crate) async fn release(arguments: &SourceArguments) -> anyhow::Result<u8> {
    tell(arguments, "follows its branch again", |control| control.hold = None).await
}

pub(crate) async fn reconcile(arguments: &SourceArguments) -> anyhow::Result<u8> {
    tell(arguments, "looks now", |_| ()).await
}

pub(crate) async fn rollback(arguments: &RollbackArguments) -> anyhow::Result<u8> {
    let commit = full_hash(arguments).await?;
    let said = format!("goes to {commit} and stays there until `myelin release`");
    tell(&arguments.source, &said, |control| control.hold = Some(commit.clone())).await
}

pub(crate) async fn confirm(arguments: &ConfirmArguments) -> anyhow::Result<u8> {
    let cluster = arguments.cluster.connect().await?;
    let board = Board::new(cluster, &arguments.namespace, &arguments.source);
    let said = format!("plan {} is confirmed", arguments.hash);
    say(&board, &arguments.source, &said, &arguments.wait, |control| {
        control.confirmed = Some(arguments.hash.clone());
    })
    .await
}

/// A commit may be named by the beginning of its hash if the source has had it.
async fn full_hash(arguments: &RollbackArguments) -> anyhow::Result<String> {
    let wanted = arguments.to.to_ascii_lowercase();
    if wanted.len() < 7 || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!("--to {}: a commit is named by at least 7 hex digits", arguments.to);
    }
    if wanted.len() == 40 {
        return Ok(wanted);
    }
    let cluster = arguments.source.cluster.connect().await?;
    let board = Board::new(cluster, &arguments.source.namespace, &arguments.source.source);
    let (_, status) = board.read().await.context("cannot read the source")?;
    let mut found = status.history.iter().filter(|taken| taken.commit.starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.commit.clone()),
        (Some(_), Some(_)) => bail!("{wanted} is the beginning of several commits; give more of it"),
        (None, _) => bail!("the source has not had a commit {wanted}…; give all 40 digits of it"),
    }
}

async fn tell(arguments: &SourceArguments, said: &str, change: impl FnOnce(&mut Control)) -> anyhow::Result<u8> {
    let cluster = arguments.cluster.connect().await?;
    let board = Board::new(cluster, &arguments.namespace, &arguments.source);
    say(&board, &arguments.source, said, &arguments.wait, change).await
}

/// Says it, under a number by which the source shows that it has heard.
async fn say(
    board: &Board,
    source: &str,
    said: &str,
    wait: &WaitArguments,
    change: impl FnOnce(&mut Control),
) -> anyhow::Result<u8> {
    let request = format!("{:016x}", rand::random::<u64>());
    board
        .tell(|control| {
            change(control);
            control.request = Some(request.clone());
        })
        .await
        .context("cannot tell the source")?;
    println!("{source}: {said}");
    if wait.is_wanted() {
        wait.until_done(board, &request).await
    } else {
        Ok(exit::OK)
    }
}
