//! The systems under `examples/`, as a user runs them: the module with the real `terraform`, from create to destroy. In
//! between, each test changes what its system is about.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use myelin_sandbox::kubernetes::registry::Actor;
use serde_json::{Value as Json, json};

use crate::stand::Stand;
use crate::terraform::text;

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A stand with an example's module instead of one of its own.
pub(crate) fn example(name: &str) -> Stand {
    let stand = Stand::new("");
    copy(&folder(name), &stand.path("."));
    stand.variable("kubeconfig", &stand.cluster.kubeconfig().display().to_string());
    stand
}

fn change(stand: &Stand, file: &str, from: &str, to: &str) {
    let before = std::fs::read_to_string(stand.path(file)).unwrap();
    assert!(before.contains(from), "{file} has no {from}");
    stand.file(file, &before.replacen(from, to, 1));
}

/// Creates what a file under `tests/cluster` describes, under another field manager.
fn kubectl(stand: &Stand, namespace: &str, file: &str) {
    let path = stand.path("tests/cluster/k8s").join(file);
    let run = |arguments: &[&str]| {
        let output = Command::new("kubectl")
            .args(arguments)
            .env("KUBECONFIG", stand.cluster.kubeconfig())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
    };
    if stand.cluster.object("namespaces", "", namespace).is_none() {
        run(&["create", "namespace", namespace]);
    }
    run(&["apply", "-n", namespace, "-f", path.to_str().unwrap()]);
}

fn object(stand: &Stand, resource: &str, namespace: &str, name: &str) -> Json {
    let found = stand.cluster.object(resource, namespace, name);
    found.unwrap_or_else(|| panic!("no {resource} {namespace}/{name}"))
}

#[test]
fn somabrain_migrates_again_rolls_on_overrides_and_goes_back_from_a_release_that_does_not_answer() {
    const NAMESPACE: &str = "somabrain-dev";
    let stand = example("somabrain");
    kubectl(&stand, NAMESPACE, "sandbox.yaml");
    stand.apply();
    let job = || object(&stand, "jobs.batch", NAMESPACE, "somabrain-migrate");
    let api = || object(&stand, "deployments.apps", NAMESPACE, "somabrain");
    let first = job()["metadata"]["uid"].clone();
    assert_eq!(job()["status"]["succeeded"], 1);

    // Every apply watches what it started for seven seconds, so this goes through no more releases than it needs.
    // First one whose pods are ready and whose API does not answer.
    let broken = r#"      labels: {app: somabrain}
      annotations: {sandbox.myelin.dev/http: '[{"path": "/health", "status": 500, "body": "no tables"}]'}
"#;
    change(
        &stand,
        "k8s/base/api/api.yaml",
        "      labels: {app: somabrain}\n",
        broken,
    );
    change(&stand, "main.tf", "timeout = \"1m\"", "timeout = \"2s\"");
    stand.variable("image_tag", "stable-20260102");
    let failed = stand.try_apply();
    let shown = text(&failed);
    assert!(!failed.status.success(), "{shown}");
    for part in [
        "the verification of component api failed",
        "answered 500",
        "no tables",
        "rolled back to its last good state",
    ] {
        // Terraform wraps what it shows.
        let flat = shown
            .replace(['\n', '│'], " ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        assert!(flat.contains(part), "{part}: {shown}");
    }
    assert_eq!(
        api()["spec"]["template"]["spec"]["containers"][0]["image"],
        "somatechlat/somabrain:stable-20260101"
    );
    assert!(
        stand
            .cluster
            .object("jobs.batch", NAMESPACE, "somabrain-migrate")
            .is_none()
    );
    let state = stand.state()["attributes"].clone();
    assert_eq!(state["ready"], true);

    // Mended, it goes through; a change of the overrides alone rolls the pods.
    change(
        &stand,
        "k8s/base/api/api.yaml",
        broken,
        "      labels: {app: somabrain}\n",
    );
    stand.apply_at_once();
    assert_ne!(job()["metadata"]["uid"], first, "the migration ran again");
    for object in [job(), api()] {
        assert_eq!(
            object["spec"]["template"]["spec"]["containers"][0]["image"],
            "somatechlat/somabrain:stable-20260102"
        );
    }
    let generation = api()["metadata"]["generation"].as_i64();
    change(
        &stand,
        "k8s/base/api/overrides.yaml",
        "\ndata:\n",
        "\ndata:\n  fix.py: print('fixed')\n",
    );
    stand.apply();
    assert_eq!(
        api()["metadata"]["generation"].as_i64(),
        generation.map(|g| g + 1),
        "the pods rolled"
    );
    stand.destroy();
    assert!(
        stand
            .cluster
            .object("deployments.apps", NAMESPACE, "somabrain")
            .is_none()
    );
}

#[test]
fn the_agent_platform_leaves_its_replicas_to_the_autoscaler() {
    const NAMESPACE: &str = "synapse-dev";
    let stand = example("agent-platform");
    kubectl(&stand, NAMESPACE, "sandbox.yaml");
    stand.apply();
    let somebody = Actor::admin("kube-controller-manager");
    let scale = |replicas: i64| {
        stand
            .cluster
            .registry()
            .modify(&somebody, "deployments.apps", NAMESPACE, "synapse", |object| {
                object["spec"]["replicas"] = json!(replicas);
            })
            .unwrap();
    };
    scale(2);
    stand.assert_settled();
    stand.variable("image_tag", "3.2.0");
    change(&stand, "k8s/base/monitoring/monitoring.yaml", "> 0.1", "> 0.2");
    stand.apply();
    let app = object(&stand, "deployments.apps", NAMESPACE, "synapse");
    assert_eq!(app["spec"]["replicas"], 2, "the autoscaler's number was fought");
    assert_eq!(
        app["spec"]["template"]["spec"]["containers"][0]["image"],
        "synapse/core:3.2.0"
    );
    stand.destroy();
    assert!(stand.cluster.object("deployments.apps", NAMESPACE, "synapse").is_none());
    assert!(
        stand
            .cluster
            .object("persistentvolumeclaims", NAMESPACE, "backup")
            .is_some(),
        "data stays"
    );
}

#[test]
fn matrix_synapse_waits_for_the_operators_and_refuses_placeholders_and_a_second_main_process() {
    let mut stand = example("matrix-synapse");
    stand.variable("server_name", "matrix.example.com");
    for secret in ["not-a-real-password-1", "not-a-real-password-2", "not-a-real-key-4"] {
        stand.secret(secret);
    }
    kubectl(&stand, "matrix", "definitions.yaml");
    // Of phase 1 only the definitions are there: a plan says so and is no error.
    let (code, shown) = stand.plan();
    assert!(
        code == Some(2) && shown.contains("requires what is not there"),
        "{shown}"
    );
    kubectl(&stand, "matrix", "phase-1.yaml");
    let registry = stand.cluster.registry().clone();
    let set = move |resource: &str, name: &str, status: Json| {
        let operator = Actor::admin("operator");
        registry
            .modify_status(&operator, resource, "matrix", name, |object| {
                object["status"] = status.clone();
            })
            .unwrap();
    };
    let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status, "reason": "ClusterIsReady"}]});
    // The operators take their time: there is a status that is not ready, and the stack must wait.
    set("clusters.postgresql.cnpg.io", "matrix-postgresql", ready("False"));
    set(
        "tenants.minio.min.io",
        "minio",
        json!({"currentState": "Provisioning initial users"}),
    );
    let now = ready("True");
    let registry = stand.cluster.registry().clone();
    let operators = std::thread::spawn(move || {
        // Once the stack's record is there, the apply is under way.
        let end = Instant::now() + Duration::from_secs(60);
        while registry.find("secrets", "matrix", "myelin-stack-synapse").is_none() {
            assert!(Instant::now() < end, "no apply began");
            std::thread::sleep(Duration::from_millis(20));
        }
        let early = registry.find("configmaps", "matrix", "synapse-config").is_some();
        set("clusters.postgresql.cnpg.io", "matrix-postgresql", now);
        set("tenants.minio.min.io", "minio", json!({"currentState": "Initialized"}));
        assert!(!early, "something began before what it requires was ready");
    });
    stand.apply();
    operators.join().unwrap();

    let secrets = object(&stand, "secrets", "matrix", "synapse-secrets");
    assert_eq!(secrets["data"].as_object().map(serde_json::Map::len), Some(6));
    for value in secrets["data"].as_object().unwrap().values() {
        let minted = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, value.as_str().unwrap());
        stand.secret(&String::from_utf8(minted.unwrap()).unwrap());
    }
    stand.search_again();
    for name in [
        "synapse-main",
        "synapse-client",
        "synapse-federation",
        "synapse-metrics",
    ] {
        object(&stand, "services", "matrix", name);
    }
    let budget = object(&stand, "poddisruptionbudgets.policy", "matrix", "synapse-main");
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    let monitors = stand
        .cluster
        .registry()
        .list("servicemonitors.monitoring.coreos.com", Some("matrix"), None);
    assert_eq!(monitors.unwrap().len(), 1);
    let memory = || {
        let main = object(&stand, "statefulsets.apps", "matrix", "synapse-main");
        main["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"].clone()
    };
    assert_eq!(memory(), "2Gi");

    // Another size rolls the one pod; the secrets stay.
    for (size, wanted) in [("medium", "4Gi"), ("large", "8Gi")] {
        stand.variable("size", size);
        stand.apply();
        assert_eq!(memory(), wanted);
    }
    assert_eq!(
        object(&stand, "secrets", "matrix", "synapse-secrets")["data"],
        secrets["data"]
    );

    // Guards speak at plan, with file and line.
    let (set_of_one, settings) = ("k8s/base/main/statefulset.yaml", "k8s/base/config/homeserver.yaml");
    change(&stand, set_of_one, "replicas: 1", "replicas: 2");
    change(&stand, settings, "report_stats: false", "report_stats: CHANGEME_STATS");
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(1), "{shown}");
    for part in [
        "the main process runs exactly once",
        "CHANGEME_STATS",
        "homeserver.yaml:10",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    change(&stand, set_of_one, "replicas: 2", "replicas: 1");
    change(&stand, settings, "report_stats: CHANGEME_STATS", "report_stats: false");
    stand.destroy();
    for (resource, name) in [
        ("clusters.postgresql.cnpg.io", "matrix-postgresql"),
        ("statefulsets.apps", "redis"),
        ("persistentvolumeclaims", "data-synapse-main-0"),
    ] {
        object(&stand, resource, "matrix", name);
    }
    assert!(
        stand
            .cluster
            .object("statefulsets.apps", "matrix", "synapse-main")
            .is_none()
    );
}

/// `terraform test` as a user runs it: with the cluster's kubeconfig in the environment, and nothing but the example's own files.
pub(crate) fn a_user_tests(stand: &Stand, runs: usize) {
    let got = stand.run(&["get", "-no-color"]);
    assert!(got.status.success(), "{}", text(&got));
    let output = stand.run(&["test", "-no-color"]);
    let shown = text(&output);
    assert!(
        output.status.success() && shown.contains(&format!("{runs} passed, 0 failed")),
        "{shown}"
    );
}

#[test]
fn the_terraform_test_of_vertex_synapse_passes() {
    a_user_tests(&example("vertex-synapse"), 2);
}

#[test]
fn the_terraform_test_of_matrix_synapse_passes() {
    a_user_tests(&example("matrix-synapse"), 3);
}

#[test]
fn the_terraform_test_of_the_agent_platform_passes() {
    a_user_tests(&example("agent-platform"), 2);
}

#[test]
fn the_terraform_test_of_somabrain_passes() {
    a_user_tests(&example("somabrain"), 3);
}
