//! Several replicas: one works, and the others take over at once when it ends, however it ends.

use crate::house::{House, Reconciler, map, stack};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ListParams};
use myelin_sandbox::faults::{Effect, Rule};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

fn arguments(house: &House) -> [String; 3] {
    let url = format!("file://{}", house.repository().display());
    ["--url".to_owned(), url, "--lease".to_owned()]
}

fn start(house: &House, name: &str) -> Reconciler {
    let arguments = arguments(house);
    house.replica(name, &arguments.each_ref().map(String::as_str))
}

/// Waits until another replica than `old` holds the source; returns which, and after how long.
async fn successor(house: &House, old: &str, since: Instant) -> (String, Duration) {
    house
        .eventually("another holder", async || {
            let holder = house.lease_holder().await?;
            (holder != old).then_some((holder, since.elapsed()))
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_is_replaced_within_a_second_and_one_that_stops_well_at_once() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let mut replicas = BTreeMap::from([("a", start(&house, "a")), ("b", start(&house, "b"))]);
    house.reaches("ready", &first).await;
    house
        .eventually("both beat", async || (house.replicas().await == 2).then_some(()))
        .await;
    let mut value = 0;
    for kill in [true, false] {
        let holder = house.lease_holder().await.unwrap();
        let name = if holder.starts_with("a-") { "a" } else { "b" };
        let ended = replicas.remove(name).unwrap();
        let began = Instant::now();
        if kill {
            ended.kill();
        } else {
            ended.terminate();
        }
        let (next, took) = successor(&house, &holder, began).await;
        assert_ne!(next, holder);
        println!("{}: {} ms", if kill { "SIGKILL" } else { "SIGTERM" }, took.as_millis());
        assert!(took < Duration::from_secs(1), "it took {} ms", took.as_millis());
        value += 1;
        let commit = house.commit("next", &[("one/map.yaml", &map("paint", &format!("c{value}")))]);
        house.reaches("ready", &commit).await;
        assert_eq!(house.value("paint", "color").await, Some(format!("c{value}")));
        if kill {
            replicas.insert(name, start(&house, name));
            house
                .eventually("both beat again", async || (house.replicas().await == 2).then_some(()))
                .await;
        }
    }
    house
        .eventually("who said good-bye left nothing behind", async || {
            (house.replicas().await == 1).then_some(())
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_are_shared_out_and_a_holder_whose_beats_are_lost_stops() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[("one.yaml", &stack("one", "")), ("one/map.yaml", &map("paint", "red"))],
    );
    let _a = start(&house, "a");
    house.reaches("ready", &first).await;
    let holder = house.lease_holder().await.unwrap();
    let _b = start(&house, "b");
    house
        .eventually("both beat", async || (house.replicas().await == 2).then_some(()))
        .await;
    // The holder's heartbeats no longer arrive: it is alive, and must not work when the other one does.
    house.sandbox.faults().add(Rule {
        id: "mute".to_owned(),
        verbs: ["update", "get", "create"].map(str::to_owned).to_vec(),
        resources: vec!["leases.coordination.k8s.io".to_owned()],
        name: format!("myelin-replica-{holder}"),
        effect: Effect::Status {
            code: 503,
            retry_after: None,
            message: "muted".to_owned(),
        },
        ..Rule::default()
    });
    let (next, took) = successor(&house, &holder, Instant::now()).await;
    assert!(next.starts_with("b-"), "{next}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    house
        .eventually("it says so", async || {
            house.log().contains("our beats are not confirmed").then_some(())
        })
        .await;
    house.sandbox.faults().clear();
    let second = house.commit("blue", &[("one/map.yaml", &map("paint", "blue"))]);
    house.reaches("ready", &second).await;
    assert_eq!(house.value("paint", "color").await.as_deref(), Some("blue"));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_write_of_a_commit_the_next_replica_finishes_it_and_nothing_is_doubled() {
    let house = House::new().await;
    let first = house.commit(
        "round 0",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("paint", "c")),
            ("one/round.yaml", &map("round-0", "c")),
        ],
    );
    let mut number = 0;
    let mut replicas: BTreeMap<String, Reconciler> = BTreeMap::new();
    let mut join = |replicas: &mut BTreeMap<String, Reconciler>| {
        number += 1;
        let name = format!("r{number}");
        let started = start(&house, &name);
        replicas.insert(name, started);
    };
    join(&mut replicas);
    join(&mut replicas);
    house.reaches("ready", &first).await;
    let maps: Api<ConfigMap> = Api::namespaced(house.client.clone(), "shop");
    let paint = maps.get("paint").await.unwrap().metadata.uid;
    let (mut round, mut boundaries) = (0, 0);
    for after in [false, true] {
        for nth in 0.. {
            assert!(nth < 40, "a commit of three changes has no forty writes");
            house
                .eventually("two replicas", async || (house.replicas().await == 2).then_some(()))
                .await;
            round += 1;
            let rule = house.sandbox.faults().add(Rule {
                id: format!("strike-{round}"),
                verbs: ["create", "update", "patch", "delete"].map(str::to_owned).to_vec(),
                resources: ["configmaps", "secrets", "namespaces"].map(str::to_owned).to_vec(),
                user_agent: "myelin/".to_owned(),
                skip: nth,
                times: 1,
                effect: if after { Effect::HangAfter } else { Effect::HangBefore },
                ..Rule::default()
            });
            let commit = house.commit(
                &format!("round {round}"),
                &[
                    ("one/map.yaml", &map("paint", &format!("c{round}"))),
                    ("one/round.yaml", &map(&format!("round-{round}"), "c")),
                ],
            );
            let struck = house
                .eventually("a strike, or the end", async || {
                    let rules = house.sandbox.faults().rules();
                    let met = rules.iter().any(|report| report.rule.id == rule && report.met > 0);
                    let status = house.status().await;
                    let done = status["state"] == "ready" && status["commit"] == commit.as_str();
                    (met || done).then_some(met)
                })
                .await;
            if struck {
                boundaries += 1;
                let holder = house.lease_holder().await.unwrap();
                let name = holder.rsplit_once('-').unwrap().0.to_owned();
                replicas.remove(&name).unwrap().kill();
                join(&mut replicas);
            }
            house.sandbox.faults().remove(&rule);
            house.reaches("ready", &commit).await;
            let all = maps
                .list(&ListParams::default().labels("applyset.kubernetes.io/part-of"))
                .await
                .unwrap();
            let names: BTreeSet<String> = all.items.iter().filter_map(|map| map.metadata.name.clone()).collect();
            assert_eq!(
                names,
                BTreeSet::from(["paint".to_owned(), format!("round-{round}")]),
                "boundary {nth}"
            );
            assert_eq!(
                house.value("paint", "color").await,
                Some(format!("c{round}")),
                "boundary {nth}"
            );
            assert_eq!(
                maps.get("paint").await.unwrap().metadata.uid,
                paint,
                "it was never made anew"
            );
            let secrets: Api<Secret> = Api::namespaced(house.client.clone(), "shop");
            let records = secrets.list(&ListParams::default()).await.unwrap().items;
            assert_eq!(records.len(), 1, "one record");
            if !struck {
                break;
            }
        }
    }
    println!("{boundaries} boundaries");
    assert!(boundaries >= 10, "only {boundaries} boundaries were met");
}
