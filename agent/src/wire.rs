//! One bounded HTTP request: connect, send, read the answer up to a limit, all before a deadline. For the metadata
//! service, EC2, SSM and health checks; client requests go through `front`.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {url}: {why}")]
pub struct WireError {
    /// What was being done.
    pub what: &'static str,
    /// The URL, without the query.
    pub url: String,
    /// Why not.
    pub why: String,
}

/// The URL of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    tls: bool,
    /// Host as the `Host` header has it.
    pub authority: String,
    host: String,
    port: u16,
    /// Path and query.
    pub path: String,
}

impl Url {
    /// Reads `http://host[:port][/path]` and the same with https.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let authority = uri.authority()?;
        let host = authority.host();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if bare.is_empty() || authority.as_str().contains('@') {
            return None;
        }
        Some(Self {
            tls,
            authority: authority.as_str().to_owned(),
            host: bare,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: uri.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
        })
    }

    /// This URL with a further path appended.
    #[must_use]
    pub fn join(&self, path: &str) -> Self {
        Self {
            path: format!("{}{path}", self.path.trim_end_matches('/')),
            ..self.clone()
        }
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.authority)
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
}

/// Sends a request and reads its answer of at most `limit` bytes within `end`.
///
/// # Errors
/// When there is no whole answer in time.
pub async fn send(
    url: &Url,
    method: http::Method,
    headers: &[(&str, &str)],
    body: Bytes,
    limit: usize,
    end: Duration,
) -> Result<Answer, WireError> {
    let fail = |what, why: String| WireError {
        what,
        url: url.to_string(),
        why,
    };
    let whole = async {
        let tcp = TcpStream::connect((url.host.as_str(), url.port))
            .await
            .map_err(|e| fail("connect to", e.to_string()))?;
        // A request in one packet must not wait for more.
        let _ = tcp.set_nodelay(true);
        let mut request = http::Request::builder().method(method).uri(&url.path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .header(http::header::HOST, &url.authority)
            .body(Full::new(body))
            .map_err(|e| fail("make a request to", e.to_string()))?;
        if url.tls {
            let name = ServerName::try_from(url.host.clone()).map_err(|e| fail("connect to", e.to_string()))?;
            let connector = tokio_rustls::TlsConnector::from(tls().map_err(|e| fail("connect to", e))?);
            let stream = connector
                .connect(name, tcp)
                .await
                .map_err(|e| fail("agree on TLS with", e.to_string()))?;
            exchange(stream, request, limit).await.map_err(|e| fail("ask", e))
        } else {
            exchange(tcp, request, limit).await.map_err(|e| fail("ask", e))
        }
    };
    tokio::time::timeout(end, whole)
        .await
        .unwrap_or_else(|_| Err(fail("ask", format!("no answer within {} ms", end.as_millis()))))
}

async fn exchange<S>(stream: S, request: http::Request<Full<Bytes>>, limit: usize) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| e.to_string())?;
    let mut connection = std::pin::pin!(connection);
    let talk = async {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), limit)
            .collect()
            .await
            .map_err(|e| e.to_string())?
            .to_bytes();
        Ok(Answer { status, body })
    };
    let mut talk = std::pin::pin!(talk);
    let mut open = true;
    loop {
        tokio::select! {
            biased;
            done = &mut talk => return done,
            // When the other side closes, what it sent must still be read.
            _ = &mut connection, if open => open = false,
        }
    }
}

/// One TLS configuration for the process: the roots of the machine.
fn tls() -> Result<Arc<rustls::ClientConfig>, String> {
    static TLS: OnceLock<Result<Arc<rustls::ClientConfig>, String>> = OnceLock::new();
    TLS.get_or_init(|| {
        let mut roots = rustls::RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            return Err("this machine has no root certificates (install ca-certificates)".into());
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| e.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    })
    .clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_host() {
        let url = Url::parse("http://169.254.169.254/imds/i-1").expect("it is one");
        assert_eq!(url.join("/latest/x").path, "/imds/i-1/latest/x");
        assert_eq!(
            Url::parse("https://[fd00::1]:8443").map(|u| (u.host, u.port)),
            Some(("fd00::1".into(), 8443))
        );
        for text in ["", "169.254.169.254", "ftp://x", "http://", "http://user@host/", "/x"] {
            assert_eq!(Url::parse(text), None, "{text}");
        }
    }
}
