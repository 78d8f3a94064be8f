//! What a node's runtime knows of a pod: its sandbox, its containers and their states.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::behaviour::Behaviour;
use super::launch::Step;
use super::probes::{Kind, Probe};
use super::shell::{Files, Log, Machine, Millis, Process};
use super::status::{Exit, Role, Seen, State, View};
use super::timing;
use crate::kubernetes::controllers::object::{self, Key};

/// One container over all of its runs.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) role: Role,
    /// As it is.
    pub(crate) state: State,
    pub(crate) previous: Option<Exit>,
    pub(crate) restarts: i64,
    /// As it was when the runtime was last asked.
    pub(super) seen: (State, Option<Exit>, i64),
    pub(super) process: Option<Process>,
    pub(super) machine: Option<Machine>,
    pub(crate) log: Option<Arc<Mutex<Log>>>,
    pub(crate) previous_log: Option<Arc<Mutex<Log>>>,
    pub(super) behaviour: Behaviour,
    pub(super) probes: Vec<Probe>,
    /// Pause before a restart, and when it was last set.
    pub(super) backoff: Option<(Millis, Millis)>,
    pub(super) kill: bool,
}

/// How far the end of a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Living,
    /// Its containers have ended by themselves; the runtime has yet to confirm.
    Ending {
        at: Millis,
    },
    /// Its containers are told to stop, and killed at a time.
    Stopping {
        kill: Millis,
        cause: Option<(String, String)>,
        sidecars: bool,
    },
    /// All have stopped; its last status is written at a time.
    Stopped {
        at: Millis,
        cause: Option<(String, String)>,
    },
    /// It is deleted at a time, if somebody asked for that.
    Over {
        at: Option<Millis>,
    },
}

/// A pod on a node.
#[derive(Debug)]
pub(crate) struct PodRun {
    pub(crate) key: Key,
    pub(super) stage: Stage,
    pub(super) ip: Option<String>,
    pub(super) ip_seen: bool,
    pub(super) sandbox: bool,
    pub(crate) containers: Vec<Container>,
    pub(super) reasons: BTreeMap<String, (String, String)>,
    pub(super) plan: VecDeque<(Millis, Step)>,
    pub(super) sync_at: Option<Millis>,
    pub(super) retry_at: Option<Millis>,
    pub(super) tick_at: Option<Millis>,
    pub(super) mounts: HashMap<String, Files>,
    pub(super) mounted: bool,
    pub(super) mount_tries: u32,
    pub(super) image_backoff: HashMap<String, (Millis, Millis, String)>,
    pub(super) deadline_at: Option<Millis>,
    pub(super) evict_at: Option<Millis>,
    /// A failure among the starts of this turn, and the pause that follows from it.
    pub(super) failed: Option<Millis>,
    pub(super) launched: bool,
    /// Something was started since the runtime was last read: no turn may act on the old observation.
    pub(super) stale: bool,
}

impl PodRun {
    pub(super) fn new(pod: &Value, now: Millis) -> Self {
        let mut containers = Vec::new();
        for spec in object::list(pod, "/spec/initContainers") {
            let role = if spec["restartPolicy"] == "Always" {
                Role::Sidecar
            } else {
                Role::Init
            };
            containers.push(Container::new(pod, spec, role));
        }
        for spec in object::list(pod, "/spec/containers") {
            containers.push(Container::new(pod, spec, Role::Main));
        }
        let limited = object::list(pod, "/spec/volumes")
            .iter()
            .any(|volume| volume["emptyDir"]["sizeLimit"].is_string());
        Self {
            key: object::key_of(pod),
            stage: Stage::Living,
            ip: None,
            ip_seen: false,
            sandbox: false,
            containers,
            reasons: BTreeMap::new(),
            plan: VecDeque::new(),
            sync_at: Some(now),
            retry_at: None,
            tick_at: None,
            mounts: HashMap::new(),
            mounted: false,
            mount_tries: 0,
            image_backoff: HashMap::new(),
            deadline_at: None,
            evict_at: limited.then_some(now + timing::EVICTION),
            failed: None,
            launched: false,
            stale: false,
        }
    }

    /// Look at the pod at a time, or earlier.
    pub(super) fn want_sync(&mut self, at: Millis) {
        self.sync_at = Some(self.sync_at.map_or(at, |earlier| earlier.min(at)));
    }

    /// Ask the runtime at its next tick.
    pub(super) fn want_tick(&mut self, now: Millis) {
        if self.tick_at.is_none() {
            self.tick_at = Some(timing::next_tick(now));
        }
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Option<Millis> {
        let stage = match &self.stage {
            Stage::Living => self.deadline_at,
            Stage::Ending { at } | Stage::Stopped { at, .. } => Some(*at),
            Stage::Stopping { kill, .. } => Some(*kill),
            Stage::Over { at } => *at,
        };
        let living = self.stage == Stage::Living;
        let idle = self.plan.is_empty() && living && !self.stale;
        let processes = self
            .containers
            .iter()
            .filter_map(|c| c.process.as_ref().and_then(|p| p.due));
        let probes = self.containers.iter().flat_map(|c| &c.probes).map(|probe| probe.due);
        stage
            .into_iter()
            .chain(self.plan.front().map(|(at, _)| *at))
            .chain(self.sync_at.filter(|_| idle))
            .chain(self.retry_at.filter(|_| idle))
            .chain(self.tick_at)
            .chain(self.evict_at.filter(|_| living))
            .chain(processes)
            .chain(probes.filter(|_| living && self.sandbox))
            .min()
    }

    pub(super) fn machine(&self, container: &str) -> Option<Machine> {
        let container = self.containers.iter().find(|c| c.name == container)?;
        matches!(container.state, State::Running { .. })
            .then(|| container.machine.clone())
            .flatten()
    }

    /// Read the runtime: the last observation becomes current. True if it changed.
    pub(super) fn relist(&mut self) -> bool {
        self.stale = false;
        let mut news = self.sandbox && !self.ip_seen;
        self.ip_seen = self.sandbox;
        for container in &mut self.containers {
            let is = (container.state.clone(), container.previous.clone(), container.restarts);
            if container.seen != is {
                container.seen = is;
                news = true;
            }
        }
        news
    }

    /// The pod as it was last seen.
    pub(super) fn view<'a>(
        &'a self,
        pod: &'a Value,
        host_ip: &'a str,
        now: Millis,
        ended: bool,
        cause: Option<(&'a str, &'a str)>,
    ) -> View<'a> {
        let specs = object::list(pod, "/spec/initContainers")
            .iter()
            .chain(object::list(pod, "/spec/containers"));
        let containers = self
            .containers
            .iter()
            .zip(specs)
            .map(|(container, spec)| Seen {
                spec,
                role: container.role,
                state: &container.seen.0,
                previous: container.seen.1.as_ref(),
                restarts: container.seen.2,
                ready: container.is_ready(),
                started: container.is_started(),
                waiting: self.reasons.get(&container.name),
            })
            .collect();
        View {
            pod,
            containers,
            sandbox: self.sandbox && !ended,
            ip: self.ip.as_deref().filter(|_| self.ip_seen),
            host_ip,
            now,
            ended,
            cause,
        }
    }

    /// Its volumes or its sandbox are being made.
    pub(super) fn is_starting(&self) -> bool {
        self.stage == Stage::Living
            && !self.sandbox
            && matches!(self.plan.front(), Some((_, Step::Mount | Step::Sandbox)))
    }

    /// Its containers have been told to stop.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.stage, Stage::Stopping { .. })
    }

    pub(super) fn any_running(&self) -> bool {
        self.containers.iter().any(|c| matches!(c.state, State::Running { .. }))
    }
}

impl Container {
    fn new(pod: &Value, spec: &Value, role: Role) -> Self {
        let name = spec["name"].as_str().unwrap_or_default().to_owned();
        let behaviour = if role == Role::Main {
            Behaviour::of(pod, &name)
        } else {
            Behaviour::default()
        };
        Self {
            name,
            role,
            state: State::Absent,
            previous: None,
            restarts: 0,
            seen: (State::Absent, None, 0),
            process: None,
            machine: None,
            log: None,
            previous_log: None,
            behaviour,
            probes: Vec::new(),
            backoff: None,
            kill: false,
        }
    }

    /// Begin to probe, from the time at which the node took the pod on.
    pub(super) fn start_probes(&mut self, spec: &Value, now: Millis) {
        if self.probes.is_empty() && self.role != Role::Init {
            self.probes = [Kind::Startup, Kind::Readiness, Kind::Liveness]
                .into_iter()
                .filter_map(|kind| Probe::of(spec, kind, now))
                .collect();
        }
    }

    pub(super) fn probe(&self, kind: Kind) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.kind == kind)
    }

    fn seen_run(&self) -> Option<&str> {
        match &self.seen.0 {
            State::Running { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Running, and its startup probe has passed.
    pub(super) fn is_started(&self) -> bool {
        let Some(id) = self.seen_run() else { return false };
        self.probe(Kind::Startup)
            .is_none_or(|probe| probe.run == *id && probe.result == Some(true))
    }

    /// Started, and its readiness probe passes.
    pub(super) fn is_ready(&self) -> bool {
        let Some(id) = self.seen_run() else { return false };
        if self.role == Role::Init || !self.is_started() {
            return false;
        }
        self.probe(Kind::Readiness)
            .is_none_or(|probe| probe.run == *id && probe.result == Some(true))
    }
}
