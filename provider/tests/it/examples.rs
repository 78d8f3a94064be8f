//! The systems under `examples/`, as a user runs them: the module with the real `terraform`, from nothing to gone. What each test
//! changes in between is what its system is about.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use myelin_sandbox::kubernetes::registry::Actor;
use serde_json::{Value as Json, json};

use crate::stand::Stand;
use crate::terraform::text;

fn folder(name: &str) -> PathBuf {
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
fn example(name: &str) -> Stand {
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

fn made(stand: &Stand, namespace: &str, object: Json) {
    let resource = match object["kind"].as_str().unwrap() {
        "Namespace" => "namespaces",
        "ConfigMap" => "configmaps",
        other => panic!("{other}"),
    };
    let somebody = Actor::admin("kubectl");
    stand
        .cluster
        .registry()
        .create(&somebody, resource, namespace, object)
        .unwrap();
}

/// What the sandbox has to be told to play SomaBrain: its pods answer `pg_isready`, and the migration ends, which of a program that
/// it does not know it cannot tell.
fn play_somabrain(stand: &Stand, namespace: &str) {
    let ends = "      labels: {app: somabrain-migrate}\n      annotations: {sandbox.myelin.dev/crash-after: 1s, sandbox.myelin.dev/exit-code: '0'}\n";
    change(
        stand,
        "k8s/base/migrate/job.yaml",
        "      labels: {app: somabrain-migrate}\n",
        ends,
    );
    made(
        stand,
        "",
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}),
    );
    let commands = json!([{"command": ["pg_isready", "**"], "stdout": "accepting connections\n"}]).to_string();
    made(
        stand,
        namespace,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "sandbox-exec"}, "data": {"commands": commands}}),
    );
}

fn object(stand: &Stand, resource: &str, namespace: &str, name: &str) -> Json {
    let found = stand.cluster.object(resource, namespace, name);
    found.unwrap_or_else(|| panic!("no {resource} {namespace}/{name}"))
}

#[test]
fn somabrain_migrates_again_rolls_on_overrides_and_goes_back_from_a_release_that_does_not_answer() {
    const NAMESPACE: &str = "somabrain-dev";
    let stand = example("somabrain");
    play_somabrain(&stand, NAMESPACE);
    stand.apply();
    let job = || object(&stand, "jobs.batch", NAMESPACE, "somabrain-migrate");
    let api = || object(&stand, "deployments.apps", NAMESPACE, "somabrain");
    let first = job()["metadata"]["uid"].clone();
    assert_eq!(job()["status"]["succeeded"], 1);

    stand.variable("image_tag", "stable-20260102");
    stand.apply();
    assert_ne!(job()["metadata"]["uid"], first, "the migration ran again");
    assert_eq!(
        api()["spec"]["template"]["spec"]["containers"][0]["image"],
        "somatechlat/somabrain:stable-20260102"
    );

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

    // A release whose pods are ready and whose API does not answer.
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
    stand.variable("image_tag", "stable-20260103");
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
        "somatechlat/somabrain:stable-20260102"
    );
    assert!(
        stand
            .cluster
            .object("jobs.batch", NAMESPACE, "somabrain-migrate")
            .is_none()
    );
    let state = stand.state()["attributes"].clone();
    assert_eq!(state["ready"], true);

    // Mended, it goes through.
    change(
        &stand,
        "k8s/base/api/api.yaml",
        broken,
        "      labels: {app: somabrain}\n",
    );
    stand.apply();
    assert_eq!(
        job()["spec"]["template"]["spec"]["containers"][0]["image"],
        "somatechlat/somabrain:stable-20260103"
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
fn matrix_synapse_waits_for_the_operators_and_refuses_placeholders_and_a_second_main_process() {
    let stand = example("matrix-synapse");
    stand.variable("server_name", "matrix.example.com");
    // Of a program that the sandbox does not know it cannot tell that it ends.
    let labels = "app.kubernetes.io/instance: main}\n    spec:\n      termination";
    let ends = "app.kubernetes.io/instance: main}\n      annotations:\n        sandbox.myelin.dev/crash-after.generate-config: 1s\n        sandbox.myelin.dev/exit-code.generate-config: '0'\n    spec:\n      termination";
    change(&stand, "k8s/base/main/statefulset.yaml", labels, ends);
    let kubectl = |file: &str| {
        // Right after a definition its kind may not be served yet: kubectl is asked again.
        let mut said = String::new();
        let done = (0..50).any(|_| {
            let output = Command::new("kubectl")
                .args(["apply", "--validate=false", "-f"])
                .arg(folder("matrix-synapse").join("tests/cluster").join(file))
                .env("KUBECONFIG", stand.cluster.kubeconfig())
                .output()
                .unwrap();
            said = text(&output);
            output.status.success() || {
                std::thread::sleep(Duration::from_millis(100));
                false
            }
        });
        assert!(done, "{said}");
    };
    kubectl("definitions.yaml");
    // Of phase 1 only the definitions are there: a plan says so and is no error.
    let (code, shown) = stand.plan();
    assert!(
        code == Some(2) && shown.contains("requires what is not there"),
        "{shown}"
    );
    kubectl("phase-1.yaml");
    let operator = {
        let registry = stand.cluster.registry().clone();
        // The operators take their time: first there is a status that is not ready, and the stack must wait.
        let set = move |resource: &str, name: &str, status: Json| {
            let somebody = Actor::admin("operator");
            registry
                .modify_status(&somebody, resource, "matrix", name, |object| {
                    object["status"] = status.clone()
                })
                .unwrap();
        };
        let condition =
            |status: &str| json!({"conditions": [{"type": "Ready", "status": status, "reason": "ClusterIsReady"}]});
        set("clusters.postgresql.cnpg.io", "matrix-postgresql", condition("False"));
        set(
            "tenants.minio.min.io",
            "minio",
            json!({"currentState": "Provisioning initial users"}),
        );
        let registry = stand.cluster.registry().clone();
        std::thread::spawn(move || {
            // Once the stack's record is there, the apply is under way.
            while registry.find("secrets", "matrix", "myelin-stack-synapse").is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(registry.find("statefulsets.apps", "matrix", "synapse-main").is_none());
            set("clusters.postgresql.cnpg.io", "matrix-postgresql", condition("True"));
            set("tenants.minio.min.io", "minio", json!({"currentState": "Initialized"}));
        })
    };
    stand.apply();
    operator.join().unwrap();
    let secrets = object(&stand, "secrets", "matrix", "synapse-secrets");
    assert_eq!(secrets["data"].as_object().map(serde_json::Map::len), Some(6));
    let main = || object(&stand, "statefulsets.apps", "matrix", "synapse-main");
    assert_eq!(
        main()["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"],
        "2Gi"
    );

    // Another size rolls the one pod; the secrets stay.
    stand.variable("size", "medium");
    stand.apply();
    assert_eq!(
        main()["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["memory"],
        "4Gi"
    );
    assert_eq!(
        object(&stand, "secrets", "matrix", "synapse-secrets")["data"],
        secrets["data"]
    );

    // Guards speak at plan, with file and line.
    change(&stand, "k8s/base/main/statefulset.yaml", "replicas: 1", "replicas: 2");
    change(
        &stand,
        "k8s/base/config/homeserver.yaml",
        "report_stats: false",
        "report_stats: CHANGEME_STATS",
    );
    let (code, shown) = stand.plan();
    assert_eq!(code, Some(1), "{shown}");
    for part in [
        "the main process runs exactly once",
        "CHANGEME_STATS",
        "homeserver.yaml:9",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    change(&stand, "k8s/base/main/statefulset.yaml", "replicas: 2", "replicas: 1");
    change(
        &stand,
        "k8s/base/config/homeserver.yaml",
        "report_stats: CHANGEME_STATS",
        "report_stats: false",
    );
    stand.assert_settled();
    stand.destroy();
    assert!(
        stand
            .cluster
            .object("clusters.postgresql.cnpg.io", "matrix", "matrix-postgresql")
            .is_some()
    );
}

#[test]
fn the_agent_platform_leaves_its_replicas_to_the_autoscaler() {
    const NAMESPACE: &str = "synapse-dev";
    let stand = example("agent-platform");
    // The sandbox has no metrics server; this stands for one.
    let steady = "name: synapse\n  annotations: {sandbox.myelin.dev/metrics: steady}\nspec:\n  scaleTargetRef";
    change(
        &stand,
        "k8s/base/app/app.yaml",
        "name: synapse\nspec:\n  scaleTargetRef",
        steady,
    );
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
fn a_users_terraform_test_passes() {
    let stand = example("somabrain");
    play_somabrain(&stand, "somabrain-dev");
    let output = stand.run(&["test", "-no-color"]);
    let shown = text(&output);
    assert!(
        output.status.success() && shown.contains("2 passed, 0 failed"),
        "{shown}"
    );
}
