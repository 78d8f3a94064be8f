//! The systems under `examples/` from their git layouts: the same manifests as by Terraform, applied, changed, settled.

use crate::house::House;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{Api, PostParams};
use serde_json::json;
use std::path::Path;

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

/// A repository with an example's manifests and documents.
async fn house(example: &str) -> House {
    let house = House::new().await;
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example);
    for folder in ["k8s", "git"] {
        copy(&from.join(folder), &house.repository().join(folder));
    }
    house.commit("first", &[]);
    house
}

fn run(house: &House, verb: &str, code: i32) {
    let output = house.myelin(&[verb, "repository/git", "--root", "repository"]);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{verb}: {said}");
}

fn change(house: &House, file: &str, from: &str, to: &str) {
    let path = house.repository().join(file);
    let before = std::fs::read_to_string(&path).unwrap();
    assert!(before.contains(from), "{file} has no {from}");
    std::fs::write(path, before.replacen(from, to, 1)).unwrap();
    house.commit(&format!("change {file}"), &[]);
}

async fn image(house: &House, namespace: &str, name: &str) -> String {
    let api: Api<Deployment> = Api::namespaced(house.client.clone(), namespace);
    let found = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
    let image = &found["spec"]["template"]["spec"]["containers"][0]["image"];
    image.as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn somabrain_comes_up_from_git_and_a_commit_with_another_tag_is_a_release() {
    let house = house("somabrain").await;
    let namespaces: Api<Namespace> = Api::all(house.client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "somabrain-prod"}})).unwrap();
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    let commands = json!([{"command": ["pg_isready", "**"], "stdout": "accepting connections\n"}]).to_string();
    let canned = json!({"metadata": {"name": "sandbox-exec"}, "data": {"commands": commands}});
    let maps: Api<ConfigMap> = Api::namespaced(house.client.clone(), "somabrain-prod");
    let canned = serde_json::from_value(canned).unwrap();
    maps.create(&PostParams::default(), &canned).await.unwrap();

    // Of a program that the sandbox does not know it cannot tell that it ends.
    let ends = "      labels: {app: somabrain-migrate}\n      annotations: {sandbox.myelin.dev/crash-after: 1s, sandbox.myelin.dev/exit-code: '0'}\n";
    change(
        &house,
        "k8s/base/migrate/job.yaml",
        "      labels: {app: somabrain-migrate}\n",
        ends,
    );
    run(&house, "validate", 0);
    run(&house, "apply", 0);
    run(&house, "plan", 0);
    change(&house, "git/stack.yaml", "stable-20260101", "stable-20260102");
    run(&house, "plan", 2);
    run(&house, "apply", 0);
    run(&house, "plan", 0);
    let now = image(&house, "somabrain-prod", "somabrain").await;
    assert_eq!(now, "somatechlat/somabrain:stable-20260102");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_platform_comes_up_from_git() {
    let house = house("agent-platform").await;
    change(
        &house,
        "k8s/base/app/app.yaml",
        "name: synapse\nspec:\n  scaleTargetRef",
        "name: synapse\n  annotations: {sandbox.myelin.dev/metrics: steady}\nspec:\n  scaleTargetRef",
    );
    run(&house, "apply", 0);
    run(&house, "plan", 0);
    change(&house, "git/stack.yaml", "3.1.0", "3.2.0");
    run(&house, "apply", 0);
    run(&house, "plan", 0);
    assert_eq!(image(&house, "synapse-prod", "synapse").await, "synapse/core:3.2.0");
}

#[test]
fn every_git_layout_is_valid() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for example in ["matrix-synapse", "vertex-synapse", "somabrain", "agent-platform"] {
        let house = runtime.block_on(house(example));
        run(&house, "validate", 0);
    }
}
