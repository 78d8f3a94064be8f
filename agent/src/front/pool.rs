//! Connections to the workload and to peers. An idle one is reused only for requests that may be repeated; every other
//! request gets a fresh one, because the other side may close an idle connection at the very moment of sending.

use super::body::Passed;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Limit of idle connections to one address.
const IDLE: usize = 32;

/// Longest idle time of a connection.
const OLDEST: Duration = Duration::from_secs(20);

/// A connection that a request can be sent on.
pub type Sender = SendRequest<Passed>;

/// Idle connections by address.
#[derive(Debug, Default)]
pub struct Pool {
    idle: Mutex<HashMap<SocketAddr, Vec<(Sender, Instant)>>>,
}

impl Pool {
    /// An idle connection, if there is one that is still open.
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

    /// Opens a fresh connection.
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
            // It ends when both sides are done with it; the request on it gets any error.
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

    /// Forgets addresses for which `keep` is false.
    pub fn forget_others(&self, keep: impl Fn(&SocketAddr) -> bool) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|to, _| keep(to));
    }
}
