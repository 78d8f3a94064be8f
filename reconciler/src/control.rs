//! A source's ConfigMap in the cluster: what users want of the source besides its branch, and what the reconciler
//! reports about it. A wiped disk loses nothing, and `kubectl` shows it.
//!
//! The users' fields (`suspend`, `hold`, `confirm`, `request`) and the reconciler's (`status`) have different field
//! managers, so that neither ever overwrites the other.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use myelin_engine::cluster::{Cluster, ClusterError, Mode, Resource, Selection, Target, WatchEvent, kinds};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The default namespace of the reconciler's own objects.
pub(crate) const NAMESPACE: &str = "myelin-system";

/// Field manager of people's words.
const PEOPLE: &str = "myelin-control";
/// Field manager of the status.
const RECONCILER: &str = "myelin-reconciler";
/// Field manager of hints.
const HOOK: &str = "myelin-hook";
/// Commits that are remembered.
const HISTORY: usize = 50;

/// What people said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// Do nothing until resumed.
    pub(crate) suspended: bool,
    /// Keep this commit, whatever the branch says.
    pub(crate) hold: Option<String>,
    /// Hash of a plan that may remove much.
    pub(crate) confirmed: Option<String>,
    /// Changes when somebody asks for a look now.
    pub(crate) request: Option<String>,
    /// Changes when a webhook asks for a look now. It is not a user's request, and is written separately.
    pub(crate) hint: Option<String>,
}

impl Control {
    fn of(object: &Value) -> Self {
        let text = |name: &str| {
            let text = object.get("data")?.get(name)?.as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        Self {
            suspended: text("suspend").as_deref() == Some("true"),
            hold: text("hold"),
            confirmed: text("confirm"),
            request: text("request"),
            hint: text("hint"),
        }
    }

    fn data(&self) -> BTreeMap<&'static str, String> {
        let mut data = BTreeMap::new();
        if self.suspended {
            data.insert("suspend", "true".to_owned());
        }
        for (name, value) in [
            ("hold", &self.hold),
            ("confirm", &self.confirmed),
            ("request", &self.request),
        ] {
            if let Some(value) = value {
                data.insert(name, value.clone());
            }
        }
        data
    }
}

/// A commit that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Its hash.
    pub(crate) commit: String,
    /// First line of its message.
    pub(crate) subject: String,
    /// Its author.
    pub(crate) author: String,
    /// When it was taken, in seconds since 1970.
    pub(crate) at: i64,
    /// `ready`, `applying`, `rejected`, `refused` (it waits for a yes), `failed`.
    pub(crate) state: String,
    /// Hash of its last plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<String>,
}

/// What the reconciler reports about a pool of nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct PoolWord {
    /// As of a stack.
    pub(crate) state: String,
    /// Why, in words; empty when there is nothing to say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// Its nodes, a few of them, one line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) nodes: Vec<String>,
}

/// What the reconciler says of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Status {
    /// `ready`, `applying`, `failed`, `rejected`, `refused`, `suspended`, `unreachable`, `starting`.
    pub(crate) state: String,
    /// Why, in words; empty when there is nothing to say.
    pub(crate) message: String,
    /// The commit that is kept.
    pub(crate) commit: Option<String>,
    /// Where the branch points to.
    pub(crate) head: Option<String>,
    /// Hash of the plan that waits for a yes.
    pub(crate) unconfirmed: Option<String>,
    /// What became of each stack, and of each pool as `NodePool NAME`.
    pub(crate) stacks: BTreeMap<String, String>,
    /// More on each pool, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) pools: BTreeMap<String, PoolWord>,
    /// A few of the things that are waited for now, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) waiting: BTreeMap<String, String>,
    /// Drift that is reported and not reverted, by stack: the objects and what was changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) drift: BTreeMap<String, Vec<String>>,
    /// The account under which a stack was changed, if its document named one: it also removes the stack when the
    /// document is gone.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) accounts: BTreeMap<String, String>,
    /// The last user request that was handled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heard: Option<String>,
    /// The newest first.
    pub(crate) history: Vec<Taken>,
}

impl Status {
    /// Notes what became of a commit.
    pub(crate) fn note(&mut self, taken: Taken) {
        match self.history.first_mut() {
            Some(first) if first.commit == taken.commit => first.state = taken.state,
            _ => {
                self.history.insert(0, taken);
                self.history.truncate(HISTORY);
            }
        }
    }
}

/// The ConfigMap of one source.
#[derive(Clone)]
pub(crate) struct Board {
    cluster: Arc<dyn Cluster>,
    target: Target,
}

impl Board {
    pub(crate) fn new(cluster: Arc<dyn Cluster>, namespace: &str, source: &str) -> Self {
        Self {
            cluster,
            target: Target {
                resource: resource(),
                namespace: namespace.to_owned(),
                name: format!("myelin-source-{source}"),
            },
        }
    }

    /// Reads the users' requests and the last status.
    ///
    /// # Errors
    /// When the cluster refuses or does not answer.
    pub(crate) async fn read(&self) -> Result<(Control, Status), ClusterError> {
        let (control, status, _) = self.read_at().await?;
        Ok((control, status))
    }

    /// The same, with the version to follow from; None when there is nothing yet.
    ///
    /// # Errors
    /// As [`Board::read`].
    pub(crate) async fn read_at(&self) -> Result<(Control, Status, Option<String>), ClusterError> {
        let object = self.cluster.get(&self.target).await?.unwrap_or_default();
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        Ok((Control::of(&object), status_of(&object), version.map(str::to_owned)))
    }

    /// Changes the users' requests.
    ///
    /// # Errors
    /// As [`Board::read`].
    pub(crate) async fn tell(&self, change: impl FnOnce(&mut Control)) -> Result<(), ClusterError> {
        let (mut control, _) = self.read().await?;
        change(&mut control);
        let data = serde_json::to_value(control.data()).unwrap_or_default();
        self.write(PEOPLE, &data).await
    }

    /// Asks the source to look now. Users' requests stay as they are, also those made at the same time.
    ///
    /// # Errors
    /// As [`Board::read`].
    pub(crate) async fn hint(&self, number: &str) -> Result<(), ClusterError> {
        self.write(HOOK, &json!({"hint": number})).await
    }

    /// Writes the status.
    ///
    /// # Errors
    /// As [`Board::read`].
    pub(crate) async fn say(&self, status: &Status) -> Result<(), ClusterError> {
        let text = serde_json::to_string(status).unwrap_or_default();
        self.write(RECONCILER, &json!({"status": text})).await
    }

    async fn write(&self, manager: &str, data: &Value) -> Result<(), ClusterError> {
        let body = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self.target.name,
                "namespace": self.target.namespace,
                "labels": {"app.kubernetes.io/managed-by": "myelin", "myelin.dev/source": "true"},
            },
            "data": data,
        });
        let sent = self
            .cluster
            .apply_as(manager, &self.target, &body, true, Mode::Real)
            .await;
        match sent {
            Err(error) if error.is_not_found() => {
                make_namespace(&*self.cluster, &self.target.namespace).await?;
                self.cluster
                    .apply_as(manager, &self.target, &body, true, Mode::Real)
                    .await
                    .map(|_| ())
            }
            other => other.map(|_| ()),
        }
    }

    /// The source's statuses from now on, beginning with the current one.
    pub(crate) fn statuses(&self) -> Statuses {
        Statuses {
            board: self.clone(),
            events: None,
        }
    }

    fn selection(&self) -> Selection {
        Selection {
            namespace: Some(self.target.namespace.clone()),
            fields: format!("metadata.name={}", self.target.name),
            ..Selection::default()
        }
    }

    /// Follows the users' requests, from those that were read, until the token is cancelled. What is written while the
    /// watch is down is seen when it is back.
    pub(crate) fn follow(
        &self,
        from: Control,
        version: Option<String>,
        stop: CancellationToken,
    ) -> watch::Receiver<Control> {
        let (sender, receiver) = watch::channel(from);
        let board = self.clone();
        tokio::spawn(async move {
            stop.run_until_cancelled(board.watch(sender, version)).await;
        });
        receiver
    }

    async fn watch(&self, sender: watch::Sender<Control>, mut version: Option<String>) {
        let selection = self.selection();
        let mut pause = crate::pause::Pause::default();
        loop {
            let begin = match version.take() {
                Some(version) => Ok(version),
                None => self.cluster.list(&self.target.resource, &selection).await.map(|list| {
                    let now = list.items.first().map(Control::of).unwrap_or_default();
                    sender.send_if_modified(|old| std::mem::replace(old, now.clone()) != now);
                    list.resource_version
                }),
            };
            if let Ok(mut at) = begin {
                let began = tokio::time::Instant::now();
                if self.listen(&sender, &selection, &mut at).await {
                    // It continues where it was: servers end watches after some minutes.
                    version = Some(at);
                    if began.elapsed() >= Duration::from_secs(1) {
                        pause.reset();
                        continue;
                    }
                }
            }
            if sender.is_closed() {
                return;
            }
            pause.rest().await;
        }
    }

    /// One watch, from a version that it moves on; whether another may begin there.
    async fn listen(&self, sender: &watch::Sender<Control>, selection: &Selection, version: &mut String) -> bool {
        let Ok(mut events) = self.cluster.watch(&self.target.resource, selection, version).await else {
            return false;
        };
        while let Some(event) = events.next().await {
            let (object, now) = match event {
                Ok(WatchEvent::Applied(object)) => {
                    let now = Control::of(&object);
                    (object, now)
                }
                Ok(WatchEvent::Deleted(object)) => (object, Control::default()),
                Ok(WatchEvent::Bookmark(at)) => {
                    *version = at;
                    continue;
                }
                Err(_) => return false,
            };
            if let Some(at) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
                at.clone_into(version);
            }
            sender.send_if_modified(|old| std::mem::replace(old, now.clone()) != now);
        }
        true
    }
}

/// The statuses of one source, one after the other.
pub(crate) struct Statuses {
    board: Board,
    events: Option<BoxStream<'static, Result<WatchEvent, ClusterError>>>,
}

impl Statuses {
    /// The next status; changes made while the watch was down are in the one after it.
    ///
    /// # Errors
    /// When the cluster refuses or does not answer; the next call begins with the current status.
    pub(crate) async fn next(&mut self) -> Result<Status, ClusterError> {
        let (resource, selection) = (&self.board.target.resource, self.board.selection());
        let Some(events) = &mut self.events else {
            let list = self.board.cluster.list(resource, &selection).await?;
            let watch = self.board.cluster.watch(resource, &selection, &list.resource_version);
            self.events = Some(watch.await?);
            return Ok(list.items.first().map(status_of).unwrap_or_default());
        };
        loop {
            match events.next().await {
                Some(Ok(WatchEvent::Applied(object))) => return Ok(status_of(&object)),
                Some(Ok(WatchEvent::Deleted(_))) => return Ok(Status::default()),
                Some(Ok(WatchEvent::Bookmark(_))) => {}
                Some(Err(error)) => {
                    self.events = None;
                    return Err(error);
                }
                None => {
                    self.events = None;
                    return Err(ClusterError::Unreachable("the watch ended".to_owned()));
                }
            }
        }
    }
}

/// Makes the namespace of the reconciler's own objects, if it is not there.
///
/// # Errors
/// When the cluster refuses or does not answer.
pub(crate) async fn make_namespace(cluster: &dyn Cluster, name: &str) -> Result<(), ClusterError> {
    let target = Target {
        resource: kinds::known("v1", "Namespace"),
        namespace: String::new(),
        name: name.to_owned(),
    };
    let body = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    match cluster.create(&target, &body, Mode::Real).await {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

/// Every source that has ever reported in a namespace, with its status.
///
/// # Errors
/// When the cluster refuses or does not answer.
pub(crate) async fn all(
    cluster: &dyn Cluster,
    namespace: &str,
) -> Result<BTreeMap<String, (Control, Status)>, ClusterError> {
    let selection = Selection {
        namespace: Some(namespace.to_owned()),
        labels: "myelin.dev/source=true".to_owned(),
        ..Selection::default()
    };
    let list = cluster.list(&resource(), &selection).await?;
    let named = list.items.iter().filter_map(|object| {
        let name = object
            .pointer("/metadata/name")?
            .as_str()?
            .strip_prefix("myelin-source-")?;
        Some((name.to_owned(), (Control::of(object), status_of(object))))
    });
    Ok(named.collect())
}

fn status_of(object: &Value) -> Status {
    object
        .pointer("/data/status")
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn resource() -> Resource {
    kinds::known("v1", "ConfigMap")
}
