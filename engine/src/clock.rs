//! The port to time: the current time, and waiting. Decisions take times as arguments; only acting code waits.

use futures::future::BoxFuture;
use jiff::Timestamp;
use std::time::Duration;

/// The clock that acting code uses.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;

    /// Returns after this time.
    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()>;
}

/// The time of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(time))
    }
}
