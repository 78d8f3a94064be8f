//! `POST /hook/SOURCE`: a forge says that something was pushed. This is only a hint to look now: the body is checked
//! against the shared secret and then dropped unread, so the repository, branch or commit that it names has no effect.
//!
//! A hint goes through the source's ConfigMap, so that it reaches the replica that works on the source. It has its own
//! field manager, so that the fields of users stay untouched.

use crate::control::Board;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use zeroize::Zeroizing;

/// The longest body, in bytes. GitHub may send up to 25 MB, but only for unrealistic pushes; longer bodies are refused
/// unread.
const LONGEST: usize = 1 << 20;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests per second, of all sources and callers together.
const MOST: u32 = 20;
/// The shortest time between two hints that reach a source.
const CALM: Duration = Duration::from_secs(1);

/// The kind of caller, which determines how it authenticates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// `X-Hub-Signature-256: sha256=HEX`, an HMAC over the body.
    GitHub,
    /// `X-Gitlab-Token`, the secret itself.
    GitLab,
    /// `X-Gitea-Signature: HEX`, an HMAC over the body.
    Gitea,
    /// `X-Signature-256: sha256=HEX`, an HMAC over the body.
    Generic,
}

impl Caller {
    /// The words of the configuration.
    pub(crate) const WORDS: [(&'static str, Self); 4] = [
        ("github", Self::GitHub),
        ("gitlab", Self::GitLab),
        ("gitea", Self::Gitea),
        ("generic", Self::Generic),
    ];

    /// By the word in the configuration.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::WORDS
            .iter()
            .find(|(own, _)| *own == word)
            .map(|(_, caller)| *caller)
    }

    fn header(self) -> &'static str {
        match self {
            Self::GitHub => "x-hub-signature-256",
            Self::GitLab => "x-gitlab-token",
            Self::Gitea => "x-gitea-signature",
            Self::Generic => "x-signature-256",
        }
    }

    /// Whether the caller knows the secret, compared in constant time.
    fn knows(self, secret: &[u8], headers: &HeaderMap, body: &[u8]) -> bool {
        let Some(given) = headers.get(self.header()).map(|value| value.as_bytes()) else {
            return false;
        };
        if self == Self::GitLab {
            return aws_lc_rs::constant_time::verify_slices_are_equal(given, secret).is_ok();
        }
        let hex = match self {
            Self::Gitea => Some(given),
            _ => given.strip_prefix(b"sha256="),
        };
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
        hex.and_then(bytes_of)
            .is_some_and(|code| aws_lc_rs::hmac::verify(&key, body, &code).is_ok())
    }
}

fn bytes_of(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    (hex.len() == 64).then(|| pairs.collect()).flatten()
}

/// A source's hook, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hook {
    /// Who calls.
    pub(crate) caller: Caller,
    /// File with the secret; read at every call, so that it may be renewed.
    pub(crate) secret: PathBuf,
}

/// The hooks of all sources.
#[derive(Clone)]
pub(crate) struct Hooks {
    doors: Arc<BTreeMap<String, (Hook, Arc<Notify>)>>,
    bucket: Arc<Mutex<(Instant, u32)>>,
}

impl Hooks {
    /// Opens a door for each source that has a hook. Must be called inside the runtime; the tasks end with it.
    pub(crate) fn new(hooks: Vec<(String, Hook, Board)>) -> Self {
        let doors = hooks.into_iter().map(|(source, hook, board)| {
            let rung = Arc::new(Notify::new());
            tokio::spawn(pass_on(source.clone(), board, Arc::clone(&rung)));
            (source, (hook, rung))
        });
        Self {
            doors: Arc::new(doors.collect()),
            bucket: Arc::new(Mutex::new((Instant::now(), 0))),
        }
    }

    /// The route.
    pub(crate) fn router(self) -> Router {
        Router::new().route("/hook/{source}", post(ring)).with_state(self)
    }

    /// Whether there were too many requests within this second.
    fn is_crowded(&self, now: Instant) -> bool {
        let Ok(mut bucket) = self.bucket.lock() else {
            return true;
        };
        if now.duration_since(bucket.0) >= Duration::from_secs(1) {
            *bucket = (now, 0);
        }
        bucket.1 = bucket.1.saturating_add(1);
        bucket.1 > MOST
    }
}

/// One call. An unauthorized caller learns only that, and not whether the source exists.
async fn ring(
    State(hooks): State<Hooks>,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> (StatusCode, &'static str) {
    if hooks.is_crowded(Instant::now()) {
        return (
            StatusCode::TOO_MANY_REQUESTS,
            "too many hints; the source looks by itself too\n",
        );
    }
    let refused = (StatusCode::UNAUTHORIZED, "not signed with the secret of this source\n");
    let Some((hook, rung)) = hooks.doors.get(&source) else {
        return refused;
    };
    let body = match tokio::time::timeout(PATIENCE, axum::body::to_bytes(body, LONGEST)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return (StatusCode::PAYLOAD_TOO_LARGE, "longer than 1 MiB\n"),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "too slow\n"),
    };
    let secret = match tokio::fs::read_to_string(&hook.secret).await {
        Ok(secret) => Zeroizing::new(secret),
        Err(error) => {
            tracing::error!(source, file = %hook.secret.display(), %error, "the secret of the webhook cannot be read");
            return refused;
        }
    };
    // Whoever signs with nothing is nobody.
    if secret.trim().is_empty() || !hook.caller.knows(secret.trim().as_bytes(), &headers, &body) {
        return refused;
    }
    rung.notify_one();
    (StatusCode::ACCEPTED, "looking\n")
}

/// Hands hints to a source. Those that come meanwhile are one, and the last of them is not lost.
async fn pass_on(source: String, board: Board, rung: Arc<Notify>) {
    loop {
        rung.notified().await;
        if let Err(error) = board.hint(&format!("{:016x}", rand::random::<u64>())).await {
            tracing::warn!(source, %error, "a hint could not be passed on; the source looks by itself too");
        }
        tokio::time::sleep(CALM).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn knows(caller: Caller, value: &str, body: &[u8]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(caller.header(), HeaderValue::from_str(value).unwrap());
        caller.knows(b"It's a Secret to Everybody", &headers, body)
    }

    #[test]
    fn only_who_knows_the_secret_is_heard() {
        // The example in GitHub's documentation of webhooks.
        let hex = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let body = b"Hello, World!";
        let signed = format!("sha256={hex}");
        assert!(knows(Caller::GitHub, &signed, body));
        assert!(knows(Caller::Generic, &signed, body));
        assert!(knows(Caller::Gitea, hex, body));
        assert!(knows(Caller::GitLab, "It's a Secret to Everybody", b"anything"));
        for wrong in [
            "",
            "sha256=",
            "sha256=zz",
            hex,
            &signed[..70],
            &signed.replace("757", "857"),
            "sha1=00",
        ] {
            assert!(!knows(Caller::GitHub, wrong, body), "{wrong}");
        }
        assert!(!knows(Caller::GitHub, &signed, b"Hello, World?"));
        assert!(!knows(Caller::GitLab, "It's a Secret", body));
        assert!(!Caller::GitHub.knows(b"x", &HeaderMap::new(), body));
        assert!(!knows(Caller::Gitea, &"é".repeat(32), body));
    }

    #[test]
    fn a_second_has_room_for_so_many_requests() {
        let hooks = Hooks {
            doors: Arc::default(),
            bucket: Arc::new(Mutex::new((Instant::now(), 0))),
        };
        let now = Instant::now();
        let heard = (0..100).filter(|_| !hooks.is_crowded(now)).count();
        assert_eq!(heard, MOST as usize);
        assert!(!hooks.is_crowded(now + Duration::from_secs(1)));
    }
}
