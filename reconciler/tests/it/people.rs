//! The commands that answer questions: why, what differs, what happened, what is the state.

use crate::house::{House, map, stack};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn why_names_commit_file_component_plan_and_writers_and_status_is_a_tree() {
    let house = House::new().await;
    let parts = "  components:\n    base: {path: base}\n    web: {path: web, after: [base]}\n";
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec:\n      containers: [{name: c, image: 'nginx:1.27'}]\n";
    let first = house.commit(
        "make it red",
        &[
            ("deploy/one.yaml", &stack("one", parts)),
            (
                "deploy/one/base/all.yaml",
                &format!("{}---\n{}", map("other", "x"), map("paint", "red")),
            ),
            ("deploy/one/web/web.yaml", deployment),
        ],
    );
    let url = format!("file://{}", house.repository().display());
    let _reconciler = house.reconciler_of(&["--url", &url, "--path", "deploy"]);
    house.reaches("ready", &first).await;

    let said = house.says(0, &["why", "cm/shop/paint"]);
    for expected in [
        "ConfigMap shop/paint",
        "ready",
        "shop/one, component base",
        "git:git",
        &format!("{} \"make it red\" by Ada", &first[..12]),
        "deploy/one/base/all.yaml:6",
        "last plan",
        "last writer  myelin (Apply)",
    ] {
        assert!(said.contains(expected), "{expected} is missing in\n{said}");
    }
    // A pod belongs to the Deployment that is in git.
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> = kube::Api::namespaced(house.client.clone(), "shop");
    let pod = pods
        .list(&kube::api::ListParams::default())
        .await
        .unwrap()
        .items
        .remove(0);
    let name = format!("pod/shop/{}", pod.metadata.name.unwrap());
    let said = house.says(0, &["why", &name]);
    assert!(
        said.contains("Deployment shop/web") && said.contains("web.yaml:1"),
        "{said}"
    );

    house.meddle("paint", json!({"foreign": "yes"})).await;
    let answer = parsed(&house.says(0, &["why", "core/ConfigMap/shop/paint", "-o", "json"]));
    assert_eq!(answer["origin"], "deploy/one/base/all.yaml:6");
    assert_eq!(answer["commit"], first.as_str());
    assert_eq!(answer["others"][0]["fields"], json!(["data.foreign"]), "{answer:#}");
    let one = |arguments: &[&str]| {
        parsed(&house.says(0, &[&["why", "-o", "json"][..], arguments].concat()))["fields"].clone()
    };
    assert_eq!(
        one(&["cm/shop/paint", "--field", "data.color"]),
        json!([{"field": "data.color", "origin": "deploy/one/base/all.yaml:9", "writers": ["myelin"]}])
    );
    assert_eq!(
        one(&["deploy/web", "--field", "spec.template.spec.containers[name=c].image"])[0]["origin"],
        "deploy/one/web/web.yaml:9"
    );
    let all = one(&["deploy/web", "--fields"]);
    let label = all
        .as_array()
        .unwrap()
        .iter()
        .find(|field| field["origin"] == "added by Myelin");
    assert!(label.is_some() && all.as_array().unwrap().len() >= 6, "{all:#}");
    let said = house.says(0, &["why", "cm/shop/paint", "--field", "/data/color"]);
    assert!(
        said.contains("data.color set in deploy/one/base/all.yaml:9, owned by myelin"),
        "{said}"
    );
    let foreign = house.myelin(&["why", "cm/shop/paint", "--field", "data.foreign"]);
    let said = String::from_utf8_lossy(&foreign.stderr).into_owned();
    assert!(
        said.contains("git does not set data.foreign") && said.contains(" owns it"),
        "{said}"
    );
    let unknown = house.myelin(&["why", "cm/shop/nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        said.contains("does not own it") && said.contains("ConfigMap shop/paint"),
        "{said}"
    );

    let tree = house.says(0, &["status"]);
    for expected in [
        "git: ready at",
        "\"make it red\"",
        "└─ stack shop/one: ready",
        "component base: ready",
        "component web: ready",
        "ConfigMap shop/paint: ready",
        "Deployment shop/web: ready",
    ] {
        assert!(tree.contains(expected), "{expected} is missing in\n{tree}");
    }
    assert!(!tree.contains('\u{1b}'), "colour is for terminals");
    let tree = parsed(&house.says(0, &["status", "-o", "json"]));
    let components = tree["sources"][0]["stacks"][0]["components"].as_array().unwrap();
    assert_eq!(components.len(), 3, "{tree:#}");
    let yaml = house.says(0, &["status", "-o", "yaml", "--depth", "stack"]);
    assert!(
        yaml.contains("state: ready") && yaml.contains("name: shop/one"),
        "{yaml}"
    );
    let history = parsed(&house.says(0, &["history", "-o", "json"]));
    assert_eq!(history[0]["commit"], first.as_str());
    assert!(
        history[0]["plan"].as_str().is_some_and(|plan| plan.len() == 32),
        "{history:#}"
    );
    assert!(house.says(0, &["history"]).contains("make it red (Ada)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_and_diffs_come_in_every_form_and_between_revisions_without_a_cluster() {
    let house = House::new().await;
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {value: hunter2-and-more}\n";
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("paint", "red")),
            ("one/key.yaml", secret),
            ("two.yaml", &stack("two", "")),
            ("two/map.yaml", &map("gone", "red")),
        ],
    );
    let created = house.says(2, &["diff", "repository"]);
    assert!(
        created.contains("+   color: red") && created.contains("+++ ConfigMap shop/paint (one/map.yaml:1)"),
        "{created}"
    );
    assert!(!created.contains("hunter2"), "{created}");
    house.says(0, &["apply", "repository"]);
    assert_eq!(house.says(0, &["diff", "repository"]), "");
    house.meddle("paint", json!({"color": "green"})).await;
    let drift = house.says(2, &["diff", "repository", "--drift"]);
    assert!(
        drift.contains("- data.color: \"green\"\n+ data.color: \"red\""),
        "{drift}"
    );

    std::fs::remove_file(house.repository().join("two.yaml")).unwrap();
    house.commit(
        "second",
        &[
            ("one/map.yaml", &map("paint", "blue")),
            ("one/key.yaml", &secret.replace("hunter2", "hunter3")),
            ("one/new.yaml", &map("new", "'``` </details>'")),
        ],
    );
    let range = format!("{first}..HEAD");
    let text = house.says(2, &["plan", "repository", "--rev", &range]);
    for expected in [
        "update ConfigMap shop/paint",
        "data.color: \"red\" -> \"blue\"",
        "create ConfigMap shop/new",
        "update Secret shop/key",
        "stack shop/two: remove all",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    assert!(!text.contains("hunter"), "{text}");
    assert_eq!(
        house
            .says(0, &["plan", "repository", "--rev", "HEAD..HEAD"])
            .matches("create")
            .count(),
        0
    );
    let comment = house.says(2, &["plan", "repository", "--rev", &range, "-o", "markdown"]);
    assert!(
        comment.contains("| shop/one | 1 | 2 | 0 | 0 |") && comment.contains("<details"),
        "{comment}"
    );
    let data = parsed(&house.says(2, &["plan", "repository", "-o", "json"]));
    assert_eq!(data["changes"], true);
    let paint = data["stacks"][0]["changes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["object"] == "core/ConfigMap/shop/paint");
    assert_eq!(paint.unwrap()["origin"], "one/map.yaml:1", "{data:#}");
    let yaml = house.says(2, &["plan", "repository", "--rev", "HEAD", "-o", "yaml"]);
    assert!(yaml.contains("action: update"), "{yaml}");
    for wrong in [
        &["plan", "repository", "--rev", "nowhere"][..],
        &["plan", "repository", "--rev", ".."],
        &["nonsense"],
    ] {
        assert_eq!(house.myelin(wrong).status.code(), Some(1), "{wrong:?}");
    }
    let script = house.says(0, &["completion", "bash"]);
    assert!(script.contains("complete -F") && script.contains("hand-over"));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_what_was_done_to_sources_and_objects_and_follow_goes_on() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let mut follower = house.start(&["events", "--follow"]);
    let (tell, heard) = std::sync::mpsc::channel();
    let lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
    let next = |what: &str| loop {
        let line = heard
            .recv_timeout(std::time::Duration::from_secs(60))
            .unwrap_or_else(|_| panic!("never: {what}\n{}", house.log()));
        if line.contains(what) {
            return line;
        }
    };
    assert!(next("ConfigMap shop/paint").contains("Created"));
    // The same drift again and again is one event that counts.
    for _ in 0..3 {
        house.meddle("paint", json!({"color": "green"})).await;
        house
            .eventually("reverted", async || {
                (house.value("paint", "color").await.as_deref() == Some("red")).then_some(())
            })
            .await;
    }
    let reverted = next("DriftReverted");
    assert!(
        reverted.contains("ConfigMap shop/paint") && reverted.contains("data.color"),
        "{reverted}"
    );
    assert!(!reverted.contains("green"), "no values in events: {reverted}");
    next("(x3)");
    let bad = house.commit("bad", &[("one.yaml", &stack("one", "  sorce: x\n"))]);
    let rejected = next("CommitRejected");
    assert!(
        rejected.contains("ConfigMap myelin-system/myelin-source-git") && rejected.contains(&bad),
        "{rejected}"
    );
    follower.kill().unwrap();
    follower.wait().unwrap();

    let all = parsed(&house.says(0, &["events", "-o", "json"]));
    let all = all.as_array().unwrap();
    let drift: Vec<&Value> = all.iter().filter(|event| event["reason"] == "DriftReverted").collect();
    assert_eq!((drift.len(), &drift[0]["count"]), (1, &json!(3)), "{all:#?}");
    assert!(house.says(0, &["events"]).starts_with("LAST SEEN"));
    // As people look for them without us.
    let events: kube::Api<k8s_openapi::api::core::v1::Event> = kube::Api::namespaced(house.client.clone(), "shop");
    let seen = events.list(&kube::api::ListParams::default()).await.unwrap().items;
    let created = seen
        .iter()
        .find(|event| event.reason.as_deref() == Some("Created"))
        .unwrap();
    assert_eq!(created.involved_object.name.as_deref(), Some("paint"));
    assert!(
        created.involved_object.uid.is_some(),
        "kubectl describe finds events by UID"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_what_is_waited_for_and_how_it_ended() {
    let house = House::new().await;
    let stuck = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: nginx, envFrom: [{secretRef: {name: absent}}]}]}\n";
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    assert!(house.says(0, &["reconcile", "--wait"]).contains("ready at"));
    house.commit("stuck", &[("one/web.yaml", stuck)]);
    let said = house.says(1, &["reconcile", "--wait", "--timeout", "3s"]);
    assert!(said.contains("applying at") && said.contains("Pod shop/web"), "{said}");
    let tree = house.says(1, &["status"]);
    assert!(
        tree.contains("Pod shop/web: waiting") || tree.contains("Pod shop/web: failed"),
        "{tree}"
    );
    // A source that cannot become ready also reacts at once, not after the pause between its attempts.
    let back = house.says(0, &["rollback", "--to", &first[..8], "--wait"]);
    assert!(back.contains("ready at"), "{back}");
    let suspended = house.says(0, &["suspend", "--wait"]);
    assert!(suspended.contains("suspended at"), "{suspended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_while_something_is_applied_is_heard_when_it_is_done() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    // A Deployment without a probe is believed after some seconds only.
    let slow = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: slow}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec:\n      containers: [{name: c, image: 'nginx:1.27'}]\n";
    let second = house.commit("slow", &[("one/slow.yaml", slow)]);
    house.reaches("applying", &second).await;
    let said = house.says(0, &["reconcile", "--wait", "--timeout", "60s"]);
    assert!(said.contains("ready at"), "{said}");
    house.reaches("ready", &second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handed_over_to_a_source_that_nobody_runs() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    house.says(0, &["apply", "repository"]);
    let hand_over = |to: &str| {
        let output = house.myelin(&["hand-over", "shop/one", "--to", to]);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    // Before any source has reported, nobody can know.
    let (code, said) = hand_over("git:early");
    assert!(
        code == Some(0) && said.contains("was not checked (no source has reported"),
        "{said}"
    );
    hand_over("git:git");
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let (code, said) = hand_over("git:gti");
    assert!(
        code == Some(1) && said.contains("no source gti has reported") && said.contains("there are: git"),
        "{said}"
    );
    assert_eq!(hand_over("terraform").0, Some(0));
    let (code, said) = hand_over("git:git");
    assert!(
        code == Some(0) && said.contains("was terraform's and is git:git's now") && !said.contains("not checked"),
        "{said}"
    );
}
