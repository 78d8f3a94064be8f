//! What a user would do with kubectl during the demo: watch, edit, look, delete. The demo needs no kubectl on the
//! machine.

use crate::Options;
use crate::raw::client;
use anyhow::{Context, Result, bail};
use futures::TryStreamExt;
use kube::api::{Api, DeleteParams, DynamicObject, WatchEvent};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::pin::pin;
use std::time::{Duration, Instant};

/// Prints a line each time a StatefulSet of a namespace becomes ready, starts to roll or is deleted, until it is
/// stopped.
pub(crate) async fn ready(options: &Options) -> Result<()> {
    let collection = format!("/apis/apps/v1/namespaces/{}/statefulsets", options.text("namespace")?);
    let client = client().await?;
    let mut states: BTreeMap<String, State> = BTreeMap::new();
    let mut version = String::new();
    tell(&json!({"watching": true}))?;
    loop {
        // From the version of the last event on: a watch that the server ends at its time is taken up where it was.
        let path = format!("{collection}?watch=true&timeoutSeconds=280&resourceVersion={version}");
        let request = http::Request::get(path).body(Vec::new()).context("write the request")?;
        let mut events = pin!(
            client
                .request_events::<DynamicObject>(request)
                .await
                .context("watch StatefulSets")?
        );
        while let Some(event) = events.try_next().await.context("read the watch of StatefulSets")? {
            let (object, now) = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    let now = State::of(&object);
                    (object, now)
                }
                WatchEvent::Deleted(object) => (object, State::Gone),
                WatchEvent::Bookmark(_) | WatchEvent::Error(_) => continue,
            };
            version = object.metadata.resource_version.clone().unwrap_or_default();
            let name = object.metadata.name.clone().unwrap_or_default();
            let before = states.insert(name.clone(), now);
            match (before, now) {
                (Some(State::Ready), State::Rolling) => tell(&json!({"rolls": name}))?,
                (None | Some(State::Rolling | State::Gone), State::Ready) => {
                    let image = &object.data["spec"]["template"]["spec"]["containers"][0]["image"];
                    tell(&json!({"ready": name, "image": image}))?;
                }
                (_, State::Gone) => tell(&json!({"gone": name}))?,
                _ => {}
            }
        }
    }
}

/// How far a StatefulSet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Its controller has seen the latest spec, and every pod is of it and ready.
    Ready,
    /// On its way there.
    Rolling,
    /// Being deleted: what its status says is of no more interest.
    Leaving,
    /// Deleted.
    Gone,
}

impl State {
    fn of(object: &DynamicObject) -> Self {
        if object.metadata.deletion_timestamp.is_some() {
            return Self::Leaving;
        }
        let number = |value: &Value| value.as_i64();
        let (spec, status) = (&object.data["spec"], &object.data["status"]);
        let wanted = number(&spec["replicas"]).unwrap_or(1);
        let seen = number(&status["observedGeneration"]).is_some_and(|seen| Some(seen) == object.metadata.generation);
        let of_this_spec = number(&status["updatedReplicas"]).unwrap_or(0) >= wanted;
        let ready = number(&status["readyReplicas"]).unwrap_or(0) >= wanted;
        if seen && of_this_spec && ready {
            Self::Ready
        } else {
            Self::Rolling
        }
    }
}

fn tell(what: &Value) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{what}")
        .and_then(|()| stdout.flush())
        .context("write to stdout")
}

/// Changes an object of a core kind by a merge patch, as a user with another field manager would.
pub(crate) async fn edit(options: &Options) -> Result<()> {
    let patch: Value = serde_json::from_str(options.text("patch")?).context("--patch is not JSON")?;
    let (namespace, kind, name) = (options.text("namespace")?, options.text("kind")?, options.text("name")?);
    let path = format!("/api/v1/namespaces/{namespace}/{kind}/{name}?fieldManager=kubectl-edit");
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(patch.to_string().into_bytes())
        .context("write the request")?;
    let object: Value = client()
        .await?
        .request(request)
        .await
        .with_context(|| format!("edit {kind} {namespace}/{name}"))?;
    tell(&json!({"resourceVersion": object["metadata"]["resourceVersion"]}))
}

/// Prints one object of a core kind.
pub(crate) async fn get(options: &Options) -> Result<()> {
    let (namespace, kind, name) = (options.text("namespace")?, options.text("kind")?, options.text("name")?);
    let request = http::Request::get(format!("/api/v1/namespaces/{namespace}/{kind}/{name}"))
        .body(Vec::new())
        .context("write the request")?;
    let object: Value = client()
        .await?
        .request(request)
        .await
        .with_context(|| format!("read {kind} {namespace}/{name}"))?;
    tell(&object)
}

/// Prints how many nodes of the cluster are EC2 instances and Ready.
pub(crate) async fn workers() -> Result<()> {
    let request = http::Request::get("/api/v1/nodes")
        .body(Vec::new())
        .context("write the request")?;
    let nodes: Value = client().await?.request(request).await.context("list the nodes")?;
    let ready = |node: &&Value| {
        let instance = node["spec"]["providerID"]
            .as_str()
            .is_some_and(|id| id.starts_with("aws:///"));
        let conditions = node["status"]["conditions"].as_array();
        instance
            && conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    let nodes = nodes["items"].as_array().cloned().unwrap_or_default();
    tell(&json!({"ready": nodes.iter().filter(ready).count()}))
}

/// Prints how many objects of some kinds a namespace holds.
pub(crate) async fn left(options: &Options) -> Result<()> {
    let namespace = options.text("namespace")?;
    let client = client().await?;
    let kinds = [
        ("StatefulSets", "/apis/apps/v1", "statefulsets"),
        ("Pods", "/api/v1", "pods"),
        ("Services", "/api/v1", "services"),
        ("Secrets", "/api/v1", "secrets"),
        ("PersistentVolumeClaims", "/api/v1", "persistentvolumeclaims"),
    ];
    let mut counts = BTreeMap::new();
    for (kind, api, plural) in kinds {
        let request = http::Request::get(format!("{api}/namespaces/{namespace}/{plural}"))
            .body(Vec::new())
            .context("write the request")?;
        let list: Value = client
            .request(request)
            .await
            .with_context(|| format!("list {plural} of {namespace}"))?;
        counts.insert(kind, list["items"].as_array().map_or(0, Vec::len));
    }
    tell(&json!(counts))
}

/// Deletes a namespace and waits, for two minutes at most, until it is gone.
pub(crate) async fn delete_namespace(options: &Options) -> Result<()> {
    let name = options.text("namespace")?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "Namespace"));
    let namespaces: Api<DynamicObject> = Api::all_with(client().await?, &kind);
    let Some(namespace) = namespaces.get_opt(name).await.context("read the namespace")? else {
        return Ok(());
    };
    namespaces
        .delete(name, &DeleteParams::default())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn set(generation: i64, status: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "a", "generation": generation},
            "spec": {"replicas": 1}, "status": status,
        }))
        .expect("a StatefulSet is an object")
    }

    #[test]
    fn a_statefulset_is_ready_only_for_the_spec_that_its_controller_has_seen() {
        let ready = json!({"observedGeneration": 2, "updatedReplicas": 1, "readyReplicas": 1});
        assert_eq!(State::of(&set(2, &ready)), State::Ready);
        assert_eq!(State::of(&set(3, &ready)), State::Rolling);
        assert_eq!(
            State::of(&set(2, &json!({"observedGeneration": 2, "readyReplicas": 1}))),
            State::Rolling
        );
        assert_eq!(State::of(&set(1, &json!({}))), State::Rolling);
    }
}
