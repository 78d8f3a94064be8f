//! Whose item stands in the place of ours, by small cases.

use super::*;
use crate::document::Conflicts;
use crate::mask::MaskKey;
use crate::observe::owned_paths;

fn fields(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn entry_of(manager: &str, operation: &str, time: &str, fields: &Value) -> Value {
    json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields})
}

fn set(items: &[(&str, &[&str])]) -> Value {
    let items = items.iter().map(|(element, names)| {
        let mut inner = Map::new();
        inner.insert(".".into(), json!({}));
        inner.extend(names.iter().map(|n| (format!("f:{n}"), json!({}))));
        ((*element).to_owned(), Value::Object(inner))
    });
    let list: Map<String, Value> = items.collect();
    json!({"f:spec": {"f:ports": list}})
}

const OURS: &str = r#"k:{"port":80,"protocol":"TCP"}"#;
const THEIRS: &str = r#"k:{"port":81,"protocol":"TCP"}"#;
const EXTRA: &str = r#"k:{"port":7000,"protocol":"TCP"}"#;
const ALL: &[&str] = &["name", "port", "protocol", "targetPort"];

fn service(ports: Value, managed: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
        "labels": {"theirs": "x"}, "managedFields": managed}, "spec": {"type": "ClusterIP", "ports": ports}})
}

fn body() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "labels": {"a": "1"}},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
}

/// What the record remembers of the last apply.
fn manners() -> Manners {
    let key = MaskKey::new([1; 32]);
    let ours = set(&[(OURS, &["name", "port", "targetPort"])]);
    let before = service(
        json!([]),
        json!([entry_of("myelin", "Apply", "2026-01-01T00:00:00Z", &ours)]),
    );
    Manners {
        policy: Conflicts::Fail,
        adopting: false,
        owned: owned_paths(&key, &before),
        key,
    }
}

/// Somebody made 81 of our 80; a third port was there before.
fn edited(name: &str, target: u16, operation: &str, time: &str) -> Value {
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "protocol": "TCP", "targetPort": target});
    service(
        json!([port(name, 81, target), port("extra", 7000, 7000)]),
        json!([
            entry_of(
                "myelin",
                "Apply",
                "2026-01-01T00:00:00Z",
                &json!({"f:metadata": {"f:labels": {"f:a": {}}}})
            ),
            entry_of("injector", "Update", "2025-01-01T00:00:00Z", &set(&[(EXTRA, ALL)])),
            entry_of("kubectl-edit", operation, time, &set(&[(THEIRS, ALL)])),
        ]),
    )
}

#[test]
fn an_item_is_renamed_when_it_is_ours_but_for_the_key_and_came_later() {
    for (what, live, reverts, renamed, alike) in [
        (
            "renumbered",
            edited("http", 8080, "Update", "2026-01-02T00:00:00Z"),
            true,
            true,
            true,
        ),
        (
            "in the same second",
            edited("http", 8080, "Update", "2026-01-01T00:00:00Z"),
            true,
            true,
            true,
        ),
        (
            "there before",
            edited("http", 8080, "Update", "2025-12-31T00:00:00Z"),
            true,
            false,
            true,
        ),
        (
            "applied on purpose",
            edited("http", 8080, "Apply", "2026-01-02T00:00:00Z"),
            true,
            false,
            true,
        ),
        (
            "changed beside",
            edited("http", 9090, "Update", "2026-01-02T00:00:00Z"),
            true,
            false,
            true,
        ),
        (
            "another one",
            edited("other", 9090, "Update", "2026-01-02T00:00:00Z"),
            true,
            false,
            false,
        ),
    ] {
        let found = stand_ins(&live, &body(), &manners());
        let all: Vec<String> = found.iter().map(|item| item.named().1).collect();
        assert_eq!(
            all,
            [
                r#".spec.ports[port=7000,protocol="TCP"]"#,
                r#".spec.ports[port=81,protocol="TCP"]"#
            ],
            "{what}"
        );
        let theirs = &found[1];
        assert_eq!(
            (theirs.reverts, theirs.renamed, theirs.alike),
            (reverts, renamed, alike),
            "{what}"
        );
        assert!(!found[0].renamed && !found[0].alike, "{what}");
    }
    // What was never ours is not taken back, and nothing is missing beside an item that is there.
    let fresh = Manners {
        owned: String::new(),
        ..manners()
    };
    let live = edited("http", 8080, "Update", "2026-01-02T00:00:00Z");
    assert!(
        stand_ins(&live, &body(), &fresh)
            .iter()
            .all(|item| !item.reverts && !item.renamed)
    );
    let mut there = body();
    there["spec"]["ports"][0]["port"] = json!(81);
    assert_eq!(stand_ins(&live, &there, &manners()), []);
}

#[test]
fn two_that_could_be_the_renamed_one_are_neither() {
    let mut live = edited("http", 8080, "Update", "2026-01-02T00:00:00Z");
    live["spec"]["ports"][1]["name"] = "http".into();
    live["spec"]["ports"][1]["targetPort"] = json!(8080);
    assert!(!renamed(&live, &body(), &manners()));
}

#[test]
fn without_it_the_object_is_the_live_one_with_ours_in_its_place() {
    let live = edited("http", 8080, "Update", "2026-01-02T00:00:00Z");
    let found = stand_ins(&live, &body(), &manners());
    let patch = without(&live, &body(), &[&found[1]]);
    assert_eq!(
        patch,
        json!([
            {"op": "test", "path": "/metadata/uid", "value": "u"},
            {"op": "add", "path": "/spec", "value": {"type": "ClusterIP", "ports": [
                {"name": "extra", "port": 7000, "protocol": "TCP", "targetPort": 7000},
                {"name": "http", "port": 80, "targetPort": 8080}]}},
            {"op": "add", "path": "/metadata/labels", "value": {"theirs": "x", "a": "1"}},
        ])
    );
}

#[test]
fn an_item_is_given_over_whole_and_nothing_else_is() {
    let live = edited("http", 8080, "Update", "2026-01-02T00:00:00Z");
    let found = stand_ins(&live, &body(), &manners());
    let patch = given_over(&live, &body(), &found[1..]);
    let apply = |live: &Value| {
        let mut live = live.clone();
        let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
        json_patch::patch(&mut live, &patch).map(|()| live)
    };
    let given = apply(&live).unwrap();
    let managed = given["metadata"]["managedFields"].as_array().unwrap();
    let managers: Vec<&str> = managed.iter().map(|e| e["manager"].as_str().unwrap()).collect();
    assert_eq!(managers, ["myelin", "injector"], "who owned nothing else is gone");
    let mut ours = set(&[(THEIRS, ALL)]);
    merge(&mut ours, &json!({"f:metadata": {"f:labels": {"f:a": {}}}}));
    assert_eq!(managed[0]["fieldsV1"], ours);
    assert_eq!(managed[1], live["metadata"]["managedFields"][1]);
    assert_eq!(given["spec"], live["spec"]);
    // It insists on what was looked at, and on nothing else.
    for (place, value, accepted) in [
        ("/metadata/uid", json!("another"), false),
        ("/metadata/managedFields/2/time", json!("2026-01-03T00:00:00Z"), false),
        ("/metadata/managedFields/0/fieldsV1", json!({}), false),
        ("/spec/ports/0/targetPort", json!(1), false),
        ("/metadata/resourceVersion", json!("8"), true),
        ("/metadata/managedFields/1/time", json!("2026-01-03T00:00:00Z"), true),
        ("/spec/ports/1/targetPort", json!(1), true),
    ] {
        let mut moved = live.clone();
        *moved.pointer_mut(place).unwrap() = value;
        assert_eq!(apply(&moved).is_ok(), accepted, "{place}");
    }
}

#[test]
fn what_an_entry_holds_beside_stays_in_it() {
    let mut all = set(&[(THEIRS, ALL), (EXTRA, ALL)]);
    forget(&mut all, &["f:spec".into(), "f:ports".into(), THEIRS.into()]);
    assert_eq!(all, set(&[(EXTRA, ALL)]));
    let mut with_list = fields(&format!(
        r#"{{"f:spec":{{"f:ports":{{".":{{}},{}:{{".":{{}}}}}}}}}}"#,
        json!(THEIRS)
    ));
    forget(&mut with_list, &["f:spec".into(), "f:ports".into(), THEIRS.into()]);
    assert_eq!(with_list, json!({"f:spec": {"f:ports": {".": {}}}}));
}

#[test]
fn items_inside_items_are_found_and_merged_by_their_keys() {
    let container = |ports: Value, env: Value| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "managedFields": []},
            "spec": {"containers": [{"name": "c", "image": "i", "ports": ports, "env": env}]}})
    };
    let inner = json!({".": {}, "f:env": {r#"k:{"name":"B"}"#: {".": {}, "f:name": {}, "f:value": {}}}});
    let theirs = json!({"f:spec": {"f:containers": {r#"k:{"name":"c"}"#: inner}}});
    let mut live = container(json!([]), json!([{"name": "B", "value": "x"}]));
    live["metadata"]["managedFields"] = json!([
        entry_of(
            "myelin",
            "Apply",
            "2026-01-01T00:00:00Z",
            &json!({"f:spec": {"f:containers": {r#"k:{"name":"c"}"#: {".": {}, "f:image": {}}}}})
        ),
        entry_of("kubectl-edit", "Update", "2026-01-01T00:00:09Z", &theirs),
    ]);
    let key = MaskKey::new([1; 32]);
    let ours = json!({"f:spec": {"f:containers": {r#"k:{"name":"c"}"#: {"f:env": {r#"k:{"name":"A"}"#: {".": {}, "f:value": {}}}}}}});
    let before = json!({"metadata": {"managedFields": [entry_of("myelin", "Apply", "t", &ours)]}});
    let manners = Manners {
        owned: owned_paths(&key, &before),
        key,
        ..manners()
    };
    let body = container(json!([]), json!([{"name": "A", "value": "x"}]));
    let found = stand_ins(&live, &body, &manners);
    assert_eq!(found.len(), 1);
    assert!(found[0].renamed, "{found:?}");
    assert_eq!(
        found[0].named(),
        (
            "kubectl-edit".to_owned(),
            r#".spec.containers[name="c"].env[name="B"]"#.to_owned()
        )
    );
}
