//! Annotations by which a test makes a pod misbehave in the model kubelet.
//!
//! `sandbox.myelin.dev/KEY` applies to all main containers, `sandbox.myelin.dev/KEY.CONTAINER` to one. Durations are
//! written `500ms`, `5s`, `2m`. A value that cannot be read is ignored and reported in the pod's first event.

use serde_json::Value;

use super::shell::Millis;
use crate::kubernetes::controllers::object;

/// The prefix of all annotations that the sandbox reads.
pub(crate) const PREFIX: &str = "sandbox.myelin.dev/";

/// How a container is to behave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Behaviour {
    /// `crash-after`: ends this long after each start,
    pub(crate) crash_after: Option<Millis>,
    /// `exit-code`: with this code (1),
    pub(crate) exit_code: i32,
    /// `crash-times`: so many times (always).
    pub(crate) crash_times: Option<i64>,
    /// `hang`: runs, answers no probe, and ignores the request to stop.
    pub(crate) hang: bool,
    /// `ready-after`: its readiness probe fails for so long.
    pub(crate) ready_after: Option<Millis>,
    /// `never-ready`: its readiness probe fails forever.
    pub(crate) never_ready: bool,
    /// `pull-time`: its image takes so long to come.
    pub(crate) pull_time: Option<Millis>,
    /// `out-of-memory-after`: is killed for its memory this long after each start.
    pub(crate) oom_after: Option<Millis>,
    /// `log`: what it prints when it starts.
    pub(crate) log: Option<String>,
}

/// `500ms`, `5s`, `2m`, `1h`; a bare number is seconds.
pub(crate) fn span(text: &str) -> Option<Millis> {
    let text = text.trim();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[digits.len()..] {
        "ms" => 1.0,
        "" | "s" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    let number: f64 = digits.parse().ok()?;
    if !(0.0..=1e9).contains(&number) {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "bounded by the test before")]
    Some((number * scale) as Millis)
}

impl Behaviour {
    /// What a pod's annotations say about one of its containers.
    pub(crate) fn of(pod: &Value, container: &str) -> Self {
        let get = |key: &str| {
            object::annotation(pod, &format!("{PREFIX}{key}.{container}"))
                .or_else(|| object::annotation(pod, &format!("{PREFIX}{key}")))
        };
        let yes = |key: &str| get(key).is_some_and(|value| matches!(value, "true" | "yes" | "1"));
        Self {
            crash_after: get("crash-after").and_then(span),
            exit_code: get("exit-code").and_then(|code| code.parse().ok()).unwrap_or(1),
            crash_times: get("crash-times").and_then(|times| times.parse().ok()),
            hang: yes("hang"),
            ready_after: get("ready-after").and_then(span),
            never_ready: yes("never-ready"),
            pull_time: get("pull-time").and_then(span),
            oom_after: get("out-of-memory-after").and_then(span),
            log: get("log").map(str::to_owned),
        }
    }

    /// The script to run instead of its own command, if it should crash or hang.
    pub(crate) fn script(&self, restarts: i64) -> Option<String> {
        let wait = |millis: Millis| format!("sleep {}.{:03}", millis / 1000, millis % 1000);
        if self.hang {
            return Some("trap '' TERM; while true; do sleep 3600; done".to_owned());
        }
        if let Some(after) = self.oom_after {
            return Some(format!("{}; tail /dev/zero", wait(after)));
        }
        if let Some(after) = self.crash_after
            && self.crash_times.is_none_or(|times| restarts < times)
        {
            return Some(format!("{}; exit {}", wait(after), self.exit_code));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_annotation_for_one_container_wins_over_that_for_all() {
        let pod = json!({"metadata": {"annotations": {
            "sandbox.myelin.dev/crash-after": "5s", "sandbox.myelin.dev/crash-after.b": "250ms", "sandbox.myelin.dev/crash-times": "2",
            "sandbox.myelin.dev/never-ready.b": "true", "sandbox.myelin.dev/ready-after": "soon",
        }}});
        let (a, b) = (Behaviour::of(&pod, "a"), Behaviour::of(&pod, "b"));
        assert_eq!((a.crash_after, b.crash_after), (Some(5000), Some(250)));
        assert_eq!((a.never_ready, b.never_ready, a.ready_after), (false, true, None));
        assert_eq!(a.script(1).as_deref(), Some("sleep 5.000; exit 1"));
        assert_eq!(a.script(2), None);
    }
}
