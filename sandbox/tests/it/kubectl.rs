//! The real `kubectl` against the sandbox.

use std::path::PathBuf;
use std::process::Output;

use myelin_sandbox::{Options, Sandbox};
use tokio::process::Command;

const MANIFEST: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: "nginx:1", ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"#;

struct Kubectl {
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
}

impl Kubectl {
    async fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("kubectl");
        command
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HOME", self.folder.path())
            .args(arguments);
        command.kill_on_drop(true).output().await.unwrap()
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments).await;
        let (out, err) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "kubectl {arguments:?}: {out}{err}");
        out.into_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_kubectl_works_as_against_a_cluster() {
    if Command::new("kubectl")
        .args(["version", "--client"])
        .output()
        .await
        .is_err()
    {
        println!("SKIPPED: there is no kubectl on this machine");
        return;
    }
    let sandbox = Sandbox::start(Options {
        speed: 20.0,
        ..Options::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, sandbox.kubeconfig()).unwrap();
    let manifest = folder.path().join("web.yaml");
    std::fs::write(&manifest, MANIFEST).unwrap();
    let file = manifest.to_str().unwrap().to_owned();
    let kubectl = Kubectl { kubeconfig, folder };

    assert!(
        kubectl.run(&["version"]).await.contains("myelin-sandbox"),
        "it says what it is"
    );
    assert!(kubectl.run(&["api-resources"]).await.contains("deployments"));
    assert!(
        kubectl
            .run(&["apply", "-f", &file])
            .await
            .contains("deployment.apps/web created")
    );
    assert!(
        kubectl
            .run(&["apply", "-f", &file])
            .await
            .contains("deployment.apps/web unchanged")
    );
    kubectl.run(&["diff", "-f", &file]).await;
    kubectl
        .run(&["rollout", "status", "deployment/web", "--timeout=60s"])
        .await;
    kubectl
        .run(&["wait", "--for=condition=Available", "deployment/web", "--timeout=60s"])
        .await;
    let table = kubectl.run(&["get", "deployment", "web"]).await;
    assert!(table.contains("READY") && table.contains("2/2"), "{table}");
    assert!(
        kubectl
            .run(&["describe", "deployment", "web"])
            .await
            .contains("nginx:1")
    );
    assert!(
        kubectl
            .run(&["explain", "deployment.spec.strategy"])
            .await
            .contains("rollingUpdate")
    );

    std::fs::write(&manifest, MANIFEST.replace("nginx:1", "nginx:2")).unwrap();
    let diff = kubectl.output(&["diff", "-f", &file]).await;
    assert_eq!(diff.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&diff.stdout).contains("+      - image: nginx:2"));
    let refused = kubectl
        .output(&["apply", "--server-side", "--field-manager=other", "-f", &file])
        .await;
    assert!(
        String::from_utf8_lossy(&refused.stderr).contains("conflict"),
        "another manager owns the image"
    );
    kubectl
        .run(&["apply", "--server-side", "--force-conflicts", "-f", &file])
        .await;
    kubectl
        .run(&["rollout", "status", "deployment/web", "--timeout=60s"])
        .await;
    kubectl.run(&["scale", "deployment/web", "--replicas=1"]).await;
    assert_eq!(
        kubectl
            .run(&["exec", "deployment/web", "--", "echo", "hello"])
            .await
            .trim(),
        "hello"
    );
    kubectl
        .run(&["create", "configmap", "made", "--from-literal=a=b"])
        .await;
    let bad = kubectl.output(&["create", "configmap", "Bad_Name"]).await;
    assert!(String::from_utf8_lossy(&bad.stderr).contains("RFC 1123"));
    kubectl.run(&["delete", "-f", &file, "--wait", "--timeout=60s"]).await;
    kubectl
        .run(&["wait", "--for=delete", "pod", "-l", "app=web", "--timeout=60s"])
        .await;
    sandbox.stop().await;
}
