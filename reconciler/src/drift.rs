//! Waits until somebody changes what a source owns: one watch per kind for all its stacks, hashes instead of objects,
//! and no request while nothing drifts.
//!
//! The watches outlive a repair. After a stack was reported as drifted, it is not judged again until the watch learns
//! its new desired state ([`Drift::settle`]); changes seen in the meantime are judged then. So nothing is listed again,
//! and nothing is missed.

use crate::pause::Pause;
use crate::picture::Picture;
use crate::pulse::Pulse;
use futures::StreamExt as _;
use myelin_engine::cluster::{Cluster, ClusterError, Resource, Selection, WatchEvent};
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::{Standing, set_of, standing};
use myelin_engine::record::{PART_OF, Record, StackId};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Objects that are not as they should be, that were reported and that are left so: a digest of each as it was reported.
pub(crate) type Left = BTreeMap<ObjectKey, [u8; 32]>;

/// What is known of one stack.
#[derive(Debug)]
struct Set {
    record: Arc<Record>,
    left: Left,
    /// Set while the stack is reported as drifted: what the watches have seen since.
    since: Option<Since>,
}

/// What the watches saw of a stack while it was being repaired.
#[derive(Debug, Default)]
struct Since {
    /// The last state of each object, and whether it is gone.
    objects: BTreeMap<ObjectKey, (Value, bool)>,
    /// A list lacked an object.
    lacked: bool,
}

impl Set {
    /// Whether this object's state says that the stack has drifted.
    fn drifted(&self, live: &Value, gone: bool) -> bool {
        match standing(&self.record, live) {
            Standing::Unknown => false,
            Standing::Drifted => gone || self.left.get(&ObjectKey::of(live)) != Some(&digest(live)),
            Standing::AsRecorded => gone,
        }
    }
}

/// What is known of the stacks that are watched.
#[derive(Debug, Default)]
struct Known {
    /// By ApplySet id.
    sets: Mutex<BTreeMap<String, Set>>,
    told: Mutex<BTreeSet<StackId>>,
    news: Notify,
    /// Where everything that is seen is drawn.
    picture: Picture,
    /// Told whether the watches work.
    pulse: Pulse,
}

impl Known {
    fn sets(&self) -> MutexGuard<'_, BTreeMap<String, Set>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self) -> MutexGuard<'_, BTreeSet<StackId>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, stack: &StackId) {
        self.told().insert(stack.clone());
        self.news.notify_one();
    }

    /// Takes in an object's state.
    fn see(&self, live: &Value, gone: bool) {
        // The watch reports an object that has lost our label as gone; its last state still names its set.
        let mut sets = self.sets();
        let Some(set) = set_of(live).and_then(|id| sets.get_mut(id)) else {
            return;
        };
        self.picture.seen(&set.record, live, gone);
        let key = ObjectKey::of(live);
        if let Some(since) = &mut set.since {
            // Only what the record names: strangers cannot fill our memory by using our label.
            if set.record.entry(&key).is_some() {
                since.objects.insert(key, (live.clone(), gone));
            }
        } else if set.drifted(live, gone) {
            set.since = Some(Since::default());
            self.tell(&set.record.stack);
        }
    }

    /// Takes in that a list lacks an object that a record names.
    fn lacks(&self, set: &mut Set) {
        match &mut set.since {
            Some(since) => since.lacked = true,
            None => {
                set.since = Some(Since::default());
                self.tell(&set.record.stack);
            }
        }
    }
}

/// A hash of the object without what the server and its controllers write: a change is reported again only if this
/// changes again.
pub(crate) fn digest(live: &Value) -> [u8; 32] {
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

impl Drop for Drift {
    fn drop(&mut self) {
        self.known.pulse.unwatched();
    }
}

/// Watches everything that the records name. Dropping it ends the watches.
#[derive(Debug)]
pub(crate) struct Drift {
    known: Arc<Known>,
    _watches: JoinSet<()>,
}

impl Drift {
    /// Starts one list and one watch per kind; only the watch, from a version in `seen`, if everything was observed
    /// then.
    pub(crate) fn watch(
        cluster: &Arc<dyn Cluster>,
        (picture, pulse): (&Picture, &Pulse),
        records: Vec<Arc<Record>>,
        resources: BTreeSet<Resource>,
        left: &BTreeMap<StackId, Left>,
        seen: &BTreeMap<Resource, String>,
    ) -> Self {
        let sets = records
            .into_iter()
            .map(|record| {
                let set = Set {
                    left: left.get(&record.stack).cloned().unwrap_or_default(),
                    since: None,
                    record,
                };
                (set.record.stack.apply_set(), set)
            })
            .collect();
        let known = Arc::new(Known {
            sets: Mutex::new(sets),
            picture: picture.clone(),
            pulse: pulse.clone(),
            ..Known::default()
        });
        let mut watches = JoinSet::new();
        for resource in resources {
            let (cluster, known) = (Arc::clone(cluster), Arc::clone(&known));
            let from = seen.get(&resource).cloned();
            watches.spawn(async move { look(&*cluster, &resource, &known, from).await });
        }
        Self {
            known,
            _watches: watches,
        }
    }

    /// The stacks that have drifted and were not reported yet, at least one. Pends while nothing drifts. Dropping it
    /// early loses nothing.
    pub(crate) async fn next(&self) -> BTreeSet<StackId> {
        loop {
            let told = std::mem::take(&mut *self.known.told());
            if !told.is_empty() {
                return told;
            }
            self.known.news.notified().await;
        }
    }

    /// From now on a reported stack is judged by this record again, including what was seen of it meanwhile.
    pub(crate) fn settle(&self, record: Record, left: Left) {
        let record = Arc::new(record);
        self.known.picture.one(&record);
        let mut sets = self.known.sets();
        let Some(set) = sets.get_mut(&record.stack.apply_set()) else {
            return;
        };
        (set.record, set.left) = (record, left);
        let since = set.since.take().unwrap_or_default();
        if since.lacked || since.objects.values().any(|(live, gone)| set.drifted(live, *gone)) {
            set.since = Some(Since::default());
            self.known.tell(&set.record.stack);
        }
    }
}

async fn look(cluster: &dyn Cluster, resource: &Resource, known: &Known, mut from: Option<String>) {
    let mut pause = Pause::default();
    loop {
        if let Err(error) = follow(cluster, resource, known, from.take(), &mut pause).await {
            tracing::warn!(kind = resource.kind, %error, "the watch for drift broke; it starts again");
            known.pulse.watch(&resource.kind, false);
        }
        pause.rest().await;
    }
}

async fn follow(
    cluster: &dyn Cluster,
    resource: &Resource,
    known: &Known,
    from: Option<String>,
    pause: &mut Pause,
) -> Result<(), ClusterError> {
    let selection = Selection {
        labels: PART_OF.to_owned(),
        ..Selection::default()
    };
    let mut version = match from {
        Some(version) => version,
        None => begin(cluster, resource, &selection, known).await?,
    };
    loop {
        let mut events = match cluster.watch(resource, &selection, &version).await {
            Err(error) if error.is_expired() => return Ok(()),
            other => other?,
        };
        known.pulse.watch(&resource.kind, true);
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
            known.see(&object, gone);
        }
        // Servers end watches after some minutes; one that ends at once must not be restarted in a tight loop.
        if began.elapsed().as_secs() == 0 {
            return Ok(());
        }
    }
}

/// The list that a watch begins with; reports what has drifted already.
async fn begin(
    cluster: &dyn Cluster,
    resource: &Resource,
    selection: &Selection,
    known: &Known,
) -> Result<String, ClusterError> {
    let list = cluster.list(resource, selection).await?;
    let mut there = BTreeSet::new();
    for object in &list.items {
        if let Some(set) = set_of(object) {
            there.insert((set.to_owned(), ObjectKey::of(object)));
        }
        known.see(object, false);
    }
    let mut sets = known.sets();
    for (id, set) in sets.iter_mut() {
        let of_kind = |key: &&ObjectKey| key.kind == resource.kind && key.group == resource.group;
        let lacking = set
            .record
            .entries
            .keys()
            .filter(of_kind)
            .any(|key| !there.contains(&(id.clone(), key.clone())));
        if lacking {
            known.lacks(set);
        }
    }
    drop(sets);
    Ok(list.resource_version)
}
