//! The verdict of a gate on an object: its state, the reason, and what could heal it.
//!
//! A verdict describes this moment. `decision` decides whether to keep waiting.

use super::Moment;
use crate::object::ObjectKey;

/// The state of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It is as the applied manifest wants it, and its dependants may start.
    Current,
    /// Not ready yet, but not failed.
    InProgress,
    /// Something is wrong; [`Heals`] says what could heal it.
    Failed,
    /// It is being deleted.
    Terminating,
    /// It does not exist, or no longer.
    Gone,
}

/// What could still heal an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Heals {
    /// A retry by Kubernetes.
    Itself,
    /// Somebody else, who creates the Secret, frees the quota, or adds a node.
    Others,
    /// Only another apply.
    Spec,
    /// Nothing: it has ended.
    Ended,
}

/// The kind of problem, for policies, messages and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// An image cannot be pulled.
    Image,
    /// A container cannot be created: something that its configuration names is missing or forbidden.
    Config,
    /// A container cannot be started: its command or a hook.
    Start,
    /// A container crashes repeatedly.
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
    /// It has ended with a failure.
    Ended,
    /// A finalizer or its content holds it.
    Finalizer,
    /// Its own specification holds it (paused, a second container that never ends).
    Held,
    /// A condition in its status says so.
    Condition,
    /// Nothing serves it yet: no address, no endpoint, no controller.
    Unanswered,
}

/// Where to read the last output of a failing container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSource {
    /// Namespace of the pod.
    pub namespace: String,
    /// Name of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// Whether the previous run is the one that failed.
    pub previous: bool,
}

/// A gate's judgement of an object at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The state.
    pub state: State,
    /// What could heal it; `None` if nothing is wrong.
    pub heals: Option<Heals>,
    /// The kind of problem; `None` if nothing is wrong.
    pub cause: Option<Cause>,
    /// Text of a status or an event, with its place (`pod web-1 container c: …`). Empty if there is none.
    pub reason: String,
    /// What the gate concluded itself: `2 of 3 pods are ready`. Empty if there is nothing to add.
    pub because: String,
    /// Since when the state has been the same.
    pub since: Moment,
    /// Nothing but [`Verdict::heals`] can improve the state: waiting is useless.
    pub proved: bool,
    /// Whether dependants must wait while it is in progress. An autoscaler without a status, or an Ingress without an
    /// address, is worth mentioning but blocks nothing.
    pub blocking: bool,
    /// For [`State::Current`]: when its containers have run long enough to be trusted. Dependants may start at once; an
    /// apply should not succeed earlier.
    pub steady_at: Option<Moment>,
    /// Evaluate again at this moment even without a change: the verdict changes with time alone.
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

    /// The complete reason in one line: the text of the status or event first, then the gate's own conclusion.
    #[must_use]
    pub fn why(&self) -> String {
        match (self.reason.is_empty(), self.because.is_empty()) {
            (true, _) => self.because.clone(),
            (false, true) => self.reason.clone(),
            (false, false) => format!("{}; {}", self.reason, self.because),
        }
    }

    /// What is needed to continue, as text; empty if nothing is wrong.
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

    /// The complete message: which object, why, and what is needed.
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
