//! `myelin apply DIR`: plans and executes, for a pipeline or a user. Prints every step; ends when everything is ready
//! or nothing more can be done.

use super::exit;
use super::local::{LocalArguments, told};
use crate::access::ClusterArguments;
use crate::deployment::{BlastRadius, deployment};
use crate::execution::execute;
use crate::identity::Identities;
use crate::waits::without;
use clap::Args;
use myelin_engine::apply::{Progress, Run};
use myelin_engine::cloud::Calls;
use myelin_engine::observe::DryRun;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    local: LocalArguments,
    #[command(flatten)]
    cluster: ClusterArguments,
    /// Hash of a plan that removes much, to say that it is meant.
    #[arg(long, value_name = "HASH")]
    confirm: Option<String>,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let mut commit = arguments.local.wanted()?;
    commit.had_pools = arguments.local.may_have_pools();
    let cluster = arguments.cluster.connect().await?;
    let acting = Identities::Person(cluster.clone());
    let mut planned = deployment(
        Some(&cluster),
        Some(&acting),
        &commit,
        &arguments.local.owner(),
        DryRun::Decisions,
        true,
    )
    .await
    .map_err(told)?;
    println!("{planned}");
    if planned.diagnostics().has_errors() {
        return Ok(exit::FAILED);
    }
    if let Some(refusal) = BlastRadius::default().refuse(&planned, arguments.confirm.as_deref()) {
        anyhow::bail!("{refusal}\npass --confirm {}", planned.hash);
    }
    planned.pools.follow(|step| println!("  {step}"));
    let cancel = CancellationToken::new();
    let run = Run {
        cancel: cancel.clone(),
        progress: Arc::new(|step| println!("{}", line(&step))),
        ..Run::default()
    };
    let interrupted = tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            eprintln!("interrupted: waits end now, what was applied stays");
            cancel.cancel();
        }
    });
    let report = execute(&acting, &planned, &run).await;
    interrupted.abort();
    for problem in report.diagnostics().iter() {
        eprintln!("{problem}");
    }
    for (id, outcome) in &report.stacks {
        println!("{}: {}", id.title(), if outcome.ready { "ready" } else { "not ready" });
    }
    for (id, outcome) in &report.removed {
        println!(
            "{}: {}",
            id.title(),
            if outcome.ready { "removed" } else { "not removed" }
        );
    }
    for (id, outcome) in &report.pools {
        let state = if outcome.ready { "ready" } else { "not ready" };
        println!(
            "pool {id}: {state}, {} nodes{}",
            outcome.nodes.len(),
            requests(&outcome.calls)
        );
    }
    for (id, outcome) in &report.removed_pools {
        let state = if outcome.ready { "removed" } else { "not removed" };
        println!("pool {id}: {state}{}", requests(&outcome.calls));
    }
    Ok(if report.is_ready() { exit::OK } else { exit::FAILED })
}

/// What it took to bring a pool about; nothing when there was nothing to do.
fn requests(calls: &Calls) -> String {
    match calls.total() {
        0 => String::new(),
        _ => format!(" (requests: {calls})"),
    }
}

/// One line for a step.
pub(crate) fn line(step: &Progress) -> String {
    match step {
        Progress::Applied(key) => format!("  applied {}", key.human()),
        Progress::Ready(key) => format!("  ready   {}", key.human()),
        Progress::Waiting(key, why) => format!("  waiting {}: {}", key.human(), without(key, why)),
        Progress::Failed(key, why) => format!("  failed  {}: {}", key.human(), without(key, why)),
        Progress::Gone(key) => format!("  gone    {}", key.human()),
        Progress::ComponentReady(name) => format!("component {name} is ready"),
    }
}
