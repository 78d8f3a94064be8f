//! Reports the result of a commit: a status on GitHub, and JSON to any URL. It follows what a source publishes; a newer
//! state replaces an older one that could not be sent yet.
//!
//! Tokens come from files and go into one header only. Errors name nothing of a URL but its host, because a path may be
//! a secret too.

use crate::control::Status;
use crate::git::{connector, dial};
use crate::pause::Pause;
use axum::http::{HeaderName, HeaderValue, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

/// Attempts for one message.
const ATTEMPTS: u32 = 6;
/// One attempt, from the name of the host to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest description that GitHub takes, in characters.
const DESCRIPTION: usize = 140;
/// What is read of an answer.
const ANSWER: usize = 64 << 10;

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Commit statuses of a repository (`owner/name`).
    GitHub {
        api: Uri,
        repository: String,
        token: PathBuf,
    },
    /// A URL that takes `{source, state, commit, head, message}`.
    Webhook { url: Uri, token: Option<PathBuf> },
}

/// Whether a message may go there: over https, or without leaving this machine.
pub(crate) fn is_safe(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let stays = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let no_user = url
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    no_user && (url.scheme_str() == Some("https") || url.scheme_str() == Some("http") && stays)
}

/// What to report of a status: its commit and GitHub's word for the state.
fn news(status: &Status) -> Option<(&str, &'static str)> {
    let (commit, word) = match status.state.as_str() {
        "ready" => (&status.commit, "success"),
        "applying" => (&status.commit, "pending"),
        "failed" => (&status.commit, "failure"),
        "refused" => (&status.commit, "failure"),
        // The commit that was refused; the one in force keeps its status.
        "rejected" => (&status.head, "failure"),
        _ => return None,
    };
    commit.as_deref().map(|commit| (commit, word))
}

/// Follows a source until the token is cancelled.
pub(crate) async fn follow(
    source: String,
    targets: Vec<Target>,
    mut seen: watch::Receiver<Status>,
    stop: CancellationToken,
) {
    if targets.is_empty() {
        return;
    }
    let work = async {
        let mut told: Vec<Option<Value>> = vec![None; targets.len()];
        loop {
            let status = seen.borrow_and_update().clone();
            for (target, told) in targets.iter().zip(&mut told) {
                let message = target.message(&source, &status);
                if message.is_some() && *told != message {
                    tell(&source, target, &status, message.as_ref(), &seen).await;
                    *told = message;
                }
            }
            if seen.changed().await.is_err() {
                return;
            }
        }
    };
    stop.run_until_cancelled(work).await;
}

/// Sends one message, with retries, until there is a newer one.
async fn tell(source: &str, target: &Target, status: &Status, message: Option<&Value>, seen: &watch::Receiver<Status>) {
    let Some(body) = message.map(Value::to_string) else {
        return;
    };
    let mut pause = Pause::default();
    for attempt in 1..=ATTEMPTS {
        let sent = tokio::time::timeout(PATIENCE, target.send(status, &body)).await;
        let sent = sent.unwrap_or_else(|_| Err(Failed::Again(format!("no answer within {} s", PATIENCE.as_secs()))));
        let (host, is_last) = (target.host(), attempt == ATTEMPTS || seen.has_changed().unwrap_or(true));
        match sent {
            Ok(()) => return,
            Err(Failed::Again(why)) if !is_last => {
                tracing::debug!(
                    source,
                    host,
                    why,
                    attempt,
                    "the state of a commit could not be told yet"
                );
                pause.rest().await;
            }
            Err(Failed::Again(why) | Failed::Never(why)) => {
                return tracing::warn!(source, host, why, attempt, "the state of a commit was not told");
            }
        }
    }
}

/// Why a message did not arrive.
pub(crate) enum Failed {
    /// It may the next time.
    Again(String),
    /// It will not.
    Never(String),
}

impl Target {
    /// What is sent; None when there is nothing to tell.
    fn message(&self, source: &str, status: &Status) -> Option<Value> {
        let (commit, word) = news(status)?;
        Some(match self {
            Self::GitHub { .. } => {
                let first = status.message.lines().next().unwrap_or_default();
                let text = if first.is_empty() { &status.state } else { first };
                let description: String = text.chars().take(DESCRIPTION).collect();
                // The commit is part of the URL; here it distinguishes two messages.
                json!({"state": word, "context": format!("myelin/{source}"), "description": description, "sha": commit})
            }
            Self::Webhook { .. } => json!({
                "source": source,
                "state": status.state,
                "commit": commit,
                "head": status.head,
                "message": status.message,
            }),
        })
    }

    fn host(&self) -> &str {
        let (Self::GitHub { api: url, .. } | Self::Webhook { url, .. }) = self;
        url.host().unwrap_or_default()
    }

    async fn send(&self, status: &Status, body: &str) -> Result<(), Failed> {
        let (url, path, token) = match self {
            Self::GitHub { api, repository, token } => {
                let commit = news(status).map_or("", |(commit, _)| commit);
                let base = api.path().trim_end_matches('/');
                (api, format!("{base}/repos/{repository}/statuses/{commit}"), Some(token))
            }
            Self::Webhook { url, token } => {
                let path = url.path_and_query().map_or("/", |path| path.as_str());
                (url, path.to_owned(), token.as_ref())
            }
        };
        let token = match token {
            None => None,
            Some(file) => {
                let text = tokio::fs::read_to_string(file)
                    .await
                    .map_err(|error| Failed::Again(format!("the token {} cannot be read: {error}", file.display())))?;
                Some(Zeroizing::new(text))
            }
        };
        let mut headers = Vec::new();
        if let Some(token) = token {
            let text = Zeroizing::new(format!("Bearer {}", token.trim()));
            let mut value =
                HeaderValue::from_str(&text).map_err(|_| Failed::Never("the token is no text".to_owned()))?;
            value.set_sensitive(true);
            headers.push((header::AUTHORIZATION, value));
        }
        exchange(url, &path, &headers, body).await
    }
}

/// Posts JSON to a URL and checks the answer.
///
/// # Errors
/// When it did not arrive or was refused; the text names only the host of the URL.
pub(crate) async fn post(url: &Uri, headers: &[(HeaderName, HeaderValue)], body: &str) -> Result<(), Failed> {
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    exchange(url, path, headers, body).await
}

async fn exchange(url: &Uri, path: &str, headers: &[(HeaderName, HeaderValue)], body: &str) -> Result<(), Failed> {
    let host = url.host().unwrap_or_default();
    let is_https = url.scheme_str() == Some("https");
    let port = url.port_u16().unwrap_or(if is_https { 443 } else { 80 });
    let stream = dial(host, port).await.map_err(Failed::Again)?;
    let authority = url.authority().map_or(host, |authority| authority.as_str());
    let request = request(authority, path, headers, body)?;
    if !is_https {
        return answer(stream, request).await;
    }
    let name = rustls::pki_types::ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
        .map_err(|_| Failed::Never(format!("{host} is no host name")))?;
    let tls = connector(None).await.map_err(Failed::Again)?;
    let stream = tls
        .connect(name, stream)
        .await
        .map_err(|error| Failed::Again(format!("{host} is not who it should be: {error}")))?;
    answer(stream, request).await
}

fn request(
    authority: &str,
    path: &str,
    headers: &[(HeaderName, HeaderValue)],
    body: &str,
) -> Result<hyper::Request<Full<axum::body::Bytes>>, Failed> {
    let mut request = hyper::Request::post(path)
        .header(header::HOST, authority)
        .header(header::USER_AGENT, concat!("myelin/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let body = Full::new(axum::body::Bytes::copy_from_slice(body.as_bytes()));
    request
        .body(body)
        .map_err(|_| Failed::Never("the request cannot be made".to_owned()))
}

/// Sends a request and checks the answer. Redirects are not followed: a token goes only where it was meant to go.
async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: hyper::Request<Full<axum::body::Bytes>>,
) -> Result<(), Failed> {
    let again = |error: hyper::Error| Failed::Again(error.to_string());
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(again)?;
    let driving = tokio::spawn(connection);
    let answered = sender.send_request(request).await.map_err(again);
    let result = match answered {
        Ok(answered) => {
            let status = answered.status();
            let _ = Limited::new(answered.into_body(), ANSWER).collect().await;
            match status.as_u16() {
                200..=299 => Ok(()),
                408 | 425 | 429 | 500..=599 => Err(Failed::Again(format!("it answers {status}"))),
                _ => Err(Failed::Never(format!("it answers {status}"))),
            }
        }
        Err(error) => Err(error),
    };
    driving.abort();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leaves_the_machine_over_https_only() {
        for (url, safe) in [
            ("https://api.github.com", true),
            ("http://127.0.0.1:8080/x", true),
            ("http://[::1]/x", true),
            ("http://localhost/x", true),
            ("http://example.com/x", false),
            ("http://127.0.0.1.example.com/x", false),
            ("https://user:password@example.com/x", false),
            ("ftp://localhost/x", false),
            ("/x", false),
        ] {
            assert_eq!(is_safe(&url.parse().unwrap()), safe, "{url}");
        }
    }

    #[test]
    fn the_rejected_commit_fails_and_not_the_one_that_is_kept() {
        let status = |state: &str| Status {
            state: state.to_owned(),
            commit: Some("good".to_owned()),
            head: Some("bad".to_owned()),
            ..Status::default()
        };
        assert_eq!(news(&status("rejected")), Some(("bad", "failure")));
        assert_eq!(news(&status("ready")), Some(("good", "success")));
        assert_eq!(news(&status("suspended")), None);
        let target = Target::GitHub {
            api: "https://api.github.com".parse().unwrap(),
            repository: "a/b".to_owned(),
            token: PathBuf::new(),
        };
        let long = Status {
            message: "é".repeat(300),
            ..status("failed")
        };
        let message = target.message("main", &long).unwrap();
        assert_eq!(message["description"].as_str().unwrap().chars().count(), DESCRIPTION);
        assert_eq!(message["context"], "myelin/main");
    }
}
