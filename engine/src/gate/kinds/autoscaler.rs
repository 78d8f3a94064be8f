//! HorizontalPodAutoscalers. Their conditions take fifteen seconds to appear, so nothing waits for them; a condition
//! that says that scaling is impossible is a failure.

use crate::gate::{Cause, Heals, Verdict, healing, judge::Subject, reading::condition};

pub(in crate::gate) fn judge(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    let (able, active) = (condition(value, "AbleToScale"), condition(value, "ScalingActive"));
    if able.is_none() && active.is_none() {
        return Verdict::in_progress(now, "it has not been looked at yet (autoscalers are, every 15 s)").advisory();
    }
    if let Some(able) = able.filter(|c| c.is_false()) {
        return Verdict::failed(now, Heals::Others, Cause::Condition, able.words());
    }
    match active.filter(|c| c.is_false() && c.reason != "ScalingDisabled") {
        None => Verdict::current(now, ""),
        Some(active) => match healing::metrics(active.message) {
            Some(heals) => Verdict::failed(now, heals, Cause::Condition, active.words()),
            None => Verdict::waiting(now, Heals::Itself, Cause::Condition, active.words(), "").advisory(),
        },
    }
}
