//! CustomResourceDefinitions and APIServices: kinds that others can be applied of only when they are served.

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
        Some(c) => {
            let heals = match c.reason {
                "ServiceNotFound" | "ServicePortError" => Heals::Others,
                _ => Heals::Itself,
            };
            Verdict::waiting(now, heals, Cause::Condition, c.words(), "")
        }
        None => Verdict::in_progress(now, "it is not available yet"),
    }
}
