//! The reconciler's HTTP endpoints: `/healthz`, `/readyz`, `/metrics`, `/debug/state.json` and a page at `/`.
//! Read-only, and on loopback unless another address is configured; then everything but the two checks needs a token.
//!
//! It reads only what sources publish in memory: no request to these endpoints causes one to a cluster or a repository.
//! Authenticated webhooks (`hook`) are served on the same address.

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
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse as _, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
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

/// A source at one moment: its own status, and the tree of what it keeps.
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

/// Admits requests with the token if one is configured; otherwise only those from this machine.
async fn guard(State(shown): State<Shown>, request: Request, next: Next) -> Response {
    match refusal(shown.token.as_ref().map(|token| token.trim()), request.headers()) {
        Some(refused) => refused,
        None => next.run(request).await,
    }
}

fn refusal(token: Option<&str>, headers: &HeaderMap) -> Option<Response> {
    let header = |name| headers.get(name).map(HeaderValue::as_bytes);
    if let Some(token) = token {
        if header(header::AUTHORIZATION).is_some_and(|given| knows(given, token)) {
            return None;
        }
        // This makes a browser ask for a password and send it with every request.
        let ask = [(
            header::WWW_AUTHENTICATE,
            "Basic realm=\"Myelin: the token as password\"",
        )];
        let how = "send Authorization: Bearer TOKEN, or the token as the password of any user\n";
        return Some((StatusCode::UNAUTHORIZED, ask, how).into_response());
    }
    // Otherwise the user's browser would give access to somebody else's page whose name resolves to loopback (DNS
    // rebinding).
    let here = header(header::HOST).is_none_or(is_this_machine);
    let why = "without --listen-token the page is for this machine: ask for localhost or 127.0.0.1\n";
    (!here).then(|| (StatusCode::MISDIRECTED_REQUEST, why).into_response())
}

/// Whether a header `Authorization` holds the token, as a bearer token or as a password, compared in constant time.
fn knows(given: &[u8], token: &str) -> bool {
    let same = |given: &[u8]| aws_lc_rs::constant_time::verify_slices_are_equal(given, token.as_bytes()).is_ok();
    let Some((scheme, rest)) = given.iter().position(|b| *b == b' ').map(|at| given.split_at(at)) else {
        return false;
    };
    let rest = rest.trim_ascii();
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return same(rest);
    }
    let basic = scheme.eq_ignore_ascii_case(b"basic").then(|| BASE64.decode(rest).ok());
    let Some(pair) = basic.flatten().map(Zeroizing::new) else {
        return false;
    };
    let password = pair.iter().position(|b| *b == b':').and_then(|at| pair.get(at + 1..));
    password.is_some_and(same)
}

/// Whether a header `Host` names loopback: `localhost`, `127.0.0.1` or `[::1]`, with a port or without.
fn is_this_machine(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else {
        return false;
    };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_opens_as_a_bearers_and_as_a_password_and_nothing_else_does() {
        let basic = |pair: &str| format!("Basic {}", BASE64.encode(pair));
        for good in [
            "Bearer s3cret",
            "bearer  s3cret",
            &basic("me:s3cret"),
            &basic(":s3cret"),
        ] {
            assert!(knows(good.as_bytes(), "s3cret"), "{good}");
        }
        for bad in [
            "",
            "s3cret",
            "Bearer",
            "Bearer s3cret2",
            "Bearer ",
            "Basic s3cret",
            "Basic !",
            &basic("s3cret"),
            &basic("s3cret:"),
            &basic("me:s3cret:"),
            "Digest s3cret",
        ] {
            assert!(!knows(bad.as_bytes(), "s3cret"), "{bad}");
        }
    }

    #[test]
    fn only_names_of_loopback_are_this_machine() {
        for good in [
            "localhost",
            "LOCALHOST:9810",
            "127.0.0.1",
            "127.0.0.1:9810",
            "[::1]:9810",
            "[::1]",
        ] {
            assert!(is_this_machine(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "localhost.example.com",
            "127.0.0.1.example.com:9810",
            "10.0.0.1",
            ":9810",
        ] {
            assert!(!is_this_machine(bad.as_bytes()), "{bad}");
        }
    }
}
