//! The way to an `https` remote: libgit2 speaks plain HTTP to a one-shot listener on loopback, and this forwards it over rustls.
//!
//! libgit2 is built without TLS of its own: there is one TLS stack, credentials never enter libgit2, every address is checked
//! before it is dialled, bytes are counted, and dropping a [`Bridge`] cuts the connection under a libgit2 that hangs. Who does
//! not know the path, which is random, gets nothing.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use futures::StreamExt as _;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// How long a connection to the remote may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long the remote may be silent between two parts of an answer.
const SILENCE: Duration = Duration::from_secs(30);
/// Other addresses that a remote may send us to, one after the other.
const REDIRECTS: usize = 3;
/// What libgit2 may send in one request: the list of what it has.
const REQUEST_BYTES: usize = 8 << 20;

/// How to reach a remote over https.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Transport {
    /// File with `USER:PASSWORD` or a token, read at every connection so that it may be renewed.
    pub(crate) credentials: Option<PathBuf>,
    /// PEM file with the authorities that may vouch for the remote; the system's if not given.
    pub(crate) authorities: Option<PathBuf>,
}

/// An open bridge. Dropping it closes it.
#[derive(Debug)]
pub(super) struct Bridge {
    /// What libgit2 is given.
    pub(super) url: String,
    /// The last thing that went wrong between us and the remote; libgit2 only sees a status.
    failure: Arc<Mutex<Option<String>>>,
    serving: AbortHandle,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Remote {
    /// `/` and random hex digits: the first segment of every path that is answered.
    secret: String,
    /// The remote's address; another after a redirect.
    base: Mutex<Uri>,
    authorization: Option<Zeroizing<String>>,
    tls: TlsConnector,
    failure: Arc<Mutex<Option<String>>>,
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
        let failure: Arc<Mutex<Option<String>>> = Arc::default();
        let remote = Arc::new(Remote {
            secret: secret.clone(),
            base: Mutex::new(base),
            authorization,
            tls: connector(transport).await?,
            failure: Arc::clone(&failure),
        });
        let router = axum::Router::new().fallback(forward).with_state(remote);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the bridge to a git remote ended");
            }
        });
        Ok(Self {
            url: format!("http://{address}{secret}"),
            failure,
            serving: serving.abort_handle(),
        })
    }
}

impl Bridge {
    /// What went wrong beyond the bridge.
    pub(super) fn failed(&self) -> Option<String> {
        self.failure.lock().ok().and_then(|failure| failure.clone())
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

async fn connector(transport: &Transport) -> Result<TlsConnector, String> {
    let mut roots = rustls::RootCertStore::empty();
    match &transport.authorities {
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
    match remote.send(&path, request).await {
        Ok(response) => response,
        Err(why) => {
            if let Ok(mut failure) = remote.failure.lock() {
                *failure = Some(why);
            }
            StatusCode::BAD_GATEWAY.into_response()
        }
    }
}

impl Remote {
    async fn send(&self, path: &str, request: Request) -> Result<Response, String> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, REQUEST_BYTES)
            .await
            .map_err(|error| format!("libgit2 sent too much: {error}"))?;
        let first = self.base.lock().map_err(|_| "the bridge broke")?.clone();
        let mut base = first.clone();
        for _ in 0..=REDIRECTS {
            let same_host = base.host() == first.host() && base.port() == first.port();
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

async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    let bare = host.trim_matches(['[', ']']);
    let found: Vec<SocketAddr> = tokio::time::timeout(CONNECT, tokio::net::lookup_host((bare, port)))
        .await
        .map_err(|_| format!("the name {bare} was not resolved in time"))?
        .map_err(|error| format!("the name {bare} is not known: {error}"))?
        .collect();
    let mut last = format!("{bare} has no address");
    for address in found {
        if is_forbidden(address.ip()) {
            last = format!("{bare} is {}, an address that is never fetched from", address.ip());
            continue;
        }
        match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{bare} ({address}): {error}"),
            Err(_) => last = format!("{bare} ({address}) did not answer in time"),
        }
    }
    Err(last)
}

/// Link-local addresses, where clouds keep the credentials of machines, and addresses of nobody.
fn is_forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_forbidden(IpAddr::V4(v4)),
            None => {
                let metadata = v6.segments()[..7] == [0xfd00, 0x0ec2, 0, 0, 0, 0, 0];
                v6.is_unicast_link_local() || v6.is_unspecified() || v6.is_multicast() || metadata
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_machines_credentials_are_never_dialled() {
        for forbidden in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "fd00:ec2::254",
            "fe80::1",
            "0.0.0.0",
            "::",
        ] {
            assert!(is_forbidden(forbidden.parse().unwrap()), "{forbidden}");
        }
        for allowed in ["10.0.0.1", "140.82.121.4", "2606:50c0::1", "127.0.0.1"] {
            assert!(!is_forbidden(allowed.parse().unwrap()), "{allowed}");
        }
    }

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
