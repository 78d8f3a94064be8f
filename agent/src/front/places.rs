//! What a request holds until its answer has ended: its slot in the count of its workload, and the connection that it
//! uses.

use super::body::End;
use super::pool::{Pool, Sender};
use crate::node::Shared;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The slots that a request has taken. They are released when its answer has ended.
pub(super) struct Places {
    _count: Count,
    connection: Option<(Arc<Pool>, SocketAddr, Sender)>,
}

impl Places {
    /// A slot at a workload, and the connection to it.
    pub(super) fn new(count: Count, pool: &Arc<Pool>, to: SocketAddr, sender: Sender) -> Self {
        Self {
            _count: count,
            connection: Some((Arc::clone(pool), to, sender)),
        }
    }
}

impl End for Places {
    fn end(mut self) {
        if let Some((pool, to, sender)) = self.connection.take() {
            pool.keep(to, sender);
        }
    }

    /// The connection is closed with it.
    fn break_off(self, _: u16, _: &str) {}
}

/// Counts one more until it is dropped.
pub(super) struct Count(Counted);

/// Which workload handles the request.
pub(super) enum Counted {
    /// The local workload's.
    Local(Arc<Shared>),
    /// A peer's.
    Peer(Arc<AtomicU32>),
}

impl Count {
    /// Counts one.
    pub(super) fn new(what: Counted) -> Self {
        what.counter().fetch_add(1, Ordering::Relaxed);
        Self(what)
    }
}

impl Counted {
    fn counter(&self) -> &AtomicU32 {
        match self {
            Self::Local(shared) => &shared.counters.in_flight,
            Self::Peer(outstanding) => outstanding,
        }
    }
}

impl Drop for Count {
    fn drop(&mut self) {
        self.0.counter().fetch_sub(1, Ordering::Relaxed);
    }
}
