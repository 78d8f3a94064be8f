//! What an apply is waiting for now: a few objects and the reasons, reported at most once a second.

use myelin_engine::apply::Progress;
use myelin_engine::object::ObjectKey;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What is shown at most.
const SHOWN: usize = 5;
/// The minimum time between two reports.
const EACH: Duration = Duration::from_secs(1);

/// A reason that is shown beside its object need not begin with it.
pub(crate) fn without<'a>(key: &ObjectKey, why: &'a str) -> &'a str {
    let rest = why.strip_prefix(key.human().as_str());
    rest.and_then(|rest| rest.strip_prefix(": ")).unwrap_or(why)
}

/// Shared by the apply, which records, and the source, which reports.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    all: BTreeMap<String, String>,
    /// Whether something changed since the last report.
    news: bool,
    told: Option<Instant>,
}

impl Waits {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a step of the apply.
    pub(crate) fn note(&self, step: &Progress) {
        let mut state = self.state();
        let changed = match step {
            Progress::Waiting(key, why) => {
                let why = without(key, why);
                state.all.insert(key.human(), why.to_owned()).as_deref() != Some(why)
            }
            Progress::Ready(key) | Progress::Failed(key, _) | Progress::Gone(key) => {
                state.all.remove(&key.human()).is_some()
            }
            Progress::Applied(_) | Progress::ComponentReady(_) => false,
        };
        if changed {
            state.news = true;
            self.news.notify_one();
        }
    }

    /// Forgets everything: the apply is over.
    pub(crate) fn clear(&self) {
        self.state().all.clear();
    }

    /// Returns when there is something new to tell, and not too soon after the last time. Dropped before, it forgets nothing.
    pub(crate) async fn changed(&self) {
        while !self.state().news {
            self.news.notified().await;
        }
        let soonest = self.state().told.map(|told| told + EACH);
        if let Some(soonest) = soonest {
            tokio::time::sleep_until(soonest).await;
        }
        let mut state = self.state();
        state.told = Some(Instant::now());
        state.news = false;
    }

    /// What is waited for now.
    pub(crate) fn now(&self) -> BTreeMap<String, String> {
        let state = self.state();
        let some = state.all.iter().take(SHOWN);
        some.map(|(object, why)| (object.clone(), why.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myelin_engine::object::ObjectKey;

    #[tokio::test]
    async fn changes_are_told_once_a_second_and_what_is_ready_is_not_waited_for() {
        let waits = Waits::default();
        let key = |n: u32| ObjectKey::new("", "Pod", "a", n.to_string());
        waits.note(&Progress::Waiting(key(1), "image".to_owned()));
        let began = Instant::now();
        waits.changed().await;
        assert!(began.elapsed() < EACH);
        for n in 2..20 {
            waits.note(&Progress::Waiting(key(n), "image".to_owned()));
        }
        waits.changed().await;
        assert!(began.elapsed() >= EACH);
        assert_eq!(waits.now().len(), SHOWN);
        waits.note(&Progress::Ready(key(1)));
        waits.note(&Progress::Waiting(key(2), "image".to_owned()));
        assert!(!waits.now().contains_key("Pod a/1"));
        waits.clear();
        assert!(waits.now().is_empty());
    }
}
