//! The baseline: the same server-side applies as bare requests, a fixed number in flight, without order, record or
//! gates.

use crate::{Options, objects};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use serde_json::json;
use std::time::Instant;

/// A client of the cluster that `$KUBECONFIG` names.
pub(crate) async fn client() -> Result<Client> {
    let config = kube::Config::from_kubeconfig(&kube::config::KubeConfigOptions::default())
        .await
        .context("read the kubeconfig that $KUBECONFIG names")?;
    Client::try_from(config).context("make a client of the kubeconfig")
}

/// One server-side apply of a manifest.
pub(crate) async fn send(client: &Client, path: &str, body: Vec<u8>) -> Result<()> {
    let request = http::Request::patch(format!("{path}?fieldManager=raw&force=true"))
        .header(http::header::CONTENT_TYPE, "application/apply-patch+yaml")
        .header(http::header::ACCEPT, "application/json")
        .body(body)
        .context("write the request")?;
    client
        .request_text(request)
        .await
        .with_context(|| format!("apply {path}"))?;
    Ok(())
}

/// Makes the namespace and applies the objects; prints how long the objects took.
pub(crate) async fn apply(options: &Options) -> Result<()> {
    let namespace = options.text("namespace")?;
    let in_flight = options.number("in-flight")?;
    let client = client().await?;
    make_namespace(&client, namespace).await?;
    let requests: Vec<(String, Vec<u8>)> = objects::mixed(options.number("count")?, namespace)
        .into_iter()
        .map(|target| {
            (
                format!("{}/{}", target.collection, target.name),
                target.manifest.to_string().into_bytes(),
            )
        })
        .collect();
    let count = requests.len();
    let client = &client;
    let start = Instant::now();
    stream::iter(
        requests
            .into_iter()
            .map(|(path, body)| async move { send(client, &path, body).await }),
    )
    .buffer_unordered(in_flight)
    .try_collect::<Vec<()>>()
    .await?;
    println!(
        "{}",
        json!({"requests": count, "seconds": start.elapsed().as_secs_f64()})
    );
    Ok(())
}

/// Makes a namespace, or leaves it as it is.
pub(crate) async fn make_namespace(client: &Client, namespace: &str) -> Result<()> {
    let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    send(
        client,
        &format!("/api/v1/namespaces/{namespace}"),
        manifest.to_string().into_bytes(),
    )
    .await
}
