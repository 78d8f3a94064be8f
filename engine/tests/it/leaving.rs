//! A namespace that is being deleted when a run begins. The sandbox's clock is stopped meanwhile, so that the namespace
//! stays as long as the test needs it; the requests that a run sends show what it waits for.

use crate::world::{NAMESPACE, World, config, id, quick, stack};
use myelin_engine::apply::{Destroy, Outcome, Progress, Run, apply, destroy};
use myelin_engine::desired::Desired;
use myelin_engine::observe::refresh;
use myelin_engine::record::{self, Owner};
use myelin_sandbox::faults::{Effect, Rule};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
const FAST: f64 = 20.0;
const FINALIZER: &str = "example.com/hold";

fn wanted(timeout: &str) -> Desired {
    let spec = json!({"timeout": timeout});
    stack(spec, vec![("a", config("one", "1")), ("a", config("two", "1"))])
}

async fn until<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < end, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn uid(world: &World, kind: &str, name: &str) -> Option<String> {
    let live = world.get("v1", kind, name).await?;
    Some(live["metadata"]["uid"].as_str().unwrap().to_owned())
}

fn count(world: &World, verb: &str, resource: &str, effect: Effect) -> String {
    world.sandbox.faults().add(Rule {
        verbs: vec![verb.to_owned()],
        resources: vec![resource.to_owned()],
        effect,
        ..Rule::default()
    })
}

/// Waits until such a request has come.
async fn met(world: &World, rule: &str) {
    let met = tokio::time::timeout(PATIENCE, world.sandbox.faults().met(rule, 1)).await;
    assert!(met.unwrap_or(false), "nobody asked for it");
}

async fn delete_namespace(world: &World) {
    let path = format!("/api/v1/namespaces/{NAMESPACE}");
    let somebody = world.cluster_as("kubectl").await;
    somebody.request("DELETE", &path, "application/json", &json!({})).await;
}

/// An object of somebody else that is deleted, and held by a finalizer.
async fn hold(world: &World) {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let mut held = config("held", "theirs");
    held["metadata"]["finalizers"] = json!([FINALIZER]);
    let somebody = world.cluster_as("kubectl").await;
    somebody.request("POST", &path, "application/json", &held).await;
    let one = format!("{path}/held");
    somebody.request("DELETE", &one, "application/json", &json!({})).await;
}

async fn release(world: &World) {
    world
        .meddle("v1", "ConfigMap", "held", json!({"metadata": {"finalizers": null}}))
        .await;
}

fn spawn_destroy(world: &World, run: Run) -> JoinHandle<Outcome> {
    let cluster = Arc::clone(&world.cluster);
    tokio::spawn(async move {
        let terms = Destroy {
            delete_protected: BTreeSet::new(),
            timeout: PATIENCE,
        };
        destroy(cluster, &id(), &Owner::Terraform, &terms, &run).await
    })
}

/// A destroy that is killed while it waits for its namespace to go.
async fn killed_destroy(world: &World) {
    let waits = count(world, "watch", "namespaces", Effect::None);
    let killed = spawn_destroy(world, quick());
    met(world, &waits).await;
    killed.abort();
    assert!(killed.await.unwrap_err().is_cancelled());
    world.sandbox.faults().remove(&waits);
    let namespace = world.get("v1", "Namespace", NAMESPACE).await.unwrap();
    assert_eq!(namespace["status"]["phase"], "Terminating", "the test wants it there");
}

async fn has_record(world: &World) -> bool {
    let stored = record::read(&*world.cluster, &id(), &CancellationToken::new()).await;
    stored.unwrap().is_some()
}

#[tokio::test]
async fn an_apply_waits_for_a_namespace_that_is_going_and_makes_everything_anew() {
    let world = World::start().await;
    let wanted = wanted("90s");
    world.applied(&wanted).await;
    let before = (
        uid(&world, "Namespace", NAMESPACE).await,
        uid(&world, "ConfigMap", "one").await,
    );
    world.sandbox.clock().set_speed(0.0);
    delete_namespace(&world).await;

    // Everything in it is as good as gone, and every look says so.
    let plan = world.plan(&wanted).await;
    assert!(!plan.diagnostics.has_errors(), "{plan}");
    let created: Vec<_> = plan.changes.iter().map(|c| (c.action.word(), &*c.key.name)).collect();
    assert_eq!(
        created,
        [("create", "shop"), ("create", "one"), ("create", "two")],
        "{plan}"
    );
    let seen = refresh(&*world.cluster, &id(), &BTreeMap::new())
        .await
        .unwrap()
        .unwrap();
    assert!(seen.objects.is_empty() && seen.drifted.len() == 3, "{seen:?}");

    let waits = count(&world, "watch", "namespaces", Effect::None);
    let cluster = Arc::clone(&world.cluster);
    let applying = tokio::spawn(async move { apply(cluster, &plan, &quick()).await });
    met(&world, &waits).await;
    assert!(!applying.is_finished());
    world.sandbox.clock().set_speed(FAST);
    let outcome = applying.await.unwrap();
    assert!(outcome.ready, "{}", outcome.diagnostics);
    let after = (
        uid(&world, "Namespace", NAMESPACE).await,
        uid(&world, "ConfigMap", "one").await,
    );
    assert!(after.0.is_some() && after.0 != before.0 && after.1.is_some() && after.1 != before.1);
    assert!(has_record(&world).await && world.plan(&wanted).await.is_empty());
    assert!(world.destroy().await.ready);
}

#[tokio::test]
async fn an_apply_whose_namespace_does_not_go_names_what_holds_it_and_the_next_one_comes_up() {
    let world = World::start().await;
    world.applied(&wanted("90s")).await;
    hold(&world).await;
    delete_namespace(&world).await;
    // The controller has looked, and the record has gone with the rest.
    until("the namespace says what holds it", async || {
        let namespace = world.get("v1", "Namespace", NAMESPACE).await?;
        let conditions = namespace["status"]["conditions"].as_array()?.clone();
        conditions
            .iter()
            .any(|c| c["type"] == "NamespaceFinalizersRemaining" && c["status"] == "True")
            .then_some(())
    })
    .await;
    let outcome = world.apply(&wanted("1s")).await;
    let said = outcome.diagnostics.to_string();
    assert!(
        !outcome.ready && said.contains("does not go") && said.contains(FINALIZER),
        "{said}"
    );
    assert!(!has_record(&world).await, "nothing was begun");
    release(&world).await;
    world.applied(&wanted("90s")).await;
    assert!(world.get("v1", "ConfigMap", "held").await.is_none());
}

#[tokio::test]
async fn a_destroy_right_after_a_killed_one_finishes_it_while_the_record_is_still_there() {
    let world = World::start().await;
    world.applied(&wanted("90s")).await;
    world.sandbox.clock().set_speed(0.0);
    killed_destroy(&world).await;
    assert!(has_record(&world).await);
    let waits = count(&world, "watch", "namespaces", Effect::None);
    let second = spawn_destroy(&world, quick());
    met(&world, &waits).await;
    world.sandbox.clock().set_speed(FAST);
    let outcome = second.await.unwrap();
    assert!(outcome.ready && !outcome.recorded, "{}", outcome.diagnostics);
    assert!(world.get("v1", "Namespace", NAMESPACE).await.is_none());
}

#[tokio::test]
async fn a_destroy_right_after_a_killed_one_finishes_it_when_the_record_has_gone_before_the_namespace() {
    let world = World::start().await;
    world.applied(&wanted("90s")).await;
    hold(&world).await;
    killed_destroy(&world).await;
    until("the record is gone", async || (!has_record(&world).await).then_some(())).await;
    let waits = count(&world, "watch", "namespaces", Effect::None);
    let second = spawn_destroy(&world, quick());
    met(&world, &waits).await;
    assert!(!second.is_finished());
    release(&world).await;
    let outcome = second.await.unwrap();
    assert!(outcome.ready && !outcome.recorded, "{}", outcome.diagnostics);
    assert!(world.get("v1", "Namespace", NAMESPACE).await.is_none());
}

#[tokio::test]
async fn a_record_that_goes_with_its_namespace_while_a_destroy_writes_it_is_no_other_run() {
    let world = World::start().await;
    world.applied(&wanted("90s")).await;
    world.sandbox.clock().set_speed(0.0);
    killed_destroy(&world).await;
    let write = count(&world, "update", "secrets", Effect::HangBefore);
    let second = spawn_destroy(&world, quick());
    met(&world, &write).await;
    world.sandbox.clock().set_speed(FAST);
    until("the namespace is gone", async || {
        world.get("v1", "Namespace", NAMESPACE).await.is_none().then_some(())
    })
    .await;
    world.sandbox.faults().remove(&write);
    let outcome = second.await.unwrap();
    assert!(outcome.ready && !outcome.recorded, "{}", outcome.diagnostics);
}

#[tokio::test]
async fn an_apply_right_after_a_killed_destroy_brings_the_stack_up_again() {
    let world = World::start().await;
    let wanted = wanted("90s");
    world.applied(&wanted).await;
    world.sandbox.clock().set_speed(0.0);
    killed_destroy(&world).await;
    let waits = count(&world, "watch", "namespaces", Effect::None);
    let progress: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let said = Arc::clone(&progress);
    let run = Run {
        progress: Arc::new(move |step| said.lock().unwrap().push(step)),
        ..quick()
    };
    let plan = world.plan(&wanted).await;
    let cluster = Arc::clone(&world.cluster);
    let applying = tokio::spawn(async move { apply(cluster, &plan, &run).await });
    met(&world, &waits).await;
    assert!(
        progress.lock().unwrap().is_empty(),
        "nothing is applied to what is going"
    );
    world.sandbox.clock().set_speed(FAST);
    let outcome = applying.await.unwrap();
    assert!(outcome.ready, "{}", outcome.diagnostics);
    let live: Value = world.get("v1", "ConfigMap", "two").await.unwrap();
    assert_eq!(live["data"]["key"], "1");
    assert!(world.plan(&wanted).await.is_empty());
}
