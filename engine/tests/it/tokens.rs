//! Tokens against the sandbox: minted once, stored once, shown nowhere; with a kill at every request.

use crate::faults::{Death, until_death};
use crate::world::{NAMESPACE, World, deployment, id, quick, stack};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use myelin_engine::apply::apply;
use myelin_engine::cluster::{Mode, Precondition, Propagation, Selection, Target, kinds};
use myelin_engine::desired::Desired;
use myelin_engine::observe::DryRun;
use myelin_engine::plan::Action;
use myelin_engine::record;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// A StatefulSet named `aha`, whose pod answers AHA's provisioning tool in the sandbox.
fn aha() -> Value {
    let mut set = deployment("aha", "vertexproject/synapse-aha:v2.256.0");
    set["kind"] = "StatefulSet".into();
    set["spec"]["serviceName"] = "aha".into();
    set
}

fn exec_token() -> Value {
    json!({
        "issuer": {"exec": {"pod": "aha-0", "command": ["python", "-m", "synapse.tools.aha.provision.service", "00.axon"]}},
        "extract": "url",
        "secret": {"name": "axon-provision", "key": "URL"},
        "rotateWith": ["ConfigMap/volume"],
    })
}

fn random_token(keeper: &str) -> Value {
    json!({"issuer": {"random": {"bytes": 24}}, "secret": {"name": "random", "key": "value"}, "keepers": {"k": keeper}})
}

/// A token from a pod, and the workload that reads it.
fn provisioned() -> Desired {
    let mut axon = deployment("axon", "vertexproject/synapse-axon:v2.256.0");
    axon["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "URL", "valueFrom": {"secretKeyRef": {"name": "axon-provision", "key": "URL"}}}]);
    stack(
        json!({
            "components": {"aha": {"path": "aha"}, "axon": {"path": "axon", "after": ["aha"], "tokens": ["axon"]}},
            "tokens": {"axon": exec_token()},
        }),
        vec![("aha", aha()), ("axon", axon)],
    )
}

/// A token that the engine makes itself, which needs no pod: for the tests that start many worlds.
fn random(keeper: &str) -> Desired {
    stack(json!({"tokens": {"random": random_token(keeper)}}), Vec::new())
}

async fn value(world: &World, secret: &str, key: &str) -> Option<String> {
    let secret = world.get("v1", "Secret", secret).await?;
    let text = secret["data"][key].as_str()?;
    String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).ok()
}

async fn mints(world: &World, name: &str) -> u64 {
    let stored = record::read(&*world.cluster, &id(), &CancellationToken::new())
        .await
        .unwrap();
    stored.unwrap().record.tokens[name].mints
}

#[tokio::test]
async fn a_token_is_minted_once_between_its_issuer_and_its_reader() {
    let world = World::start().await;
    let wanted = provisioned();
    let plan = world.plan(&wanted).await;
    assert!(
        plan.to_string().contains("create ProvisioningToken shop/axon"),
        "{plan}"
    );
    world.applied(&wanted).await;
    let first = value(&world, "axon-provision", "URL").await.expect("a value");
    assert!(
        first.starts_with("ssl://") && first.contains("certhash="),
        "the prefix of the tool's line is gone"
    );
    for _ in 0..3 {
        assert!(world.plan(&wanted).await.is_empty());
        world.applied(&wanted).await;
    }
    assert_eq!(value(&world, "axon-provision", "URL").await.as_ref(), Some(&first));
    assert_eq!(mints(&world, "axon").await, 1);
    // Neither the plan nor the record tells the value.
    let record = world
        .get("v1", "Secret", &id().record_name())
        .await
        .unwrap()
        .to_string();
    for text in [plan.to_string(), record, format!("{wanted:?}")] {
        assert!(!text.contains(&first) && !text.contains(&BASE64_STANDARD.encode(&first)));
    }
}

#[tokio::test]
async fn a_token_is_minted_anew_when_its_key_is_gone_and_when_what_it_is_tied_to_is_new() {
    let world = World::start().await;
    let wanted = provisioned();
    world.applied(&wanted).await;
    let first = value(&world, "axon-provision", "URL").await;
    let meddler = world.cluster_as("meddler").await;
    let secrets = format!("/api/v1/namespaces/{NAMESPACE}/secrets/axon-provision");
    meddler
        .request("DELETE", &secrets, "application/json", &json!({}))
        .await;
    let plan = world.plan(&wanted).await;
    assert!(plan.to_string().contains("its Secret or key is gone"), "{plan}");
    world.applied(&wanted).await;
    let second = value(&world, "axon-provision", "URL").await;
    assert!(second.is_some() && second != first);

    let configs = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let volume = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "volume"}});
    meddler.request("POST", &configs, "application/json", &volume).await;
    // The object was not there when the token was minted: it is tied to it now, and that is no reason for a new one.
    assert!(world.plan(&wanted).await.is_empty());
    let mut changed = wanted.clone();
    changed.objects.iter_mut().for_each(|o| {
        if o.key.kind == "Deployment" {
            o.value["metadata"]["annotations"] = json!({"touched": "1"});
        }
    });
    world.applied(&changed).await;
    meddler
        .request("DELETE", &format!("{configs}/volume"), "application/json", &json!({}))
        .await;
    meddler.request("POST", &configs, "application/json", &volume).await;
    let plan = world.plan(&changed).await;
    assert!(plan.to_string().contains("ConfigMap/volume is a new object"), "{plan}");
    world.applied(&changed).await;
    let third = value(&world, "axon-provision", "URL").await;
    assert!(third.is_some() && third != second);
    assert_eq!(mints(&world, "axon").await, 3);
}

#[tokio::test]
async fn a_tool_that_fails_is_told_in_its_own_words_and_mints_again_when_it_is_mended() {
    let world = World::start().await;
    let broken = stack(
        json!({
            "components": {"aha": {"path": "aha"}},
            "tokens": {"axon": {
                "issuer": {"exec": {"pod": "aha-0", "container": "nope", "command": ["true"]}},
                "secret": {"name": "axon-provision", "key": "URL"},
            }},
        }),
        vec![("aha", aha())],
    );
    let outcome = world.apply(&broken).await;
    let told = outcome.diagnostics.to_string();
    assert!(!outcome.ready && told.contains("nope has not started"), "{told}");
    assert!(world.get("v1", "Secret", "axon-provision").await.is_none());
    // Nothing was minted, so nothing is called interrupted.
    world.applied(&provisioned()).await;
    assert!(!world.plan(&provisioned()).await.to_string().contains("interrupted"));
}

#[tokio::test]
async fn a_foreign_value_is_refused_and_taken_over_only_when_asked() {
    let world = World::start().await;
    let meddler = world.cluster_as("kubectl").await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    meddler
        .request("POST", "/api/v1/namespaces", "application/json", &namespace)
        .await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "random"},
        "stringData": {"value": "mine", "other": "kept"}});
    let secrets = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
    meddler.request("POST", &secrets, "application/json", &secret).await;
    let plan = world.plan(&random("1")).await;
    assert!(
        plan.diagnostics.has_errors() && plan.to_string().contains("did not mint"),
        "{plan}"
    );
    let mut token = random_token("1");
    token["adopt"] = "always".into();
    let adopting = stack(json!({"tokens": {"random": token}}), Vec::new());
    assert!(
        world
            .plan(&adopting)
            .await
            .changes
            .iter()
            .any(|c| c.action == Action::Adopt)
    );
    world.applied(&adopting).await;
    assert_eq!(value(&world, "random", "value").await.as_deref(), Some("mine"));
    assert!(world.plan(&adopting).await.is_empty());
    // Rotation changes the one key and leaves the others.
    let mut token = random_token("2");
    token["adopt"] = "always".into();
    world
        .applied(&stack(json!({"tokens": {"random": token}}), Vec::new()))
        .await;
    assert_ne!(value(&world, "random", "value").await.as_deref(), Some("mine"));
    assert_eq!(value(&world, "random", "other").await.as_deref(), Some("kept"));
}

#[tokio::test]
async fn killed_at_any_request_a_token_is_minted_once_or_the_interruption_is_told() {
    for death in [Death::Before, Death::After] {
        let mut ended = false;
        for requests in 0..60 {
            let world = World::start().await;
            ended = until_death(&world, requests, death, async |cluster| {
                let plan = world.plan_with(&*cluster, &random("1"), DryRun::Decisions).await;
                apply(cluster, &plan, &quick()).await;
            })
            .await;
            let before = match world.get("v1", "Namespace", NAMESPACE).await {
                Some(_) => value(&world, "random", "value").await,
                None => None,
            };
            // A mint that is dead is assumed to be alive for a moment.
            let plan = world.plan_with(&*world.cluster, &random("1"), DryRun::Decisions).await;
            let outcome = apply(std::sync::Arc::clone(&world.cluster), &plan, &quick()).await;
            assert!(outcome.ready, "{death:?} at {requests}: {}", outcome.diagnostics);
            let after = value(&world, "random", "value").await;
            assert!(after.is_some(), "{death:?} at {requests}");
            if before.is_some() {
                assert_eq!(
                    after, before,
                    "a stored value was minted again, {death:?} at {requests}"
                );
            }
            assert!(world.plan(&random("1")).await.is_empty(), "{death:?} at {requests}");
            assert_eq!(mints(&world, "random").await.max(1), 1);
            if ended {
                break;
            }
        }
        assert!(ended, "sixty requests are enough for this stack");
    }
}

#[tokio::test]
async fn a_destroy_takes_the_key_away_and_leaves_other_keys_alone() {
    let world = World::start().await;
    let both = stack(
        json!({"tokens": {"random": random_token("1"), "alone": {
            "issuer": {"signingKey": {}}, "secret": {"name": "alone", "key": "signing.key"},
        }}}),
        Vec::new(),
    );
    world.applied(&both).await;
    let key = value(&world, "alone", "signing.key").await.expect("a key");
    assert!(key.starts_with("ed25519 a_"));
    world
        .meddle("v1", "Secret", "random", json!({"data": {"other": "eA=="}}))
        .await;
    let outcome = world.destroy().await;
    assert!(
        outcome.objects.keys().any(|k| k.name == "random"),
        "{:?}",
        outcome.objects
    );
    assert!(world.get("v1", "Secret", "alone").await.is_none());
    let left = world.get("v1", "Secret", "random").await;
    assert!(left.is_none_or(|s| s["data"].get("value").is_none()), "the key is gone");
}

/// The only pod of the namespace: its UID and why its container waits.
async fn reader_pod(world: &World) -> Option<(String, String)> {
    let selection = Selection {
        namespace: Some(NAMESPACE.to_owned()),
        ..Selection::default()
    };
    let pods = world
        .cluster
        .list(&kinds::known("v1", "Pod"), &selection)
        .await
        .unwrap();
    let text = |pod: &Value, pointer: &str| {
        pod.pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match pods.items.as_slice() {
        [pod] if pod.pointer("/metadata/deletionTimestamp").is_none() => Some((
            text(pod, "/metadata/uid"),
            text(pod, "/status/containerStatuses/0/state/waiting/reason"),
        )),
        _ => None,
    }
}

/// Deletes an object of the namespace, as somebody else would.
async fn delete(world: &World, kind: &str, name: &str) {
    let live = world.get("v1", kind, name).await.unwrap();
    let target = Target {
        resource: kinds::known("v1", kind),
        namespace: NAMESPACE.to_owned(),
        name: name.to_owned(),
    };
    let precondition = Precondition {
        uid: live["metadata"]["uid"].as_str().unwrap().to_owned(),
        resource_version: None,
    };
    let propagation = Propagation::Background;
    world
        .cluster
        .delete(&target, &precondition, propagation, Mode::Real)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_pod_that_waits_for_the_secret_picks_it_up_and_is_not_restarted() {
    let world = World::start().await;
    let mut reader = deployment("reader", "shop/reader:1.0");
    reader["spec"]["template"]["spec"]["containers"][0]["env"] =
        json!([{"name": "VALUE", "valueFrom": {"secretKeyRef": {"name": "random", "key": "value"}}}]);
    let mut token = random_token("1");
    token["restart"] = json!(["Deployment/reader"]);
    let wanted = stack(
        json!({"components": {"reader": {"path": "reader", "tokens": ["random"]}}, "tokens": {"random": token}}),
        vec![("reader", reader)],
    );
    world.applied(&wanted).await;
    let (first, _) = reader_pod(&world).await.expect("the pod");

    // Somebody deletes the Secret and the pod: the new pod cannot start.
    delete(&world, "Secret", "random").await;
    let pods = world
        .cluster
        .list(&kinds::known("v1", "Pod"), &Selection::default())
        .await
        .unwrap();
    let name = pods.items[0]
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap()
        .to_owned();
    delete(&world, "Pod", &name).await;
    let waiting = loop {
        match reader_pod(&world).await {
            Some((uid, why)) if uid != first && why == "CreateContainerConfigError" => break uid,
            _ => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    };
    world.applied(&wanted).await;
    assert_eq!(mints(&world, "random").await, 2);
    let (now, why) = reader_pod(&world).await.expect("the pod");
    assert_eq!((now, why), (waiting, String::new()), "the same pod, running");
}
