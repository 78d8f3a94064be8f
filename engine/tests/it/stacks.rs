//! A stack's life against a cluster: plan, apply, prune, drift, adoption, conflicts, replacement, ownership.

use crate::world::{NAMESPACE, World, config, id, quick, stack};
use myelin_engine::apply::{Fate, apply};
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::{DryRun, observe, refresh};
use myelin_engine::plan::{Plan, plan};
use myelin_engine::record::{self, Owner};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

/// The changes that are not "unchanged", as words.
fn actions(plan: &Plan) -> Vec<String> {
    let changes = plan.changes.iter().filter(|c| c.action.word() != "unchanged");
    changes.map(|c| format!("{} {}", c.action.word(), c.key.name)).collect()
}

fn two_components() -> Value {
    json!({"components": {"a": {"path": "a"}, "b": {"path": "b", "after": ["a"]}}})
}

async fn uid(world: &World, name: &str) -> String {
    let live = world.get("v1", "ConfigMap", name).await.unwrap();
    live["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_stack_comes_up_and_the_second_plan_is_empty_and_sends_one_list_per_kind() {
    let world = World::start().await;
    let wanted = stack(
        two_components(),
        vec![("a", config("one", "1")), ("b", config("two", "2"))],
    );
    let plan = world.plan(&wanted).await;
    assert_eq!(actions(&plan), ["create shop", "create one", "create two"], "{plan}");
    let outcome = world.applied(&wanted).await;
    assert_eq!(outcome.components["b"], "ready");
    let before = world.sandbox.faults().sequence();
    let plan = world.plan(&wanted).await;
    assert!(plan.is_empty() && plan.diagnostics.is_empty(), "{plan}");
    let requests: Vec<String> = world
        .sandbox
        .faults()
        .log(before)
        .iter()
        .map(|r| format!("{} {}", r.verb, r.path))
        .collect();
    assert_eq!(requests.len(), 3, "record, ConfigMaps, Namespaces: {requests:#?}");
    let before = world.sandbox.faults().sequence();
    assert!(world.apply(&wanted).await.ready);
    assert_eq!(
        world.sandbox.faults().sequence() - before,
        3,
        "an apply of nothing writes nothing"
    );
}

#[tokio::test]
async fn a_change_shows_its_field_and_the_same_inputs_give_the_same_hash() {
    let world = World::start().await;
    world.applied(&stack(json!({}), vec![("a", config("one", "1"))])).await;
    let wanted = stack(json!({}), vec![("a", config("one", "2"))]);
    let first = world.plan(&wanted).await;
    let change = first.change(&key("core/ConfigMap/shop/one")).unwrap();
    assert_eq!(change.reason, "its manifest changed");
    let fields: Vec<_> = change
        .fields
        .iter()
        .map(|f| (&*f.path, f.before.as_deref(), f.after.as_deref()))
        .collect();
    assert_eq!(fields, [("data.key", Some("\"1\""), Some("\"2\""))]);
    let again = world.plan_with(&*world.cluster, &wanted, DryRun::Decisions).await;
    assert_eq!(first.hash, again.hash);
    let other = world.plan(&stack(json!({}), vec![("a", config("one", "3"))])).await;
    assert_ne!(first.hash, other.hash);
    world.applied(&wanted).await;
    assert_eq!(world.get("v1", "ConfigMap", "one").await.unwrap()["data"]["key"], "2");
}

#[tokio::test]
async fn drift_of_our_fields_is_found_and_reverted_and_others_fields_are_left_alone() {
    let world = World::start().await;
    let wanted = stack(json!({}), vec![("a", config("one", "1"))]);
    world.applied(&wanted).await;
    let prior = wanted.canonical(&myelin_engine::mask::MaskKey::of_identity(NAMESPACE, "web"));
    let prior: BTreeMap<ObjectKey, String> = prior.into_iter().map(|(k, v)| (k, v.unwrap())).collect();

    world
        .meddle("v1", "ConfigMap", "one", json!({"data": {"theirs": "x"}}))
        .await;
    assert!(
        world.plan(&wanted).await.is_empty(),
        "a field of somebody else is not ours"
    );
    let seen = refresh(&*world.cluster, &id(), &prior).await.unwrap().unwrap();
    assert_eq!((seen.objects, seen.drifted), (prior.clone(), vec![]));

    world
        .meddle("v1", "ConfigMap", "one", json!({"data": {"key": "changed"}}))
        .await;
    let seen = refresh(&*world.cluster, &id(), &prior).await.unwrap().unwrap();
    assert_eq!(seen.drifted, [key("core/ConfigMap/shop/one")]);
    assert!(seen.objects[&key("core/ConfigMap/shop/one")].contains("changed"));
    let plan = world.plan(&wanted).await;
    let change = plan.change(&key("core/ConfigMap/shop/one")).unwrap();
    assert!(change.drift, "{plan}");
    assert_eq!(change.reason, "meddler changed it");
    assert_eq!(change.fields[0].before.as_deref(), Some("\"changed\""));
    assert!(
        plan.diagnostics.is_empty(),
        "a field that was ours is no conflict: {plan}"
    );
    world.applied(&wanted).await;
    let live = world.get("v1", "ConfigMap", "one").await.unwrap();
    assert_eq!(live["data"], json!({"key": "1", "theirs": "x"}));
    assert!(world.plan(&wanted).await.is_empty());

    world
        .meddle("v1", "ConfigMap", "one", json!({"data": {"key": null}}))
        .await;
    assert_eq!(
        actions(&world.plan(&wanted).await),
        ["update one"],
        "a removed field is drift, too"
    );
}

#[tokio::test]
async fn a_state_that_is_older_than_the_record_is_refreshed_to_what_is_there() {
    let world = World::start().await;
    let texts = |wanted: &myelin_engine::desired::Desired| -> BTreeMap<ObjectKey, String> {
        let texts = wanted.canonical(&myelin_engine::mask::MaskKey::of_identity(NAMESPACE, "web"));
        texts.into_iter().map(|(k, v)| (k, v.unwrap())).collect()
    };
    let old = stack(json!({}), vec![("a", config("one", "1"))]);
    world.applied(&old).await;
    let newer = stack(json!({}), vec![("a", config("one", "2"))]);
    world.applied(&newer).await;
    let seen = refresh(&*world.cluster, &id(), &texts(&old)).await.unwrap().unwrap();
    assert_eq!(
        seen.objects,
        texts(&newer),
        "a plan of the old state must show the change"
    );
    assert_eq!(
        refresh(&*world.cluster, &id(), &texts(&newer))
            .await
            .unwrap()
            .unwrap()
            .objects,
        texts(&newer)
    );
}

#[tokio::test]
async fn a_field_war_is_reported_and_not_fought_for_ever() {
    let world = World::start().await;
    let wanted = stack(json!({}), vec![("a", config("one", "1"))]);
    world.applied(&wanted).await;
    let mut reverts = 0;
    for round in 0..20 {
        world
            .meddle(
                "v1",
                "ConfigMap",
                "one",
                json!({"data": {"key": format!("war-{round}")}}),
            )
            .await;
        let plan = world.plan(&wanted).await;
        if plan.is_empty() {
            let text = plan.diagnostics.to_string();
            assert!(
                text.contains("somebody keeps changing") && text.contains("meddler"),
                "{text}"
            );
            break;
        }
        reverts += 1;
        world.applied(&wanted).await;
    }
    assert_eq!(reverts, 5);
    // An hour later it is no war any more.
    world
        .rewrite_record(&id(), |record| {
            let entries = record["entries"].as_array_mut().unwrap().iter_mut();
            for at in entries
                .filter_map(|entry| entry.get_mut("reverted")?.as_array_mut())
                .flatten()
            {
                *at = json!(at.as_i64().unwrap() - 3601);
            }
        })
        .await;
    let plan = world.plan(&wanted).await;
    assert_eq!(actions(&plan), ["update one"], "{plan}");
}

#[tokio::test]
async fn pruned_is_what_the_record_owns_and_nothing_else() {
    let world = World::start().await;
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let mut kept = config("kept", "1");
    kept["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    let all = vec![
        ("a", config("stays", "1")),
        ("a", config("goes", "1")),
        ("a", config("stolen", "1")),
        ("a", kept),
        ("a", claim),
    ];
    // A claim without a volume never becomes ready here; what counts is that it is in the inventory.
    world.apply(&stack(json!({"timeout": "1s"}), all)).await;
    let meddler = world.cluster_as("meddler").await;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    meddler
        .request("DELETE", &format!("{path}/stolen"), "application/json", &json!({}))
        .await;
    meddler
        .request("POST", &path, "application/json", &config("stolen", "another's"))
        .await;
    meddler
        .request("POST", &path, "application/json", &config("foreign", "1"))
        .await;

    let wanted = stack(json!({}), vec![("a", config("stays", "1"))]);
    let plan = world.plan(&wanted).await;
    let mut found = actions(&plan);
    found.sort();
    assert_eq!(
        found,
        ["prune goes", "release data", "release kept", "release stolen"],
        "{plan}"
    );
    let outcome = world.applied(&wanted).await;
    assert_eq!(outcome.objects[&key("core/ConfigMap/shop/goes")], Fate::Gone);
    assert!(world.get("v1", "ConfigMap", "goes").await.is_none());
    for (kind, name) in [
        ("ConfigMap", "stolen"),
        ("ConfigMap", "foreign"),
        ("ConfigMap", "kept"),
        ("PersistentVolumeClaim", "data"),
    ] {
        assert!(world.get("v1", kind, name).await.is_some(), "{kind} {name} must stay");
    }
    assert!(world.plan(&wanted).await.is_empty());
}

#[tokio::test]
async fn an_empty_render_prunes_nothing() {
    let world = World::start().await;
    world.applied(&stack(json!({}), vec![("a", config("one", "1"))])).await;
    let wanted = stack(json!({}), vec![]);
    let plan = world.plan(&wanted).await;
    assert!(plan.diagnostics.to_string().contains("renders nothing"), "{plan}");
    assert!(!world.apply(&wanted).await.ready);
    assert!(world.get("v1", "ConfigMap", "one").await.is_some());
}

#[tokio::test]
async fn nothing_is_pruned_before_everything_new_is_healthy() {
    let world = World::start().await;
    world.applied(&stack(json!({}), vec![("a", config("old", "1"))])).await;
    let mut bad = config("new", "1");
    bad["data"] = json!({"not/a/key": "x"});
    let outcome = world.apply(&stack(json!({}), vec![("a", bad)])).await;
    assert!(!outcome.ready);
    assert!(world.get("v1", "ConfigMap", "old").await.is_some());
    world.applied(&stack(json!({}), vec![("a", config("new", "1"))])).await;
    assert!(world.get("v1", "ConfigMap", "old").await.is_none());
}

#[tokio::test]
async fn one_failing_branch_stops_only_what_waits_for_it_and_the_next_apply_keeps_what_is_there() {
    let world = World::start().await;
    let mut bad = config("bad", "1");
    bad["data"] = json!({"not/a/key": "x"});
    let spec = json!({"components": {"a": {"path": "a"}, "b": {"path": "b", "after": ["a"]}, "c": {"path": "c"}}});
    let set = |bad: Value| {
        stack(
            spec.clone(),
            vec![
                ("a", bad),
                ("a", config("good", "1")),
                ("b", config("behind", "1")),
                ("c", config("beside", "1")),
            ],
        )
    };
    let outcome = world.apply(&set(bad)).await;
    assert!(!outcome.ready && outcome.recorded);
    assert!(matches!(
        outcome.objects[&key("core/ConfigMap/shop/bad")],
        Fate::Failed(_)
    ));
    assert_eq!(outcome.objects[&key("core/ConfigMap/shop/good")], Fate::Ready);
    assert_eq!(outcome.objects[&key("core/ConfigMap/shop/beside")], Fate::Ready);
    let Fate::Skipped(why) = &outcome.objects[&key("core/ConfigMap/shop/behind")] else {
        panic!("{outcome:?}")
    };
    assert_eq!(why, "ConfigMap shop/bad failed");
    assert!(
        outcome.components["a"].starts_with("failed: ConfigMap shop/bad"),
        "{}",
        outcome.components["a"]
    );
    assert_eq!(outcome.components["c"], "ready");
    let before = uid(&world, "good").await;
    world.applied(&set(config("bad", "1"))).await;
    assert_eq!(uid(&world, "good").await, before);
}

#[tokio::test]
async fn what_exists_is_adopted_only_as_the_policy_says() {
    let world = World::start().await;
    let meddler = world.cluster_as("kubectl-client-side-apply").await;
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
    meddler
        .request("POST", "/api/v1/namespaces", "application/json", &space)
        .await;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let mut old = config("one", "old");
    old["data"]["dropped"] = json!("x");
    old["metadata"]["annotations"] = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
    meddler.request("POST", &path, "application/json", &old).await;
    let mut owned = config("owned", "old");
    owned["metadata"]["annotations"] = json!({"meta.helm.sh/release-name": "shop"});
    meddler.request("POST", &path, "application/json", &owned).await;

    let set = |adopt: &str, names: &[&str]| {
        stack(
            json!({"adopt": adopt}),
            names.iter().map(|n| ("a", config(n, "new"))).collect(),
        )
    };
    let refused = world.plan(&set("never", &["one"])).await.diagnostics.to_string();
    assert!(
        refused.contains("ConfigMap shop/one exists and is not the stack's"),
        "{refused}"
    );
    let refused = world.plan(&set("ifUnowned", &["owned"])).await.diagnostics.to_string();
    assert!(refused.contains("owned by Helm release shop"), "{refused}");

    let plan = world.plan(&set("ifUnowned", &["one"])).await;
    assert_eq!(actions(&plan), ["adopt one"], "{plan}");
    assert!(plan.diagnostics.is_empty(), "{plan}");
    let before = uid(&world, "one").await;
    world.applied(&set("ifUnowned", &["one"])).await;
    let live = world.get("v1", "ConfigMap", "one").await.unwrap();
    assert_eq!(
        live["data"],
        json!({"key": "new"}),
        "a field that only kubectl had goes"
    );
    assert_eq!(live["metadata"]["annotations"], Value::Null);
    assert_eq!(uid(&world, "one").await, before);
    assert!(world.plan(&set("ifUnowned", &["one"])).await.is_empty());
    world.applied(&set("always", &["one", "owned"])).await;
    // The namespace was there before the stack, so it is not the stack's.
    let record = record::read(&*world.cluster, &id(), &CancellationToken::new())
        .await
        .unwrap()
        .unwrap()
        .record;
    assert!(!record.entries.contains_key(&key("core/Namespace//shop")));
}

#[tokio::test]
async fn an_object_that_another_makes_between_plan_and_apply_is_taken_only_as_the_policy_says() {
    let world = World::start().await;
    world
        .applied(&stack(json!({}), vec![("a", config("first", "1"))]))
        .await;
    let meddler = world.cluster_as("kubectl-create").await;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    // Without a word in common, so that the server would merge the two; and with one, so that it would not.
    let mut apart = config("apart", "theirs");
    apart["data"] = json!({"other": "theirs"});
    let cases = [("apart", apart), ("same", config("same", "theirs"))];
    for (conflicts, adopt) in [("fail", "never"), ("force", "never"), ("force", "ifUnowned")] {
        for (name, theirs) in &cases {
            let wanted = stack(
                json!({"adopt": adopt, "conflicts": conflicts}),
                vec![("a", config("first", "1")), ("a", config(name, "ours"))],
            );
            let plan = world.plan(&wanted).await;
            assert_eq!(actions(&plan), [format!("create {name}")]);
            meddler.request("POST", &path, "application/json", theirs).await;
            let made = world.get("v1", "ConfigMap", name).await.unwrap();
            let outcome = apply(Arc::clone(&world.cluster), &plan, &quick()).await;
            let live = world.get("v1", "ConfigMap", name).await.unwrap();
            assert_eq!(live["metadata"]["uid"], made["metadata"]["uid"]);
            if adopt == "never" {
                let said = outcome.diagnostics.to_string();
                assert!(
                    !outcome.ready && said.contains("kubectl-create made it since the plan") && said.contains("adopt"),
                    "{conflicts} {name}: {said}"
                );
                assert_eq!(live["data"], theirs["data"], "nothing of it is changed");
                assert_eq!(live["metadata"]["labels"], Value::Null);
                let managers = live["metadata"]["managedFields"].as_array().unwrap();
                assert!(managers.iter().all(|m| m["manager"] == "kubectl-create"), "{live}");
            } else {
                assert!(outcome.ready, "{}", outcome.diagnostics);
                assert_eq!(live["data"]["key"], "ours");
            }
            meddler
                .request("DELETE", &format!("{path}/{name}"), "application/json", &json!({}))
                .await;
            world
                .applied(&stack(json!({}), vec![("a", config("first", "1"))]))
                .await;
        }
    }
}

#[tokio::test]
async fn a_conflict_fails_forces_or_yields_as_the_policy_says() {
    let world = World::start().await;
    world.applied(&stack(json!({}), vec![("a", config("one", "1"))])).await;
    let other = world.cluster_as("other").await;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/one");
    let theirs =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"extra": "theirs"}});
    other
        .request("PATCH", &path, "application/apply-patch+yaml", &theirs)
        .await;
    let set = |policy: &str| {
        let mut map = config("one", "1");
        map["data"]["extra"] = json!("ours");
        stack(json!({"conflicts": policy}), vec![("a", map)])
    };
    let refused = world.plan(&set("fail")).await.diagnostics.to_string();
    assert!(refused.contains(".data.extra is owned by other"), "{refused}");
    assert!(!world.apply(&set("fail")).await.ready);

    let outcome = world.applied(&set("yield")).await;
    assert!(outcome.ready);
    assert_eq!(
        world.get("v1", "ConfigMap", "one").await.unwrap()["data"]["extra"],
        "theirs"
    );
    assert!(
        world.plan(&set("yield")).await.is_empty(),
        "what was left is left in silence"
    );

    world.applied(&set("force")).await;
    assert_eq!(
        world.get("v1", "ConfigMap", "one").await.unwrap()["data"]["extra"],
        "ours"
    );
}

#[tokio::test]
async fn replacement_is_opt_in_and_never_for_a_manifest_that_is_simply_wrong() {
    let world = World::start().await;
    let frozen = |value: &str| {
        let mut map = config("one", value);
        map["immutable"] = json!(true);
        map
    };
    world.applied(&stack(json!({}), vec![("a", frozen("1"))])).await;
    let before = uid(&world, "one").await;
    let refused = world
        .plan(&stack(json!({}), vec![("a", frozen("2"))]))
        .await
        .diagnostics
        .to_string();
    assert!(
        refused.contains("a field that cannot change would have to"),
        "{refused}"
    );
    assert!(refused.contains("list ConfigMap under replace"), "{refused}");

    let mut wrong = frozen("2");
    wrong["data"]["not/a/key"] = json!("x");
    let plan = world
        .plan(&stack(json!({"replace": ["ConfigMap"]}), vec![("a", wrong)]))
        .await;
    assert!(plan.diagnostics.has_errors(), "{plan}");
    assert_ne!(actions(&plan), ["replace one"]);

    let wanted = stack(json!({"replace": ["ConfigMap"]}), vec![("a", frozen("2"))]);
    let plan = world.plan(&wanted).await;
    assert_eq!(actions(&plan), ["replace one"], "{plan}");
    world.applied(&wanted).await;
    assert_ne!(uid(&world, "one").await, before);
    assert_eq!(world.get("v1", "ConfigMap", "one").await.unwrap()["data"]["key"], "2");
}

#[tokio::test]
async fn a_lost_record_loses_nothing() {
    let world = World::start().await;
    let wanted = stack(json!({}), vec![("a", config("one", "1")), ("a", config("two", "1"))]);
    world.applied(&wanted).await;
    let before = uid(&world, "one").await;
    let cancel = CancellationToken::new();
    let stored = record::read(&*world.cluster, &id(), &cancel).await.unwrap().unwrap();
    record::delete(&*world.cluster, &id(), &stored.version, &cancel)
        .await
        .unwrap();
    world.applied(&wanted).await;
    assert_eq!(uid(&world, "one").await, before);
    let again = record::read(&*world.cluster, &id(), &cancel).await.unwrap().unwrap();
    assert_eq!(
        again
            .record
            .entries
            .values()
            .map(|e| (&e.key, &e.uid))
            .collect::<Vec<_>>(),
        stored
            .record
            .entries
            .values()
            .map(|e| (&e.key, &e.uid))
            .collect::<Vec<_>>(),
    );
    assert!(world.plan(&wanted).await.is_empty());
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_stack_is_handed_over() {
    let world = World::start().await;
    let wanted = stack(json!({}), vec![("a", config("one", "1"))]);
    world.applied(&wanted).await;
    let git = Owner::Git("fleet".into());
    let as_git = || async {
        let seen = observe(&*world.cluster, &wanted, DryRun::Changes).await.unwrap();
        plan(Arc::new(wanted.clone()), Arc::new(seen), git.clone())
    };
    let refused = as_git().await.diagnostics.to_string();
    assert!(refused.contains("owned by terraform, not by git:fleet"), "{refused}");
    let cancel = CancellationToken::new();
    record::hand_over(&*world.cluster, &id(), &Owner::Terraform, &git, "test", &cancel)
        .await
        .unwrap();
    assert!(as_git().await.is_empty());
    assert!(world.plan(&wanted).await.diagnostics.has_errors());
    let outcome = world.destroy().await;
    assert!(
        outcome.diagnostics.to_string().contains("owned by git:fleet"),
        "{}",
        outcome.diagnostics
    );
    assert!(world.get("v1", "ConfigMap", "one").await.is_some());
}

#[tokio::test]
async fn secret_values_reach_neither_record_nor_plan_nor_error() {
    let world = World::start().await;
    let secret = |value: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": value}});
    world
        .applied(&stack(json!({}), vec![("a", secret("hunter2-first"))]))
        .await;
    let wanted = stack(json!({}), vec![("a", secret("hunter2-second"))]);
    let plan = world.plan(&wanted).await;
    assert_eq!(actions(&plan), ["update s"], "{plan}");
    let outcome = world.applied(&wanted).await;
    let stored = record::read(&*world.cluster, &id(), &CancellationToken::new())
        .await
        .unwrap()
        .unwrap();
    let seen = refresh(&*world.cluster, &id(), &BTreeMap::new())
        .await
        .unwrap()
        .unwrap();
    let everything = format!(
        "{plan} {plan:?} {outcome:?} {} {seen:?}",
        serde_json::to_string(&stored.record).unwrap()
    );
    // `{plan:?}` holds the documents themselves for the executor; what is shown is its Display.
    let shown = format!(
        "{plan} {outcome:?} {} {seen:?}",
        serde_json::to_string(&stored.record).unwrap()
    );
    assert!(everything.len() > shown.len());
    use base64::Engine as _;
    for value in ["hunter2-first", "hunter2-second"] {
        let encoded = base64::engine::general_purpose::STANDARD.encode(value);
        assert!(!shown.contains(value) && !shown.contains(&encoded), "{value} shows");
    }
}

#[tokio::test]
async fn an_instance_of_a_kind_without_a_status_is_not_waited_for() {
    let world = World::start().await;
    let definition = |plural: &str, kind: &str, subresources: Value| {
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {"group": "example.com", "scope": "Namespaced",
                "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": subresources,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}})
    };
    let instance =
        |kind: &str| json!({"apiVersion": "example.com/v1", "kind": kind, "metadata": {"name": "one"}, "spec": {}});
    let mut run = quick();
    // No controller reports on either: only the kind says whether one could.
    run.settings.status_grace = Duration::from_secs(4);
    for (plural, kind, subresources, waits) in [
        ("plains", "Plain", json!({}), false),
        ("reports", "Report", json!({"status": {}}), true),
    ] {
        let defined = definition(plural, kind, subresources);
        world.applied(&stack(json!({}), vec![("a", defined.clone())])).await;
        let wanted = stack(json!({}), vec![("a", defined), ("a", instance(kind))]);
        let plan = world.plan(&wanted).await;
        let began = Instant::now();
        let outcome = apply(Arc::clone(&world.cluster), &plan, &run).await;
        assert!(outcome.ready, "{}", outcome.diagnostics);
        assert_eq!(
            began.elapsed() > Duration::from_secs(3),
            waits,
            "{kind}: {:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_definition_and_its_instance_come_up_in_one_apply() {
    let world = World::start().await;
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things", "singular": "thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}});
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}, "spec": {"a": 1}});
    let wanted = stack(json!({}), vec![("a", thing.clone()), ("a", definition)]);
    let plan = world.plan(&wanted).await;
    assert!(!plan.diagnostics.has_errors(), "{plan}");
    world.applied(&wanted).await;
    assert!(world.plan(&wanted).await.is_empty());

    let missing = stack(
        json!({}),
        vec![(
            "a",
            json!({"apiVersion": "nobody.example.com/v1", "kind": "Nothing", "metadata": {"name": "x"}}),
        )],
    );
    let text = world.plan(&missing).await.diagnostics.to_string();
    assert!(
        text.contains("the cluster does not serve Nothing at nobody.example.com/v1"),
        "{text}"
    );
}

/// A law: whatever a stack was and becomes, the plan after its apply is empty, and what is pruned was in the inventory.
#[tokio::test]
async fn after_any_apply_the_plan_is_empty_and_prunes_are_of_the_inventory() {
    let world = World::start().await;
    // A small generator of its own, so that a failure names its seed and can be run again.
    let mut state: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut next = |n: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % n
    };
    for round in 0..12 {
        let mut manifests = vec![("a", config("always", "1"))];
        let names: Vec<String> = (0..8).map(|i| format!("c{i}")).collect();
        for name in &names {
            let component = ["a", "b", "c"][usize::try_from(next(3)).unwrap()];
            if next(2) == 0 {
                manifests.push((component, config(name, &next(3).to_string())));
            }
        }
        for component in ["b", "c"] {
            let name = format!("only-{component}");
            manifests.push((component, config(&name, "1")));
        }
        let after = if next(2) == 0 { json!(["a"]) } else { json!(["a", "b"]) };
        let spec = json!({"components": {"a": {"path": "a"}, "b": {"path": "b", "after": ["a"]}, "c": {"path": "c", "after": after}}});
        let wanted = stack(spec, manifests);
        let owned = record::read(&*world.cluster, &id(), &CancellationToken::new())
            .await
            .unwrap();
        let plan = world.plan(&wanted).await;
        for change in plan.changes.iter().filter(|c| c.action.word() == "prune") {
            assert!(
                owned
                    .as_ref()
                    .is_some_and(|o| o.record.entries.contains_key(&change.key)),
                "round {round}: {plan}"
            );
        }
        world.applied(&wanted).await;
        let again = world.plan(&wanted).await;
        assert!(
            again.is_empty() && again.diagnostics.is_empty(),
            "round {round}: {again}"
        );
    }
}
