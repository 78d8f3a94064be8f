//! What containers do when the sandbox is slow, and how annotations change that.

use std::sync::Arc;
use std::time::Duration;

use myelin_sandbox::clock::Clock;
use myelin_sandbox::kubernetes::controllers::{Config, Workloads};
use myelin_sandbox::kubernetes::registry::{Actor, Registry};
use serde_json::{Value, json};

/// A cluster on a clock that is stepped by hand.
struct Cluster {
    registry: Arc<Registry>,
    workloads: Workloads,
}

impl Cluster {
    fn new() -> Self {
        let registry = Arc::new(Registry::new(Clock::new(0.0), 100_000));
        registry.found();
        let workloads = Workloads::new(registry.clone(), Config::default());
        workloads.settle();
        Self { registry, workloads }
    }

    fn create(&self, resource: &str, object: Value) {
        self.registry
            .create(&Actor::admin("test"), resource, "default", object)
            .unwrap();
        self.workloads.settle();
    }

    /// Let time pass in steps that are much longer than what happens in them.
    fn pass(&self, seconds: u64, step: Duration) {
        let mut left = Duration::from_secs(seconds);
        while !left.is_zero() {
            self.registry.clock().advance(step.min(left));
            left = left.saturating_sub(step);
            self.workloads.settle();
        }
    }

    fn pod(&self, name: &str) -> Value {
        self.registry.get("pods", "default", name).unwrap().value().clone()
    }
}

fn restarts(pod: &Value) -> Vec<i64> {
    let all = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    all.map(|status| status["restartCount"].as_i64().unwrap()).collect()
}

#[test]
fn init_containers_that_succeed_run_once_however_coarse_the_clock_is() {
    for millis in [1, 13, 90, 250, 700, 1_300, 5_000] {
        let cluster = Cluster::new();
        cluster.create(
            "pods",
            json!({"metadata": {"name": "p"}, "spec": {
                "initContainers": [
                    {"name": "a", "image": "busybox:1.36", "command": ["true"]},
                    {"name": "b", "image": "busybox:1.36", "command": ["sh", "-c", "until nc -z kubernetes.default 443; do sleep 2; done"]},
                ],
                "containers": [{"name": "c", "image": "busybox:1.36", "command": ["sleep", "3600"]}],
            }}),
        );
        // Every latency takes at least a step.
        cluster.pass(40 + millis / 10, Duration::from_millis(millis));
        let pod = cluster.pod("p");
        assert_eq!(pod["status"]["phase"], "Running", "steps of {millis} ms");
        assert_eq!(restarts(&pod), [0, 0, 0], "steps of {millis} ms: {}", pod["status"]);
    }
}

#[test]
fn annotations_make_a_pod_crash_and_then_recover_or_stay_unready() {
    let cluster = Cluster::new();
    let pod = |name: &str, annotations: Value| {
        json!({"metadata": {"name": name, "annotations": annotations}, "spec": {"containers": [
            {"name": "c", "image": "example/server:1", "readinessProbe": {"tcpSocket": {"port": 80}, "periodSeconds": 1}},
        ]}})
    };
    // A namespace of an image that has no host is on the default registry.
    cluster.create("pods", pod("crash", json!({"sandbox.myelin.dev/crash-after": "2s", "sandbox.myelin.dev/crash-times": "1", "sandbox.myelin.dev/exit-code": "7"})));
    cluster.create("pods", pod("never", json!({"sandbox.myelin.dev/never-ready": "true"})));
    cluster.create("pods", pod("late", json!({"sandbox.myelin.dev/ready-after": "20s"})));
    cluster.pass(12, Duration::from_millis(100));
    let ready = |name: &str| cluster.pod(name)["status"]["containerStatuses"][0]["ready"] == true;
    assert_eq!(
        cluster.pod("crash")["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"],
        7
    );
    assert!(ready("crash") && !ready("never") && !ready("late"));
    cluster.pass(15, Duration::from_millis(100));
    assert!(ready("late") && !ready("never"));
}

#[test]
fn a_deleted_namespace_is_gone_when_its_last_finalizer_is() {
    let cluster = Cluster::new();
    cluster
        .registry
        .create(
            &Actor::admin("test"),
            "namespaces",
            "",
            json!({"metadata": {"name": "n"}}),
        )
        .unwrap();
    cluster.workloads.settle();
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.test/hold"]}});
    cluster
        .registry
        .create(&Actor::admin("test"), "configmaps", "n", held)
        .unwrap();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "busybox:1.36", "command": ["sleep", "3600"]}]}});
    cluster
        .registry
        .create(&Actor::admin("test"), "pods", "n", pod)
        .unwrap();
    cluster.pass(3, Duration::from_millis(50));
    cluster
        .registry
        .delete(&Actor::admin("test"), "namespaces", "", "n", &Default::default())
        .unwrap();
    cluster.pass(12, Duration::from_millis(50));
    let space = cluster.registry.get("namespaces", "", "n").unwrap();
    let remaining = space.value()["status"]["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["type"] == "NamespaceFinalizersRemaining")
        .unwrap()
        .clone();
    assert_eq!(
        remaining["message"],
        "Some content in the namespace has finalizers remaining: example.test/hold in 1 resource instances"
    );
    cluster
        .registry
        .modify(&Actor::admin("test"), "configmaps", "n", "held", |map| {
            map["metadata"]["finalizers"] = Value::Null;
        })
        .unwrap();
    cluster.pass(15, Duration::from_millis(50));
    let left = cluster.registry.find("namespaces", "", "n");
    assert!(left.is_none(), "{}", left.unwrap().value());
}

#[test]
fn a_claim_that_is_deleted_with_its_pod_is_made_anew_for_the_next_one() {
    let cluster = Cluster::new();
    cluster.create(
        "statefulsets.apps",
        json!({"metadata": {"name": "db"}, "spec": {
            "serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"terminationGracePeriodSeconds": 1, "containers": [
                {"name": "c", "image": "busybox:1.36", "command": ["sleep", "3600"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            ]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}],
        }}),
    );
    cluster.pass(5, Duration::from_millis(50));
    let claim = || {
        cluster
            .registry
            .get("persistentvolumeclaims", "default", "data-db-0")
            .unwrap()
    };
    let (old_claim, old_pod) = (claim().uid().to_owned(), cluster.pod("db-0")["metadata"]["uid"].clone());
    assert_eq!(cluster.pod("db-0")["status"]["phase"], "Running");
    let actor = Actor::admin("test");
    cluster
        .registry
        .delete(
            &actor,
            "persistentvolumeclaims",
            "default",
            "data-db-0",
            &Default::default(),
        )
        .unwrap();
    cluster.pass(2, Duration::from_millis(50));
    assert!(claim().is_deleting(), "a claim that a running pod uses stays");
    cluster
        .registry
        .delete(&actor, "pods", "default", "db-0", &Default::default())
        .unwrap();
    cluster.pass(20, Duration::from_millis(50));
    assert_ne!(claim().uid(), old_claim);
    assert_eq!(claim().value()["status"]["phase"], "Bound");
    let pod = cluster.pod("db-0");
    assert_ne!(pod["metadata"]["uid"], old_pod);
    assert_eq!(pod["status"]["phase"], "Running", "{}", pod["status"]);
}

#[test]
fn a_container_that_is_started_with_a_canned_command_prints_what_is_written_down_and_ends() {
    let cluster = Cluster::new();
    let commands = json!([
        {"command": ["python3", "-c", "*"], "stdout": "configuration written\n"},
        {"command": ["migrate", "up"], "stderr": "no such table\n", "exitCode": 4}]);
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sandbox-exec"}, "data": {"commands": commands.to_string()}});
    cluster.create("configmaps", map);
    let pod = |name: &str, init: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"restartPolicy": "Never",
            "initContainers": [{"name": "first", "image": "matrixdotorg/synapse:v1", "command": init}],
            "containers": [{"name": "main", "image": "matrixdotorg/synapse:v1"}]}})
    };
    cluster.create("pods", pod("well", json!(["python3", "-c", "print(1)"])));
    cluster.create("pods", pod("ill", json!(["migrate", "up"])));
    cluster.create("pods", pod("unknown", json!(["serve"])));
    cluster.pass(30, Duration::from_millis(250));
    let first = |name: &str| cluster.pod(name)["status"]["initContainerStatuses"][0]["state"].clone();
    assert_eq!(cluster.pod("well")["status"]["phase"], "Running");
    assert_eq!(first("well")["terminated"]["exitCode"], 0);
    assert_eq!(cluster.pod("ill")["status"]["phase"], "Failed");
    assert_eq!(first("ill")["terminated"]["exitCode"], 4);
    assert!(
        first("unknown")["running"].is_object(),
        "of a program that nobody described nothing is known"
    );
}
