//! One stack through the engine, as a front end would drive it, with every request to the cluster counted.

use crate::counting::Counting;
use crate::{Options, raw};
use anyhow::{Context, Result, anyhow, ensure};
use myelin_engine::apply::{Progress, Run, apply};
use myelin_engine::cluster::KubeCluster;
use myelin_engine::desired::{Variables, desired};
use myelin_engine::document::stack_from_value;
use myelin_engine::observe::{DryRun, observe};
use myelin_engine::plan::plan;
use myelin_engine::record::Owner;
use myelin_engine::render::{self, render};
use myelin_engine::tree::{Tree, TreeLimits};
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Renders, observes, plans and applies a folder of manifests as the stack `bench`; prints requests, the seconds until
/// the last object was confirmed, and those until everything was ready.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let (source, namespace) = (options.text("source")?, options.text("namespace")?);
    let document = json!({
        "apiVersion": myelin_engine::document::API_VERSION, "kind": "Stack", "metadata": {"name": "bench"},
        "spec": {"namespace": namespace, "source": source},
    });
    let stack = stack_from_value(document, &|_| None).map_err(|problems| anyhow!("{problems}"))?;
    let tree = Tree::open(Path::new(source), TreeLimits::default())?;
    let objects = render(&tree, "", &render::Options::default()).map_err(|problems| anyhow!("{problems}"))?;
    let desired = desired(&stack, &Variables::default(), objects, &|file| tree.text(file));
    let desired = Arc::new(desired.map_err(|problems| anyhow!("{problems}"))?);

    let cluster = Arc::new(Counting::new(KubeCluster::new(raw::client().await?)));
    let observation = observe(cluster.as_ref(), &desired, DryRun::Decisions)
        .await
        .map_err(|problems| anyhow!("{problems}"))?;
    let plan = plan(desired, Arc::new(observation), Owner::Terraform);
    ensure!(!plan.diagnostics.has_errors(), "{}", plan.diagnostics);
    let decided_in = start.elapsed();
    // When the last object was confirmed; after that the engine only waits for health.
    let confirmed = Arc::new(Mutex::new(decided_in));
    let progress = {
        let confirmed = Arc::clone(&confirmed);
        Arc::new(move |step| {
            if matches!(step, Progress::Applied(_)) {
                *confirmed.lock().unwrap_or_else(PoisonError::into_inner) = start.elapsed();
            }
        })
    };
    let run = Run {
        in_flight: options.number("in-flight")?,
        progress,
        ..Run::default()
    };
    let outcome = apply(Arc::clone(&cluster) as Arc<_>, &plan, &run).await;
    ensure!(
        !outcome.diagnostics.has_errors() && outcome.ready,
        "{}",
        outcome.diagnostics
    );
    let confirmed = *confirmed.lock().unwrap_or_else(PoisonError::into_inner);
    let requests = cluster.requests();
    let by_verb = serde_json::to_value(cluster.by_verb()).context("write the counts")?;
    println!(
        "{}",
        json!({"requests": requests, "byVerb": by_verb, "seconds": confirmed.as_secs_f64(), "readySeconds": start.elapsed().as_secs_f64(),
            "planSeconds": decided_in.as_secs_f64()})
    );
    Ok(())
}
