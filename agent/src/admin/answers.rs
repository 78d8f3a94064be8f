//! Answers one request.

use super::metrics;
use crate::node::{Ask, Shared};
use crate::presence::Presence;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::oneshot;

type Answer = (StatusCode, &'static str, String);

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

/// Answers. `trusted` says whether the request came over the socket or loopback.
pub(super) async fn answer(shared: &Shared, method: &Method, path: &str, trusted: bool) -> Answer {
    match (method, path) {
        (&Method::GET, "/healthz") => {
            let presence = *shared.presence.borrow();
            let status = if presence == Presence::Ready {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            (status, TEXT, format!("{}\n", presence.word()))
        }
        (&Method::GET, "/status") => (StatusCode::OK, JSON, shown(&*shared.view.borrow())),
        (&Method::GET, "/peers") => {
            let peers = shared.peers.borrow().clone();
            (StatusCode::OK, JSON, shown(&*peers))
        }
        (&Method::GET, "/metrics") => (StatusCode::OK, "text/plain; version=0.0.4", metrics::text(shared)),
        (&Method::POST, "/drain" | "/undrain") if !trusted => {
            let why = "what changes the node is answered on its socket and on loopback only\n";
            (StatusCode::FORBIDDEN, TEXT, why.into())
        }
        (&Method::POST, "/drain") => ask(shared, Ask::Drain).await,
        (&Method::POST, "/undrain") => ask(shared, Ask::Undrain).await,
        _ => {
            let known = "GET /healthz, /status, /peers, /metrics; POST /drain, /undrain\n";
            (StatusCode::NOT_FOUND, TEXT, known.into())
        }
    }
}

fn shown(value: &impl serde::Serialize) -> String {
    // Plain fields of text and numbers always have a JSON form.
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

async fn ask(shared: &Shared, ask: impl FnOnce(oneshot::Sender<Result<String, String>>) -> Ask) -> Answer {
    let (to, from) = oneshot::channel();
    let sent = shared.asks.try_send(ask(to)).is_ok();
    match (sent, from.await) {
        (true, Ok(Ok(done))) => (StatusCode::OK, JSON, format!("{}\n", json!({"done": done}))),
        (true, Ok(Err(why))) => (StatusCode::CONFLICT, JSON, format!("{}\n", json!({"error": why}))),
        _ => (
            StatusCode::SERVICE_UNAVAILABLE,
            JSON,
            format!(
                "{}\n",
                json!({"error": "the node is ending, or too much is asked of it at once"})
            ),
        ),
    }
}
