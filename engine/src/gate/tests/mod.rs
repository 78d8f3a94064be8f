//! Rules that the recordings taught, each by a small case of its own.

mod objects;
mod pods;
mod workloads;

use super::*;
use serde_json::{Value, json};

/// A namespace, a clock and one gate.
struct World {
    sights: Sights,
    gate: Gate,
    now: i64,
    settings: Settings,
}

impl World {
    fn new(group: &str, kind: &str, name: &str) -> Self {
        let namespaced = !matches!(kind, "Namespace" | "CustomResourceDefinition" | "APIService");
        let key = ObjectKey::new(group, kind, if namespaced { "shop" } else { "" }, name);
        let applied = Applied {
            at: Moment(0),
            generation: Some(1),
            has_status: None,
        };
        Self {
            sights: Sights::default(),
            gate: Gate::new(key, applied),
            now: 0,
            settings: Settings::default(),
        }
    }

    fn see(&mut self, value: &Value) -> &mut Self {
        self.sights.see(Change::Set(value), Moment(self.now));
        self
    }

    fn gone(&mut self, value: &Value) -> &mut Self {
        self.sights.see(Change::Gone(value), Moment(self.now));
        self
    }

    fn event(&mut self, kind: &str, name: &str, container: &str, reason: &str, message: &str) -> &mut Self {
        let api = match kind {
            "Job" => "batch/v1",
            "StatefulSet" | "ReplicaSet" => "apps/v1",
            _ => "v1",
        };
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": "shop", "name": "e"},
            "reason": reason, "message": message,
            "involvedObject": {"apiVersion": api, "kind": kind, "namespace": "shop", "name": name,
                               "fieldPath": format!("spec.containers{{{container}}}")}});
        self.see(&event)
    }

    /// This many milliseconds later.
    fn later(&mut self, ms: i64) -> &mut Self {
        self.now += ms;
        self
    }

    fn look(&mut self) -> Verdict {
        self.gate.look(&self.sights, &self.settings, Moment(self.now))
    }

    #[track_caller]
    fn is(&mut self, state: State, heals: Option<Heals>, words: &str) -> Verdict {
        let verdict = self.look();
        assert_eq!((verdict.state, verdict.heals), (state, heals), "{}", verdict.why());
        assert!(
            verdict.why().contains(words),
            "\"{words}\" is not in: {}",
            verdict.why()
        );
        verdict
    }
}

fn owned(mut value: Value, kind: &str, api: &str, name: &str) -> Value {
    value["metadata"]["ownerReferences"] = json!([{"apiVersion": api, "kind": kind, "name": name, "controller": true}]);
    value
}

/// A Deployment of this many pods whose counts and conditions are right.
fn deployment(replicas: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "shop", "name": "web", "uid": "web", "generation": 1},
        "spec": {"replicas": replicas, "template": template(), "progressDeadlineSeconds": 600},
        "status": {"observedGeneration": 1, "replicas": replicas, "updatedReplicas": replicas,
            "readyReplicas": replicas, "availableReplicas": replicas,
            "conditions": [{"type": "Available", "status": "True"},
                           {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}]}})
}

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "shop/web:1"}]}})
}

fn replica_set(replicas: i64) -> Value {
    let mut template = template();
    template["metadata"]["labels"]["pod-template-hash"] = json!("1");
    let set = json!({"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "metadata": {"namespace": "shop", "name": "web-1", "uid": "web-1", "generation": 1},
        "spec": {"replicas": replicas, "template": template},
        "status": {"observedGeneration": 1, "replicas": replicas}});
    owned(set, "Deployment", "apps/v1", "web")
}

fn stateful_set(replicas: i64, ready: i64) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"namespace": "shop", "name": "db", "uid": "db", "generation": 1},
        "spec": {"replicas": replicas, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}},
        "status": {"observedGeneration": 1, "replicas": replicas, "readyReplicas": ready, "availableReplicas": ready,
            "updatedReplicas": replicas, "currentRevision": "db-1", "updateRevision": "db-1"}})
}

/// A running pod of one container, ready, with a readiness probe.
fn bare_pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "shop", "name": name, "uid": name},
        "spec": {"nodeName": "n", "restartPolicy": "Always", "containers": [{"name": "c", "readinessProbe": {}}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [container("c", true, 0, &json!({"running": {}}), None)]}})
}

fn web_pod() -> Value {
    owned(bare_pod("web-1-a"), "ReplicaSet", "apps/v1", "web-1")
}

fn db_pod(ordinal: i64, revision: &str) -> Value {
    let mut pod = owned(bare_pod(&format!("db-{ordinal}")), "StatefulSet", "apps/v1", "db");
    pod["metadata"]["labels"] = json!({"controller-revision-hash": revision});
    pod
}

fn container(name: &str, ready: bool, restarts: i64, state: &Value, last: Option<&Value>) -> Value {
    json!({"name": name, "ready": ready, "started": ready, "restartCount": restarts, "state": state,
           "lastState": last.map_or_else(|| json!({}), |l| json!({"terminated": l}))})
}

/// The pod with its container in this state; not ready unless it runs.
fn with(mut pod: Value, restarts: i64, state: &Value, last: Option<&Value>) -> Value {
    let ready = state.get("running").is_some();
    pod["status"]["containerStatuses"] = json!([container("c", ready, restarts, state, last)]);
    pod["status"]["conditions"] = json!([{"type": "Ready", "status": if ready { "True" } else { "False" }}]);
    if state["waiting"]["reason"] == "ContainerCreating" {
        pod["status"]["phase"] = json!("Pending");
    }
    pod
}

fn unprobed(mut pod: Value) -> Value {
    pod["spec"]["containers"] = json!([{"name": "c"}]);
    pod
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({"waiting": {"reason": reason, "message": message}})
}

fn ended(code: i64, reason: &str, message: &str) -> Value {
    json!({"exitCode": code, "reason": reason, "message": message})
}

fn down(exit: &Value) -> Value {
    json!({"terminated": exit})
}

fn running() -> Value {
    json!({"running": {}})
}
