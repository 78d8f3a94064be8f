//! Git, as a source needs it: where a branch points, and the files of a commit as a tree in memory.
//!
//! `repository` is the only user of libgit2 and blocks; everything here runs it beside the runtime with a deadline. Nothing is
//! checked out: blobs go from the object store into memory under limits, so no path, link or file name of a repository ever
//! touches the disk, and nothing of it is executed.

mod bridge;
mod local;
mod repository;
mod signature;

pub(crate) use bridge::Transport;
pub(crate) use local::revision;
pub(crate) use repository::{Commit, Limits};
pub(crate) use signature::Signers;

use bridge::Bridge;
use repository::Repository;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What may go wrong between us and a repository. Texts hold no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GitError {
    /// The other side did not answer in time.
    #[error("{doing} {url} took longer than {} s", limit.as_secs())]
    Late {
        doing: &'static str,
        url: String,
        limit: Duration,
    },
    /// An earlier request still hangs; it is not doubled.
    #[error("an earlier request to {url} has not come back yet")]
    Hanging { url: String },
    /// The other side, or the object store, refused.
    #[error("{doing} {url}: {said}")]
    Refused {
        doing: &'static str,
        url: String,
        said: String,
    },
    /// The branch is not there.
    #[error("{url} has no branch {branch}; what it says stays as it is")]
    NoBranch { url: String, branch: String },
    /// The commit's files exceed a limit or cannot be read.
    #[error("{0}")]
    Unfit(String),
}

/// A remote branch and our store of its commits.
#[derive(Debug, Clone)]
pub(crate) struct Branch {
    repository: Arc<Repository>,
    transport: Transport,
    busy: Arc<AtomicBool>,
    deadline: Duration,
}

impl Branch {
    /// A branch of a remote, with a folder for its objects (made if absent, readable by us alone).
    pub(crate) fn new(
        url: &str,
        branch: &str,
        transport: Transport,
        store: PathBuf,
        limits: Limits,
        deadline: Duration,
    ) -> Self {
        Self {
            repository: Arc::new(Repository::new(url, branch, store, limits)),
            transport,
            busy: Arc::default(),
            deadline,
        }
    }

    /// Which commit the branch points to: one small request.
    ///
    /// # Errors
    /// When the remote refuses, is late, or has no such branch.
    pub(crate) async fn head(&self) -> Result<String, GitError> {
        self.run("asking", Repository::head).await
    }

    /// The commit and its files; fetched if we do not have it.
    ///
    /// # Errors
    /// When it cannot be fetched, or its files exceed a limit.
    pub(crate) async fn commit(&self, hash: String) -> Result<Commit, GitError> {
        self.run("fetching", move |repository, url| repository.commit(url, &hash))
            .await
    }

    /// The way to an https remote; none where libgit2 needs none.
    async fn bridge(&self, doing: &'static str) -> Result<Option<Bridge>, GitError> {
        if !self.repository.url.starts_with("https://") {
            return Ok(None);
        }
        let opened = Bridge::open(&self.repository.url, &self.transport).await;
        opened.map(Some).map_err(|said| GitError::Refused {
            doing,
            url: self.repository.shown(),
            said,
        })
    }

    /// Runs something that blocks, once at a time. A call that hangs keeps its thread until it returns; the source says so and
    /// is not asked again meanwhile, and no other source waits for it.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Repository, &str) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let url = self.repository.shown();
        if self.busy.swap(true, Ordering::AcqRel) {
            return Err(GitError::Hanging { url });
        }
        let bridge = match self.bridge(doing).await {
            Ok(bridge) => bridge,
            Err(error) => {
                self.busy.store(false, Ordering::Release);
                return Err(error);
            }
        };
        let address = bridge
            .as_ref()
            .map_or_else(|| self.repository.url.clone(), |bridge| bridge.url.clone());
        let (repository, busy) = (Arc::clone(&self.repository), Arc::clone(&self.busy));
        let deadline = std::time::Instant::now() + self.deadline;
        let working = tokio::task::spawn_blocking(move || {
            repository.until(deadline);
            let result = work(&repository, &address);
            busy.store(false, Ordering::Release);
            result
        });
        match tokio::time::timeout(self.deadline, working).await {
            // libgit2 saw a status; what was behind it is known here.
            Ok(Ok(Err(error @ GitError::Refused { .. }))) => Err(match bridge.and_then(|bridge| bridge.failed()) {
                Some(said) => GitError::Refused { doing, url, said },
                None => error,
            }),
            Ok(Ok(result)) => result,
            Ok(Err(panicked)) => {
                self.busy.store(false, Ordering::Release);
                Err(GitError::Refused {
                    doing,
                    url,
                    said: format!("libgit2 failed: {panicked}"),
                })
            }
            Err(_) => Err(GitError::Late {
                doing,
                url,
                limit: self.deadline,
            }),
        }
    }
}
