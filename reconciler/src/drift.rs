//! Waits until somebody touches what a source owns: one watch per kind for all its stacks, hashes in place of objects, and no
//! request while nothing drifts.

use crate::pause::Pause;
use futures::StreamExt as _;
use myelin_engine::cluster::{Cluster, ClusterError, Resource, Selection, WatchEvent};
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::{Standing, set_of, standing};
use myelin_engine::record::{PART_OF, Record, StackId};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Objects that are not as they should be, that were reported and that are left so.
pub(crate) type Left = BTreeSet<ObjectKey>;

/// What is known of the stacks that are watched.
#[derive(Debug)]
struct Known {
    /// Records by ApplySet id.
    sets: BTreeMap<String, Record>,
    /// What is left alone, with a digest of it as it was first seen: told again only when it changes again.
    left: Mutex<BTreeMap<ObjectKey, Option<[u8; 32]>>>,
}

impl Known {
    /// The stack that this object's state says has drifted.
    fn drifted(&self, live: &Value, gone: bool) -> Option<StackId> {
        // What has lost our label is told as gone by the watch, and still names its set in its last state.
        let record = self.sets.get(set_of(live)?)?;
        let drifted = match standing(record, live) {
            Standing::Unknown => false,
            Standing::Drifted => gone || !self.is_left(live),
            Standing::AsRecorded => gone,
        };
        drifted.then(|| record.stack.clone())
    }

    /// Whether the object is left alone as it is. The first sight of it is what was reported.
    fn is_left(&self, live: &Value) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        match left.get_mut(&ObjectKey::of(live)) {
            None => false,
            Some(seen @ None) => {
                *seen = Some(digest(live));
                true
            }
            Some(Some(seen)) => *seen == digest(live),
        }
    }
}

/// An object without what the server and its controllers write.
fn digest(live: &Value) -> [u8; 32] {
    let mut live = live.clone();
    if let Some(object) = live.as_object_mut() {
        object.remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for name in ["managedFields", "resourceVersion", "generation"] {
                metadata.remove(name);
            }
        }
    }
    Sha256::digest(live.to_string()).into()
}

/// Watches everything that the records name. Dropping it ends the watches.
#[derive(Debug)]
pub(crate) struct Drift {
    told: mpsc::Receiver<StackId>,
    _watches: JoinSet<()>,
}

impl Drift {
    /// Starts one list and one watch per kind; only the watch, from a version in `seen`, where everything was looked at then.
    pub(crate) fn watch(
        cluster: &Arc<dyn Cluster>,
        records: Vec<Record>,
        resources: BTreeSet<Resource>,
        left: &Left,
        seen: &BTreeMap<Resource, String>,
    ) -> Self {
        let (tell, told) = mpsc::channel(64);
        let sets = records
            .into_iter()
            .map(|record| (record.stack.apply_set(), record))
            .collect();
        let left = Mutex::new(left.iter().map(|key| (key.clone(), None)).collect());
        let known = Arc::new(Known { sets, left });
        let mut watches = JoinSet::new();
        for resource in resources {
            let (cluster, known, tell) = (Arc::clone(cluster), Arc::clone(&known), tell.clone());
            let from = seen.get(&resource).cloned();
            watches.spawn(async move { look(&*cluster, &resource, &known, &tell, from).await });
        }
        Self {
            told,
            _watches: watches,
        }
    }

    /// The next stack that has drifted. Never, while nothing is watched.
    pub(crate) async fn next(&mut self) -> StackId {
        match self.told.recv().await {
            Some(stack) => stack,
            None => std::future::pending().await,
        }
    }

    /// All stacks that are known to have drifted by now.
    pub(crate) fn others(&mut self) -> BTreeSet<StackId> {
        let mut all = BTreeSet::new();
        while let Ok(stack) = self.told.try_recv() {
            all.insert(stack);
        }
        all
    }
}

async fn look(
    cluster: &dyn Cluster,
    resource: &Resource,
    known: &Known,
    tell: &mpsc::Sender<StackId>,
    mut from: Option<String>,
) {
    let mut pause = Pause::default();
    while !tell.is_closed() {
        if let Err(error) = follow(cluster, resource, known, tell, from.take(), &mut pause).await {
            tracing::warn!(kind = resource.kind, %error, "the watch for drift broke; it starts again");
        }
        pause.rest().await;
    }
}

async fn follow(
    cluster: &dyn Cluster,
    resource: &Resource,
    known: &Known,
    tell: &mpsc::Sender<StackId>,
    from: Option<String>,
    pause: &mut Pause,
) -> Result<(), ClusterError> {
    let selection = Selection {
        labels: PART_OF.to_owned(),
        ..Selection::default()
    };
    let mut version = match from {
        Some(version) => version,
        None => begin(cluster, resource, &selection, known, tell).await?,
    };
    loop {
        let mut events = match cluster.watch(resource, &selection, &version).await {
            Err(error) if error.is_expired() => return Ok(()),
            other => other?,
        };
        let began = tokio::time::Instant::now();
        while let Some(event) = events.next().await {
            let (object, gone) = match event {
                Ok(WatchEvent::Applied(object)) => (object, false),
                Ok(WatchEvent::Deleted(object)) => (object, true),
                Ok(WatchEvent::Bookmark(at)) => {
                    version = at;
                    continue;
                }
                Err(error) if error.is_expired() => return Ok(()),
                Err(error) => return Err(error),
            };
            pause.reset();
            if let Some(at) = object.pointer("/metadata/resourceVersion").and_then(Value::as_str) {
                at.clone_into(&mut version);
            }
            if let Some(stack) = known.drifted(&object, gone) {
                let _ = tell.send(stack).await;
            }
        }
        // Servers end watches after some minutes; one that ends at once must not be asked in a circle.
        if began.elapsed().as_secs() == 0 {
            return Ok(());
        }
    }
}

/// The list that a watch begins with; tells what has drifted already.
async fn begin(
    cluster: &dyn Cluster,
    resource: &Resource,
    selection: &Selection,
    known: &Known,
    tell: &mpsc::Sender<StackId>,
) -> Result<String, ClusterError> {
    let list = cluster.list(resource, selection).await?;
    let mut there = BTreeSet::new();
    for object in &list.items {
        if let Some(set) = set_of(object) {
            there.insert((set.to_owned(), ObjectKey::of(object)));
        }
        if let Some(stack) = known.drifted(object, false) {
            let _ = tell.send(stack).await;
        }
    }
    for (set, record) in &known.sets {
        let of_kind = |key: &&ObjectKey| key.kind == resource.kind && key.group == resource.group;
        let missing = record
            .entries
            .keys()
            .filter(of_kind)
            .any(|key| !there.contains(&(set.clone(), key.clone())));
        if missing {
            let _ = tell.send(record.stack.clone()).await;
        }
    }
    Ok(list.resource_version)
}
