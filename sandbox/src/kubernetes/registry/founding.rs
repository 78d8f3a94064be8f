//! Initial objects: the namespaces of a new cluster and its own service.

use serde_json::{Value, json};

use super::{Actor, Registry};

/// Objects of a new cluster: resource, namespace, object.
fn first_objects() -> Vec<(&'static str, &'static str, Value)> {
    let mut out = Vec::new();
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        out.push(("namespaces", "", json!({"metadata": {"name": name}})));
    }
    for (name, value, description) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their node.",
        ),
    ] {
        out.push((
            "priorityclasses.scheduling.k8s.io",
            "",
            json!({"metadata": {"name": name}, "value": value, "description": description}),
        ));
    }
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": "10.0.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]},
    });
    out.push(("services", "default", service));
    let rule =
        json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]);
    let roles = "clusterroles.rbac.authorization.k8s.io";
    out.push((roles, "", json!({"metadata": {"name": "cluster-admin"}, "rules": rule})));
    let reads = |verbs: Value| json!([{"apiGroups": ["", "apps", "batch", "autoscaling", "policy", "networking.k8s.io"], "resources": ["*"], "verbs": verbs}]);
    out.push((
        roles,
        "",
        json!({"metadata": {"name": "view"}, "rules": reads(json!(["get", "list", "watch"]))}),
    ));
    for name in ["edit", "admin"] {
        let verbs = json!([
            "get",
            "list",
            "watch",
            "create",
            "update",
            "patch",
            "delete",
            "deletecollection"
        ]);
        out.push((roles, "", json!({"metadata": {"name": name}, "rules": reads(verbs)})));
    }
    let binding = json!({
        "metadata": {"name": "cluster-admin"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:masters"}],
    });
    out.push(("clusterrolebindings.rbac.authorization.k8s.io", "", binding));
    out
}

impl Registry {
    /// Creates the initial objects of every cluster. Existing ones stay as they are.
    pub fn found(&self) {
        let actor = Actor::server();
        for (resource, namespace, object) in first_objects() {
            if let Err(failure) = self.create(&actor, resource, namespace, object)
                && !failure.is_already_exists()
            {
                tracing::error!(%failure, resource, "cannot make a founding object");
            }
        }
    }
}
