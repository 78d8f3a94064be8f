//! Closes a connection whose client is too slow: it does not finish the head of a request, is silent for too long, or
//! does not read what is written to it. Such a client would otherwise hold its slot forever. The body of a request has
//! its own limit (`body`).

use futures::task::AtomicWaker;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Time limits for a client.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request, from its first byte; for the first request, from the start of the connection.
    pub head: Duration,
    /// From the end of one request to the next.
    pub idle: Duration,
    /// For reading anything of what is written.
    pub reading: Duration,
}

/// The requests of one connection that are in progress; while there is one, its client may be silent.
#[derive(Debug, Clone, Default)]
pub struct Turn(Arc<Ours>);

#[derive(Debug, Default)]
struct Ours {
    requests: AtomicU32,
    /// The reader of the connection: the client's time begins when the last answer has ended, and nobody may poll at
    /// that moment.
    reader: AtomicWaker,
    late: AtomicBool,
}

/// A request in progress, until this is dropped.
#[derive(Debug)]
pub struct Working(Turn);

impl Turn {
    /// The head of a request has arrived.
    #[must_use]
    pub fn work(&self) -> Working {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Working(self.clone())
    }

    /// Whether the connection ended because its client was too slow.
    #[must_use]
    pub fn was_late(&self) -> bool {
        self.0.late.load(Ordering::Relaxed)
    }

    fn late(&self) -> io::Error {
        self.0.late.store(true, Ordering::Relaxed);
        io::ErrorKind::TimedOut.into()
    }

    fn is_ours(&self) -> bool {
        self.0.requests.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let ours = &self.0.0;
        ours.requests.fetch_sub(1, Ordering::Relaxed);
        ours.reader.wake();
    }
}

/// What the client must do next, and by when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// The rest of a head.
    Head(Instant),
    /// Another request.
    Idle(Instant),
    /// Nothing.
    Nothing,
}

/// The connection and its time limits.
#[derive(Debug)]
pub struct Stalling<S> {
    inner: S,
    patience: Patience,
    turn: Turn,
    waiting: Waiting,
    read_end: Pin<Box<Sleep>>,
    write_end: Pin<Box<Sleep>>,
    writing: bool,
}

impl<S> Stalling<S> {
    /// Wraps a connection.
    #[must_use]
    pub fn new(inner: S, patience: Patience, turn: Turn) -> Self {
        let first = Instant::now() + patience.head;
        Self {
            inner,
            patience,
            turn,
            waiting: Waiting::Head(first),
            read_end: Box::pin(tokio::time::sleep_until(first)),
            write_end: Box::pin(tokio::time::sleep(patience.reading)),
            writing: false,
        }
    }

    fn watch_write<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.writing = false;
            return polled;
        }
        if !self.writing {
            self.writing = true;
            let end = Instant::now() + self.patience.reading;
            self.write_end.as_mut().reset(end);
        }
        ready!(self.write_end.as_mut().poll(context));
        Poll::Ready(Err(self.turn.late()))
    }

    /// Nothing was received: decides whether the client is too late.
    fn watch_read(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (end, is_head) = match self.waiting {
            Waiting::Head(end) => (end, true),
            Waiting::Idle(end) => (end, false),
            Waiting::Nothing => {
                self.turn.0.reader.register(context.waker());
                return Poll::Pending;
            }
        };
        if self.read_end.deadline() != end {
            self.read_end.as_mut().reset(end);
        }
        ready!(self.read_end.as_mut().poll(context));
        // If no request has begun, this is treated as if the client had closed.
        Poll::Ready(if is_head { Err(self.turn.late()) } else { Ok(()) })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.turn.is_ours() {
            this.waiting = Waiting::Nothing;
        } else if this.waiting == Waiting::Nothing {
            this.waiting = Waiting::Idle(Instant::now() + this.patience.idle);
        }
        let before = buffer.filled().len();
        if let Poll::Ready(done) = Pin::new(&mut this.inner).poll_read(context, buffer) {
            if buffer.filled().len() > before && matches!(this.waiting, Waiting::Idle(_)) {
                this.waiting = Waiting::Head(Instant::now() + this.patience.head);
            }
            return Poll::Ready(done);
        }
        this.watch_read(context)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.watch_write(context, polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(context);
        self.watch_write(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(context);
        self.watch_write(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(context, buffers);
        self.watch_write(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
