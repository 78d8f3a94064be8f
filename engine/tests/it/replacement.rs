//! Replacing objects with immutable changes: proved first, recorded before, and only the very object that was seen.

use crate::faults::{Death, until_death};
use crate::world::{NAMESPACE, World, config, id, quick, stack};
use myelin_engine::apply::apply;
use myelin_engine::desired::Desired;
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::DryRun;
use myelin_engine::plan::{Action, Plan};
use myelin_engine::record::{self, Intent, Record};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const MAPS: &str = "/api/v1/namespaces/shop/configmaps";

fn frozen(value: &str) -> Value {
    let mut map = config("one", value);
    map["immutable"] = json!(true);
    map
}

fn wanted(value: &str) -> Desired {
    let spec = json!({"replace": ["ConfigMap"]});
    stack(spec, vec![("a", frozen(value)), ("a", config("two", "1"))])
}

fn key() -> ObjectKey {
    ObjectKey::new("", "ConfigMap", NAMESPACE, "one")
}

async fn record(world: &World) -> Record {
    let stored = record::read(&*world.cluster, &id(), &CancellationToken::new()).await;
    stored.unwrap().expect("a record").record
}

/// The UID and the value of the object, if it is there.
async fn live(world: &World) -> Option<(String, String)> {
    let live = world.get("v1", "ConfigMap", "one").await?;
    let text = |p: &str| live.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    Some((text("/metadata/uid"), text("/data/key")))
}

/// A stack with the object as it was, and the plan that replaces it.
async fn about_to_replace(world: &World) -> (String, Plan) {
    world.applied(&wanted("1")).await;
    let (uid, _) = live(world).await.unwrap();
    let plan = world.plan(&wanted("2")).await;
    assert_eq!(plan.change(&key()).unwrap().action, Action::Replace, "{plan}");
    (uid, plan)
}

#[tokio::test]
async fn killed_at_any_request_a_replacement_is_in_the_journal_and_the_next_apply_finishes_it_once() {
    for death in [Death::Before, Death::After] {
        let (mut ended, mut seen_absent) = (false, false);
        for requests in 0..60 {
            let world = World::start().await;
            world.applied(&wanted("1")).await;
            let (old, _) = live(&world).await.unwrap();
            ended = until_death(&world, requests, death, async |cluster| {
                let plan = world.plan_with(&*cluster, &wanted("2"), DryRun::Decisions).await;
                apply(cluster, &plan, &quick()).await;
            })
            .await;
            let left = live(&world).await;
            let known = record(&world).await;
            match &left {
                Some((uid, _)) if *uid == old => {}
                None => {
                    seen_absent = true;
                    assert_eq!(
                        known.journal.get(&key()),
                        Some(&Intent::Replace),
                        "{death:?} at {requests}: it is gone, and nobody knows why"
                    );
                }
                Some((uid, _)) => assert!(
                    known.journal.get(&key()) == Some(&Intent::Replace)
                        || known.entries[&key()].uid.as_ref() == Some(uid),
                    "{death:?} at {requests}: made, and neither journal nor inventory knows of it"
                ),
            }
            let outcome = world.apply(&wanted("2")).await;
            assert!(outcome.ready, "{death:?} at {requests}: {}", outcome.diagnostics);
            let (now, value) = live(&world).await.expect("made again");
            assert_eq!(value, "2");
            if let Some((uid, _)) = left.filter(|(uid, _)| *uid != old) {
                assert_eq!(now, uid, "{death:?} at {requests}: replaced twice");
            }
            let known = record(&world).await;
            assert!(known.ready && known.journal.is_empty(), "{death:?} at {requests}");
            assert_eq!(known.entries[&key()].uid.as_ref(), Some(&now));
            assert!(world.plan(&wanted("2")).await.is_empty(), "{death:?} at {requests}");
            if ended {
                break;
            }
        }
        assert!(ended, "sixty requests are enough for this stack");
        assert!(seen_absent, "no death fell between the delete and the create");
    }
}

#[tokio::test]
async fn only_the_very_object_that_was_seen_is_replaced() {
    let world = World::start().await;
    let (old, plan) = about_to_replace(&world).await;
    let somebody = world.cluster_as("kubectl").await;
    let one = format!("{MAPS}/one");
    somebody.request("DELETE", &one, "application/json", &json!({})).await;
    let theirs = config("one", "theirs");
    somebody.request("POST", MAPS, "application/json", &theirs).await;
    let (uid, _) = live(&world).await.unwrap();
    assert_ne!(uid, old);
    let outcome = apply(Arc::clone(&world.cluster), &plan, &quick()).await;
    let said = outcome.diagnostics.to_string();
    assert!(
        !outcome.ready && said.contains("another object has taken its name"),
        "{said}"
    );
    assert_eq!(live(&world).await, Some((uid, "theirs".to_owned())));
}

#[tokio::test]
async fn what_somebody_asked_to_keep_since_the_plan_is_not_replaced() {
    let world = World::start().await;
    let (old, plan) = about_to_replace(&world).await;
    let keep = json!({"metadata": {"annotations": {"myelin.dev/prune": "disabled"}}});
    world.meddle("v1", "ConfigMap", "one", keep).await;
    let outcome = apply(Arc::clone(&world.cluster), &plan, &quick()).await;
    let said = outcome.diagnostics.to_string();
    assert!(!outcome.ready && said.contains("myelin.dev/prune"), "{said}");
    assert_eq!(live(&world).await, Some((old, "1".to_owned())));
}

#[tokio::test]
async fn what_the_server_would_not_make_again_is_not_deleted() {
    let world = World::start().await;
    world.applied(&wanted("1")).await;
    let before = live(&world).await;
    // Everything is proved without an effect before anything is deleted: the server refuses the new one.
    let mut wrong = frozen("2");
    wrong["data"]["not/a/key"] = json!("x");
    let wrong = stack(
        json!({"replace": ["ConfigMap"]}),
        vec![("a", wrong), ("a", config("two", "1"))],
    );
    let since = world.sandbox.faults().sequence();
    let outcome = world.apply(&wrong).await;
    assert!(!outcome.ready, "{}", outcome.diagnostics);
    assert!(
        outcome.diagnostics.to_string().contains("not/a/key"),
        "{}",
        outcome.diagnostics
    );
    assert_eq!(live(&world).await, before, "the old one stays");
    let log = world.sandbox.faults().log(since);
    assert!(
        log.iter().all(|request| request.verb != "delete"),
        "nothing was deleted"
    );
}

#[tokio::test]
async fn a_kind_that_is_not_named_is_never_replaced() {
    let world = World::start().await;
    let of = |spec: Value, value: &str| stack(spec, vec![("a", frozen(value))]);
    world.applied(&of(json!({}), "1")).await;
    let before = live(&world).await;
    for spec in [json!({}), json!({"replace": ["Job"]}), json!({"conflicts": "force"})] {
        let outcome = world.apply(&of(spec.clone(), "2")).await;
        assert!(!outcome.ready, "{spec}");
        let said = outcome.diagnostics.to_string();
        assert!(said.contains("list ConfigMap under replace"), "{spec}: {said}");
        assert_eq!(live(&world).await, before, "{spec}");
    }
}

#[tokio::test]
async fn killed_at_any_request_of_a_replacement_the_next_destroy_leaves_nothing_behind() {
    for death in [Death::Before, Death::After] {
        let mut ended = false;
        for requests in 0..60 {
            let world = World::start().await;
            world.applied(&wanted("1")).await;
            ended = until_death(&world, requests, death, async |cluster| {
                let plan = world.plan_with(&*cluster, &wanted("2"), DryRun::Decisions).await;
                apply(cluster, &plan, &quick()).await;
            })
            .await;
            let outcome = world.destroy().await;
            assert!(
                outcome.ready && !outcome.recorded,
                "{death:?} at {requests}: {}",
                outcome.diagnostics
            );
            assert!(
                world.get("v1", "Namespace", NAMESPACE).await.is_none(),
                "{death:?} at {requests}"
            );
            if ended {
                break;
            }
        }
        assert!(ended);
    }
}
