//! Whether a source's loop is alive: its current step, the deadline of that step, and whether it has seen everything
//! once. `/healthz` and `/readyz` read it.
//!
//! Each step of the loop declares beforehand how long it may take; a step that takes longer is stuck.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A watch that has been broken for so long is not alive any more. Shorter, it is a server that restarts.
const BROKEN: Duration = Duration::from_secs(30);

/// Shared by a source, which updates it, and the checks, which read it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What the loop does, and when that should have ended; None while the source is another replica's.
    step: Option<(&'static str, Instant)>,
    /// Whether everything was observed once since this replica took the source.
    passed: bool,
    /// Kinds whose watch is broken, and since when.
    broken: BTreeMap<String, Instant>,
}

impl Pulse {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loop begins a step that may take so long.
    pub(crate) fn begin(&self, step: &'static str, may_take: Duration) {
        self.state().step = Some((step, Instant::now() + may_take));
    }

    /// Everything was looked at once.
    pub(crate) fn passed(&self) {
        self.state().passed = true;
    }

    /// The source is no longer this replica's.
    pub(crate) fn ended(&self) {
        *self.state() = State::default();
    }

    /// The watch of a kind works, or not.
    pub(crate) fn watch(&self, kind: &str, works: bool) {
        let mut state = self.state();
        if works {
            state.broken.remove(kind);
        } else {
            state.broken.entry(kind.to_owned()).or_insert_with(Instant::now);
        }
    }

    /// The watches are gone: nothing is watched any more.
    pub(crate) fn unwatched(&self) {
        self.state().broken.clear();
    }

    /// What is stuck at this moment.
    pub(crate) fn stuck(&self, now: Instant) -> Option<String> {
        let (step, end) = self.state().step?;
        let late = now.checked_duration_since(end).filter(|late| !late.is_zero())?;
        Some(format!("{step} should have ended {} s ago", late.as_secs()))
    }

    /// Why the source is not ready at this moment. A source that another replica works on counts as ready: we stand by.
    pub(crate) fn unready(&self, now: Instant) -> Option<String> {
        let state = self.state();
        let (step, _) = state.step?;
        if !state.passed {
            return Some(format!("not looked at yet ({step})"));
        }
        let dead: Vec<&str> = state
            .broken
            .iter()
            .filter(|(_, since)| now.saturating_duration_since(**since) >= BROKEN)
            .map(|(kind, _)| kind.as_str())
            .collect();
        (!dead.is_empty()).then(|| format!("the watch on {} is broken", dead.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_takes_longer_than_it_said_is_stuck() {
        let pulse = Pulse::default();
        let now = Instant::now();
        assert_eq!(pulse.stuck(now + Duration::from_secs(3600)), None, "another replica's");
        pulse.begin("looking at the branch", Duration::from_secs(60));
        assert_eq!(pulse.stuck(now), None);
        let said = pulse.stuck(now + Duration::from_secs(90)).unwrap();
        assert!(said.starts_with("looking at the branch should have ended"), "{said}");
        pulse.ended();
        assert_eq!(pulse.stuck(now + Duration::from_secs(90)), None);
    }

    #[test]
    fn ready_is_who_has_seen_everything_once_and_still_watches_it() {
        let pulse = Pulse::default();
        let now = Instant::now();
        assert_eq!(pulse.unready(now), None, "it stands by");
        pulse.begin("planning", Duration::from_secs(60));
        assert!(pulse.unready(now).unwrap().contains("not looked at yet"));
        pulse.passed();
        assert_eq!(pulse.unready(now), None);
        pulse.watch("Service", false);
        assert_eq!(pulse.unready(now), None, "a moment is borne");
        let said = pulse.unready(Instant::now() + BROKEN).unwrap();
        assert!(said.contains("Service"), "{said}");
        pulse.watch("Service", true);
        assert_eq!(pulse.unready(Instant::now() + BROKEN), None);
    }
}
