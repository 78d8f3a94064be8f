//! Exec, attach and logs: what clients read from pods and say to them.
//!
//! Port forwarding is refused: nothing real listens in a modelled pod.

mod channel;
mod process;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::Response;
use serde_json::Value;

use super::api::{PodRequest, PodStreams};
use super::controllers::{Workloads, object};
use super::kubelet::exec::{self, Answer};
use super::kubelet::logs::{self, LogQuery};
use super::kubelet::serve;
use super::kubelet::shell::lock;
use super::registry::Failure;
use channel::{Channel, Received};

/// How long standard input is waited for from a client that cannot say that it ends.
const PATIENCE: Duration = Duration::from_secs(10);
/// How much standard input a modelled command takes.
const MOST_INPUT: usize = 1 << 20;

impl PodStreams for Workloads {
    fn open(&self, request: PodRequest) -> BoxFuture<'static, Result<Response<Body>, Failure>> {
        let workloads = self.clone();
        async move {
            match request.subresource.as_str() {
                "log" => log(&workloads, &request),
                "exec" | "attach" => upgrade(workloads, request).await,
                other => Err(Failure::unmodelled(&format!("pods/{other}"))),
            }
        }
        .boxed()
    }

    fn proxy(&self, namespace: &str, name: &str, path: &str) -> Result<Response<Body>, Failure> {
        let page = serve::ask(&self.lock(), namespace, name, path)?;
        let response = Response::builder()
            .status(page.status)
            .header("content-type", page.content_type)
            .body(Body::from(page.body));
        response.map_err(|error| Failure::internal(error.to_string()))
    }
}

fn first<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn flag(query: &[(String, String)], name: &str) -> bool {
    matches!(first(query, name), Some("true" | "1"))
}

fn log(workloads: &Workloads, request: &PodRequest) -> Result<Response<Body>, Failure> {
    let number = |name: &str| -> Result<Option<i64>, Failure> {
        match first(&request.query, name) {
            None => Ok(None),
            Some(text) => match text.parse::<i64>() {
                Ok(n) if n >= 0 => Ok(Some(n)),
                _ => Err(Failure::bad_request(format!(
                    "{name}: Invalid value: \"{text}\": must be a whole number that is not negative"
                ))),
            },
        }
    };
    let size = |n: Option<i64>| n.and_then(|n| usize::try_from(n).ok());
    let query = LogQuery {
        container: first(&request.query, "container").unwrap_or_default().to_owned(),
        previous: flag(&request.query, "previous"),
        tail: size(number("tailLines")?),
        timestamps: flag(&request.query, "timestamps"),
        since_seconds: number("sinceSeconds")?,
        limit_bytes: size(number("limitBytes")?),
    };
    let (log, now) = {
        let world = workloads.lock();
        (logs::source(&world, request.pod.value(), &query)?, world.now)
    };
    let (text, seen) = logs::select(&log, &query, now, 0);
    let body = if flag(&request.query, "follow") && !query.previous {
        let changed = lock(&log).changes();
        let state = (log, query, seen, changed);
        let rest = futures::stream::unfold(state, |(log, query, seen, mut changed)| async move {
            loop {
                changed.mark_unchanged();
                let (text, now) = logs::select(&log, &query, 0, seen);
                if !text.is_empty() {
                    return Some((
                        Ok::<_, std::convert::Infallible>(Bytes::from(text)),
                        (log, query, now, changed),
                    ));
                }
                if lock(&log).is_closed() || changed.changed().await.is_err() {
                    return None;
                }
            }
        });
        let start = futures::stream::iter([Ok(Bytes::from(text))]);
        Body::from_stream(futures::StreamExt::chain(start, rest))
    } else {
        Body::from(text)
    };
    let response = Response::builder().header("content-type", "text/plain").body(body);
    response.map_err(|error| Failure::internal(error.to_string()))
}

async fn upgrade(workloads: Workloads, mut request: PodRequest) -> Result<Response<Body>, Failure> {
    let pod = request.pod.value();
    let name = logs::container_name(pod, first(&request.query, "container").unwrap_or_default())?;
    let argv: Vec<String> = request
        .query
        .iter()
        .filter(|(key, _)| key == "command")
        .map(|(_, value)| value.clone())
        .collect();
    if request.subresource == "exec" && argv.is_empty() {
        return Err(Failure::bad_request("you must specify at least 1 command"));
    }
    if object::text(pod, "/spec/nodeName").is_empty() {
        return Err(Failure::bad_request(format!(
            "pod {} does not have a host assigned",
            object::name(pod)
        )));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut request.parts, &()).await;
    let upgrade = upgrade.map_err(|rejection| {
        Failure::bad_request(format!(
            "{}: the sandbox speaks WebSocket here (v4 and v5 of the channel protocol), not SPDY",
            rejection.body_text()
        ))
    })?;
    let session = Session {
        workloads,
        namespace: request.pod.namespace().to_owned(),
        pod: request.pod.name().to_owned(),
        container: name,
        argv,
        query: request.query,
    };
    let attach = request.subresource == "attach";
    let response = upgrade
        .protocols(channel::PROTOCOLS)
        .on_upgrade(move |socket| async move {
            if attach {
                session.attach(socket).await;
            } else {
                session.exec(socket).await;
            }
        });
    Ok(response.into_response())
}

/// One exec or attach.
struct Session {
    workloads: Workloads,
    namespace: String,
    pod: String,
    container: String,
    argv: Vec<String>,
    query: Vec<(String, String)>,
}

impl Session {
    async fn exec(self, mut socket: WebSocket) {
        let first = if flag(&self.query, "stdout") {
            Channel::Stdout
        } else {
            Channel::Error
        };
        if channel::open(&mut socket, first).await.is_err() {
            return;
        }
        let v5 = socket.protocol().is_some_and(|protocol| protocol == PROTOCOL_5);
        let local = self.local_process();
        if let Some(program) = local {
            return process::run(socket, &program, flag(&self.query, "stdin")).await;
        }
        let mut input = Vec::new();
        if flag(&self.query, "stdin") && !flag(&self.query, "tty") {
            match read_input(&mut socket, v5).await {
                Some(bytes) => input = bytes,
                None => return,
            }
        }
        let status = match self.answer(input) {
            Ok(Answer::Output { stdout, stderr, code }) => {
                let errors = if flag(&self.query, "tty") {
                    Channel::Stdout
                } else {
                    Channel::Stderr
                };
                for (wanted, channel, bytes) in [("stdout", Channel::Stdout, stdout), ("stderr", errors, stderr)] {
                    if (flag(&self.query, wanted) || flag(&self.query, "tty"))
                        && channel::send(&mut socket, channel, &bytes).await.is_err()
                    {
                        return;
                    }
                }
                channel::exit_status(code)
            }
            Ok(Answer::Process(_)) => channel::failure_status("the table of commands changed"),
            Ok(Answer::Refused(why)) => channel::failure_status(&why),
            Err(failure) => channel::failure_status(&failure.message),
        };
        channel::finish(&mut socket, &status).await;
    }

    fn local_process(&self) -> Option<Vec<String>> {
        let world = self.workloads.lock();
        let pod = world.registry.find("pods", &self.namespace, &self.pod)?;
        let image = container_spec(pod.value(), &self.container)["image"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        exec::local_process(&world.config.commands, &image, &self.argv)
    }

    fn answer(&self, input: Vec<u8>) -> Result<Answer, Failure> {
        let world = self.workloads.lock();
        let pod = world.registry.get("pods", &self.namespace, &self.pod)?;
        let spec = container_spec(pod.value(), &self.container).clone();
        if !world.kubelet.is_running(pod.uid(), &self.container) {
            return Err(Failure::bad_request(format!(
                "unable to upgrade connection: container not found (\"{}\")",
                self.container
            )));
        }
        Ok(exec::run(&world, pod.value(), &spec, &self.argv, input))
    }

    /// Show what a container prints from now on, until it ends.
    async fn attach(self, mut socket: WebSocket) {
        if channel::open(&mut socket, Channel::Stdout).await.is_err() {
            return;
        }
        let query = LogQuery {
            container: self.container.clone(),
            ..LogQuery::default()
        };
        let source = {
            let world = self.workloads.lock();
            world
                .registry
                .get("pods", &self.namespace, &self.pod)
                .and_then(|pod| logs::source(&world, pod.value(), &query))
        };
        let log = match source {
            Ok(log) => log,
            Err(failure) => return channel::finish(&mut socket, &channel::failure_status(&failure.message)).await,
        };
        let mut changed = lock(&log).changes();
        let mut seen = logs::select(&log, &query, 0, 0).1;
        loop {
            changed.mark_unchanged();
            let (text, now) = logs::select(&log, &query, 0, seen);
            seen = now;
            if channel::send(&mut socket, Channel::Stdout, &text).await.is_err() {
                return;
            }
            if lock(&log).is_closed() {
                return channel::finish(&mut socket, &channel::exit_status(0)).await;
            }
            tokio::select! {
                result = changed.changed() => if result.is_err() { return },
                message = socket.recv() => match message.map(|message| message.map(channel::read)) {
                    Some(Ok(Received::Gone)) | Some(Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
            }
        }
    }
}

const PROTOCOL_5: &str = "v5.channel.k8s.io";

fn container_spec<'a>(pod: &'a Value, name: &str) -> &'a Value {
    let all = object::list(pod, "/spec/containers")
        .iter()
        .chain(object::list(pod, "/spec/initContainers"));
    all.into_iter()
        .find(|container| container["name"] == name)
        .unwrap_or(&Value::Null)
}

/// All of standard input. A client of the older protocol cannot say that it ends: it is given a while. `None`: it has gone.
async fn read_input(socket: &mut WebSocket, can_end: bool) -> Option<Vec<u8>> {
    let mut input = Vec::new();
    let patience = if can_end { PATIENCE } else { PATIENCE / 10 };
    loop {
        match tokio::time::timeout(patience, socket.recv()).await {
            Err(_) => return Some(input),
            Ok(None | Some(Err(_))) => return None,
            Ok(Some(Ok(message))) => match channel::read(message) {
                Received::Input(bytes) if input.len() < MOST_INPUT => input.extend_from_slice(&bytes),
                Received::InputEnds => return Some(input),
                Received::Gone => return None,
                Received::Input(_) | Received::Other => {}
            },
        }
    }
}

/// The parts of a sandbox that answer for its pods.
pub(crate) fn of(workloads: &Workloads) -> Arc<dyn PodStreams> {
    Arc::new(workloads.clone())
}
