//! Turns a verdict into a decision: continue, wait, or give up.
//!
//! Verdicts describe the state; patience is policy. A Secret that another controller creates ten seconds later is worth
//! reporting at once, but not worth failing an apply at once.

use super::{Cause, Heals, Moment, State, Verdict};
use std::time::Duration;

/// What the caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The object as it was applied.
    Ready,
    /// No such object.
    Gone,
}

/// How long a failure may last before waiting ends, depending on what could heal it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// If Kubernetes retries by itself. The default covers one back-off of the kubelet: the second attempt at an image
    /// comes 12 to 16 s after the first, and a program that crashes twice while its database starts is back after 10 to
    /// 14 s.
    pub itself: Duration,
    /// If somebody else has to act. The default is time for a controller (certificates, secrets, volumes) to act and
    /// for the kubelet to notice, which checks every 12 to 16 s.
    pub others: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            itself: Duration::from_secs(20),
            others: Duration::from_secs(30),
        }
    }
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The condition is met. Keep the watch: it may still fail (see [`Verdict::steady_at`]).
    Open,
    /// Wait for changes from the watches, and check again at this moment at the latest.
    Wait(Option<Moment>),
    /// Waiting longer is pointless.
    GiveUp,
}

impl Patience {
    /// What a verdict means for a waiter for `wanted`. The caller's own timeout applies in addition.
    #[must_use]
    pub fn decide(&self, wanted: Wanted, verdict: &Verdict, now: Moment) -> Decision {
        let wait = Decision::Wait(verdict.check_again_at);
        match (wanted, verdict.state) {
            (Wanted::Ready, State::Current) | (Wanted::Gone, State::Gone) => Decision::Open,
            (Wanted::Ready, State::InProgress) if verdict.proved => Decision::GiveUp,
            (Wanted::Ready, State::InProgress) if !verdict.blocking => Decision::Open,
            // Something removed it. If it had completed (a Job with a time to live), that is success.
            (Wanted::Ready, State::Gone) if verdict.cause == Some(Cause::Ended) => Decision::Open,
            (Wanted::Ready, State::Gone) => Decision::GiveUp,
            (Wanted::Ready, State::Failed) => {
                let end = verdict.since.plus(match verdict.heals {
                    _ if verdict.proved => Duration::ZERO,
                    Some(Heals::Itself) => self.itself,
                    Some(Heals::Others) => self.others,
                    Some(Heals::Spec | Heals::Ended) | None => Duration::ZERO,
                });
                if end <= now {
                    Decision::GiveUp
                } else {
                    Decision::Wait(Some(verdict.check_again_at.map_or(end, |at| at.min(end))))
                }
            }
            (Wanted::Ready, State::InProgress | State::Terminating) | (Wanted::Gone, _) => wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(100_000);

    #[test]
    fn each_verdict_leads_to_one_thing_to_do() {
        let patience = Patience::default();
        let failed = |heals, cause, age: i64| Verdict {
            since: Moment(NOW.0 - age),
            ..Verdict::failed(NOW, heals, cause, "x")
        };
        let until = |ms: i64| Decision::Wait(Some(Moment(NOW.0 + ms)));
        let table: Vec<(Wanted, Verdict, Decision)> = vec![
            (Wanted::Ready, Verdict::current(NOW, ""), Decision::Open),
            (Wanted::Gone, Verdict::gone(NOW, ""), Decision::Open),
            (Wanted::Gone, Verdict::current(NOW, ""), Decision::Wait(None)),
            (Wanted::Ready, Verdict::in_progress(NOW, ""), Decision::Wait(None)),
            (Wanted::Ready, Verdict::in_progress(NOW, "").advisory(), Decision::Open),
            (
                Wanted::Ready,
                Verdict::in_progress(NOW, "").beyond_doubt(),
                Decision::GiveUp,
            ),
            (Wanted::Ready, failed(Heals::Spec, Cause::Image, 0), Decision::GiveUp),
            (Wanted::Ready, failed(Heals::Ended, Cause::Ended, 0), Decision::GiveUp),
            (Wanted::Ready, failed(Heals::Itself, Cause::Crash, 0), until(20_000)),
            (
                Wanted::Ready,
                failed(Heals::Itself, Cause::Crash, 20_000),
                Decision::GiveUp,
            ),
            (
                Wanted::Ready,
                failed(Heals::Others, Cause::Config, 10_000),
                until(20_000),
            ),
            (
                Wanted::Ready,
                failed(Heals::Itself, Cause::Crash, 0).beyond_doubt(),
                Decision::GiveUp,
            ),
            (
                Wanted::Ready,
                Verdict::terminating(NOW, Heals::Others, "", ""),
                Decision::Wait(None),
            ),
            (Wanted::Ready, Verdict::gone(NOW, ""), Decision::GiveUp),
            (
                Wanted::Ready,
                Verdict {
                    cause: Some(Cause::Ended),
                    ..Verdict::gone(NOW, "")
                },
                Decision::Open,
            ),
        ];
        for (wanted, verdict, decision) in table {
            assert_eq!(
                patience.decide(wanted, &verdict, NOW),
                decision,
                "{wanted:?} {verdict:?}"
            );
        }
    }
}
