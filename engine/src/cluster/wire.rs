//! Implements the port [`Cluster`] on the network: one HTTP request per call, through a [`kube::Client`].
//!
//! It uses plain URLs and JSON, so that what is written here is what is sent. No caching, no retries.

use super::{
    Answer, Cluster, ClusterError, CommandOutput, FIELD_MANAGER, List, Mode, PodCommand, Precondition, Propagation,
    Resource, Selection, ServiceAnswer, ServiceRequest, Target, WatchEvent, exec, proxy,
};
use futures::stream::BoxStream;
use futures::{AsyncBufReadExt as _, FutureExt as _, StreamExt as _};
use http::{Method, Request};
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{Instrument as _, field};

/// The end of one request. Above the API server's own limit for mutating requests with webhooks (30 s).
const DEADLINE: Duration = Duration::from_secs(35);

/// The end of one page of a list.
const LIST_DEADLINE: Duration = Duration::from_secs(60);

/// How long the server keeps a watch open, in seconds.
const WATCH_SECONDS: u32 = 290;

/// How long a watch may be silent before it is not believed in any more.
#[derive(Debug, Clone, Copy)]
struct Silence {
    /// Where the server sends bookmarks. It does about once a minute, and before the end of the watch
    /// (<https://kubernetes.io/docs/reference/using-api/api-concepts/#watch-bookmarks>); here two of them are missing.
    marked: Duration,
    /// Where it is not known to: it has to for no kind, and does not for those that it does not cache, as Events.
    unmarked: Duration,
}

const SILENCE: Silence = Silence {
    marked: Duration::from_secs(150),
    unmarked: Duration::from_secs(WATCH_SECONDS as u64 + 30),
};

/// A bookmark that comes so shortly before the end of its watch says nothing of others on the way.
const SHORTLY_BEFORE_END: Duration = Duration::from_secs(10);

/// Objects per page of a list.
const PAGE: u32 = 500;

/// A line of a watch may be as large as the largest object that the API server takes, with room for its encoding.
const LONGEST_EVENT: usize = 16 << 20;

/// A cluster behind a client.
#[derive(Clone)]
pub struct KubeCluster {
    client: kube::Client,
    /// Its URL, for errors.
    server: Arc<str>,
    silence: Silence,
    /// Kinds of which it has sent bookmarks.
    marked: Arc<Mutex<BTreeSet<Resource>>>,
}

impl KubeCluster {
    /// On a client, as [`super::connect::connect`] makes it.
    #[must_use]
    pub fn new(client: kube::Client) -> Self {
        Self {
            client,
            server: "".into(),
            silence: SILENCE,
            marked: Arc::default(),
        }
    }

    /// With the server's URL, which errors then name.
    #[must_use]
    pub(super) fn at(mut self, server: &str) -> Self {
        self.server = server.into();
        self
    }

    fn unreachable(&self, error: impl std::error::Error + 'static) -> ClusterError {
        match unreachable(error) {
            ClusterError::Unreachable(why) if !self.server.is_empty() => {
                ClusterError::Unreachable(format!("{}: {why}", self.server))
            }
            error => error,
        }
    }

    fn marked(&self) -> MutexGuard<'_, BTreeSet<Resource>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a watch of a kind may be silent.
    fn silence_of(&self, resource: &Resource) -> Duration {
        match self.marked().contains(resource) {
            true => self.silence.marked,
            false => self.silence.unmarked,
        }
    }

    async fn send(
        &self,
        method: Method,
        uri: String,
        content_type: Option<&str>,
        body: Vec<u8>,
        deadline: Duration,
    ) -> Result<Vec<u8>, ClusterError> {
        // The trace of a pass shows its requests: names of objects and codes, never bodies.
        let span = tracing::info_span!(
            "request",
            http.request.method = method.as_str(),
            url.path = uri.split('?').next(),
            myelin.dry_run = uri.contains("dryRun=All"),
            http.response.status_code = field::Empty,
            error = field::Empty
        );
        let mut request = Request::builder()
            .method(method)
            .uri(uri)
            .header("Accept", "application/json");
        if let Some(content_type) = content_type {
            request = request.header("Content-Type", content_type);
        }
        let request = request
            .body(Body::from(body))
            .map_err(|e| ClusterError::Unreadable(format!("the request cannot be written: {e}")))?;
        let exchange = async {
            let answer = self.client.send(request).await.map_err(|e| self.unreachable(e))?;
            let status = answer.status();
            let retry_after = answer
                .headers()
                .get("Retry-After")
                .and_then(|v| v.to_str().ok())
                .and_then(|v| v.parse().ok())
                .map(Duration::from_secs);
            let body = answer
                .into_body()
                .collect_bytes()
                .await
                .map_err(|e| self.unreachable(e))?;
            if status.is_success() {
                Ok(body.to_vec())
            } else {
                Err(ClusterError::from_status(status.as_u16(), &body, retry_after))
            }
        };
        let answered = tokio::time::timeout(deadline, exchange).instrument(span.clone());
        let answered = answered.await.unwrap_or(Err(ClusterError::TimedOut(deadline)));
        if let Err(e) = &answered {
            span.record("error", true);
            if let ClusterError::Refused { code, .. } = e {
                span.record("http.response.status_code", code);
            }
        }
        answered
    }

    async fn json(
        &self,
        method: Method,
        uri: String,
        content_type: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Value, ClusterError> {
        let body = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let answer = self.send(method, uri, content_type, body, DEADLINE).await?;
        parse(&answer)
    }
}

fn parse(bytes: &[u8]) -> Result<Value, ClusterError> {
    serde_json::from_slice(bytes).map_err(|e| {
        // What came is not quoted: the answer may have been a Secret.
        let why = if bytes.trim_ascii_start().starts_with(b"<") {
            "it is a web page, not JSON; something between here and the API server answered (a proxy, a sign-in \
             page), or the address is not an API server's"
                .to_owned()
        } else if bytes.trim_ascii().is_empty() {
            "it is empty".to_owned()
        } else if e.is_eof() {
            format!("it is cut short after {} bytes ({e})", bytes.len())
        } else {
            format!("it is not JSON ({e})")
        };
        ClusterError::Unreadable(why)
    })
}

/// The chain of causes in one line; the outermost alone says only "client error".
pub(super) fn unreachable(error: impl std::error::Error + 'static) -> ClusterError {
    if let Some(credentials) = super::credentials::in_causes(&error) {
        return ClusterError::Unreachable(credentials);
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let more = inner.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = inner.source();
    }
    // The names of layers add nothing to the causes.
    for layer in ["ServiceError: ", "client error (Connect): ", "tcp connect error: "] {
        text = text.replace(layer, "");
    }
    if let Some(meaning) = of_certificate(&text) {
        text = format!("{text}: {meaning}");
    }
    ClusterError::Unreachable(text)
}

/// What the TLS library's word for a refused certificate means, and what to do.
fn of_certificate(text: &str) -> Option<&'static str> {
    let (_, word) = text.split_once("invalid peer certificate: ")?;
    let known = [
        (
            "UnknownIssuer",
            "nobody who is trusted here has signed it; name the cluster's CA (certificate-authority-data in a kubeconfig, \
             ca_certificate in Terraform)",
        ),
        ("NotValidForName", "it is for other names than the one in the URL"),
        (
            "certificate not valid for name",
            "it is for other names than the one in the URL",
        ),
        (
            "Expired",
            "its time is over; renew it on the server, and look at this machine's clock",
        ),
        (
            "certificate expired",
            "renew it on the server, and look at this machine's clock",
        ),
        ("NotValidYet", "its time has not begun; look at this machine's clock"),
        ("certificate not valid yet", "look at this machine's clock"),
        (
            "BadSignature",
            "its signature is wrong; the CA that is named here may be an older one",
        ),
    ];
    known
        .iter()
        .find(|(said, _)| word.starts_with(said))
        .map(|(_, means)| *means)
}

/// `/apis/apps/v1`, `/api/v1`.
fn root(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    }
}

fn collection(resource: &Resource, namespace: Option<&str>) -> String {
    let root = root(&resource.group, &resource.version);
    match namespace {
        Some(namespace) if resource.namespaced => {
            format!("{root}/namespaces/{}/{}", escape(namespace), resource.plural)
        }
        _ => format!("{root}/{}", resource.plural),
    }
}

fn address(target: &Target) -> String {
    format!(
        "{}/{}",
        collection(&target.resource, Some(&target.namespace)),
        escape(&target.name)
    )
}

/// Percent-encodes everything but the unreserved characters of RFC 3986 and the colon, which RBAC names use.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~:".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn with(mut uri: String, query: &[(&str, &str)]) -> String {
    for (name, value) in query.iter().filter(|(_, v)| !v.is_empty()) {
        uri.push(if uri.contains('?') { '&' } else { '?' });
        uri.push_str(&format!("{name}={}", escape(value)));
    }
    uri
}

fn dry(mode: Mode) -> &'static str {
    match mode {
        Mode::Real => "",
        Mode::DryRun => "All",
    }
}

impl Cluster for KubeCluster {
    fn discover<'a>(&'a self, api_version: &'a str) -> Answer<'a, Option<Vec<Resource>>> {
        async move {
            let (group, version) = crate::object::split_api_version(api_version);
            let found = match self.json(Method::GET, root(group, version), None, None).await {
                Err(e) if e.is_not_found() => return Ok(None),
                other => other?,
            };
            let text = |v: &Value, name: &str| v.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let resources = found
                .get("resources")
                .and_then(Value::as_array)
                .cloned()
                .unwrap_or_default();
            let names = resources.iter().filter_map(|r| r.get("name").and_then(Value::as_str));
            let with_status: HashSet<&str> = names.filter_map(|n| n.strip_suffix("/status")).collect();
            let all = resources.iter().map(|r| Resource {
                group: group.to_owned(),
                version: version.to_owned(),
                kind: text(r, "kind"),
                plural: text(r, "name"),
                namespaced: r.get("namespaced").and_then(Value::as_bool).unwrap_or(false),
                has_status: Some(with_status.contains(&*text(r, "name"))),
            });
            Ok(Some(all.filter(|r| !r.plural.contains('/')).collect()))
        }
        .boxed()
    }

    fn get<'a>(&'a self, target: &'a Target) -> Answer<'a, Option<Value>> {
        async move {
            match self.json(Method::GET, address(target), None, None).await {
                Ok(value) => Ok(Some(value)),
                Err(e) if e.is_not_found() => Ok(None),
                Err(e) => Err(e),
            }
        }
        .boxed()
    }

    fn list<'a>(&'a self, resource: &'a Resource, selection: &'a Selection) -> Answer<'a, List> {
        async move {
            let base = with(
                collection(resource, selection.namespace.as_deref()),
                &[
                    ("labelSelector", &selection.labels),
                    ("fieldSelector", &selection.fields),
                ],
            );
            let mut list = List::default();
            let (mut next, mut limit) = (String::new(), PAGE.to_string());
            loop {
                let uri = with(base.clone(), &[("limit", &limit), ("continue", &next)]);
                let page = match self.send(Method::GET, uri, None, Vec::new(), LIST_DEADLINE).await {
                    // The version of the pages expired: request everything at once, which cannot expire.
                    Err(e) if e.is_expired() && !next.is_empty() => {
                        list = List::default();
                        next.clear();
                        limit.clear();
                        continue;
                    }
                    other => parse(&other?)?,
                };
                let text = |p: &str| page.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
                list.resource_version = text("/metadata/resourceVersion");
                next = text("/metadata/continue");
                let Value::Object(mut page) = page else {
                    return Err(ClusterError::Unreadable("not a list".into()));
                };
                if let Some(Value::Array(items)) = page.remove("items") {
                    list.items.extend(items.into_iter().map(|item| typed(item, resource)));
                }
                if next.is_empty() {
                    return Ok(list);
                }
            }
        }
        .boxed()
    }

    fn apply_as<'a>(
        &'a self,
        manager: &'a str,
        target: &'a Target,
        body: &'a Value,
        force: bool,
        mode: Mode,
    ) -> Answer<'a, Value> {
        let query = [
            ("fieldManager", manager),
            ("fieldValidation", "Strict"),
            ("force", if force { "true" } else { "" }),
            ("dryRun", dry(mode)),
        ];
        let uri = with(address(target), &query);
        async move {
            self.json(Method::PATCH, uri, Some("application/apply-patch+yaml"), Some(body))
                .await
        }
        .boxed()
    }

    fn create<'a>(&'a self, target: &'a Target, body: &'a Value, mode: Mode) -> Answer<'a, Value> {
        let uri = with(
            collection(&target.resource, Some(&target.namespace)),
            &[
                ("fieldManager", FIELD_MANAGER),
                ("fieldValidation", "Strict"),
                ("dryRun", dry(mode)),
            ],
        );
        async move { self.json(Method::POST, uri, Some("application/json"), Some(body)).await }.boxed()
    }

    fn update<'a>(&'a self, target: &'a Target, body: &'a Value) -> Answer<'a, Value> {
        let uri = with(address(target), &[("fieldManager", FIELD_MANAGER)]);
        async move { self.json(Method::PUT, uri, Some("application/json"), Some(body)).await }.boxed()
    }

    fn json_patch<'a>(&'a self, target: &'a Target, patch: &'a Value, mode: Mode) -> Answer<'a, Value> {
        let query = [("fieldManager", FIELD_MANAGER), ("dryRun", dry(mode))];
        let uri = with(address(target), &query);
        async move {
            self.json(Method::PATCH, uri, Some("application/json-patch+json"), Some(patch))
                .await
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        target: &'a Target,
        precondition: &'a Precondition,
        propagation: Propagation,
        mode: Mode,
    ) -> Answer<'a, ()> {
        async move {
            let policy = match propagation {
                Propagation::Background => "Background",
                Propagation::Foreground => "Foreground",
                Propagation::Orphan => "Orphan",
            };
            let mut preconditions = json!({"uid": precondition.uid});
            if let Some(version) = &precondition.resource_version {
                preconditions["resourceVersion"] = version.as_str().into();
            }
            let body = json!({
                "kind": "DeleteOptions", "apiVersion": "v1",
                "preconditions": preconditions, "propagationPolicy": policy,
            });
            let uri = with(address(target), &[("dryRun", dry(mode))]);
            self.json(Method::DELETE, uri, Some("application/json"), Some(&body))
                .await
                .map(|_| ())
        }
        .boxed()
    }

    fn watch<'a>(
        &'a self,
        resource: &'a Resource,
        selection: &'a Selection,
        resource_version: &'a str,
    ) -> Answer<'a, BoxStream<'static, Result<WatchEvent, ClusterError>>> {
        async move {
            let seconds = WATCH_SECONDS.to_string();
            let uri = with(
                collection(resource, selection.namespace.as_deref()),
                &[
                    ("watch", "true"),
                    ("allowWatchBookmarks", "true"),
                    ("resourceVersion", resource_version),
                    ("timeoutSeconds", &seconds),
                    ("labelSelector", &selection.labels),
                    ("fieldSelector", &selection.fields),
                ],
            );
            let request = Request::get(uri)
                .header("Accept", "application/json")
                .body(Vec::new())
                .map_err(|e| ClusterError::Unreadable(format!("the request cannot be written: {e}")))?;
            let open = tokio::time::timeout(DEADLINE, self.client.request_stream(request));
            let reader = match open.await {
                Err(_) => return Err(ClusterError::TimedOut(DEADLINE)),
                Ok(Err(kube::Error::Api(status))) => {
                    let body = serde_json::to_vec(&*status).unwrap_or_default();
                    return Err(ClusterError::from_status(status.code, &body, None));
                }
                Ok(Err(e)) => return Err(self.unreachable(e)),
                Ok(Ok(reader)) => reader,
            };
            let cluster = self.clone();
            let opened = Instant::now();
            let state = Some((Box::pin(reader), resource.clone(), cluster));
            let events = futures::stream::unfold(state, move |state| async move {
                let (mut reader, resource, cluster) = state?;
                let mut line = Vec::new();
                let silence = cluster.silence_of(&resource);
                let read = tokio::time::timeout(silence, reader.read_until(b'\n', &mut line));
                let event = match read.await {
                    Err(_) => Err(ClusterError::TimedOut(silence)),
                    Ok(Err(e)) => Err(unreachable(e)),
                    Ok(Ok(0)) => return None,
                    Ok(Ok(n)) if n > LONGEST_EVENT => Err(ClusterError::Unreadable("an event is too large".into())),
                    Ok(Ok(_)) => event(&line, &resource),
                };
                let end = Duration::from_secs(u64::from(WATCH_SECONDS));
                if matches!(event, Ok(WatchEvent::Bookmark(_))) && opened.elapsed() + SHORTLY_BEFORE_END < end {
                    cluster.marked().insert(resource.clone());
                }
                let next = event.is_ok().then_some((reader, resource, cluster));
                Some((event, next))
            });
            Ok(events.boxed())
        }
        .boxed()
    }

    fn logs<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        previous: bool,
        lines: u32,
    ) -> Answer<'a, String> {
        async move {
            let lines = lines.to_string();
            let uri = with(
                format!("/api/v1/namespaces/{}/pods/{}/log", escape(namespace), escape(pod)),
                &[
                    ("container", container),
                    ("previous", if previous { "true" } else { "" }),
                    ("tailLines", &lines),
                    ("limitBytes", "65536"),
                ],
            );
            let bytes = self.send(Method::GET, uri, None, Vec::new(), DEADLINE).await?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        .boxed()
    }

    fn exec<'a>(&'a self, command: &'a PodCommand, stdin: Option<&'a [u8]>) -> Answer<'a, CommandOutput> {
        exec::run(self.client.clone(), command, stdin).boxed()
    }

    fn ask_service<'a>(&'a self, request: &'a ServiceRequest) -> Answer<'a, ServiceAnswer> {
        proxy::ask(&self.client, request).boxed()
    }
}

/// Items of built-in lists carry no kind.
fn typed(mut item: Value, resource: &Resource) -> Value {
    if let Some(map) = item.as_object_mut() {
        map.entry("apiVersion").or_insert_with(|| resource.api_version().into());
        map.entry("kind").or_insert_with(|| resource.kind.clone().into());
    }
    item
}

fn event(line: &[u8], resource: &Resource) -> Result<WatchEvent, ClusterError> {
    let Value::Object(mut event) = parse(line)? else {
        return Err(ClusterError::Unreadable("not an event".into()));
    };
    let object = event.remove("object").unwrap_or_default();
    match event.get("type").and_then(Value::as_str) {
        Some("ADDED" | "MODIFIED") => Ok(WatchEvent::Applied(typed(object, resource))),
        Some("DELETED") => Ok(WatchEvent::Deleted(typed(object, resource))),
        Some("BOOKMARK") => {
            let version = object
                .pointer("/metadata/resourceVersion")
                .and_then(Value::as_str)
                .unwrap_or_default();
            Ok(WatchEvent::Bookmark(version.to_owned()))
        }
        // The HTTP status of an expired watch is 200; the real code is in the event.
        Some("ERROR") => Err(ClusterError::from_status(500, object.to_string().as_bytes(), None)),
        other => Err(ClusterError::Unreadable(format!("an event of type {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kinds::known;

    #[test]
    fn an_answer_that_is_not_json_is_described_and_never_quoted() {
        for (answer, told) in [
            (
                "\n<html><title>Sign in</title>hunter2</html>",
                "it is a web page, not JSON",
            ),
            (" \n", "it is empty"),
            (
                r#"{"kind":"Secret","data":{"a":"hunter2"#,
                "it is cut short after 37 bytes",
            ),
            ("hunter2", "it is not JSON"),
        ] {
            let error = parse(answer.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(told) && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn addresses_follow_scope_and_group() {
        let target = |v: &str, kind: &str| Target {
            resource: known(v, kind),
            namespace: "n".into(),
            name: "a:b/c".into(),
        };
        assert_eq!(
            address(&target("v1", "ConfigMap")),
            "/api/v1/namespaces/n/configmaps/a:b%2Fc"
        );
        assert_eq!(
            address(&target("apps/v1", "Deployment")),
            "/apis/apps/v1/namespaces/n/deployments/a:b%2Fc"
        );
        assert_eq!(address(&target("v1", "Namespace")), "/api/v1/namespaces/a:b%2Fc");
        assert_eq!(
            with("/x".into(), &[("a", ""), ("labelSelector", "k=v,w"), ("b", "1")]),
            "/x?labelSelector=k%3Dv%2Cw&b=1"
        );
    }

    /// A server that answers every request with these lines, and then says nothing and does not hang up.
    async fn falls_silent(lines: &'static str) -> KubeCluster {
        use super::super::connect::{Access, connect};
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await.unwrap();
                let length = lines.len();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
                let body = if lines.is_empty() {
                    String::new()
                } else {
                    format!("{length:x}\r\n{lines}\r\n")
                };
                stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
                open.push(stream);
            }
        });
        let access = Access::Direct {
            host,
            token: None,
            ca_pem: None,
            client: None,
            tls_server_name: None,
            insecure: false,
        };
        let mut cluster = connect(&access).await.unwrap();
        cluster.silence = Silence {
            marked: Duration::from_millis(300),
            unmarked: Duration::from_secs(3600),
        };
        cluster
    }

    #[tokio::test]
    async fn a_watch_that_falls_silent_is_given_up_soon_where_bookmarks_come_and_not_where_none_do() {
        let mark = concat!(
            r#"{"type":"BOOKMARK","object":{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"7"}}}"#,
            "\n"
        );
        let (pods, selection) = (known("v1", "Pod"), Selection::default());
        let cluster = falls_silent(mark).await;
        for _ in 0..2 {
            let mut events = cluster.watch(&pods, &selection, "1").await.unwrap();
            let first = events.next().await.unwrap().unwrap();
            assert_eq!(first, WatchEvent::Bookmark("7".to_owned()));
            let end = events.next().await.unwrap().unwrap_err();
            assert!(matches!(end, ClusterError::TimedOut(_)), "{end}");
            assert!(events.next().await.is_none());
        }
        // A kind of which no bookmark has come may be silent for long: its server may send none.
        let silent = falls_silent("").await;
        let mut events = silent.watch(&pods, &selection, "1").await.unwrap();
        assert_eq!(silent.silence_of(&pods), Duration::from_secs(3600));
        let waited = tokio::time::timeout(Duration::from_secs(1), events.next()).await;
        assert!(waited.is_err(), "{waited:?}");
        assert!(SILENCE.marked > Duration::from_secs(2 * 60) && SILENCE.marked < SILENCE.unmarked);
    }

    #[test]
    fn a_certificate_that_is_refused_is_explained() {
        for (said, means) in [
            ("UnknownIssuer", "the cluster's CA"),
            ("certificate expired: verified at 2 (UNIX time)", "renew it"),
            ("certificate not valid for name \"a\"", "other names"),
        ] {
            let error = std::io::Error::other(format!("invalid peer certificate: {said}"));
            let told = unreachable(error).to_string();
            assert!(told.contains(said) && told.contains(means), "{told}");
        }
        let other = unreachable(std::io::Error::other("connection refused")).to_string();
        assert_eq!(other, "no answer from the API server: connection refused");
    }

    #[test]
    fn an_expired_watch_is_told_by_its_event() {
        let line = br#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}"#;
        assert!(event(line, &known("v1", "Pod")).unwrap_err().is_expired());
    }
}
