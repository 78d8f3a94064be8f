//! A place in a table's history, and waiting there for what comes next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Change, Table};

/// The history that a reader still needed is gone: list again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the history that the watch stood in is gone; the oldest revision is {oldest}")]
pub struct Expired {
    /// The oldest revision from which one can still read.
    pub oldest: u64,
}

/// Reads one table's changes in order, from a revision on. It has no filter: every change of the resource passes.
#[derive(Debug)]
pub struct Feed {
    table: Arc<Table>,
    /// Every change up to here has been handed out or is in `ready`.
    read: u64,
    ready: VecDeque<Arc<Change>>,
    signal: tokio::sync::watch::Receiver<u64>,
}

/// How many changes are taken out of the shared history under one lock.
const BATCH: usize = 256;

impl Feed {
    /// Read what happened after `revision`.
    pub fn new(table: Arc<Table>, revision: u64) -> Self {
        let signal = table.signal.subscribe();
        Self {
            table,
            read: revision,
            ready: VecDeque::new(),
            signal,
        }
    }

    /// The next change, when there is one.
    pub async fn next(&mut self) -> Result<Arc<Change>, Expired> {
        loop {
            self.signal.mark_unchanged();
            if let Some(change) = self.poll()? {
                return Ok(change);
            }
            // The sender lives in the table, which this feed holds: waiting cannot fail.
            let _ = self.signal.changed().await;
        }
    }

    /// The next change, if it has already happened.
    pub fn poll(&mut self) -> Result<Option<Arc<Change>>, Expired> {
        if let Some(change) = self.ready.pop_front() {
            return Ok(Some(change));
        }
        let inner = self.table.read();
        if self.read < inner.floor {
            return Err(Expired { oldest: inner.floor });
        }
        let start = inner.history.partition_point(|change| change.revision <= self.read);
        self.ready.extend(inner.history.range(start..).take(BATCH).cloned());
        drop(inner);
        if let Some(last) = self.ready.back() {
            self.read = last.revision;
        }
        Ok(self.ready.pop_front())
    }

    /// If nothing is outstanding, the revision up to which the reader has now seen everything.
    pub fn caught_up(&mut self) -> Option<u64> {
        if !self.ready.is_empty() {
            return None;
        }
        let inner = self.table.read();
        if inner.history.back().is_some_and(|last| last.revision > self.read) {
            return None;
        }
        // A reader that asked for the future stays there.
        self.read = self.read.max(self.table.revision.load(Ordering::SeqCst));
        Some(self.read)
    }
}
