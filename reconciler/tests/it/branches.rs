//! Changes of a branch, and the source's report about them, which must stay for as long as they last.

use crate::house::{House, map, stack};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_branch_is_said_for_as_long_as_it_is_and_no_longer() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let reconciler = house.reconciler();
    house.reaches("ready", &first).await;

    let bad = house.commit("bad", &[("one.yaml", &stack("one", "  sorce: x\n"))]);
    house.reaches("rejected", &first).await;
    // The commit stays in force, and the problem is still reported after a repair and after a restart.
    let is_told = async || {
        let status = house.status().await;
        let message = status["message"].as_str()?.to_owned();
        (status["state"] == "rejected" && status["head"] == bad && message.contains("did you mean source?"))
            .then_some(())
    };
    let put_back = async || {
        house.meddle("paint", json!({"color": "green"})).await;
        let is_red = async || (house.value("paint", "color").await.as_deref() == Some("red")).then_some(());
        house.eventually("put back", is_red).await;
        house.eventually("told", is_told).await;
    };
    put_back().await;
    reconciler.kill();
    let _reconciler = house.reconciler();
    put_back().await;
    let told = house.log().matches("the commit was rejected").count();
    assert_eq!(told, 2, "once by each process");

    // A push that takes the bad commit back makes all well, without a new commit.
    house.git(&["reset", "--quiet", "--hard", &first]);
    let status = house.reaches("ready", &first).await;
    assert_eq!(
        (&status["head"], &status["message"]),
        (&json!(first), &json!("")),
        "{status}"
    );

    house.git(&["branch", "--quiet", "--move", "main", "elsewhere"]);
    let asked = |times| {
        let house = &house;
        async move || (house.log().matches("could not be asked").count() >= times).then_some(())
    };
    house.eventually("asked in vain", asked(1)).await;
    let status = house.reaches("unreachable", &first).await;
    assert!(
        status["message"].as_str().unwrap().contains("no branch main"),
        "{status}"
    );
    let version = || {
        let form = "jsonpath={.metadata.resourceVersion}";
        house.kubectl(&[
            "get",
            "configmap",
            "myelin-source-git",
            "-n",
            "myelin-system",
            "-o",
            form,
        ])
    };
    let written = version();
    house.eventually("asked in vain again and again", asked(3)).await;
    assert_eq!(version(), written, "it stays unreachable, and that is said once");
    house.git(&["branch", "--quiet", "--move", "elsewhere", "main"]);
    house.reaches("ready", &first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_waits_for_a_yes_and_a_bad_commit_after_it_are_both_said() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    house.git(&["rm", "--quiet", "-r", "."]);
    let nothing = house.commit("nothing", &[]);
    let status = house.reaches("refused", &nothing).await;
    let plan = status["unconfirmed"].as_str().unwrap().to_owned();
    let bad = house.commit(
        "bad",
        &[
            ("one.yaml", &stack("one", "  sorce: x\n")),
            ("one/map.yaml", &map("paint", "red")),
        ],
    );
    let both = async || {
        let status = house.status().await;
        let message = status["message"].as_str()?.to_owned();
        let all = ["did you mean source?", &format!("confirm git {plan}")];
        (status["state"] == "rejected" && status["head"] == bad && all.iter().all(|part| message.contains(part)))
            .then_some(())
    };
    house.eventually("both are said", both).await;
    // Asked again, it says the same again.
    house.says(1, &["reconcile", "--wait"]);
    house.eventually("both are said again", both).await;
    let history = house.says(0, &["history"]);
    let states: Vec<&str> = history
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(2))
        .collect();
    assert_eq!(states, ["rejected", "refused", "ready"], "{history}");
    assert!(house.value("paint", "color").await.is_some(), "nothing was removed");
    // The beginning of the hash is enough.
    house.says(0, &["confirm", "git", &plan[..8]]);
    let is_gone = async || house.value("paint", "color").await.is_none().then_some(());
    house.eventually("removed after the yes", is_gone).await;
}
