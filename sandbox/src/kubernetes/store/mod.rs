//! Objects by resource, one revision counter for all, and a bounded history per resource from which watches read.
//!
//! It knows keys and revisions and nothing else: no schema, no admission, no users. Writers pass the revision that they
//! read, and the second writer gets a conflict. A watch has no queue of its own but a position in the shared history.
//! So two hundred watches cost two hundred numbers, and a slow one falls out of the window instead of filling memory.

mod object;
mod watch;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

pub use object::Object;
pub(crate) use object::render_body;
pub use watch::{Expired, Feed};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Added,
    /// It was changed.
    Modified,
    /// It is gone.
    Deleted,
}

/// One entry of a resource's history.
#[derive(Debug)]
pub struct Change {
    /// The revision that this change made.
    pub revision: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// The object after it; for a deletion its last state, carrying the deletion's revision.
    pub object: Arc<Object>,
    /// The object before it, if there was one.
    pub previous: Option<Arc<Object>>,
}

/// Why a write was not done.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// Create: the key is taken.
    Exists,
    /// Replace or remove: the key is not there any more.
    Absent,
    /// Replace or remove: someone else wrote since the caller read.
    Raced,
}

/// All objects of the sandbox.
#[derive(Debug)]
pub struct Store {
    revision: Arc<AtomicU64>,
    /// Tells of every change of every table.
    pulse: Arc<tokio::sync::watch::Sender<u64>>,
    tables: RwLock<HashMap<Arc<str>, Arc<Table>>>,
    window: usize,
}

/// The objects of one resource and their recent history.
#[derive(Debug)]
pub struct Table {
    revision: Arc<AtomicU64>,
    pulse: Arc<tokio::sync::watch::Sender<u64>>,
    inner: RwLock<Inner>,
    signal: tokio::sync::watch::Sender<u64>,
    window: usize,
}

#[derive(Debug)]
struct Inner {
    objects: BTreeMap<String, Arc<Object>>,
    history: VecDeque<Arc<Change>>,
    /// History is complete after this revision.
    floor: u64,
}

/// Part of a table at one revision.
#[derive(Debug)]
pub struct Page {
    /// Objects in the order of their keys.
    pub objects: Vec<Arc<Object>>,
    /// The revision that they are a snapshot of.
    pub revision: u64,
}

/// The revision at which a fresh sandbox starts: anything before was "compacted".
pub const FIRST_REVISION: u64 = 100;

impl Store {
    /// An empty store that remembers the last `window` changes of each resource.
    pub fn new(window: usize) -> Self {
        Self {
            revision: Arc::new(AtomicU64::new(FIRST_REVISION)),
            pulse: Arc::new(tokio::sync::watch::Sender::new(FIRST_REVISION)),
            tables: RwLock::default(),
            window: window.max(1),
        }
    }

    /// The latest revision.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::SeqCst)
    }

    /// The table of a resource, by its `plural.group`; created on first use.
    pub fn table(&self, resource: &str) -> Arc<Table> {
        if let Some(table) = self.tables.read().unwrap_or_else(PoisonError::into_inner).get(resource) {
            return table.clone();
        }
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        tables
            .entry(Arc::from(resource))
            .or_insert_with(|| Arc::new(Table::new(self.revision.clone(), self.pulse.clone(), self.window)))
            .clone()
    }

    /// Tells when any object of any resource has changed.
    pub fn changes(&self) -> tokio::sync::watch::Receiver<u64> {
        self.pulse.subscribe()
    }

    /// How many objects there are, by resource; for the banner and the bench.
    pub fn counts(&self) -> BTreeMap<String, usize> {
        let tables = self.tables.read().unwrap_or_else(PoisonError::into_inner);
        tables
            .iter()
            .map(|(name, table)| (name.to_string(), table.read().objects.len()))
            .collect()
    }

    /// Forget all history: every watch from an older revision expires.
    pub fn compact(&self) {
        for table in self.tables.read().unwrap_or_else(PoisonError::into_inner).values() {
            table.compact();
        }
    }
}

/// The key of an object: sorting by it is the API server's order of a list across namespaces.
pub fn key(namespace: &str, name: &str) -> String {
    if namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}/{name}")
    }
}

impl Table {
    fn new(revision: Arc<AtomicU64>, pulse: Arc<tokio::sync::watch::Sender<u64>>, window: usize) -> Self {
        let inner = Inner {
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            floor: FIRST_REVISION,
        };
        Self {
            revision,
            pulse,
            inner: RwLock::new(inner),
            signal: tokio::sync::watch::Sender::new(0),
            window,
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The object under a key, and the revision at which it was looked up.
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.read().objects.get(key).cloned()
    }

    /// Whether history after a revision is incomplete: a watch from there must start again.
    pub fn is_expired(&self, revision: u64) -> bool {
        revision < self.read().floor
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All objects whose key starts with `prefix` (empty: all), after `after`, now.
    pub fn list(&self, prefix: &str, after: Option<&str>) -> Page {
        let inner = self.read();
        // Writers take their revision under this table's lock, so all of this table's changes up to here are seen.
        let revision = self.revision.load(Ordering::SeqCst);
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let objects = inner
            .objects
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, object)| object.clone())
            .collect();
        Page { objects, revision }
    }

    /// The same as it was at a past revision; `None` if history does not reach that far back.
    pub fn list_at(&self, prefix: &str, after: Option<&str>, revision: u64) -> Option<Page> {
        let inner = self.read();
        if revision < inner.floor {
            return None;
        }
        let mut past: BTreeMap<&str, Option<&Arc<Object>>> = BTreeMap::new();
        for change in inner
            .history
            .iter()
            .rev()
            .take_while(|change| change.revision > revision)
        {
            past.insert(change.object.key(), change.previous.as_ref());
        }
        let mut objects: BTreeMap<&str, &Arc<Object>> = BTreeMap::new();
        let present = inner
            .objects
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        for (key, object) in present.take_while(|(key, _)| key.starts_with(prefix)) {
            if !past.contains_key(key.as_str()) {
                objects.insert(key, object);
            }
        }
        for (key, object) in past {
            if let Some(object) = object
                && key.starts_with(prefix)
            {
                objects.insert(key, object);
            }
        }
        let objects = objects
            .into_iter()
            .filter(|(key, _)| after.is_none_or(|after| *key > after));
        Some(Page {
            objects: objects.map(|(_, object)| object.clone()).collect(),
            revision,
        })
    }

    /// Create an object. Its `metadata.resourceVersion` is set here.
    pub fn insert(&self, key: &str, value: Value) -> Result<Arc<Object>, Refused> {
        let mut inner = self.write();
        if inner.objects.contains_key(key) {
            return Err(Refused::Exists);
        }
        let revision = self.next();
        let object = Arc::new(Object::new(key, value, revision));
        inner.objects.insert(key.to_owned(), object.clone());
        self.record(
            &mut inner,
            Change {
                revision,
                kind: ChangeKind::Added,
                object: object.clone(),
                previous: None,
            },
        );
        drop(inner);
        self.announce(revision);
        Ok(object)
    }

    /// Replace an object if it is still at the revision that was read.
    pub fn replace(&self, key: &str, value: Value, read: u64) -> Result<Arc<Object>, Refused> {
        let mut inner = self.write();
        let previous = inner.objects.get(key).cloned().ok_or(Refused::Absent)?;
        if previous.revision() != read {
            return Err(Refused::Raced);
        }
        let revision = self.next();
        let object = Arc::new(Object::new(key, value, revision));
        inner.objects.insert(key.to_owned(), object.clone());
        let change = Change {
            revision,
            kind: ChangeKind::Modified,
            object: object.clone(),
            previous: Some(previous),
        };
        self.record(&mut inner, change);
        drop(inner);
        self.announce(revision);
        Ok(object)
    }

    /// Remove an object if it is still at the revision that was read; `last` is the state that watches are shown.
    pub fn remove(&self, key: &str, last: Value, read: u64) -> Result<Arc<Object>, Refused> {
        let mut inner = self.write();
        let previous = inner.objects.get(key).cloned().ok_or(Refused::Absent)?;
        if previous.revision() != read {
            return Err(Refused::Raced);
        }
        let revision = self.next();
        let object = Arc::new(Object::new(key, last, revision));
        inner.objects.remove(key);
        let change = Change {
            revision,
            kind: ChangeKind::Deleted,
            object: object.clone(),
            previous: Some(previous),
        };
        self.record(&mut inner, change);
        drop(inner);
        self.announce(revision);
        Ok(object)
    }

    fn next(&self) -> u64 {
        self.revision.fetch_add(1, Ordering::SeqCst) + 1
    }

    fn record(&self, inner: &mut Inner, change: Change) {
        inner.history.push_back(Arc::new(change));
        while inner.history.len() > self.window {
            if let Some(gone) = inner.history.pop_front() {
                inner.floor = gone.revision;
            }
        }
    }

    fn announce(&self, revision: u64) {
        self.signal.send_modify(|latest| *latest = (*latest).max(revision));
        self.pulse.send_modify(|latest| *latest = (*latest).max(revision));
    }

    fn compact(&self) {
        let mut inner = self.write();
        inner.history.clear();
        inner.floor = self.revision.load(Ordering::SeqCst);
        drop(inner);
        self.signal.send_modify(|_| {});
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(name: &str) -> Value {
        json!({"metadata": {"name": name}})
    }

    #[test]
    fn a_write_from_an_old_reading_is_refused() {
        let store = Store::new(10);
        let table = store.table("configmaps");
        let first = table.insert("a/x", object("x")).unwrap();
        let second = table.replace("a/x", object("x"), first.revision()).unwrap();
        assert_eq!(
            table.replace("a/x", object("x"), first.revision()).unwrap_err(),
            Refused::Raced
        );
        assert_eq!(
            table.remove("a/x", object("x"), first.revision()).unwrap_err(),
            Refused::Raced
        );
        table.remove("a/x", object("x"), second.revision()).unwrap();
        assert_eq!(
            table.replace("a/x", object("x"), second.revision()).unwrap_err(),
            Refused::Absent
        );
    }

    #[test]
    fn a_list_of_a_past_revision_undoes_what_came_after() {
        let store = Store::new(10);
        let table = store.table("configmaps");
        let a = table.insert("n/a", object("a")).unwrap();
        let b = table.insert("n/b", object("b")).unwrap();
        table.remove("n/a", object("a"), a.revision()).unwrap();
        table.insert("n/c", object("c")).unwrap();
        let names = |page: Page| page.objects.iter().map(|o| o.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(table.list("n/", None)), ["b", "c"]);
        assert_eq!(names(table.list_at("n/", None, b.revision()).unwrap()), ["a", "b"]);
        assert_eq!(names(table.list_at("n/", Some("n/a"), b.revision()).unwrap()), ["b"]);
        assert!(table.list_at("n/", None, FIRST_REVISION - 1).is_none());
    }

    #[test]
    fn namespaces_come_in_the_order_of_storage_keys() {
        let store = Store::new(10);
        let table = store.table("configmaps");
        for namespace in ["x", "x-b"] {
            table
                .insert(
                    &key(namespace, "o"),
                    json!({"metadata": {"name": "o", "namespace": namespace}}),
                )
                .unwrap();
        }
        let order: Vec<_> = table
            .list("", None)
            .objects
            .iter()
            .map(|o| o.namespace().to_owned())
            .collect();
        assert_eq!(order, ["x-b", "x"]);
    }

    #[tokio::test]
    async fn a_feed_reads_history_then_what_happens_and_expires_when_it_is_too_slow() {
        let store = Store::new(2);
        let table = store.table("configmaps");
        let mut feed = Feed::new(table.clone(), store.revision());
        table.insert("a", object("a")).unwrap();
        assert_eq!(feed.next().await.unwrap().object.name(), "a");
        for name in ["b", "c", "d"] {
            table.insert(name, object(name)).unwrap();
        }
        assert!(feed.next().await.is_err());
    }
}
