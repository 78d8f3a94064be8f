//! The socket: where Terraform connects, who may connect, and its removal at the end.
//!
//! A unix socket in a folder of its own that only the user may enter; TCP on loopback on systems without unix sockets.

use std::io;
use std::net::Ipv4Addr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::handshake::Listen;
#[cfg(unix)]
use crate::leftover;
use crate::tls::Tls;

/// How long a peer may take to prove itself.
const TLS_DEADLINE: Duration = Duration::from_secs(10);

/// How many connections may be proving themselves or waiting to be served. Terraform makes one.
const PENDING: usize = 16;

/// The longest path that every unix takes for a socket, its final zero byte not counted (104 on macOS, 108 on Linux).
#[cfg(unix)]
const MAX_SOCKET_PATH: usize = 103;

/// Where we listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(String),
    /// A port on loopback.
    Tcp(std::net::SocketAddr),
}

impl Address {
    /// Network and place, as Go names them.
    pub fn parts(&self) -> (&'static str, String) {
        match self {
            Address::Unix(path) => ("unix", path.clone()),
            Address::Tcp(address) => ("tcp", address.to_string()),
        }
    }
}

/// An open socket. Dropping it removes its folder.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
    #[cfg(unix)]
    _folder: Option<Folder>,
}

/// The folder of the socket, and the lock that says that it is in use.
#[cfg(unix)]
#[derive(Debug)]
struct Folder {
    _folder: tempfile::TempDir,
    _lock: std::fs::File,
}

#[derive(Debug)]
enum Socket {
    #[cfg(unix)]
    Unix(tokio::net::UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    /// Opens a unix socket, or a port where that cannot be.
    ///
    /// # Errors
    /// If neither can be opened.
    pub async fn open(listen: &Listen) -> io::Result<Listener> {
        #[cfg(unix)]
        match open_unix(listen) {
            Ok(listener) => return Ok(listener),
            Err(error) => tracing::warn!(%error, "no unix socket; listening on a loopback port instead"),
        }
        open_tcp(listen).await
    }

    /// Where it is.
    pub fn address(&self) -> &Address {
        &self.address
    }
}

#[cfg(unix)]
fn open_unix(listen: &Listen) -> io::Result<Listener> {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, chown};

    let parent = listen.socket_dir.clone().unwrap_or_else(std::env::temp_dir);
    let name = |folder: &tempfile::TempDir| folder.path().join(leftover::SOCKET);
    // No other user may even look for the socket, whatever the umask says.
    let private = |parent: &std::path::Path| {
        tempfile::Builder::new()
            .prefix(leftover::PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)
    };
    let mut folder = private(&parent)?;
    if name(&folder).as_os_str().len() > MAX_SOCKET_PATH {
        folder = private("/tmp".as_ref())?;
    }
    let path = name(&folder);
    let lock = leftover::mark(folder.path())?;
    // Killed providers leave their folders behind. The clean-up runs in the background.
    std::thread::spawn(move || {
        let swept = leftover::sweep(&parent);
        if swept > 0 {
            tracing::debug!(swept, "removed socket folders of providers that were killed");
        }
    });
    let text = path.to_str().filter(|text| !text.contains('|')).map(str::to_owned);
    let address = Address::Unix(text.ok_or_else(|| io::Error::other("the temporary folder's name is not plain text"))?);
    let socket = tokio::net::UnixListener::bind(&path)?;
    if let Some(group) = &listen.socket_group {
        let gid = group_id(group)?;
        for (path, mode) in [(folder.path(), 0o710), (path.as_path(), 0o660)] {
            chown(path, None, Some(gid))?;
            std::fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
    }
    Ok(Listener {
        socket: Socket::Unix(socket),
        address,
        _folder: Some(Folder {
            _folder: folder,
            _lock: lock,
        }),
    })
}

/// A group's number, by number or by its name in `/etc/group`.
#[cfg(unix)]
fn group_id(group: &str) -> io::Result<u32> {
    if let Ok(gid) = group.parse() {
        return Ok(gid);
    }
    let groups = std::fs::read_to_string("/etc/group")?;
    let found = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(group))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    });
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("there is no group {group:?}")))
}

async fn open_tcp(listen: &Listen) -> io::Result<Listener> {
    let (first, last) = listen.ports.unwrap_or((0, 0));
    let mut problem = io::Error::other("no port to try");
    for port in first..=last {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            Ok(socket) => {
                let address = Address::Tcp(socket.local_addr()?);
                return Ok(Listener {
                    socket: Socket::Tcp(socket),
                    address,
                    #[cfg(unix)]
                    _folder: None,
                });
            }
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection that may be served: plain, or of the one client that the certificate names.
pub struct Connection {
    stream: Box<dyn Duplex>,
    _open: OpenGuard,
}

/// Counts the open connections.
struct OpenGuard(watch::Sender<usize>);

impl OpenGuard {
    fn new(open: &watch::Sender<usize>) -> OpenGuard {
        open.send_modify(|count| *count += 1);
        OpenGuard(open.clone())
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.stream).poll_write_vectored(cx, bufs)
    }
}

/// Accepts forever. A peer that does not authenticate is dropped and delays no other. `open` counts the connections
/// that are served.
pub fn accept(
    listener: Arc<Listener>,
    tls: Option<Tls>,
    open: watch::Sender<usize>,
) -> ReceiverStream<io::Result<Connection>> {
    let (ready, incoming) = mpsc::channel(PENDING);
    let acceptor = tls.map(|tls| TlsAcceptor::from(tls.config));
    let proving = Arc::new(tokio::sync::Semaphore::new(PENDING));
    tokio::spawn(async move {
        loop {
            let Ok(place) = proving.clone().acquire_owned().await else {
                return;
            };
            let raw = match next(&listener.socket).await {
                Ok(raw) => raw,
                Err(error) => {
                    // Out of file descriptors, for example: breathe, then go on.
                    tracing::warn!(%error, "accepting a connection failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (ready, acceptor, open) = (ready.clone(), acceptor.clone(), open.clone());
            tokio::spawn(async move {
                let _place = place;
                let stream: Box<dyn Duplex> = match acceptor {
                    None => raw,
                    Some(acceptor) => match tokio::time::timeout(TLS_DEADLINE, acceptor.accept(raw)).await {
                        Ok(Ok(stream)) => Box::new(stream),
                        Ok(Err(error)) => {
                            tracing::warn!(%error, "refused a connection");
                            return;
                        }
                        Err(_) => return,
                    },
                };
                // The receiver is dropped when serving ends; then nothing waits for this connection.
                let _ = ready
                    .send(Ok(Connection {
                        stream,
                        _open: OpenGuard::new(&open),
                    }))
                    .await;
            });
        }
    });
    ReceiverStream::new(incoming)
}

async fn next(socket: &Socket) -> io::Result<Box<dyn Duplex>> {
    match socket {
        #[cfg(unix)]
        Socket::Unix(socket) => Ok(Box::new(socket.accept().await?.0)),
        Socket::Tcp(socket) => {
            let (stream, _) = socket.accept().await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream))
        }
    }
}
