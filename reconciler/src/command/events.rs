//! `myelin events`: what the reconciler did to sources and objects, from the Events that it writes; `--follow` keeps
//! printing.

use super::control::unknown;
use super::exit;
use crate::access::ClusterArguments;
use crate::control::{self, NAMESPACE};
use crate::events::CONTROLLER;
use crate::output::{Colour, Output, ago};
use crate::pause::Pause;
use crate::tree::printable;
use anyhow::Context as _;
use clap::Args;
use futures::StreamExt as _;
use myelin_engine::cluster::{Cluster, ClusterError, Selection, WatchEvent, kinds};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only this source and its objects.
    source: Option<String>,
    /// Namespace of the reconciler's own objects.
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,
    /// Go on as they happen, until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// How to print them: with --follow one JSON line or YAML document each.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Told {
    /// When it was last seen (RFC 3339).
    time: String,
    r#type: String,
    reason: String,
    source: String,
    object: String,
    note: String,
    count: i64,
}

impl Told {
    /// None for what is not ours.
    fn of(event: &Value) -> Option<Self> {
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if text("/reportingController") != CONTROLLER {
            return None;
        }
        let object = match text("/regarding/namespace") {
            "" => format!("{} {}", text("/regarding/kind"), text("/regarding/name")),
            namespace => format!("{} {namespace}/{}", text("/regarding/kind"), text("/regarding/name")),
        };
        let last = match text("/series/lastObservedTime") {
            "" => text("/eventTime"),
            last => last,
        };
        Some(Self {
            time: last.to_owned(),
            r#type: text("/type").to_owned(),
            reason: text("/reason").to_owned(),
            source: text("/related/name").trim_start_matches("myelin-source-").to_owned(),
            object,
            note: text("/note").to_owned(),
            count: event.pointer("/series/count").and_then(Value::as_i64).unwrap_or(1),
        })
    }
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let cluster = arguments.cluster.connect().await?;
    if let Some(source) = &arguments.source {
        let all = control::all(&*cluster, &arguments.namespace)
            .await
            .context("cannot read the sources")?;
        anyhow::ensure!(
            all.contains_key(source),
            unknown(source, &arguments.namespace, all.keys())
        );
    }
    let wanted = |told: &Told| arguments.source.as_ref().is_none_or(|source| told.source == *source);
    let (mut all, mut version) = list(&*cluster).await.context("cannot list events")?;
    all.retain(|told| wanted(told));
    all.sort();
    if !arguments.follow {
        arguments.output.print(&all, |all| table(all))?;
        return Ok(exit::OK);
    }
    let mut shown: BTreeMap<(String, String, String), i64> = BTreeMap::new();
    let mut show = |told: &Told| -> anyhow::Result<()> {
        let key = (told.object.clone(), told.reason.clone(), told.note.clone());
        if shown
            .insert(key, told.count)
            .is_none_or(|before| before < told.count || told.count == 1)
        {
            arguments.output.stream(told, line)?;
        }
        // A command that runs for weeks must not grow.
        if shown.len() > 10_000 {
            shown.pop_first();
        }
        Ok(())
    };
    for told in &all {
        show(told)?;
    }
    let mut pause = Pause::default();
    loop {
        let events = cluster
            .watch(&kinds::known("events.k8s.io/v1", "Event"), &selection(), &version)
            .await;
        match events {
            Ok(mut events) => {
                while let Some(event) = events.next().await {
                    match event {
                        Ok(WatchEvent::Applied(event)) => {
                            pause.reset();
                            if let Some(at) = event.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
                                at.clone_into(&mut version);
                            }
                            if let Some(told) = Told::of(&event).filter(|told| wanted(told)) {
                                show(&told)?;
                            }
                        }
                        Ok(WatchEvent::Bookmark(at)) => version = at,
                        Ok(WatchEvent::Deleted(_)) => {}
                        Err(_) => break,
                    }
                }
            }
            Err(error) if error.is_denied() => return Err(error).context("cannot watch events"),
            Err(error) => tracing::debug!(%error, "the watch of events broke"),
        }
        pause.rest().await;
        // What happened while the watch was down.
        if let Ok((missed, at)) = list(&*cluster).await {
            version = at;
            let mut missed: Vec<Told> = missed
                .into_iter()
                .filter(|told| !all.contains(told) && wanted(told))
                .collect();
            missed.sort();
            for told in &missed {
                show(told)?;
            }
            all = missed;
        }
    }
}

/// Our events; a label finds them on the server's side.
fn selection() -> Selection {
    Selection {
        labels: "app.kubernetes.io/managed-by=myelin".to_owned(),
        ..Selection::default()
    }
}

async fn list(cluster: &dyn Cluster) -> Result<(Vec<Told>, String), ClusterError> {
    let list = cluster
        .list(&kinds::known("events.k8s.io/v1", "Event"), &selection())
        .await?;
    Ok((list.items.iter().filter_map(Told::of).collect(), list.resource_version))
}

fn table(all: &[Told]) -> String {
    let now = jiff::Timestamp::now().as_second();
    let row = |told: &Told| {
        let at = told.time.parse::<jiff::Timestamp>().map_or(now, |at| at.as_second());
        let note = printable(told.note.lines().next().unwrap_or_default());
        vec![
            ago(now - at),
            told.r#type.clone(),
            told.reason.clone(),
            told.object.clone(),
            if told.count > 1 {
                format!("{note} (x{})", told.count)
            } else {
                note
            },
        ]
    };
    crate::output::columns(
        &["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"],
        &all.iter().map(row).collect::<Vec<_>>(),
    )
}

fn line(told: &Told) -> String {
    let colour = Colour::of_stdout();
    let time = told.time.split('.').next().unwrap_or_default();
    let again = if told.count > 1 {
        format!(" (x{})", told.count)
    } else {
        String::new()
    };
    format!(
        "{time}  {:<7}  {:<16}  {}: {}{again}\n",
        colour.state(&told.r#type),
        told.reason,
        told.object,
        printable(told.note.lines().next().unwrap_or_default())
    )
}
