//! A pod's status from what the runtime reported. Pure: what was seen goes in, the status comes out.

use serde_json::{Map, Value, json};

use super::shell::Millis;
use crate::kubernetes::controllers::object;

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: i32,
    pub(crate) reason: &'static str,
    pub(crate) message: Option<String>,
    pub(crate) started: Option<Millis>,
    pub(crate) finished: Option<Millis>,
    pub(crate) id: String,
}

/// What the runtime says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It has never been made.
    Absent,
    Running {
        since: Millis,
        id: String,
    },
    Exited(Exit),
}

/// What part a container plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next.
    Init,
    /// An init container that stays.
    Sidecar,
    Main,
}

/// A container as it was last seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen<'a> {
    pub(crate) spec: &'a Value,
    pub(crate) role: Role,
    pub(crate) state: &'a State,
    pub(crate) previous: Option<&'a Exit>,
    pub(crate) restarts: i64,
    pub(crate) ready: bool,
    pub(crate) started: bool,
    /// Why the last start failed.
    pub(crate) waiting: Option<&'a (String, String)>,
}

/// A pod as it was last seen.
#[derive(Debug)]
pub(crate) struct View<'a> {
    pub(crate) pod: &'a Value,
    pub(crate) containers: Vec<Seen<'a>>,
    pub(crate) sandbox: bool,
    pub(crate) ip: Option<&'a str>,
    pub(crate) host_ip: &'a str,
    pub(crate) now: Millis,
    /// All of its containers are known to have ended.
    pub(crate) ended: bool,
    /// Why the node ended it: reason and message.
    pub(crate) cause: Option<(&'a str, &'a str)>,
}

/// Whether a container that has ended is started again.
pub(crate) fn restarts_after(role: Role, policy: &str, code: i32) -> bool {
    match role {
        Role::Sidecar => true,
        Role::Init => code != 0 && policy != "Never",
        Role::Main => match policy {
            "Always" => true,
            "OnFailure" => code != 0,
            _ => false,
        },
    }
}

impl View<'_> {
    fn policy(&self) -> &str {
        match object::text(self.pod, "/spec/restartPolicy") {
            "" => "Always",
            policy => policy,
        }
    }

    /// Whether an init container is done: it has succeeded, or it stays and is up.
    fn initialized(&self, container: &Seen<'_>) -> bool {
        match container.role {
            Role::Main => true,
            Role::Sidecar => container.started && matches!(container.state, State::Running { .. }),
            Role::Init => matches!(container.state, State::Exited(exit) if exit.code == 0),
        }
    }

    fn waits(&self, container: &Seen<'_>) -> bool {
        let restarted = match container.state {
            State::Absent => true,
            State::Running { .. } => false,
            State::Exited(exit) => restarts_after(container.role, self.policy(), exit.code),
        };
        restarted && container.waiting.is_some()
    }

    /// The phase that follows from the containers alone.
    pub(crate) fn phase(&self) -> &'static str {
        if self.cause.is_some() {
            return "Failed";
        }
        let mains = || self.containers.iter().filter(|c| c.role == Role::Main);
        let any_main = mains().any(|c| *c.state != State::Absent);
        for init in self.containers.iter().filter(|c| c.role == Role::Init) {
            if let State::Exited(exit) = init.state
                && exit.code != 0
                && self.policy() == "Never"
            {
                return "Failed";
            }
        }
        let pending = self.containers.iter().any(|c| {
            c.role != Role::Main
                && !self.initialized(c)
                && !(c.role == Role::Sidecar && *c.state != State::Absent && any_main)
        });
        if pending && !any_main {
            return "Pending";
        }
        // A container that was never made is pending; one that could not be started has run, for a moment.
        if mains().any(|c| *c.state == State::Absent) {
            return if self.ended && mains().all(|c| !matches!(c.state, State::Running { .. })) {
                "Failed"
            } else {
                "Pending"
            };
        }
        let sidecar = |c: &Seen<'_>| c.role == Role::Sidecar && matches!(c.state, State::Running { .. });
        if mains().any(|c| matches!(c.state, State::Running { .. })) || self.containers.iter().any(sidecar) {
            return "Running";
        }
        let codes: Vec<i32> = mains()
            .filter_map(|c| {
                if let State::Exited(exit) = c.state {
                    Some(exit.code)
                } else {
                    None
                }
            })
            .collect();
        let succeeded = codes.iter().all(|code| *code == 0);
        if self.ended {
            return if succeeded { "Succeeded" } else { "Failed" };
        }
        match self.policy() {
            "Always" => "Running",
            _ if succeeded => "Succeeded",
            "Never" => "Failed",
            _ => "Running",
        }
    }

    /// Whether all main containers have ended for good, whatever its sidecars do.
    pub(crate) fn mains_are_done(&self) -> bool {
        self.containers
            .iter()
            .filter(|c| c.role == Role::Main)
            .all(|c| match c.state {
                State::Exited(exit) => !restarts_after(c.role, self.policy(), exit.code),
                _ => false,
            })
    }

    /// The complete status. The times of unchanged conditions are taken from the existing pod.
    pub(crate) fn status(&self) -> Value {
        let phase = self.phase();
        let over = matches!(phase, "Succeeded" | "Failed");
        let mut status = Map::new();
        status.insert("observedGeneration".to_owned(), object::generation(self.pod).into());
        // The end is shown only when the runtime has confirmed it.
        let shown = if over && !self.ended { "Running" } else { phase };
        status.insert("phase".to_owned(), shown.into());
        status.insert("conditions".to_owned(), self.conditions(phase).into());
        if let Some((reason, message)) = self.cause.filter(|_| self.ended) {
            status.insert("reason".to_owned(), reason.into());
            status.insert("message".to_owned(), message.into());
        }
        status.insert("hostIP".to_owned(), self.host_ip.into());
        status.insert("hostIPs".to_owned(), json!([{"ip": self.host_ip}]));
        if let Some(ip) = self.ip {
            status.insert("podIP".to_owned(), ip.into());
            status.insert("podIPs".to_owned(), json!([{"ip": ip}]));
        }
        let start = self.pod["status"]
            .get("startTime")
            .filter(|time| time.is_string())
            .cloned();
        status.insert("startTime".to_owned(), start.unwrap_or_else(|| object::time(self.now)));
        let inits: Vec<Value> = self
            .containers
            .iter()
            .filter(|c| c.role != Role::Main)
            .map(|c| self.container(c))
            .collect();
        if !inits.is_empty() {
            status.insert("initContainerStatuses".to_owned(), inits.into());
        }
        let mains: Vec<Value> = self
            .containers
            .iter()
            .filter(|c| c.role == Role::Main)
            .map(|c| self.container(c))
            .collect();
        status.insert("containerStatuses".to_owned(), mains.into());
        for field in ["qosClass", "nominatedNodeName", "resourceClaimStatuses"] {
            if let Some(value) = self.pod["status"].get(field) {
                status.insert(field.to_owned(), value.clone());
            }
        }
        let requests = self.total_requests();
        let mut resources = Map::new();
        if !requests.is_empty() {
            status.insert("allocatedResources".to_owned(), requests.clone().into());
            resources.insert("requests".to_owned(), requests.into());
        }
        status.insert("resources".to_owned(), resources.into());
        Value::Object(status)
    }

    /// Requests of a pod with one container; sums of several are left to the scheduler.
    fn total_requests(&self) -> Map<String, Value> {
        let mut total: Map<String, Value> = Map::new();
        for container in self.containers.iter().filter(|c| c.role == Role::Main) {
            for (name, amount) in container.spec["resources"]["requests"]
                .as_object()
                .into_iter()
                .flatten()
            {
                let sum = match total.get(name).and_then(Value::as_str) {
                    Some(other) => super::placement::sum(other, amount.as_str().unwrap_or_default()).into(),
                    None => amount.clone(),
                };
                total.insert(name.clone(), sum);
            }
        }
        total
    }

    fn container(&self, container: &Seen<'_>) -> Value {
        let spec = container.spec;
        let mut status = Map::new();
        status.insert("name".to_owned(), spec["name"].clone());
        let mut last = container.previous.map(terminated);
        let mut state = match container.state {
            State::Absent => {
                let initializing = self
                    .containers
                    .iter()
                    .any(|c| c.role != Role::Main && !self.initialized(c))
                    || self.has_inits();
                json!({"waiting": {"reason": if initializing { "PodInitializing" } else { "ContainerCreating" }}})
            }
            State::Running { since, .. } => json!({"running": {"startedAt": object::time(*since)}}),
            State::Exited(exit) => json!({"terminated": terminated(exit)}),
        };
        if self.waits(container)
            && let Some((reason, message)) = container.waiting
        {
            if let State::Exited(exit) = container.state {
                last = Some(terminated(exit));
            }
            state = json!({"waiting": {"reason": reason}});
            if !message.is_empty() {
                state["waiting"]["message"] = message.as_str().into();
            }
        }
        status.insert("state".to_owned(), state);
        status.insert(
            "lastState".to_owned(),
            last.map_or_else(|| json!({}), |last| json!({"terminated": last})),
        );
        let done = container.role == Role::Init && self.initialized(container);
        status.insert("ready".to_owned(), (container.ready || done).into());
        status.insert("restartCount".to_owned(), container.restarts.into());
        let image = spec["image"].as_str().unwrap_or_default();
        let id = match container.state {
            State::Absent => None,
            State::Running { id, .. } => Some(id),
            State::Exited(exit) => Some(&exit.id),
        };
        let known = id.filter(|id| !id.is_empty());
        status.insert(
            "image".to_owned(),
            if known.is_some() {
                super::images::normalized(image).into()
            } else {
                image.into()
            },
        );
        status.insert(
            "imageID".to_owned(),
            known.map_or_else(String::new, |_| super::images::id(image)).into(),
        );
        if let Some(id) = known {
            status.insert("containerID".to_owned(), format!("containerd://{id}").into());
        }
        status.insert("started".to_owned(), container.started.into());
        if known.is_some() {
            if let Some(requests) = spec["resources"].get("requests") {
                status.insert("allocatedResources".to_owned(), requests.clone());
            }
            let resources = spec["resources"].as_object().cloned().unwrap_or_default();
            status.insert("resources".to_owned(), resources.into());
        }
        let mounts: Vec<Value> = object::list(spec, "/volumeMounts")
            .iter()
            .map(|mount| {
                let mut shown = json!({"name": mount["name"], "mountPath": mount["mountPath"]});
                if mount["readOnly"] == true {
                    shown["readOnly"] = true.into();
                    shown["recursiveReadOnly"] = "Disabled".into();
                }
                shown
            })
            .collect();
        if !mounts.is_empty() {
            status.insert("volumeMounts".to_owned(), mounts.into());
        }
        Value::Object(status)
    }

    fn has_inits(&self) -> bool {
        self.containers.iter().any(|c| c.role != Role::Main)
    }

    fn conditions(&self, phase: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        let ours = [
            "PodReadyToStartContainers",
            "Initialized",
            "Ready",
            "ContainersReady",
            "PodScheduled",
        ];
        all.extend(
            object::list(self.pod, "/status/conditions")
                .iter()
                .filter(|c| !ours.iter().any(|kind| c["type"] == *kind))
                .cloned(),
        );
        let named = |list: Vec<&str>| format!("[{}]", list.join(" "));
        all.push(self.condition("PodReadyToStartContainers", self.sandbox, None));
        let unfinished: Vec<&str> = self
            .containers
            .iter()
            .filter(|c| !self.initialized(c) && c.role != Role::Main)
            .map(|c| c.spec["name"].as_str().unwrap_or_default())
            .collect();
        all.push(if phase == "Succeeded" {
            self.condition("Initialized", true, Some(("PodCompleted", String::new())))
        } else if unfinished.is_empty() || self.mains_started() {
            self.condition("Initialized", true, None)
        } else {
            self.condition(
                "Initialized",
                false,
                Some((
                    "ContainersNotInitialized",
                    format!("containers with incomplete status: {}", named(unfinished)),
                )),
            )
        });
        let unready: Vec<&str> = self
            .containers
            .iter()
            .filter(|c| c.role != Role::Init && !c.ready)
            .map(|c| c.spec["name"].as_str().unwrap_or_default())
            .collect();
        let why = match phase {
            "Succeeded" => Some(("PodCompleted", String::new())),
            "Failed" => Some(("PodFailed", String::new())),
            _ if unready.is_empty() => None,
            _ => Some((
                "ContainersNotReady",
                format!("containers with unready status: {}", named(unready)),
            )),
        };
        let gate = object::list(self.pod, "/spec/readinessGates").iter().find_map(|gate| {
            let kind = gate["conditionType"].as_str().unwrap_or_default();
            match object::condition(self.pod, kind) {
                None => Some(format!(
                    "corresponding condition of pod readiness gate \"{kind}\" does not exist."
                )),
                Some(condition) if condition["status"] != "True" => Some(format!(
                    "the status of pod readiness gate \"{kind}\" is not \"True\", but {}",
                    object::text(condition, "/status")
                )),
                Some(_) => None,
            }
        });
        let ready = match (&why, gate) {
            (None, Some(message)) => Some(("ReadinessGatesNotReady", message)),
            _ => why.clone(),
        };
        all.push(self.condition("Ready", ready.is_none(), ready));
        all.push(self.condition("ContainersReady", why.is_none(), why));
        all.push(self.condition("PodScheduled", true, None));
        all
    }

    fn mains_started(&self) -> bool {
        self.containers
            .iter()
            .any(|c| c.role == Role::Main && *c.state != State::Absent)
    }

    fn condition(&self, kind: &str, holds: bool, why: Option<(&str, String)>) -> Value {
        let status = if holds { "True" } else { "False" };
        let old = object::condition(self.pod, kind).filter(|old| old["status"] == status);
        let since = old.map_or_else(|| object::time(self.now), |old| old["lastTransitionTime"].clone());
        let mut condition = json!({
            "type": kind, "observedGeneration": object::generation(self.pod), "status": status, "lastProbeTime": null, "lastTransitionTime": since,
        });
        if let Some((reason, message)) = why {
            condition["reason"] = reason.into();
            if !message.is_empty() {
                condition["message"] = message.into();
            }
        }
        condition
    }
}

fn terminated(exit: &Exit) -> Value {
    let mut state = json!({"exitCode": exit.code, "reason": exit.reason});
    if let Some(message) = exit.message.as_ref().filter(|message| !message.is_empty()) {
        state["message"] = message.as_str().into();
    }
    state["startedAt"] = exit.started.map_or(Value::Null, object::time);
    state["finishedAt"] = exit.finished.map_or(Value::Null, object::time);
    if !exit.id.is_empty() {
        state["containerID"] = format!("containerd://{}", exit.id).into();
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32) -> State {
        State::Exited(Exit {
            code,
            reason: "Error",
            message: None,
            started: Some(0),
            finished: Some(0),
            id: "x".to_owned(),
        })
    }

    fn running() -> State {
        State::Running {
            since: 0,
            id: "x".to_owned(),
        }
    }

    #[test]
    fn the_phase_follows_from_containers_policy_and_confirmation() {
        let spec = json!({"name": "c", "image": "busybox"});
        for (policy, roles, ended, phase) in [
            ("Always", vec![(Role::Main, State::Absent)], false, "Pending"),
            ("Always", vec![(Role::Main, running())], false, "Running"),
            ("Always", vec![(Role::Main, exit(1))], false, "Running"),
            ("Never", vec![(Role::Main, exit(1))], false, "Failed"),
            ("Never", vec![(Role::Main, exit(0))], false, "Succeeded"),
            ("OnFailure", vec![(Role::Main, exit(1))], false, "Running"),
            ("OnFailure", vec![(Role::Main, exit(0))], false, "Succeeded"),
            (
                "Never",
                vec![(Role::Main, exit(0)), (Role::Main, running())],
                false,
                "Running",
            ),
            ("Always", vec![(Role::Main, exit(137))], true, "Failed"),
            (
                "Always",
                vec![(Role::Init, exit(1)), (Role::Main, State::Absent)],
                false,
                "Pending",
            ),
            (
                "Never",
                vec![(Role::Init, exit(1)), (Role::Main, State::Absent)],
                false,
                "Failed",
            ),
            (
                "Always",
                vec![(Role::Init, exit(0)), (Role::Main, State::Absent)],
                false,
                "Pending",
            ),
        ] {
            let pod = json!({"spec": {"restartPolicy": policy}, "metadata": {"generation": 1}});
            let containers = roles
                .iter()
                .map(|(role, state)| Seen {
                    spec: &spec,
                    role: *role,
                    state,
                    previous: None,
                    restarts: 0,
                    ready: false,
                    started: true,
                    waiting: None,
                })
                .collect();
            let view = View {
                pod: &pod,
                containers,
                sandbox: true,
                ip: None,
                host_ip: "10.0.0.1",
                now: 0,
                ended,
                cause: None,
            };
            assert_eq!(view.phase(), phase, "{policy} {roles:?} {ended}");
        }
    }
}
