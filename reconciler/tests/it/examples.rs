//! The systems under `examples/` from their git layouts: the same manifests as with Terraform, applied by `myelin
//! apply`, changed by a commit that `myelin run` takes, and removed by a commit that is confirmed. After each step a
//! plan is empty.
//!
//! The provider's tests cover what each system is about (guards, migrations, autoscalers), with the modules.

use crate::house::House;
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

/// An example, and what its life needs to be told.
struct Example {
    name: &'static str,
    namespace: &'static str,
    /// Files under `tests/cluster/k8s`: what is there before it.
    before: &'static [&'static str],
    /// A text in the document, and what a commit makes of it.
    change: (&'static str, &'static str),
    /// What shows the change: resource/name, a path in it, and its value afterwards.
    shown: (&'static str, &'static str, &'static str),
}

const IMAGE: &str = "jsonpath={.spec.template.spec.containers[0].image}";

impl Example {
    async fn house(&self) -> House {
        let house = House::new().await;
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../examples")
            .join(self.name);
        for folder in ["k8s", "git"] {
            copy(&from.join(folder), &house.repository().join(folder));
        }
        if !self.before.is_empty() {
            house.kubectl(&["create", "namespace", self.namespace]);
        }
        for file in self.before {
            let file = from.join("tests/cluster/k8s").join(file);
            house.kubectl(&["apply", "-n", self.namespace, "-f", file.to_str().unwrap()]);
        }
        house.commit("first", &[]);
        house
    }

    async fn lives(&self, house: &House) {
        let local = |verb: &'static str| [verb, "repository/git", "--root", "repository"];
        house.says(0, &local("validate"));
        house.says(2, &local("plan"));
        house.says(0, &local("apply"));
        house.says(0, &local("plan"));

        let document = house.repository().join("git/stack.yaml");
        let text = std::fs::read_to_string(&document).unwrap();
        let (from, to) = self.change;
        assert!(text.contains(from), "{} has no {from}", self.name);
        std::fs::write(&document, text.replace(from, to)).unwrap();
        let second = house.commit("another release", &[]);
        house.says(2, &local("plan"));
        let url = format!("file://{}", house.repository().display());
        let _reconciler = house.reconciler_of(&["--url", &url, "--path", "git"]);
        house.reaches("ready", &second).await;
        house.says(0, &local("plan"));
        let (what, path, wanted) = self.shown;
        let look = || house.kubectl(&["get", what, "-n", self.namespace, "--ignore-not-found", "-o", path]);
        assert_eq!(look(), wanted, "{}", self.name);

        house.git(&["rm", "--quiet", "git/stack.yaml"]);
        let third = house.commit("no stack", &[("git/README.md", "Nothing is deployed.\n")]);
        let status = house.reaches("refused", &third).await;
        assert!(!look().is_empty(), "nothing is removed before somebody says so");
        let hash = status["unconfirmed"].as_str().unwrap();
        house.says(0, &["confirm", "git", hash]);
        house
            .eventually("removed", async || {
                let records = house.kubectl(&[
                    "get",
                    "secrets",
                    "-n",
                    self.namespace,
                    "-o",
                    "name",
                    "--ignore-not-found",
                ]);
                (!records.contains("myelin-stack-")).then_some(())
            })
            .await;
        assert_eq!(look(), "");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn vertex_synapse_lives_from_git() {
    let example = Example {
        name: "vertex-synapse",
        namespace: "synapse",
        before: &[],
        change: ("synapse-axon: v2.256.0", "synapse-axon: v2.257.0"),
        shown: ("statefulset/axon", IMAGE, "vertexproject/synapse-axon:v2.257.0"),
    };
    let house = example.house().await;
    example.lives(&house).await;
    let claims = house.kubectl(&["get", "persistentvolumeclaims", "-n", "synapse", "-o", "name"]);
    assert_eq!(claims.lines().count(), 5, "data stays: {claims}");
}

#[tokio::test(flavor = "multi_thread")]
async fn matrix_synapse_lives_from_git() {
    let example = Example {
        name: "matrix-synapse",
        namespace: "matrix",
        before: &["definitions.yaml", "phase-1.yaml"],
        change: ("overlays/medium", "overlays/large"),
        shown: (
            "statefulset/synapse-main",
            "jsonpath={.spec.template.spec.containers[0].resources.requests.memory}",
            "8Gi",
        ),
    };
    let house = example.house().await;
    for (object, status) in [
        (
            "clusters.postgresql.cnpg.io/matrix-postgresql",
            r#"{"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "ClusterIsReady"}]}}"#,
        ),
        (
            "tenants.minio.min.io/minio",
            r#"{"status": {"currentState": "Initialized"}}"#,
        ),
    ] {
        house.kubectl(&[
            "patch",
            object,
            "-n",
            "matrix",
            "--subresource",
            "status",
            "--type",
            "merge",
            "--patch",
            status,
        ]);
    }
    example.lives(&house).await;
    let others = house.kubectl(&[
        "get",
        "statefulset/redis",
        "tenants.minio.min.io/minio",
        "-n",
        "matrix",
        "-o",
        "name",
    ]);
    assert_eq!(others.lines().count(), 2, "what others own stays: {others}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_platform_lives_from_git() {
    let example = Example {
        name: "agent-platform",
        namespace: "synapse-prod",
        before: &["sandbox.yaml"],
        change: ("synapse/core: 3.1.0", "synapse/core: 3.2.0"),
        shown: ("deployment/synapse", IMAGE, "synapse/core:3.2.0"),
    };
    let house = example.house().await;
    example.lives(&house).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somabrain_lives_from_git() {
    let example = Example {
        name: "somabrain",
        namespace: "somabrain-prod",
        before: &["sandbox.yaml"],
        change: ("stable-20260101", "stable-20260102"),
        shown: ("deployment/somabrain", IMAGE, "somatechlat/somabrain:stable-20260102"),
    };
    let house = example.house().await;
    example.lives(&house).await;
}

#[test]
fn the_committed_json_schemas_are_those_of_this_program() {
    let folder = tempfile::tempdir().unwrap();
    let written = std::process::Command::new(env!("CARGO_BIN_EXE_myelin"))
        .args(["schema", "--write"])
        .arg(folder.path())
        .status()
        .unwrap();
    assert!(written.success());
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas");
    let names = |of: &Path| {
        let files = std::fs::read_dir(of).unwrap();
        let mut names: Vec<String> = files
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".json"))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&committed), names(folder.path()));
    for name in names(&committed) {
        let (is, should) = (
            std::fs::read_to_string(committed.join(&name)),
            std::fs::read_to_string(folder.path().join(&name)),
        );
        assert_eq!(
            is.unwrap(),
            should.unwrap(),
            "schemas/{name} is stale; run cargo xtask docs"
        );
    }
}
