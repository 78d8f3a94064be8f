//! Administration: a socket for the command line, and an address for health, peers and metrics. Both give the same
//! answers; requests that change something are accepted on the socket and on loopback only.

mod answers;
mod metrics;

use crate::config;
use crate::node::Shared;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Limit of connections on each of the two.
const CONNECTIONS: usize = 64;

/// Time limit of one connection: requests are short.
const DEADLINE: Duration = Duration::from_secs(15);

/// The listeners; they stop when this is dropped.
#[derive(Debug)]
pub struct Listening {
    tasks: Vec<JoinHandle<()>>,
    socket: PathBuf,
}

impl Drop for Listening {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        // If it stayed, the next start would only replace it.
        let _ = fs::remove_file(&self.socket);
    }
}

/// Listens.
///
/// # Errors
/// When the socket or the address cannot be had.
pub async fn serve(config: &config::Admin, shared: &Arc<Shared>) -> Result<Listening, String> {
    let socket = config.socket.clone();
    let local = bind(&socket).map_err(|e| format!("listen on {} (admin.socket): {e}", socket.display()))?;
    let mut tasks = Vec::new();
    let own = Arc::clone(shared);
    tasks.push(tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            match local.accept().await {
                Ok((stream, _)) => talk(stream, &own, true, &room),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }));
    if let Some(address) = config.listen {
        let listener = TcpListener::bind(address)
            .await
            .map_err(|e| format!("listen on {address} (admin.listen): {e}"))?;
        let own = Arc::clone(shared);
        let trusted = address.ip().is_loopback();
        tasks.push(tokio::spawn(async move {
            let room = Arc::new(Semaphore::new(CONNECTIONS));
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => talk(stream, &own, trusted, &room),
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        }));
    }
    Ok(Listening { tasks, socket })
}

fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // A socket without an answer is left from a run that was killed.
    if path.exists() && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers one connection, if there is room for it.
fn talk<S>(stream: S, shared: &Arc<Shared>, trusted: bool, room: &Arc<Semaphore>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Ok(place) = Arc::clone(room).try_acquire_owned() else {
        return;
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let service = service_fn(|request: http::Request<Incoming>| {
            let shared = Arc::clone(&shared);
            async move {
                let (status, kind, body) =
                    answers::answer(&shared, request.method(), request.uri().path(), trusted).await;
                let mut response = http::Response::new(Full::new(bytes::Bytes::from(body)));
                *response.status_mut() = status;
                let kind = http::HeaderValue::from_static(kind);
                response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
                Ok::<_, Infallible>(response)
            }
        });
        let serving = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(5))
            .keep_alive(false)
            .max_buf_size(16 << 10)
            .serve_connection(TokioIo::new(stream), service);
        // A client that leaves early or sends nonsense does not matter.
        let _ = tokio::time::timeout(DEADLINE, serving).await;
        drop(place);
    });
}
