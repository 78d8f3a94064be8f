//! Waits until a token is due: its Secret or its key is gone, an object that it is tied to was replaced, or it has
//! expired. There is one watch by name for each such object, and a timer. Nothing is requested while nothing happens,
//! and no value is stored.
//!
//! Tokens carry no label that a drift watch could select, because their Secrets may be anybody's. This module only
//! reports the stack of a due token; the repair acts on it.

use crate::pause::Pause;
use futures::StreamExt as _;
use myelin_engine::cluster::{Cluster, ClusterError, Resource, Selection, WatchEvent, kinds};
use myelin_engine::record::{Record, StackId};
use myelin_engine::token::{State, Stored};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Limit of watched objects, because each is a connection. Further tokens are checked with the next commit.
const MOST: usize = 256;
/// The clock is read again after this time, so that a changed clock is noticed.
const CLOCK: Duration = Duration::from_secs(3600);

/// What is to be told.
#[derive(Debug, Default)]
struct News {
    due: Mutex<BTreeSet<StackId>>,
    some: Notify,
}

impl News {
    fn tell(&self, stack: &StackId) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        due.insert(stack.clone());
        drop(due);
        self.some.notify_one();
    }
}

/// When one object makes its token due.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Due {
    /// Without one of these keys.
    Lacks(BTreeSet<String>),
    /// With another UID.
    IsNot(String),
}

impl Due {
    fn is_met(&self, live: Option<&Value>) -> bool {
        let text = |live: &Value, path: &str| {
            live.pointer(path)
                .and_then(Value::as_str)
                .is_some_and(|text| !text.is_empty())
        };
        match (self, live) {
            (Self::Lacks(_), None) => true,
            (Self::Lacks(keys), Some(live)) => !keys.iter().all(|key| {
                let key = key.replace('~', "~0").replace('/', "~1");
                text(live, &format!("/data/{key}"))
            }),
            // It may come again, and be the one that is meant.
            (Self::IsNot(_), None) => false,
            (Self::IsNot(uid), Some(live)) => {
                live.pointer("/metadata/uid").and_then(Value::as_str) != Some(uid.as_str())
            }
        }
    }
}

/// One object that is followed.
#[derive(Debug, Clone)]
struct Followed {
    resource: Resource,
    namespace: String,
    name: String,
    due: Due,
}

/// What a record's tokens depend on: objects, and the first moment at which one is too old, in seconds since 1970.
fn followed(record: &Record) -> (Vec<Followed>, Option<i64>) {
    let mut secrets: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    let (mut all, mut first) = (Vec::new(), None::<i64>);
    for entry in record.tokens.values() {
        // A token that is being minted is handled by the run that mints it.
        let State::Stored(Stored {
            tied_to, expires_at, ..
        }) = &entry.state
        else {
            continue;
        };
        let (namespace, name, key) = entry.secret.clone();
        for (object, uid) in tied_to {
            let Some((kind, name)) = object.split_once('/') else {
                continue;
            };
            let resource = ["v1", "apps/v1", "batch/v1"]
                .iter()
                .find_map(|v| kinds::built_in(v, kind));
            all.extend(resource.map(|resource| Followed {
                resource,
                namespace: namespace.clone(),
                name: name.to_owned(),
                due: Due::IsNot(uid.clone()),
            }));
        }
        secrets.entry((namespace, name)).or_default().insert(key);
        first = first.into_iter().chain(*expires_at).min();
    }
    all.extend(secrets.into_iter().map(|((namespace, name), keys)| Followed {
        resource: kinds::known("v1", "Secret"),
        namespace,
        name,
        due: Due::Lacks(keys),
    }));
    (all, first)
}

/// Follows the tokens of a source. Dropping it ends the watches.
pub(crate) struct Tokens {
    cluster: Arc<dyn Cluster>,
    news: Arc<News>,
    watches: BTreeMap<StackId, JoinSet<()>>,
}

impl Tokens {
    /// Begins with these records.
    pub(crate) fn follow<'a>(cluster: &Arc<dyn Cluster>, records: impl IntoIterator<Item = &'a Record>) -> Self {
        let mut tokens = Self {
            cluster: Arc::clone(cluster),
            news: Arc::default(),
            watches: BTreeMap::new(),
        };
        for record in records {
            tokens.settle(record);
        }
        tokens
    }

    /// From now on a stack's tokens are those of this record.
    pub(crate) fn settle(&mut self, record: &Record) {
        self.watches.remove(&record.stack);
        let (mut objects, expires_at) = followed(record);
        if objects.is_empty() {
            return;
        }
        let room = MOST.saturating_sub(self.watches.values().map(JoinSet::len).sum());
        if objects.len() > room {
            tracing::warn!(stack = %record.stack, "too many tokens to watch; those of this stack are looked at with the next commit");
            objects.clear();
        }
        let mut watches = JoinSet::new();
        for object in objects {
            let (cluster, news, stack) = (Arc::clone(&self.cluster), Arc::clone(&self.news), record.stack.clone());
            watches.spawn(async move {
                until_due(&*cluster, &object).await;
                tracing::warn!(%stack, object = format!("{}/{}", object.resource.kind, object.name), "a token is due");
                news.tell(&stack);
            });
        }
        if let Some(at) = expires_at {
            let (news, stack) = (Arc::clone(&self.news), record.stack.clone());
            watches.spawn(async move {
                until(at).await;
                tracing::info!(%stack, "a token has expired");
                news.tell(&stack);
            });
        }
        self.watches.insert(record.stack.clone(), watches);
    }

    /// The stacks with tokens that are due, at least one. Never, while none is. Dropped before, it forgets nothing.
    pub(crate) async fn next(&self) -> BTreeSet<StackId> {
        loop {
            let due = std::mem::take(&mut *self.news.due.lock().unwrap_or_else(PoisonError::into_inner));
            if !due.is_empty() {
                return due;
            }
            self.news.some.notified().await;
        }
    }
}

/// Waits for a moment of the wall clock.
async fn until(at: i64) {
    loop {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Duration::from_secs(u64::try_from(at).unwrap_or_default());
        let Some(left) = at.checked_sub(now).filter(|left| !left.is_zero()) else {
            return;
        };
        tokio::time::sleep(left.min(CLOCK)).await;
    }
}

/// Returns when an object makes its token due.
async fn until_due(cluster: &dyn Cluster, object: &Followed) {
    let mut pause = Pause::default();
    while let Err(error) = look(cluster, object, &mut pause).await {
        if error.is_denied() {
            tracing::warn!(kind = object.resource.kind, namespace = object.namespace, name = object.name, %error, "a token cannot be watched");
        } else if !error.is_expired() {
            tracing::debug!(kind = object.resource.kind, name = object.name, %error, "the watch of a token broke; it starts again");
        }
        pause.rest().await;
    }
}

async fn look(cluster: &dyn Cluster, object: &Followed, pause: &mut Pause) -> Result<(), ClusterError> {
    let selection = Selection {
        namespace: Some(object.namespace.clone()),
        fields: format!("metadata.name={}", object.name),
        ..Selection::default()
    };
    let list = cluster.list(&object.resource, &selection).await?;
    if object.due.is_met(list.items.first()) {
        return Ok(());
    }
    let mut version = list.resource_version;
    loop {
        let began = tokio::time::Instant::now();
        let mut events = cluster.watch(&object.resource, &selection, &version).await?;
        while let Some(event) = events.next().await {
            let (live, gone) = match event? {
                WatchEvent::Applied(live) => (live, false),
                WatchEvent::Deleted(live) => (live, true),
                WatchEvent::Bookmark(at) => {
                    version = at;
                    continue;
                }
            };
            pause.reset();
            if object.due.is_met(Some(&live).filter(|_| !gone)) {
                return Ok(());
            }
            if let Some(at) = live.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
                at.clone_into(&mut version);
            }
        }
        // Servers end watches after some minutes; one that ends at once must not be restarted in a tight loop.
        if began.elapsed().as_secs() == 0 {
            pause.rest().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn a_moment_that_is_past_is_not_waited_for_and_another_is() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = i64::try_from(now).unwrap();
        for (at, comes) in [(now - 5, true), (now, true), (i64::MIN, true), (now + 9_000, false)] {
            let waited = tokio::time::timeout(Duration::from_millis(50), until(at)).await;
            assert_eq!(waited.is_ok(), comes, "{}", at - now);
        }
    }

    #[test]
    fn a_token_is_due_when_a_key_is_gone_or_empty_and_when_what_it_is_tied_to_is_another() {
        let secret = |data: Value| json!({"metadata": {"uid": "a"}, "data": data});
        let keys = Due::Lacks(["one".to_owned(), "a/b".to_owned()].into());
        for (live, due) in [
            (None, true),
            (Some(secret(json!({"one": "eA==", "a/b": "eA=="}))), false),
            (Some(secret(json!({"one": "eA=="}))), true),
            (Some(secret(json!({"one": "", "a/b": "eA=="}))), true),
            (Some(secret(Value::Null)), true),
        ] {
            assert_eq!(keys.is_met(live.as_ref()), due, "{live:?}");
        }
        let tied = Due::IsNot("a".to_owned());
        let other = json!({"metadata": {"uid": "b"}});
        assert!(!tied.is_met(None) && !tied.is_met(Some(&secret(Value::Null))) && tied.is_met(Some(&other)));
    }
}
