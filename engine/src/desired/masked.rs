//! A manifest as it may be shown: data of Secrets and write-only values as marks.

use crate::graph::references::pod_template;
use crate::mask::{MaskKey, WRITE_ONLY};
use crate::object::ObjectKey;
use serde_json::Value;
use std::collections::BTreeSet;

/// A manifest with the data of Secrets and the values at `write_only` (JSON pointers) masked.
///
/// Of a Secret everything under `data` and `stringData` is masked, and the annotation in which `kubectl apply` repeats it. The
/// names of the keys stay.
#[must_use]
pub fn masked(value: &Value, write_only: &BTreeSet<String>, key: &MaskKey) -> Value {
    let mut value = value.clone();
    for pointer in write_only {
        if let Some(v) = value.pointer_mut(pointer) {
            *v = WRITE_ONLY.into();
        }
    }
    let object = ObjectKey::of(&value);
    if object.group.is_empty() && object.kind == "Secret" {
        for field in ["data", "stringData"] {
            let Some(data) = value.get_mut(field) else { continue };
            let Some(map) = data.as_object_mut() else {
                *data = WRITE_ONLY.into();
                continue;
            };
            for (name, v) in map.iter_mut().filter(|(_, v)| *v != WRITE_ONLY) {
                let bytes = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
                *v = key.mark(&format!("/{field}/{name}"), bytes.as_bytes()).into();
            }
        }
        let last_applied = "kubectl.kubernetes.io/last-applied-configuration";
        if let Some(v) = value
            .pointer_mut("/metadata/annotations")
            .and_then(|a| a.get_mut(last_applied))
        {
            *v = WRITE_ONLY.into();
        }
    }
    value
}

/// JSON pointer of the annotations of a workload's pod template.
pub(super) fn template_annotations(key: &ObjectKey) -> Option<String> {
    // Only templates whose change rolls pods: a Job's is immutable, a bare Pod restarts nothing.
    let rolls = matches!(&*key.kind, "Deployment" | "StatefulSet" | "DaemonSet") && key.group == "apps";
    rolls
        .then(|| pod_template(&key.group, &key.kind).map(|p| format!("{p}/metadata/annotations")))
        .flatten()
}
