//! Stacks of workloads: order, gates that fail early with the pod's own reason, and a first apply that fails without losing
//! what is healthy.

use std::time::{Duration, Instant};

use crate::stand::Stand;
use crate::terraform::text;

const MODULE: &str = r#"
variable "tag" { default = "1.0" }
resource "myelin_stack" "shop" {
  name      = "shop"
  namespace = "shop"
  source    = "${path.module}/k8s"
  timeout   = "2m"
  images    = { "shop/web" = var.tag }
  components = {
    database = { path = "database" }
    web      = { path = "web", after = ["database"] }
  }
}
"#;

fn deployment(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: 1\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec: {{containers: [{{name: {name}, image: 'shop/{name}:1.0'}}]}}\n"
    )
}

fn stand() -> Stand {
    let stand = Stand::new(MODULE);
    stand.file("k8s/database/database.yaml", &deployment("database"));
    stand.file("k8s/web/web.yaml", &deployment("web"));
    stand
}

#[test]
fn a_bad_image_in_a_first_apply_fails_early_and_the_fix_keeps_what_is_healthy() {
    let stand = stand();
    stand.variable("tag", "missing");
    let before = Instant::now();
    let failed = stand.try_apply();
    let shown = text(&failed);
    assert!(!failed.status.success() && shown.contains("ErrImagePull"), "{shown}");
    assert!(
        before.elapsed() < Duration::from_secs(60),
        "it did not wait for the timeout of two minutes"
    );
    let attributes = stand.state()["attributes"].clone();
    assert_eq!(attributes["components_status"]["database"], "ready");
    assert_eq!(
        (&attributes["ready"], &attributes["revision"]),
        (&false.into(), &serde_json::Value::Null)
    );
    let broken = attributes["objects"]["apps/Deployment/shop/web"]
        .as_str()
        .expect("it was applied");
    assert!(broken.contains("shop/web:missing"), "the state says what is true");
    let uids = stand.cluster.uids(&["deployments.apps"], "shop");
    assert_eq!(uids.len(), 2);

    stand.variable("tag", "2.0");
    let (code, shown) = stand.plan();
    assert!(code == Some(2) && shown.contains("exists and is taken over"), "{shown}");
    stand.apply();
    assert_eq!(
        stand.cluster.uids(&["deployments.apps"], "shop"),
        uids,
        "nothing was made again"
    );

    // The same in an update: what was sent is reported truthfully, and the way back shows as a change.
    stand.variable("tag", "missing");
    assert!(!stand.try_apply().status.success());
    stand.variable("tag", "2.0");
    let (_, shown) = stand.plan();
    assert!(shown.contains("\"shop/web:missing\" -> \"shop/web:2.0\""), "{shown}");
    stand.apply();
    assert_eq!(stand.cluster.uids(&["deployments.apps"], "shop"), uids);
    stand.destroy();
    assert_eq!(stand.cluster.uids(&["deployments.apps"], "shop"), []);
}
