//! Standalone tokens from git: in the order of `dependsOn`, minted once, and removed with their document.

use crate::house::{House, map, stack};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

fn token(more: &str) -> String {
    format!(
        "apiVersion: myelin.dev/v1alpha1\nkind: ProvisioningToken\nmetadata: {{name: key, namespace: shop}}\nspec:\n  \
         issuer: {{random: {{bytes: 24}}}}\n  secret: {{name: key, key: value}}\n  dependsOn: [{{kind: Stack, name: one}}]\n{more}"
    )
}

async fn value(house: &House) -> Option<Vec<u8>> {
    let secrets: Api<Secret> = Api::namespaced(house.client.clone(), "shop");
    let secret = secrets.get_opt("key").await.unwrap()?;
    secret.data?.remove("value").map(|bytes| bytes.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_from_git_is_minted_once_between_its_stacks_and_goes_with_its_document() {
    let house = House::new().await;
    let two = stack("two", "  dependsOn: [{kind: ProvisioningToken, name: key}]\n");
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("one", "red")),
            ("key.yaml", &token("")),
            ("two.yaml", &two),
            ("two/map.yaml", &map("two", "red")),
        ],
    );
    let planned = house.myelin(&["plan", "repository"]);
    let said = String::from_utf8_lossy(&planned.stdout).into_owned();
    assert!(said.contains("token shop/key: 1 create"), "{said}");
    let reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let minted = value(&house).await.expect("a value");
    assert!(house.value("two", "color").await.is_some());

    // Another commit mints nothing; another value nowhere.
    let second = house.commit("blue", &[("one/map.yaml", &map("one", "blue"))]);
    house.reaches("ready", &second).await;
    assert_eq!(value(&house).await.as_ref(), Some(&minted));

    // Other keepers, from git.
    let third = house.commit("rotate", &[("key.yaml", &token("  keepers: {volume: '2'}\n"))]);
    house.reaches("ready", &third).await;
    let rotated = value(&house).await.expect("a value");
    assert_ne!(rotated, minted);

    // The Secret is deleted by hand: it is minted again, without a commit.
    let secrets: Api<Secret> = Api::namespaced(house.client.clone(), "shop");
    secrets.delete("key", &DeleteParams::default()).await.unwrap();
    let anew = house
        .eventually("minted again", async || value(&house).await.filter(|v| *v != rotated))
        .await;
    // So it is when only its key goes, and another key of the Secret stays.
    house.reaches("ready", &third).await;
    let keep_other = r#"{"data": {"value": null, "other": "eA=="}}"#;
    house.kubectl(&[
        "--namespace=shop",
        "patch",
        "secret/key",
        "--type=merge",
        "--patch",
        keep_other,
    ]);
    let last = house
        .eventually("its key is there again", async || {
            value(&house).await.filter(|v| *v != anew)
        })
        .await;
    assert!(secrets.get("key").await.unwrap().data.unwrap().contains_key("other"));
    // A token that is as it should be is asked nothing.
    house.reaches("ready", &third).await;
    house.eventually("silence", async || house.is_silent().await).await;

    let log = house.log();
    for secret in [&minted, &rotated, &anew, &last] {
        let text = String::from_utf8_lossy(secret);
        assert!(!log.contains(&*text) && !said.contains(&*text), "a value in a log");
    }
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", reconciler.pid())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    let numbers: Vec<&str> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(numbers, ["0", "0"], "a core could hold a value: {core}");

    house.git(&["rm", "--quiet", "key.yaml"]);
    let fifth = house.commit("without", &[("two.yaml", &stack("two", ""))]);
    house.reaches("ready", &fifth).await;
    assert!(value(&house).await.is_none(), "its document is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_tied_to_a_new_object_is_minted_anew_without_a_commit() {
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("one", "red")),
            ("key.yaml", &token("  rotateWith: [ConfigMap/volume]\n")),
        ],
    );
    let volume = house.file("volume.yaml", &map("volume", "red"));
    house.kubectl(&["create", "namespace", "shop"]);
    house.kubectl(&["--namespace=shop", "create", "-f", &volume]);
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let minted = value(&house).await.expect("a value");
    house.kubectl(&["--namespace=shop", "delete", "-f", &volume]);
    house.kubectl(&["--namespace=shop", "create", "-f", &volume]);
    house
        .eventually("a new object", async || value(&house).await.filter(|v| *v != minted))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_becomes_too_old_is_minted_anew_without_a_commit() {
    const LIVES: i64 = 3600;
    let house = House::new().await;
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("one", "red")),
            ("key.yaml", &token(&format!("  expiresAfter: {LIVES}\n"))),
        ],
    );
    let reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let minted = value(&house).await.expect("a value");
    drop(reconciler);

    // As if it had been minted an hour ago, but for a few seconds.
    let secrets: Api<Secret> = Api::namespaced(house.client.clone(), "shop");
    let name = "myelin-token-key";
    let mut record = secrets.get(name).await.unwrap();
    let data = record.data.as_mut().unwrap();
    let mut text: Value = serde_json::from_slice(&data["record"].0).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let expires = i64::try_from(now).unwrap() + 8;
    for token in text["tokens"].as_object_mut().unwrap().values_mut() {
        let stored = token.pointer_mut("/state/stored").expect("it is stored");
        stored["mintedAt"] = json!(expires - LIVES);
        stored["expiresAt"] = json!(expires);
    }
    data.insert("record".to_owned(), ByteString(text.to_string().into_bytes()));
    secrets.replace(name, &PostParams::default(), &record).await.unwrap();

    let _reconciler = house.reconciler();
    house
        .eventually("a new value", async || value(&house).await.filter(|v| *v != minted))
        .await;
    house.reaches("ready", &first).await;
    house.eventually("silence", async || house.is_silent().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_descriptions_of_one_token_are_refused() {
    let house = House::new().await;
    house.commit(
        "twice",
        &[
            ("one.yaml", &stack("one", "")),
            ("one/map.yaml", &map("one", "red")),
            ("a.yaml", &token("")),
            ("b.yaml", &token("  keepers: {a: b}\n")),
        ],
    );
    let refused = house.myelin(&["validate", "repository"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("token shop/key is described twice") && said.contains("a.yaml:1"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_falls_due_while_its_stack_is_repaired_is_minted_after_that_and_not_beside_it() {
    let house = House::new().await;
    let tokens = "  tokens: {key: {issuer: {random: {bytes: 24}}, secret: {name: key, key: value}}}\n";
    let first = house.commit(
        "first",
        &[
            ("one.yaml", &stack("one", tokens)),
            ("one/map.yaml", &map("paint", "red")),
        ],
    );
    let _reconciler = house.reconciler();
    house.reaches("ready", &first).await;
    let minted = value(&house).await.expect("a value");
    let rule = house.hang_patches("paint");
    house.meddle("paint", json!({"color": "green"})).await;
    house.met("its repair hangs", &rule).await;
    let before = house.sandbox.faults().sequence();
    let secrets: Api<Secret> = Api::namespaced(house.client.clone(), "shop");
    secrets.delete("key", &DeleteParams::default()).await.unwrap();
    house
        .eventually("it is noticed", async || {
            house.log().contains("a token is due").then_some(())
        })
        .await;
    house.eventually("silence", async || house.is_silent().await).await;
    // The first one waits for its patch, so nobody looks at the stack: another repair would begin with that.
    let looked: Vec<String> = house
        .sandbox
        .faults()
        .log(before)
        .into_iter()
        .filter(|line| line.user_agent.starts_with("myelin/") && ["get", "list"].contains(&line.verb))
        .map(|line| format!("{} {}", line.verb, line.path))
        .collect();
    assert!(looked.is_empty(), "a second repair began beside the first: {looked:#?}");
    assert!(value(&house).await.is_none());
    house.sandbox.faults().clear();
    house
        .eventually("both are repaired", async || {
            let red = house.value("paint", "color").await.as_deref() == Some("red");
            value(&house).await.filter(|value| red && *value != minted)
        })
        .await;
    house.reaches("ready", &first).await;
}
