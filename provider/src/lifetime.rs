//! When work stops and when the process ends.
//!
//! Terraform says stop in three ways: StopProvider (the first Ctrl-C: end what is running, more calls may come),
//! Shutdown (end the process within two seconds), and by disappearing (its connection closes). An apply is never cut
//! off in the middle of a request: it is told to stop and gets time to write down the true state.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long work may take to stop once the process has to end. The host kills two seconds after Shutdown.
const LAST_WORDS: Duration = Duration::from_millis(1200);

/// How long the answer to Shutdown may take to leave.
const GOODBYE: Duration = Duration::from_millis(100);

/// How long to stay when the only connection is gone: Terraform itself was killed, and will not return.
const ORPHANED: Duration = Duration::from_secs(30);

/// Shared by every call.
#[derive(Debug)]
pub struct Lifetime {
    /// What running calls listen to; replaced by a fresh one on every stop.
    current: Mutex<CancellationToken>,
    /// Set once the process has to end.
    ending: CancellationToken,
    /// How many calls run.
    running: watch::Sender<usize>,
}

/// A call that runs.
#[derive(Debug)]
pub struct Running {
    /// Cancelled when the call should end early with what is true.
    pub cancel: CancellationToken,
    count: watch::Sender<usize>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count -= 1);
    }
}

impl Default for Lifetime {
    fn default() -> Lifetime {
        let ending = CancellationToken::new();
        Lifetime {
            current: Mutex::new(ending.child_token()),
            ending,
            running: watch::Sender::new(0),
        }
    }
}

impl Lifetime {
    /// A call begins.
    pub fn begin(&self) -> Running {
        self.running.send_modify(|count| *count += 1);
        let current = self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        Running {
            cancel: current.child_token(),
            count: self.running.clone(),
        }
    }

    /// Stops every call that runs; those that begin afterwards are not touched.
    pub fn stop_running(&self) {
        let mut current = self.current.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        current.cancel();
        *current = self.ending.child_token();
    }

    /// Begins the end of the process.
    pub fn end(&self) {
        self.ending.cancel();
    }

    /// Waits until the process should end: on request, or because all connections are gone and stay gone. Then waits
    /// for running calls, as long as there is time.
    pub async fn until_the_end(&self, open: watch::Receiver<usize>, stays_alone: bool) {
        tokio::select! {
            () = self.ending.cancelled() => {}
            () = self.orphaned(open.clone()), if !stays_alone => {
                tracing::warn!("Terraform is gone; ending");
                self.ending.cancel();
            }
        }
        let mut running = self.running.subscribe();
        let _ = tokio::time::timeout(LAST_WORDS, running.wait_for(|count| *count == 0)).await;
        // Terraform closes the connection as soon as it has the answer.
        let mut open = open;
        let _ = tokio::time::timeout(GOODBYE, open.wait_for(|count| *count == 0)).await;
    }

    /// Waits until there was a connection and then none.
    async fn orphaned(&self, mut open: watch::Receiver<usize>) {
        loop {
            if open.wait_for(|count| *count > 0).await.is_err() || open.wait_for(|count| *count == 0).await.is_err() {
                return;
            }
            // The running calls have no caller any more: stop them, and let them write down the true state.
            self.stop_running();
            let mut running = self.running.subscribe();
            let idle = async {
                let _ = running.wait_for(|count| *count == 0).await;
            };
            tokio::select! {
                () = idle => return,
                () = tokio::time::sleep(ORPHANED) => return,
                // Somebody came back.
                _ = async { open.clone().wait_for(|count| *count > 0).await.is_ok() } => {}
            }
        }
    }
}
