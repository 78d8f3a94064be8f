//! Which replica may take a source, and when. Pure: the clock is an argument.

use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often replicas send heartbeats, and how long silence is tolerated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    /// A replica that has been silent for this long counts as dead.
    pub(crate) silence: Duration,
}

/// Below this a pause of the API server would look like a death, several times a day.
const SHORTEST: Duration = Duration::from_millis(300);
/// Beyond this nobody needs a beat.
const LONGEST: Duration = Duration::from_secs(60);

impl Pace {
    /// A fail-over time; None when it is too short or too long to be kept.
    pub(crate) fn new(silence: Duration) -> Option<Self> {
        (SHORTEST..=LONGEST).contains(&silence).then_some(Self { silence })
    }

    /// Between two heartbeats: three may be lost before anybody reacts.
    pub(crate) fn beat(self) -> Duration {
        self.silence.mul_f64(0.29)
    }

    /// How long a replica whose heartbeats are not confirmed keeps working: less than the others wait, counted from
    /// before the request, so that it has stopped when they start.
    pub(crate) fn belief(self) -> Duration {
        self.silence.mul_f64(0.72)
    }
}

/// When a replica was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Beat {
    /// Version of its Lease.
    pub(crate) version: String,
    /// When this version was first seen.
    pub(crate) heard: Instant,
    /// When the replica was first seen.
    pub(crate) since: Instant,
}

/// What may be done about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Take it now.
    Take,
    /// Its holder fell silent: make sure, and take it.
    TakeFrom(String),
    /// Look again then.
    Wait(Instant),
}

/// Decides about a source that `holder` has (none where it is free).
pub(crate) fn choose(
    holder: Option<&str>,
    me: &str,
    beats: &BTreeMap<String, Beat>,
    pace: Pace,
    now: Instant,
) -> Choice {
    let Some(holder) = holder.filter(|holder| *holder != me) else {
        return Choice::Take;
    };
    let Some(beat) = beats.get(holder) else {
        return Choice::Take;
    };
    let end = beat.heard + pace.silence;
    if now < end {
        return Choice::Wait(end);
    }
    // Silence counts only while we hear ourselves: else it is our own ear that is deaf.
    let hearing = beats.get(me).is_some_and(|own| now < own.heard + pace.beat() * 2);
    if hearing {
        Choice::TakeFrom(holder.to_owned())
    } else {
        Choice::Wait(now + pace.beat())
    }
}

/// Which of the live replicas should have a source: the same for all that see the same replicas.
pub(crate) fn preferred<'a>(
    source: &str,
    me: &'a str,
    beats: &'a BTreeMap<String, Beat>,
    pace: Pace,
    now: Instant,
) -> &'a str {
    let alive = beats
        .iter()
        .filter(|(_, beat)| now < beat.heard + pace.silence)
        .map(|(name, _)| name.as_str());
    let weight = |replica: &str| <[u8; 32]>::from(Sha256::digest(format!("{source}\0{replica}")));
    alive
        .chain(std::iter::once(me))
        .max_by_key(|replica| weight(replica))
        .unwrap_or(me)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        silence: Duration::from_millis(700),
    };

    fn beats(now: Instant, heard: &[(&str, u64)]) -> BTreeMap<String, Beat> {
        let beat = |ago: &u64| Beat {
            version: "1".to_owned(),
            heard: now.checked_sub(Duration::from_millis(*ago)).expect("the machine is up"),
            since: now.checked_sub(Duration::from_millis(*ago)).expect("the machine is up"),
        };
        heard
            .iter()
            .map(|(name, ago)| ((*name).to_owned(), beat(ago)))
            .collect()
    }

    #[test]
    fn a_source_is_taken_when_free_or_when_its_holder_is_silent_and_we_hear_ourselves() {
        let now = Instant::now() + Duration::from_secs(60);
        let decide = |holder, heard: &[(&str, u64)]| choose(holder, "me", &beats(now, heard), PACE, now);
        assert_eq!(decide(None, &[]), Choice::Take);
        assert_eq!(decide(Some("me"), &[]), Choice::Take);
        assert_eq!(decide(Some("gone"), &[("me", 0)]), Choice::Take);
        assert_eq!(
            decide(Some("other"), &[("other", 100), ("me", 0)]),
            Choice::Wait(now + Duration::from_millis(600))
        );
        assert_eq!(
            decide(Some("other"), &[("other", 701), ("me", 100)]),
            Choice::TakeFrom("other".to_owned())
        );
        let deaf = decide(Some("other"), &[("other", 701), ("me", 701)]);
        assert!(matches!(deaf, Choice::Wait(_)), "{deaf:?}");
    }

    #[test]
    fn who_is_not_confirmed_stops_before_others_start_and_three_beats_may_be_lost() {
        assert!(PACE.belief() + Duration::from_millis(150) < PACE.silence);
        assert!(PACE.beat() * 2 < PACE.belief());
        assert_eq!(Pace::new(Duration::from_millis(100)), None);
        assert!(Pace::new(Duration::from_millis(700)).is_some());
    }

    #[test]
    fn everybody_agrees_on_who_should_have_a_source_and_the_dead_should_have_none() {
        let now = Instant::now() + Duration::from_secs(60);
        let all = beats(now, &[("a", 0), ("b", 0), ("dead", 9_000)]);
        let mut shares = BTreeMap::new();
        for n in 0..200 {
            let source = format!("source-{n}");
            let chosen = preferred(&source, "a", &all, PACE, now);
            assert_eq!(chosen, preferred(&source, "b", &all, PACE, now));
            *shares.entry(chosen).or_insert(0) += 1;
        }
        assert_eq!(shares.len(), 2, "{shares:?}");
        assert!(shares.values().all(|share| *share > 60), "{shares:?}");
    }
}
