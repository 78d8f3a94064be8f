//! Plays a case against a sandbox in this process, on a clock that jumps from one event to the next.
//!
//! Nothing waits, and nothing but names is random: a case of a minute takes milliseconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use myelin_sandbox::clock::Clock;
use myelin_sandbox::kubernetes::controllers::{Config, Node, Workloads};
use myelin_sandbox::kubernetes::kubelet::logs::LogQuery;
use myelin_sandbox::kubernetes::patch::Patch;
use myelin_sandbox::kubernetes::registry::{Actor, DeleteOptions, Failure, Part, Propagation, Registry, WriteOptions};
use myelin_sandbox::kubernetes::store::{ChangeKind, Feed, Object};
use serde_json::{Value, json};

use super::case::{self, Case};

/// A change that was seen.
pub(crate) struct Seen {
    pub change: ChangeKind,
    pub object: Arc<Object>,
}

/// What came of a case.
pub(crate) struct Played {
    pub namespace: String,
    pub seen: Vec<Seen>,
    pub applied: Vec<Value>,
    pub steps: Vec<Value>,
    /// Steps that never ran and conditions that never held.
    pub problems: Vec<String>,
}

struct Player<'a> {
    case: &'a Case,
    namespace: String,
    registry: Arc<Registry>,
    workloads: Workloads,
    actor: Actor,
    feeds: BTreeMap<Arc<str>, Feed>,
    live: BTreeMap<(String, String), Arc<Object>>,
    seen: Vec<Seen>,
    start: i64,
}

/// The cluster that was recorded: one node of two cores, no provisioner.
fn cluster() -> Config {
    let node = Node {
        cpu: "2".to_owned(),
        memory: "8Gi".to_owned(),
        pods: 110,
        ..Node::named("node1")
    };
    Config {
        nodes: vec![node],
        provisioner: None,
        ..Config::default()
    }
}

pub(crate) fn play(case: &Case) -> Played {
    let clock = Clock::new(0.0);
    // Whole seconds begin when the case does.
    let into = clock.now().as_millisecond().rem_euclid(1000);
    clock.advance(Duration::from_millis(u64::try_from(1000 - into).unwrap()));
    let registry = Arc::new(Registry::new(clock, 1 << 20));
    registry.found();
    let workloads = Workloads::new(registry.clone(), cluster());
    let player = Player {
        case,
        namespace: "tl-0a1b2c3d".to_owned(),
        registry,
        workloads,
        actor: Actor::admin("timelines"),
        feeds: BTreeMap::new(),
        live: BTreeMap::new(),
        seen: Vec::new(),
        start: 0,
    };
    player.run()
}

fn outcome<T>(result: Result<T, Failure>, code: u16) -> Value {
    match result {
        Ok(_) => json!({"code": code}),
        Err(failure) => {
            let mut kept = json!({"code": failure.code, "reason": failure.reason, "message": failure.message});
            if let Some(causes) = failure.details.as_ref().and_then(|details| details.get("causes")) {
                kept["causes"] = causes.clone();
            }
            kept
        }
    }
}

impl Player<'_> {
    fn now(&self) -> i64 {
        self.registry.clock().now().as_millisecond()
    }

    /// Let everything happen that happens now, and take note of it. When the next thing will happen.
    fn settle(&mut self) -> Option<i64> {
        let due = self.workloads.settle().map(|at| at.as_millisecond());
        let names: Vec<Arc<str>> = self
            .registry
            .catalog()
            .served()
            .stored()
            .map(|resource| resource.storage.clone())
            .collect();
        for name in names {
            let table = self.registry.store().table(&name);
            self.feeds.entry(name).or_insert_with(|| Feed::new(table, 100));
        }
        let mut fresh: Vec<(u64, ChangeKind, Arc<Object>)> = Vec::new();
        for feed in self.feeds.values_mut() {
            while let Some(change) = feed.poll().unwrap() {
                fresh.push((change.revision, change.kind, change.object.clone()));
            }
        }
        fresh.sort_by_key(|(revision, ..)| *revision);
        for (_, change, object) in fresh {
            let of_cluster = object.namespace().is_empty() && object.name().contains(&self.namespace);
            if object.namespace() != self.namespace && !of_cluster {
                continue;
            }
            let key = (
                object.value()["kind"].as_str().unwrap().to_owned(),
                object.name().to_owned(),
            );
            if change == ChangeKind::Deleted {
                self.live.remove(&key);
            } else {
                self.live.insert(key, object.clone());
            }
            self.seen.push(Seen { change, object });
        }
        due
    }

    fn advance_to(&mut self, at: i64) {
        let span = at - self.now();
        if span > 0 {
            self.registry
                .clock()
                .advance(Duration::from_millis(u64::try_from(span).unwrap()));
        }
    }

    /// Step through everything that happens until a time.
    fn run_until(&mut self, at: i64) {
        loop {
            match self.settle() {
                Some(due) if due <= at => self.advance_to(due),
                _ => break,
            }
        }
        self.advance_to(at);
        self.settle();
    }

    fn run(mut self) -> Played {
        self.settle();
        let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": self.case.header.namespace_labels}});
        self.registry.create(&self.actor, "namespaces", "", space).unwrap();
        if self.case.header.wait_for_defaults {
            let at = self.now() + 2000;
            self.run_until(at);
        } else {
            // The real server makes a pod wait for its account; this one has it at once.
            self.settle();
        }
        self.start = self.now();
        let manifests = self.case.recording["manifests"].as_array().unwrap().clone();
        let mut applied = Vec::new();
        for manifest in &manifests {
            applied.push(self.apply(manifest));
            // The recorder's requests came some milliseconds apart.
            let at = self.now() + 6;
            self.run_until(at);
        }
        let (steps, problems) = self.play();
        Played {
            namespace: self.namespace,
            seen: self.seen,
            applied,
            steps,
            problems,
        }
    }

    fn holds(&self, condition: &str) -> bool {
        let condition = condition.replace("{{ns}}", &self.namespace);
        case::holds(
            &condition,
            self.live
                .iter()
                .map(|((kind, _), object)| (kind.as_str(), object.value())),
        )
    }

    fn all_hold(&self, conditions: &Value) -> bool {
        match conditions {
            Value::String(condition) => self.holds(condition),
            Value::Array(all) => all.iter().all(|condition| self.holds(condition.as_str().unwrap())),
            _ => true,
        }
    }

    fn play(&mut self) -> (Vec<Value>, Vec<String>) {
        let header = &self.case.header;
        let millis = |value: &Value| (value.as_f64().unwrap_or(0.0) * 1000.0) as i64;
        let mut pending: std::collections::VecDeque<Value> = header.steps.iter().cloned().collect();
        let deadline = self.start + (header.deadline * 1000.0) as i64;
        let (mut ready, mut reached): (Option<i64>, Option<i64>) = (None, None);
        let (mut done, mut problems) = (Vec::new(), Vec::new());
        loop {
            let next = self.settle();
            let now = self.now();
            let mut wake = deadline;
            if let Some(step) = pending.front().cloned() {
                if ready.is_none() && self.all_hold(&step["when"]) {
                    ready = Some(now);
                }
                let due = ready.map(|ready| (ready + millis(&step["after"])).max(self.start + millis(&step["at"])));
                match due {
                    Some(due) if due <= now => {
                        pending.pop_front();
                        ready = None;
                        let reply = self.act(&step);
                        done.push(reply);
                        continue;
                    }
                    Some(due) => wake = wake.min(due),
                    None => {}
                }
            } else if !header.until.is_empty() && header.until.iter().all(|condition| self.holds(condition)) {
                let since = *reached.get_or_insert(now);
                let end = since + (header.settle * 1000.0) as i64;
                if now >= end {
                    return (done, problems);
                }
                wake = wake.min(end);
            } else {
                reached = None;
            }
            if now >= deadline {
                problems.extend(pending.iter().map(|step| format!("a step never ran: {step}")));
                problems.extend(
                    header
                        .until
                        .iter()
                        .filter(|condition| !self.holds(condition))
                        .map(|condition| format!("never reached: {condition}")),
                );
                return (done, problems);
            }
            self.advance_to(next.map_or(wake, |next| next.min(wake)).max(now + 1));
        }
    }

    fn filled(&self, value: &Value) -> Value {
        serde_json::from_str(&value.to_string().replace("{{ns}}", &self.namespace)).unwrap()
    }

    fn apply(&self, manifest: &Value) -> Value {
        let manifest = self.filled(manifest);
        let (group, version) = manifest["apiVersion"]
            .as_str()
            .unwrap()
            .split_once('/')
            .unwrap_or(("", manifest["apiVersion"].as_str().unwrap()));
        let Some(resource) =
            self.registry
                .catalog()
                .served()
                .by_kind(group, version, manifest["kind"].as_str().unwrap())
        else {
            return json!({"code": 404, "reason": "NotFound", "message": "the server could not find the requested resource"});
        };
        let namespace = if resource.namespaced {
            self.namespace.as_str()
        } else {
            ""
        };
        let name = manifest["metadata"]["name"].as_str().unwrap().to_owned();
        let options = WriteOptions {
            force: true,
            ..WriteOptions::default()
        };
        let existed = self.registry.find(&resource.storage, namespace, &name).is_some();
        let result = self.registry.patch_in(
            &self.actor,
            &resource,
            namespace,
            &name,
            Part::Main,
            &Patch::Apply(manifest),
            &options,
        );
        outcome(result, if existed { 200 } else { 201 })
    }

    /// Resource, namespace and name of a step's target: what stays before what goes.
    fn target(&self, named: &str) -> (Arc<str>, String, String) {
        let named = named.replace("{{ns}}", &self.namespace);
        let (kind, pattern) = named.split_once('/').unwrap();
        let mut found: Vec<&Arc<Object>> = self
            .live
            .iter()
            .filter(|((k, name), _)| k == kind && case::target_fits(pattern, name))
            .map(|(_, object)| object)
            .collect();
        found.sort_by_key(|object| {
            (
                object.is_deleting(),
                self.seen.iter().position(|seen| seen.object.uid() == object.uid()),
            )
        });
        let object = found
            .first()
            .unwrap_or_else(|| panic!("{}: no {named}", self.case.name));
        let version = object.value()["apiVersion"].as_str().unwrap();
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = self.registry.catalog().served().by_kind(group, version, kind).unwrap();
        (
            resource.storage.clone(),
            object.namespace().to_owned(),
            object.name().to_owned(),
        )
    }

    fn act(&self, step: &Value) -> Value {
        if step["apply"].is_object() {
            return self.apply(&step["apply"]);
        }
        if let Some(named) = step["patch"].as_str() {
            let (resource, namespace, name) = self.target(named);
            let body = self.filled(&step["body"]);
            let patch = if body.is_array() {
                Patch::Json(body)
            } else if step["strategic"] == true {
                Patch::Strategic(body)
            } else {
                Patch::Merge(body)
            };
            let part = if step["subresource"] == "/status" {
                Part::Status
            } else {
                Part::Main
            };
            return outcome(
                self.registry
                    .patch(&self.actor, &resource, &namespace, &name, part, &patch),
                200,
            );
        }
        if let Some(named) = step["delete"].as_str() {
            let (resource, namespace, name) = self.target(named);
            let propagation = match step["options"]["propagationPolicy"].as_str() {
                Some("Background") => Some(Propagation::Background),
                Some("Foreground") => Some(Propagation::Foreground),
                Some("Orphan") => Some(Propagation::Orphan),
                _ => None,
            };
            let options = DeleteOptions {
                propagation,
                grace_period: step["options"]["gracePeriodSeconds"].as_i64(),
                ..DeleteOptions::default()
            };
            return outcome(
                self.registry
                    .delete(&self.actor, &resource, &namespace, &name, &options),
                200,
            );
        }
        if let Some(named) = step["evict"].as_str() {
            let (_, namespace, name) = self.target(named);
            return outcome(
                self.registry
                    .evict(&self.actor, &namespace, &name, &DeleteOptions::default()),
                201,
            );
        }
        if let Some(named) = step["logs"].as_str() {
            let (_, namespace, name) = self.target(named);
            let query = LogQuery {
                container: step["container"].as_str().unwrap_or_default().to_owned(),
                previous: step["previous"] == true,
                tail: Some(5),
                ..LogQuery::default()
            };
            return match self.workloads.logs(&namespace, &name, &query) {
                Ok(text) => json!({"code": 200, "log": String::from_utf8_lossy(&text)}),
                Err(failure) => outcome::<()>(Err(failure), 200),
            };
        }
        panic!("{}: a step that does nothing: {step}", self.case.name)
    }
}
