//! What the reconciler says over HTTP: `/healthz`, `/readyz`, `/metrics`, `/debug/state.json` and a page at `/`. Read-only, and
//! on loopback unless another address is asked for; then everything but the two checks needs a token.
//!
//! It reads what sources publish in memory and nothing else: no request of a stranger reaches a cluster or a repository.

mod checks;
mod metrics;
mod page;
mod style;

use crate::control::{Control, Status};
use crate::hook::Hooks;
use crate::lease::Replica;
use crate::picture::Picture;
use crate::pulse::Pulse;
use crate::tree::{Forest, SourceNode};
use axum::Router;
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// What one source shows of itself.
#[derive(Clone)]
pub(crate) struct Face {
    /// What it last said.
    pub(crate) status: watch::Receiver<Status>,
    /// How its objects stand.
    pub(crate) picture: Picture,
    /// Whether its loop lives.
    pub(crate) pulse: Pulse,
}

impl Default for Face {
    fn default() -> Self {
        Self {
            status: watch::channel(Status::default()).1,
            picture: Picture::default(),
            pulse: Pulse::default(),
        }
    }
}

/// A source as it is shown at one moment: its own words, and the tree of what it keeps.
#[derive(Debug, Serialize)]
pub(crate) struct View {
    #[serde(flatten)]
    status: Status,
    /// Stacks, components, objects and pools with their states.
    tree: SourceNode,
}

/// What every source shows.
#[derive(Clone)]
pub(crate) struct Shown {
    sources: Arc<BTreeMap<String, Face>>,
    /// This replica, where there are several.
    replica: Option<Replica>,
    token: Option<Arc<Zeroizing<String>>>,
}

impl Shown {
    pub(crate) fn new(
        sources: BTreeMap<String, Face>,
        replica: Option<Replica>,
        token: Option<Zeroizing<String>>,
    ) -> Self {
        Self {
            sources: Arc::new(sources),
            replica,
            token: token.map(Arc::new),
        }
    }

    fn faces(&self) -> impl Iterator<Item = (&str, &Face)> {
        self.sources.iter().map(|(name, face)| (name.as_str(), face))
    }

    fn replica(&self) -> Option<&Replica> {
        self.replica.as_ref()
    }

    fn now(&self) -> BTreeMap<String, View> {
        let view = |(name, face): (&str, &Face)| {
            let status = face.status.borrow().clone();
            let drawn = face.picture.now();
            let control = Control {
                hold: drawn.held,
                suspended: status.state == "suspended",
                ..Control::default()
            };
            let records: Vec<_> = drawn.records.into_values().collect();
            let said = BTreeMap::from([(name.to_owned(), (control, status.clone()))]);
            let tree = Forest::grow(&said, &records, &drawn.health)
                .sources
                .into_iter()
                .next()?;
            Some((name.to_owned(), View { status, tree }))
        };
        self.faces().filter_map(view).collect()
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
        .route("/", get(overview))
        .route("/stacks/{source}/{namespace}/{name}", get(stack))
        .route(
            "/metrics",
            get(async |State(shown): State<Shown>| metrics::metrics(&shown.now())),
        )
        .route(
            "/debug/state.json",
            get(async |State(shown): State<Shown>| axum::Json(shown.now())),
        )
        .layer(middleware::from_fn_with_state(shown.clone(), guard));
    Router::new()
        .route(
            "/healthz",
            get(async |State(shown): State<Shown>| checks::healthy(&shown, Instant::now())),
        )
        .route(
            "/readyz",
            get(async |State(shown): State<Shown>| checks::ready(&shown, Instant::now())),
        )
        .merge(guarded)
        .layer(middleware::map_response(harden))
        .with_state(shown)
}

/// Whether the page comes again by itself; `?still` stops that.
type Options = Query<BTreeMap<String, String>>;

async fn overview(State(shown): State<Shown>, Query(options): Options) -> Html<String> {
    let frame = page::Frame::new(options.contains_key("still"));
    Html(page::overview(&shown.now(), &frame).into_string())
}

async fn stack(
    State(shown): State<Shown>,
    Path((source, namespace, name)): Path<(String, String, String)>,
    Query(options): Options,
) -> Response {
    let frame = page::Frame::new(options.contains_key("still"));
    let all = shown.now();
    let id = format!("{namespace}/{name}");
    let found = all.get(&source).and_then(|view| {
        let stack = view.tree.stacks.iter().find(|stack| stack.name == id)?;
        Some((view, stack))
    });
    match found {
        Some((view, stack)) => Html(page::stack(view, stack, &frame).into_string()).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            Html(page::missing(&source, &id, &frame).into_string()),
        )
            .into_response(),
    }
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
