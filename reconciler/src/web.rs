//! What the reconciler says over HTTP: `/healthz`, `/readyz`, `/metrics`, `/debug/state.json` and a page at `/`. Read-only, and
//! on loopback unless another address is asked for; then everything but the two checks needs a token.
//!
//! It reads the status that sources publish and nothing else: no request of a stranger reaches a cluster or a repository.

use crate::control::Status;
use crate::hook::Hooks;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use maud::{DOCTYPE, Markup, html};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use zeroize::Zeroizing;

/// What every source last said.
#[derive(Clone)]
pub(crate) struct Shown {
    sources: Arc<BTreeMap<String, watch::Receiver<Status>>>,
    token: Option<Arc<Zeroizing<String>>>,
}

impl Shown {
    pub(crate) fn new(sources: BTreeMap<String, watch::Receiver<Status>>, token: Option<Zeroizing<String>>) -> Self {
        Self {
            sources: Arc::new(sources),
            token: token.map(Arc::new),
        }
    }

    fn now(&self) -> BTreeMap<String, Status> {
        self.sources
            .iter()
            .map(|(name, status)| (name.clone(), status.borrow().clone()))
            .collect()
    }
}

/// Serves until dropped.
///
/// # Errors
/// When the address is taken, or is not loopback and there is no token.
pub(crate) async fn serve(address: SocketAddr, shown: Shown, hooks: Hooks) -> anyhow::Result<()> {
    use anyhow::Context as _;
    anyhow::ensure!(
        address.ip().is_loopback() || shown.token.is_some(),
        "--listen {address} can be reached by others: name a file with a token by --listen-token"
    );
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let router = router(shown).merge(hooks.router());
    axum::serve(listener, router).await.context("the web page ended")
}

fn router(shown: Shown) -> Router {
    let guarded = Router::new()
        .route(
            "/",
            get(async |State(shown): State<Shown>| Html(page(&shown.now()).into_string())),
        )
        .route(
            "/metrics",
            get(async |State(shown): State<Shown>| metrics(&shown.now())),
        )
        .route(
            "/debug/state.json",
            get(async |State(shown): State<Shown>| axum::Json(shown.now())),
        )
        .layer(middleware::from_fn_with_state(shown.clone(), guard));
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(async |State(shown): State<Shown>| ready(&shown.now())))
        .merge(guarded)
        .layer(middleware::map_response(harden))
        .with_state(shown)
}

/// Lets in who knows the token, where there is one.
async fn guard(State(shown): State<Shown>, request: Request, next: Next) -> Response {
    if let Some(token) = &shown.token {
        let given = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let expected = format!("Bearer {}", token.trim());
        let known = given
            .is_some_and(|given| aws_lc_rs::constant_time::verify_slices_are_equal(given, expected.as_bytes()).is_ok());
        if !known {
            return (StatusCode::UNAUTHORIZED, "send Authorization: Bearer TOKEN\n").into_response();
        }
    }
    next.run(request).await
}

async fn harden(mut response: Response) -> Response {
    for (name, value) in [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Ready means that every source has been looked at: its commit is enforced or its problem is known.
fn ready(sources: &BTreeMap<String, Status>) -> Response {
    let starting: Vec<&str> = sources
        .iter()
        .filter(|(_, status)| status.state.is_empty() || status.state == "starting")
        .map(|(name, _)| name.as_str())
        .collect();
    if starting.is_empty() {
        return "ok\n".into_response();
    }
    let why = format!("not looked at yet: {}\n", starting.join(", "));
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: String,
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStack {
    source: String,
    stack: String,
}

/// States that a source may be in; the label has no other values.
const STATES: [&str; 9] = [
    "starting",
    "ready",
    "applying",
    "failed",
    "rejected",
    "refused",
    "suspended",
    "unreachable",
    "other",
];

fn metrics(sources: &BTreeMap<String, Status>) -> Response {
    let mut registry = Registry::with_prefix("myelin");
    let states = Family::<OfSource, Gauge>::default();
    let stacks = Family::<OfStack, Gauge>::default();
    registry.register("source_state", "1 for the state that a source is in", states.clone());
    registry.register(
        "stack_ready",
        "1 for a stack that is as its commit says, else 0",
        stacks.clone(),
    );
    for (name, status) in sources {
        let current = STATES
            .iter()
            .find(|state| **state == status.state)
            .copied()
            .unwrap_or("other");
        for state in STATES {
            let labels = OfSource {
                source: name.clone(),
                state: state.to_owned(),
            };
            states.get_or_create(&labels).set(i64::from(state == current));
        }
        for (stack, state) in &status.stacks {
            let labels = OfStack {
                source: name.clone(),
                stack: stack.clone(),
            };
            stacks.get_or_create(&labels).set(i64::from(state == "ready"));
        }
    }
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1f;background:#fff}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ccc;vertical-align:top}\
pre{white-space:pre-wrap;background:#f4f4f6;padding:.6rem}code{font-family:ui-monospace,monospace}\
@media(prefers-color-scheme:dark){body{color:#e6e6ea;background:#16161a}pre{background:#24242a}th,td{border-color:#444}}";

/// The page. Everything that comes from a repository or a cluster is escaped by the template.
fn page(sources: &BTreeMap<String, Status>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="refresh" content="10";
                title { "Myelin" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "Myelin" }
                main { @for (name, status) in sources { (source(name, status)) } }
            }
        }
    }
}

fn source(name: &str, status: &Status) -> Markup {
    html! {
        section aria-labelledby=(format!("source-{name}")) {
            h2 id=(format!("source-{name}")) { (name) ": " (status.state) }
            p {
                "Commit " code { (status.commit.as_deref().unwrap_or("none yet")) }
                @if let Some(head) = status.head.as_ref().filter(|head| Some(*head) != status.commit.as_ref()) {
                    "; the branch is at " code { (head) }
                }
            }
            @if !status.message.is_empty() { pre { (status.message) } }
            @if !status.stacks.is_empty() {
                table {
                    caption { "Stacks" }
                    thead { tr { th scope="col" { "Stack" } th scope="col" { "State" } } }
                    tbody { @for (stack, state) in &status.stacks { tr { th scope="row" { (stack) } td { (state) } } } }
                }
            }
            @if !status.history.is_empty() {
                table {
                    caption { "Commits, the newest first" }
                    thead {
                        tr { th scope="col" { "Taken" } th scope="col" { "Commit" } th scope="col" { "State" } th scope="col" { "What" } }
                    }
                    tbody {
                        @for taken in &status.history {
                            tr {
                                td { (jiff::Timestamp::from_second(taken.at).unwrap_or_default()) }
                                td { code { (&taken.commit[..taken.commit.len().min(12)]) } }
                                td { (taken.state) }
                                td { (taken.subject) " (" (taken.author) ")" }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Taken;

    fn status(state: &str) -> Status {
        Status {
            state: state.to_owned(),
            stacks: BTreeMap::from([("shop/one".to_owned(), "ready".to_owned())]),
            history: vec![Taken {
                commit: "0123456789abcdef".to_owned(),
                subject: "<script>alert(1)</script>".to_owned(),
                author: "Ada \"<b>".to_owned(),
                at: 0,
                state: "ready".to_owned(),
                plan: None,
            }],
            ..Status::default()
        }
    }

    #[test]
    fn what_a_repository_says_is_escaped() {
        let text = page(&BTreeMap::from([("git".to_owned(), status("ready"))])).into_string();
        assert!(
            text.contains("&lt;script&gt;") && !text.contains("<script>") && !text.contains("<b>"),
            "{text}"
        );
    }

    #[test]
    fn ready_means_that_every_source_was_looked_at() {
        let mut sources = BTreeMap::from([("a".to_owned(), status("ready")), ("b".to_owned(), Status::default())]);
        assert_eq!(ready(&sources).status(), StatusCode::SERVICE_UNAVAILABLE);
        sources.insert("b".to_owned(), status("unreachable"));
        assert_eq!(ready(&sources).status(), StatusCode::OK);
    }
}
