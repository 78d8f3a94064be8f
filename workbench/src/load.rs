//! Load on an API server: many objects at once, then many watches, and how late each of them receives a change.

use crate::{Options, raw};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{DynamicObject, WatchEvent};
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;

/// Requests in flight, as many as the raw apply uses.
const IN_FLIGHT: usize = 32;
/// No watch waits longer than this for one event.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes `--objects` ConfigMaps, opens `--watches` watches on them, changes `--updates` of them; prints what it measured.
pub(crate) async fn run(options: &Options) -> Result<()> {
    let namespace = options.text("namespace")?;
    let (objects, watches) = (options.number("objects")?, options.number("watches")?);
    let updates = options.number("updates")?;
    let client = raw::client().await?;
    raw::make_namespace(&client, namespace).await?;
    let collection = format!("/api/v1/namespaces/{namespace}/configmaps");

    let start = Instant::now();
    make(&client, &collection, objects).await?;
    let made_in = start.elapsed();

    let start = Instant::now();
    let list: Value = client.request(get(&collection)?).await.context("list the ConfigMaps")?;
    let listed_in = start.elapsed();
    let listed = list["items"].as_array().map_or(0, Vec::len);
    ensure!(
        listed >= objects,
        "{objects} ConfigMaps were made and {listed} are listed"
    );
    let version = list["metadata"]["resourceVersion"]
        .as_str()
        .context("a list has a resourceVersion")?
        .to_owned();

    let latencies = watch_and_update(&client, &collection, &version, watches, updates).await?;
    println!(
        "{}",
        json!({
            "objects": objects, "seconds": made_in.as_secs_f64(), "listSeconds": listed_in.as_secs_f64(),
            "watches": watches, "updates": updates, "events": latencies.len(),
            "p50Ms": percentile(&latencies, 50), "p99Ms": percentile(&latencies, 99),
        })
    );
    Ok(())
}

async fn make(client: &Client, collection: &str, objects: usize) -> Result<()> {
    stream::iter((0..objects).map(|number| async move {
        let name = format!("load-{number:05}");
        let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
            "data": {"number": number.to_string(), "filler": "x".repeat(512)}});
        raw::send(
            client,
            &format!("{collection}/{name}"),
            manifest.to_string().into_bytes(),
        )
        .await
    }))
    .buffer_unordered(IN_FLIGHT)
    .try_collect::<Vec<()>>()
    .await?;
    Ok(())
}

/// Every watch receives every update; the latency is from before the request is sent until the event is read.
async fn watch_and_update(
    client: &Client,
    collection: &str,
    version: &str,
    watches: usize,
    updates: usize,
) -> Result<Vec<Duration>> {
    let began = Instant::now();
    let open = Arc::new(Barrier::new(watches + 1));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..watches {
        let (client, open) = (client.clone(), Arc::clone(&open));
        let path = format!("{collection}?watch=true&resourceVersion={version}&timeoutSeconds=280");
        tasks.spawn(async move { listen(&client, &path, updates, began, &open).await });
    }
    tokio::time::timeout(PATIENCE, open.wait())
        .await
        .context("not every watch could be opened")?;
    for number in 0..updates {
        // The time travels in the object, so that each watch can tell its own latency.
        let sent = began.elapsed().as_micros().to_string();
        let patch = json!({"data": {"sent": sent}}).to_string().into_bytes();
        let request = http::Request::patch(format!("{collection}/load-{number:05}"))
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(patch)
            .context("write the request")?;
        client.request_text(request).await.context("change a ConfigMap")?;
    }
    let mut latencies = Vec::with_capacity(watches * updates);
    while let Some(heard) = tasks.join_next().await {
        latencies.extend(heard.context("a watch's task ended badly")??);
    }
    latencies.sort_unstable();
    Ok(latencies)
}

async fn listen(client: &Client, path: &str, updates: usize, began: Instant, open: &Barrier) -> Result<Vec<Duration>> {
    let events = client
        .request_events::<DynamicObject>(get(path)?)
        .await
        .context("open a watch");
    open.wait().await;
    let mut events = pin!(events?);
    let mut latencies = Vec::with_capacity(updates);
    while latencies.len() < updates {
        let event = tokio::time::timeout(PATIENCE, events.try_next())
            .await
            .context("a watch heard nothing for a minute")?;
        let event = event.context("read a watch")?.context("a watch ended early")?;
        let WatchEvent::Modified(object) = event else { continue };
        let sent = object.data["data"]["sent"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .map(Duration::from_micros);
        latencies.push(
            began
                .elapsed()
                .saturating_sub(sent.context("an event without its time")?),
        );
    }
    Ok(latencies)
}

/// A GET of a path.
pub(crate) fn get(path: &str) -> Result<http::Request<Vec<u8>>> {
    http::Request::get(path).body(Vec::new()).context("write the request")
}

/// The value that `percent` of a sorted list do not exceed, in milliseconds (nearest rank).
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_nearest_rank_of_the_sorted_list() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert!((percentile(&sorted, 50) - 100.0).abs() < 1e-9);
        assert!((percentile(&sorted, 99) - 198.0).abs() < 1e-9);
        assert!(percentile(&[], 50).abs() < 1e-9);
    }
}
