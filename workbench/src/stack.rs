//! One stack through the engine, as a front end would drive it, with every request to the cluster counted.

use crate::counting::Counting;
use crate::{Options, raw};
use anyhow::{Context, Result, anyhow, ensure};
use myelin_engine::apply::{Run, apply};
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
use std::sync::Arc;
use std::time::Instant;

/// Renders, observes, plans and applies a folder of manifests as the stack `bench`; prints requests and seconds.
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
    let run = Run {
        in_flight: options.number("in-flight")?,
        ..Run::default()
    };
    let outcome = apply(Arc::clone(&cluster) as Arc<_>, &plan, &run).await;
    ensure!(
        !outcome.diagnostics.has_errors() && outcome.ready,
        "{}",
        outcome.diagnostics
    );
    let requests = cluster.requests();
    let by_verb = serde_json::to_value(cluster.by_verb()).context("write the counts")?;
    println!(
        "{}",
        json!({"requests": requests, "byVerb": by_verb, "seconds": start.elapsed().as_secs_f64(),
            "planSeconds": decided_in.as_secs_f64()})
    );
    Ok(())
}
