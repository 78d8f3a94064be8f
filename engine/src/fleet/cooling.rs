//! Offerings that were refused, and until when they are not tried again.

use crate::cloud::{Lifecycle, Seat};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How long a refused offering is not tried again.
const COOL: jiff::SignedDuration = jiff::SignedDuration::from_secs(180);

/// Refused offerings. One for all pools of a process: capacity is the account's, not the pool's.
#[derive(Debug, Default)]
pub struct Cooling(Mutex<BTreeMap<(Seat, Lifecycle), Timestamp>>);

impl Cooling {
    /// Remembers a refusal, or a spot notice.
    pub fn refuse(&self, seat: &Seat, lifecycle: Lifecycle, now: Timestamp) {
        let until = now.saturating_add(COOL).unwrap_or(now);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, u| *u > now);
        all.insert((seat.clone(), lifecycle), until);
    }

    /// Whether an offering must not be tried at this moment.
    #[must_use]
    pub fn is_cool(&self, seat: &Seat, lifecycle: Lifecycle, now: Timestamp) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&(seat.clone(), lifecycle)).is_some_and(|until| *until > now)
    }
}
