//! Writes a source's status to the cluster in a task of its own, always the latest one, so that a server that does not
//! answer delays neither reverts nor polls of the branch. It decides nothing about the content.

use crate::control::{Board, Status};
use crate::pause::Pause;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long to wait for a status to be written: a server that does not accept it is no reason to leave work undone.
const HEARD: Duration = Duration::from_secs(10);
/// How long the last status may take when the source ends: another replica takes the source over.
const FAREWELL: Duration = Duration::from_secs(5);

/// The status reports of one source.
pub(super) struct Words {
    said: watch::Sender<Status>,
    written: watch::Receiver<Status>,
    writing: JoinHandle<()>,
}

impl Words {
    /// Starts with the status that is in the cluster.
    pub(super) fn begin(board: Board, source: &str, there: &Status) -> Self {
        let (said, wanted) = watch::channel(there.clone());
        let (tell, written) = watch::channel(there.clone());
        let writing = tokio::spawn(write(board, source.to_owned(), wanted, tell));
        Self { said, written, writing }
    }

    /// Queues this status; it replaces one that is not written yet.
    pub(super) fn say(&self, status: &Status) {
        self.said.send_if_modified(|last| {
            let new = last != status;
            if new {
                last.clone_from(status);
            }
            new
        });
    }

    /// Returns when the cluster has the latest status, or has not accepted it for too long.
    pub(super) async fn heard(&mut self) {
        let said = self.said.borrow().clone();
        let heard = self.written.wait_for(|written| *written == said);
        // If it is not written in time, it is written later: it is retried until it succeeds.
        let _ = tokio::time::timeout(HEARD, heard).await;
    }

    /// Ends, after writing the last status if the cluster accepts it soon.
    pub(super) async fn end(self) {
        let Self { said, writing, .. } = self;
        drop(said);
        let abort = writing.abort_handle();
        if tokio::time::timeout(FAREWELL, writing).await.is_err() {
            abort.abort();
        }
    }
}

async fn write(board: Board, source: String, mut wanted: watch::Receiver<Status>, tell: watch::Sender<Status>) {
    let mut pause = Pause::default();
    loop {
        let status = wanted.borrow_and_update().clone();
        if status != *tell.borrow() {
            match board.say(&status).await {
                Ok(()) => {
                    pause.reset();
                    tell.send_replace(status);
                }
                Err(error) => {
                    tracing::warn!(source, %error, "the status could not be written; it is tried again");
                    pause.rest().await;
                    // The source is gone, and the last status was tried.
                    if wanted.has_changed().is_err() {
                        return;
                    }
                    wanted.mark_changed();
                }
            }
        }
        if wanted.changed().await.is_err() {
            return;
        }
    }
}
