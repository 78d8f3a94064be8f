use super::*;
use serde_json::json;

fn member(component: Option<&'static str>, value: Value) -> (ObjectKey, Value, Option<&'static str>) {
    (ObjectKey::of(&value), value, component)
}

fn build_all(
    all: &[(ObjectKey, Value, Option<&'static str>)],
    after: &[(&str, &[&str])],
) -> Result<Graph, Diagnostics> {
    let members: Vec<_> = all
        .iter()
        .map(|(key, value, component)| Member {
            key,
            value,
            component: *component,
        })
        .collect();
    let after = after
        .iter()
        .map(|(k, v)| ((*k).into(), v.iter().map(|s| (*s).into()).collect()))
        .collect();
    build(&members, &[], &after)
}

fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

#[test]
fn each_implicit_edge_is_found() {
    let pod = |extra: Value| {
        let mut spec = json!({"containers": [{"name": "c", "envFrom": [{"configMapRef": {"name": "cm"}}]}]});
        spec.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        json!({"metadata": {"labels": {"app": "web"}}, "spec": spec})
    };
    let all = [
        member(
            None,
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}),
        ),
        member(
            None,
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm", "namespace": "n"}}),
        ),
        member(
            None,
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa", "namespace": "n"}}),
        ),
        member(
            None,
            json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "pvc", "namespace": "n"}}),
        ),
        member(
            None,
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "r", "namespace": "n"}}),
        ),
        member(
            None,
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "rb", "namespace": "n"},
            "roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "sa", "namespace": "n"}]}),
        ),
        member(
            None,
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "n"},
            "spec": {"template": pod(json!({"serviceAccountName": "sa", "volumes": [{"persistentVolumeClaim": {"claimName": "pvc"}}]}))}}),
        ),
        member(
            None,
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "n"}, "spec": {"selector": {"app": "web"}}}),
        ),
        member(
            None,
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i", "namespace": "n"},
            "spec": {"rules": [{"http": {"paths": [{"backend": {"service": {"name": "web"}}}]}}]}}),
        ),
        member(
            None,
            json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h", "namespace": "n"},
            "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}}}),
        ),
        member(
            None,
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "p", "namespace": "n"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}}}),
        ),
        member(
            None,
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration", "metadata": {"name": "wh"},
            "webhooks": [{"clientConfig": {"service": {"namespace": "n", "name": "web"}}, "rules": [{"apiGroups": ["x.io"]}]}]}),
        ),
        member(
            None,
            json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "things.x.io"},
            "spec": {"group": "x.io", "names": {"kind": "Thing"}}}),
        ),
        member(
            None,
            json!({"apiVersion": "x.io/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "n",
            "annotations": {DEPENDS_ON: "apps/namespaces/n/Deployment/web"}}}),
        ),
    ];
    let graph = build_all(&all, &[]).unwrap();
    let expected = [
        ("core/ConfigMap/n/cm", "core/Namespace//n", Until::Applied),
        ("apps/Deployment/n/web", "core/ConfigMap/n/cm", Until::Applied),
        ("apps/Deployment/n/web", "core/ServiceAccount/n/sa", Until::Applied),
        (
            "apps/Deployment/n/web",
            "core/PersistentVolumeClaim/n/pvc",
            Until::Applied,
        ),
        (
            "apps/Deployment/n/web",
            "rbac.authorization.k8s.io/RoleBinding/n/rb",
            Until::Applied,
        ),
        (
            "rbac.authorization.k8s.io/RoleBinding/n/rb",
            "rbac.authorization.k8s.io/Role/n/r",
            Until::Applied,
        ),
        (
            "rbac.authorization.k8s.io/RoleBinding/n/rb",
            "core/ServiceAccount/n/sa",
            Until::Applied,
        ),
        ("networking.k8s.io/Ingress/n/i", "core/Service/n/web", Until::Applied),
        (
            "autoscaling/HorizontalPodAutoscaler/n/h",
            "apps/Deployment/n/web",
            Until::Applied,
        ),
        (
            "policy/PodDisruptionBudget/n/p",
            "apps/Deployment/n/web",
            Until::Applied,
        ),
        (
            "admissionregistration.k8s.io/ValidatingWebhookConfiguration//wh",
            "core/Service/n/web",
            Until::Applied,
        ),
        (
            "admissionregistration.k8s.io/ValidatingWebhookConfiguration//wh",
            "apps/Deployment/n/web",
            Until::Ready,
        ),
        (
            "x.io/Thing/n/t",
            "apiextensions.k8s.io/CustomResourceDefinition//things.x.io",
            Until::Ready,
        ),
        (
            "x.io/Thing/n/t",
            "admissionregistration.k8s.io/ValidatingWebhookConfiguration//wh",
            Until::Applied,
        ),
        ("x.io/Thing/n/t", "apps/Deployment/n/web", Until::Ready),
    ];
    for (from, to, until) in expected {
        let need = graph.needs[&key(from)]
            .get(&key(to))
            .unwrap_or_else(|| panic!("{from} → {to} is missing"));
        assert_eq!(need.until, until, "{from} → {to}");
        assert!(
            graph.level[&key(from)] > graph.level[&key(to)],
            "{from} is not deeper than {to}"
        );
    }
}

fn config_map(component: Option<&'static str>, name: &str) -> (ObjectKey, Value, Option<&'static str>) {
    member(
        component,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "n"}}),
    )
}

#[test]
fn the_base_comes_before_components_except_what_waits_for_them() {
    let all = [
        config_map(None, "early"),
        member(
            Some("web"),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "n"}}),
        ),
        member(
            None,
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "late", "namespace": "n"},
            "spec": {"defaultBackend": {"service": {"name": "web"}}}}),
        ),
    ];
    let graph = build_all(&all, &[("web", &[])]).unwrap();
    assert_eq!(graph.members[BASE], [key("core/ConfigMap/n/early")].into());
    assert!(graph.after[&key("core/Service/n/web")].contains(BASE));
    let level = |k| graph.level[&key(k)];
    assert!(level("core/ConfigMap/n/early") < level("core/Service/n/web"));
    assert!(level("core/Service/n/web") < level("networking.k8s.io/Ingress/n/late"));
}

#[test]
fn a_cycle_is_named_by_its_path() {
    let reader = member(
        Some("a"),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
            "spec": {"volumes": [{"configMap": {"name": "cm"}}]}}),
    );
    let all = [reader, config_map(Some("b"), "cm")];
    let problems = build_all(&all, &[("a", &[]), ("b", &["a"])]).unwrap_err().to_string();
    assert!(problems.contains("Pod n/p reads ConfigMap n/cm"), "{problems}");
    assert!(problems.contains("ConfigMap n/cm waits for component a"), "{problems}");
    assert!(problems.contains("component a contains Pod n/p"), "{problems}");

    let plain = [config_map(Some("a"), "x"), config_map(Some("b"), "y")];
    let problems = build_all(&plain, &[("a", &["b"]), ("b", &["a"])])
        .unwrap_err()
        .to_string();
    assert!(
        problems.contains("component a") && problems.contains("component b"),
        "{problems}"
    );
}

#[test]
fn a_long_chain_needs_no_deep_stack() {
    let names: Vec<String> = (0..3000).map(|i| format!("c{i}")).collect();
    let values: Vec<(ObjectKey, Value)> = names
        .iter()
        .map(|n| {
            let v = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": n, "namespace": "n"}});
            (ObjectKey::of(&v), v)
        })
        .collect();
    let members: Vec<_> = values
        .iter()
        .zip(&names)
        .map(|((key, value), n)| Member {
            key,
            value,
            component: Some(n),
        })
        .collect();
    let after: BTreeMap<String, BTreeSet<String>> = (0..names.len())
        .map(|i| {
            (
                names[i].clone(),
                i.checked_sub(1).map(|p| names[p].clone()).into_iter().collect(),
            )
        })
        .collect();
    let graph = build(&members, &[], &after).unwrap();
    assert_eq!(
        graph.level[values[2999].0.to_string().parse::<ObjectKey>().as_ref().unwrap()],
        3000
    );
}
