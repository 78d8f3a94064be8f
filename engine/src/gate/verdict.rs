//! What a gate says of an object: how it stands, why, and what could still turn it round.
//!
//! A verdict is a finding about this moment. Whether to go on waiting is `decision`'s business.

use super::Moment;
use crate::object::ObjectKey;

/// How an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It is as the applied manifest wants it, and what depends on it may start.
    Current,
    /// Not there yet, and nothing is wrong enough to call it failed.
    InProgress,
    /// Something is wrong; [`Heals`] says what could still turn it round.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It does not exist (any more).
    Gone,
}

/// What could still turn an object round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heals {
    /// A retry that Kubernetes makes anyway.
    Itself,
    /// Somebody else: who makes the Secret, frees the quota, brings a node.
    Others,
    /// Only another apply.
    Spec,
    /// Nothing: it has ended.
    Ended,
}

/// The kind of trouble, for policies, messages and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// An image cannot be had.
    Image,
    /// A container cannot be made: something that its configuration names is missing or not allowed.
    Config,
    /// A container cannot be started: its command or a hook.
    Start,
    /// A container ends again and again.
    Crash,
    /// A probe does not pass.
    Probe,
    /// A volume cannot be mounted.
    Mount,
    /// No node takes a pod.
    Schedule,
    /// Pods are refused by the API server (quota, pod security, a webhook, a service account).
    Refused,
    /// A claim has no volume.
    Volume,
    /// A deadline of its own has passed.
    Deadline,
    /// It ran to its end, and failed.
    Ended,
    /// A finalizer or its content keeps it.
    Finalizer,
    /// It is held by its own specification (paused, a second container that never ends).
    Held,
    /// A condition in its status says so.
    Condition,
    /// Nothing answers for it yet: no address, no endpoint, no controller.
    Unanswered,
}

/// Where to read what a failing container said last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// Whether the run before the present one is the one that failed.
    pub previous: bool,
}

/// What a gate says of an object at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub state: State,
    /// What could turn it round; `None` where nothing is wrong.
    pub heals: Option<Heals>,
    /// The kind of trouble; `None` where nothing is wrong.
    pub cause: Option<Cause>,
    /// What a status or an event says, with the place (`pod web-1 container c: …`). Empty where nothing says anything.
    pub reason: String,
    /// What no status says and the gate worked out: `2 of 3 pods are ready`. Empty where there is nothing to add.
    pub because: String,
    /// Since when it has stood like this, without a break.
    pub since: Moment,
    /// Nothing that is still to come can make it better before the thing in [`Verdict::heals`] happens: waiting is useless.
    pub proved: bool,
    /// Whether what depends on it has to wait while it is in progress. An autoscaler that has not been looked at yet, or an
    /// Ingress without an address, is worth a word and not worth a stop.
    pub blocking: bool,
    /// For [`State::Current`]: from when on its containers have stood long enough to be believed. Dependants may start at
    /// once; an apply should not call itself a success before.
    pub steady_at: Option<Moment>,
    /// Ask again at this moment even if no watch brings news: the verdict changes by time alone.
    pub check_again_at: Option<Moment>,
    /// The log that shows why, if there is one.
    pub log: Option<LogSource>,
}

impl Verdict {
    fn plain(state: State, now: Moment) -> Self {
        Self {
            state,
            heals: None,
            cause: None,
            reason: String::new(),
            because: String::new(),
            since: now,
            proved: false,
            blocking: true,
            steady_at: None,
            check_again_at: None,
            log: None,
        }
    }

    pub(super) fn current(now: Moment, because: impl Into<String>) -> Self {
        Self {
            because: because.into(),
            steady_at: Some(now),
            ..Self::plain(State::Current, now)
        }
    }

    pub(super) fn in_progress(now: Moment, because: impl Into<String>) -> Self {
        Self {
            because: because.into(),
            ..Self::plain(State::InProgress, now)
        }
    }

    pub(super) fn waiting(
        now: Moment,
        heals: Heals,
        cause: Cause,
        reason: impl Into<String>,
        because: impl Into<String>,
    ) -> Self {
        Self {
            heals: Some(heals),
            cause: Some(cause),
            reason: reason.into(),
            ..Self::in_progress(now, because)
        }
    }

    pub(super) fn failed(now: Moment, heals: Heals, cause: Cause, reason: impl Into<String>) -> Self {
        Self {
            heals: Some(heals),
            cause: Some(cause),
            reason: reason.into(),
            proved: matches!(heals, Heals::Spec | Heals::Ended),
            ..Self::plain(State::Failed, now)
        }
    }

    pub(super) fn terminating(
        now: Moment,
        heals: Heals,
        reason: impl Into<String>,
        because: impl Into<String>,
    ) -> Self {
        Self {
            heals: Some(heals),
            cause: Some(Cause::Finalizer),
            reason: reason.into(),
            because: because.into(),
            ..Self::plain(State::Terminating, now)
        }
    }

    pub(super) fn gone(now: Moment, because: impl Into<String>) -> Self {
        Self {
            because: because.into(),
            ..Self::plain(State::Gone, now)
        }
    }

    pub(super) fn again(mut self, at: Option<Moment>) -> Self {
        self.check_again_at = match (self.check_again_at, at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        self
    }

    pub(super) fn advisory(mut self) -> Self {
        self.blocking = false;
        self
    }

    pub(super) fn beyond_doubt(mut self) -> Self {
        self.proved = true;
        self
    }

    /// Everything there is to say about why, in one line: the words of the status or event first, then what the gate worked
    /// out.
    #[must_use]
    pub fn why(&self) -> String {
        match (self.reason.is_empty(), self.because.is_empty()) {
            (true, _) => self.because.clone(),
            (false, true) => self.reason.clone(),
            (false, false) => format!("{}; {}", self.reason, self.because),
        }
    }

    /// What it takes to get on, for a person; empty where nothing is wrong.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match (self.heals, self.cause) {
            (None, _) => "",
            (Some(Heals::Others), Some(Cause::Config | Cause::Mount)) => {
                "waits until somebody creates it; heals without another apply"
            }
            (Some(Heals::Others), Some(Cause::Schedule)) => {
                "waits for a node that can take the pod; heals without another apply"
            }
            (Some(Heals::Others), Some(Cause::Image)) => {
                "heals when somebody publishes the image or grants access to it, without another apply"
            }
            (Some(Heals::Others), Some(Cause::Volume)) => {
                "waits until somebody provides the volume; heals without another apply"
            }
            (Some(Heals::Others), _) => "heals when somebody removes the cause, without another apply",
            (Some(Heals::Itself), Some(Cause::Crash | Cause::Image | Cause::Start)) => {
                "Kubernetes tries again, ever more slowly"
            }
            (Some(Heals::Itself), _) => "may heal by itself",
            (Some(Heals::Spec), _) => "heals only by another apply",
            (Some(Heals::Ended), _) => "has ended; nothing will change it",
        }
    }

    /// The whole message for a person: which object, why, and what it takes.
    #[must_use]
    pub fn line(&self, key: &ObjectKey) -> String {
        let mut line = format!("{}: ", key.human());
        let why = self.why();
        line.push_str(match (why.is_empty(), self.state) {
            (false, _) => &why,
            (true, State::Current) => "is ready",
            (true, State::InProgress) => "is not ready yet",
            (true, State::Failed) => "has failed",
            (true, State::Terminating) => "is being deleted",
            (true, State::Gone) => "does not exist",
        });
        if !self.remedy().is_empty() {
            line.push_str(&format!(" ({})", self.remedy()));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_object_the_reason_and_what_it_takes() {
        let verdict = Verdict::failed(
            Moment(0),
            Heals::Others,
            Cause::Config,
            "pod axon-0 container axon: CreateContainerConfigError: secret \"axon-provision\" not found",
        );
        assert_eq!(
            verdict.line(&ObjectKey::new("apps", "StatefulSet", "synapse", "axon")),
            "StatefulSet synapse/axon: pod axon-0 container axon: CreateContainerConfigError: secret \"axon-provision\" not found \
             (waits until somebody creates it; heals without another apply)"
        );
    }

    #[test]
    fn the_earlier_of_two_moments_to_look_again_wins() {
        let verdict = Verdict::in_progress(Moment(0), "")
            .again(Some(Moment(9)))
            .again(None)
            .again(Some(Moment(4)));
        assert_eq!(verdict.check_again_at, Some(Moment(4)));
    }
}
