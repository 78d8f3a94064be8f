//! Gates: what the watches saw of an object and its pods → its state, the reason, and what heals it.
//!
//! Pure: time is an argument, and nothing here talks to a cluster. The executor feeds one [`Sights`] with everything
//! that its watches report, evaluates the [`Gate`] of each object that a change concerns, and sets at most one timer
//! for each, at the moment that the verdict names. Nothing is polled.
//!
//! In order: `moment`, `verdict`, `settings`, `decision` are the vocabulary; `reading`, `healing`, `events`,
//! `pod_facts`, `essence`, `sights` hold what was seen; `finding`, `crashes`, `pod_reasons`, `rollout` judge pods;
//! `kinds` judges objects; `judge` is the entry point.

mod crashes;
mod decision;
mod essence;
mod events;
mod finding;
mod healing;
mod judge;
mod kinds;
mod moment;
mod pod_facts;
mod pod_reasons;
mod reading;
mod rollout;
mod settings;
mod sights;
#[cfg(test)]
mod tests;
mod verdict;
mod watches;

pub use decision::{Decision, Patience, Wanted};
pub use judge::{Applied, judge};
pub use moment::Moment;
pub use settings::Settings;
pub use sights::{Change, Sights};
pub use verdict::{Cause, Heals, LogSource, State, Verdict};
pub use watches::{WatchedKind, needs_watching, watches};

use crate::object::ObjectKey;

/// The gate of one object: evaluated again after every change that concerns it. It remembers since when the state has
/// been the same.
#[derive(Debug, Clone)]
pub struct Gate {
    key: ObjectKey,
    applied: Applied,
    last: Option<Verdict>,
}

impl Gate {
    /// A gate for an apply.
    #[must_use]
    pub fn new(key: ObjectKey, applied: Applied) -> Self {
        Self {
            key,
            applied,
            last: None,
        }
    }

    /// The object of this gate.
    #[must_use]
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The object was applied again.
    pub fn applied_again(&mut self, applied: Applied) {
        self.applied = applied;
        self.last = None;
    }

    /// Judges the object by what was seen up to now.
    pub fn look(&mut self, sights: &Sights, settings: &Settings, now: Moment) -> Verdict {
        let mut verdict = judge(sights, &self.key, &self.applied, settings, now);
        if let Some(last) = &self.last
            && (last.state, last.heals) == (verdict.state, verdict.heals)
        {
            verdict.since = last.since;
        }
        self.last = Some(verdict.clone());
        verdict
    }
}
