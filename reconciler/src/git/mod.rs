//! Git, as a source needs it: where a branch points, and the files of a commit as a tree in memory.
//!
//! Only `repository` uses libgit2, which blocks; everything here runs it beside the runtime, with a deadline. Nothing
//! is checked out: blobs go from the object store into memory under limits, so no path, link or file name of a
//! repository ever touches the disk, and nothing in it is executed.

mod bridge;
mod dial;
mod known_hosts;
mod local;
mod openpgp;
mod remote;
mod repository;
mod signature;
mod ssh;
mod transport;

pub(crate) use bridge::connector;
pub(crate) use dial::dial;
pub(crate) use local::revision;
pub(crate) use remote::{FORMS, Remote};
pub(crate) use repository::{Commit, Limits};
pub(crate) use signature::Signers;
pub(crate) use transport::Transport;

use bridge::Bridge;
use repository::Repository;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long a request waits for an earlier one that was called off: its connection is cut, and libgit2 has to notice.
const GIVING_BACK: Duration = Duration::from_secs(5);

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
    /// The right to use the store. Whoever holds it gives it back when dropped, wherever that is: a caller that went away, a panic,
    /// an end.
    turn: Arc<Semaphore>,
    deadline: Duration,
}

impl Branch {
    /// A branch of a remote, with a folder for its objects (made if absent, readable by us alone).
    pub(crate) fn new(
        remote: Remote,
        branch: &str,
        transport: Transport,
        store: PathBuf,
        limits: Limits,
        deadline: Duration,
    ) -> Self {
        Self {
            repository: Arc::new(Repository::new(remote, branch, store, limits)),
            transport,
            turn: Arc::new(Semaphore::new(1)),
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

    /// The way to a remote that libgit2 cannot reach by itself; none where it can.
    async fn bridge(&self, doing: &'static str) -> Result<Option<Bridge>, GitError> {
        let opened = match &self.repository.remote {
            Remote::Local(_) => return Ok(None),
            Remote::Https(url) => Bridge::open(url, &self.transport).await,
            Remote::Ssh(remote) => ssh::open(remote, &self.transport).await,
        };
        opened.map(Some).map_err(|said| GitError::Refused {
            doing,
            url: self.repository.shown(),
            said,
        })
    }

    /// Runs a blocking call, one at a time. A call that hangs keeps its thread until it returns; meanwhile the source
    /// says so and makes no further call, and no other source waits for it. Dropping the future cuts the connection of the
    /// call that it began.
    async fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&Repository, &str) -> Result<T, GitError> + Send + 'static,
    ) -> Result<T, GitError> {
        let url = self.repository.shown();
        let turn = Arc::clone(&self.turn).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(GIVING_BACK, turn).await else {
            return Err(GitError::Hanging { url });
        };
        let bridge = self.bridge(doing).await?;
        let address = bridge.as_ref().map_or_else(|| url.clone(), |bridge| bridge.url.clone());
        let repository = Arc::clone(&self.repository);
        let deadline = std::time::Instant::now() + self.deadline;
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            repository.until(deadline);
            work(&repository, &address)
        });
        match tokio::time::timeout(self.deadline, working).await {
            // libgit2 saw a status or an end; what was behind it is known here.
            Ok(Ok(Err(error @ GitError::Refused { .. }))) => Err(match bridge.and_then(|bridge| bridge.failed()) {
                Some(said) => GitError::Refused { doing, url, said },
                None => error,
            }),
            Ok(Ok(result)) => result,
            Ok(Err(panicked)) => Err(GitError::Refused {
                doing,
                url,
                said: format!("libgit2 failed: {panicked}"),
            }),
            Err(_) => Err(GitError::Late {
                doing,
                url,
                limit: self.deadline,
            }),
        }
    }
}
