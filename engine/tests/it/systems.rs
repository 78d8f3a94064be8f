//! What whole systems need of an apply: objects of others, checks before dependants start, Jobs that run again,
//! rollback.

use crate::world::{World, config, deployment, id, quick, stack};
use myelin_engine::apply::{Fate, apply};
use myelin_engine::observe::DryRun;
use myelin_engine::plan::Action;
use myelin_engine::record;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn service(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
}

/// A Deployment that runs for long.
fn lasting(name: &str, image: &str) -> Value {
    let mut value = deployment(name, image);
    value["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["sleep", "36000"]);
    value
}

/// A Deployment whose pods answer `/health` with this status and body.
fn answering(name: &str, image: &str, status: u16, body: &str) -> Value {
    let mut value = lasting(name, image);
    let pages = json!([{"path": "/health", "status": status, "body": body}]).to_string();
    value["spec"]["template"]["metadata"]["annotations"] = json!({"sandbox.myelin.dev/http": pages});
    value
}

fn job(name: &str, image: &str, command: &str) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": {"backoffLimit": 0,
        "template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "main", "image": image, "command": ["sh", "-c", command]}]}}}})
}

fn database_definition() -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "databases.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "databases", "singular": "database", "kind": "Database", "listKind": "DatabaseList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
}

const DATABASES: &str = "/apis/example.com/v1/namespaces/shop/databases";

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "{what} did not come about");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// `requires`: the definition, the object and its readiness all come while the apply waits; nothing of it becomes the stack's.
#[tokio::test]
async fn what_others_own_is_waited_for_from_its_definition_to_its_condition_and_never_touched() {
    let world = World::start().await;
    let wanted = stack(
        json!({"components": {"web": {"path": "web", "requires": [
            {"apiVersion": "example.com/v1", "kind": "Database", "name": "main", "fields": {"status.phase": "Green"}}]}}}),
        vec![("base", config("free", "1")), ("web", config("bound", "1"))],
    );
    let plan = world.plan(&wanted).await;
    let warned = plan.diagnostics.to_string();
    assert!(!plan.diagnostics.has_errors(), "{warned}");
    assert!(warned.contains("requires what is not there: Database main"), "{warned}");
    let somebody = world.cluster_as("operator").await;
    let applied = async { apply(Arc::clone(&world.cluster), &plan, &quick()).await };
    let owner = async {
        eventually("the base", async || {
            world.get("v1", "ConfigMap", "free").await.is_some()
        })
        .await;
        somebody
            .request(
                "POST",
                "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                "application/json",
                &database_definition(),
            )
            .await;
        eventually("the kind", async || {
            world.cluster.discover("example.com/v1").await.unwrap().is_some()
        })
        .await;
        let database = json!({"apiVersion": "example.com/v1", "kind": "Database", "metadata": {"name": "main"}, "spec": {"size": 1}});
        somebody.request("POST", DATABASES, "application/json", &database).await;
        for status in [
            json!({"phase": "Yellow", "conditions": [{"type": "Ready", "status": "False", "reason": "Starting", "message": "starting"}]}),
            json!({"phase": "Yellow", "conditions": [{"type": "Ready", "status": "True"}]}),
        ] {
            assert!(
                world.get("v1", "ConfigMap", "bound").await.is_none(),
                "the gate opened too early"
            );
            let patch = json!({"status": status});
            let path = format!("{DATABASES}/main/status");
            somebody
                .request("PATCH", &path, "application/merge-patch+json", &patch)
                .await;
        }
        // Ready, but not as the stack wants it: it must still wait. A moment is all that a negative can be given.
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(
            world.get("v1", "ConfigMap", "bound").await.is_none(),
            "the fields were not looked at"
        );
        let patch = json!({"status": {"phase": "Green"}});
        let path = format!("{DATABASES}/main/status");
        somebody
            .request("PATCH", &path, "application/merge-patch+json", &patch)
            .await
    };
    let (outcome, database) = tokio::join!(applied, owner);
    assert!(outcome.ready, "{}", outcome.diagnostics);
    let managers = database["metadata"]["managedFields"].to_string();
    assert!(!managers.contains("\"myelin\""), "{managers}");
    let stored = record::read(&*world.cluster, &id(), &CancellationToken::new())
        .await
        .unwrap()
        .unwrap();
    assert!(stored.record.entries.keys().all(|k| k.kind != "Database"));
    assert!(world.plan(&wanted).await.is_empty());
    assert!(world.destroy().await.ready);
    let left = somebody
        .request("GET", &format!("{DATABASES}/main"), "application/json", &Value::Null)
        .await;
    assert_eq!(left["metadata"]["name"], "main", "a destroy leaves it alone");
}

#[tokio::test]
async fn what_others_do_not_make_ready_in_time_is_named_and_stops_only_who_needs_it() {
    let world = World::start().await;
    let wanted = stack(
        json!({"components": {"free": {"path": "free"}, "web": {"path": "web", "requires": [
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "redis", "timeout": "1s"},
            {"apiVersion": "minio.min.io/v2", "kind": "Tenant", "name": "minio", "timeout": "1s"}]}}}),
        vec![("free", config("free", "1")), ("web", config("bound", "1"))],
    );
    let outcome = world.apply(&wanted).await;
    let told = outcome.diagnostics.to_string();
    assert!(!outcome.ready);
    for part in [
        "what component web requires is not ready: StatefulSet shop/redis",
        "the cluster does not serve Tenant at minio.min.io/v2",
        "who owns it has to make it ready",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(
        world.get("v1", "ConfigMap", "free").await.is_some() && world.get("v1", "ConfigMap", "bound").await.is_none()
    );
}

#[tokio::test]
async fn dependants_start_only_after_the_checks_are_answered_and_a_wrong_answer_is_told_without_secrets() {
    let world = World::start().await;
    let secret =
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"k": "swordfish-9"}});
    let with = |status: u16, body: &str, command: &str| {
        stack(
            json!({"components": {
                "api": {"path": "api", "verify": [
                    {"http": {"service": "api", "port": "http", "path": "/health", "json": {"state": "ok"}}, "timeout": "1s"},
                    {"exec": {"selector": {"app": "api"}, "command": ["sh", "-c", command], "output": "pong"}, "timeout": "1s"}]},
                "web": {"path": "web", "after": ["api"]}}}),
            vec![
                ("api", secret.clone()),
                ("api", service("api")),
                ("api", answering("api", "busybox:1.36", status, body)),
                ("web", config("after", "1")),
            ],
        )
    };
    // A wrong status, then a wrong field, then a command that fails, then all is well.
    for (status, body, command, part) in [
        (
            500,
            "boom: swordfish-9",
            "echo pong",
            "it answered 500 (wanted 200 to 299): boom: (sensitive)",
        ),
        (
            200,
            r#"{"state": "starting"}"#,
            "echo pong",
            "its field state is starting, not ok",
        ),
        (200, r#"{"state": "ok"}"#, "exit 3", "exit code 3"),
    ] {
        let outcome = world.apply(&with(status, body, command)).await;
        let told = outcome.diagnostics.to_string();
        assert!(
            !outcome.ready && told.contains("the verification of component api failed"),
            "{told}"
        );
        assert!(told.contains(part) && !told.contains("swordfish-9"), "{told}");
        assert!(
            outcome.components["api"].starts_with("failed: "),
            "{:?}",
            outcome.components
        );
        assert!(
            world.get("v1", "ConfigMap", "after").await.is_none(),
            "a dependant started"
        );
    }
    // Only the check has changed since: it runs again although no object differs.
    let outcome = world.applied(&with(200, r#"{"state": "ok"}"#, "echo pong")).await;
    assert_eq!(outcome.components["api"], "ready");
    assert!(world.get("v1", "ConfigMap", "after").await.is_some());
    assert!(
        world
            .plan(&with(200, r#"{"state": "ok"}"#, "echo pong"))
            .await
            .is_empty()
    );
}

/// A component's checks are part of the commit: a changed check alone is planned, run, and recorded once it succeeds.
#[tokio::test]
async fn a_changed_verify_alone_is_planned_and_asked_and_a_removed_one_is_not() {
    let world = World::start().await;
    let with = |verify: Value| {
        stack(
            json!({"components": {"api": {"path": "api", "verify": verify}}}),
            vec![
                ("api", service("api")),
                ("api", answering("api", "busybox:1.36", 200, "all is well")),
            ],
        )
    };
    let asked = |body: &str| json!([{"http": {"service": "api", "path": "/health", "body": body}, "timeout": "1s"}]);
    world.applied(&with(asked("well"))).await;
    assert!(world.plan(&with(asked("well"))).await.is_empty());

    let plan = world.plan(&with(asked("superb"))).await;
    assert!(
        !plan.is_empty() && plan.to_string().contains("verify component api"),
        "{plan}"
    );
    let outcome = world.apply(&with(asked("superb"))).await;
    let told = outcome.diagnostics.to_string();
    assert!(
        !outcome.ready && told.contains("the verification of component api failed"),
        "{told}"
    );

    // The old question again: it was never unanswered, and the stack is ready once more.
    world.applied(&with(asked("well"))).await;
    let plan = world.plan(&with(asked("all is"))).await;
    assert_eq!(plan.asks, ["api"]);
    world.applied(&with(asked("all is"))).await;
    assert!(world.plan(&with(asked("all is"))).await.is_empty());
    assert!(world.plan(&with(json!([]))).await.is_empty(), "nothing is left to ask");
}

#[tokio::test]
async fn a_job_runs_again_when_it_changes_and_what_runs_of_it_ends_first() {
    let world = World::start().await;
    let with = |image: &str, command: &str| {
        stack(
            json!({"components": {"migrate": {"path": "migrate"}, "api": {"path": "api", "after": ["migrate"]}}}),
            vec![
                ("migrate", job("migrate", image, command)),
                ("api", config("api", image)),
            ],
        )
    };
    let uid = async || world.get("batch/v1", "Job", "migrate").await.unwrap()["metadata"]["uid"].clone();
    world.applied(&with("busybox:1", "echo one")).await;
    let first = uid().await;
    assert!(world.plan(&with("busybox:1", "echo one")).await.is_empty());

    let plan = world.plan(&with("busybox:2", "echo two")).await;
    let change = plan.changes.iter().find(|c| c.key.kind == "Job").unwrap();
    assert_eq!(change.action, Action::Replace, "{}", plan.diagnostics);
    assert!(
        change.fields.iter().any(|f| f.path.contains("image")),
        "{:?}",
        change.fields
    );
    world.applied(&with("busybox:2", "echo two")).await;
    let second = uid().await;
    assert_ne!(first, second);
    let live = world.get("batch/v1", "Job", "migrate").await.unwrap();
    assert_eq!(live["status"]["succeeded"], 1);
    let pods = world
        .cluster
        .list(
            &myelin_engine::cluster::kinds::known("v1", "Pod"),
            &myelin_engine::cluster::Selection::default(),
        )
        .await
        .unwrap();
    assert_eq!(pods.items.len(), 1, "the old Job's pods went with it");

    // A long run is under way when the manifest changes again: it comes to its end before the new one starts.
    let slow = with("busybox:3", "sleep 60; echo slow");
    let plan = world.plan_with(&*world.cluster, &slow, DryRun::Decisions).await;
    let run = quick();
    let cancel = run.cancel.clone();
    let (outcome, ()) = tokio::join!(apply(Arc::clone(&world.cluster), &plan, &run), async {
        eventually("the slow run", async || {
            let live = world.get("batch/v1", "Job", "migrate").await;
            live.is_some_and(|j| j["status"]["ready"] == 1)
        })
        .await;
        cancel.cancel();
    });
    assert!(outcome.cancelled);
    let made = async || {
        let live = world.get("batch/v1", "Job", "migrate").await.unwrap();
        let at: jiff::Timestamp = live["metadata"]["creationTimestamp"].as_str().unwrap().parse().unwrap();
        at.as_second()
    };
    let slow_made = made().await;
    world.applied(&with("busybox:4", "echo four")).await;
    let waited = made().await - slow_made;
    assert!(
        waited >= 60,
        "the running Job was stopped half-way, after {waited} s of its 60"
    );
}

#[tokio::test]
async fn a_job_that_removes_itself_is_not_run_again_and_one_that_cannot_start_is_not_waited_for() {
    let world = World::start().await;
    let with = |image: &str, ttl: Option<i64>| {
        let mut job = job("migrate", image, "echo done");
        if let Some(ttl) = ttl {
            job["spec"]["ttlSecondsAfterFinished"] = ttl.into();
        }
        stack(
            json!({"components": {"migrate": {"path": "migrate", "timeout": "20s"}}}),
            vec![("migrate", job)],
        )
    };
    world.applied(&with("busybox:1", Some(1))).await;
    eventually("its removal", async || {
        world.get("batch/v1", "Job", "migrate").await.is_none()
    })
    .await;
    let plan = world.plan(&with("busybox:1", Some(1))).await;
    assert!(plan.is_empty(), "{:?}", plan.changes);
    assert!(
        !world.plan(&with("busybox:2", Some(1))).await.is_empty(),
        "a changed one runs again"
    );

    // An image that cannot be pulled: nothing runs, so the next apply replaces it at once.
    let mut broken = with("registry.invalid/absent:1", None);
    broken.policy.timeout = Duration::from_secs(5);
    assert!(!world.apply(&broken).await.ready);
    world.applied(&with("busybox:3", None)).await;
}

#[tokio::test]
async fn a_failed_apply_goes_back_to_the_last_good_state_and_says_so() {
    let world = World::start().await;
    let with = |image: &str, status: u16, extra: Option<&str>| {
        let mut manifests = vec![
            ("migrate", job("migrate", image, "echo migrated")),
            (
                "api",
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"k": format!("swordfish-{image}")}}),
            ),
            ("api", service("api")),
            ("api", answering("api", image, status, "ok")),
        ];
        manifests.extend(extra.map(|name| ("api", config(name, "1"))));
        stack(
            json!({"onFailure": "rollback", "components": {"migrate": {"path": "migrate"}, "api": {"path": "api", "after": ["migrate"],
                "verify": [{"http": {"service": "api", "path": "/health"}, "timeout": "1s"}]}}}),
            manifests,
        )
    };
    // The first has nowhere to go back to: it stops, and says so.
    let outcome = world.apply(&with("busybox:0", 500, None)).await;
    let told = outcome.diagnostics.to_string();
    assert!(
        !outcome.ready && !outcome.rolled_back && told.contains("nothing was rolled back"),
        "{told}"
    );

    world.applied(&with("busybox:1", 200, Some("old"))).await;
    let image = async || {
        let live = world.get("apps/v1", "Deployment", "api").await.unwrap();
        live["spec"]["template"]["spec"]["containers"][0]["image"].clone()
    };
    let deployed = world.get("apps/v1", "Deployment", "api").await.unwrap()["metadata"]["uid"].clone();

    let outcome = world.apply(&with("busybox:2", 503, Some("new"))).await;
    let told = outcome.diagnostics.to_string();
    assert!(!outcome.ready && outcome.rolled_back, "{told}");
    for part in [
        "the verification of component api failed",
        "rolled back to its last good state",
        "mend it and apply again",
    ] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("swordfish"), "{told}");
    assert_eq!(image().await, "busybox:1");
    let live = world.get("apps/v1", "Deployment", "api").await.unwrap();
    assert_eq!(
        live["metadata"]["uid"], deployed,
        "nothing was made again that could be changed back"
    );
    assert!(world.get("v1", "ConfigMap", "old").await.is_some() && world.get("v1", "ConfigMap", "new").await.is_none());
    assert!(
        world.get("batch/v1", "Job", "migrate").await.is_none(),
        "the failed release's Job is removed, and the old one not run"
    );
    assert_eq!(
        world.get("v1", "Secret", "key").await.unwrap()["data"]["k"],
        base64("swordfish-busybox:1")
    );

    // The mended change goes through, with its Job; and what was kept leaves the record with the policy.
    let outcome = world.applied(&with("busybox:3", 200, Some("new"))).await;
    assert!(
        outcome
            .objects
            .values()
            .all(|f| matches!(f, Fate::Ready | Fate::Unchanged | Fate::Gone))
    );
    assert_eq!(image().await, "busybox:3");
    let record_data = async || world.get("v1", "Secret", "myelin-stack-web").await.unwrap()["data"].clone();
    assert!(record_data().await.get("good.gz").is_some());
    let mut stop = with("busybox:3", 200, Some("new"));
    stop.policy.on_failure = myelin_engine::document::OnFailure::Stop;
    world.applied(&stop).await;
    assert!(record_data().await.get("good.gz").is_none());
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// `restartOnConfigChange` in every way in which a pod reads config.
#[tokio::test]
async fn a_change_of_config_rolls_every_pod_that_reads_it_and_no_other() {
    let world = World::start().await;
    let readers = [
        (
            "env",
            json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "key"}}}]}),
            json!([]),
        ),
        ("from", json!({"envFrom": [{"configMapRef": {"name": "c"}}]}), json!([])),
        ("volume", json!({}), json!([{"name": "v", "configMap": {"name": "c"}}])),
        (
            "projected",
            json!({}),
            json!([{"name": "v", "projected": {"sources": [{"configMap": {"name": "c"}}]}}]),
        ),
        ("secret", json!({"envFrom": [{"secretRef": {"name": "s"}}]}), json!([])),
        ("none", json!({}), json!([])),
    ];
    let with = |value: &str, secret: &str| {
        let mut manifests = vec![
            ("a", config("c", value)),
            (
                "a",
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": secret}}),
            ),
        ];
        for (name, container, volumes) in &readers {
            let mut one = lasting(name, "busybox:1");
            let spec = &mut one["spec"]["template"]["spec"];
            spec["volumes"] = volumes.clone();
            let main = spec["containers"][0].as_object_mut().unwrap();
            main.extend(container.as_object().unwrap().clone());
            manifests.push(("a", one));
        }
        stack(json!({"components": {"a": {"path": "a"}}}), manifests)
    };
    world.applied(&with("1", "x")).await;
    let generations = async || {
        let mut all = Vec::new();
        for (name, ..) in &readers {
            all.push(world.get("apps/v1", "Deployment", name).await.unwrap()["metadata"]["generation"].clone());
        }
        all
    };
    assert_eq!(generations().await, [1, 1, 1, 1, 1, 1]);
    world.applied(&with("2", "x")).await;
    assert_eq!(generations().await, [2, 2, 2, 2, 1, 1]);
    world.applied(&with("2", "y")).await;
    assert_eq!(generations().await, [2, 2, 2, 2, 2, 1]);
}
