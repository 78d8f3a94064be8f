//! Rules on numbers, percentages and quantities that many kinds share.

use serde_json::Value;

use super::super::access::{Fields, sub};
use super::super::errors::{Errors, Path};
use super::super::gojson;
use super::super::names;
use crate::kubernetes::schema::quantity::Quantity;

pub(super) const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
pub(super) const POSITIVE: &str = "must be greater than 0";

/// An integer field that, if set, must not be negative.
pub(super) fn not_negative(value: &Value, field: &str, path: &Path<'_>, errors: &mut Errors) {
    if let Some(number) = value.int(field).filter(|number| *number < 0) {
        errors.invalid(&path.child(field), number, NOT_NEGATIVE);
    }
}

/// A count or a percentage, neither negative.
pub(super) fn count_or_percent(value: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    match value {
        Some(Value::String(text)) => errors.invalid_each(path, text, names::percent(text)),
        Some(Value::Number(number)) if number.as_i64().is_some_and(|number| number < 0) => {
            errors.invalid(path, number.as_i64().unwrap_or_default(), NOT_NEGATIVE);
        }
        _ => {}
    }
}

/// A percentage above all there is.
pub(super) fn at_most_all(value: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    if let Some(text) = value.and_then(Value::as_str)
        && percentage(text).is_some_and(|percent| percent > 100)
    {
        errors.invalid(path, text, "must not be greater than 100%");
    }
}

/// The number in `25%`.
pub(super) fn percentage(text: &str) -> Option<i64> {
    text.strip_suffix('%').and_then(|digits| digits.parse().ok())
}

/// Whether a count or percentage is zero.
pub(super) fn is_zero(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Number(number)) => number.as_i64() == Some(0),
        Some(Value::String(text)) => percentage(text) == Some(0),
        _ => false,
    }
}

/// The amount under a key of a resource list.
pub(super) fn amount(list: &Value, name: &str) -> Option<Quantity> {
    let value = list.at(name)?;
    match value {
        Value::String(text) => Quantity::parse(text),
        other => Quantity::parse(&other.to_string()),
    }
}

/// Native resources have no domain, or Kubernetes' own.
fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Resources that may be shared out in finer pieces than asked for.
fn is_overcommittable(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// The name of a container's resource.
fn container_resource(name: &str, path: &Path<'_>, errors: &mut Errors) {
    errors.invalid_each(path, name, names::qualified_name(name));
    if !name.contains('/') {
        let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        if !known {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && name.starts_with("requests.") {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

/// The value of a resource.
pub(super) fn resource_amount(name: &str, value: &Value, path: &Path<'_>, errors: &mut Errors) {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let Some(amount) = Quantity::parse(&text) else { return };
    if amount.is_negative() {
        errors.invalid(path, text.as_str(), NOT_NEGATIVE);
    }
    let counted = matches!(
        name,
        "pods" | "services" | "replicationcontrollers" | "resourcequotas" | "secrets" | "configmaps"
    ) || name.starts_with("count/")
        || !is_native(name);
    if counted && !amount.is_whole() {
        errors.invalid(path, text.as_str(), "must be an integer");
    }
}

/// A container's requests, limits and claims.
pub(super) fn resources(resources: &Value, path: &Path<'_>, errors: &mut Errors) {
    let (limits, requests) = (sub(resources, "limits"), sub(resources, "requests"));
    let limit_path = path.child("limits");
    let request_path = path.child("requests");
    for (name, value) in limits.as_object().into_iter().flatten() {
        container_resource(name, &limit_path, errors);
        resource_amount(name, value, &limit_path.key(name), errors);
    }
    for (name, value) in requests.as_object().into_iter().flatten() {
        container_resource(name, &request_path, errors);
        resource_amount(name, value, &request_path.key(name), errors);
        let (Some(request), limit) = (amount(requests, name), amount(limits, name)) else {
            continue;
        };
        match limit {
            Some(limit) if !is_overcommittable(name) && request.compare(limit).is_ne() => {
                let detail = format!("must be equal to {name} limit of {}", limit.canonical());
                errors.invalid(&request_path, request.canonical().as_str(), &detail);
            }
            Some(limit) if request.compare(limit).is_gt() => {
                let detail = format!("must be less than or equal to {name} limit of {}", limit.canonical());
                errors.invalid(&request_path, request.canonical().as_str(), &detail);
            }
            None if !is_overcommittable(name) => {
                errors.required(&limit_path, "Limit must be set for non overcommitable resources");
            }
            _ => {}
        }
    }
}

/// `value` is one of `allowed`; empty is an error only if `required`.
pub(super) fn one_of(
    value: &Value,
    field: &str,
    allowed: &[&str],
    required: bool,
    path: &Path<'_>,
    errors: &mut Errors,
) {
    let text = value.text(field);
    if text.is_empty() {
        if required {
            errors.required(&path.child(field), "");
        }
    } else if !allowed.contains(&text) {
        errors.unsupported(&path.child(field), text, allowed);
    }
}

/// A count or percentage as the server shows it: a number plain, a text quoted.
pub(super) fn shown(value: Option<&Value>) -> super::super::errors::Shown {
    match value {
        Some(Value::String(text)) => super::super::errors::Shown::raw(gojson::quote(text)),
        other => other.into(),
    }
}
