//! One problem of a pod or near it, or something that is still missing; and which of several to report first.

use super::{Cause, Heals, LogSource, Moment, Verdict};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Ordinary during a start; worth mentioning.
    Waiting,
    /// A failure.
    Failing,
}

#[derive(Debug, Clone)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) heals: Heals,
    pub(super) cause: Cause,
    /// Text of a status or an event, with its place.
    pub(super) text: String,
    /// What the gate concluded itself.
    pub(super) because: String,
    pub(super) since: Moment,
    /// When the judgement changes if nothing happens.
    pub(super) revisit: Option<Moment>,
    pub(super) log: Option<LogSource>,
    pub(super) proved: bool,
}

impl Finding {
    pub(super) fn new(severity: Severity, heals: Heals, cause: Cause, since: Moment, text: String) -> Self {
        Self {
            severity,
            heals,
            cause,
            text,
            because: String::new(),
            since,
            revisit: None,
            log: None,
            proved: severity == Severity::Failing && matches!(heals, Heals::Spec | Heals::Ended),
        }
    }

    /// Waiting until `since` plus a grace period, failing from then on.
    pub(super) fn graced(
        heals: Heals,
        cause: Cause,
        since: Moment,
        grace: std::time::Duration,
        now: Moment,
        text: String,
    ) -> Self {
        let end = since.plus(grace);
        let severity = if end <= now {
            Severity::Failing
        } else {
            Severity::Waiting
        };
        Self {
            revisit: (end > now).then_some(end),
            ..Self::new(severity, heals, cause, since, text)
        }
    }

    pub(super) fn because(mut self, because: impl Into<String>) -> Self {
        self.because = because.into();
        self
    }

    pub(super) fn log(mut self, log: LogSource) -> Self {
        self.log = Some(log);
        self
    }

    /// The order of reporting: failures before waits, permanent before transient, reported text before own conclusions.
    fn rank(&self) -> impl Ord {
        let hopeless = match self.heals {
            Heals::Ended => 3,
            Heals::Spec => 2,
            Heals::Others => 1,
            Heals::Itself => 0,
        };
        (
            self.severity,
            hopeless,
            !self.text.is_empty(),
            std::cmp::Reverse(self.since),
        )
    }

    /// The verdict that this finding alone leads to.
    pub(super) fn verdict(&self, now: Moment) -> Verdict {
        let mut verdict = match self.severity {
            Severity::Failing => Verdict {
                because: self.because.clone(),
                ..Verdict::failed(now, self.heals, self.cause, self.text.clone())
            },
            Severity::Waiting => Verdict::waiting(now, self.heals, self.cause, self.text.clone(), self.because.clone()),
        };
        verdict.proved = self.proved;
        verdict.log.clone_from(&self.log);
        verdict.again(self.revisit)
    }
}

/// The finding to report first.
pub(super) fn worst(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().rev().max_by(|a, b| a.rank().cmp(&b.rank()))
}

/// The earliest moment at which the judgement of any of them changes.
pub(super) fn next_revisit(findings: &[Finding]) -> Option<Moment> {
    findings.iter().filter_map(|f| f.revisit).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_heal_is_told_before_what_can() {
        let finding = |severity, heals, text: &str| Finding::new(severity, heals, Cause::Crash, Moment(0), text.into());
        let all = [
            finding(Severity::Waiting, Heals::Ended, "waiting"),
            finding(Severity::Failing, Heals::Itself, "crash"),
            finding(Severity::Failing, Heals::Others, "secret"),
            finding(Severity::Failing, Heals::Others, "second secret"),
        ];
        assert_eq!(worst(&all).unwrap().text, "secret");
        assert!(worst(&[]).is_none());
    }

    #[test]
    fn a_grace_turns_waiting_into_failing_at_a_moment_that_is_told() {
        let grace = std::time::Duration::from_secs(2);
        let at = |now| {
            Finding::graced(
                Heals::Others,
                Cause::Mount,
                Moment(0),
                grace,
                Moment(now),
                String::new(),
            )
        };
        assert_eq!(at(1999).severity, Severity::Waiting);
        assert_eq!(at(1999).revisit, Some(Moment(2000)));
        assert_eq!((at(2000).severity, at(2000).revisit), (Severity::Failing, None));
    }
}
