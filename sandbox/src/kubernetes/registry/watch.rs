//! Watches: a table's feed seen through a query.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Failure, Query, Registry};
use crate::kubernetes::schema::resources::Resource;
pub use crate::kubernetes::store::Expired;
use crate::kubernetes::store::{Change, ChangeKind, Feed, Object};

/// What an event says about its object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It is new, or has come into the query.
    Added,
    /// It has changed.
    Modified,
    /// It is gone, or has left the query; the object is its last state inside.
    Deleted,
}

impl EventKind {
    /// As the wire says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One event of a watch.
#[derive(Debug, Clone)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which object.
    pub object: Arc<Object>,
    /// The revision at which it happened.
    pub revision: u64,
}

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// With all existing objects as `Added`.
    Start,
    /// With what happens from now on.
    Now,
    /// With what happened after a revision.
    Revision(u64),
}

/// A running watch.
#[derive(Debug)]
pub struct Watch {
    query: Query,
    initial: VecDeque<Arc<Object>>,
    initial_revision: u64,
    feed: Feed,
}

impl Registry {
    /// Watch the objects of a resource that a query selects.
    pub fn watch(&self, resource: &Resource, query: Query, since: Since) -> Result<Watch, Failure> {
        let table = self.table(resource);
        let (initial, from) = match since {
            Since::Start => {
                let listing = self.select(resource, &query)?;
                (listing.objects.into(), listing.revision)
            }
            Since::Now => (VecDeque::new(), self.store().revision()),
            Since::Revision(revision) => (VecDeque::new(), revision),
        };
        Ok(Watch {
            query,
            initial,
            initial_revision: from,
            feed: Feed::new(table, from),
        })
    }
}

impl Watch {
    /// The next event, when there is one. `Err` if the watcher was too slow: start again from a list.
    pub async fn next(&mut self) -> Result<Event, Expired> {
        if let Some(event) = self.next_initial() {
            return Ok(event);
        }
        loop {
            let change = self.feed.next().await?;
            if let Some(event) = self.seen(&change) {
                return Ok(event);
            }
        }
    }

    /// The next event, if it has already happened.
    pub fn poll(&mut self) -> Result<Option<Event>, Expired> {
        if let Some(event) = self.next_initial() {
            return Ok(Some(event));
        }
        while let Some(change) = self.feed.poll()? {
            if let Some(event) = self.seen(&change) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Whether the objects that existed at the start are still being delivered.
    pub fn is_initial(&self) -> bool {
        !self.initial.is_empty()
    }

    /// The revision of the list that the watch started with.
    pub fn initial_revision(&self) -> u64 {
        self.initial_revision
    }

    /// If nothing is outstanding, the revision up to which everything has been delivered.
    pub fn caught_up(&mut self) -> Option<u64> {
        if self.is_initial() {
            return None;
        }
        self.feed.caught_up()
    }

    fn next_initial(&mut self) -> Option<Event> {
        let object = self.initial.pop_front()?;
        let revision = object.revision();
        Some(Event {
            kind: EventKind::Added,
            object,
            revision,
        })
    }

    /// How a change looks through the query.
    fn seen(&self, change: &Change) -> Option<Event> {
        let revision = change.revision;
        let is_in = change.kind != ChangeKind::Deleted && self.query.matches(&change.object);
        let was_in = change
            .previous
            .as_ref()
            .is_some_and(|previous| self.query.matches(previous));
        let event = |kind, object: &Arc<Object>| {
            Some(Event {
                kind,
                object: object.clone(),
                revision,
            })
        };
        match (was_in, is_in) {
            (false, false) => None,
            (false, true) => event(EventKind::Added, &change.object),
            (true, true) => event(EventKind::Modified, &change.object),
            (true, false) if change.kind == ChangeKind::Deleted => event(EventKind::Deleted, &change.object),
            (true, false) => {
                // It left the query: the watcher is shown its last state inside, at the revision of the change.
                let previous = change.previous.as_ref()?;
                let mut value = previous.value().clone();
                value["metadata"]["resourceVersion"] = revision.to_string().into();
                event(
                    EventKind::Deleted,
                    &Arc::new(Object::unstored(previous.key(), value, revision)),
                )
            }
        }
    }
}
