//! Distinguishes a crash loop from a bad start.
//!
//! One end proves nothing. A crash loop is a second end with the same cause, a third whatever its cause, or two kills
//! by a probe. Moments of readiness in between are part of the loop: a container that has crashed is trusted again only
//! when it has outlived its longest failed run.

use super::{
    Cause, Moment, Settings,
    events::Note,
    finding::Severity,
    pod_facts::{Container, Role, Run},
};
use std::time::Duration;

/// This many ends are a loop beyond doubt.
const LOOP: i64 = 3;

pub(super) struct Crash {
    pub(super) severity: Severity,
    pub(super) cause: Cause,
    pub(super) text: String,
    pub(super) since: Moment,
    pub(super) revisit: Option<Moment>,
    pub(super) proved: bool,
}

/// How many ends of this container count as crashes. An init container that exited with 0 has done its work.
pub(super) fn counted(container: &Container) -> i64 {
    let ended = container.ended_since_seen();
    let done = matches!((&container.run, container.role), (Run::Ended(exit), Role::Init) if exit.code == 0);
    if done { 0 } else { ended }
}

/// How long it must run after a crash to be trusted.
pub(super) fn time_to_prove_itself(container: &Container, settings: &Settings) -> Duration {
    let outlive = container.memory.longest_failed_run.mul_f64(1.25);
    outlive
        .min(settings.restarted_uptime_limit)
        .max(settings.unprobed_uptime)
}

/// Judges the ends of one container; `None` if there were none that matter. `notes` are the events about it.
pub(super) fn judge(
    container: &Container,
    notes: &[&Note],
    restart_policy: &str,
    settings: &Settings,
    now: Moment,
) -> Option<Crash> {
    let times = counted(container);
    let (latest, before) = container.latest_ends();
    let down = !matches!(container.run, Run::Running { .. });
    // An exit with 0 means that the work is done, unless the container should run forever.
    let endless = container.role == Role::Sidecar || (container.role == Role::Main && restart_policy == "Always");
    if !endless && down && latest.is_some_and(|e| e.code == 0) {
        return None;
    }
    let killings = || {
        notes
            .iter()
            .filter(|n| n.reason == "Killing" && n.message.contains("probe, will be restarted"))
    };
    let kills: i64 = killings().map(|n| n.count).sum();
    let killed_at = killings().map(|n| n.last).max();
    if times == 0 && kills == 0 {
        return None;
    }
    if restart_policy == "Never" && container.role != Role::Sidecar {
        return None;
    }
    if let Some(since) = container.running_since()
        && killed_at.is_none_or(|killed| killed < since)
        && since.plus(time_to_prove_itself(container, settings)) <= now
        && (container.ready || container.role == Role::Init)
    {
        return None;
    }
    let same_words = latest
        .zip(before)
        .is_some_and(|(a, b)| a.says().is_some() && a.says() == b.says() && a.code == b.code);
    let ended_at = container.memory.ended_at.unwrap_or(now);
    let (mut severity, mut revisit) = (Severity::Waiting, None);
    if times >= LOOP || (times >= 2 && same_words) || kills >= 2 {
        severity = Severity::Failing;
    } else if times == 2 && down {
        let end = ended_at.plus(settings.crash_grace);
        if end <= now {
            severity = Severity::Failing;
        } else {
            revisit = Some(end);
        }
    }
    let probe = notes
        .iter()
        .filter(|n| n.reason == "Unhealthy" && (n.message.starts_with("Liveness") || n.message.starts_with("Startup")))
        .max_by_key(|n| n.last);
    let back_off = notes.iter().filter(|n| n.reason == "BackOff").max_by_key(|n| n.last);
    let how_often = match times {
        0 => "is being restarted".to_owned(),
        1 => "ended once".to_owned(),
        n => format!("ended {n} times"),
    };
    let mut text = how_often;
    if let Some(exit) = latest {
        text.push_str(&format!(", last with {}", exit.words()));
    }
    let cause = if kills > 0 { Cause::Probe } else { Cause::Crash };
    if let Some(probe) = probe.filter(|_| kills > 0) {
        text.push_str(&format!("; {}", probe.message));
    }
    if let Some(note) = back_off {
        text.push_str(&format!("; {}", note.message));
    }
    Some(Crash {
        severity,
        cause,
        text,
        since: ended_at,
        revisit,
        // Two ends with the same cause may still be a wait for something that is on its way.
        proved: times >= LOOP,
    })
}
