#![allow(clippy::needless_pass_by_value, reason = "a test writes its inputs in place")]

use super::*;
use crate::document::{API_VERSION, UNKNOWN, stack_from_value};
use crate::mask::WRITE_ONLY;
use serde_json::json;

fn stack(spec: Value) -> Stack {
    let mut full = json!({"namespace": "n", "source": "."});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let document = json!({"apiVersion": API_VERSION, "kind": "Stack", "metadata": {"name": "s"}, "spec": full});
    stack_from_value(document, &|_| None).unwrap()
}

fn object(file: &str, value: Value) -> Object {
    Object {
        value,
        origin: FilePlace::line(file, 1),
        fields: FieldOrigins::default(),
    }
}

fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn deployment(name: &str, config: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "creationTimestamp": null},
        "spec": {"replicas": "${N:-2}", "template": {"spec": {"containers": [
            {"name": "c", "image": "a/b:v1", "envFrom": [{"configMapRef": {"name": config}}]}]}}},
        "status": {}})
}

fn run(spec: Value, write_only: &[(&str, &str)], objects: Vec<Object>) -> Result<Desired, Diagnostics> {
    let variables = Variables {
        write_only: write_only
            .iter()
            .map(|(k, v)| ((*k).to_owned(), Text::from(*v)))
            .collect(),
        ..Variables::default()
    };
    desired(&stack(spec), &variables, objects, &|_| {
        Some("kind: X\ndata:\n  a: ${HOST}\n".into())
    })
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

#[test]
fn variables_are_put_in_typed_where_the_field_is_and_escaped_where_asked() {
    let d = run(
        json!({"substitute": {"HOST": "h", "N": "3"}, "images": {"a/b": "v2"}}),
        &[],
        vec![
            object(
                "c.yaml",
                config(
                    "c",
                    json!({"a": "x-${HOST}", "b": "$${HOST}", "c": "${1} ${a.b} $X", "port": "${N}"}),
                ),
            ),
            object("d.yaml", deployment("d", "c")),
        ],
    )
    .unwrap();
    let c = &d.object(&key("core/ConfigMap/n/c")).unwrap().value;
    assert_eq!(
        c["data"],
        json!({"a": "x-h", "b": "${HOST}", "c": "${1} ${a.b} $X", "port": "3"})
    );
    let w = &d.object(&key("apps/Deployment/n/d")).unwrap().value;
    assert_eq!(w["spec"]["replicas"], json!(3));
    assert_eq!(w.pointer("/spec/template/spec/containers/0/image").unwrap(), "a/b:v2");
    assert!(w.get("status").is_none() && w["metadata"].get("creationTimestamp").is_none());
    assert_eq!(w["metadata"]["namespace"], "n");
    assert!(d.object(&key("core/Namespace//n")).unwrap().implicit);
}

#[test]
fn an_unset_variable_is_named_with_its_line() {
    let problems = run(
        json!({}),
        &[],
        vec![object("c.yaml", config("c", json!({"a": "${HOST}", "b": "${HOST}"})))],
    )
    .unwrap_err();
    assert_eq!(problems.0.len(), 1);
    assert!(
        problems
            .to_string()
            .starts_with("c.yaml:3:6: error: ConfigMap c uses ${HOST}, which is not set"),
        "{problems}"
    );
}

#[test]
fn only_what_an_unknown_value_touches_is_unknown() {
    let d = run(
        json!({"substitute": {"HOST": UNKNOWN}}),
        &[],
        vec![
            object("c.yaml", config("c", json!({"a": "${HOST}"}))),
            object("e.yaml", config("e", json!({"a": "x"}))),
            object("d.yaml", deployment("reads-c", "c")),
            object("d.yaml", deployment("reads-e", "e")),
        ],
    )
    .unwrap();
    let known = d.canonical(&MaskKey::of_identity("n", "s"));
    let unknown: Vec<_> = known
        .iter()
        .filter(|(_, v)| v.is_none())
        .map(|(k, _)| k.to_string())
        .collect();
    assert_eq!(unknown, ["core/ConfigMap/n/c", "apps/Deployment/n/reads-c"]);
    let problems = run(
        json!({"substitute": {"X": UNKNOWN}}),
        &[],
        vec![object("c.yaml", config("c-${X}", json!({})))],
    );
    assert!(problems.unwrap_err().to_string().contains("not known before apply"));
}

#[test]
fn secrets_and_write_only_values_never_show() {
    let secret = |v: &str| json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"password": v}});
    let objects = |v: &str| {
        vec![
            object("s.yaml", secret(v)),
            object("c.yaml", config("c", json!({"url": "db://${PW}@h"}))),
            object("d.yaml", deployment("d", "c")),
        ]
    };
    let show = |v: &str, pw: &str| {
        let d = run(json!({}), &[("PW", pw)], objects(v)).unwrap();
        d.canonical(&MaskKey::of_identity("n", "s"))
            .values()
            .map(|v| v.clone().unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    };
    let one = show("hunter2", "swordfish");
    assert!(!one.contains("hunter2") && !one.contains("swordfish"), "{one}");
    assert!(one.contains("(sensitive ") && one.contains(WRITE_ONLY));
    assert_ne!(
        one,
        show("hunter3", "swordfish"),
        "another secret must show as a change"
    );
    assert_eq!(one, show("hunter2", "marlin"), "a write-only value may leave no trace");
}

#[test]
fn a_change_of_config_changes_the_template_that_reads_it() {
    let annotation = |value: &str, restart: bool| {
        let objects = vec![
            object("c.yaml", config("c", json!({"a": value}))),
            object("d.yaml", deployment("d", "c")),
        ];
        let d = run(json!({"restartOnConfigChange": restart}), &[], objects).unwrap();
        let w = d.object(&key("apps/Deployment/n/d")).unwrap();
        w.value
            .pointer("/spec/template/metadata/annotations/myelin.dev~1config-checksum")
            .cloned()
    };
    assert!(annotation("1", true).is_some());
    assert_ne!(annotation("1", true), annotation("2", true));
    assert_eq!(annotation("1", false), None);
}

#[test]
fn components_take_objects_by_folder_and_must_match_something() {
    let objects = || {
        vec![
            object("namespace.yaml", config("base", json!({}))),
            object("aha/c.yaml", config("aha", json!({}))),
            object("aha2/c.yaml", config("two", json!({}))),
        ]
    };
    let d = run(json!({"components": {"aha": {"path": "aha"}}}), &[], objects()).unwrap();
    let component = |k| d.object(&key(k)).unwrap().component.clone();
    assert_eq!(component("core/ConfigMap/n/aha").as_deref(), Some("aha"));
    assert_eq!(component("core/ConfigMap/n/two"), None);
    assert_eq!(component("core/ConfigMap/n/base"), None);
    let problems = run(json!({"components": {"x": {"path": "axon"}}}), &[], objects())
        .unwrap_err()
        .to_string();
    assert!(
        problems.contains("component x: no object comes from axon"),
        "{problems}"
    );
    assert!(problems.contains("., aha, aha2"), "{problems}");
}

#[test]
fn an_autoscaler_in_the_set_takes_the_replicas() {
    let hpa = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let d = run(
        json!({}),
        &[],
        vec![object("d.yaml", deployment("d", "c")), object("h.yaml", hpa)],
    )
    .unwrap();
    assert!(
        d.object(&key("apps/Deployment/n/d")).unwrap().value["spec"]
            .get("replicas")
            .is_none()
    );
}

#[test]
fn all_problems_of_a_render_come_at_once() {
    let objects = vec![
        object("a.yaml", config("same", json!({}))),
        object("b.yaml", config("same", json!({}))),
        object("c.yaml", json!({"kind": "ConfigMap", "metadata": {"name": "x"}})),
        object(
            "d.yaml",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "x-"}}),
        ),
        object("e.yaml", config("e", json!({"a": "${NOT_SET}"}))),
    ];
    let text = run(json!({}), &[], objects).unwrap_err().to_string();
    for part in ["is there twice", "no apiVersion", "a Pod has no name", "${NOT_SET}"] {
        assert!(text.contains(part), "missing {part} in {text}");
    }
}

#[test]
fn a_name_that_a_url_would_read_as_another_object_is_refused_before_anything_is_asked() {
    let named = |name: &str, namespace: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}});
    let bad = ["..", ".", "a/b", "%2e%2e"];
    let mut objects: Vec<Object> = bad.iter().map(|name| object("a.yaml", named(name, "n"))).collect();
    objects.push(object("b.yaml", named("fine", "..")));
    let told = run(json!({}), &[], objects).unwrap_err().to_string();
    for name in bad {
        assert!(told.contains(&format!("{name:?} cannot be the name")), "{name}: {told}");
    }
    assert!(told.contains("b.yaml"), "{told}");
    let allowed = ["a..b", "system:node", "...", "a.b"];
    let objects = allowed.iter().map(|name| object("a.yaml", named(name, "n"))).collect();
    assert!(run(json!({}), &[], objects).is_ok());
}

#[test]
fn placeholders_and_broken_rules_are_refused_all_at_once_each_at_its_line() {
    let file = "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  # replace every CHANGEME_* value\n  a: x\n  db: CHANGEME_DB_PASSWORD\n";
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
        "stringData": {"a": "see CHANGEME_* in the README", "db": "CHANGEME_DB_PASSWORD"}, "data": {"k": "Q0hBTkdFTUVfS0VZ"}});
    let main =
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "main"}, "spec": {"replicas": 2}});
    let allowed = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "CHANGEME_X"},
        "metadata": {"name": "c", "annotations": {"myelin.dev/placeholders": "allowed"}}});
    let document = json!({"apiVersion": API_VERSION, "kind": "Stack", "metadata": {"name": "s"}, "spec": {
        "namespace": "n", "source": ".", "policies": [
            {"match": {"kind": "StatefulSet", "name": "main"}, "rule": "object.spec.replicas == 1", "message": "one main process"},
            {"match": {"kind": "Deployment"}, "rule": "false", "message": "not asked"},
            {"match": {"kind": "ConfigMap"}, "rule": "object.spec.absent == 1", "message": "absent"},
            {"rule": "object.(", "message": "unreadable"}]}});
    let stack = stack_from_value(document, &|_| None).unwrap();
    let objects = [secret, main, allowed]
        .into_iter()
        .map(|value| Object {
            value,
            origin: FilePlace::line("a.yaml", 1),
            fields: FieldOrigins::default(),
        })
        .collect();
    let problems = desired(&stack, &Variables::default(), objects, &|_| Some(file.to_owned())).unwrap_err();
    let told = problems.to_string();
    for part in [
        "a.yaml:7: error: Secret n/s still holds the placeholder CHANGEME_DB_PASSWORD",
        "placeholder CHANGEME_KEY\n  at data.k",
        "StatefulSet n/main: one main process",
        "ConfigMap n/c: absent",
        "has(object",
        "the policy rule \"object.(\" cannot be read",
    ] {
        assert!(told.contains(part), "missing {part:?} in:\n{told}");
    }
    assert!(!told.contains("CHANGEME_X") && !told.contains("not asked"), "{told}");
}
