//! Retries a request if it may succeed, with growing, jittered pauses and a limit.

use super::ClusterError;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The most attempts of one request. With the pauses below about a minute.
const ATTEMPTS: u32 = 9;

/// The longest pause that a `Retry-After` may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long to try a server that has never answered. This bridges the restart of a load balancer, and a user who named
/// a server that is gone learns it within ten seconds.
const FIRST_CONTACT: Duration = Duration::from_secs(8);

/// Runs a request until it succeeds, fails for good, is cancelled, or has been tried often enough. The last error is returned.
///
/// # Errors
/// The request's own; the last transient one at the end or when cancelled.
pub async fn retrying<T, F>(cancel: &CancellationToken, request: impl FnMut() -> F) -> Result<T, ClusterError>
where
    F: Future<Output = Result<T, ClusterError>>,
{
    attempts(cancel, None, request).await
}

/// As [`retrying`], for the first request to a server: one that gives no answer at all is given up after some seconds.
///
/// # Errors
/// As [`retrying`].
pub async fn first_contact<T, F>(cancel: &CancellationToken, request: impl FnMut() -> F) -> Result<T, ClusterError>
where
    F: Future<Output = Result<T, ClusterError>>,
{
    attempts(cancel, Some(FIRST_CONTACT), request).await
}

async fn attempts<T, F>(
    cancel: &CancellationToken,
    silence: Option<Duration>,
    mut request: impl FnMut() -> F,
) -> Result<T, ClusterError>
where
    F: Future<Output = Result<T, ClusterError>>,
{
    let start = Instant::now();
    let mut attempt = 0;
    loop {
        let error = match request().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        attempt += 1;
        let Some(pause) = next(attempt, &error, rand::random()) else {
            return Err(error);
        };
        if silence.is_some_and(|most| is_silent(&error) && start.elapsed() + pause > most) {
            return Err(error);
        }
        tracing::debug!(attempt, pause_ms = pause.as_millis(), %error, "sending a request again");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return Err(error),
        }
    }
}

/// Whether the server did not answer at all; a busy server does answer.
fn is_silent(error: &ClusterError) -> bool {
    matches!(error, ClusterError::Unreachable(_) | ClusterError::TimedOut(_))
}

/// The pause before the next attempt after this error; None to give up.
fn next(attempt: u32, error: &ClusterError, chance: f64) -> Option<Duration> {
    if !error.is_transient() || attempt >= ATTEMPTS {
        return None;
    }
    let asked = if let ClusterError::Refused { retry_after, .. } = error {
        *retry_after
    } else {
        None
    };
    Some(pause(attempt, asked, chance))
}

/// The pause before the next attempt: doubling from 100 ms to 10 s, of which between half and all is taken; at least what the
/// server asked for.
fn pause(attempt: u32, asked: Option<Duration>, chance: f64) -> Duration {
    let full = Duration::from_millis(100 * (1 << attempt.min(7))).min(Duration::from_secs(10));
    let jittered = full.mul_f64(0.5 + chance / 2.0);
    asked.unwrap_or_default().min(LONGEST_PAUSE) + jittered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, reason: &str) -> ClusterError {
        ClusterError::Refused {
            code,
            reason: reason.into(),
            message: String::new(),
            causes: Vec::new(),
            retry_after: None,
        }
    }

    #[test]
    fn pauses_grow_are_jittered_and_honour_the_server() {
        assert!(pause(1, None, 0.0) < pause(1, None, 1.0));
        assert!(pause(3, None, 0.0) > pause(1, None, 1.0));
        assert!(pause(100, None, 1.0) <= Duration::from_secs(10));
        assert!(pause(1, Some(Duration::from_secs(5)), 0.0) > Duration::from_secs(5));
        assert!(pause(1, Some(Duration::from_secs(5000)), 0.0) < Duration::from_secs(31));
    }

    #[test]
    fn an_internal_error_is_tried_again_only_where_something_behind_the_server_did_not_answer() {
        for (reason, message, again) in [
            ("InternalError", "etcdserver: leader changed", true),
            (
                "InternalError",
                "etcdserver: request timed out, possibly due to previous leader failure",
                true,
            ),
            (
                "InternalError",
                "Internal error occurred: failed calling webhook \"a.b\": EOF",
                true,
            ),
            (
                "InternalError",
                "rpc error: code = Unavailable desc = transport is closing",
                true,
            ),
            (
                "InternalError",
                "failed to create typed patch object: .spec.x: field not declared in schema",
                false,
            ),
            ("", "etcdserver: leader changed", false),
            ("ServerTimeout", "", true),
        ] {
            let error = ClusterError::Refused {
                code: 500,
                reason: reason.into(),
                message: message.into(),
                causes: Vec::new(),
                retry_after: None,
            };
            assert_eq!(error.is_transient(), again, "{reason}: {message}");
        }
    }

    #[test]
    fn only_a_server_that_gives_no_answer_is_silent() {
        for (error, silent) in [
            (refused(503, ""), false),
            (ClusterError::Unreachable("refused".into()), true),
            (ClusterError::TimedOut(Duration::from_secs(35)), true),
        ] {
            assert_eq!(is_silent(&error), silent, "{error}");
        }
    }

    #[test]
    fn only_what_may_succeed_is_sent_again_and_not_for_ever() {
        for (error, again) in [
            (refused(503, ""), true),
            (refused(429, "TooManyRequests"), true),
            (ClusterError::Unreachable("reset".into()), true),
            (refused(500, ""), false),
            (refused(422, "Invalid"), false),
            (refused(409, "Conflict"), false),
        ] {
            assert_eq!(next(1, &error, 0.5).is_some(), again, "{error}");
            assert_eq!(next(ATTEMPTS, &error, 0.5), None);
        }
    }
}
