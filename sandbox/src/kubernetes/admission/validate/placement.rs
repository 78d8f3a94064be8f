//! Where a pod may run: node selectors, affinity, tolerations, spreading.

use serde_json::Value;

use super::super::access::{Fields, sub};
use super::super::errors::{Errors, Path};
use super::super::{names, selectors};
use super::number::one_of;

pub(super) fn all(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    affinity(sub(spec, "affinity"), &path.child("affinity"), errors);
    let list = path.child("topologySpreadConstraints");
    for (index, constraint) in spec.items("topologySpreadConstraints").iter().enumerate() {
        spread(constraint, &list.index(index), errors);
    }
    for (index, constraint) in spec.items("topologySpreadConstraints").iter().enumerate() {
        let twin = |other: &Value| {
            other.text("topologyKey") == constraint.text("topologyKey")
                && other.text("whenUnsatisfiable") == constraint.text("whenUnsatisfiable")
        };
        if spec.items("topologySpreadConstraints")[..index].iter().any(twin) {
            let text = format!(
                "{{{}, {}}}",
                constraint.text("topologyKey"),
                constraint.text("whenUnsatisfiable")
            );
            errors.duplicate(&list.index(index).child("{topologyKey, whenUnsatisfiable}"), text);
        }
    }
    tolerations(spec, &path.child("tolerations"), errors);
}

fn spread(constraint: &Value, path: &Path<'_>, errors: &mut Errors) {
    let skew = constraint.int("maxSkew").unwrap_or_default();
    if skew <= 0 {
        errors.invalid(&path.child("maxSkew"), skew, "must be greater than zero");
    }
    let key = constraint.text("topologyKey");
    if key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    } else {
        errors.invalid_each(&path.child("topologyKey"), key, names::qualified_name(key));
    }
    let when = constraint.text("whenUnsatisfiable");
    if !matches!(when, "DoNotSchedule" | "ScheduleAnyway") {
        errors.unsupported(
            &path.child("whenUnsatisfiable"),
            when,
            &["DoNotSchedule", "ScheduleAnyway"],
        );
    }
    if let Some(domains) = constraint.int("minDomains") {
        if domains <= 0 {
            errors.invalid(&path.child("minDomains"), domains, "must be greater than zero");
        }
        if when != "DoNotSchedule" {
            let detail = "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway";
            errors.invalid(&path.child("minDomains"), domains, detail);
        }
    }
    one_of(
        constraint,
        "nodeAffinityPolicy",
        &["Honor", "Ignore"],
        false,
        path,
        errors,
    );
    one_of(
        constraint,
        "nodeTaintsPolicy",
        &["Honor", "Ignore"],
        false,
        path,
        errors,
    );
    selectors::validate(constraint.at("labelSelector"), &path.child("labelSelector"), errors);
}

fn affinity(affinity: &Value, path: &Path<'_>, errors: &mut Errors) {
    if let Some(node) = affinity.at("nodeAffinity") {
        let path = path.child("nodeAffinity");
        if let Some(required) = node.at("requiredDuringSchedulingIgnoredDuringExecution") {
            node_selector(
                required,
                &path.child("requiredDuringSchedulingIgnoredDuringExecution"),
                errors,
            );
        }
        let list = path.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in node
            .items("preferredDuringSchedulingIgnoredDuringExecution")
            .iter()
            .enumerate()
        {
            let path = list.index(index);
            weight(term, &path, errors);
            node_term(sub(term, "preference"), &path.child("preference"), errors);
        }
    }
    for side in ["podAffinity", "podAntiAffinity"] {
        let Some(pods) = affinity.at(side) else { continue };
        let path = path.child(side);
        let list = path.child("requiredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in pods
            .items("requiredDuringSchedulingIgnoredDuringExecution")
            .iter()
            .enumerate()
        {
            pod_term(term, &list.index(index), errors);
        }
        let list = path.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in pods
            .items("preferredDuringSchedulingIgnoredDuringExecution")
            .iter()
            .enumerate()
        {
            let path = list.index(index);
            weight(term, &path, errors);
            pod_term(sub(term, "podAffinityTerm"), &path.child("podAffinityTerm"), errors);
        }
    }
}

fn weight(term: &Value, path: &Path<'_>, errors: &mut Errors) {
    let weight = term.int("weight").unwrap_or_default();
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

/// A selector of nodes: at least one term.
pub(super) fn node_selector(selector: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("nodeSelectorTerms");
    if selector.items("nodeSelectorTerms").is_empty() {
        errors.required(&list, "must have at least one node selector term");
    }
    for (index, term) in selector.items("nodeSelectorTerms").iter().enumerate() {
        node_term(term, &list.index(index), errors);
    }
}

fn node_term(term: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("matchExpressions");
    for (index, requirement) in term.items("matchExpressions").iter().enumerate() {
        let path = list.index(index);
        let count = requirement.items("values").len();
        match requirement.text("operator") {
            "In" | "NotIn" if count == 0 => {
                errors.required(
                    &path.child("values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
            "Exists" | "DoesNotExist" if count > 0 => {
                errors.forbidden(
                    &path.child("values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            "Gt" | "Lt" if count != 1 => {
                errors.required(
                    &path.child("values"),
                    "must be specified single value when `operator` is 'Lt' or 'Gt'",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        let key = requirement.text("key");
        errors.invalid_each(&path.child("key"), key, names::qualified_name(key));
    }
    let list = path.child("matchFields");
    for (index, requirement) in term.items("matchFields").iter().enumerate() {
        let path = list.index(index);
        if !matches!(requirement.text("operator"), "In" | "NotIn") {
            errors.invalid(
                &path.child("operator"),
                requirement.text("operator"),
                "not a valid selector operator",
            );
        } else if requirement.items("values").len() != 1 {
            errors.required(
                &path.child("values"),
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            );
        }
        if requirement.text("key") != "metadata.name" {
            errors.invalid(
                &path.child("key"),
                requirement.text("key"),
                "not a valid field selector key",
            );
        }
    }
}

fn pod_term(term: &Value, path: &Path<'_>, errors: &mut Errors) {
    selectors::validate(term.at("labelSelector"), &path.child("labelSelector"), errors);
    selectors::validate(term.at("namespaceSelector"), &path.child("namespaceSelector"), errors);
    let list = path.child("namespaces");
    for name in term.texts("namespaces") {
        errors.invalid_each(&list, name, names::label(name));
    }
    let key = term.text("topologyKey");
    if key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    errors.invalid_each(&path.child("topologyKey"), key, names::qualified_name(key));
}

fn tolerations(spec: &Value, list: &Path<'_>, errors: &mut Errors) {
    for (index, toleration) in spec.items("tolerations").iter().enumerate() {
        let path = list.index(index);
        let (key, value, operator, effect) = (
            toleration.text("key"),
            toleration.text("value"),
            toleration.text("operator"),
            toleration.text("effect"),
        );
        if !key.is_empty() {
            errors.invalid_each(&path.child("key"), key, names::qualified_name(key));
        } else if operator != "Exists" {
            errors.invalid(
                &path.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            );
        }
        if toleration.has("tolerationSeconds") && effect != "NoExecute" {
            errors.invalid(
                &path.child("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            );
        }
        match operator {
            "" | "Equal" => errors.invalid_each(&path.child("operator"), value, names::label_value(value)),
            "Exists" if !value.is_empty() => {
                errors.invalid(
                    &path.child("operator"),
                    toleration,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
            "Exists" | "Lt" | "Gt" => {}
            other => errors.unsupported(&path.child("operator"), other, &["Equal", "Exists"]),
        }
        one_of(
            toleration,
            "effect",
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            false,
            &path,
            errors,
        );
    }
}
