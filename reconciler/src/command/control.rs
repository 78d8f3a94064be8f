//! Commands to a source: `suspend`, `resume`, `reconcile`, `rollback`, `release`, `confirm`. All use the source's
//! ConfigMap, so they work from anywhere that reaches the cluster.

use super::exit;
use super::wait::{WaitArguments, until_done};
use crate::access::ClusterArguments;
use crate::control::{self, Board, Control, NAMESPACE, Status};
use anyhow::{Context as _, bail};
use clap::Args;
use myelin_engine::cluster::Cluster;
use std::sync::Arc;

/// Hex digits of a commit, and of a plan.
const COMMIT: usize = 40;
const PLAN: usize = 32;
/// This many characters identify one plan among a few.
const SHORTEST_HASH: usize = 7;

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
    /// Hash of the plan as the refusal names it, or the first 7 digits of it and more.
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
    let (board, status) = known(cluster, &arguments.namespace, &arguments.source).await?;
    let plan = meant(&arguments.hash, status.unconfirmed.as_deref())?;
    let said = match &status.unconfirmed {
        Some(_) => format!("plan {plan} is confirmed"),
        None => format!("plan {plan} is confirmed in advance: no plan waits for a yes now"),
    };
    say(&board, &arguments.source, &said, &arguments.wait, |control| {
        control.confirmed = Some(plan.clone());
    })
    .await
}

/// The plan that a hash, or the beginning of one, says yes to. `waiting` is the plan that waits for a yes.
fn meant(given: &str, waiting: Option<&str>) -> anyhow::Result<String> {
    let given = given.to_ascii_lowercase();
    let is_hex = given.bytes().all(|b| b.is_ascii_hexdigit());
    if given.len() < SHORTEST_HASH || given.len() > PLAN || !is_hex {
        bail!("{given} is no hash of a plan: {PLAN} hex digits, or at least {SHORTEST_HASH} of the plan that waits");
    }
    match waiting {
        Some(plan) if plan.starts_with(&given) => Ok(plan.to_owned()),
        Some(plan) => bail!("the plan that waits for a yes is {plan}, and not {given}"),
        None if given.len() == PLAN => Ok(given),
        None => bail!("no plan waits for a yes now; in advance it takes all {PLAN} digits"),
    }
}

/// The board of a source that has reported. A request to an unknown source would reach nobody, and a user who mistyped
/// would believe that it did.
async fn known(cluster: Arc<dyn Cluster>, namespace: &str, source: &str) -> anyhow::Result<(Board, Status)> {
    let mut all = control::all(&*cluster, namespace)
        .await
        .context("cannot read the sources")?;
    match all.remove(source) {
        Some((_, status)) if !status.state.is_empty() => Ok((Board::new(cluster, namespace, source), status)),
        _ => bail!(unknown(source, namespace, all.keys())),
    }
}

/// That there is no such source, and which there are.
pub(crate) fn unknown<'a>(source: &str, namespace: &str, others: impl Iterator<Item = &'a String>) -> String {
    let others: Vec<&str> = others.map(String::as_str).collect();
    let there = if others.is_empty() {
        "none has; does `myelin run` run?".to_owned()
    } else {
        format!("there are: {}", others.join(", "))
    };
    format!("no source {source} has reported in namespace {namespace}; {there}")
}

/// A commit may be named by the beginning of its hash if the source has had it.
async fn full_hash(arguments: &RollbackArguments) -> anyhow::Result<String> {
    let wanted = arguments.to.to_ascii_lowercase();
    if wanted.len() < SHORTEST_HASH || wanted.len() > COMMIT || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        bail!(
            "--to {}: a commit is named by at least {SHORTEST_HASH} hex digits; `myelin history {}` lists those that the source has had",
            arguments.to,
            arguments.source.source
        );
    }
    if wanted.len() == COMMIT {
        return Ok(wanted);
    }
    let cluster = arguments.source.cluster.connect().await?;
    let (_, status) = known(cluster, &arguments.source.namespace, &arguments.source.source).await?;
    let mut found = status.history.iter().filter(|taken| taken.commit.starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one.commit.clone()),
        (Some(_), Some(_)) => bail!("{wanted} is the beginning of several commits; give more of it"),
        (None, _) => bail!("the source has not had a commit {wanted}…; give all {COMMIT} digits of it"),
    }
}

async fn tell(arguments: &SourceArguments, said: &str, change: impl FnOnce(&mut Control)) -> anyhow::Result<u8> {
    let cluster = arguments.cluster.connect().await?;
    let (board, _) = known(cluster, &arguments.namespace, &arguments.source).await?;
    say(&board, &arguments.source, said, &arguments.wait, change).await
}

/// Writes the request, with a number by which the source acknowledges it.
async fn say(
    board: &Board,
    source: &str,
    said: &str,
    wait: &WaitArguments,
    change: impl FnOnce(&mut Control),
) -> anyhow::Result<u8> {
    // An invalid value is reported before anything is written.
    let limit = wait.limit()?;
    let request = format!("{:016x}", rand::random::<u64>());
    board
        .tell(|control| {
            change(control);
            control.request = Some(request.clone());
        })
        .await
        .context("cannot tell the source")?;
    println!("{source}: {said}");
    match limit {
        Some(limit) => until_done(limit, board, &request).await,
        None => Ok(exit::OK),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_is_for_the_plan_that_waits_and_never_for_another() {
        let waiting = "0123456789abcdef0123456789abcdef";
        let other = "f123456789abcdef0123456789abcdef";
        assert_eq!(meant(waiting, Some(waiting)).unwrap(), waiting);
        assert_eq!(meant("0123456789AB", Some(waiting)).unwrap(), waiting);
        assert_eq!(meant(other, None).unwrap(), other, "in advance");
        for (given, there, said) in [
            (other, Some(waiting), waiting),
            ("0123456", None, "no plan waits"),
            ("012345", Some(waiting), "no hash"),
            ("plan", Some(waiting), "no hash"),
            ("0123456789abcdef0123456789abcdef0", None, "no hash"),
        ] {
            let told = meant(given, there).unwrap_err().to_string();
            assert!(told.contains(said), "{given}: {told}");
        }
    }
}
