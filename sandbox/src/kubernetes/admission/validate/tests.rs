//! Rules compared with recorded answers, without a server, and with absurd values.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{create, update};
use crate::kubernetes::admission::{decode, defaults, prepare, strategy};
use crate::kubernetes::registry::{FieldValidation, Part, WriteOptions};
use crate::kubernetes::schema::resources::{Catalog, Resource};

const NOW: &str = "2026-01-01T00:00:00Z";

/// What the registry does to a body before it is judged.
fn made(resource: &Resource, body: Value) -> Option<Value> {
    let options = WriteOptions {
        field_validation: FieldValidation::Ignore,
        ..WriteOptions::default()
    };
    let mut object = decode::decode(resource, body, &options).ok()?.value;
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    if resource.namespaced {
        object["metadata"]["namespace"] = "ns".into();
    }
    object["metadata"]["uid"] = "u".into();
    object["metadata"]["resourceVersion"] = "1".into();
    defaults::fill(resource, &mut object);
    prepare::for_create(resource, &mut object, NOW);
    Some(object)
}

fn said(storage: &str, body: Value) -> Vec<String> {
    let resource = Catalog::new()
        .served()
        .by_storage(storage)
        .expect("a built-in resource");
    let object = made(&resource, body).expect("fits its types");
    create(&resource, &object, &mut Vec::new())
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// What an update says, once however often it says it.
fn said_of_change(storage: &str, before: Value, after: Value) -> Vec<String> {
    let resource = Catalog::new()
        .served()
        .by_storage(storage)
        .expect("a built-in resource");
    let old = made(&resource, before).expect("fits its types");
    let mut new = made(&resource, after).expect("fits its types");
    prepare::for_update(&resource, &old, &mut new, Part::Main, NOW);
    let mut out: Vec<String> = Vec::new();
    for error in &update(&resource, &old, &new, Part::Main, &mut Vec::new()) {
        let text = error.to_string();
        if !out.contains(&text) {
            out.push(text);
        }
    }
    out
}

fn workload(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "app", "image": "example.com/app:1"}]}}}});
    change(&mut body);
    body
}

#[test]
fn new_objects_are_refused_in_the_recorded_words() {
    let cases: Vec<(&str, Value, Vec<&str>)> = vec![
        (
            "deployments.apps",
            json!({"metadata": {"name": "web"}, "spec": {}}),
            vec![
                "spec.selector: Required value",
                "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
                "spec.template.spec.containers: Required value",
            ],
        ),
        (
            "deployments.apps",
            workload(|body| body["spec"]["selector"]["matchLabels"]["app"] = "other".into()),
            vec![
                "spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`",
            ],
        ),
        (
            "deployments.apps",
            workload(|body| {
                body["spec"]["replicas"] = (-1).into();
                body["spec"]["template"]["spec"]["containers"] = json!([{"name": "app"}, {"name": "app", "image": "x"}, {"name": "Bad", "image": "x", "ports": [{"containerPort": 70000}]}]);
            }),
            vec![
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.template.spec.containers[0].image: Required value",
                "spec.template.spec.containers[1].name: Duplicate value: \"app\"",
                "spec.template.spec.containers[2].name: Invalid value: \"Bad\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "spec.template.spec.containers[2].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            "services",
            json!({"metadata": {"name": "s"}, "spec": {}}),
            vec!["spec.ports: Required value"],
        ),
        (
            "services",
            json!({"metadata": {"name": "1s"}, "spec": {"ports": [{"port": 80}]}}),
            vec![],
        ),
        (
            "services",
            json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}, {"port": 81}]}}),
            vec![
                "spec.ports[0].name: Required value",
                "spec.ports[1].name: Required value",
            ],
        ),
        (
            "secrets",
            json!({"metadata": {"name": "s"}, "type": "kubernetes.io/tls", "data": {}}),
            vec!["data[tls.crt]: Required value", "data[tls.key]: Required value"],
        ),
        (
            "namespaces",
            json!({"metadata": {"name": "bad.name"}}),
            vec!["metadata.name: Invalid value: \"bad.name\": must not contain dots"],
        ),
        (
            "leases.coordination.k8s.io",
            json!({"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 0}}),
            vec!["spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"],
        ),
        (
            "poddisruptionbudgets.policy",
            json!({"metadata": {"name": "b"}, "spec": {"maxUnavailable": "one"}}),
            vec![
                "spec.maxUnavailable: Invalid value: \"one\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ],
        ),
        (
            "configmaps",
            json!({"metadata": {"name": "x"}, "data": {"bad key": "1"}}),
            vec![
                "data[bad key]: Invalid value: \"bad key\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            ],
        ),
        (
            "configmaps",
            json!({"metadata": {}}),
            vec!["metadata.name: Required value: name or generateName is required"],
        ),
    ];
    for (storage, body, wanted) in cases {
        assert_eq!(said(storage, body.clone()), wanted, "{storage} {body}");
    }
}

#[test]
fn changes_are_refused_in_the_recorded_words() {
    const SET: &str = "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    let bind = |name: &str| json!({"metadata": {"name": "r"}, "roleRef": {"kind": "Role", "name": name}});
    let config =
        |value: &str, immutable: bool| json!({"metadata": {"name": "a"}, "data": {"k": value}, "immutable": immutable});
    let cases: Vec<(&str, Value, Value, Vec<&str>)> = vec![
        (
            "deployments.apps",
            workload(|_| {}),
            workload(|body| {
                body["spec"]["selector"]["matchLabels"]["v"] = "2".into();
                body["spec"]["template"]["metadata"]["labels"]["v"] = "2".into();
            }),
            vec!["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"web\",\"v\":\"2\"}}: field is immutable"],
        ),
        (
            "deployments.apps",
            workload(|_| {}),
            workload(|body| body["spec"]["replicas"] = 5.into()),
            vec![],
        ),
        (
            "statefulsets.apps",
            workload(|body| body["spec"]["serviceName"] = "a".into()),
            workload(|body| body["spec"]["serviceName"] = "b".into()),
            vec![SET],
        ),
        (
            "statefulsets.apps",
            workload(|_| {}),
            workload(|body| body["spec"]["minReadySeconds"] = 3.into()),
            vec![],
        ),
        (
            "configmaps",
            config("1", true),
            config("2", true),
            vec!["data: Forbidden: field is immutable when `immutable` is set"],
        ),
        (
            "configmaps",
            config("1", true),
            config("1", false),
            vec!["immutable: Forbidden: field is immutable when `immutable` is set"],
        ),
        (
            "rolebindings.rbac.authorization.k8s.io",
            bind("x"),
            bind("y"),
            vec![
                "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"Role\",\"Name\":\"y\"}: cannot change roleRef",
            ],
        ),
        (
            "secrets",
            json!({"metadata": {"name": "s"}}),
            json!({"metadata": {"name": "s"}, "type": "other"}),
            vec!["type: Invalid value: \"other\": field is immutable"],
        ),
    ];
    for (storage, before, after, wanted) in cases {
        assert_eq!(
            said_of_change(storage, before, after.clone()),
            wanted,
            "{storage} {after}"
        );
    }
}

#[test]
fn a_pods_update_changes_images_and_little_else() {
    let pod = |image: &str, host: &str| json!({"metadata": {"name": "p"}, "spec": {"hostname": host, "containers": [{"name": "a", "image": image}]}});
    assert!(said_of_change("pods", pod("x:1", "h"), pod("x:2", "h")).is_empty());
    let refused = said_of_change("pods", pod("x:1", "h"), pod("x:1", "i"));
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0].starts_with("spec: Forbidden: pod updates may not change fields other than"),
        "{}",
        refused[0]
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-5i64..70_000).prop_map(Value::from),
        "[a-z0-9%./*: -]{0,12}".prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((field(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "metadata",
            "name",
            "generateName",
            "labels",
            "spec",
            "template",
            "containers",
            "image",
            "ports",
            "containerPort",
            "port",
            "selector",
            "matchLabels",
            "matchExpressions",
            "replicas",
            "rules",
            "data",
            "type",
            "schedule",
            "jobTemplate",
            "resources",
            "requests",
            "limits",
            "cpu",
            "memory",
            "storage",
            "volumes",
            "env",
            "valueFrom",
            "versions",
            "schema",
            "openAPIV3Schema",
            "properties",
            "names",
            "plural",
            "kind",
            "group",
            "rollingUpdate",
            "maxSurge",
            "clusterIP",
            "clusterIPs",
            "status",
        ])
        .prop_map(str::to_owned),
        "[a-z]{1,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_that_is_sent_makes_a_rule_panic(body in any_json(), other in any_json()) {
        let served = Catalog::new().served();
        for line in strategy::ALL {
            let Some(resource) = served.stored().find(|one| one.kind == line.kind && one.gvr.group == line.group) else { continue };
            for (body, other) in [(&body, &other), (&json!({"metadata": {"name": "a"}, "spec": body}), &json!({"metadata": {"name": "a"}, "spec": other}))] {
                // values that fit no type must not hurt either: controllers write what they like
                let mut raw = body.clone();
                defaults::fill(resource, &mut raw);
                let _ = create(resource, &raw, &mut Vec::new());
                let (Some(old), Some(mut new)) = (made(resource, body.clone()), made(resource, other.clone())) else { continue };
                let _ = create(resource, &old, &mut Vec::new());
                for part in [Part::Main, Part::Status, Part::Resize, Part::Finalize] {
                    prepare::for_update(resource, &old, &mut new, part, NOW);
                    let _ = update(resource, &old, &new, part, &mut Vec::new());
                }
            }
        }
    }

    #[test]
    fn defaults_filled_twice_change_nothing_more(body in any_json()) {
        let served = Catalog::new().served();
        for storage in ["pods", "deployments.apps", "services", "jobs.batch", "statefulsets.apps", "persistentvolumeclaims"] {
            let resource = served.by_storage(storage).expect("a built-in resource");
            let mut once = json!({"metadata": {"name": "a"}, "spec": body});
            defaults::fill(&resource, &mut once);
            let mut twice = once.clone();
            defaults::fill(&resource, &mut twice);
            prop_assert_eq!(once, twice);
        }
    }
}
