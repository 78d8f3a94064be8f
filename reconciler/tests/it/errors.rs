//! A bad commit: all errors are reported at once, each with its place and what to do, and nothing of the commit is
//! applied.

use crate::house::{House, map, stack};
use myelin_sandbox::faults::{Effect, Rule};
use serde_json::json;

/// One folder with much wrong in it, in documents and in manifests.
const BAD: [(&str, &str); 9] = [
    (
        "deploy/one.yaml",
        "apiVersion: myelin.dev/v1alpha1\nkind: Stack\nmetadata: {name: one}\nspec:\n  namespace: shop\n  sorce: ./k8s\n  \
         adopt: sometimes\n  components:\n    a: {path: a}\n    b: {path: b, after: [c]}\n",
    ),
    (
        "deploy/two.yaml",
        "apiVersion: myelin.dev/v1alpha1\nkind: Stack\nmetadata: {name: two}\nspec:\n  namespace: Shop_1\n  source: ./k8s\n  \
         timeout: soon\n",
    ),
    (
        "deploy/three.yaml",
        "apiVersion: myelin.dev/v1alpha1\nkind: Stak\nmetadata: {name: three}\n",
    ),
    ("deploy/four.yaml", "apiVersion: myelin.dev/v1alpha1\nkind: [\n"),
    (
        "deploy/five.yaml",
        "apiVersion: myelin.dev/v1alpha1\nkind: Stack\nmetadata: {name: five}\nspec:\n  namespace: shop\n  source: ../five\n  \
         dependsOn: [{kind: Stack, name: nobody}]\n",
    ),
    (
        "deploy/six.yaml",
        "apiVersion: myelin.dev/v1alpha1\nkind: Stack\nmetadata: {name: six}\nspec:\n  namespace: shop\n  source: ../six\n",
    ),
    (
        "five/twice.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: \"1\"\n  x: \"2\"\n",
    ),
    ("five/nothing.yaml", "apiVersion: v1\nmetadata: {name: b}\n"),
    (
        "six/unset.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  x: ${NOPE}\n",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_wrong_comes_at_once_each_with_its_place_and_the_fix() {
    let house = House::new().await;
    house.commit("bad", &BAD);
    for command in ["validate", "plan"] {
        let output = house.myelin(&[command, "repository/deploy", "--root", "repository"]);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        for (place, fix) in [
            (
                "deploy/one.yaml:6:10: error: spec.sorce is not a field",
                "did you mean source?",
            ),
            (
                "deploy/one.yaml:7:10: error: spec.adopt cannot be",
                "write one of: never, ifUnowned, always",
            ),
            (
                "deploy/one.yaml:10:25: error: component b waits for c",
                "components of this stack: a, b",
            ),
            ("deploy/two.yaml:5:14: error: \"Shop_1\"", "lower-case letters"),
            ("deploy/two.yaml:7:12: error: spec.timeout", "write for example 90s"),
            ("deploy/three.yaml:2:7: error: \"Stak\"", "use Stack"),
            ("deploy/four.yaml:", ""),
            (
                "deploy/five.yaml:1:1: error: Stack five depends on Stack nobody",
                "under the same folder",
            ),
            (
                "five/twice.yaml:6:3: error: the key \"x\" appears twice",
                "first in line 5",
            ),
            (
                "five/nothing.yaml:1: error: the manifest has no kind",
                "Every object needs apiVersion, kind",
            ),
            ("six/unset.yaml:5", "NOPE"),
        ] {
            assert!(said.contains(place), "{command}: {place} is missing in\n{said}");
            assert!(said.contains(fix), "{command}: {fix} is missing in\n{said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_with_one_bad_document_applies_nothing_of_the_good_ones_and_the_last_good_one_stays() {
    let house = House::new().await;
    let (red, blue) = (map("paint", "red"), map("wall", "blue"));
    let (one, two) = (stack("one", ""), stack("two", ""));
    let files = [
        ("one.yaml", one.as_str()),
        ("one/map.yaml", red.as_str()),
        ("two.yaml", two.as_str()),
        ("two/map.yaml", blue.as_str()),
    ];
    let good = house.commit("good", &files);
    let _reconciler = house.reconciler();
    house.reaches("ready", &good).await;

    // Stack one is as good as before, and would change; stack two cannot be rendered.
    let (black, broken) = (map("paint", "black"), "apiVersion: v1\nkind: ConfigMap\n");
    let bad = house.commit("bad", &[("one/map.yaml", &black), ("two/map.yaml", broken)]);
    let status = house.reaches("rejected", &good).await;
    assert_eq!(status["head"], bad.as_str());
    let said = status["message"].as_str().unwrap();
    assert!(said.contains("two/map.yaml:1"), "{said}");
    house.meddle("paint", json!({"color": "green"})).await;
    house
        .eventually("the last good commit stays enforced", async || {
            (house.value("paint", "color").await.as_deref() == Some("red")).then_some(())
        })
        .await;

    // Two stacks that want the same object are bad, too: each alone would be right.
    let red = map("paint", "red");
    let claimed = house.commit("claimed", &[("one/map.yaml", &red), ("two/map.yaml", &red)]);
    let status = house
        .eventually("refused", async || {
            let status = house.status().await;
            (status["head"] == claimed.as_str() && status["state"] == "rejected").then_some(status)
        })
        .await;
    let said = status["message"].as_str().unwrap();
    assert!(said.contains("ConfigMap shop/paint is in two stacks"), "{said}");
    assert!(
        said.contains("two/map.yaml:1") && said.contains("one/map.yaml:1"),
        "{said}"
    );
    assert_eq!(
        house.value("wall", "color").await.as_deref(),
        Some("blue"),
        "nothing of it is pruned"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again_for_the_records_and_a_refusal_says_which_right_is_missing() {
    let house = House::new().await;
    house.commit(
        "paint",
        &[
            ("one/stack.yaml", &stack("k8s", "")),
            ("one/k8s/a.yaml", &map("paint", "red")),
        ],
    );
    let plan = ["plan", "repository/one"];
    for (code, message) in [
        (429, "too many requests, please try again later"),
        (500, "Internal error occurred: etcdserver: leader changed"),
    ] {
        let rule = house.sandbox.faults().add(Rule {
            verbs: vec!["list".to_owned()],
            resources: vec!["secrets".to_owned()],
            user_agent: "myelin/".to_owned(),
            times: 2,
            effect: Effect::Status {
                code,
                retry_after: None,
                message: message.to_owned(),
            },
            ..Rule::default()
        });
        assert!(house.says(2, &plan).contains("create"), "{code}");
        let rules = house.sandbox.faults().rules();
        let met = rules.iter().find(|met| met.rule.id == rule).map_or(2, |met| met.met);
        assert!(met >= 2, "{code}: the fault was met {met} times");
        house.sandbox.faults().clear();
    }
    for (code, advice) in [(403, true), (404, false)] {
        house.sandbox.faults().add(Rule {
            verbs: vec!["list".to_owned()],
            resources: vec!["secrets".to_owned()],
            user_agent: "myelin/".to_owned(),
            effect: Effect::Status {
                code,
                retry_after: None,
                message: "no".to_owned(),
            },
            ..Rule::default()
        });
        let output = house.myelin(&plan);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("records of stacks could not be listed"), "{said}");
        assert_eq!(said.contains("allow list of Secrets"), advice, "{said}");
        house.sandbox.faults().clear();
    }
}
