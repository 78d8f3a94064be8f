//! One watch: a list, then the changes after it, resumed when the connection breaks.
//!
//! It ends with the apply, or at once if the server does not allow it.

use super::Inner;
use crate::{
    cluster::{Cluster, ClusterError, Resource, Selection, WatchEvent},
    gate::Change,
};
use futures::StreamExt;
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The first pause after a failed list or watch; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The state of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FeedState {
    /// Its list has not arrived yet.
    Starting,
    /// It delivers changes.
    Live,
    /// The server does not allow it.
    Refused,
}

pub(super) struct Feed {
    state: watch::Receiver<FeedState>,
}

impl Feed {
    pub(super) fn start(inner: Arc<Inner>, resource: Resource, selection: Selection, stop: CancellationToken) -> Self {
        let (tell, state) = watch::channel(FeedState::Starting);
        tokio::spawn(async move {
            let run = Run {
                inner,
                resource,
                selection,
                tell,
            };
            tokio::select! {
                () = run.forever() => {}
                () = stop.cancelled() => {}
            }
        });
        Self { state }
    }

    pub(super) fn state(&self) -> watch::Receiver<FeedState> {
        self.state.clone()
    }
}

struct Run {
    inner: Arc<Inner>,
    resource: Resource,
    selection: Selection,
    tell: watch::Sender<FeedState>,
}

/// Why a watch has to be restarted.
enum Broken {
    /// From the version that it had reached.
    Resume,
    /// From a fresh list.
    Expired,
}

impl Run {
    async fn forever(self) {
        let cluster: Arc<dyn Cluster> = Arc::clone(&self.inner.cluster);
        let mut pause = FIRST_PAUSE;
        loop {
            let asked = self.inner.store().sights.turn();
            let mut version = match cluster.list(&self.resource, &self.selection).await {
                Ok(list) => {
                    self.inner.see_list(&self.resource, &self.selection, asked, &list.items);
                    self.tell.send_replace(FeedState::Live);
                    list.resource_version
                }
                Err(error) if error.is_denied() => return self.refused(&error),
                Err(error) => {
                    self.rest(&mut pause, &error).await;
                    continue;
                }
            };
            while let Broken::Resume = self.follow(&*cluster, &mut version, &mut pause).await {}
        }
    }

    async fn follow(&self, cluster: &dyn Cluster, version: &mut String, pause: &mut Duration) -> Broken {
        let mut news = match cluster.watch(&self.resource, &self.selection, version).await {
            Ok(news) => news,
            Err(error) if error.is_expired() => return Broken::Expired,
            Err(error) => {
                self.rest(pause, &error).await;
                // What is denied now was allowed a moment ago; a new list shows which is true.
                return if error.is_denied() {
                    Broken::Expired
                } else {
                    Broken::Resume
                };
            }
        };
        let began = tokio::time::Instant::now();
        while let Some(event) = news.next().await {
            match event {
                Ok(WatchEvent::Applied(object)) => {
                    reached(version, &object);
                    self.inner.see(Change::Set(&object));
                }
                Ok(WatchEvent::Deleted(object)) => {
                    reached(version, &object);
                    self.inner.see(Change::Gone(&object));
                }
                Ok(WatchEvent::Bookmark(at)) => *version = at,
                Err(error) if error.is_expired() => return Broken::Expired,
                Err(error) => {
                    self.rest(pause, &error).await;
                    return Broken::Resume;
                }
            }
            *pause = FIRST_PAUSE;
        }
        // Servers end watches after some minutes. A watch that ends at once, again and again, must not be restarted in
        // a tight loop.
        if began.elapsed() < Duration::from_secs(1) {
            self.rest(pause, &ClusterError::Unreachable("the watch ended at once".to_owned()))
                .await;
        }
        Broken::Resume
    }

    fn refused(&self, error: &ClusterError) {
        tracing::warn!(kind = %self.resource.kind, namespace = ?self.selection.namespace, %error, "may not watch");
        if matches!(self.resource.kind.as_str(), "Pod" | "ReplicaSet") {
            self.inner.go_blind();
        }
        self.tell.send_replace(FeedState::Refused);
    }

    async fn rest(&self, pause: &mut Duration, error: &ClusterError) {
        tracing::debug!(kind = %self.resource.kind, namespace = ?self.selection.namespace, %error, "a watch broke off");
        let jittered = pause.mul_f64(rand::random_range(0.5..1.0));
        tokio::time::sleep(jittered).await;
        *pause = (*pause * 2).min(LONGEST_PAUSE);
    }
}

fn reached(version: &mut String, object: &Value) {
    if let Some(at) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
        at.clone_into(version);
    }
}
