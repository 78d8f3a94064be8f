//! Notices from the metadata service about this node's end: the spot notice, the rebalance recommendation and the
//! pool's drain tag, polled every five seconds. A service that does not answer changes nothing: silence is no answer,
//! and cancels nothing.

use super::machine::Moment;
use crate::identity::TAG_DRAIN;
use crate::metadata::{Metadata, MetadataError};
use jiff::Timestamp;
use std::time::Duration;

/// Time between two polls; AWS's recommendation for spot notices.
pub const EVERY: Duration = Duration::from_secs(5);

/// Shortest and longest time that a notice can leave. EC2 gives two minutes; if this machine's clock has jumped, that
/// must become neither hours nor zero.
const NOTICE: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(120));

/// What is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notices {
    /// When the capacity is reclaimed, by the monotonic clock.
    pub spot: Option<Moment>,
    /// The time that the notice names, to recognize it.
    pub notice: Option<String>,
    /// Whether a rebalance is recommended.
    pub rebalance: bool,
    /// Whether the pool wants the node drained.
    pub drain_tag: bool,
    /// The last problem of the metadata service.
    pub trouble: Option<String>,
}

impl Notices {
    /// Whether nothing ends this node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spot.is_none() && !self.drain_tag
    }
}

/// Parses a notice: `{"action":"terminate","time":"…"}`; the actions stop and hibernate take the capacity as well.
fn deadline(body: &str, now: Moment, clock: Timestamp) -> Option<(String, Moment)> {
    let read: serde_json::Value = serde_json::from_str(body).ok()?;
    read.get("action")?.as_str()?;
    let time = read.get("time").and_then(|t| t.as_str()).unwrap_or_default().to_owned();
    let left = time
        .parse::<Timestamp>()
        .ok()
        .and_then(|at| Duration::try_from(at.duration_since(clock)).ok());
    // A notice without a readable time still counts, and some of its time has passed already.
    let left = left.unwrap_or(NOTICE.0).clamp(NOTICE.0, NOTICE.1);
    Some((time, now.saturating_add(left)))
}

/// Applies a spot answer to what is known; None if it is not a notice.
fn spot(known: &mut Notices, answer: Option<&str>, now: Moment, clock: Timestamp) -> Option<()> {
    match answer {
        None => (known.spot, known.notice) = (None, None),
        Some(body) => {
            let (time, at) = deadline(body, now, clock)?;
            if known.notice.as_ref() != Some(&time) {
                (known.spot, known.notice) = (Some(at), Some(time));
            }
        }
    }
    Some(())
}

/// Polls once. What cannot be read stays as it was known.
pub async fn look(metadata: &Metadata, known: &Notices, now: Moment) -> Notices {
    let mut next = known.clone();
    let asked: Result<(), MetadataError> = async {
        let path = "meta-data/spot/instance-action";
        let answer = metadata.get(path).await?;
        spot(&mut next, answer.as_deref(), now, Timestamp::now())
            .ok_or_else(|| MetadataError::Unreadable(path.to_owned()))?;
        let path = "meta-data/events/recommendations/rebalance";
        let answer = metadata.get(path).await?;
        if answer.as_deref().is_some_and(|body| !is_object(body)) {
            return Err(MetadataError::Unreadable(path.to_owned()));
        }
        next.rebalance = answer.is_some();
        let tag = format!("meta-data/tags/instance/{TAG_DRAIN}");
        next.drain_tag = metadata.get(&tag).await?.is_some();
        Ok(())
    }
    .await;
    next.trouble = asked.err().map(|e| e.to_string());
    next
}

fn is_object(body: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_notice_becomes_a_deadline_on_the_clock_that_does_not_jump() {
        let body = r#"{"action":"terminate","time":"2026-01-01T00:02:00Z"}"#;
        let mut known = Notices::default();
        let now = Duration::from_secs(50);
        let taken = spot(&mut known, Some(body), now, clock("2026-01-01T00:00:10Z"));
        assert_eq!(taken, Some(()));
        assert_eq!(known.spot, Some(Duration::from_secs(160)));
        // The wall clock jumps back an hour between two looks at the same notice.
        let later = Duration::from_secs(55);
        spot(&mut known, Some(body), later, clock("2025-12-31T23:00:15Z")).expect("a notice");
        assert_eq!(known.spot, Some(Duration::from_secs(160)));
        // An answer that is not a notice neither adds one nor removes one.
        for page in [
            "<html>busy</html>",
            "",
            "soon",
            "null",
            "[]",
            "{}",
            r#"{"time":"2026-01-01T00:00:00Z"}"#,
        ] {
            assert_eq!(
                spot(&mut known, Some(page), later, clock("2026-01-01T00:00:15Z")),
                None,
                "{page}"
            );
            assert_eq!(known.spot, Some(Duration::from_secs(160)), "{page}");
        }
        spot(&mut known, None, Duration::from_secs(60), clock("2026-01-01T00:00:20Z")).expect("none is given");
        assert_eq!(known.spot, None);
    }

    #[test]
    fn a_wrong_clock_or_an_unreadable_notice_leaves_neither_hours_nor_nothing() {
        let now = Duration::ZERO;
        for (body, wall, left) in [
            (
                r#"{"action":"terminate","time":"2026-01-01T00:02:00Z"}"#,
                "2025-12-31T00:00:00Z",
                120,
            ),
            (
                r#"{"action":"terminate","time":"2026-01-01T00:02:00Z"}"#,
                "2026-01-02T00:00:00Z",
                15,
            ),
            (r#"{"action":"stop"}"#, "2026-01-01T00:00:00Z", 15),
            (r#"{"action":"hibernate","time":"soon"}"#, "2026-01-01T00:00:00Z", 15),
        ] {
            let (_, at) = deadline(body, now, clock(wall)).expect("a notice");
            assert_eq!(at, Duration::from_secs(left), "{body} at {wall}");
        }
    }
}
