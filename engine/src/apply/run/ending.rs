//! The end of a run: when it is over, what still returns then, and its result.
//!
//! Nothing is started here and nothing is decided about a single object. Prune and rollback come after it.

use super::{Done, Executor, GRACE, Status};
use crate::apply::gates::Until;
use crate::apply::order::members;
use crate::apply::outcome::{Fate, Progress};
use crate::apply::step::Stepped;
use crate::diagnostic::Diagnostic;
use crate::object::ObjectKey;
use crate::plan::Action;
use tokio::time::Instant;

impl Executor<'_> {
    /// Fails what has not started by the deadline; waits end by themselves, requests in flight return.
    pub(super) fn time_out(&mut self) {
        self.late = true;
        let pending: Vec<ObjectKey> = self
            .status
            .iter()
            .filter(|(_, s)| **s == Status::Pending)
            .map(|(k, _)| k.clone())
            .collect();
        for key in pending {
            let why = format!("time was up; it waited for {}", self.order.waits_for(&key));
            self.end(&key, Fate::Skipped(why));
        }
    }

    fn is_settled(&self) -> bool {
        self.status
            .values()
            .all(|s| matches!(s, Status::Ready | Status::Ended(_)))
    }

    /// Over when everything has ended and, if all is well, has been steady for long enough.
    pub(super) fn is_over(&mut self) -> bool {
        if !self.tasks.is_empty() {
            return false;
        }
        if !self.is_settled() {
            // Nothing in progress could change the state: a task died. The rest is reported as it is.
            return true;
        }
        let failed = self.status.values().any(|s| matches!(s, Status::Ended(_))) || !self.unverified.is_empty();
        if failed || self.steadying {
            return true;
        }
        self.steadying = true;
        for key in self.gated.keys().cloned().collect::<Vec<_>>() {
            self.wait(&key, Until::Steady);
        }
        self.tasks.is_empty()
    }

    /// Lets requests in flight return for a moment, so that their effects are known.
    pub(super) async fn drain(&mut self) {
        self.permits.close();
        let end = Instant::now() + GRACE;
        while !self.tasks.is_empty() {
            match tokio::time::timeout_at(end, self.tasks.join_next_with_id()).await {
                Ok(Some(Ok((id, Done::Stepped(key, stepped))))) => {
                    self.running.remove(&id);
                    match *stepped {
                        Stepped::Applied(live, left, _) => {
                            self.confirm(&key, &live, left);
                            self.status.insert(key.clone(), Status::Applied);
                            (self.run.progress)(Progress::Applied(key));
                        }
                        Stepped::Failed(why) => self.end(&key, Fate::Failed(why)),
                        Stepped::Uncertain(why) => self.end(&key, Fate::Uncertain(why)),
                    }
                }
                Ok(Some(Ok((id, Done::Minted(key, result))))) => {
                    self.running.remove(&id);
                    self.minted(&key, *result).await;
                }
                Ok(Some(Ok((_, Done::Passed(key, passage))))) => {
                    self.passed(&key, &passage);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        self.tasks.abort_all();
        for (_, key) in std::mem::take(&mut self.running) {
            if self.status.get(&key) == Some(&Status::Applying) {
                self.end(
                    &key,
                    Fate::Uncertain("it was stopped while the request was on its way".into()),
                );
            }
        }
    }

    /// Translates the state of each object into the outcome.
    pub(super) fn settle_fates(&mut self) {
        let why_not = if self.outcome.cancelled { "cancelled" } else { "stopped" };
        for (key, status) in &self.status {
            let change = match self.objects.get(key) {
                Some((_, change)) => Some(*change),
                None => self.plan.change(key), // a token
            };
            let unchanged = change.is_some_and(|c| c.action == Action::Unchanged);
            let fate = match status {
                Status::Ready if unchanged => Fate::Unchanged,
                Status::Ready => Fate::Ready,
                Status::Applied => Fate::Waiting(self.reasons.get(key).cloned().unwrap_or_default()),
                Status::Pending => Fate::Skipped(format!("{why_not}; it waited for {}", self.order.waits_for(key))),
                Status::Applying => Fate::Uncertain(why_not.to_owned()),
                Status::Ended(fate) => fate.clone(),
            };
            self.outcome.objects.insert(key.clone(), fate);
        }
        for (name, keys) in members(&self.plan.desired) {
            let status = component_status(keys.iter().filter_map(|k| Some((k, self.outcome.objects.get(k)?))));
            self.outcome.components.insert(name, status);
        }
        for (name, why) in &self.unverified {
            self.outcome.components.insert(name.clone(), format!("failed: {why}"));
            let summary = format!("the verification of component {name} failed");
            self.outcome
                .diagnostics
                .push(Diagnostic::error(summary).detail(why.clone()));
        }
        for (key, fate) in &self.outcome.objects {
            if let Fate::Failed(why) | Fate::Uncertain(why) = fate {
                let summary = if why.starts_with(&key.human()) {
                    why.clone()
                } else {
                    format!("{}: {why}", key.human())
                };
                let place = self.objects.get(key).map(|(o, _)| o.origin.clone());
                self.outcome
                    .diagnostics
                    .push(Diagnostic::error(summary).object(key.clone()).at_opt(place));
            }
        }
        self.outcome.ready = !self.outcome.cancelled
            && !self.stopped
            && self.unverified.is_empty()
            && self
                .outcome
                .objects
                .values()
                .all(|f| matches!(f, Fate::Ready | Fate::Unchanged));
    }
}

/// A component in one line: its first failure, or what it still waits for.
fn component_status<'k>(fates: impl Iterator<Item = (&'k ObjectKey, &'k Fate)>) -> String {
    let mut worst = (0, "ready".to_owned());
    for (key, fate) in fates {
        let (rank, text) = match fate {
            Fate::Ready | Fate::Unchanged | Fate::Gone | Fate::Kept(_) => continue,
            Fate::Failed(why) if why.starts_with(&key.human()) => (4, format!("failed: {why}")),
            Fate::Failed(why) => (4, format!("failed: {}: {why}", key.human())),
            Fate::Uncertain(why) => (3, format!("uncertain: {}: {why}", key.human())),
            Fate::Waiting(why) if why.is_empty() => (2, format!("waiting: {}", key.human())),
            Fate::Waiting(why) => (2, format!("waiting: {why}")),
            Fate::Skipped(why) => (1, format!("skipped: {why}")),
        };
        if rank > worst.0 {
            worst = (rank, text);
        }
    }
    worst.1
}
