//! `/healthz` and `/readyz`: what each of them means.
//!
//! Healthy: no source's loop is stuck in a step that should have ended; an unhealthy process should be restarted.
//! Ready: every source that this replica works on has been read once and is watched, and if there are several replicas,
//! the others can hear this one. A standby replica is ready.

use super::Shown;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use tokio::time::Instant;

pub(super) fn healthy(shown: &Shown, now: Instant) -> Response {
    let stuck = shown.faces().filter_map(|(name, face)| {
        let why = face.pulse.stuck(now)?;
        Some(format!("source {name} is stuck: {why}\n"))
    });
    answer(&stuck.collect::<String>())
}

pub(super) fn ready(shown: &Shown, now: Instant) -> Response {
    let mut not: String = shown
        .faces()
        .filter_map(|(name, face)| Some(format!("source {name}: {}\n", face.pulse.unready(now)?)))
        .collect();
    if shown.replica().is_some_and(|replica| !replica.is_believed()) {
        not.push_str("the other replicas cannot hear this one: its beats are not confirmed by the cluster\n");
    }
    answer(&not)
}

fn answer(problems: &str) -> Response {
    if problems.is_empty() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, problems.to_owned()).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Face;
    use super::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn one_source_that_is_stuck_or_was_not_looked_at_is_named() {
        let (good, bad) = (Face::default(), Face::default());
        for face in [&good, &bad] {
            face.pulse.begin("planning", Duration::from_secs(60));
        }
        good.pulse.passed();
        let shown = Shown::new(
            BTreeMap::from([("good".to_owned(), good.clone()), ("bad".to_owned(), bad.clone())]),
            None,
            None,
        );
        let now = Instant::now();
        assert_eq!(healthy(&shown, now).status(), StatusCode::OK);
        assert_eq!(ready(&shown, now).status(), StatusCode::SERVICE_UNAVAILABLE);
        bad.pulse.passed();
        assert_eq!(ready(&shown, now).status(), StatusCode::OK);
        assert_eq!(
            healthy(&shown, now + Duration::from_secs(120)).status(),
            StatusCode::SERVICE_UNAVAILABLE
        );
        // A source that another replica has taken over does not count as stuck here.
        good.pulse.ended();
        bad.pulse.ended();
        assert_eq!(healthy(&shown, now + Duration::from_secs(120)).status(), StatusCode::OK);
        assert_eq!(ready(&shown, now).status(), StatusCode::OK);
    }
}
