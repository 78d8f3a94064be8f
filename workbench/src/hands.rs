//! What a person would do with kubectl during the demo: watch, edit, delete. The demo needs no kubectl on the machine.

use crate::Options;
use crate::raw::client;
use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use kube::api::{Api, DynamicObject, WatchEvent};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::pin::pin;
use std::time::{Duration, Instant};

/// Prints a line for each StatefulSet of a namespace when it first has as many ready replicas as it wants.
pub(crate) async fn ready(options: &Options) -> Result<()> {
    let path = format!(
        "/apis/apps/v1/namespaces/{}/statefulsets?watch=true&timeoutSeconds=280",
        options.text("namespace")?
    );
    let client = client().await?;
    let mut told = BTreeSet::new();
    loop {
        let request = http::Request::get(&path)
            .body(Vec::new())
            .context("write the request")?;
        let mut events = pin!(
            client
                .request_events::<DynamicObject>(request)
                .await
                .context("watch StatefulSets")?
        );
        while let Some(event) = events.try_next().await.context("read the watch of StatefulSets")? {
            let (WatchEvent::Added(object) | WatchEvent::Modified(object)) = event else {
                continue;
            };
            let wanted = object.data["spec"]["replicas"].as_u64().unwrap_or(1);
            let ready = object.data["status"]["readyReplicas"].as_u64().unwrap_or(0);
            let name = object.metadata.name.unwrap_or_default();
            if ready >= wanted && told.insert(name.clone()) {
                let mut stdout = std::io::stdout();
                writeln!(stdout, "{}", json!({"ready": name}))
                    .and_then(|()| stdout.flush())
                    .context("tell")?;
            }
        }
    }
}

/// Changes an object of a core kind by a merge patch, as a person with another field manager would; prints what became of it.
pub(crate) async fn edit(options: &Options) -> Result<()> {
    let patch: Value = serde_json::from_str(options.text("patch")?).context("--patch is not JSON")?;
    let (namespace, kind, name) = (options.text("namespace")?, options.text("kind")?, options.text("name")?);
    let request = http::Request::patch(format!(
        "/api/v1/namespaces/{namespace}/{kind}/{name}?fieldManager=kubectl-edit"
    ))
    .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
    .body(patch.to_string().into_bytes())
    .context("write the request")?;
    let object: Value = client()
        .await?
        .request(request)
        .await
        .with_context(|| format!("edit {kind} {namespace}/{name}"))?;
    println!("{}", json!({"resourceVersion": object["metadata"]["resourceVersion"]}));
    Ok(())
}

/// Deletes a namespace and waits, for two minutes at most, until it is gone.
pub(crate) async fn delete_namespace(options: &Options) -> Result<()> {
    let name = options.text("namespace")?;
    let client = client().await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
    let namespaces: Api<DynamicObject> = Api::all_with(client, &kind);
    let Some(namespace) = namespaces.get_opt(name).await.context("read the namespace")? else {
        return Ok(());
    };
    namespaces
        .delete(name, &kube::api::DeleteParams::default())
        .await
        .context("delete the namespace")?;
    let uid = namespace.metadata.uid.unwrap_or_default();
    let gone = kube::runtime::wait::conditions::is_deleted(&uid);
    let wait = kube::runtime::wait::await_condition(namespaces, name, gone);
    let start = Instant::now();
    match tokio::time::timeout(Duration::from_secs(120), wait).await {
        Ok(outcome) => outcome.map(drop).context("wait for the namespace to go"),
        Err(_) => bail!("namespace {name} is still there after {} s", start.elapsed().as_secs()),
    }
}
