//! Bodies of requests and answers as they pass through the front.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::Future as _;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Any error while a body is read.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// A body as it is forwarded.
pub type Passed = UnsyncBoxBody<Bytes, Trouble>;

/// A complete body.
#[must_use]
pub fn whole(bytes: Bytes) -> Passed {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The body of a request.
#[derive(Debug)]
pub enum Asked {
    /// Buffered; it can be sent as often as needed.
    Kept(Bytes),
    /// Still arriving; it can be sent once. Also holds what happened to it on the way.
    Once(Option<Passed>, Upload),
}

impl Asked {
    /// Takes the body for an attempt; None if it has been sent.
    pub fn take(&mut self) -> Option<Passed> {
        match self {
            Self::Kept(bytes) => Some(whole(bytes.clone())),
            Self::Once(body, _) => body.take(),
        }
    }

    /// Takes back a body that was not sent.
    pub fn give_back(&mut self, unsent: Passed) {
        if let Self::Once(body, _) = self {
            *body = Some(unsent);
        }
    }

    /// Whether the body can still be sent.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !matches!(self, Self::Once(None, _))
    }

    /// Whether the client broke the body off: the status and message to answer with.
    #[must_use]
    pub fn broken(&self) -> Option<(u16, String)> {
        match self {
            Self::Kept(_) => None,
            Self::Once(_, upload) => upload.0.get().cloned(),
        }
    }
}

/// A body that fails when it is silent for too long, and holds a guard until its end: the slots that its request has
/// taken.
pub struct Guarded<G> {
    inner: Incoming,
    silence: Duration,
    /// The deadline of the current silence. Time in which nobody polls the body does not count as silence.
    sleep: Pin<Box<Sleep>>,
    silent: bool,
    guard: Option<G>,
    what: &'static str,
}

impl<G> std::fmt::Debug for Guarded<G> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}

impl<G> Guarded<G> {
    /// Wraps a body. The guard is told when the body has ended properly or was broken off; neither if the rest is not
    /// wanted.
    #[must_use]
    pub fn new(inner: Incoming, silence: Duration, what: &'static str, guard: G) -> Self
    where
        G: End,
    {
        let mut new = Self {
            inner,
            silence,
            sleep: Box::pin(tokio::time::sleep(silence)),
            silent: false,
            guard: Some(guard),
            what,
        };
        // An empty body is never polled for a frame.
        if new.inner.is_end_stream() {
            new.end();
        }
        new
    }

    fn end(&mut self)
    where
        G: End,
    {
        if let Some(guard) = self.guard.take() {
            guard.end();
        }
    }

    fn break_off(&mut self, status: u16, why: &str)
    where
        G: End,
    {
        if let Some(guard) = self.guard.take() {
            guard.break_off(status, why);
        }
    }
}

/// The guard of a body.
pub trait End {
    /// The body has ended properly.
    fn end(self);

    /// Its sender broke it off (400), or fell silent (408).
    fn break_off(self, status: u16, why: &str);
}

/// The fate of a request's body, to explain why a workload did not answer it.
#[derive(Debug, Clone, Default)]
pub struct Upload(Arc<OnceLock<(u16, String)>>);

impl End for Upload {
    fn end(self) {}

    fn break_off(self, status: u16, why: &str) {
        let _ = self
            .0
            .set((status, format!("the body of the request broke off: {why}")));
    }
}

impl<G: End + Unpin> Body for Guarded<G> {
    type Data = Bytes;
    type Error = Trouble;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Trouble>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.inner).poll_frame(context);
        if polled.is_pending() && !this.silent {
            let end = Instant::now() + this.silence;
            this.sleep.as_mut().reset(end);
        }
        this.silent = polled.is_pending();
        match polled {
            Poll::Ready(Some(Ok(frame))) => {
                // The last frame may be recognizable as the last before the next one is polled.
                if this.inner.is_end_stream() {
                    this.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                this.end();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(e))) => {
                this.break_off(400, &e.to_string());
                Poll::Ready(Some(Err(e.into())))
            }
            Poll::Pending => match this.sleep.as_mut().poll(context) {
                Poll::Ready(()) => {
                    let why = format!("{} was silent for {} s", this.what, this.silence.as_secs());
                    this.break_off(408, &why);
                    Poll::Ready(Some(Err(why.into())))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
