//! The real `kubectl` against the sandbox.

use std::io::Write as _;
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
        let _ = writeln!(std::io::stderr(), "SKIPPED: there is no kubectl on this machine");
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
    ask_and_scale_as_typed_clients_do(&kubectl).await;
    follow_what_a_pod_prints(&kubectl).await;
    lose_a_node(&kubectl).await;
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

const TALKER: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  restartPolicy: Never
  containers:
  - {name: main, image: "busybox:1", command: [sh, -c, "for i in 1 2 3; do echo line $i; sleep 100; done"]}
"#;

/// `logs --follow` shows all that a container prints, `attach` what it prints from then on; both end with it.
/// Typed clients send these in protobuf, and nothing of them is stored.
async fn ask_and_scale_as_typed_clients_do(kubectl: &Kubectl) {
    assert_eq!(kubectl.run(&["auth", "can-i", "create", "pods"]).await, "yes\n");
    kubectl.run(&["create", "serviceaccount", "reader"]).await;
    kubectl
        .run(&["create", "role", "reads", "--verb=get", "--resource=pods"])
        .await;
    kubectl
        .run(&[
            "create",
            "rolebinding",
            "reads",
            "--role=reads",
            "--serviceaccount=default:reader",
        ])
        .await;
    let reader = "--as=system:serviceaccount:default:reader";
    assert_eq!(kubectl.run(&["auth", "can-i", "get", "pods", reader]).await, "yes\n");
    let no = kubectl.output(&["auth", "can-i", "delete", "pods", reader]).await;
    assert_eq!(String::from_utf8_lossy(&no.stdout), "no\n");
    kubectl.run(&["auth", "can-i", "--list"]).await;
    let who = kubectl.run(&["auth", "whoami", reader]).await;
    assert!(who.contains("system:serviceaccount:default:reader"), "{who}");
    let token = kubectl.run(&["create", "token", "reader", "--duration=20m"]).await;
    assert_eq!(token.trim().split('.').count(), 3, "a signed token");
    let short = kubectl.output(&["create", "token", "reader", "--duration=1m"]).await;
    let short = String::from_utf8_lossy(&short.stderr).into_owned();
    assert!(
        short.contains("may not specify a duration less than 10 minutes"),
        "{short}"
    );
    kubectl
        .run(&["autoscale", "deployment/web", "--min=2", "--max=4", "--cpu-percent=80"])
        .await;
    let path = "jsonpath={.spec.minReplicas} {.spec.maxReplicas} {.spec.scaleTargetRef.name}";
    let scaled = kubectl.run(&["get", "hpa", "web", "-o", path]).await;
    assert_eq!(scaled, "2 4 web");
    kubectl.run(&["delete", "hpa", "web"]).await;
}

async fn follow_what_a_pod_prints(kubectl: &Kubectl) {
    let file = kubectl.folder.path().join("talker.yaml");
    std::fs::write(&file, TALKER).unwrap();
    kubectl.run(&["apply", "-f", &file.to_string_lossy()]).await;
    kubectl
        .run(&["wait", "--for=condition=Ready", "pod/talker", "--timeout=60s"])
        .await;
    let (attach, follow) = (["attach", "pod/talker"], ["logs", "--follow", "talker"]);
    let (attached, followed) = tokio::join!(kubectl.run(&attach), kubectl.run(&follow));
    assert_eq!(followed, "line 1\nline 2\nline 3\n");
    assert!(
        attached.ends_with("line 3\n") && followed.contains(attached.trim()),
        "{attached}"
    );
    kubectl.run(&["delete", "pod", "talker", "--timeout=60s"]).await;
}

/// A node that is lost by its annotation becomes unknown, and comes back without it.
async fn lose_a_node(kubectl: &Kubectl) {
    let nodes = kubectl.run(&["get", "nodes", "-o", "name"]).await;
    let node = nodes.lines().next().unwrap();
    let lost = "sandbox.myelin.dev/lost";
    for (annotation, ready) in [(format!("{lost}=true"), "Unknown"), (format!("{lost}-"), "True")] {
        kubectl.run(&["annotate", node, &annotation]).await;
        let condition = format!("--for=condition=Ready={ready}");
        kubectl.run(&["wait", node, &condition, "--timeout=60s"]).await;
    }
}
