use super::*;
use crate::desired::{Variables, desired};
use crate::diagnostic::FilePlace;
use crate::document::{API_VERSION, stack_from_value};
use crate::object::Object;
use crate::origin::FieldOrigins;

fn wanted(value: &str) -> Arc<Desired> {
    let document = json!({"apiVersion": API_VERSION, "kind": "Stack", "metadata": {"name": "s"},
        "spec": {"namespace": "n", "source": "."}});
    let stack = stack_from_value(document, &|_| None).unwrap();
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": value}});
    let object = Object {
        value: map,
        origin: FilePlace::file("c.yaml"),
        fields: FieldOrigins::default(),
    };
    Arc::new(desired(&stack, &Variables::default(), vec![object], &|_| None).unwrap())
}

#[test]
fn a_plan_needs_no_cluster_and_says_what_would_be_made() {
    let make = |value: &str| plan(wanted(value), Arc::new(Observation::none()), Owner::Terraform);
    let plan = make("1");
    let text = plan.to_string();
    assert!(
        text.starts_with("stack n/s: 2 create\n  create Namespace n [s]: it is new\n"),
        "{text}"
    );
    assert!(plan.diagnostics.is_empty());
    assert_eq!(plan.hash, make("1").hash);
    assert_ne!(plan.hash, make("2").hash);
}

#[test]
fn who_asks_is_not_part_of_the_hash() {
    let by = |owner| plan(wanted("1"), Arc::new(Observation::none()), owner).hash;
    assert_eq!(by(Owner::Terraform), by(Owner::Git("main".into())));
}

#[test]
fn every_tools_word_for_keep_is_understood() {
    for (name, value, keep) in [
        ("myelin.dev/prune", "disabled", true),
        ("kustomize.toolkit.fluxcd.io/prune", "disabled", true),
        ("kustomize.toolkit.fluxcd.io/prune", "enabled", false),
        ("argocd.argoproj.io/sync-options", "Validate=false, Prune=false", true),
        ("argocd.argoproj.io/sync-options", "Prune=true", false),
        ("helm.sh/resource-policy", "keep", true),
        ("cli-utils.sigs.k8s.io/on-remove", "keep", true),
        ("client.lifecycle.config.k8s.io/deletion", "detach", true),
    ] {
        let live = json!({"metadata": {"annotations": {name: value}}});
        assert_eq!(keeps(&live).is_some(), keep, "{name}: {value}");
    }
}

#[test]
fn from_one_revision_to_another_only_what_differs_is_planned_and_no_cluster_is_needed() {
    let by = |before: &str, after: &str| between(&wanted(before), wanted(after), Owner::Terraform);
    let same = by("1", "1");
    assert!(same.is_empty(), "{same}");
    let changed = by("1", "2");
    let text = changed.to_string();
    assert!(
        text.starts_with("stack n/s: 1 update, 1 unchanged\n  update ConfigMap n/c [s]: its manifest changed\n"),
        "{text}"
    );
    assert!(text.contains("data.a: \"1\" -> \"2\""), "{text}");
    assert_eq!(changed.hash, by("1", "2").hash);
    assert_ne!(changed.hash, by("1", "3").hash);
}
