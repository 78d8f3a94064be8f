//! Replicas on one machine that share a folder: the one that holds the lock of a source works on it, the others wait.
//! The kernel releases a lock when its process ends, however it ends. Replicas on several machines need leases.

use rand::RngExt as _;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a lock is tried again, at the shortest; up to twice of it.
const AGAIN: Duration = Duration::from_millis(200);

/// The lock of one source in a folder.
#[derive(Debug, Clone)]
pub(crate) struct Lock {
    source: String,
    path: PathBuf,
}

/// A lock that is held until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    _file: File,
}

impl Lock {
    pub(crate) fn new(folder: &Path, source: &str) -> Self {
        Self {
            source: source.to_owned(),
            path: folder.join(format!("{source}.lock")),
        }
    }

    /// Waits for the lock; None when the reconciler stops before.
    pub(crate) async fn acquire(&self, stop: &CancellationToken) -> Option<Held> {
        let mut told = false;
        loop {
            match self.try_once() {
                Ok(Some(held)) => {
                    if told {
                        tracing::info!(
                            source = self.source,
                            "the other process let the source go; it is worked on here now"
                        );
                    }
                    return Some(held);
                }
                Ok(None) if !told => {
                    told = true;
                    let file = self.path.display();
                    tracing::info!(source = self.source, %file, "another process on this machine works on the source; waiting");
                }
                Ok(None) => {}
                Err(error) => {
                    let file = self.path.display();
                    tracing::error!(source = self.source, %file, %error, "the lock of the source cannot be used; trying again");
                }
            }
            let rest = AGAIN + AGAIN.mul_f64(rand::rng().random::<f64>());
            stop.run_until_cancelled(tokio::time::sleep(rest)).await?;
        }
    }

    fn try_once(&self) -> std::io::Result<Option<Held>> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&self.path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Held { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_holds_a_source_and_the_next_has_it_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (Lock::new(folder.path(), "a"), Lock::new(folder.path(), "a"));
        let stop = CancellationToken::new();
        let held = one.acquire(&stop).await.unwrap();
        assert!(two.try_once().unwrap().is_none());
        assert!(Lock::new(folder.path(), "b").try_once().unwrap().is_some());
        drop(held);
        assert!(two.acquire(&stop).await.is_some());
        let _held = one.acquire(&stop).await.unwrap();
        stop.cancel();
        assert!(two.acquire(&stop).await.is_none());
    }
}
