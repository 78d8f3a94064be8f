//! What a source says of itself, on its way to the cluster: a task of its own writes the last word, so that a server that does not
//! answer holds up neither reverts nor looks at the branch. It decides nothing of what is said.

use crate::control::{Board, Status};
use crate::pause::Pause;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long something that may wait for a word waits for it: a server that does not write it is no reason to leave what is to be
/// done undone.
const HEARD: Duration = Duration::from_secs(10);
/// How long the last word may take when the source ends: somebody else takes it over.
const FAREWELL: Duration = Duration::from_secs(5);

/// The words of one source.
pub(super) struct Words {
    said: watch::Sender<Status>,
    written: watch::Receiver<Status>,
    writing: JoinHandle<()>,
}

impl Words {
    /// Begins with the status that the cluster has.
    pub(super) fn begin(board: Board, source: &str, there: &Status) -> Self {
        let (said, wanted) = watch::channel(there.clone());
        let (tell, written) = watch::channel(there.clone());
        let writing = tokio::spawn(write(board, source.to_owned(), wanted, tell));
        Self { said, written, writing }
    }

    /// From now on this is to be written. What was to be written before and is not yet, is not any more.
    pub(super) fn say(&self, status: &Status) {
        self.said.send_if_modified(|last| {
            let new = last != status;
            if new {
                last.clone_from(status);
            }
            new
        });
    }

    /// Returns when the cluster has the last word, or does not take it for too long.
    pub(super) async fn heard(&mut self) {
        let said = self.said.borrow().clone();
        let heard = self.written.wait_for(|written| *written == said);
        // Who does not hear it in time hears it later: it is tried until it is written.
        let _ = tokio::time::timeout(HEARD, heard).await;
    }

    /// Ends, with the last word if the cluster takes it soon.
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
                    // Nobody is there any more, and the last word was tried.
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
