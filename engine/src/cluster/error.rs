//! Errors of a request to the cluster, classified by what the engine does next.

use serde_json::Value;
use std::time::Duration;

/// One cause of a refusal (`status.details.causes[]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable, for example `FieldManagerConflict` or `FieldValueInvalid`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Path of the field.
    pub field: String,
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// The API server answered with an error.
    #[error("the API server answered {code}{}: {message}", if reason.is_empty() { String::new() } else { format!(" {reason}") })]
    Refused {
        /// HTTP status.
        code: u16,
        /// `status.reason`; may be empty.
        reason: String,
        /// `status.message`. May hold values of the request: mask before showing it for a Secret.
        message: String,
        /// `status.details.causes`.
        causes: Vec<Cause>,
        /// When to come back, where the server says it.
        retry_after: Option<Duration>,
    },
    /// No answer: the connection failed or broke. Whether the request took effect is not known.
    #[error("no answer from the API server: {0}")]
    Unreachable(String),
    /// No answer in time. Whether the request took effect is not known.
    #[error("no answer from the API server within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The answer was not what the API promises.
    #[error("the API server's answer cannot be read: {0}")]
    Unreadable(String),
}

/// Texts of a 500 answer when something behind the API server did not answer: a webhook, etcd during a leader election,
/// or a connection to either. These pass without our help.
const PASSING: [&str; 7] = [
    "failed calling webhook",
    "etcdserver: ",
    "rpc error: code = Unavailable",
    "context deadline exceeded",
    "connection refused",
    "connection reset by peer",
    "unexpected EOF",
];

impl ClusterError {
    /// From the body of an error answer, a `Status` object where the server sent one.
    #[must_use]
    pub fn from_status(code: u16, body: &[u8], retry_after: Option<Duration>) -> Self {
        let Ok(status) = serde_json::from_slice::<Value>(body) else {
            let message: String = String::from_utf8_lossy(body).chars().take(500).collect();
            return Self::Refused {
                code,
                reason: String::new(),
                message,
                causes: Vec::new(),
                retry_after,
            };
        };
        let text = |v: &Value, name: &str| v.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let causes = status
            .pointer("/details/causes")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let seconds = status.pointer("/details/retryAfterSeconds").and_then(Value::as_u64);
        Self::Refused {
            // Within a watch the HTTP status is 200 and the object carries the code.
            code: status
                .get("code")
                .and_then(Value::as_u64)
                .and_then(|c| u16::try_from(c).ok())
                .unwrap_or(code),
            reason: text(&status, "reason"),
            message: text(&status, "message"),
            causes: causes
                .iter()
                .map(|c| Cause {
                    reason: text(c, "reason"),
                    message: text(c, "message"),
                    field: text(c, "field"),
                })
                .collect(),
            retry_after: retry_after.or(seconds.map(Duration::from_secs)),
        }
    }

    fn code(&self) -> u16 {
        if let Self::Refused { code, .. } = self {
            *code
        } else {
            0
        }
    }

    /// The object, or its kind, is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// A conflict: another manager's fields, a stale version, or a broken precondition.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == 409
    }

    /// A POST of an object that exists.
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Refused { code: 409, reason, .. } if reason == "AlreadyExists")
    }

    /// The object is not valid.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.code() == 422
    }

    /// The version to list or watch from is no longer kept.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.code() == 410
    }

    /// The server does not know the caller: no credentials, wrong ones, or a token that has expired.
    #[must_use]
    pub fn is_unauthenticated(&self) -> bool {
        self.code() == 401
    }

    /// The credentials are not accepted, or not for this.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(self.code(), 401 | 403)
    }

    /// Whether the same request may succeed a little later. Server-side apply answers several errors of the manifest
    /// with a 500 without a reason; those would never succeed and are not transient.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused {
                code: 500,
                reason,
                message,
                ..
            } => reason == "InternalError" && PASSING.iter().any(|p| message.contains(p)) || reason == "ServerTimeout",
            Self::Refused { code, .. } => matches!(code, 429 | 502 | 503 | 504),
            Self::Unreachable(_) | Self::TimedOut(_) => true,
            Self::Unreadable(_) => false,
        }
    }

    /// Whether the server itself asks for another try: it did answer.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Refused { .. }) && self.is_transient()
    }

    /// The field conflicts of a refused server-side apply: manager and path. Empty for other conflicts.
    #[must_use]
    pub fn field_conflicts(&self) -> Vec<(String, String)> {
        let Self::Refused { code: 409, causes, .. } = self else {
            return Vec::new();
        };
        causes
            .iter()
            .filter(|c| c.reason == "FieldManagerConflict")
            .map(|c| {
                // `conflict with "kubectl" using apps/v1`
                let manager = c.message.split('"').nth(1).unwrap_or(&c.message);
                (manager.to_owned(), c.field.clone())
            })
            .collect()
    }
}
