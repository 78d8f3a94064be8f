//! Somebody changes a list's merge key with the real kubectl: our item comes back, the one in its place is removed, and
//! nothing else is touched.

use crate::house::{House, stack};
use serde_json::{Value, json};

const SERVICES: &str = "\
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: app}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: metrics, port: 9090, targetPort: 9090}
---
apiVersion: v1
kind: Service
metadata: {name: lone}
spec:
  selector: {app: app}
  ports: [{port: 80}]
";

const DEPLOYMENT: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: app}
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: busybox:1.36
        command: [sleep, \"3600\"]
        env: [{name: COLOUR, value: red}, {name: SIZE, value: big}]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {exec: {command: [\"true\"]}, periodSeconds: 1}
";

impl House {
    fn live(&self, object: &str) -> Value {
        let text = self.kubectl(&[
            "--namespace=shop",
            "get",
            object,
            "--output=json",
            "--show-managed-fields",
        ]);
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until an object is as it should be, and checks what is left of the change: nothing.
    async fn comes_back(&self, what: &str, object: &str, is_back: impl Fn(&Value) -> bool, gone: &str) {
        let live = self
            .eventually(what, async || {
                let live = self.live(object);
                is_back(&live).then_some(live)
            })
            .await;
        let managed = live["metadata"]["managedFields"].as_array().unwrap();
        assert!(
            !json!(managed).to_string().contains(gone),
            "{what}: {gone} in {managed:#?}"
        );
        for entry in managed.iter().filter(|e| e["manager"] == "myelin") {
            assert_eq!(entry["operation"], "Apply", "{what}: {managed:#?}");
        }
        self.eventually("settled", async || {
            (self.status().await["state"] == "ready").then_some(())
        })
        .await;
        self.eventually("an empty plan", async || {
            (self.myelin(&["plan", "repository"]).status.code() == Some(0)).then_some(())
        })
        .await;
    }
}

fn names(live: &Value, list: &str, field: &str) -> Vec<Value> {
    let items = live.pointer(list).and_then(Value::as_array).unwrap();
    let mut all: Vec<Value> = items.iter().map(|item| item[field].clone()).collect();
    all.sort_by_key(Value::to_string);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_kubectl_renumbered_or_renamed_come_back_and_others_stay() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/services.yaml", SERVICES)],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    house.edit("service/lone", "s/port: 80$/port: 81/");
    let back = |live: &Value| names(live, "/spec/ports", "port") == [json!(80)];
    house
        .comes_back("an unnamed port", "service/lone", back, r#""port\":81"#)
        .await;
    // Somebody else's port beside ours, with a target like ours.
    let extra =
        r#"[{"op": "add", "path": "/spec/ports/-", "value": {"name": "extra", "port": 7000, "targetPort": 8080}}]"#;
    house.kubectl(&[
        "--namespace=shop",
        "patch",
        "service/web",
        "--type=json",
        "--patch",
        extra,
    ]);
    house.edit("service/web", "s/port: 80$/port: 81/");
    let three = |live: &Value| names(live, "/spec/ports", "port") == [json!(7000), json!(80), json!(9090)];
    house
        .comes_back("a number", "service/web", three, r#""port\":81"#)
        .await;
    // Number and target at once.
    let both = r#"[{"op": "replace", "path": "/spec/ports/0/port", "value": 82}]"#;
    let position = names_at(&house.live("service/web"), "http");
    let both = both.replace("/0/", &format!("/{position}/"));
    house.kubectl(&[
        "--namespace=shop",
        "patch",
        "service/web",
        "--type=json",
        "--patch",
        &both,
    ]);
    house
        .comes_back("a patched number", "service/web", three, r#""port\":82"#)
        .await;
    house.edit("service/web", "s/name: http$/name: web/");
    let named = |live: &Value| names(live, "/spec/ports", "name") == [json!("extra"), json!("http"), json!("metrics")];
    house.comes_back("a name", "service/web", named, "kubectl-edit").await;
    let live = house.live("service/web");
    assert!(three(&live) && live.to_string().contains("kubectl-patch"), "{live:#}");
    // Ours to take away again: no entry keeps it.
    let fewer = SERVICES.replace("  - {name: http, port: 80, targetPort: 8080}\n", "");
    let second = house.commit("fewer", &[("one/services.yaml", &fewer)]);
    house.reaches("ready", &second).await;
    assert_eq!(
        names(&house.live("service/web"), "/spec/ports", "port"),
        [json!(7000), json!(9090)]
    );
}

fn names_at(live: &Value, name: &str) -> usize {
    let ports = live["spec"]["ports"].as_array().unwrap();
    ports.iter().position(|port| port["name"] == name).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_container_comes_back_without_its_double_and_a_sidecar_stays() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/app.yaml", DEPLOYMENT)],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let sidecar = r#"{"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "busybox:1.36", "command": ["sleep", "3600"]}]}}}}"#;
    house.kubectl(&["--namespace=shop", "patch", "deployment/app", "--patch", sidecar]);
    house.kubectl(&["--namespace=shop", "scale", "deployment/app", "--replicas=2"]);
    let containers = "/spec/template/spec/containers";
    let main = |live: &Value| {
        let all = live.pointer(containers).and_then(Value::as_array).unwrap();
        all.iter().find(|c| c["name"] == "main").cloned().unwrap_or_default()
    };
    house.edit("deployment/app", "s/name: main$/name: other/");
    let two = |live: &Value| names(live, containers, "name") == [json!("main"), json!("side")];
    house.comes_back("a container", "deployment/app", two, "other").await;
    house.edit("deployment/app", "s/name: COLOUR$/name: COLOR/");
    let env = |live: &Value| names(&main(live), "/env", "name") == [json!("COLOUR"), json!("SIZE")];
    house.comes_back("a variable", "deployment/app", env, "COLOR\\\"").await;
    house.edit("deployment/app", "s/containerPort: 8080$/containerPort: 8081/");
    let port = |live: &Value| names(&main(live), "/ports", "containerPort") == [json!(8080)];
    house
        .comes_back("a container's port", "deployment/app", port, "8081")
        .await;
    let live = house.live("deployment/app");
    assert!(two(&live) && env(&live), "{live:#}");
    assert_eq!(live["spec"]["replicas"], 2, "what somebody else scaled stays");
}
