//! The systems under `examples/`, as a user runs them: the module with the real `terraform`, from nothing to gone. What each test
//! changes in between is what its system is about.

use std::path::{Path, PathBuf};

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
