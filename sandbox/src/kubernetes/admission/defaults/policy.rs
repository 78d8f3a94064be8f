//! Defaults of autoscalers, limits and role bindings.

use serde_json::{Value, json};

use super::super::access::{Fields, default, default_text, object_mut, set, struct_mut};
use super::for_each;

pub(super) fn autoscaler(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    default(spec, "minReplicas", 1);
    if spec.items("metrics").is_empty() {
        set(
            spec,
            "metrics",
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]),
        );
    }
    if let Some(behavior) = spec.get_mut("behavior").filter(|behavior| behavior.is_object()) {
        let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
        let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
        if let Some(rules) = struct_mut(behavior, "scaleUp") {
            default(rules, "stabilizationWindowSeconds", 0);
            default(rules, "selectPolicy", "Max");
            if rules.items("policies").is_empty() {
                set(rules, "policies", up);
            }
        }
        if let Some(rules) = struct_mut(behavior, "scaleDown") {
            default(rules, "selectPolicy", "Max");
            if rules.items("policies").is_empty() {
                set(rules, "policies", down);
            }
        }
    }
}

/// For containers the default is the maximum, and the default request is the default, or the minimum.
pub(super) fn limit_range(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    for_each(spec, "limits", |item| {
        if item.text("type") != "Container" {
            return;
        }
        for (to, from) in [
            ("default", "max"),
            ("defaultRequest", "default"),
            ("defaultRequest", "min"),
        ] {
            let Some(source) = item.map(from).cloned() else {
                continue;
            };
            if let Some(target) = object_mut(item, to) {
                for (name, amount) in source {
                    target.entry(name).or_insert(amount);
                }
            }
        }
    });
}

pub(super) fn role_binding(object: &mut Value) {
    const GROUP: &str = "rbac.authorization.k8s.io";
    if let Some(reference) = struct_mut(object, "roleRef") {
        default_text(reference, "apiGroup", GROUP);
    }
    for_each(object, "subjects", |subject| {
        if matches!(subject.text("kind"), "User" | "Group") {
            default_text(subject, "apiGroup", GROUP);
        }
    });
}
