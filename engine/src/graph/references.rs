//! What a manifest names: pod templates, and the configuration, accounts, claims and classes that they read.
//!
//! Only fields of built-in kinds are read; nothing is guessed from the field names of a custom resource.

use crate::object::ObjectKey;
use serde_json::Value;

/// A reference to an object of the core group or another, in a namespace.
pub(crate) type Reference = (&'static str, &'static str, String);

/// JSON pointer of the pod template (the object that has `metadata` and `spec`) of a built-in workload kind.
pub(crate) fn pod_template(group: &str, kind: &str) -> Option<&'static str> {
    match (group, kind) {
        ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
        | ("batch", "Job")
        | ("", "ReplicationController") => Some("/spec/template"),
        ("batch", "CronJob") => Some("/spec/jobTemplate/spec/template"),
        ("", "Pod") => Some(""),
        _ => None,
    }
}

/// The pod spec of a workload.
pub(crate) fn pod_spec<'a>(key: &ObjectKey, value: &'a Value) -> Option<&'a Value> {
    let pointer = pod_template(&key.group, &key.kind)?;
    value.pointer(pointer)?.get("spec")
}

/// The labels that a workload's pods carry.
pub(crate) fn pod_labels<'a>(key: &ObjectKey, value: &'a Value) -> Option<&'a Value> {
    let pointer = pod_template(&key.group, &key.kind)?;
    value.pointer(pointer)?.pointer("/metadata/labels")
}

pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).filter(|t| !t.is_empty())
}

pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// ConfigMaps and Secrets that a pod spec reads: environment, volumes, pull secrets.
pub(crate) fn config_of(spec: &Value) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut add = |kind: &'static str, name: Option<&str>| {
        if let Some(name) = name {
            found.push(("", kind, name.to_owned()));
        }
    };
    for list in ["/initContainers", "/containers", "/ephemeralContainers"] {
        for container in items(spec, list) {
            for env in items(container, "/env") {
                add("ConfigMap", text(env, "/valueFrom/configMapKeyRef/name"));
                add("Secret", text(env, "/valueFrom/secretKeyRef/name"));
            }
            for from in items(container, "/envFrom") {
                add("ConfigMap", text(from, "/configMapRef/name"));
                add("Secret", text(from, "/secretRef/name"));
            }
        }
    }
    for volume in items(spec, "/volumes") {
        add("ConfigMap", text(volume, "/configMap/name"));
        add("Secret", text(volume, "/secret/secretName"));
        for source in items(volume, "/projected/sources") {
            add("ConfigMap", text(source, "/configMap/name"));
            add("Secret", text(source, "/secret/name"));
        }
        for driver in [
            "/csi/nodePublishSecretRef/name",
            "/cephfs/secretRef/name",
            "/rbd/secretRef/name",
        ] {
            add("Secret", text(volume, driver));
        }
    }
    for pull in items(spec, "/imagePullSecrets") {
        add("Secret", text(pull, "/name"));
    }
    found
}

/// What else a pod needs before it can start: account, claims, classes.
pub(crate) fn others_of(spec: &Value) -> Vec<Reference> {
    let mut found = Vec::new();
    let account = text(spec, "/serviceAccountName").or_else(|| text(spec, "/serviceAccount"));
    found.extend(account.map(|n| ("", "ServiceAccount", n.to_owned())));
    for volume in items(spec, "/volumes") {
        found.extend(
            text(volume, "/persistentVolumeClaim/claimName").map(|n| ("", "PersistentVolumeClaim", n.to_owned())),
        );
        let class = text(volume, "/ephemeral/volumeClaimTemplate/spec/storageClassName");
        found.extend(class.map(|n| ("storage.k8s.io", "StorageClass", n.to_owned())));
    }
    let class = text(spec, "/priorityClassName");
    found.extend(class.map(|n| ("scheduling.k8s.io", "PriorityClass", n.to_owned())));
    let class = text(spec, "/runtimeClassName");
    found.extend(class.map(|n| ("node.k8s.io", "RuntimeClass", n.to_owned())));
    found
}

/// Whether an equality selector (a map of labels) matches these labels. An empty selector matches nothing: it is that
/// of a Service whose endpoints others write.
pub(crate) fn selects(selector: Option<&Value>, labels: Option<&Value>) -> bool {
    let Some(selector) = selector.and_then(Value::as_object).filter(|s| !s.is_empty()) else {
        return false;
    };
    let Some(labels) = labels.and_then(Value::as_object) else {
        return false;
    };
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}
