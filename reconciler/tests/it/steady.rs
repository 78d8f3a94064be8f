//! The cost of the steady state, and the behaviour of a commit as a whole: each number is counted in the sandbox's
//! request log.

use crate::house::{House, map, stack};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// Requests of the reconciler since a moment: verb and path, and how often.
fn asked(house: &House, since: u64) -> BTreeMap<(String, String), usize> {
    let mut all = BTreeMap::new();
    for line in house.sandbox.faults().log(since) {
        if line.user_agent.starts_with("myelin/") {
            *all.entry((line.verb.to_owned(), line.path)).or_insert(0) += 1;
        }
    }
    all
}

fn files() -> Vec<(String, String)> {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: NAME}\nspec: {ports: [{port: 80}]}\n";
    (0..6)
        .flat_map(|i| {
            let name = format!("s{i}");
            [
                (format!("{name}.yaml"), stack(&name, "")),
                (format!("{name}/map.yaml"), map(&name, "red")),
                (format!("{name}/service.yaml"), service.replace("NAME", &name)),
            ]
        })
        .collect()
}

fn borrowed(files: &[(String, String)]) -> Vec<(&str, &str)> {
    files
        .iter()
        .map(|(path, text)| (path.as_str(), text.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_costs_one_list_per_kind_and_no_write_and_drift_of_meanwhile_is_found() {
    let house = House::new().await;
    let first = house.commit("first", &borrowed(&files()));
    let reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    house.eventually("silence", async || house.is_silent().await).await;
    reconciler.kill();

    let before = house.sandbox.faults().sequence();
    let reconciler = house.reconciler();
    house
        .eventually("watching again", async || {
            let asked = asked(&house, before);
            let watched = |kind: &str| asked.contains_key(&("watch".to_owned(), format!("/api/v1/{kind}")));
            (watched("configmaps") && watched("services") && watched("namespaces")).then_some(())
        })
        .await;
    house.eventually("silence", async || house.is_silent().await).await;
    let cost = asked(&house, before);
    for ((verb, path), times) in &cost {
        assert!(
            !WRITES.contains(&verb.as_str()),
            "a restart writes nothing: {verb} {path} in {cost:#?}"
        );
        assert!(
            verb != "list" || *times == 1,
            "one list per kind: {path} {times} times in {cost:#?}"
        );
    }
    let lists: Vec<&str> = cost
        .keys()
        .filter(|(verb, _)| verb == "list")
        .map(|(_, path)| path.as_str())
        .collect();
    let kinds = ["configmaps", "namespaces", "secrets", "services"].map(|kind| format!("/api/v1/{kind}"));
    assert_eq!(lists, kinds, "{cost:#?}");
    let reads: usize = cost
        .iter()
        .filter(|((verb, _), _)| verb == "get")
        .map(|(_, times)| times)
        .sum();
    assert!(reads <= 2, "its own words and the index of origins: {cost:#?}");

    // Changes made while nothing watches are found by that one list.
    reconciler.kill();
    house.meddle("s3", json!({"color": "green"})).await;
    let _reconciler = house.reconciler();
    house
        .eventually("reverted", async || {
            (house.value("s3", "color").await.as_deref() == Some("red")).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halved_render_is_refused_until_exactly_that_plan_is_confirmed() {
    let house = House::new().await;
    let many: String = (0..12)
        .map(|i| format!("{}---\n", map(&format!("m{i}"), "red")))
        .collect();
    let half: String = (0..6)
        .map(|i| format!("{}---\n", map(&format!("m{i}"), "blue")))
        .collect();
    let first = house.commit("whole", &[("one.yaml", &stack("one", "")), ("one/maps.yaml", &many)]);
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let second = house.commit("half", &[("one/maps.yaml", &half)]);
    let status = house.reaches("refused", &second).await;
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("would remove 6 of 13 objects"),
        "{status:#}"
    );
    assert_eq!(
        house.value("m11", "color").await.as_deref(),
        Some("red"),
        "nothing was removed"
    );
    assert_eq!(
        house.value("m0", "color").await.as_deref(),
        Some("red"),
        "and nothing changed"
    );
    // Another plan's hash is no yes to this one.
    let other = "0123456789abcdef0123456789abcdef";
    house.says(1, &["confirm", "git", other]);
    // Also not when somebody writes it down by hand.
    let words = format!("{{\"data\": {{\"confirm\": \"{other}\", \"request\": \"1\"}}}}");
    house.kubectl(&[
        "patch",
        "configmap",
        "myelin-source-git",
        "-n",
        "myelin-system",
        "--type=merge",
        "-p",
        &words,
    ]);
    house.eventually("silence", async || house.is_silent().await).await;
    assert_eq!(house.value("m11", "color").await.as_deref(), Some("red"));
    let hash = status["unconfirmed"].as_str().unwrap();
    assert!(house.says(0, &["confirm", "git", hash, "--wait"]).contains("ready at"));
    assert_eq!(house.value("m11", "color").await, None);
    assert_eq!(house.value("m0", "color").await.as_deref(), Some("blue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_commit_is_applied_within_a_second_while_the_older_one_waits() {
    let house = House::new().await;
    let stuck = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: nginx, envFrom: [{secretRef: {name: absent}}]}]}\n";
    house.commit(
        "empty",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "c0"))],
    );
    let url = format!("file://{}", house.repository().display());
    let _reconciler = house.reconciler_of(&["--url", &url, "--interval", "1h"]);
    house
        .eventually("ready", async || {
            (house.status().await["state"] == "ready").then_some(())
        })
        .await;
    let mut best = Duration::MAX;
    for round in 1..=3 {
        // The pod that cannot start holds up the apply of this commit.
        let waiting = house.commit(
            "waits",
            &[
                ("one/web.yaml", stuck),
                ("one/map.yaml", &map("paint", &format!("w{round}"))),
            ],
        );
        house.says(0, &["reconcile"]);
        house
            .eventually("it waits", async || {
                let status = house.status().await;
                let waits = status["commit"] == waiting.as_str() && status["waiting"]["Pod shop/web"].is_string();
                waits.then_some(())
            })
            .await;
        house.commit("newer", &[("one/map.yaml", &map("paint", &format!("c{round}")))]);
        house.says(0, &["reconcile"]);
        let asked = Instant::now();
        house
            .eventually("the newer one is applied", async || {
                (house.value("paint", "color").await == Some(format!("c{round}"))).then_some(())
            })
            .await;
        best = best.min(asked.elapsed());
    }
    println!("{} ms", best.as_millis());
    assert!(best < Duration::from_secs(1), "it took {} ms", best.as_millis());
}
