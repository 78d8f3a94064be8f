//! The installation under `infra/kubernetes`: it applies, its rights cover every request that the reconciler makes and no others, and a
//! source that acts as a service account has the rights of that account.

use crate::house::{House, map, stack};
use serde_json::json;

fn kustomization() -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/kubernetes");
    folder.to_str().unwrap().to_owned()
}

/// Requests of the reconciler that were refused for want of rights.
fn refused(house: &House) -> Vec<String> {
    let ours = house.sandbox.faults().log(0).into_iter();
    ours.filter(|line| line.user_agent.starts_with("myelin/") && line.status == 403)
        .map(|line| format!("{} {}", line.verb, line.path))
        .collect()
}

const WORKLOADS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      serviceAccountName: web
      containers: [{name: c, image: 'nginx:1.27', ports: [{containerPort: 80}], readinessProbe: {httpGet: {port: 80}}}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {value: hunter2-and-more}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web}
spec: {podSelector: {matchLabels: {app: web}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: '0 3 * * *'
  jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: 'nginx:1.27'}]}}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_of_the_installation_cover_everything_that_the_reconciler_does() {
    let house = House::new().await;
    house.kubectl(&["apply", "-k", &kustomization()]);
    let kubeconfig = house.kubeconfig_of("myelin-system", "myelin");
    let token = "apiVersion: myelin.dev/v1alpha1\nkind: ProvisioningToken\nmetadata: {name: key, namespace: shop}\nspec:\n  issuer: {random: {bytes: 24}}\n  secret: {name: minted, key: value}\n  dependsOn: [{kind: Stack, name: one}]\n";
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("paint", "red")),
            ("one/workloads.yaml", WORKLOADS),
            ("token.yaml", token),
        ],
    );
    let url = format!("file://{}", house.repository().display());
    let arguments = ["--url", &url, "--kubeconfig", &kubeconfig, "--lease"];
    let reconciler = house.reconciler_of(&arguments);
    house.reaches("ready", &first).await;
    house.meddle("paint", json!({"color": "green"})).await;
    house
        .eventually("reverted", async || {
            (house.value("paint", "color").await.as_deref() == Some("red")).then_some(())
        })
        .await;
    let workloads = WORKLOADS.split("---\napiVersion: batch").next().unwrap();
    let second = house.commit("without the job", &[("one/workloads.yaml", workloads)]);
    house.reaches("ready", &second).await;
    house.git(&["rm", "-r", "--quiet", "token.yaml"]);
    let third = house.commit("without the token", &[]);
    house.reaches("ready", &third).await;
    reconciler.terminate();
    house
        .eventually("it gives its source back", async || {
            house.lease_holder().await.is_none().then_some(())
        })
        .await;
    let events = house.says(0, &["events"]);
    assert!(
        events.contains("Created") && events.contains("DriftReverted"),
        "{events}"
    );
    assert_eq!(refused(&house), Vec::<String>::new(), "a right is missing");

    // And no more than that: what nobody gave it, it may not do.
    for (allowed, verb, group, resource) in [
        (true, "patch", "apps", "deployments"),
        (true, "create", "events.k8s.io", "events"),
        (false, "create", "rbac.authorization.k8s.io", "clusterrolebindings"),
        (false, "create", "rbac.authorization.k8s.io", "roles"),
        (false, "delete", "", "nodes"),
        (false, "patch", "apiextensions.k8s.io", "customresourcedefinitions"),
        (false, "impersonate", "", "serviceaccounts"),
    ] {
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": "shop"}},
        });
        let review = house.file("review", &review.to_string());
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = house.kubectl(&["--kubeconfig", &kubeconfig, "create", "--raw", path, "-f", &review]);
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["status"]["allowed"], allowed, "{verb} {resource}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_a_service_account_can_do_what_that_account_may_and_nothing_else() {
    let house = House::new().await;
    house.kubectl(&["apply", "-k", &kustomization()]);
    house.kubectl(&["delete", "clusterrolebinding", "myelin-deploy"]);
    for namespace in ["shop", "other"] {
        house.kubectl(&["create", "namespace", namespace]);
    }
    house.kubectl(&["create", "serviceaccount", "deployer", "-n", "shop"]);
    let bind = |name: &str, role: &str, account: &str| {
        house.kubectl(&[
            "create",
            "rolebinding",
            name,
            "-n",
            "shop",
            "--clusterrole",
            role,
            "--serviceaccount",
            account,
        ]);
    };
    bind("deployer", "myelin-deploy", "shop:deployer");
    bind("myelin-impersonate", "myelin-impersonate", "myelin-system:myelin");
    let kubeconfig = house.kubeconfig_of("myelin-system", "myelin");
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let url = format!("file://{}", house.repository().display());
    let mut arguments = vec![
        "--url",
        &url,
        "--kubeconfig",
        &kubeconfig,
        "--service-account",
        "shop/deployer",
    ];
    let reconciler = house.reconciler_of(&arguments);
    house.reaches("ready", &first).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("red"));

    let elsewhere = map("paint", "red").replace("{name: paint}", "{name: paint, namespace: other}");
    let second = house.commit("reaches out", &[("one/other.yaml", &elsewhere)]);
    let status = house.reaches("failed", &second).await;
    let said = status["message"].as_str().unwrap();
    assert!(
        said.contains("system:serviceaccount:shop:deployer") && said.contains("\"other\""),
        "{said}"
    );
    let other = house.kubectl(&["get", "configmaps", "-n", "other", "-o", "name"]);
    assert!(!other.contains("paint"), "{other}");
    reconciler.kill();

    // Without an account it has its own rights, and those are to look.
    arguments.truncate(4);
    let _reconciler = house.reconciler_of(&arguments);
    house.git(&["reset", "--quiet", "--hard", &first]);
    let third = house.commit("blue", &[("one/map.yaml", &map("paint", "blue"))]);
    let status = house.reaches("failed", &third).await;
    let said = status["message"].as_str().unwrap();
    assert!(said.contains("system:serviceaccount:myelin-system:myelin"), "{said}");
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("red"));
}
