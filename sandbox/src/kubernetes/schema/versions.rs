//! Conversions between the versions of a resource.
//!
//! Built-in: HorizontalPodAutoscaler v1 and v2, and Events of the two groups. Custom resources change nothing but the
//! `apiVersion` (conversion strategy `None`; webhooks are refused).

use std::borrow::Cow;

use serde_json::{Value, json};

use super::resources::Resource;

/// Whether a resource speaks the form in which its objects are stored, up to `apiVersion`.
pub(crate) fn is_stored_form(resource: &Resource) -> bool {
    resource.is_custom() || (resource.gvr.version == resource.storage_version && resource.gvr.group != "events.k8s.io")
}

/// A stored object in the version that a resource speaks.
pub(crate) fn from_storage<'a>(resource: &Resource, stored: &'a Value) -> Cow<'a, Value> {
    let mut out = match (&*resource.gvr.group, &*resource.gvr.plural) {
        ("events.k8s.io", "events") => event_to_new(stored),
        ("autoscaling", "horizontalpodautoscalers") if resource.gvr.version == "v1" => hpa_to_v1(stored),
        _ if stored["apiVersion"] == resource.api_version().as_str() => return Cow::Borrowed(stored),
        _ => stored.clone(),
    };
    out["apiVersion"] = resource.api_version().into();
    Cow::Owned(out)
}

/// An object in the version that a resource speaks, as it is stored.
pub(crate) fn to_storage(resource: &Resource, sent: Value) -> Value {
    let mut out = match (&*resource.gvr.group, &*resource.gvr.plural) {
        ("events.k8s.io", "events") => event_to_core(sent),
        ("autoscaling", "horizontalpodautoscalers") if resource.gvr.version == "v1" => hpa_to_v2(sent),
        _ => sent,
    };
    if out.is_object() {
        out["apiVersion"] = resource.storage_api_version().into();
    }
    out
}

const EVENT_FIELDS: [(&str, &str); 6] = [
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
];

fn renamed(mut value: Value, pairs: impl Iterator<Item = (&'static str, &'static str)>) -> Value {
    if let Some(map) = value.as_object_mut() {
        for (from, to) in pairs {
            if let Some(found) = map.remove(from) {
                map.insert(to.to_owned(), found);
            }
        }
    }
    value
}

fn event_to_new(stored: &Value) -> Value {
    let back = EVENT_FIELDS.iter().map(|(new, core)| (*core, *new));
    let mut out = renamed(stored.clone(), back.chain([("count", "deprecatedCount")]));
    if let Some(map) = out.as_object_mut() {
        // This group leaves out what the core group writes even if it is empty.
        map.retain(|key, value| !(key.starts_with("reporting") && value == ""));
    }
    out
}

fn event_to_core(sent: Value) -> Value {
    renamed(sent, EVENT_FIELDS.iter().copied().chain([("deprecatedCount", "count")]))
}

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";

fn hpa_to_v1(stored: &Value) -> Value {
    let mut out = stored.clone();
    let metrics = out["spec"]["metrics"].as_array().cloned().unwrap_or_default();
    let is_cpu = |m: &Value| {
        m["type"] == "Resource"
            && m["resource"]["name"] == "cpu"
            && m["resource"]["target"]["averageUtilization"].is_number()
    };
    let cpu = metrics.iter().find(|m| is_cpu(m));
    let percentage = cpu.map(|m| m["resource"]["target"]["averageUtilization"].clone());
    let rest: Vec<&Value> = metrics.iter().filter(|m| !is_cpu(m)).collect();
    let mut annotate = |name: &str, value: Value| {
        if !out["metadata"]["annotations"].is_object() {
            out["metadata"]["annotations"] = json!({});
        }
        out["metadata"]["annotations"][name] = value.to_string().into();
    };
    if !rest.is_empty() {
        annotate(METRICS, json!(rest));
    }
    let behavior = stored["spec"]["behavior"].clone();
    if behavior.is_object() {
        annotate(BEHAVIOR, behavior);
    }
    let conditions = stored["status"]["conditions"].clone();
    if conditions.is_array() {
        annotate(CONDITIONS, conditions);
    }
    if let Some(spec) = out.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("metrics");
        spec.remove("behavior");
        if let Some(percentage) = percentage {
            spec.insert("targetCPUUtilizationPercentage".to_owned(), percentage);
        }
    }
    if let Some(status) = out.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("conditions");
        status.remove("currentMetrics");
        status.entry("currentReplicas").or_insert(0.into());
        status.entry("desiredReplicas").or_insert(0.into());
    }
    out
}

fn hpa_to_v2(sent: Value) -> Value {
    let mut out = sent;
    let mut metrics: Vec<Value> = Vec::new();
    if let Some(percentage) = out
        .get_mut("spec")
        .and_then(Value::as_object_mut)
        .and_then(|spec| spec.remove("targetCPUUtilizationPercentage"))
    {
        metrics.push(json!({
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percentage}},
        }));
    }
    let mut take = |name: &str| -> Option<Value> {
        let text = out
            .pointer_mut("/metadata/annotations")?
            .as_object_mut()?
            .remove(name)?;
        serde_json::from_str(text.as_str()?).ok()
    };
    let more = take(METRICS);
    let behavior = take(BEHAVIOR);
    take(CONDITIONS);
    if let Some(Value::Array(more)) = more {
        metrics.extend(more);
    }
    if let Some(behavior) = behavior {
        out["spec"]["behavior"] = behavior;
    }
    if !metrics.is_empty() {
        out["spec"]["metrics"] = metrics.into();
    }
    if out["metadata"]["annotations"] == json!({})
        && let Some(metadata) = out.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.remove("annotations");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::schema::resources::Catalog;

    #[test]
    fn an_autoscaler_goes_through_both_versions_unchanged() {
        let resource = Catalog::new()
            .served()
            .get("autoscaling", "v1", "horizontalpodautoscalers")
            .unwrap();
        let v1 = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}});
        let stored = to_storage(&resource, v1.clone());
        assert_eq!(
            stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"],
            50
        );
        assert_eq!(*from_storage(&resource, &stored), v1);
    }
}
