//! The connection to an `https` remote: libgit2 speaks plain HTTP to a one-shot listener on loopback, and this forwards
//! it over rustls.
//!
//! libgit2 is built without TLS of its own. So there is one TLS stack, credentials never enter libgit2, every address
//! is checked before it is dialled, bytes are counted, and dropping a [`Bridge`] cuts the connection under a libgit2
//! that hangs. The path on the listener is random, and requests for any other path are refused.

use super::dial::{CONNECT, SILENCE, dial};
use super::transport::Transport;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use futures::{FutureExt as _, Stream as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

/// Other addresses that a remote may send us to, one after the other.
const REDIRECTS: usize = 3;
/// What libgit2 may send in one request: the list of what it has.
const REQUEST_BYTES: usize = 8 << 20;

/// An open bridge. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Bridge {
    /// What libgit2 is given.
    pub(super) url: String,
    /// The last thing that went wrong between us and the remote; libgit2 only sees a status.
    failure: Failure,
    serving: AbortHandle,
    /// Ends what is under way.
    under_way: Option<DropGuard>,
}

/// The error behind a bridge; the last one counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Failure(Arc<Mutex<Option<String>>>);

impl Failure {
    pub(super) fn tell(&self, why: String) {
        if let Ok(mut failure) = self.0.lock() {
            *failure = Some(why);
        }
    }

    pub(super) fn said(&self) -> Option<String> {
        self.0.lock().ok().and_then(|failure| failure.clone())
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.serving.abort();
        self.under_way.take();
    }
}

struct Remote {
    /// `/` and random hex digits: the first segment of every path that is answered.
    secret: String,
    /// The address that was configured: credentials are for its host alone.
    home: Uri,
    /// The remote's address; another after a redirect.
    base: Mutex<Uri>,
    authorization: Option<Zeroizing<String>>,
    tls: TlsConnector,
    failure: Failure,
    ended: CancellationToken,
}

impl Bridge {
    /// Opens a bridge to an `https://` URL.
    ///
    /// # Errors
    /// When credentials or authorities cannot be read, or no port is free. The text names files, never what is in them.
    pub(super) async fn open(url: &str, transport: &Transport) -> Result<Self, String> {
        let base: Uri = url.parse().map_err(|_| format!("{url} is not a URL"))?;
        let authorization = match &transport.credentials {
            Some(file) => Some(authorization(file).await?),
            None => None,
        };
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .await
            .map_err(|error| format!("no port on loopback: {error}"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let secret = format!("/{:032x}", rand::random::<u128>());
        let (failure, ended) = (Failure::default(), CancellationToken::new());
        let remote = Arc::new(Remote {
            secret: secret.clone(),
            home: base.clone(),
            base: Mutex::new(base),
            authorization,
            tls: connector(transport.authorities.as_deref()).await?,
            failure: failure.clone(),
            ended: ended.clone(),
        });
        let router = axum::Router::new().fallback(forward).with_state(remote);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the bridge to a git remote ended");
            }
        });
        // The server gives each connection a task of its own, which aborting it does not end.
        let mut bridge = Self::new(format!("http://{address}{secret}"), failure, serving.abort_handle());
        bridge.under_way = Some(ended.drop_guard());
        Ok(bridge)
    }

    /// A bridge that a task serves.
    pub(super) fn new(url: String, failure: Failure, serving: AbortHandle) -> Self {
        Self {
            url,
            failure,
            serving,
            under_way: None,
        }
    }

    /// What went wrong beyond the bridge.
    pub(super) fn failed(&self) -> Option<String> {
        self.failure.said()
    }
}

async fn authorization(file: &PathBuf) -> Result<Zeroizing<String>, String> {
    let text = tokio::fs::read_to_string(file)
        .await
        .map_err(|error| format!("the credentials {} cannot be read: {error}", file.display()))?;
    let text = Zeroizing::new(text);
    let pair = match text.trim() {
        "" => return Err(format!("the credentials {} are empty", file.display())),
        pair if pair.contains(':') => Zeroizing::new(pair.to_owned()),
        // What GitHub and GitLab take beside a token: any user name will do.
        token => Zeroizing::new(format!("x-access-token:{token}")),
    };
    let encoded = base64::engine::general_purpose::STANDARD.encode(pair.as_bytes());
    Ok(Zeroizing::new(format!("Basic {encoded}")))
}

/// Speaks TLS to whom the authorities in a PEM file vouch for, or those of the system.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub(crate) async fn connector(authorities: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    match authorities {
        Some(file) => {
            let pem = tokio::fs::read(file)
                .await
                .map_err(|error| format!("the authorities {} cannot be read: {error}", file.display()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let refused = |error: String| format!("{} holds what is no certificate: {error}", file.display());
                let certificate = certificate.map_err(|error| refused(error.to_string()))?;
                roots.add(certificate).map_err(|error| refused(error.to_string()))?;
            }
        }
        None => {
            let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
                .await
                .map_err(|error| error.to_string())?;
            roots.add_parsable_certificates(found.certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

async fn forward(State(remote): State<Arc<Remote>>, request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    let Some(path) = path.strip_prefix(&remote.secret).map(str::to_owned) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match remote.ended.run_until_cancelled(remote.send(&path, request)).await {
        Some(Ok(response)) => response,
        Some(Err(why)) => {
            remote.failure.tell(why);
            StatusCode::BAD_GATEWAY.into_response()
        }
        None => StatusCode::GATEWAY_TIMEOUT.into_response(),
    }
}

impl Remote {
    async fn send(&self, path: &str, request: Request) -> Result<Response, String> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, REQUEST_BYTES)
            .await
            .map_err(|error| format!("libgit2 sent too much: {error}"))?;
        let mut base = self.base.lock().map_err(|_| "the bridge broke")?.clone();
        for _ in 0..=REDIRECTS {
            // A redirect is remembered for the next request: compared with where that began, a stranger would look like home.
            let same_host = base.host() == self.home.host() && base.port() == self.home.port();
            let credentials = self.authorization.as_ref().filter(|_| same_host);
            let response = self
                .once(&base, path, &parts.method, &parts.headers, body.clone(), credentials)
                .await?;
            if !response.status().is_redirection() {
                if let Ok(mut now) = self.base.lock() {
                    *now = base;
                }
                return Ok(response);
            }
            let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            base = redirected(&base, path, location.ok_or("the remote sends us nowhere")?)?;
        }
        Err(format!("the remote sends us on more than {REDIRECTS} times"))
    }

    async fn once(
        &self,
        base: &Uri,
        path: &str,
        method: &Method,
        headers: &HeaderMap,
        body: axum::body::Bytes,
        credentials: Option<&Zeroizing<String>>,
    ) -> Result<Response, String> {
        let host = base.host().ok_or("the URL names no host")?;
        let stream = dial(host, base.port_u16().unwrap_or(443)).await?;
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| format!("{host} is no host name"))?;
        let stream = tokio::time::timeout(CONNECT, self.tls.connect(name, stream))
            .await
            .map_err(|_| format!("{host} did not finish the TLS handshake in time"))?
            .map_err(|error| format!("{host} is not who it should be: {error}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| format!("{host}: {error}"))?;
        tokio::spawn(connection);
        let mut sent = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", base.path().trim_end_matches('/')))
            .header(
                header::HOST,
                base.authority().map_or(host, |authority| authority.as_str()),
            )
            .header(
                header::USER_AGENT,
                concat!("git/2 (myelin ", env!("CARGO_PKG_VERSION"), ")"),
            );
        for name in [
            header::ACCEPT,
            header::CONTENT_TYPE,
            HeaderName::from_static("git-protocol"),
        ] {
            if let Some(value) = headers.get(&name) {
                sent = sent.header(name, value);
            }
        }
        if let Some(credentials) = credentials {
            let mut value = HeaderValue::from_str(credentials).map_err(|_| "the credentials are no text")?;
            value.set_sensitive(true);
            sent = sent.header(header::AUTHORIZATION, value);
        }
        let sent = sent
            .body(http_body_util::Full::new(body))
            .map_err(|error| error.to_string())?;
        let answered = tokio::time::timeout(SILENCE, sender.send_request(sent))
            .await
            .map_err(|_| format!("{host} did not answer within {} s", SILENCE.as_secs()))?
            .map_err(|error| format!("{host}: {error}"))?;
        if answered.status().is_client_error() || answered.status().is_server_error() {
            return Err(refusal(host, answered.status(), credentials.is_some()));
        }
        let (head, body) = answered.into_parts();
        let mut response = Response::builder().status(head.status);
        for name in [header::CONTENT_TYPE, header::LOCATION] {
            if let Some(value) = head.headers.get(&name) {
                response = response.header(name, value);
            }
        }
        let parts = http_body_util::BodyDataStream::new(body);
        let parts = tokio_stream::StreamExt::timeout(parts, SILENCE).map(|part| match part {
            Ok(part) => part.map_err(std::io::Error::other),
            Err(silent) => Err(std::io::Error::other(silent)),
        });
        // What is cut off must not look like an end.
        let cut = self
            .ended
            .clone()
            .cancelled_owned()
            .map(|()| Err(std::io::Error::other("too late")));
        let (ended, mut cut) = (self.ended.clone(), Box::pin(cut));
        let mut parts = Box::pin(parts);
        let parts = futures::stream::poll_fn(move |context| {
            if !ended.is_cancelled()
                && let Poll::Ready(part) = parts.as_mut().poll_next(context)
            {
                return Poll::Ready(part);
            }
            cut.as_mut().poll(context).map(Some)
        });
        response
            .body(Body::from_stream(parts))
            .map_err(|error| error.to_string())
    }
}

fn refusal(host: &str, status: StatusCode, with_credentials: bool) -> String {
    let next = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND if !with_credentials => {
            "; a private repository needs `credentials`"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; the credentials are not taken",
        _ => "",
    };
    format!("{host} answers {status}{next}")
}

/// Where a redirect leads: the repository's new base, over https and nothing else.
fn redirected(base: &Uri, path: &str, location: &str) -> Result<Uri, String> {
    let absolute = if location.starts_with('/') {
        let authority = base.authority().map(ToString::to_string).unwrap_or_default();
        format!("https://{authority}{location}")
    } else {
        location.to_owned()
    };
    let end = absolute
        .strip_suffix(path)
        .ok_or("the remote sends us to what is no repository")?;
    if !end.starts_with("https://") {
        return Err("the remote sends us to what is not https".to_owned());
    }
    end.parse()
        .map_err(|_| "the remote sends us to what is no URL".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_leads_to_a_repository_over_https_or_nowhere() {
        let base: Uri = "https://old.example/a.git".parse().unwrap();
        let path = "/info/refs?service=git-upload-pack";
        let to = |location: &str| redirected(&base, path, location).map(|uri| uri.to_string());
        assert_eq!(
            to(&format!("https://new.example/b.git{path}")).unwrap(),
            "https://new.example/b.git"
        );
        assert_eq!(to(&format!("/c.git{path}")).unwrap(), "https://old.example/c.git");
        assert!(to(&format!("http://new.example/b.git{path}")).is_err());
        assert!(to("https://new.example/login").is_err());
    }
}
