//! Bodies of requests and answers on their way through.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Any error of a body.
pub type Trouble = Box<dyn std::error::Error + Send + Sync>;

/// A body as it is sent on.
pub type Passed = UnsyncBoxBody<Bytes, Trouble>;

/// A whole body.
#[must_use]
pub fn whole(bytes: Bytes) -> Passed {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The body of a request.
#[derive(Debug)]
pub enum Asked {
    /// It is here and can be sent as often as needed.
    Kept(Bytes),
    /// It is still on its way and can be sent once.
    Once(Option<Passed>),
}

impl Asked {
    /// For a try; None when it has been sent.
    pub fn take(&mut self) -> Option<Passed> {
        match self {
            Self::Kept(bytes) => Some(whole(bytes.clone())),
            Self::Once(body) => body.take(),
        }
    }

    /// Takes back what was not sent.
    pub fn give_back(&mut self, unsent: Passed) {
        if let Self::Once(body) = self {
            *body = Some(unsent);
        }
    }

    /// Whether there is something to send.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !matches!(self, Self::Once(None))
    }
}

/// A body that fails when it is silent for too long, and holds something until its end: the places that its request has taken.
pub struct Guarded<G> {
    inner: Incoming,
    silence: Duration,
    sleep: Pin<Box<Sleep>>,
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
    /// Around a body. The guard is told to end when the body has ended well, and only dropped when it has not.
    #[must_use]
    pub fn new(inner: Incoming, silence: Duration, what: &'static str, guard: G) -> Self {
        Self {
            inner,
            silence,
            sleep: Box::pin(tokio::time::sleep(silence)),
            guard: Some(guard),
            what,
        }
    }
}

/// What a body holds.
pub trait End {
    /// The body has ended well.
    fn end(self);
}

impl End for () {
    fn end(self) {}
}

impl<G: End + Unpin> Body for Guarded<G> {
    type Data = Bytes;
    type Error = Trouble;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Trouble>>> {
        let this = &mut *self;
        match Pin::new(&mut this.inner).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let next = Instant::now() + this.silence;
                this.sleep.as_mut().reset(next);
                // The last frame may be known to be the last before anybody asks for another.
                if this.inner.is_end_stream()
                    && let Some(guard) = this.guard.take()
                {
                    guard.end();
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(None) => {
                if let Some(guard) = this.guard.take() {
                    guard.end();
                }
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(e))) => {
                this.guard = None;
                Poll::Ready(Some(Err(e.into())))
            }
            Poll::Pending => match this.sleep.as_mut().poll(context) {
                Poll::Ready(()) => {
                    this.guard = None;
                    Poll::Ready(Some(Err(format!(
                        "{} was silent for {} s",
                        this.what,
                        this.silence.as_secs()
                    )
                    .into())))
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
