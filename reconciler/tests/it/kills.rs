//! A process that is killed at every request of a pass from commit to ready, reads included: the next one finishes the
//! job. Nothing is created twice, nothing stays behind, and a token that was being minted has exactly one value.

use crate::house::{House, map, stack};
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use myelin_sandbox::faults::{Effect, Rule};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn token(round: u32) -> String {
    format!(
        "apiVersion: myelin.dev/v1alpha1\nkind: ProvisioningToken\nmetadata: {{name: key, namespace: shop}}\nspec:\n  \
         issuer: {{random: {{bytes: 24}}}}\n  secret: {{name: key, key: value}}\n  dependsOn: [{{kind: Stack, name: one}}]\n  \
         keepers: {{round: '{round}'}}\n"
    )
}

fn commit(house: &House, round: u32) -> String {
    house.commit(
        &format!("round {round}"),
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("paint", &format!("c{round}"))),
            ("one/round.yaml", &map(&format!("round-{round}"), "c")),
            ("key.yaml", &token(round)),
        ],
    )
}

/// Every value that the token's Secret has ever had, as seen by a watch.
fn values(house: &House) -> Arc<Mutex<Vec<Vec<u8>>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (api, told): (Api<Secret>, _) = (Api::namespaced(house.client.clone(), "shop"), Arc::clone(&seen));
    tokio::spawn(async move {
        let mut version = "0".to_owned();
        loop {
            let only = WatchParams::default().fields("metadata.name=key");
            let Ok(stream) = api.watch(&only, &version).await else {
                // The sandbox is gone: the test has ended. Without a pause this task could never be stopped.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let mut stream = stream.boxed();
            while let Ok(Some(event)) = stream.try_next().await {
                let secret = match event {
                    WatchEvent::Added(secret) | WatchEvent::Modified(secret) => secret,
                    WatchEvent::Error(_) => {
                        // What was seen last is too old to continue from.
                        "0".clone_into(&mut version);
                        break;
                    }
                    WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => continue,
                };
                version = secret.metadata.resource_version.clone().unwrap();
                let value = secret.data.and_then(|mut data| data.remove("value"));
                let mut seen = told.lock().unwrap();
                if let Some(value) = value.filter(|value| seen.last() != Some(&value.0)) {
                    seen.push(value.0);
                }
            }
        }
    });
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_request_the_next_process_finishes_and_no_token_is_minted_twice() {
    let house = House::new().await;
    let first = commit(&house, 0);
    let reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    reconciler.kill();
    let maps: Api<ConfigMap> = Api::namespaced(house.client.clone(), "shop");
    let secrets: Api<Secret> = Api::namespaced(house.client.clone(), "shop");
    let paint = maps.get("paint").await.unwrap().metadata.uid;
    let minted = values(&house);
    let mut told = 0;
    let (mut round, mut reads, mut writes) = (0, 0, 0);
    for (verbs, effect) in [
        (&["get", "list", "watch"][..], Effect::HangBefore),
        (&["create", "update", "patch", "delete"], Effect::HangBefore),
        (&["create", "update", "patch", "delete"], Effect::HangAfter),
    ] {
        for nth in 0.. {
            assert!(nth < 80, "a commit of three changes has no eighty requests of one sort");
            round += 1;
            let rule = house.sandbox.faults().add(Rule {
                id: format!("strike-{round}"),
                verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
                user_agent: "myelin/".to_owned(),
                skip: nth,
                times: 1,
                effect: effect.clone(),
                ..Rule::default()
            });
            let hash = commit(&house, round);
            // From its first request on: requests at startup are hit too.
            let process = house.reconciler();
            let struck = house
                .eventually("a strike, or the end", async || {
                    let rules = house.sandbox.faults().rules();
                    let met = rules.iter().any(|report| report.rule.id == rule && report.met > 0);
                    let status = house.status().await;
                    let done = status["state"] == "ready" && status["commit"] == hash.as_str();
                    (met || done).then_some(met)
                })
                .await;
            process.kill();
            house.sandbox.faults().remove(&rule);
            if struck {
                *(if verbs.contains(&"get") {
                    &mut reads
                } else {
                    &mut writes
                }) += 1;
                let next = house.reconciler();
                house.reaches("ready", &hash).await;
                next.kill();
            }
            let what = format!("{effect:?} at {verbs:?} number {nth}");
            let ours = ListParams::default().labels("applyset.kubernetes.io/part-of");
            let all = maps.list(&ours).await.unwrap();
            let names: BTreeSet<String> = all.items.iter().filter_map(|map| map.metadata.name.clone()).collect();
            assert_eq!(
                names,
                BTreeSet::from(["paint".to_owned(), format!("round-{round}")]),
                "{what}"
            );
            assert_eq!(house.value("paint", "color").await, Some(format!("c{round}")), "{what}");
            assert_eq!(
                maps.get("paint").await.unwrap().metadata.uid,
                paint,
                "{what}: it was made anew"
            );
            let records = ListParams::default().fields("type=myelin.dev/stack");
            assert_eq!(secrets.list(&records).await.unwrap().items.len(), 2, "{what}");
            let now = secrets.get("key").await.unwrap().data.unwrap()["value"].0.clone();
            let known = house
                .eventually("the watch has told of the value", async || {
                    let minted = minted.lock().unwrap().clone();
                    (minted.last() == Some(&now)).then_some(minted)
                })
                .await;
            // The first look of the watch is the value of round 0 or, if it began late, of round 1.
            let new = known.len() - told;
            assert!(
                new == 1 || (round == 1 && new == 2),
                "{what}: {new} values in one round"
            );
            told = known.len();
            if !struck {
                break;
            }
        }
    }
    println!("{reads} reads, {writes} writes");
    assert!(
        reads >= 8 && writes >= 16,
        "only {reads} reads and {writes} writes were met"
    );
}
