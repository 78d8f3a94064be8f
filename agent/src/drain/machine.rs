//! What a drain requires at this moment: a pure function of the observation, with the clock as an argument. Nothing
//! here acts.
//!
//! The order is fixed: peers are told and new work stops; requests in flight finish; the hook runs; the workload gets
//! SIGTERM and its grace period; the tag is removed last. Each step gets a share of the time, so that everything has
//! ended a margin before the deadline, however long any step would like to take. A drain can be cancelled until the
//! workload has its SIGTERM.

use std::collections::BTreeMap;
use std::time::Duration;

/// A moment: time since the program started, on a clock that never jumps.
pub type Moment = Duration;

/// How long peers have to learn that the node drains before the absence of requests means anything.
pub const SETTLE: Duration = Duration::from_secs(1);

/// The last part of the time, in which SIGKILL takes effect.
const KILL_AHEAD: Duration = Duration::from_secs(1);

/// Why a node drains. In the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// EC2 reclaims the capacity.
    Spot,
    /// EC2 may soon reclaim it, and the policy is to drain.
    Rebalance,
    /// The pool wants it drained.
    Tag,
    /// A user asked.
    Asked,
    /// SIGTERM. It cannot be cancelled.
    Stop,
}

impl Cause {
    /// Its word in logs and answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Spot => "spot notice",
            Self::Rebalance => "rebalance recommendation",
            Self::Tag => "drain tag",
            Self::Asked => "request",
            Self::Stop => "SIGTERM",
        }
    }
}

/// The rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// From a cause to its deadline, if none is known.
    pub timeout: Duration,
    /// How long before the deadline everything has ended.
    pub margin: Duration,
    /// The workload's grace.
    pub grace: Duration,
    /// The hook's time; None when there is none.
    pub hook: Option<Duration>,
}

/// The state of the hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookSeen {
    /// It was not started in this drain.
    NotStarted,
    /// It runs.
    Running,
    /// It has ended, successfully or not.
    Ended,
}

/// The observation at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Now.
    pub now: Moment,
    /// The current causes of a drain, each with its deadline if it names one.
    pub causes: BTreeMap<Cause, Option<Moment>>,
    /// Requests that the workload works on.
    pub in_flight: u32,
    /// The hook.
    pub hook: HookSeen,
    /// Whether any process of the workload is left.
    pub workload_runs: bool,
}

/// What should happen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// No drain: serve.
    Serve,
    /// No new work; requests in flight finish.
    Finish,
    /// The hook runs.
    Hook,
    /// The workload gets SIGTERM.
    Terminate,
    /// The workload gets SIGKILL.
    Kill,
    /// Everything has ended. The tag is removed.
    Drained,
}

impl Wanted {
    /// Whether the node takes no new work.
    #[must_use]
    pub fn is_draining(self) -> bool {
        self != Self::Serve
    }

    /// Whether the workload has its SIGTERM: from here the drain cannot be cancelled.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Terminate | Self::Kill | Self::Drained)
    }
}

/// A drain that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Begun {
    at: Moment,
    causes: BTreeMap<Cause, Moment>,
    terminated_at: Option<Moment>,
    drained: bool,
}

/// Remembers what a decision needs from the past.
#[derive(Debug, Clone)]
pub struct Machine {
    rules: Rules,
    begun: Option<Begun>,
}

impl Machine {
    /// Starts without a drain.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, begun: None }
    }

    /// The causes of the current drain, in order; empty if there is none.
    #[must_use]
    pub fn causes(&self) -> Vec<Cause> {
        self.begun.iter().flat_map(|b| b.causes.keys().copied()).collect()
    }

    /// When everything must have ended; None if nothing drains.
    #[must_use]
    pub fn end(&self) -> Option<Moment> {
        self.begun.as_ref().map(|b| self.end_of(b))
    }

    fn end_of(&self, begun: &Begun) -> Moment {
        let deadline = begun.causes.values().min().copied().unwrap_or(begun.at);
        deadline.saturating_sub(self.rules.margin)
    }

    /// Decides.
    pub fn look(&mut self, seen: &Seen) -> Wanted {
        let now = seen.now;
        if seen.causes.is_empty() && self.begun.as_ref().is_none_or(|b| b.terminated_at.is_none()) {
            self.begun = None;
            return Wanted::Serve;
        }
        let begun = self.begun.get_or_insert_with(|| Begun {
            at: now,
            causes: BTreeMap::new(),
            terminated_at: None,
            drained: false,
        });
        if begun.terminated_at.is_none() {
            begun.causes.retain(|cause, _| seen.causes.contains_key(cause));
        }
        for (cause, deadline) in &seen.causes {
            let usual = now.saturating_add(self.rules.timeout);
            let known = begun.causes.entry(*cause).or_insert_with(|| deadline.unwrap_or(usual));
            // A deadline that a notice names may move closer; the passing of time moves none.
            if let Some(deadline) = deadline {
                *known = (*known).min(*deadline);
            }
        }
        let begun = begun.clone();
        let end = self.end_of(&begun);
        let wanted = self.next(&begun, end, seen);
        if let Some(begun) = &mut self.begun {
            if wanted.is_final() {
                begun.terminated_at.get_or_insert(now);
            }
            begun.drained |= wanted == Wanted::Drained;
        }
        wanted
    }

    fn next(&self, begun: &Begun, end: Moment, seen: &Seen) -> Wanted {
        let now = seen.now;
        if begun.drained {
            return Wanted::Drained;
        }
        if let Some(at) = begun.terminated_at {
            return self.stop(at, end, seen);
        }
        // If time is short, hook and grace period get at most a third of it each.
        let third = end.saturating_sub(begun.at) / 3;
        let grace = self.rules.grace.min(third);
        let terminate_at = end.saturating_sub(grace.max(KILL_AHEAD.min(third)));
        if now >= terminate_at {
            return self.stop(now, end, seen);
        }
        let settled = now >= begun.at.saturating_add(SETTLE.min(third));
        let finished = settled && seen.in_flight == 0;
        let Some(time) = self.rules.hook else {
            return if finished {
                self.stop(now, end, seen)
            } else {
                Wanted::Finish
            };
        };
        match seen.hook {
            HookSeen::Ended => self.stop(now, end, seen),
            HookSeen::Running => Wanted::Hook,
            HookSeen::NotStarted if finished || now >= terminate_at.saturating_sub(time.min(third)) => Wanted::Hook,
            HookSeen::NotStarted => Wanted::Finish,
        }
    }

    fn stop(&self, at: Moment, end: Moment, seen: &Seen) -> Wanted {
        let kill_at = at
            .saturating_add(self.rules.grace)
            .min(end.saturating_sub(KILL_AHEAD).max(at));
        if !seen.workload_runs {
            Wanted::Drained
        } else if seen.now >= kill_at && seen.now > at {
            Wanted::Kill
        } else {
            Wanted::Terminate
        }
    }
}

#[cfg(test)]
mod tests;
