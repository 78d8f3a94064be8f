//! Stacks with pods: order, gates, early failure with the pod's own reason, an autoscaler's replicas, checksums.

use crate::world::{NAMESPACE, World, config, deployment, stack};
use myelin_engine::apply::{Fate, Progress, apply};
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::DryRun;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

fn reads(mut deployment: Value, config: &str) -> Value {
    deployment["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": config}}]);
    deployment
}

#[tokio::test]
async fn components_become_ready_in_their_order_and_a_change_of_config_rolls_the_pods() {
    let world = World::start().await;
    let set = |value: &str| {
        stack(
            json!({"components": {"db": {"path": "db"}, "web": {"path": "web", "after": ["db"]}}}),
            vec![
                ("db", deployment("db", "shop/db:1")),
                ("db", config("settings", value)),
                ("web", reads(deployment("web", "shop/web:1"), "settings")),
            ],
        )
    };
    let told: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let mut run = crate::world::quick();
    let hear = Arc::clone(&told);
    run.progress = Arc::new(move |p| hear.lock().unwrap().push(p));
    let plan = world.plan_with(&*world.cluster, &set("1"), DryRun::Decisions).await;
    let outcome = apply(Arc::clone(&world.cluster), &plan, &run).await;
    assert!(outcome.ready, "{:?} {}", outcome.objects, outcome.diagnostics);
    let told = told.lock().unwrap().clone();
    let at = |wanted: &Progress| {
        told.iter()
            .position(|p| p == wanted)
            .unwrap_or_else(|| panic!("{wanted:?} in {told:#?}"))
    };
    assert!(
        at(&Progress::Ready(key("apps/Deployment/shop/db"))) < at(&Progress::Applied(key("apps/Deployment/shop/web")))
    );
    assert!(
        world.plan(&set("1")).await.is_empty(),
        "status and defaults are not ours"
    );

    let plan = world.plan(&set("2")).await;
    let web = plan.change(&key("apps/Deployment/shop/web")).unwrap();
    assert!(
        web.fields.iter().any(|f| f.path.contains("myelin.dev/config-checksum")),
        "{plan}"
    );
    world.applied(&set("2")).await;
    assert!(world.plan(&set("2")).await.is_empty());
}

#[tokio::test]
async fn a_missing_image_fails_early_with_the_pods_own_reason_and_the_mended_stack_keeps_its_objects() {
    let world = World::start().await;
    let set = |image: &str| {
        stack(
            json!({"components": {"db": {"path": "db"}, "bad": {"path": "bad"}, "behind": {"path": "behind", "after": ["bad"]}},
                "timeout": "60s"}),
            vec![
                ("db", deployment("db", "shop/db:1")),
                ("bad", deployment("bad", image)),
                ("behind", config("behind", "1")),
            ],
        )
    };
    let started = Instant::now();
    let mut run = crate::world::quick();
    run.patience.itself = Duration::from_secs(3);
    run.patience.others = Duration::from_secs(3);
    let plan = world
        .plan_with(&*world.cluster, &set("shop/bad:missing"), DryRun::Decisions)
        .await;
    let outcome = apply(Arc::clone(&world.cluster), &plan, &run).await;
    assert!(
        started.elapsed() < Duration::from_secs(30),
        "not at the time-out: {:?}",
        started.elapsed()
    );
    let Fate::Failed(why) = &outcome.objects[&key("apps/Deployment/shop/bad")] else {
        panic!("{outcome:?}")
    };
    assert!(
        why.contains("ImagePullBackOff") || why.contains("ErrImagePull"),
        "{why}"
    );
    assert_eq!(outcome.objects[&key("apps/Deployment/shop/db")], Fate::Ready);
    assert!(matches!(
        outcome.objects[&key("core/ConfigMap/shop/behind")],
        Fate::Skipped(_)
    ));
    let uid = |v: Option<Value>| v.unwrap()["metadata"]["uid"].clone();
    let before = uid(world.get("apps/v1", "Deployment", "bad").await);
    world.applied(&set("shop/bad:1")).await;
    assert_eq!(uid(world.get("apps/v1", "Deployment", "bad").await), before);
}

#[tokio::test]
async fn the_replicas_of_a_live_autoscaler_are_left_to_it() {
    let world = World::start().await;
    let wanted = stack(json!({}), vec![("a", deployment("web", "shop/web:1"))]);
    world.applied(&wanted).await;
    let other = world.cluster_as("somebody").await;
    let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"minReplicas": 2, "maxReplicas": 5,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}});
    let root = format!("/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers");
    other.request("POST", &root, "application/json", &hpa).await;
    let scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "web", "namespace": NAMESPACE}, "spec": {"replicas": 3}});
    let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/web/scale");
    other.request("PUT", &path, "application/json", &scale).await;
    let plan = world.plan(&wanted).await;
    assert!(plan.is_empty() && plan.diagnostics.is_empty(), "{plan}");
    world.applied(&wanted).await;
    let live = world.get("apps/v1", "Deployment", "web").await.unwrap();
    assert!(
        live["spec"]["replicas"].as_i64().unwrap() >= 2,
        "{}",
        live["spec"]["replicas"]
    );
}

#[tokio::test]
async fn a_stack_with_volumes_is_destroyed_and_its_claims_stay_with_their_namespace() {
    let world = World::start().await;
    let set = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"},
        "spec": {"serviceName": "db", "replicas": 1, "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [
                {"name": "main", "image": "shop/db:1",
                 "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}]}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db"},
        "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]}});
    let wanted = stack(json!({}), vec![("a", set), ("a", service)]);
    world.applied(&wanted).await;
    assert!(world.plan(&wanted).await.is_empty(), "{}", world.plan(&wanted).await);
    let outcome = world.destroy().await;
    assert!(outcome.ready && !outcome.recorded, "{}", outcome.diagnostics);
    let text = outcome.diagnostics.to_string();
    assert!(text.contains("PersistentVolumeClaim shop/data-db-0 stays"), "{text}");
    assert!(text.contains("Namespace shop stays"), "{text}");
    assert!(world.get("apps/v1", "StatefulSet", "db").await.is_none());
    assert!(world.get("v1", "PersistentVolumeClaim", "data-db-0").await.is_some());
    // And up again, on the same volume.
    world.applied(&wanted).await;
}

#[tokio::test]
async fn a_default_that_nobody_owns_does_not_stand_in_the_way_of_a_change() {
    let world = World::start().await;
    let set = |strategy: Option<Value>| {
        let mut web = deployment("web", "shop/web:1");
        if let Some(strategy) = strategy {
            web["spec"]["strategy"] = strategy;
        }
        stack(json!({}), vec![("a", web)])
    };
    world.applied(&set(None)).await;
    let recreate = set(Some(json!({"type": "Recreate"})));
    let plan = world.plan(&recreate).await;
    assert!(!plan.diagnostics.has_errors(), "{plan}");
    world.applied(&recreate).await;
    let live = world.get("apps/v1", "Deployment", "web").await.unwrap();
    assert_eq!(live["spec"]["strategy"], json!({"type": "Recreate"}));
    assert!(world.plan(&recreate).await.is_empty());
    // And back: our own plain write is no conflict.
    world.applied(&set(Some(json!({"type": "RollingUpdate"})))).await;
}
