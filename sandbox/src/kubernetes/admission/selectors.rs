//! Label selectors: whether they are well formed, whether they match, and how the server prints one. It selects nothing itself.

use serde_json::{Map, Value};

use super::access::{Fields, sub};
use super::errors::{Errors, Path};
use super::gojson;
use super::names;

/// Checks a `LabelSelector`.
pub fn validate(selector: Option<&Value>, path: &Path<'_>, errors: &mut Errors) {
    let Some(selector) = selector else { return };
    super::metadata::labels(selector.at("matchLabels"), &path.child("matchLabels"), errors);
    let list = path.child("matchExpressions");
    for (index, expression) in selector.items("matchExpressions").iter().enumerate() {
        let path = list.index(index);
        let count = expression.items("values").len();
        match expression.text("operator") {
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
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
        }
        let key = expression.text("key");
        errors.invalid_each(&path.child("key"), key, names::qualified_name(key));
        let values = path.child("values");
        for (index, value) in expression.texts("values").into_iter().enumerate() {
            errors.invalid_each(&values.index(index), value, names::label_value(value));
        }
    }
}

/// Whether the selector names no label at all; it then selects everything.
pub fn is_empty(selector: &Value) -> bool {
    selector.map("matchLabels").is_none_or(Map::is_empty) && selector.items("matchExpressions").is_empty()
}

/// Whether labels satisfy a `LabelSelector`.
pub fn matches(selector: &Value, labels: Option<&Map<String, Value>>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let equal = selector
        .map("matchLabels")
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    equal
        && selector.items("matchExpressions").iter().all(|expression| {
            let is = label(expression.text("key"));
            let listed = is.is_some_and(|is| expression.texts("values").contains(&is));
            match expression.text("operator") {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => is.is_some(),
                "DoesNotExist" => is.is_none(),
                _ => false,
            }
        })
}

/// A selector as the server prints it, its fields in the order of its type.
pub fn text(selector: Option<&Value>) -> String {
    let Some(selector) = selector else {
        return "null".to_owned();
    };
    let mut parts = Vec::new();
    if let Some(labels) = selector.map("matchLabels").filter(|labels| !labels.is_empty()) {
        parts.push(format!(
            "\"matchLabels\":{}",
            gojson::text(&Value::Object(labels.clone()))
        ));
    }
    let expressions = selector.items("matchExpressions");
    if !expressions.is_empty() {
        let list: Vec<String> = expressions
            .iter()
            .map(|one| {
                let mut text = format!(
                    "{{\"key\":{},\"operator\":{}",
                    gojson::string(one.text("key")),
                    gojson::string(one.text("operator"))
                );
                if !one.items("values").is_empty() {
                    text.push_str(&format!(",\"values\":{}", gojson::text(sub(one, "values"))));
                }
                text + "}"
            })
            .collect();
        parts.push(format!("\"matchExpressions\":[{}]", list.join(",")));
    }
    format!("{{{}}}", parts.join(","))
}
