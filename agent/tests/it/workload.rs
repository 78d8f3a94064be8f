//! A workload: this test program, started again as a small HTTP server that records every request that reaches it.

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where it listens; set in the process that is to be the workload.
pub(crate) const ADDRESS: &str = "MYELIN_TEST_WORKLOAD";

/// Its folder: `hits` holds a line for every request; while `sick` exists its health answers 503; `stubborn` makes it ignore SIGTERM;
/// `/hold` is answered once there is `release`, and event N of `/gated/COUNT` is sent once there is `gate-N`.
pub(crate) const FOLDER: &str = "MYELIN_TEST_FOLDER";

/// The command that starts it.
pub(crate) fn command() -> Vec<String> {
    let own = std::env::current_exe().expect("this program has a path");
    let own = own.to_str().expect("its path is text").to_owned();
    [
        "--ignored",
        "--exact",
        "workload::be_the_workload",
        "--nocapture",
        "--test-threads=1",
    ]
    .into_iter()
    .fold(vec![own], |mut all, part| {
        all.push(part.into());
        all
    })
}

#[test]
#[ignore = "this is the workload that other tests start, and no test"]
fn be_the_workload() {
    let (Ok(address), Ok(folder)) = (std::env::var(ADDRESS), std::env::var(FOLDER)) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(serve(address, folder.into()));
}

fn note(folder: &Path, line: &str) {
    let mut file = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("hits"))
        .expect("a folder");
    writeln!(file, "{line}").expect("room");
}

async fn serve(address: String, folder: PathBuf) {
    note(&folder, "started");
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("signals");
    let own = folder.clone();
    tokio::spawn(async move {
        loop {
            terminate.recv().await;
            note(&own, "terminated");
            if !own.join("stubborn").exists() {
                std::process::exit(0);
            }
        }
    });
    let listener = tokio::net::TcpListener::bind(&address)
        .await
        .expect("the address is free");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            continue;
        };
        let folder = folder.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let folder = folder.clone();
                async move { Ok::<_, Infallible>(answer(request, &folder).await) }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

fn text(status: u16, text: impl Into<Bytes>) -> http::Response<Body> {
    let mut response = http::Response::new(Full::new(text.into()).boxed());
    *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
    response
}

/// Waits for a file of the test's.
async fn exists(file: PathBuf) {
    while !file.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Server-sent events with these numbers.
fn events(numbers: impl futures::Stream<Item = u64> + Send + Sync + 'static) -> http::Response<Body> {
    let frames = numbers.map(|n| Ok(Frame::data(Bytes::from(format!("data: {n}\n\n")))));
    let mut response = http::Response::new(BoxBody::new(StreamBody::new(frames)));
    let kind = http::HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

async fn answer(request: http::Request<Incoming>, folder: &Path) -> http::Response<Body> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if path == "/health" {
        return if folder.join("sick").exists() {
            text(503, "sick")
        } else {
            text(200, "well")
        };
    }
    let head: String = request
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}={}\n", value.to_str().unwrap_or("?")))
        .collect();
    let Ok(body) = request
        .into_body()
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
    else {
        note(folder, &format!("{method} {path} broken"));
        return text(400, "");
    };
    note(folder, &format!("{method} {path} {}", body.len()));
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let number = |at: usize| parts.get(at).and_then(|p| p.parse::<u64>().ok()).unwrap_or(0);
    match parts[0] {
        "slow" => {
            tokio::time::sleep(Duration::from_millis(number(1))).await;
            text(200, name)
        }
        "die" => std::process::exit(9),
        "echo" => text(200, body),
        "head" => text(200, format!("{path}\n{head}")),
        "empty" => text(204, ""),
        "big" => text(200, vec![b'x'; usize::try_from(number(1)).expect("a size") << 20]),
        "unwell" => text(503, "the workload's own 503"),
        "hold" => {
            exists(folder.join("release")).await;
            text(200, name)
        }
        "events" => {
            let gap = Duration::from_millis(number(2));
            events(futures::stream::iter(0..number(1)).then(move |n| async move {
                tokio::time::sleep(gap).await;
                n
            }))
        }
        "gated" => {
            let folder = folder.to_owned();
            events(futures::stream::iter(0..number(1)).then(move |n| {
                let gate = folder.join(format!("gate-{n}"));
                async move {
                    exists(gate).await;
                    n
                }
            }))
        }
        _ => text(200, name),
    }
}
