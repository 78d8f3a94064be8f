//! Takes an object over from `kubectl apply`: the fields of its managers become ours, so that what the manifest no
//! longer contains is removed instead of staying co-owned forever.
//!
//! One JSON patch with the version as precondition, like `kubectl`'s own migration to server-side apply.

use crate::cluster::FIELD_MANAGER;
use crate::observe::{REPLACED_MANAGERS, entries};
use serde_json::{Map, Value, json};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The patch; None if the object has no such manager.
pub(super) fn patch(live: &Value) -> Option<Value> {
    let text = |e: &Value, name: &str| e.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let replaced =
        |e: &Value| REPLACED_MANAGERS.contains(&text(e, "manager").as_str()) && text(e, "subresource").is_empty();
    let ours = |e: &Value| text(e, "manager") == FIELD_MANAGER && text(e, "operation") == "Apply";
    if !entries(live).any(replaced) {
        return None;
    }
    let mut union = Value::Object(Map::new());
    let mut version = String::new();
    for entry in entries(live).filter(|e| replaced(e) || ours(e)) {
        version = text(entry, "apiVersion");
        merge(&mut union, entry.get("fieldsV1").unwrap_or(&Value::Null));
    }
    if let Some(annotations) = union
        .pointer_mut("/f:metadata/f:annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(&format!("f:{LAST_APPLIED}"));
    }
    let mut managed: Vec<Value> = entries(live).filter(|e| !replaced(e) && !ours(e)).cloned().collect();
    managed.push(json!({
        "manager": FIELD_MANAGER, "operation": "Apply", "apiVersion": version,
        "fieldsType": "FieldsV1", "fieldsV1": union,
    }));
    let mut patch = vec![
        json!({"op": "test", "path": "/metadata/resourceVersion", "value": live.pointer("/metadata/resourceVersion")}),
        json!({"op": "replace", "path": "/metadata/managedFields", "value": managed}),
    ];
    if live
        .pointer("/metadata/annotations")
        .is_some_and(|a| a.get(LAST_APPLIED).is_some())
    {
        let path = format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1"));
        patch.push(json!({"op": "remove", "path": path}));
    }
    Some(Value::Array(patch))
}

fn merge(into: &mut Value, from: &Value) {
    let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) else {
        return;
    };
    for (name, value) in from {
        merge(into.entry(name.clone()).or_insert_with(|| json!({})), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_kubectl_become_ours_and_its_annotation_goes() {
        let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
        let live = json!({"metadata": {"resourceVersion": "9", "annotations": {LAST_APPLIED: "{}"}, "managedFields": [
            entry("kubectl-client-side-apply", "Update", json!({"f:data": {"f:a": {}}, "f:metadata": {"f:annotations": {
                ".": {}, format!("f:{LAST_APPLIED}"): {}}}})),
            entry("other", "Update", json!({"f:data": {"f:b": {}}})),
        ]}});
        let patch = patch(&live).unwrap();
        assert_eq!(patch[0]["op"], "test");
        let managed = patch[1]["value"].as_array().unwrap();
        assert_eq!(managed.len(), 2);
        assert_eq!(managed[0]["manager"], "other");
        assert_eq!(managed[1]["manager"], "myelin");
        assert_eq!(
            managed[1]["fieldsV1"],
            json!({"f:data": {"f:a": {}}, "f:metadata": {"f:annotations": {".": {}}}})
        );
        assert_eq!(
            patch[2]["path"],
            "/metadata/annotations/kubectl.kubernetes.io~1last-applied-configuration"
        );
        assert_eq!(super::patch(&json!({"metadata": {"managedFields": []}})), None);
    }
}
