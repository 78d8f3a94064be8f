//! CustomResourceDefinitions and APIServices: objects of their kinds can be applied only once these are served.

use crate::gate::{Cause, Heals, Verdict, judge::Subject, reading::condition};

pub(in crate::gate) fn judge_definition(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    if let Some(names) = condition(value, "NamesAccepted").filter(|c| c.is_false()) {
        return Verdict::failed(now, Heals::Spec, Cause::Condition, names.words());
    }
    match condition(value, "Established") {
        Some(c) if c.is_true() => Verdict::current(now, ""),
        Some(c) if c.is_false() && c.reason != "Installing" => {
            Verdict::failed(now, Heals::Spec, Cause::Condition, c.words())
        }
        Some(c) => Verdict::waiting(now, Heals::Itself, Cause::Condition, c.words(), ""),
        None => Verdict::in_progress(now, "it is not established yet"),
    }
}

pub(in crate::gate) fn judge_service(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    match condition(value, "Available") {
        Some(c) if c.is_true() => Verdict::current(now, ""),
        // The named Service does not exist: somebody has to create it. Other reasons are normal while the server behind
        // it starts.
        Some(c) if matches!(c.reason, "ServiceNotFound" | "ServicePortError") => {
            let end = subject.applied.at.plus(subject.settings.event_grace);
            if end <= now {
                Verdict::failed(now, Heals::Others, Cause::Condition, c.words())
            } else {
                Verdict::waiting(now, Heals::Others, Cause::Condition, c.words(), "").again(Some(end))
            }
        }
        Some(c) => Verdict::waiting(now, Heals::Itself, Cause::Condition, c.words(), ""),
        None => Verdict::in_progress(now, "it is not available yet"),
    }
}
