//! One request: choose a target, send, retry elsewhere if that is allowed, and answer.
//!
//! A request that was not sent is retried elsewhere, whatever it is. A request that was sent and whose answer was lost
//! is retried only if repeating it is safe. Once the head of an answer has arrived, the answer is streamed frame by
//! frame and the request is never retried.

use super::body::{Asked, Guarded, Passed, Upload, whole};
use super::choose::{self, Known, Target};
use super::places::{Count, Counted, Places};
use super::pool::{Pool, Sender};
use super::rules::{self, PASSED_BY, REFUSED};
use crate::config;
use crate::gossip::peer::Peer;
use crate::node::Shared;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Limit of targets that one request is tried at.
const TRIES: usize = 4;

/// How long a failed peer is the last resort.
const EJECTED: Duration = Duration::from_secs(3);

/// Longest silence of a stream from a workload. It is long because an event stream may be idle for minutes.
const STREAM: Duration = Duration::from_secs(3_600);

/// This node's experience with a peer's front.
#[derive(Debug, Default)]
struct Score {
    outstanding: Arc<AtomicU32>,
    failed: Option<Instant>,
}

/// A front.
#[derive(Debug)]
pub struct Front {
    config: config::Front,
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    scores: Mutex<HashMap<String, Score>>,
}

/// The result of an attempt.
enum Tried {
    /// The head of an answer arrived.
    Answered(Response<Incoming>, Sender),
    /// The workload has not seen the request.
    Unsent(String),
    /// The workload may have seen it.
    Lost(String),
    /// No answer in time.
    Late,
}

impl Front {
    /// The front of a node.
    #[must_use]
    pub fn new(config: config::Front, shared: Arc<Shared>) -> Self {
        Self {
            config,
            shared,
            pool: Arc::default(),
            scores: Mutex::default(),
        }
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &config::Front {
        &self.config
    }

    /// The state that the parts of the node share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn scores(&self) -> std::sync::MutexGuard<'_, HashMap<String, Score>> {
        self.scores.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets peers that are gone.
    pub fn peers_changed(&self, peers: &[Peer]) {
        self.scores().retain(|instance, score| {
            peers.iter().any(|p| p.instance == *instance) || score.outstanding.load(Ordering::Relaxed) > 0
        });
        let here = |to: &SocketAddr| {
            *to == self.config.backend || peers.iter().any(|p| SocketAddr::new(p.address, p.port) == *to)
        };
        self.pool.forget_others(here);
    }

    /// Answers a request.
    pub async fn answer(&self, client: IpAddr, request: Request<Incoming>) -> Response<Passed> {
        let counters = &self.shared.counters;
        counters.requests.fetch_add(1, Ordering::Relaxed);
        if let Some((status, why)) = rules::refusal(request.method(), request.version(), request.headers()) {
            return plain(status, why);
        }
        let idempotent = rules::is_idempotent(request.method(), request.headers());
        let passed = request.headers().contains_key(PASSED_BY);
        let (mut head, body) = request.into_parts();
        rules::prepare(&mut head, client);
        let mut body = match self.body(body).await {
            Ok(body) => body,
            Err((status, why)) => return plain(status, &why),
        };
        let mut tried: Vec<Target> = Vec::new();
        let mut last = None;
        let end = Instant::now() + self.config.answer_timeout.0;
        while tried.len() < TRIES && body.is_there() {
            let Some((target, count)) = self.place(passed, &tried) else {
                break;
            };
            if !tried.is_empty() {
                counters.retries.fetch_add(1, Ordering::Relaxed);
            }
            let left = end.saturating_duration_since(Instant::now());
            let ended = self.try_at(&target, &head, &mut body, idempotent, left).await;
            let why = match ended {
                Tried::Answered(answer, sender) => match self.passed_on(&target, answer, sender, count) {
                    Ok(answer) => return answer,
                    Err(why) => why,
                },
                Tried::Late => {
                    counters.failed.fetch_add(1, Ordering::Relaxed);
                    return plain(504, "no answer came in time");
                }
                Tried::Unsent(why) => {
                    self.failed(&target);
                    why
                }
                Tried::Lost(why) => {
                    if let Some((status, why)) = body.broken() {
                        counters.closed.fetch_add(u64::from(status == 408), Ordering::Relaxed);
                        return plain(status, &why);
                    }
                    self.failed(&target);
                    if !idempotent || !body.is_there() {
                        counters.failed.fetch_add(1, Ordering::Relaxed);
                        tracing::info!(why, "a request was lost, and cannot be repeated");
                        return plain(
                            502,
                            "the answer was lost after the request was sent; repeat it if that does no harm",
                        );
                    }
                    why
                }
            };
            tracing::debug!(why, "a request is tried elsewhere");
            last = Some(why);
            tried.push(target);
        }
        counters.refused.fetch_add(1, Ordering::Relaxed);
        let why = if last.is_some() {
            "none of the nodes that were tried could take the request"
        } else {
            "no node can take requests now"
        };
        let mut refusal = plain(503, why);
        refusal
            .headers_mut()
            .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        if passed {
            let word = HeaderValue::from_static(self.shared.presence.borrow().word());
            refusal.headers_mut().insert(REFUSED, word);
        }
        refusal
    }

    /// Short bodies of known length are buffered, so that their requests can be repeated; all others are streamed.
    async fn body(&self, body: Incoming) -> Result<Asked, (u16, String)> {
        let silence = self.config.body_timeout.0;
        if body.is_end_stream() {
            return Ok(Asked::Kept(Bytes::new()));
        }
        let short = body
            .size_hint()
            .exact()
            .is_some_and(|n| n <= self.config.kept_body as u64);
        if !short {
            let upload = Upload::default();
            let body = Guarded::new(body, silence, "the client", upload.clone()).boxed_unsync();
            return Ok(Asked::Once(Some(body), upload));
        }
        match tokio::time::timeout(silence, Limited::new(body, self.config.kept_body).collect()).await {
            Ok(Ok(all)) => Ok(Asked::Kept(all.to_bytes())),
            Ok(Err(e)) => Err((400, format!("the body of the request broke off: {e}"))),
            Err(_) => {
                self.shared.counters.closed.fetch_add(1, Ordering::Relaxed);
                let why = format!("the body of the request did not come within {} s", silence.as_secs());
                Err((408, why))
            }
        }
    }

    /// Chooses a target and takes a slot there.
    fn place(&self, passed: bool, tried: &[Target]) -> Option<(Target, Count)> {
        let peers = Arc::clone(&self.shared.peers.borrow());
        let presence = *self.shared.presence.borrow();
        let in_flight = self.shared.counters.in_flight.load(Ordering::Relaxed);
        let mut scores = self.scores();
        let known = Known {
            presence,
            has_room: in_flight < self.config.max_in_flight,
            passed,
            tried,
            peers: &peers,
        };
        let load = |p: &Peer| {
            scores
                .get(&p.instance)
                .map_or(0, |s| s.outstanding.load(Ordering::Relaxed))
        };
        let ejected = |p: &Peer| {
            scores
                .get(&p.instance)
                .and_then(|s| s.failed)
                .is_some_and(|at| at.elapsed() < EJECTED)
        };
        let target = choose::choose(&known, load, ejected, rand::random())?;
        let count = match &target {
            Target::Local => {
                self.shared.counters.local.fetch_add(1, Ordering::Relaxed);
                Count::new(Counted::Local(Arc::clone(&self.shared)))
            }
            Target::Peer { instance, .. } => {
                self.shared.counters.passed.fetch_add(1, Ordering::Relaxed);
                let score = scores.entry(instance.clone()).or_default();
                Count::new(Counted::Peer(Arc::clone(&score.outstanding)))
            }
        };
        Some((target, count))
    }

    fn failed(&self, target: &Target) {
        if let Target::Peer { instance, .. } = target {
            self.scores().entry(instance.clone()).or_default().failed = Some(Instant::now());
        }
    }

    /// The address of a target.
    fn address(&self, target: &Target) -> SocketAddr {
        match target {
            Target::Local => self.config.backend,
            Target::Peer { address, .. } => *address,
        }
    }

    async fn try_at(
        &self,
        target: &Target,
        head: &http::request::Parts,
        body: &mut Asked,
        idempotent: bool,
        left: Duration,
    ) -> Tried {
        let to = self.address(target);
        // An idle connection that turns out to be closed has cost nothing; a fresh one follows.
        if idempotent && let Some(mut sender) = self.pool.idle(to) {
            let ready = tokio::time::timeout(Duration::from_millis(50), sender.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                match self.send(target, sender, head, body, left).await {
                    Tried::Unsent(_) => {}
                    ended => return ended,
                }
            }
        }
        match self.pool.connect(to, self.config.connect_timeout.0).await {
            Ok(sender) => self.send(target, sender, head, body, left).await,
            Err(why) => Tried::Unsent(why),
        }
    }

    async fn send(
        &self,
        target: &Target,
        mut sender: Sender,
        head: &http::request::Parts,
        body: &mut Asked,
        left: Duration,
    ) -> Tried {
        let to = self.address(target);
        let Some(sent) = body.take() else {
            return Tried::Lost("the body was sent already".into());
        };
        let mut request = Request::new(sent);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head
            .uri
            .path_and_query()
            .map_or_else(http::Uri::default, |p| p.clone().into());
        *request.headers_mut() = head.headers.clone();
        // An HTTP/1.0 client need not send one, and this front speaks 1.1.
        if !head.headers.contains_key(header::HOST)
            && let Ok(host) = HeaderValue::try_from(to.to_string())
        {
            request.headers_mut().insert(header::HOST, host);
        }
        let own = &self.shared.identity.instance;
        match (target, HeaderValue::from_str(own)) {
            (Target::Peer { .. }, Ok(own)) => drop(request.headers_mut().insert(PASSED_BY, own)),
            _ => drop(request.headers_mut().remove(PASSED_BY)),
        }
        let asked = sender.try_send_request(request);
        let ended = tokio::select! {
            ended = asked => ended,
            () = self.gone(target) => return Tried::Lost("the peer is gone".into()),
            () = tokio::time::sleep(left) => return Tried::Late,
        };
        match ended {
            Ok(answer) => Tried::Answered(answer, sender),
            Err(mut error) => match error.take_message() {
                Some(unsent) => {
                    body.give_back(unsent.into_body());
                    Tried::Unsent(error.error().to_string())
                }
                None => Tried::Lost(error.error().to_string()),
            },
        }
    }

    /// Returns when gossip reports that a peer is gone: a machine that vanished closes no connections.
    async fn gone(&self, target: &Target) {
        let Target::Peer { instance, .. } = target else {
            return std::future::pending().await;
        };
        let mut peers = self.shared.peers.subscribe();
        let ended = peers
            .wait_for(|all| !all.iter().any(|p| p.instance == *instance))
            .await
            .is_err();
        if ended {
            std::future::pending::<()>().await;
        }
    }

    /// Passes an answer on; returns the reason if a peer refused the request.
    fn passed_on(
        &self,
        target: &Target,
        answer: Response<Incoming>,
        sender: Sender,
        count: Count,
    ) -> Result<Response<Passed>, String> {
        let (mut head, body) = answer.into_parts();
        if let Target::Peer { instance, .. } = target
            && head.status == StatusCode::SERVICE_UNAVAILABLE
            && let Some(word) = head.headers.get(REFUSED)
        {
            return Err(format!("{instance} is {}", word.to_str().unwrap_or("not able")));
        }
        let to = self.address(target);
        rules::strip(&mut head.headers);
        // A workload must not set our refusal header.
        head.headers.remove(REFUSED);
        let places = Places::new(count, &self.pool, to, sender);
        head.version = Version::HTTP_11;
        let body = Guarded::new(body, STREAM, "the workload", places).boxed_unsync();
        Ok(Response::from_parts(head, body))
    }
}

/// An answer of the front itself.
fn plain(status: u16, text: &str) -> Response<Passed> {
    let mut response = Response::new(whole(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests;
