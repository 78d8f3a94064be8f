//! Destroy and prune: the order of deletion, what an object that is not deleted holds back, and what is found without a
//! record.

use crate::world::{NAMESPACE, World, config, id, quick, stack};
use myelin_engine::apply::{Destroy, Fate, Outcome, Progress, destroy};
use myelin_engine::object::ObjectKey;
use myelin_engine::record::{self, Owner};
use myelin_sandbox::faults::{Effect, Rule};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

fn map(name: &str) -> ObjectKey {
    ObjectKey::new("", "ConfigMap", NAMESPACE, name)
}

fn held(name: &str) -> Value {
    let mut held = config(name, "1");
    held["metadata"]["finalizers"] = json!(["example.com/holds"]);
    held
}

/// Two branches of two components each; in one, what goes first is held by a finalizer.
fn branches() -> (Value, Vec<(&'static str, Value)>) {
    let components = json!({"components": {
        "a": {"path": "a"}, "a-front": {"path": "a-front", "after": ["a"]},
        "b": {"path": "b"}, "b-front": {"path": "b-front", "after": ["b"]},
    }});
    let objects = vec![
        ("a", config("a", "1")),
        ("a-front", held("a-front")),
        ("b", config("b", "1")),
        ("b-front", config("b-front", "1")),
    ];
    (components, objects)
}

async fn destroy_soon(world: &World) -> Outcome {
    let terms = Destroy {
        delete_protected: BTreeSet::new(),
        timeout: Duration::from_millis(1_500),
    };
    destroy(Arc::clone(&world.cluster), &id(), &Owner::Terraform, &terms, &quick()).await
}

async fn let_go(world: &World, name: &str) {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{name}");
    let body = json!({"metadata": {"finalizers": null}});
    let other = world.cluster_as("meddler").await;
    other
        .request("PATCH", &path, "application/merge-patch+json", &body)
        .await;
}

async fn there(world: &World, name: &str) -> bool {
    world.get("v1", "ConfigMap", name).await.is_some()
}

async fn lose_record(world: &World) {
    let cancel = CancellationToken::new();
    let stored = record::read(&*world.cluster, &id(), &cancel).await.unwrap().unwrap();
    record::delete(&*world.cluster, &id(), &stored.version, &cancel)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_branch_that_does_not_go_keeps_only_what_it_needs_from_being_destroyed() {
    let world = World::start().await;
    let (spec, objects) = branches();
    world.applied(&stack(spec, objects)).await;
    let outcome = destroy_soon(&world).await;
    assert!(!outcome.ready && outcome.recorded);
    assert_eq!(outcome.objects[&map("b")], Fate::Gone, "{outcome:#?}");
    assert_eq!(outcome.objects[&map("b-front")], Fate::Gone);
    assert!(
        matches!(&outcome.objects[&map("a")], Fate::Skipped(why) if why.contains("ConfigMap shop/a-front")),
        "{outcome:#?}"
    );
    assert!(there(&world, "a").await && there(&world, "a-front").await && !there(&world, "b").await);
    let_go(&world, "a-front").await;
    let outcome = world.destroy().await;
    assert!(outcome.ready && !outcome.recorded, "{}", outcome.diagnostics);
    assert!(!there(&world, "a").await);
}

#[tokio::test]
async fn a_branch_that_does_not_go_keeps_only_what_it_needs_from_being_pruned() {
    let world = World::start().await;
    let (spec, mut objects) = branches();
    objects.push(("stays", config("stays", "1")));
    world.applied(&stack(spec, objects)).await;
    let wanted = stack(json!({"timeout": "2s"}), vec![("stays", config("stays", "1"))]);
    let outcome = world.apply(&wanted).await;
    assert!(!outcome.ready);
    assert!(
        !there(&world, "b").await && !there(&world, "b-front").await,
        "{outcome:#?}"
    );
    assert!(there(&world, "a").await, "what is needed goes after what needs it");
    assert!(matches!(&outcome.objects[&map("a")], Fate::Skipped(why) if why.contains("a-front")));
    let_go(&world, "a-front").await;
    world.applied(&wanted).await;
    assert!(!there(&world, "a").await);
    assert!(world.plan(&wanted).await.is_empty());
}

#[tokio::test]
async fn a_record_that_knows_no_edges_is_destroyed_by_depth_and_learns_them_at_the_next_apply() {
    let world = World::start().await;
    let (spec, objects) = branches();
    world.applied(&stack(spec.clone(), objects.clone())).await;
    // As an earlier version wrote it.
    world
        .rewrite_record(&id(), |record| {
            assert!(record.as_object_mut().unwrap().remove("after").is_some());
            for entry in record["entries"].as_array_mut().unwrap() {
                let entry = entry.as_object_mut().unwrap();
                assert!(entry.remove("needs").is_some() && entry.remove("number").is_some());
            }
        })
        .await;

    let outcome = destroy_soon(&world).await;
    assert!(!outcome.ready);
    assert!(!there(&world, "b-front").await, "{outcome:#?}");
    assert!(
        there(&world, "a").await && there(&world, "b").await,
        "by depth: nobody knows who needs whom"
    );
    let_go(&world, "a-front").await;
    world.applied(&stack(spec, objects)).await;
    destroy_soon(&world).await;
    assert!(!there(&world, "b").await && there(&world, "a").await);
}

#[tokio::test]
async fn without_its_record_a_stack_is_destroyed_by_its_label_and_nothing_else_is() {
    let world = World::start().await;
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "one"}, "spec": {}});
    let pod = json!({"containers": [{"name": "c", "image": "busybox", "command": ["sleep", "3600"],
        "envFrom": [{"configMapRef": {"name": "read"}}],
        "readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}}]});
    let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    let objects = vec![
        ("x", role),
        ("x", crd),
        ("x", widget),
        ("x", web),
        ("x", service),
        ("x", config("read", "1")),
    ];
    world.applied(&stack(json!({}), objects)).await;
    // Somebody copied an object with all its labels, as backup tools and users do.
    let label = world.get("v1", "ConfigMap", "read").await.unwrap()["metadata"]["labels"].clone();
    assert!(label.get(record::PART_OF).is_some());
    let mut copy = config("copy", "1");
    copy["metadata"]["labels"] = label;
    let other = world.cluster_as("backup").await;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    other.request("POST", &path, "application/json", &copy).await;
    lose_record(&world).await;

    let gone: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = Arc::clone(&gone);
    let mut run = quick();
    run.progress = Arc::new(move |step| {
        if let Progress::Gone(key) = step {
            told.lock().unwrap().push(format!("{} {}", key.kind, key.name));
        }
    });
    let terms = Destroy {
        delete_protected: BTreeSet::new(),
        timeout: Duration::from_secs(20),
    };
    let outcome = destroy(Arc::clone(&world.cluster), &id(), &Owner::Terraform, &terms, &run).await;
    assert!(outcome.ready && !outcome.recorded, "{outcome:#?}");
    let gone = gone.lock().unwrap().clone();
    let at = |what: &str| {
        gone.iter()
            .position(|g| g == what)
            .unwrap_or_else(|| panic!("{what}: {gone:?}"))
    };
    assert!(at("Deployment web") < at("ConfigMap read"), "{gone:?}");
    assert!(at("ClusterRole reader") < gone.len() && at("Service web") < gone.len() && at("Widget one") < gone.len());
    // A definition is protected, also without a record; what is a copy is not ours; and it keeps the namespace.
    let definition = ObjectKey::new(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "",
        "widgets.example.com",
    );
    assert!(matches!(&outcome.objects[&definition], Fate::Kept(_)), "{outcome:#?}");
    assert!(there(&world, "copy").await);
    assert!(world.get("v1", "Namespace", NAMESPACE).await.is_some());
    assert!(world.get("apps/v1", "Deployment", "web").await.is_none());
}

#[tokio::test]
async fn without_its_record_a_destroy_that_is_held_says_so_and_the_next_goes_on() {
    let world = World::start().await;
    let (spec, objects) = branches();
    world.applied(&stack(spec, objects)).await;
    lose_record(&world).await;
    let outcome = destroy_soon(&world).await;
    assert!(!outcome.ready && outcome.recorded, "{outcome:#?}");
    assert!(outcome.diagnostics.to_string().contains("example.com/holds"));
    assert!(!there(&world, "b").await && there(&world, "a-front").await);
    let_go(&world, "a-front").await;
    let outcome = world.destroy().await;
    assert!(outcome.ready && !outcome.recorded, "{}", outcome.diagnostics);
    assert!(world.get("v1", "Namespace", NAMESPACE).await.is_none());
}

/// Holds the first write of a destroy, lets something happen to the record meanwhile, and says how the destroy ended.
async fn destroyed_while(world: &World, meanwhile: impl Future<Output = ()>) -> Outcome {
    let faults = world.sandbox.faults();
    let first_write = Rule {
        verbs: vec!["update".to_owned()],
        resources: vec!["secrets".to_owned()],
        times: 1,
        effect: Effect::HangBefore,
        ..Rule::default()
    };
    let held = faults.add(first_write);
    let ending = async {
        tokio::time::timeout(Duration::from_secs(60), faults.met(&held, 1))
            .await
            .unwrap();
        meanwhile.await;
        faults.clear();
    };
    tokio::join!(world.destroy(), ending).0
}

#[tokio::test]
async fn a_record_that_goes_with_its_namespace_before_a_destroy_has_begun_is_not_missed() {
    let world = World::start().await;
    world.applied(&stack(json!({}), vec![("x", config("one", "1"))])).await;
    let other = world.cluster_as("killed").await;
    let outcome = destroyed_while(&world, async {
        let namespace = format!("/api/v1/namespaces/{NAMESPACE}");
        other
            .request("DELETE", &namespace, "application/json", &json!({}))
            .await;
        let gone = async {
            while world.get("v1", "Secret", &id().record_name()).await.is_some() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    })
    .await;
    assert!(outcome.ready && !outcome.recorded, "{outcome:#?}");
    assert!(world.get("v1", "Namespace", NAMESPACE).await.is_none());
}

#[tokio::test]
async fn the_late_last_request_of_a_killed_run_does_not_stop_a_destroy_that_has_not_begun() {
    let world = World::start().await;
    world.applied(&stack(json!({}), vec![("x", config("one", "1"))])).await;
    let outcome = destroyed_while(&world, async {
        let late = json!({"metadata": {"annotations": {"example.com/late": "yes"}}});
        let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets/{}", id().record_name());
        let other = world.cluster_as("killed").await;
        other
            .request("PATCH", &path, "application/merge-patch+json", &late)
            .await;
    })
    .await;
    assert!(outcome.ready && !outcome.recorded, "{outcome:#?}");
    assert!(!there(&world, "one").await);
}
