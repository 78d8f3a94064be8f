//! The part of a watched object that is kept: what rules read, and no more.
//!
//! An apply of thousands of objects keeps them all until its gates open, so fields that no rule reads would waste
//! memory; and values of Secrets must not be kept at all.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Fields of `metadata` that rules read. Labels and annotations are handled below.
const METADATA: [&str; 7] = [
    "name",
    "namespace",
    "uid",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "finalizers",
];

const LABELS: [&str; 1] = ["kubernetes.io/service-name"];

const ANNOTATIONS: [&str; 3] = [
    "deployment.kubernetes.io/revision",
    "deprecated.daemonset.template.generation",
    "volume.kubernetes.io/selected-node",
];

/// Fields of `spec` that rules read, of any kind.
const SPEC: [&str; 15] = [
    "backoffLimit",
    "backoffLimitPerIndex",
    "group",
    "names",
    "paused",
    "podFailurePolicy",
    "progressDeadlineSeconds",
    "replicas",
    "selector",
    "storageClassName",
    "suspend",
    "type",
    "updateStrategy",
    "versions",
    "volumeName",
];

/// Other fields that can be large and that no rule reads.
const UNREAD: [&str; 6] = ["data", "stringData", "binaryData", "rules", "webhooks", "apiVersion"];

/// The part of an object that rules read. A pod template is reduced to its digest ([`same_template`]) and its restart
/// policy.
pub(super) fn essence(value: &Value) -> Value {
    let Some(object) = value.as_object() else {
        return Value::Null;
    };
    let mut kept = Map::new();
    for (name, field) in object {
        let field = match name.as_str() {
            "metadata" => metadata(field),
            "spec" => spec(field),
            unread if UNREAD.contains(&unread) => continue,
            _ => field.clone(),
        };
        kept.insert(name.clone(), field);
    }
    Value::Object(kept)
}

fn only(value: &Value, names: &[&str]) -> Map<String, Value> {
    let fields = value.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| names.contains(&name.as_str()))
        .map(|(name, field)| (name.clone(), field.clone()))
        .collect()
}

fn metadata(value: &Value) -> Value {
    let mut kept = only(value, &METADATA);
    for (name, of_interest) in [("labels", &LABELS[..]), ("annotations", &ANNOTATIONS[..])] {
        let some = value.get(name).map(|all| only(all, of_interest)).unwrap_or_default();
        if !some.is_empty() {
            kept.insert(name.to_owned(), some.into());
        }
    }
    Value::Object(kept)
}

fn spec(value: &Value) -> Value {
    let mut kept = only(value, &SPEC);
    if let Some(versions) = kept.get_mut("versions").and_then(Value::as_array_mut) {
        // The schemas of a CRD are larger than everything else together.
        for version in versions.iter_mut().filter_map(Value::as_object_mut) {
            version.remove("schema");
        }
    }
    if let Some(template) = value.get("template") {
        let policy = template.pointer("/spec/restartPolicy").cloned().unwrap_or_default();
        kept.insert(
            "template".to_owned(),
            serde_json::json!({"digest": digest(template), "spec": {"restartPolicy": policy}}),
        );
    }
    Value::Object(kept)
}

/// Digest of a pod template, the same for a workload and for the ReplicaSet that was made from it.
fn digest(template: &Value) -> String {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    // Some servers write it as null, others omit it.
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
    }
    crate::mask::hex(&Sha256::digest(template.to_string())[..16])
}

/// Whether two workloads have the same pod template, as [`essence`] keeps it.
pub(super) fn same_template(one: &Value, other: &Value) -> bool {
    one.pointer("/spec/template/digest") == other.pointer("/spec/template/digest")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_of_secrets_schemas_and_templates_are_not_kept() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "managedFields": [1],
            "labels": {"a": "b"}, "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}},
            "data": {"k": "hunter2"}, "stringData": {"k": "hunter2"}, "type": "Opaque"});
        assert_eq!(
            essence(&secret),
            json!({"kind": "Secret", "metadata": {"name": "s"}, "type": "Opaque"})
        );
        let definition = json!({"kind": "CustomResourceDefinition", "spec": {"versions": [{"name": "v1", "schema": {"x": 1}, "subresources": {"status": {}}}]}});
        assert_eq!(
            essence(&definition)["spec"],
            json!({"versions": [{"name": "v1", "subresources": {"status": {}}}]})
        );
        assert_eq!(essence(&json!([1])), Value::Null);
    }

    #[test]
    fn a_template_is_the_same_whatever_its_hash_label_and_times_are() {
        let with = |image: &str, labels: Value, time: Option<()>| {
            let mut template = json!({"metadata": {"labels": labels}, "spec": {"restartPolicy": "Never", "containers": [{"image": image}]}});
            if time.is_some() {
                template["metadata"]["creationTimestamp"] = Value::Null;
            }
            essence(&json!({"kind": "ReplicaSet", "spec": {"replicas": 1, "template": template}}))
        };
        let one = with("a:1", json!({"app": "x"}), None);
        assert!(same_template(
            &one,
            &with("a:1", json!({"app": "x", "pod-template-hash": "5c"}), Some(()))
        ));
        assert!(!same_template(&one, &with("a:2", json!({"app": "x"}), None)));
        assert_eq!(one["spec"]["template"]["spec"]["restartPolicy"], "Never");
        assert_eq!(one["spec"]["replicas"], 1);
    }
}
