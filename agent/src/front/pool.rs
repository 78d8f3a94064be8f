//! Connections to the workload and to peers. One that is idle is used again for what may be repeated; everything else gets a fresh one,
//! because an idle connection may be closed by the other side at the very moment of sending.

use super::body::Passed;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Idle connections to one place at most.
const IDLE: usize = 32;

/// Longest time that one is idle.
const OLDEST: Duration = Duration::from_secs(20);

/// A connection that a request can be sent on.
pub type Sender = SendRequest<Passed>;

/// Idle connections by place.
#[derive(Debug, Default)]
pub struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<(Sender, Instant)>>>,
}

impl Pool {
    /// An idle connection, if there is one that still lives.
    #[must_use]
    pub fn idle(&self, to: SocketAddr) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let held = idle.get_mut(&to)?;
        while let Some((sender, since)) = held.pop() {
            if since.elapsed() < OLDEST && !sender.is_closed() {
                return Some(sender);
            }
        }
        idle.remove(&to);
        None
    }

    /// A fresh connection.
    ///
    /// # Errors
    /// Why there is none. Nothing was sent.
    pub async fn connect(&self, to: SocketAddr, end: Duration) -> Result<Sender, String> {
        let open = async {
            let stream = TcpStream::connect(to)
                .await
                .map_err(|e| format!("connect to {to}: {e}"))?;
            // Frames of a stream must not wait for each other.
            let _ = stream.set_nodelay(true);
            let (sender, connection) = handshake(TokioIo::new(stream))
                .await
                .map_err(|e| format!("connect to {to}: {e}"))?;
            // It ends when both sides are done with it; what went wrong is told to the request on it.
            tokio::spawn(async move { drop(connection.await) });
            Ok(sender)
        };
        tokio::time::timeout(end, open)
            .await
            .unwrap_or_else(|_| Err(format!("connect to {to}: no answer within {} ms", end.as_millis())))
    }

    /// Keeps a connection whose answer was read to its end.
    pub fn keep(&self, to: SocketAddr, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let held = idle.entry(to).or_default();
        held.retain(|(s, since)| !s.is_closed() && since.elapsed() < OLDEST);
        if held.len() < IDLE {
            held.push((sender, Instant::now()));
        }
    }

    /// Forgets places that are not among these any more.
    pub fn forget_others(&self, keep: impl Fn(&SocketAddr) -> bool) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|to, _| keep(to));
    }
}
