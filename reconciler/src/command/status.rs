//! `myelin status`: the tree of sources, stacks, components and objects, each with its state and reason. `history`: the
//! commits that a source has had. Both read only the cluster.

use super::control::unknown;
use super::exit;
use crate::access::ClusterArguments;
use crate::control::{self, NAMESPACE, Taken};
use crate::deployment::records;
use crate::health;
use crate::output::{Colour, Output, columns, short};
use crate::tree::{Depth, Forest, printable};
use anyhow::Context as _;
use clap::Args;
use std::collections::BTreeMap;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this source.
    source: Option<String>,
    /// Namespace of the reconciler's own objects.
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// How deep to go. Without objects nothing but records is read.
    #[arg(long, value_enum, default_value_t = Depth::Object)]
    depth: Depth,
    #[command(flatten)]
    cluster: ClusterArguments,
}

#[derive(Debug, Args)]
pub(crate) struct HistoryArguments {
    /// Name of the source.
    #[arg(default_value = "git")]
    source: String,
    /// Namespace of the reconciler's own objects.
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    cluster: ClusterArguments,
}

pub(crate) async fn status(arguments: &Arguments) -> anyhow::Result<u8> {
    let cluster = arguments.cluster.connect().await?;
    let mut sources = control::all(&*cluster, &arguments.namespace)
        .await
        .context("cannot read the sources")?;
    if let Some(only) = &arguments.source {
        anyhow::ensure!(
            sources.contains_key(only),
            unknown(only, &arguments.namespace, sources.keys())
        );
        sources.retain(|name, _| name == only);
    }
    let mut known = Vec::new();
    if arguments.depth >= Depth::Stack {
        match records(&*cluster).await {
            Ok(found) => known = found,
            // Without the right to read records, the sources' reports are still shown.
            Err(problem) => eprintln!("warning: components and objects are not shown: {problem}"),
        }
    }
    if let Some(only) = &arguments.source {
        let owner = myelin_engine::record::Owner::Git(only.clone());
        known.retain(|record| record.owner == owner);
    }
    let health = if arguments.depth == Depth::Object {
        health::look(&*cluster, &known)
            .await
            .context("cannot look at the objects")?
    } else {
        BTreeMap::new()
    };
    let forest = Forest::grow(&sources, &known, &health);
    if arguments.output == Output::Table && sources.is_empty() {
        println!("no source has reported in namespace {}", arguments.namespace);
    }
    let now = jiff::Timestamp::now().as_second();
    arguments
        .output
        .print(&forest, |forest| forest.text(arguments.depth, Colour::of_stdout(), now))?;
    Ok(if forest.is_good() { exit::OK } else { exit::FAILED })
}

pub(crate) async fn history(arguments: &HistoryArguments) -> anyhow::Result<u8> {
    let cluster = arguments.cluster.connect().await?;
    let mut all = control::all(&*cluster, &arguments.namespace)
        .await
        .context("cannot read the sources")?;
    let Some((_, status)) = all.remove(&arguments.source) else {
        anyhow::bail!(unknown(&arguments.source, &arguments.namespace, all.keys()));
    };
    arguments.output.print(&status.history, |history| table(history))?;
    Ok(exit::OK)
}

fn table(history: &[Taken]) -> String {
    let row = |taken: &Taken| {
        let at = jiff::Timestamp::from_second(taken.at).unwrap_or_default();
        vec![
            at.to_string(),
            short(&taken.commit).to_owned(),
            taken.state.clone(),
            taken.plan.as_deref().map_or("-", short).to_owned(),
            printable(&format!("{} ({})", taken.subject, taken.author)),
        ]
    };
    columns(
        &["TAKEN", "COMMIT", "STATE", "PLAN", "WHAT"],
        &history.iter().map(row).collect::<Vec<_>>(),
    )
}
