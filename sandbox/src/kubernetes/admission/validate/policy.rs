//! Disruption budgets, autoscalers, leases, priority classes.

use serde_json::Value;

use super::super::access::{Fields, same, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::{names, selectors};
use super::number::{self, one_of};

const SPEC: Path<'static> = Path::root("spec");

pub(super) fn budget(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    if spec.has("minAvailable") && spec.has("maxUnavailable") {
        errors.invalid(
            &SPEC,
            Shown::from(spec),
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
    for field in ["minAvailable", "maxUnavailable"] {
        let value = spec.at(field);
        number::count_or_percent(value, &SPEC.child(field), errors);
        number::at_most_all(value, &SPEC.child(field), errors);
    }
    selectors::validate(spec.at("selector"), &SPEC.child("selector"), errors);
    one_of(
        spec,
        "unhealthyPodEvictionPolicy",
        &["AlwaysAllow", "IfHealthyBudget"],
        false,
        &SPEC,
        errors,
    );
}

pub(super) fn lease(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    if let Some(seconds) = spec.int("leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        errors.invalid(&SPEC.child("leaseDurationSeconds"), seconds, number::POSITIVE);
    }
    if let Some(transitions) = spec.int("leaseTransitions").filter(|transitions| *transitions < 0) {
        errors.invalid(&SPEC.child("leaseTransitions"), transitions, number::NOT_NEGATIVE);
    }
    if let Some(holder) = spec.at("holderIdentity").and_then(Value::as_str)
        && holder.is_empty()
        && spec.has("strategy")
    {
        errors.invalid(&SPEC.child("holderIdentity"), holder, "must not be empty");
    }
}

pub(super) fn priority_class(object: &Value, errors: &mut Errors) {
    let value = object.int("value").unwrap_or_default();
    let name = sub(object, "metadata").text("name");
    let system = matches!(name, "system-node-critical" | "system-cluster-critical");
    if name.starts_with("system-") && !system {
        errors.forbidden(
            &Path::root("metadata").child("name"),
            "priority class names with 'system-' prefix are reserved for system use only. error: priority class is not a system priority class",
        );
    } else if value > 1_000_000_000 && !system {
        errors.forbidden(
            &Path::root("value"),
            "maximum allowed value of a user defined priority is 1000000000",
        );
    }
    one_of(
        object,
        "preemptionPolicy",
        &["Never", "PreemptLowerPriority"],
        false,
        &Path::root(""),
        errors,
    );
}

pub(super) fn priority_class_change(old: &Value, new: &Value, errors: &mut Errors) {
    if old.int("value").unwrap_or_default() != new.int("value").unwrap_or_default() {
        errors.forbidden(&Path::root("value"), "may not be changed in an update.");
    }
    if !same(old.at("preemptionPolicy"), new.at("preemptionPolicy")) {
        errors.invalid(
            &Path::root("preemptionPolicy"),
            new.at("preemptionPolicy"),
            "field is immutable",
        );
    }
}

pub(super) fn autoscaler(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let low = spec.int("minReplicas").unwrap_or(1);
    let high = spec.int("maxReplicas").unwrap_or_default();
    if low < 1 {
        errors.invalid(&SPEC.child("minReplicas"), low, "must be greater than or equal to 1");
    }
    if high < 1 {
        errors.invalid(&SPEC.child("maxReplicas"), high, number::POSITIVE);
    }
    if high < low {
        errors.invalid(
            &SPEC.child("maxReplicas"),
            high,
            "must be greater than or equal to `minReplicas`",
        );
    }
    let target = sub(spec, "scaleTargetRef");
    let at = SPEC.child("scaleTargetRef");
    for field in ["kind", "name"] {
        let value = target.text(field);
        if value.is_empty() {
            errors.required(&at.child(field), "");
        } else {
            errors.invalid_each(&at.child(field), value, names::path_segment(value));
        }
    }
    let list = SPEC.child("metrics");
    for (index, metric) in spec.items("metrics").iter().enumerate() {
        metric_spec(metric, &list.index(index), errors);
    }
    behavior(sub(spec, "behavior"), errors);
}

fn metric_spec(metric: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kinds = [
        ("ContainerResource", "containerResource"),
        ("External", "external"),
        ("Object", "object"),
        ("Pods", "pods"),
        ("Resource", "resource"),
    ];
    let kind = metric.text("type");
    if kind.is_empty() {
        errors.required(&path.child("type"), "must specify a metric source type");
    } else if !kinds.iter().any(|(name, _)| *name == kind) {
        errors.unsupported(&path.child("type"), kind, &kinds.map(|(name, _)| name));
    }
    for (name, field) in kinds {
        if name == kind && !metric.has(field) {
            errors.required(
                &path.child(field),
                "must populate information for the given metric source",
            );
        } else if name != kind && metric.has(field) {
            errors.forbidden(&path.child(field), "must populate the given metric source only");
        }
        let Some(source) = metric.at(field) else { continue };
        let at = path.child(field);
        if matches!(field, "resource" | "containerResource") {
            if source.text("name").is_empty() {
                errors.required(&at.child("name"), "must specify a resource name");
            }
            if field == "containerResource" && source.text("container").is_empty() {
                errors.required(&at.child("container"), "must specify a container name");
            }
        } else if sub(source, "metric").text("name").is_empty() {
            let metric = at.child("metric");
            errors.required(&metric.child("name"), "must specify a metric name");
        }
        let target = sub(source, "target");
        let at = at.child("target");
        one_of(
            target,
            "type",
            &["AverageValue", "Utilization", "Value"],
            true,
            &at,
            errors,
        );
        if let Some(utilization) = target.int("averageUtilization").filter(|utilization| *utilization < 1) {
            errors.invalid(&at.child("averageUtilization"), utilization, number::POSITIVE);
        }
        for amount in ["value", "averageValue"] {
            if let Some(value) = number::amount(target, amount).filter(|value| value.nano() <= 0) {
                errors.invalid(&at.child(amount), value.canonical(), "must be positive");
            }
        }
        if matches!(field, "resource" | "containerResource")
            && !target.has("averageUtilization")
            && !target.has("averageValue")
        {
            errors.required(
                &at.child("averageUtilization"),
                "must set either a target raw value or a target utilization",
            );
        }
    }
}

fn behavior(behavior: &Value, errors: &mut Errors) {
    let path = SPEC.child("behavior");
    for direction in ["scaleUp", "scaleDown"] {
        let Some(rules) = behavior.at(direction) else { continue };
        let at = path.child(direction);
        if let Some(window) = rules.int("stabilizationWindowSeconds") {
            if window < 0 {
                errors.invalid(
                    &at.child("stabilizationWindowSeconds"),
                    window,
                    "must be greater than or equal to zero",
                );
            } else if window > 3600 {
                errors.invalid(
                    &at.child("stabilizationWindowSeconds"),
                    window,
                    "must be less than or equal to 3600",
                );
            }
        }
        one_of(rules, "selectPolicy", &["Disabled", "Max", "Min"], false, &at, errors);
        let list = at.child("policies");
        if rules.items("policies").is_empty() {
            errors.required(&list, "must specify at least one Policy");
        }
        for (index, policy) in rules.items("policies").iter().enumerate() {
            let at = list.index(index);
            one_of(policy, "type", &["Percent", "Pods"], true, &at, errors);
            for (field, bound) in [("value", i64::MAX), ("periodSeconds", 1800)] {
                let value = policy.int(field).unwrap_or_default();
                if value <= 0 {
                    errors.invalid(&at.child(field), value, "must be greater than zero");
                } else if value > bound {
                    errors.invalid(&at.child(field), value, "must be less than or equal to 1800");
                }
            }
        }
    }
}
