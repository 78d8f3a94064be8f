//! Other writers: an autoscaler and a webhook write to a stack's objects, a CRD comes with its instances, and sometimes
//! the cluster does not answer at all.

use std::time::{Duration, Instant};

use myelin_sandbox::meddling::Rewrite;
use serde_json::json;

use crate::cluster::Cluster;
use crate::stand::Stand;
use crate::terraform::text;

const MODULE: &str = r#"
resource "myelin_stack" "shop" {
  name      = "shop"
  namespace = "shop"
  timeout   = "60s"
  source    = "${path.module}/k8s"
}
"#;

const SCALED: &str = "apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'shop/web:1.0', resources: {requests: {cpu: 10m}}}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, annotations: {sandbox.myelin.dev/metrics: steady}}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 3
  maxReplicas: 5
";

#[test]
fn the_replicas_that_an_autoscaler_sets_are_no_drift_and_no_apply_puts_them_back() {
    let stand = Stand::new(MODULE);
    stand.file("k8s/web.yaml", SCALED);
    stand.apply_at_once();
    let replicas = || stand.cluster.object("deployments.apps", "shop", "web").unwrap()["spec"]["replicas"].clone();
    let deadline = Instant::now() + Duration::from_secs(30);
    while replicas() != json!(3) {
        assert!(Instant::now() < deadline, "the autoscaler raises replicas to its least");
        std::thread::sleep(Duration::from_millis(50));
    }
    stand.assert_settled();
    // Another change of the same Deployment leaves them too.
    stand.file("k8s/web.yaml", &SCALED.replace("web:1.0", "web:2.0"));
    stand.apply();
    assert_eq!(replicas(), json!(3));
}

#[test]
fn what_a_mutating_webhook_sets_is_no_drift() {
    let stand = Stand::new(MODULE);
    stand.file(
        "k8s/config.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\ndata: {color: blue}\n",
    );
    for (pointer, value) in [
        ("/metadata/annotations/mesh.example.com~1injected", "yes"),
        ("/data/added", "by a webhook"),
        // It also rewrites what the manifest says: that is how it is on this cluster, and no plan fights it.
        ("/data/color", "green"),
    ] {
        stand.cluster.registry().meddling().add_rewrite(Rewrite {
            resource: "configmaps".to_owned(),
            name: "config".to_owned(),
            pointer: pointer.to_owned(),
            value: json!(value),
        });
    }
    stand.apply();
    let config = stand.cluster.object("configmaps", "shop", "config").unwrap();
    assert_eq!(config["data"], json!({"color": "green", "added": "by a webhook"}));
}

#[test]
fn a_definition_and_its_instance_come_up_in_one_apply() {
    let stand = Stand::new(MODULE);
    stand.file(
        "k8s/thing.yaml",
        "apiVersion: example.com/v1\nkind: Thing\nmetadata: {name: t}\nspec: {size: 1}\n---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {kind: Thing, plural: things, singular: thing, listKind: ThingList}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer}}}}
",
    );
    stand.apply();
    assert!(stand.cluster.object("things.example.com", "shop", "t").is_some());
}

#[test]
fn a_cluster_that_is_gone_is_told_within_seconds_and_loses_nothing() {
    let stand = Stand::new(MODULE);
    stand.file(
        "k8s/config.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\n",
    );
    stand.apply_at_once();
    let state = stand.state();

    // A port on which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let kubeconfig = std::fs::read_to_string(stand.cluster.kubeconfig()).unwrap();
    let server = kubeconfig
        .lines()
        .find(|line| line.contains("server:"))
        .unwrap()
        .to_owned();
    std::fs::write(
        stand.cluster.kubeconfig(),
        kubeconfig.replace(&server, &format!("    server: https://{free}")),
    )
    .unwrap();
    for arguments in [
        &["plan", "-input=false", "-no-color"][..],
        &["destroy", "-input=false", "-no-color", "-auto-approve"][..],
    ] {
        let start = Instant::now();
        let failed = stand.run(arguments);
        let shown = text(&failed);
        assert!(!failed.status.success() && shown.contains(&free.to_string()), "{shown}");
        assert!(
            start.elapsed() < Duration::from_secs(15),
            "{:?}: {shown}",
            start.elapsed()
        );
    }
    assert_eq!(stand.state(), state);
    // A plan needs no cluster where nothing has to be read first.
    let fresh = Stand::on(Cluster::start(), MODULE);
    fresh.file(
        "k8s/config.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\n",
    );
    std::fs::copy(stand.cluster.kubeconfig(), fresh.cluster.kubeconfig()).unwrap();
    let (code, shown) = fresh.plan();
    assert!(
        code == Some(2) && shown.contains("Planned without the cluster"),
        "{shown}"
    );
}
