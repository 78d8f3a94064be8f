//! Standalone tokens: the life cycle of one, a kill at every request, two runs at once, and error messages.

use crate::faults::{Death, until_death};
use crate::world::{NAMESPACE, World, deployment, quick, stack};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use myelin_engine::apply::{Destroy, Outcome, Run, apply, apply_token, destroy};
use myelin_engine::cluster::Cluster;
use myelin_engine::desired::{Desired, lone_token};
use myelin_engine::document::{API_VERSION, token_from_value};
use myelin_engine::observe::{Refresh, refresh};
use myelin_engine::plan::Action;
use myelin_engine::record::{Owner, StackId};
use myelin_sandbox::faults::{Effect, Rule};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

fn id() -> StackId {
    StackId::of_token(NAMESPACE, "axon")
}

fn token(spec: Value) -> Arc<Desired> {
    let document = json!({"apiVersion": API_VERSION, "kind": "ProvisioningToken",
        "metadata": {"name": "axon", "namespace": NAMESPACE}, "spec": spec});
    let token = token_from_value(document, &|_| None).unwrap_or_else(|e| panic!("{e}"));
    Arc::new(lone_token(&token, Duration::from_secs(30)))
}

fn random(more: Value) -> Arc<Desired> {
    let mut spec = json!({"issuer": {"random": {"bytes": 24}}, "secret": {"name": "axon", "key": "value"}});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    token(spec)
}

fn exec(more: Value) -> Arc<Desired> {
    let mut issuer =
        json!({"pod": "aha-0", "command": ["python", "-m", "synapse.tools.aha.provision.service", "00.axon"]});
    issuer
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    token(json!({"issuer": {"exec": issuer}, "extract": "url", "secret": {"name": "axon", "key": "value"}}))
}

async fn run(cluster: &Arc<dyn Cluster>, wanted: &Arc<Desired>, run: &Run) -> Outcome {
    apply_token(Arc::clone(cluster), wanted, &Owner::Terraform, run)
        .await
        .unwrap_or_else(|e| panic!("{e}"))
}

async fn applied(world: &World, wanted: &Arc<Desired>) {
    let outcome = run(&world.cluster, wanted, &quick()).await;
    assert!(outcome.ready, "{}", outcome.diagnostics);
}

async fn known(world: &World) -> Option<Refresh> {
    refresh(&*world.cluster, &id(), &BTreeMap::new())
        .await
        .unwrap_or_else(|e| panic!("{e}"))
}

async fn value(world: &World) -> Option<String> {
    let secret = world.get("v1", "Secret", "axon").await?;
    let text = secret["data"]["value"].as_str()?;
    String::from_utf8(BASE64_STANDARD.decode(text).unwrap()).ok()
}

async fn post(world: &World, what: &str, body: Value) {
    let path = if what == "namespaces" {
        "/api/v1/namespaces".to_owned()
    } else {
        format!("/api/v1/namespaces/{NAMESPACE}/{what}")
    };
    let kubectl = world.cluster_as("kubectl").await;
    kubectl.request("POST", &path, "application/json", &body).await;
}

/// A world with the namespace, which a token does not make.
async fn world() -> World {
    let world = World::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    post(&world, "namespaces", namespace).await;
    world
}

/// A world in which `aha-0` runs.
async fn world_with_aha() -> World {
    let world = World::start().await;
    let mut aha = deployment("aha", "vertexproject/synapse-aha:v2.256.0");
    aha["kind"] = "StatefulSet".into();
    aha["spec"]["serviceName"] = "aha".into();
    world.applied(&stack(json!({}), vec![("aha", aha)])).await;
    world
}

async fn demolish(world: &World) -> Outcome {
    let terms = Destroy {
        delete_protected: BTreeSet::new(),
        timeout: Duration::from_secs(20),
    };
    let cluster = Arc::clone(&world.cluster);
    destroy(cluster, &id(), &Owner::Terraform, &terms, &quick()).await
}

#[tokio::test]
async fn a_token_that_is_too_old_is_minted_anew_by_a_plan_that_says_so() {
    let world = world().await;
    let wanted = random(json!({"expiresAfter": 3600}));
    applied(&world, &wanted).await;
    let first = value(&world).await.expect("a value");
    assert!(world.plan(&wanted).await.is_empty());
    world
        .rewrite_record(&id(), |record| {
            for token in record["tokens"].as_object_mut().unwrap().values_mut() {
                let minted = token.pointer_mut("/state/stored/mintedAt").expect("it is stored");
                *minted = json!(minted.as_i64().unwrap() - 3601);
            }
        })
        .await;
    let plan = world.plan(&wanted).await;
    assert!(!plan.is_empty() && plan.to_string().contains("expired"), "{plan}");
    applied(&world, &wanted).await;
    assert_ne!(value(&world).await.as_ref(), Some(&first));
    assert!(world.plan(&wanted).await.is_empty());
}

#[tokio::test]
async fn a_token_of_its_own_lives_from_create_to_destroy() {
    let world = world().await;
    let wanted = random(json!({"expiresAfter": 3600}));
    let plan = world.plan(&wanted).await;
    assert!(plan.to_string().starts_with("token shop/axon: 1 create"), "{plan}");
    applied(&world, &wanted).await;
    let first = value(&world).await.expect("a value");
    for _ in 0..3 {
        assert!(world.plan(&wanted).await.is_empty());
        applied(&world, &wanted).await;
    }
    assert_eq!(value(&world).await.as_ref(), Some(&first));
    let facts = known(&world).await.unwrap().tokens["axon"].clone();
    assert_eq!((facts.mints, &facts.due, facts.foreign), (1, &None, false));
    assert_eq!(facts.expires_at, facts.minted_at.map(|at| at + 3600));
    let secret = world.get("v1", "Secret", "axon").await.unwrap();
    assert_eq!(facts.secret_uid.as_deref(), secret["metadata"]["uid"].as_str());

    // Other terms, and the value stays: the record and the labels follow.
    let wanted =
        random(json!({"expiresAfter": 7200, "secret": {"name": "axon", "key": "value", "labels": {"team": "blue"}}}));
    let plan = world.plan(&wanted).await;
    assert!(
        plan.to_string().contains("its value stays and nothing is minted"),
        "{plan}"
    );
    applied(&world, &wanted).await;
    assert!(world.plan(&wanted).await.is_empty());
    assert_eq!(value(&world).await.as_ref(), Some(&first));
    let facts = known(&world).await.unwrap().tokens["axon"].clone();
    assert_eq!(
        (facts.mints, facts.expires_at),
        (1, facts.minted_at.map(|at| at + 7200))
    );
    let secret = world.get("v1", "Secret", "axon").await.unwrap();
    assert_eq!(secret["metadata"]["labels"]["team"], "blue");

    // A deleted key is noticed without the document, and minted again.
    world
        .meddle(
            "v1",
            "Secret",
            "axon",
            json!({"data": {"value": null, "other": "eA=="}}),
        )
        .await;
    let due = known(&world).await.unwrap().tokens["axon"].due.clone();
    assert!(due.is_some_and(|why| why.contains("its Secret or key is gone")));
    applied(&world, &wanted).await;
    assert_ne!(value(&world).await.as_ref(), Some(&first));
    assert_eq!(known(&world).await.unwrap().tokens["axon"].mints, 2);

    let outcome = demolish(&world).await;
    assert!(outcome.ready, "{}", outcome.diagnostics);
    let left = world.get("v1", "Secret", "axon").await.unwrap();
    assert_eq!(left["data"], json!({"other": "eA=="}), "what is somebody else's stays");
    assert!(known(&world).await.is_none(), "the record is gone");
    assert!(world.get("v1", "Secret", &id().record_name()).await.is_none());
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_told_as_what_is_missing() {
    let world = World::start().await;
    let outcome = run(&world.cluster, &random(json!({})), &quick()).await;
    let told = outcome.diagnostics.to_string();
    assert!(
        !outcome.ready && told.contains("namespace shop has to be there first"),
        "{told}"
    );
}

#[tokio::test]
async fn an_adopted_value_is_never_minted_over_and_stays_after_a_destroy() {
    let world = world().await;
    post(
        &world,
        "secrets",
        json!({"metadata": {"name": "axon"}, "stringData": {"value": "mine"}}),
    )
    .await;
    let wanted = random(json!({"adopt": "always"}));
    assert_eq!(world.plan(&wanted).await.changes[0].action, Action::Adopt);
    applied(&world, &wanted).await;
    let facts = known(&world).await.unwrap().tokens["axon"].clone();
    assert_eq!((facts.mints, facts.due), (0, None));
    assert_eq!(value(&world).await.as_deref(), Some("mine"));
    assert!(demolish(&world).await.ready);
    assert_eq!(
        value(&world).await.as_deref(),
        Some("mine"),
        "it was not ours to delete"
    );
}

#[tokio::test]
async fn killed_at_any_request_a_lone_token_is_minted_once_or_the_interruption_is_told() {
    for death in [Death::Before, Death::After] {
        let mut ended = false;
        for requests in 0..40 {
            let world = world().await;
            let wanted = random(json!({}));
            ended = until_death(&world, requests, death, async |cluster| {
                run(&cluster, &wanted, &quick()).await;
            })
            .await;
            let before = value(&world).await;
            let plan = world.plan(&wanted).await;
            let told = plan.to_string();
            let outcome = apply(Arc::clone(&world.cluster), &plan, &quick()).await;
            assert!(outcome.ready, "{death:?} at {requests}: {}", outcome.diagnostics);
            let after = value(&world).await;
            assert!(after.is_some(), "{death:?} at {requests}");
            let facts = known(&world).await.unwrap().tokens["axon"].clone();
            assert_eq!((facts.mints, &facts.due), (1, &None), "{death:?} at {requests}");
            if before.is_some() {
                assert_eq!(after, before, "minted again, {death:?} at {requests}");
                assert!(facts.orphans.is_empty());
            } else if !facts.orphans.is_empty() {
                // The marker existed and the value did not: that is reported, then or as the reason of the wait.
                assert!(
                    told.contains("is minting it") || told.contains("was interrupted"),
                    "{told}"
                );
            }
            assert!(world.plan(&wanted).await.is_empty(), "{death:?} at {requests}");
            if ended {
                break;
            }
        }
        assert!(ended, "forty requests are enough for one token");
    }
}

#[tokio::test]
async fn a_destroy_killed_at_any_request_ends_when_it_is_run_again() {
    for requests in 0..40 {
        let world = world().await;
        applied(&world, &random(json!({}))).await;
        let terms = Destroy {
            delete_protected: BTreeSet::new(),
            timeout: Duration::from_secs(20),
        };
        let ended = until_death(&world, requests, Death::After, async |cluster| {
            destroy(cluster, &id(), &Owner::Terraform, &terms, &quick()).await;
        })
        .await;
        let outcome = demolish(&world).await;
        assert!(outcome.ready, "at {requests}: {}", outcome.diagnostics);
        assert!(
            value(&world).await.is_none() && known(&world).await.is_none(),
            "at {requests}"
        );
        if ended {
            return;
        }
    }
    panic!("forty requests are enough");
}

/// How often a tool was run in a pod.
fn execs(world: &World) -> usize {
    let log = world.sandbox.faults().log(0);
    log.iter().filter(|request| request.path.ends_with("/exec")).count()
}

#[tokio::test]
async fn two_runs_at_once_mint_once_and_both_succeed() {
    let world = world_with_aha().await;
    for round in 0..4 {
        let wanted = exec(json!({}));
        let (fast, slow) = (quick(), quick());
        let (one, two) = tokio::join!(run(&world.cluster, &wanted, &fast), run(&world.cluster, &wanted, &slow));
        for outcome in [one, two] {
            assert!(outcome.ready, "round {round}: {}", outcome.diagnostics);
        }
        assert_eq!(execs(&world), round + 1, "the tool ran once");
        assert_eq!(known(&world).await.unwrap().tokens["axon"].mints, 1);
        assert!(world.plan(&wanted).await.is_empty());
        assert!(demolish(&world).await.ready);
    }
}

#[tokio::test]
async fn two_runs_of_a_stack_at_once_mint_once() {
    let world = world_with_aha().await;
    let mut aha = deployment("aha", "vertexproject/synapse-aha:v2.256.0");
    aha["kind"] = "StatefulSet".into();
    aha["spec"]["serviceName"] = "aha".into();
    let token = json!({"issuer": {"exec": {"pod": "aha-0", "command": ["python", "-m", "synapse.tools.aha.provision.service", "00.axon"]}},
        "extract": "url", "secret": {"name": "axon", "key": "value"}});
    let wanted = stack(json!({"tokens": {"axon": token}}), vec![("aha", aha)]);
    let (one, two) = tokio::join!(world.apply(&wanted), world.apply(&wanted));
    assert!(one.ready || two.ready, "{}\n{}", one.diagnostics, two.diagnostics);
    for lost in [&one, &two].into_iter().filter(|o| !o.ready) {
        let told = lost.diagnostics.to_string();
        assert!(
            lost.superseded && told.contains("two applies ran at once; run it again"),
            "{told}"
        );
    }
    world.applied(&wanted).await;
    assert_eq!(execs(&world), 1, "the tool ran once");
    assert!(world.plan(&wanted).await.is_empty());
}

#[tokio::test]
async fn a_failure_is_early_and_in_the_persons_words() {
    let world = world_with_aha().await;
    let canned = json!([
        {"command": ["refuses"], "stdout": "working on it\nERROR: no such name: 00.axon, url=ssl://aha:27272/0123456789abcdef0123456789abcdef\n", "exitCode": 1},
        {"command": ["chatters"], "stdout": "all is well\n"},
    ]);
    post(
        &world,
        "configmaps",
        json!({"metadata": {"name": "sandbox-exec"}, "data": {"table": canned.to_string()}}),
    )
    .await;
    for (more, words) in [
        (json!({"pod": "aha-7"}), &["pod shop/aha-7 does not exist"][..]),
        (
            json!({"container": "sidecar"}),
            &["pod shop/aha-0: sidecar has not started"],
        ),
        (
            json!({"command": ["refuses"]}),
            &["refuses in pod shop/aha-0 failed (exit code 1)", "no such name"],
        ),
        (
            json!({"command": ["chatters"]}),
            &["chatters in pod shop/aha-0", "matches nothing"],
        ),
    ] {
        let outcome = run(&world.cluster, &exec(more), &quick()).await;
        let told = outcome.diagnostics.to_string();
        for word in words {
            assert!(!outcome.ready && told.contains(word), "{word}: {told}");
        }
        let secret = "0123456789abcdef0123456789abcdef";
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        for spelling in [secret.to_owned(), BASE64_STANDARD.encode(secret), hex] {
            assert!(!told.contains(&spelling), "{told}");
        }
        assert!(value(&world).await.is_none());
    }
}

#[tokio::test]
async fn a_forbidden_and_a_hanging_tool_are_told_as_what_to_do() {
    let world = world_with_aha().await;
    let met = |effect| Rule {
        path: "/exec".into(),
        effect,
        ..Rule::default()
    };
    let forbidden = Effect::Status {
        code: 403,
        retry_after: None,
        message: "forbidden".into(),
    };
    for (effect, words) in [
        (forbidden, "allow create and get on pods/exec"),
        (Effect::Latency { millis: 4000 }, "did not end within 1s"),
    ] {
        let rule = world.sandbox.faults().add(met(effect));
        let outcome = run(&world.cluster, &exec(json!({"timeout": "1s"})), &quick()).await;
        let told = outcome.diagnostics.to_string();
        assert!(!outcome.ready && told.contains(words), "{words}: {told}");
        world.sandbox.faults().remove(&rule);
    }
    assert!(value(&world).await.is_none());
}

#[tokio::test]
async fn a_rotation_revokes_the_old_value_and_replaces_a_pod_that_never_became_ready_by_its_uid() {
    let world = world_with_aha().await;
    let canned = json!([{"command": ["mint"], "stdout": "{hex:32}"}, {"command": ["revoke"], "stdout": ""}]);
    let table = json!({"metadata": {"name": "sandbox-exec"}, "data": {"table": canned.to_string()}});
    post(&world, "configmaps", table).await;
    let mut axon = deployment("axon", "shop/axon:missing");
    axon["kind"] = "StatefulSet".into();
    axon["spec"]["serviceName"] = "axon".into();
    let kubectl = world.cluster_as("kubectl").await;
    let sets = format!("/apis/apps/v1/namespaces/{NAMESPACE}/statefulsets");
    kubectl.request("POST", &sets, "application/json", &axon).await;
    let uid = async || {
        let pod = world.get("v1", "Pod", "axon-0").await?;
        pod["metadata"]["uid"].as_str().map(str::to_owned)
    };
    let until = async |other: Option<String>| {
        let seen = async {
            loop {
                match uid().await {
                    Some(now) if Some(&now) != other.as_ref() => return now,
                    _ => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), seen)
            .await
            .expect("a pod")
    };
    let before = until(None).await;
    let wanted = |keeper: &str| {
        token(json!({
            "issuer": {"exec": {"pod": "aha-0", "command": ["mint"]}}, "secret": {"name": "axon", "key": "value"},
            "revoke": ["revoke"], "restart": ["StatefulSet/axon"], "keepers": {"k": keeper},
        }))
    };
    let revoked = || {
        let log = world.sandbox.faults().log(0);
        log.iter()
            .filter(|r| r.path.ends_with("/exec") && r.query.contains("command=revoke"))
            .count()
    };
    applied(&world, &wanted("1")).await;
    let first = value(&world).await;
    assert_eq!(
        (revoked(), uid().await.as_ref()),
        (0, Some(&before)),
        "a first mint restarts nothing"
    );
    applied(&world, &wanted("2")).await;
    assert_ne!(value(&world).await, first);
    assert_eq!(revoked(), 1);
    until(Some(before)).await;
    assert!(demolish(&world).await.ready);
    assert_eq!(revoked(), 2, "a destroy gives the last value up");
}
