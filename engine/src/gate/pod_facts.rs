//! A pod as the rules read it, and what must be remembered between two sights of it: when each run of a container
//! began, how often it ended, and its message when it did.
//!
//! Facts only; `pod_reasons` judges them.

use super::{
    Moment,
    reading::{condition, count, flag, list, text, tidy},
};
use serde_json::Value;
use std::{collections::BTreeMap, time::Duration};

/// How many ends of runs are remembered for each container.
const REMEMBERED_ENDS: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Runs to its end before the others start.
    Init,
    /// An init container that keeps running (`restartPolicy: Always`).
    Sidecar,
    Main,
}

/// How a run of a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) code: i64,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Exit {
    fn read(value: &Value) -> Self {
        Self {
            code: count(value, "/exitCode"),
            reason: text(value, "/reason").to_owned(),
            message: tidy(text(value, "/message")),
        }
    }

    /// The cause that the end reports; `None` if it reports none.
    pub(super) fn says(&self) -> Option<&str> {
        match (self.message.as_str(), self.reason.as_str()) {
            ("", "" | "Error" | "Completed") => None,
            ("", reason) => Some(reason),
            (message, _) => Some(message),
        }
    }

    /// `Error, exit code 3: fatal: no database url`.
    pub(super) fn words(&self) -> String {
        let mut words = if self.reason.is_empty() {
            format!("exit code {}", self.code)
        } else {
            format!("{}, exit code {}", self.reason, self.code)
        };
        if !self.message.is_empty() {
            words.push_str(": ");
            words.push_str(&self.message);
        }
        words
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    Waiting { reason: String, message: String },
    Running { started: Option<Moment> },
    Ended(Exit),
}

#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) name: String,
    pub(super) role: Role,
    /// Whether a probe determines readiness or start.
    pub(super) probed: bool,
    pub(super) ready: bool,
    pub(super) restarts: i64,
    pub(super) run: Run,
    pub(super) last: Option<Exit>,
    pub(super) memory: Memory,
}

/// What is remembered of a container between two sights of its pod.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    /// When the current run, wait or end was first seen.
    pub(super) since: Moment,
    /// When the current run was first seen running.
    pub(super) running_since: Option<Moment>,
    /// Runs that had ended before the first sight.
    before: i64,
    /// The longest run whose end was seen.
    pub(super) longest_failed_run: Duration,
    /// How the latest runs ended, by number of the run.
    ends: BTreeMap<i64, Exit>,
    /// When the latest end was first seen.
    pub(super) ended_at: Option<Moment>,
    /// Why an image could not be pulled, with the message of the last attempt: the back-off that follows does not
    /// always repeat it.
    pub(super) pull_error: String,
    /// The message of a failed hook: the crash loop that follows does not repeat it.
    pub(super) hook_error: String,
}

impl Container {
    /// How many runs have ended in total.
    fn ended_runs(&self) -> i64 {
        self.restarts
            + match &self.run {
                Run::Running { .. } => 0,
                Run::Ended(_) => 1,
                Run::Waiting { .. } => i64::from(self.last.is_some()),
            }
    }

    /// How many runs have ended since the first sight. If the container was down at the first sight, its whole history
    /// counts, because it explains the current state.
    pub(super) fn ended_since_seen(&self) -> i64 {
        (self.ended_runs() - self.memory.before).max(0)
    }

    /// The end of the latest run and of the one before it.
    pub(super) fn latest_ends(&self) -> (Option<&Exit>, Option<&Exit>) {
        let mut ends = self.memory.ends.values().rev();
        (ends.next(), ends.next())
    }

    pub(super) fn running_since(&self) -> Option<Moment> {
        matches!(self.run, Run::Running { .. })
            .then_some(self.memory.running_since)
            .flatten()
    }
}

/// Whether a node accepts the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scheduled {
    Yes,
    /// Nothing has been reported yet.
    Unsaid,
    Gated(String),
    No {
        reason: String,
        message: String,
        since: Moment,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) deleting: bool,
    pub(super) phase: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) ready: bool,
    pub(super) restart_policy: String,
    pub(super) scheduled: Scheduled,
    pub(super) containers: Vec<Container>,
    /// Claims that it mounts.
    pub(super) claims: Vec<String>,
    /// `controller-revision-hash`, of pods of a StatefulSet or DaemonSet.
    pub(super) revision: String,
    /// `pod-template-generation`, of pods of a DaemonSet.
    pub(super) template_generation: String,
}

impl Pod {
    /// Reads a pod. `before` is the last sight of it (same UID); `live` is false if this one was in the initial list of
    /// a watch.
    pub(super) fn read(value: &Value, before: Option<&Self>, now: Moment, live: bool) -> Self {
        let uid = text(value, "/metadata/uid").to_owned();
        let before = before.filter(|b| b.uid == uid);
        let containers = [
            ("/spec/initContainers", "/status/initContainerStatuses"),
            ("/spec/containers", "/status/containerStatuses"),
        ]
        .into_iter()
        .flat_map(|(specs, statuses)| {
            list(value, statuses).iter().map(move |status| {
                let name = text(status, "/name");
                let spec = list(value, specs).iter().find(|c| text(c, "/name") == name);
                let role = match (specs, spec.map(|s| text(s, "/restartPolicy"))) {
                    ("/spec/initContainers", Some("Always")) => Role::Sidecar,
                    ("/spec/initContainers", _) => Role::Init,
                    _ => Role::Main,
                };
                let probed = spec.is_some_and(|s| s.get("readinessProbe").is_some() || s.get("startupProbe").is_some());
                let old = before.and_then(|b| b.containers.iter().find(|c| c.name == name && c.role == role));
                container(status, name, role, probed, old, now, live || before.is_some())
            })
        })
        .collect();
        let scheduled = condition(value, "PodScheduled");
        let scheduled = match scheduled {
            Some(c) if c.is_true() => Scheduled::Yes,
            Some(c) if c.reason == "SchedulingGated" => Scheduled::Gated(c.words()),
            Some(c) if c.is_false() => Scheduled::No {
                reason: c.reason.to_owned(),
                message: tidy(c.message),
                since: match before.map(|b| &b.scheduled) {
                    Some(Scheduled::No { since, .. }) => *since,
                    _ => now,
                },
            },
            _ if text(value, "/spec/nodeName").is_empty() => Scheduled::Unsaid,
            _ => Scheduled::Yes,
        };
        let label = |name: &str| text(value, &format!("/metadata/labels/{name}")).to_owned();
        Self {
            namespace: text(value, "/metadata/namespace").to_owned(),
            name: text(value, "/metadata/name").to_owned(),
            uid,
            deleting: value
                .pointer("/metadata/deletionTimestamp")
                .is_some_and(|t| !t.is_null()),
            phase: text(value, "/status/phase").to_owned(),
            reason: text(value, "/status/reason").to_owned(),
            message: tidy(text(value, "/status/message")),
            ready: condition(value, "Ready").is_some_and(|c| c.is_true()),
            restart_policy: text(value, "/spec/restartPolicy").to_owned(),
            scheduled,
            containers,
            claims: list(value, "/spec/volumes")
                .iter()
                .map(|v| text(v, "/persistentVolumeClaim/claimName"))
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect(),
            revision: label("controller-revision-hash"),
            template_generation: label("pod-template-generation"),
        }
    }

    /// Whether it has ended, successfully or not.
    pub(super) fn finished(&self) -> bool {
        matches!(self.phase.as_str(), "Succeeded" | "Failed")
    }
}

fn container(
    status: &Value,
    name: &str,
    role: Role,
    probed: bool,
    old: Option<&Container>,
    now: Moment,
    seen_from_the_start: bool,
) -> Container {
    let run = if let Some(ended) = status.pointer("/state/terminated") {
        Run::Ended(Exit::read(ended))
    } else if let Some(running) = status.pointer("/state/running") {
        Run::Running {
            started: Moment::parse(text(running, "/startedAt")),
        }
    } else {
        Run::Waiting {
            reason: text(status, "/state/waiting/reason").to_owned(),
            message: tidy(text(status, "/state/waiting/message")),
        }
    };
    let mut new = Container {
        name: name.to_owned(),
        role,
        probed,
        ready: flag(status, "/ready"),
        restarts: count(status, "/restartCount"),
        last: status.pointer("/lastState/terminated").map(Exit::read),
        run,
        memory: old.map_or_else(
            || Memory {
                since: now,
                running_since: None,
                before: 0,
                longest_failed_run: Duration::ZERO,
                ends: BTreeMap::new(),
                ended_at: None,
                pull_error: String::new(),
                hook_error: String::new(),
            },
            |old| old.memory.clone(),
        ),
    };
    let ended = new.ended_runs();
    if old.is_none() && !seen_from_the_start && matches!(new.run, Run::Running { .. }) {
        new.memory.before = ended;
    }
    let same_run = old.is_some_and(|o| o.restarts == new.restarts && same_kind(&o.run, &new.run));
    if !same_run {
        new.memory.since = now;
    }
    let ended_before = old.map_or(0, Container::ended_runs);
    if ended > ended_before {
        new.memory.ended_at = Some(now);
        if let Some(since) = old.and_then(Container::running_since) {
            new.memory.longest_failed_run = new.memory.longest_failed_run.max(now.since(since));
        }
    }
    match &new.run {
        Run::Running { .. } if !same_run => new.memory.running_since = Some(now),
        Run::Running { .. } => {}
        _ => new.memory.running_since = None,
    }
    // The latest end is run number `ended`; in `state` if the container is down, else in `lastState`.
    match (&new.run, &new.last) {
        (Run::Ended(exit), last) => {
            if let Some(last) = last {
                new.memory.ends.insert(ended - 1, last.clone());
            }
            new.memory.ends.insert(ended, exit.clone());
        }
        (_, Some(last)) => {
            new.memory.ends.insert(ended, last.clone());
        }
        _ => {}
    }
    while new.memory.ends.len() > REMEMBERED_ENDS {
        new.memory.ends.pop_first();
    }
    match &new.run {
        Run::Waiting { reason, message } if reason == "ErrImagePull" && !message.is_empty() => {
            new.memory.pull_error.clone_from(message);
        }
        Run::Waiting { reason, message } if reason == "PostStartHookError" => {
            new.memory.hook_error = format!("{reason}: {message}");
        }
        Run::Waiting { .. } => {}
        _ => new.memory.pull_error.clear(),
    }
    new
}

fn same_kind(a: &Run, b: &Run) -> bool {
    match (a, b) {
        (Run::Waiting { .. }, Run::Waiting { .. }) | (Run::Running { .. }, Run::Running { .. }) => true,
        (Run::Ended(a), Run::Ended(b)) => a == b,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(status: &Value) -> Value {
        json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"},
               "spec": {"containers": [{"name": "c"}], "restartPolicy": "Always"},
               "status": {"phase": "Running", "containerStatuses": [status]}})
    }

    #[test]
    fn runs_are_counted_and_timed_across_sights() {
        let running = |restarts: i64| {
            json!({"name": "c", "restartCount": restarts, "state": {"running": {}},
            "lastState": if restarts > 0 { json!({"terminated": {"exitCode": 1, "reason": "Error"}}) } else { json!({}) }})
        };
        let down = |restarts: i64| {
            json!({"name": "c", "restartCount": restarts,
            "state": {"terminated": {"exitCode": 1, "reason": "Error", "message": format!("run {restarts}\n")}}})
        };
        let first = Pod::read(&pod(&running(0)), None, Moment(1000), true);
        let second = Pod::read(&pod(&down(0)), Some(&first), Moment(3000), true);
        assert_eq!(second.containers[0].ended_since_seen(), 1);
        assert_eq!(second.containers[0].memory.longest_failed_run, Duration::from_secs(2));
        let third = Pod::read(&pod(&running(1)), Some(&second), Moment(3100), true);
        assert_eq!(third.containers[0].ended_since_seen(), 1);
        assert_eq!(third.containers[0].running_since(), Some(Moment(3100)));
        let fourth = Pod::read(&pod(&down(1)), Some(&third), Moment(4000), true);
        let c = &fourth.containers[0];
        assert_eq!((c.ended_since_seen(), c.memory.ended_at), (2, Some(Moment(4000))));
        assert_eq!(c.latest_ends().0.unwrap().message, "run 1");
    }

    #[test]
    fn a_restart_from_last_week_is_not_a_crash_of_today() {
        let old = json!({"name": "c", "restartCount": 5, "state": {"running": {}},
                         "lastState": {"terminated": {"exitCode": 1}}});
        assert_eq!(
            Pod::read(&pod(&old), None, Moment(0), false).containers[0].ended_since_seen(),
            0
        );
        // …but one that is down at the first sight is judged by its whole history.
        let down = json!({"name": "c", "restartCount": 5, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                          "lastState": {"terminated": {"exitCode": 1}}});
        assert_eq!(
            Pod::read(&pod(&down), None, Moment(0), false).containers[0].ended_since_seen(),
            6
        );
        // …and another pod of the same name is another pod.
        let before = Pod::read(&pod(&old), None, Moment(0), false);
        let mut other = pod(&json!({"name": "c", "restartCount": 0, "state": {"running": {}}}));
        other["metadata"]["uid"] = json!("v");
        let after = Pod::read(&other, Some(&before), Moment(9), true);
        assert_eq!(after.containers[0].running_since(), Some(Moment(9)));
    }
}
