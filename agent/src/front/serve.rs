//! The front's listener and its limits: the number of connections, the time for a head, bodies that fall silent, and
//! clients that do not read. It shuts down gracefully: current requests finish, and no new ones are accepted.

use super::body::{Passed, Trouble};
use super::forward::Front;
use super::stall::{Patience, Stalling, Turn, Working};
use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// Largest head of a request.
const HEAD: usize = 64 << 10;

/// A listening front.
#[derive(Debug)]
pub struct Serving {
    close: watch::Sender<bool>,
    room: Arc<Semaphore>,
    size: u32,
    task: JoinHandle<()>,
    watch: JoinHandle<()>,
}

/// Listens.
///
/// # Errors
/// When the address cannot be had.
pub async fn serve(front: Front) -> Result<Serving, String> {
    let address = front.config().listen;
    let listener = TcpListener::bind(address)
        .await
        .map_err(|e| format!("listen on {address} (front.listen): {e}"))?;
    let size = front
        .config()
        .max_connections
        .min(Semaphore::MAX_PERMITS)
        .min(u32::MAX as usize);
    // One connection of a client, and one to a workload for it.
    let wanted = size as u64 * 2;
    if let Some(files) = getrlimit(Resource::Nofile).current.filter(|files| *files < wanted) {
        tracing::warn!(
            files,
            wanted,
            "front.maxConnections needs more open files than this process may have: raise its limit (LimitNOFILE, ulimit -n)"
        );
    }
    let room = Arc::new(Semaphore::new(size));
    let (close, closed) = watch::channel(false);
    let front = Arc::new(front);
    let mut peers = front.shared().peers.subscribe();
    let watcher = Arc::clone(&front);
    let watch = tokio::spawn(async move {
        while peers.changed().await.is_ok() {
            let now = Arc::clone(&peers.borrow_and_update());
            watcher.peers_changed(&now);
        }
    });
    let places = Arc::clone(&room);
    let task = tokio::spawn(async move {
        loop {
            let Ok((stream, from)) = listener.accept().await else {
                // Out of file descriptors: connections that end release some.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                front.shared().counters.closed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let (front, closed) = (Arc::clone(&front), closed.clone());
            tokio::spawn(async move {
                connection(front, stream, from.ip(), closed).await;
                drop(place);
            });
        }
    });
    Ok(Serving {
        close,
        room,
        size: u32::try_from(size).unwrap_or(u32::MAX),
        task,
        watch,
    })
}

async fn connection(front: Arc<Front>, stream: TcpStream, client: IpAddr, mut closed: watch::Receiver<bool>) {
    // Frames of a stream must not wait for each other.
    let _ = stream.set_nodelay(true);
    let config = front.config();
    let patience = Patience {
        head: config.head_timeout.0,
        idle: config.idle_timeout.0,
        reading: config.body_timeout.0,
    };
    let turn = Turn::default();
    let stream = Stalling::new(stream, patience, turn.clone());
    let (own, turns) = (Arc::clone(&front), turn.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (front, working) = (Arc::clone(&own), turns.work());
        async move {
            let answer = front.answer(client, request).await;
            Ok::<_, Infallible>(answer.map(|body| Answering {
                body,
                _working: working,
            }))
        }
    });
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        // The library's timeout would close a connection that waits for its next request.
        .header_read_timeout(None)
        .max_buf_size(HEAD)
        .max_header_size(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    // How it ended concerns only its client; a late client is counted.
    let _ = tokio::select! {
        ended = &mut serving => ended,
        _ = async { closed.wait_for(|c| *c).await.is_ok() } => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if turn.was_late() {
        front.shared().counters.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of an answer; its request is in progress until this is dropped.
struct Answering {
    body: Passed,
    _working: Working,
}

impl Body for Answering {
    type Data = Bytes;
    type Error = Trouble;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Trouble>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Serving {
    /// Accepts no new connections, and waits for the requests on the old ones.
    pub async fn close(self, end: Duration) {
        self.task.abort();
        self.close.send_replace(true);
        if tokio::time::timeout(end, self.room.acquire_many(self.size))
            .await
            .is_err()
        {
            tracing::warn!("requests that the front passes did not end in time");
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        self.watch.abort();
    }
}
