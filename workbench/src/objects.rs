//! The bench's objects: a mix of kinds as in a real stack, generated from their number alone, so that every client
//! sends the same.
//!
//! Deployments have no replicas: applying is measured, not pods.

use crate::Options;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

/// One object and where the API serves it.
pub(crate) struct Target {
    /// Path of the collection, such as `/api/v1/namespaces/bench/configmaps`.
    pub(crate) collection: String,
    /// Name in the collection.
    pub(crate) name: String,
    /// The manifest.
    pub(crate) manifest: Value,
}

/// `count` objects of a namespace: of every 20, eight ConfigMaps, three Secrets, two each of ServiceAccounts, Roles, Services
/// and Deployments, one RoleBinding.
pub(crate) fn mixed(count: usize, namespace: &str) -> Vec<Target> {
    (0..count).map(|number| one(number, namespace)).collect()
}

fn one(number: usize, namespace: &str) -> Target {
    let core = format!("/api/v1/namespaces/{namespace}");
    let rbac = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}");
    let apps = format!("/apis/apps/v1/namespaces/{namespace}");
    let name = format!("bench-{number:05}");
    let labels = json!({"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "bench"});
    let metadata = json!({"name": name, "namespace": namespace, "labels": labels});
    let (collection, manifest) = match number % 20 {
        0..=7 => (
            format!("{core}/configmaps"),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {
                "number": number.to_string(),
                "settings.yaml": format!("log:\n  level: info\nlisten: 0.0.0.0:8080\nshard: {number}\n"),
            }}),
        ),
        8..=10 => (
            format!("{core}/secrets"),
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque",
                "data": {"token": "bm90IGEgc2VjcmV0LCBhIGJlbmNobWFyaw=="}}),
        ),
        11 | 12 => (
            format!("{core}/serviceaccounts"),
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata,
                "automountServiceAccountToken": false}),
        ),
        13 | 14 => (
            format!("{rbac}/roles"),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": [
                {"apiGroups": [""], "resources": ["configmaps", "secrets"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "patch"]}]}),
        ),
        15 => (
            format!("{rbac}/rolebindings"),
            json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
                    "name": format!("bench-{:05}", number - 1)},
                "subjects": [{"kind": "ServiceAccount", "name": format!("bench-{:05}", number - 3), "namespace": namespace}]}),
        ),
        16 | 17 => (
            format!("{core}/services"),
            json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {
                "selector": {"app.kubernetes.io/name": name},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]}}),
        ),
        _ => (
            format!("{apps}/deployments"),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app.kubernetes.io/name": name}},
                "template": {
                    "metadata": {"labels": {"app.kubernetes.io/name": name}},
                    "spec": {"containers": [{
                        "name": "web", "image": "registry.example/web:1.0",
                        "ports": [{"containerPort": 8080, "name": "http", "protocol": "TCP"}],
                        "env": [{"name": "LOG_LEVEL", "value": "info"}],
                        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}}]}}}}),
        ),
    };
    Target {
        collection,
        name,
        manifest,
    }
}

/// Writes the manifests to one multi-document file of JSON, which is YAML, as every client reads it.
pub(crate) fn write(options: &Options) -> Result<()> {
    let folder = Path::new(options.text("to")?);
    let namespace = options.text("namespace")?;
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let mut text = String::new();
    for target in mixed(options.number("count")?, namespace) {
        text.push_str("---\n");
        text.push_str(&target.manifest.to_string());
        text.push('\n');
    }
    let file = folder.join("objects.yaml");
    std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn objects_are_distinct_and_of_seven_kinds() {
        let objects = mixed(1000, "bench");
        let keys: BTreeSet<_> = objects.iter().map(|o| (o.collection.clone(), o.name.clone())).collect();
        let kinds: BTreeSet<_> = objects.iter().map(|o| o.manifest["kind"].to_string()).collect();
        assert_eq!((keys.len(), kinds.len()), (1000, 7));
    }
}
