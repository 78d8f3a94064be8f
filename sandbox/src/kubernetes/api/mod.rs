//! HTTP: from a request to verbs on the registry and back to bytes.
//!
//! Order of a request: [`route`] says what the path means, [`auth`] who calls and whether they may, `negotiate` in which
//! form they want the answer; then `verbs`, `watch`, `subresources`, `discovery` or `openapi` answer. Control of the
//! sandbox itself (faults, request log, clock) is under `/sandbox/` and is not Kubernetes.

pub mod auth;
mod bodies;
mod body;
mod control;
mod deletes;
mod discovery;
mod lists;
mod negotiate;
mod openapi;
mod protobuf;
mod reply;
mod reviews;
mod route;
pub(crate) mod server;
mod subresources;
mod table;
pub mod tls;
mod verbs;
mod watch;

use std::fmt::Debug;
use std::sync::Arc;

use axum::body::Body;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{Method, Request, Response};
use hyper::body::Incoming;

use crate::faults::{Asked, Faults, Verdict};
use crate::kubernetes::registry::{Failure, Registry};
use crate::kubernetes::store::Object;
use reply::Reply;
use route::{Route, Target};

/// What answers requests for a pod's streams: `log`, `exec`, `attach`, `portforward`.
pub trait PodStreams: Send + Sync + Debug {
    /// Answer one request. The pod exists and the caller may do this.
    fn open(&self, request: PodRequest) -> BoxFuture<'static, Result<Response<Body>, Failure>>;

    /// What a Service answers to a GET through the API server: `name` is `[scheme:]service[:port]`, `path` begins with a slash.
    fn proxy(&self, namespace: &str, name: &str, path: &str) -> Result<Response<Body>, Failure>;
}

/// A request for a pod's stream.
#[derive(Debug)]
pub struct PodRequest {
    /// `log`, `exec`, `attach` or `portforward`.
    pub subresource: String,
    /// The pod as it is now.
    pub pod: Arc<Object>,
    /// Query parameters in their order (`container`, `command`, `stdin`, `follow`, …).
    pub query: Vec<(String, String)>,
    /// Method, headers and the upgrade hook (`hyper::upgrade::OnUpgrade` is among the extensions).
    pub parts: Parts,
}

/// The API server.
#[derive(Debug)]
pub struct Api {
    registry: Arc<Registry>,
    faults: Arc<Faults>,
    auth: auth::Authenticator,
    streams: Option<Arc<dyn PodStreams>>,
}

/// A request whose connection is to be cut.
#[derive(Debug, thiserror::Error)]
#[error("connection reset by a fault rule")]
pub struct Reset;

/// A request, taken apart.
pub(crate) struct Call {
    pub(crate) parts: Parts,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) user: auth::User,
    pub(crate) accept: negotiate::Accept,
}

impl Call {
    /// The first value of a query parameter.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The field manager of a plain write: as requested, or the user agent up to its first slash.
    pub(crate) fn manager(&self) -> String {
        match self.query("fieldManager") {
            Some(manager) if !manager.is_empty() => manager.to_owned(),
            _ => {
                let agent = self.header("user-agent").unwrap_or_default();
                let name = agent.split('/').next().unwrap_or_default();
                name.chars().filter(|c| !c.is_control()).take(128).collect()
            }
        }
    }
}

impl Api {
    /// An API on a registry, for holders of `token`.
    pub fn new(
        registry: Arc<Registry>,
        faults: Arc<Faults>,
        token: String,
        streams: Option<Arc<dyn PodStreams>>,
    ) -> Self {
        Self {
            registry,
            faults,
            auth: auth::Authenticator::new(token),
            streams,
        }
    }

    /// Answer a request. `Err` means that the connection must be cut.
    pub async fn serve(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Body>, Reset> {
        let (parts, incoming) = request.into_parts();
        let query = route::parse_query(parts.uri.query().unwrap_or_default());
        let accept = negotiate::Accept::parse(parts.headers.get("accept").and_then(|v| v.to_str().ok()));
        let gzip = parts
            .headers
            .get("accept-encoding")
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.split(',').any(|e| e.trim().split(';').next() == Some("gzip")));
        let user = match self.auth.authenticate(&self.registry, &parts) {
            Ok(user) => user,
            Err(failure) => {
                let _ = body::read(incoming).await;
                return Ok(reply::failure(&failure, &accept).into_response(false));
            }
        };
        let call = Call {
            parts,
            query,
            user,
            accept,
        };
        let is_read = call.parts.method == Method::GET;
        let reply = self.answer(call, incoming).await?;
        Ok(reply.into_response(gzip && is_read))
    }

    async fn answer(self: &Arc<Self>, mut call: Call, incoming: Incoming) -> Result<Reply, Reset> {
        let route = route::parse(call.parts.uri.path(), &self.registry.catalog().served());
        if let Route::Control(path) = route {
            return Ok(match body::read(incoming).await {
                Ok(bytes) => control::answer(self, &call, &path, &bytes),
                Err(failure) => reply::failure(&failure, &call.accept),
            });
        }
        let accept = call.accept.clone();
        let target = match &route {
            Route::Resource(target) => Some(target),
            _ => None,
        };
        let verb = verb(&call, target);
        let asked = Asked {
            method: call.parts.method.as_str(),
            verb,
            path: call.parts.uri.path(),
            query: call.parts.uri.query().unwrap_or_default(),
            agent: call.header("user-agent").unwrap_or_default(),
            resource: target.map_or("", |t| &t.resource.storage),
            namespace: target.map_or("", |t| t.namespace.as_str()),
            name: target.map_or("", |t| t.name.as_str()),
        };
        let ticket = self.faults.ask(&asked);
        match ticket.before().await {
            Verdict::Go => {}
            Verdict::Answer(failure) => return Ok(reply::failure(&failure, &accept)),
            Verdict::Cut => return Err(Reset),
        }
        // The body is read even if it is refused: an unread one would cost the client its connection.
        let outcome = match body::read(incoming).await {
            Ok(bytes) => {
                self.dispatch(&mut call, route, verb, &bytes, ticket.drops_watch())
                    .await
            }
            Err(failure) => Err(failure),
        };
        let reply = outcome.unwrap_or_else(|failure| reply::failure(&failure, &accept));
        ticket.done(reply.status().as_u16());
        match ticket.after().await {
            Verdict::Cut => Err(Reset),
            Verdict::Answer(failure) => Ok(reply::failure(&failure, &accept)),
            Verdict::Go => Ok(reply),
        }
    }

    async fn dispatch(
        self: &Arc<Self>,
        call: &mut Call,
        route: Route,
        verb: &'static str,
        bytes: &bytes::Bytes,
        drops: Option<std::time::Duration>,
    ) -> Result<Reply, Failure> {
        match route {
            Route::Resource(target) => {
                auth::authorize(&self.registry, &call.user, verb, &target)?;
                if verb == "watch" {
                    return watch::open(self, call, &target, drops);
                }
                if let Some(reply) = self.pod_stream(call, &target).await? {
                    return Ok(reply);
                }
                verbs::answer(self, call, &target, bytes)
            }
            Route::NoSubresource(target) => {
                let gvr = &target.resource.gvr;
                Err(Failure::not_found(&gvr.group, &gvr.plural, &target.name))
            }
            Route::Control(_) | Route::NoGroup => Ok(Reply::text(404, "404 page not found\n")),
            Route::NoResource => {
                call.accept.kubernetes()?;
                Err(Failure::no_such_path())
            }
            route => {
                auth::authorize_path(&self.registry, &call.user, call.parts.uri.path())?;
                let allowed = matches!(call.parts.method, Method::GET | Method::HEAD);
                if !allowed {
                    return Err(route::method_not_allowed());
                }
                match route {
                    Route::OpenApi(path) => openapi::answer(&self.registry, call, &path),
                    other => discovery::answer(&self.registry, call, &other),
                }
            }
        }
    }

    async fn pod_stream(&self, call: &mut Call, target: &Target) -> Result<Option<Reply>, Failure> {
        let subresource = target.subresource.as_str();
        let proxied = subresource
            .strip_prefix("proxy")
            .filter(|_| &*target.resource.storage == "services");
        if let (Some(path), Some(streams)) = (proxied, &self.streams) {
            if call.parts.method != Method::GET {
                return Err(Failure::unmodelled("services/proxy with another method than GET"));
            }
            let path = if path.is_empty() { "/" } else { path };
            return Ok(Some(Reply::whole(streams.proxy(
                &target.namespace,
                &target.name,
                path,
            )?)));
        }
        if &*target.resource.storage != "pods" || !matches!(subresource, "log" | "exec" | "attach" | "portforward") {
            return Ok(None);
        }
        let method = &call.parts.method;
        if !(*method == Method::GET || (*method == Method::POST && subresource != "log")) {
            return Err(route::method_not_allowed());
        }
        let pod = self.registry.read(&target.resource, &target.namespace, &target.name)?;
        let Some(streams) = &self.streams else {
            return Err(Failure::unmodelled(&format!("pods/{subresource}")));
        };
        let (mut parts, ()) = Request::new(()).into_parts();
        std::mem::swap(&mut parts, &mut call.parts);
        let query = call.query.clone();
        let request = PodRequest {
            subresource: subresource.to_owned(),
            pod,
            query,
            parts,
        };
        Ok(Some(Reply::whole(streams.open(request).await?)))
    }
}

/// The verb of a request, as authorization and faults name it.
fn verb(call: &Call, target: Option<&Target>) -> &'static str {
    let Some(target) = target else { return "get" };
    let truthy = |name| matches!(call.query(name), Some("true" | "1" | ""));
    match call.parts.method {
        Method::GET | Method::HEAD if target.watch || (target.name.is_empty() && truthy("watch")) => "watch",
        Method::GET | Method::HEAD if target.name.is_empty() => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE if target.name.is_empty() => "deletecollection",
        Method::DELETE => "delete",
        _ => "get",
    }
}
