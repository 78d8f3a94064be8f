//! The reconciler seen from outside: which requests it sends to the sandbox, how soon it reverts drift, and how soon a
//! component follows the one that it waits for.

use crate::Options;
use crate::load::{get, percentile};
use crate::raw::client;
use anyhow::{Context, Result, bail};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use kube::api::{DynamicObject, WatchEvent};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Nothing that is waited for here takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Foreign changes in flight when many come at once.
const IN_FLIGHT: usize = 32;
/// The foreign value of a Service's selector, which in the manifest is the Service's own name.
const THEIRS: &str = "elsewhere";

/// Prints how often a user agent has sent requests since `--after`, by verb and resource. Only the sandbox keeps such a
/// log.
pub(crate) async fn requests(options: &Options) -> Result<()> {
    let (after, agent) = (options.number("after")?, options.text("agent")?);
    let log: Value = client()
        .await?
        .request(get(&format!("/sandbox/requests?after={after}"))?)
        .await
        .context("read the sandbox's request log")?;
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let text = |line: &Value, name: &str| line[name].as_str().unwrap_or_default().to_owned();
    for line in log["requests"].as_array().context("a log has requests")? {
        if text(line, "userAgent").starts_with(agent) {
            let path = text(line, "path");
            // A watch and a list name the kind last, everything else an object.
            let parts: Vec<&str> = path.rsplit('/').collect();
            let verb = text(line, "verb");
            let kind = if ["list", "watch"].contains(&verb.as_str()) {
                0
            } else {
                1
            };
            let kind = parts.get(kind).copied().unwrap_or_default();
            *counts.entry(format!("{verb} {kind}")).or_default() += 1;
        }
    }
    tell(&json!({"sequence": log["sequence"], "requests": counts.values().sum::<u64>(), "by": counts}))
}

/// Changes a Service of each of `--count` stacks, one after the other and then all at once, and waits until each is as it was.
pub(crate) async fn reverts(options: &Options) -> Result<()> {
    let (namespaces, count) = (options.number("namespaces")?, options.number("count")?);
    let client = client().await?;
    let names: Vec<Service> = (0..count).map(|number| Service::of(number, namespaces)).collect();
    let mut eyes = Eyes::open(&client).await?;
    let mut single = Vec::with_capacity(count);
    for service in &names {
        note(&eyes.sent, service);
        service.meddle(&client).await?;
        single.push(eyes.next().await?);
    }
    let start = Instant::now();
    let (client, times) = (&client, Arc::clone(&eyes.sent));
    let times = &times;
    let sending = stream::iter(names.iter().map(|service| async move {
        note(times, service);
        service.meddle(client).await
    }))
    .buffer_unordered(IN_FLIGHT)
    .try_collect::<Vec<()>>();
    let mut burst = Vec::with_capacity(count);
    let collecting = async {
        while burst.len() < count {
            burst.push(eyes.next().await?);
        }
        anyhow::Ok(())
    };
    futures::try_join!(sending, collecting)?;
    let seconds = start.elapsed().as_secs_f64();
    single.sort_unstable();
    burst.sort_unstable();
    tell(&json!({
        "count": count,
        "p50Ms": percentile(&single, 50), "p99Ms": percentile(&single, 99),
        "burstP50Ms": percentile(&burst, 50), "burstP99Ms": percentile(&burst, 99), "burstSeconds": seconds,
    }))
}

/// The Service of a stack.
struct Service {
    namespace: String,
    name: String,
}

impl Service {
    fn of(number: usize, namespaces: usize) -> Self {
        Self {
            namespace: format!("bench-{:02}", number % namespaces.max(1)),
            name: format!("app-{number:04}"),
        }
    }

    async fn meddle(&self, client: &Client) -> Result<()> {
        let patch = json!({"spec": {"selector": {"app": THEIRS}}});
        let (namespace, name) = (&self.namespace, &self.name);
        let path = format!("/api/v1/namespaces/{namespace}/services/{name}?fieldManager=kubectl-edit");
        let request = http::Request::patch(path)
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.to_string().into_bytes())
            .context("write the request")?;
        client
            .request_text(request)
            .await
            .with_context(|| format!("change Service {namespace}/{name}"))?;
        Ok(())
    }
}

/// When each Service was changed, by name.
type Times = Arc<Mutex<BTreeMap<String, Instant>>>;

fn note(times: &Times, service: &Service) {
    let mut sent = times.lock().unwrap_or_else(PoisonError::into_inner);
    sent.insert(service.name.clone(), Instant::now());
}

/// A watch on all Services that measures how long each change stood.
struct Eyes {
    sent: Times,
    reverted: mpsc::UnboundedReceiver<Duration>,
    _watch: tokio::task::JoinSet<Result<()>>,
}

impl Eyes {
    async fn open(client: &Client) -> Result<Self> {
        let list: Value = client
            .request(get("/api/v1/services?limit=1")?)
            .await
            .context("list the Services")?;
        let version = list["metadata"]["resourceVersion"]
            .as_str()
            .context("a list has a version")?;
        let path = format!("/api/v1/services?watch=true&timeoutSeconds=600&resourceVersion={version}");
        let (tell, reverted) = mpsc::unbounded_channel();
        let sent: Times = Arc::default();
        let (client, times, request) = (client.clone(), Arc::clone(&sent), get(&path)?);
        let mut watch = tokio::task::JoinSet::new();
        watch.spawn(async move {
            let mut events = pin!(
                client
                    .request_events::<DynamicObject>(request)
                    .await
                    .context("watch the Services")?
            );
            let mut theirs = BTreeSet::new();
            while let Some(event) = events.try_next().await.context("read the watch")? {
                let WatchEvent::Modified(service) = event else { continue };
                let name = service.metadata.name.unwrap_or_default();
                let selector = service.data["spec"]["selector"]["app"].as_str();
                if selector == Some(THEIRS) {
                    theirs.insert(name);
                } else if selector == Some(name.as_str()) && theirs.remove(&name) {
                    let at = times.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                    let _ = tell.send(at.map(|at| at.elapsed()).unwrap_or_default());
                }
            }
            Ok(())
        });
        Ok(Self {
            sent,
            reverted,
            _watch: watch,
        })
    }

    async fn next(&mut self) -> Result<Duration> {
        let next = tokio::time::timeout(PATIENCE, self.reverted.recv()).await;
        next.context("a foreign change stood for two minutes")?
            .context("the watch ended")
    }
}

/// Watches a chain of `--count` Deployments being made in a namespace; prints how long after one was ready the next was there.
pub(crate) async fn hops(options: &Options) -> Result<()> {
    let (namespace, count) = (options.text("namespace")?, options.number("count")?);
    let client = client().await?;
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments?watch=true&timeoutSeconds=600");
    let mut events = pin!(
        client
            .request_events::<DynamicObject>(get(&path)?)
            .await
            .context("watch the Deployments")?
    );
    tell(&json!({"watching": true}))?;
    let mut there: BTreeMap<String, Instant> = BTreeMap::new();
    let mut ready: BTreeMap<String, Instant> = BTreeMap::new();
    let link = |number: usize| format!("link-{number:02}");
    while ready.len() < count {
        let event = tokio::time::timeout(PATIENCE, events.try_next())
            .await
            .context("no link of the chain moved for two minutes")?;
        let Some(WatchEvent::Added(deployment) | WatchEvent::Modified(deployment)) = event.context("read the watch")?
        else {
            bail!("the watch ended before the chain was ready")
        };
        let name = deployment.metadata.name.unwrap_or_default();
        let status = &deployment.data["status"];
        there.entry(name.clone()).or_insert_with(Instant::now);
        if status["availableReplicas"] == 1 && status["observedGeneration"].as_i64() == deployment.metadata.generation {
            ready.entry(name).or_insert_with(Instant::now);
        }
    }
    let mut hops = (1..count)
        .map(|number| {
            let before = ready.get(&link(number - 1)).context("a link is missing")?;
            let next = there.get(&link(number)).context("a link is missing")?;
            // Too early is a fault of the order, not a fast hop.
            next.checked_duration_since(*before)
                .with_context(|| format!("{} was made before what it waits for was ready", link(number)))
        })
        .collect::<Result<Vec<Duration>>>()?;
    hops.sort_unstable();
    tell(&json!({"hops": hops.len(), "p50Ms": percentile(&hops, 50), "maxMs": percentile(&hops, 100)}))
}

fn tell(what: &Value) -> Result<()> {
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{what}")
        .and_then(|()| stdout.flush())
        .context("write to stdout")
}
