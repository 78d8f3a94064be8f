//! Bodies of requests and answers on their way through.

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
    /// It is still on its way and can be sent once; what became of it on that way.
    Once(Option<Passed>, Upload),
}

impl Asked {
    /// For a try; None when it has been sent.
    pub fn take(&mut self) -> Option<Passed> {
        match self {
            Self::Kept(bytes) => Some(whole(bytes.clone())),
            Self::Once(body, _) => body.take(),
        }
    }

    /// Takes back what was not sent.
    pub fn give_back(&mut self, unsent: Passed) {
        if let Self::Once(body, _) = self {
            *body = Some(unsent);
        }
    }

    /// Whether there is something to send.
    #[must_use]
    pub fn is_there(&self) -> bool {
        !matches!(self, Self::Once(None, _))
    }

    /// Whether it was the client that broke it off: the status and the words to answer that with.
    #[must_use]
    pub fn broken(&self) -> Option<(u16, String)> {
        match self {
            Self::Kept(_) => None,
            Self::Once(_, upload) => upload.0.get().cloned(),
        }
    }
}

/// A body that fails when it is silent for too long, and holds something until its end: the places that its request has taken.
pub struct Guarded<G> {
    inner: Incoming,
    silence: Duration,
    /// The end of the silence that was met when somebody asked last. Time in which nobody asks is no silence.
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
    /// Around a body. The guard is told when the body has ended well, or broken off; neither where nobody wants the rest of it.
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
        // Nobody asks an empty one for a frame.
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

/// What a body holds.
pub trait End {
    /// The body has ended well.
    fn end(self);

    /// Its sender broke it off (400), or fell silent (408).
    fn break_off(self, status: u16, why: &str);
}

/// What became of the body of a request, for whoever wonders why a workload did not answer it.
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
                // The last frame may be known to be the last before anybody asks for another.
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
