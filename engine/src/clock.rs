//! The port to time: what moment it is, and waiting. Deciding takes moments as arguments; only acting waits.

use futures::future::BoxFuture;
use jiff::Timestamp;
use std::time::Duration;

/// Time as acting sees it.
pub trait Clock: Send + Sync + 'static {
    /// This moment.
    fn now(&self) -> Timestamp;

    /// Returns after a while.
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
