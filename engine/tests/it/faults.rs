//! Failures on the way: a kill at every request, lost answers, transient refusals, cancellation.

use crate::world::{NAMESPACE, World, config, id, quick, stack};
use futures::FutureExt as _;
use futures::stream::BoxStream;
use myelin_engine::apply::{Destroy, Run, apply, destroy};
use myelin_engine::cluster::{
    Answer, Cluster, ClusterError, CommandOutput, List, Mode, PodCommand, Precondition, Propagation, Resource,
    Selection, ServiceAnswer, ServiceRequest, Target, WatchEvent, kinds,
};
use myelin_engine::desired::Desired;
use myelin_engine::observe::DryRun;
use myelin_engine::record::{self, Owner};
use myelin_sandbox::faults::{Effect, Rule};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// When the process dies, seen from one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Death {
    /// Before it is sent.
    Before,
    /// After it took effect, before its answer is read.
    After,
}

/// A cluster whose client dies at the n-th request: from then on nothing answers any more.
struct Dying {
    inner: Arc<dyn Cluster>,
    left: AtomicUsize,
    death: Death,
    died: Arc<Notify>,
}

impl Dying {
    fn new(inner: &Arc<dyn Cluster>, requests: usize, death: Death) -> Self {
        Self {
            inner: Arc::clone(inner),
            left: AtomicUsize::new(requests),
            death,
            died: Arc::new(Notify::new()),
        }
    }

    fn pass<'a, T: Send + 'a>(&'a self, request: Answer<'a, T>) -> Answer<'a, T> {
        async move {
            let left = self
                .left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            if left.is_ok() {
                return request.await;
            }
            if self.death == Death::After {
                // The one that was on its way arrives; nobody hears of it.
                let _ = request.await;
            }
            self.died.notify_one();
            std::future::pending().await
        }
        .boxed()
    }
}

impl Cluster for Dying {
    fn discover<'a>(&'a self, api_version: &'a str) -> Answer<'a, Option<Vec<Resource>>> {
        self.pass(self.inner.discover(api_version))
    }
    fn get<'a>(&'a self, target: &'a Target) -> Answer<'a, Option<Value>> {
        self.pass(self.inner.get(target))
    }
    fn list<'a>(&'a self, resource: &'a Resource, selection: &'a Selection) -> Answer<'a, List> {
        self.pass(self.inner.list(resource, selection))
    }
    fn apply_as<'a>(
        &'a self,
        manager: &'a str,
        target: &'a Target,
        body: &'a Value,
        force: bool,
        mode: Mode,
    ) -> Answer<'a, Value> {
        self.pass(self.inner.apply_as(manager, target, body, force, mode))
    }
    fn create<'a>(&'a self, target: &'a Target, body: &'a Value, mode: Mode) -> Answer<'a, Value> {
        self.pass(self.inner.create(target, body, mode))
    }
    fn update<'a>(&'a self, target: &'a Target, body: &'a Value) -> Answer<'a, Value> {
        self.pass(self.inner.update(target, body))
    }
    fn json_patch<'a>(&'a self, target: &'a Target, patch: &'a Value, mode: Mode) -> Answer<'a, Value> {
        self.pass(self.inner.json_patch(target, patch, mode))
    }
    fn delete<'a>(
        &'a self,
        target: &'a Target,
        precondition: &'a Precondition,
        propagation: Propagation,
        mode: Mode,
    ) -> Answer<'a, ()> {
        self.pass(self.inner.delete(target, precondition, propagation, mode))
    }
    fn watch<'a>(
        &'a self,
        resource: &'a Resource,
        selection: &'a Selection,
        version: &'a str,
    ) -> Answer<'a, BoxStream<'static, Result<WatchEvent, ClusterError>>> {
        self.pass(self.inner.watch(resource, selection, version))
    }
    fn logs<'a>(
        &'a self,
        namespace: &'a str,
        pod: &'a str,
        container: &'a str,
        previous: bool,
        lines: u32,
    ) -> Answer<'a, String> {
        self.pass(self.inner.logs(namespace, pod, container, previous, lines))
    }
    fn exec<'a>(&'a self, command: &'a PodCommand, stdin: Option<&'a [u8]>) -> Answer<'a, CommandOutput> {
        self.pass(self.inner.exec(command, stdin))
    }
    fn ask_service<'a>(&'a self, request: &'a ServiceRequest) -> Answer<'a, ServiceAnswer> {
        self.pass(self.inner.ask_service(request))
    }
}

/// Runs something on a dying client. True when it came to its end before the client died.
pub(crate) async fn until_death(
    world: &World,
    requests: usize,
    death: Death,
    work: impl AsyncFnOnce(Arc<dyn Cluster>),
) -> bool {
    let dying = Arc::new(Dying::new(&world.cluster, requests, death));
    let died = Arc::clone(&dying.died);
    let dead = died.notified();
    tokio::select! {
        () = work(dying.clone()) => true,
        () = dead => false,
    }
}

fn first() -> Desired {
    stack(
        json!({"components": {"a": {"path": "a"}, "b": {"path": "b", "after": ["a"]}}}),
        vec![
            ("a", config("one", "1")),
            ("a", config("two", "1")),
            ("b", config("three", "1")),
        ],
    )
}

/// One changed, one unchanged, one new, one pruned, one replaced by nothing else.
fn second() -> Desired {
    stack(
        json!({"components": {"a": {"path": "a"}, "b": {"path": "b", "after": ["a"]}}}),
        vec![
            ("a", config("one", "2")),
            ("a", config("two", "1")),
            ("b", config("four", "1")),
        ],
    )
}

async fn config_maps(world: &World) -> BTreeMap<String, (String, Value)> {
    let selection = Selection {
        namespace: Some(NAMESPACE.into()),
        ..Selection::default()
    };
    let list = world
        .cluster
        .list(&kinds::known("v1", "ConfigMap"), &selection)
        .await
        .unwrap();
    list.items
        .into_iter()
        .filter(|v| v["metadata"]["name"] != "kube-root-ca.crt")
        .map(|v| {
            let text = |p: &str| v.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
            (text("/metadata/name"), (text("/metadata/uid"), v["data"].clone()))
        })
        .collect()
}

/// What the record says is what is there: nothing orphaned, nothing named that is not.
async fn record_is_true(world: &World) {
    let stored = record::read(&*world.cluster, &id(), &CancellationToken::new())
        .await
        .unwrap()
        .unwrap()
        .record;
    let live = config_maps(world).await;
    let named: BTreeMap<String, String> = stored
        .entries
        .values()
        .filter(|e| e.key.kind == "ConfigMap")
        .map(|e| (e.key.name.clone(), e.uid.clone().unwrap_or_default()))
        .collect();
    let there: BTreeMap<String, String> = live.into_iter().map(|(name, (uid, _))| (name, uid)).collect();
    assert_eq!(named, there);
    assert!(stored.journal.is_empty() && stored.ready);
}

#[tokio::test]
async fn killed_at_any_request_of_a_create_the_next_apply_converges() {
    for death in [Death::Before, Death::After] {
        let mut ended = false;
        for requests in 0..60 {
            let world = World::start().await;
            ended = until_death(&world, requests, death, async |cluster| {
                let plan = world.plan_with(&*cluster, &first(), DryRun::Decisions).await;
                apply(cluster, &plan, &quick()).await;
            })
            .await;
            let made = if world.get("v1", "Namespace", NAMESPACE).await.is_some() {
                config_maps(&world).await
            } else {
                BTreeMap::new()
            };
            let outcome = world.apply(&first()).await;
            assert!(outcome.ready, "{death:?} at {requests}: {}", outcome.diagnostics);
            let now = config_maps(&world).await;
            assert_eq!(
                now.keys().collect::<Vec<_>>(),
                ["one", "three", "two"],
                "{death:?} at {requests}"
            );
            for (name, (uid, _)) in made {
                assert_eq!(now[&name].0, uid, "{name} was made again, {death:?} at {requests}");
            }
            record_is_true(&world).await;
            assert!(world.plan(&first()).await.is_empty(), "{death:?} at {requests}");
            if ended {
                break;
            }
        }
        assert!(ended, "sixty requests are enough for this stack");
    }
}

#[tokio::test]
async fn killed_at_any_request_of_an_update_the_next_apply_converges() {
    for death in [Death::Before, Death::After] {
        let mut ended = false;
        for requests in 0..60 {
            let world = World::start().await;
            assert!(world.apply(&first()).await.ready);
            let before = config_maps(&world).await;
            ended = until_death(&world, requests, death, async |cluster| {
                let plan = world.plan_with(&*cluster, &second(), DryRun::Decisions).await;
                apply(cluster, &plan, &quick()).await;
            })
            .await;
            let outcome = world.apply(&second()).await;
            assert!(outcome.ready, "{death:?} at {requests}: {}", outcome.diagnostics);
            let now = config_maps(&world).await;
            assert_eq!(
                now.keys().collect::<Vec<_>>(),
                ["four", "one", "two"],
                "{death:?} at {requests}"
            );
            assert_eq!((&now["one"].0, &now["two"].0), (&before["one"].0, &before["two"].0));
            assert_eq!(now["one"].1, json!({"key": "2"}));
            record_is_true(&world).await;
            assert!(world.plan(&second()).await.is_empty(), "{death:?} at {requests}");
            if ended {
                break;
            }
        }
        assert!(ended);
    }
}

#[tokio::test]
async fn killed_at_any_request_of_a_destroy_the_next_destroy_finishes() {
    let terms = Destroy {
        delete_protected: BTreeSet::new(),
        timeout: Duration::from_secs(20),
    };
    for death in [Death::Before, Death::After] {
        let mut ended = false;
        for requests in 0..80 {
            let world = World::start().await;
            assert!(world.apply(&first()).await.ready);
            ended = until_death(&world, requests, death, async |cluster| {
                destroy(cluster, &id(), &Owner::Terraform, &terms, &quick()).await;
            })
            .await;
            let outcome = world.destroy().await;
            assert!(
                outcome.ready && !outcome.recorded,
                "{death:?} at {requests}: {}",
                outcome.diagnostics
            );
            assert!(config_maps(&world).await.is_empty());
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

#[tokio::test]
async fn answers_that_are_lost_and_servers_that_are_busy_do_not_stop_an_apply() {
    let world = World::start().await;
    let rule = |probability: f64, effect: Effect| Rule {
        probability,
        effect,
        ..Rule::default()
    };
    world.sandbox.faults().add(rule(
        0.1,
        Effect::Status {
            code: 429,
            retry_after: Some(0),
            message: "busy".into(),
        },
    ));
    world.sandbox.faults().add(rule(
        0.1,
        Effect::Status {
            code: 503,
            retry_after: None,
            message: "down".into(),
        },
    ));
    world.sandbox.faults().add(rule(0.1, Effect::ResetAfter));
    world.sandbox.faults().add(rule(0.05, Effect::ResetBefore));
    let outcome = world.apply(&first()).await;
    assert!(outcome.ready, "{}", outcome.diagnostics);
    let outcome = world.apply(&second()).await;
    assert!(outcome.ready, "{}", outcome.diagnostics);
    world.sandbox.faults().clear();
    record_is_true(&world).await;
}

#[tokio::test]
async fn a_cancelled_apply_returns_promptly_and_says_what_is_true() {
    let world = World::start().await;
    let hang = Rule {
        verbs: vec!["patch".into()],
        name: "two".into(),
        effect: Effect::HangBefore,
        ..Rule::default()
    };
    let rule = world.sandbox.faults().add(hang);
    let run = quick();
    let plan = world.plan_with(&*world.cluster, &first(), DryRun::Decisions).await;
    let cancel = run.cancel.clone();
    let faults = world.sandbox.faults().clone();
    let (outcome, cancelled) = tokio::join!(apply(Arc::clone(&world.cluster), &plan, &run), async {
        faults.met(&rule, 1).await;
        cancel.cancel();
        Instant::now()
    });
    // The request that hangs gets its grace of five seconds, and nothing more.
    assert!(
        cancelled.elapsed() < Duration::from_secs(7),
        "{:?}",
        cancelled.elapsed()
    );
    assert!(outcome.cancelled && !outcome.ready && outcome.recorded);
    let fate = |name: &str| {
        format!(
            "{:?}",
            outcome.objects[&format!("core/ConfigMap/{NAMESPACE}/{name}").parse().unwrap()]
        )
    };
    assert_eq!(fate("one"), "Ready");
    assert!(fate("two").starts_with("Uncertain"), "{}", fate("two"));
    assert!(fate("three").starts_with("Skipped"), "{}", fate("three"));
    world.sandbox.faults().clear();
    assert!(world.apply(&first()).await.ready);
    record_is_true(&world).await;
}

#[tokio::test]
async fn of_two_runs_at_once_one_is_told_and_nothing_breaks() {
    let world = World::start().await;
    let plans = (
        world.plan_with(&*world.cluster, &first(), DryRun::Decisions).await,
        world.plan_with(&*world.cluster, &second(), DryRun::Decisions).await,
    );
    let run = Run::default();
    let (one, two) = tokio::join!(
        apply(Arc::clone(&world.cluster), &plans.0, &run),
        apply(Arc::clone(&world.cluster), &plans.1, &run)
    );
    assert!(!(one.ready && two.ready), "both cannot have written the same version");
    let loser = if one.ready { two } else { one };
    assert!(
        loser.diagnostics.to_string().contains("another run"),
        "{}",
        loser.diagnostics
    );
    assert!(world.apply(&second()).await.ready);
    record_is_true(&world).await;
}

#[tokio::test]
async fn a_destroy_names_the_finalizer_that_holds_an_object() {
    let world = World::start().await;
    let mut held = config("held", "1");
    held["metadata"]["finalizers"] = json!(["example.com/holds"]);
    let outcome = world.apply(&stack(json!({}), vec![("a", held)])).await;
    assert!(outcome.ready, "{}", outcome.diagnostics);
    let terms = Destroy {
        delete_protected: BTreeSet::new(),
        timeout: Duration::from_millis(600),
    };
    let outcome = destroy(Arc::clone(&world.cluster), &id(), &Owner::Terraform, &terms, &quick()).await;
    assert!(!outcome.ready && outcome.recorded);
    let text = outcome.diagnostics.to_string();
    assert!(
        text.contains("ConfigMap shop/held was deleted and does not go: its finalizer example.com/holds holds it"),
        "{text}"
    );
}
