//! Whether a value has the shape that a structural schema requires, with the messages of the real server's validator.
//! Values that an update leaves unchanged are not reported. Sets, maps and CEL rules are checked elsewhere.

use serde_json::Value;

use super::super::access::{Fields, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::gojson;
use super::formats;

/// Checks `value`, which is at `place`. `prefix` precedes the place in the field of an error, but not in its sentence.
pub(in super::super) fn check(
    schema: &Value,
    value: &Value,
    old: Option<&Value>,
    prefix: &str,
    place: &str,
    errors: &mut Errors,
) {
    if !place.is_empty() && old == Some(value) {
        return;
    }
    let full = format!("{prefix}{place}");
    let at = Path::root(&full);
    if value.is_null() && schema.yes("nullable") {
        return;
    }
    if !has_type(schema, value) {
        let wanted = if schema.yes("x-kubernetes-int-or-string") {
            "integer,string"
        } else {
            schema.text("type")
        };
        let kind = json_type(value);
        errors.type_invalid(
            &at,
            kind,
            &format!("{place} in body must be of type {wanted}: \"{kind}\""),
        );
        return;
    }
    combinations(schema, value, place, &at, errors);
    match value {
        Value::String(text) => string(schema, text, place, &at, errors),
        Value::Number(_) => number(schema, value, place, &at, errors),
        Value::Array(items) => {
            array(schema, items, place, &at, errors);
            let of = sub(schema, "items");
            if of.is_object() {
                for (index, item) in items.iter().enumerate() {
                    let before = old.and_then(|old| old.get(index));
                    check(of, item, before, prefix, &format!("{place}[{index}]"), errors);
                }
            }
        }
        Value::Object(_) => object(schema, value, old, prefix, place, errors),
        _ => {}
    }
    let allowed = schema.items("enum");
    if !allowed.is_empty() && !allowed.contains(value) {
        let names: Vec<String> = allowed
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        errors.unsupported(&at, value, &names);
    }
}

fn has_type(schema: &Value, value: &Value) -> bool {
    if schema.yes("x-kubernetes-int-or-string") {
        return value.is_string() || is_integer(value);
    }
    match schema.text("type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => is_integer(value),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        _ => true,
    }
}

fn is_integer(value: &Value) -> bool {
    value.as_i64().is_some() || value.as_u64().is_some() || value.as_f64().is_some_and(|float| float.fract() == 0.0)
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn size(schema: &Value, field: &str) -> Option<usize> {
    schema.at(field)?.as_u64().and_then(|size| usize::try_from(size).ok())
}

fn string(schema: &Value, text: &str, place: &str, at: &Path<'_>, errors: &mut Errors) {
    let length = text.chars().count();
    if let Some(max) = size(schema, "maxLength").filter(|max| length > *max) {
        errors.too_long(at, max);
    } else if let Some(min) = size(schema, "minLength").filter(|min| length < *min) {
        errors.invalid(
            at,
            text,
            &format!("{place} in body should be at least {min} chars long"),
        );
    } else if let Some(pattern) = schema
        .at("pattern")
        .and_then(Value::as_str)
        .filter(|pattern| formats::matches(pattern, text) == Some(false))
    {
        errors.invalid(at, text, &format!("{place} in body should match '{pattern}'"));
    }
    let format = schema.text("format");
    if !format.is_empty() && !formats::has(format, text) {
        errors.type_invalid(
            at,
            text,
            &format!("{place} in body must be of type {format}: {}", gojson::quote(text)),
        );
    }
}

fn number(schema: &Value, value: &Value, place: &str, at: &Path<'_>, errors: &mut Errors) {
    let number = value.as_f64().unwrap_or_default();
    let bound = |field: &str| {
        schema
            .at(field)
            .and_then(|bound| bound.as_f64().map(|number| (number, bound.to_string())))
    };
    if let Some((_, text)) = bound("multipleOf").filter(|(factor, _)| *factor > 0.0 && (number / factor).fract() != 0.0)
    {
        errors.invalid(at, value, &format!("{place} in body should be a multiple of {text}"));
    }
    if let Some((max, text)) = bound("maximum") {
        if schema.yes("exclusiveMaximum") && number >= max {
            errors.invalid(at, value, &format!("{place} in body should be less than {text}"));
        } else if number > max {
            errors.invalid(
                at,
                value,
                &format!("{place} in body should be less than or equal to {text}"),
            );
        }
    }
    if let Some((min, text)) = bound("minimum") {
        if schema.yes("exclusiveMinimum") && number <= min {
            errors.invalid(at, value, &format!("{place} in body should be greater than {text}"));
        } else if number < min {
            errors.invalid(
                at,
                value,
                &format!("{place} in body should be greater than or equal to {text}"),
            );
        }
    }
    let whole = value.as_i64();
    if schema.text("format") == "int32" && whole.is_some_and(|whole| i32::try_from(whole).is_err()) {
        errors.invalid(at, value, &format!("{place} in body should be of type int32"));
    }
}

fn array(schema: &Value, items: &[Value], place: &str, at: &Path<'_>, errors: &mut Errors) {
    if let Some(max) = size(schema, "maxItems").filter(|max| items.len() > *max) {
        errors.too_many(at, items.len(), max);
    }
    if let Some(min) = size(schema, "minItems").filter(|min| items.len() < *min) {
        errors.invalid(
            at,
            count(items.len()),
            &format!("{place} in body should have at least {min} items"),
        );
    }
    if schema.yes("uniqueItems")
        && items
            .iter()
            .enumerate()
            .any(|(index, item)| items[..index].contains(item))
    {
        errors.duplicate(at, Shown::raw(gojson::text(&Value::Array(items.to_vec()))));
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn object(schema: &Value, value: &Value, old: Option<&Value>, prefix: &str, place: &str, errors: &mut Errors) {
    let Some(map) = value.as_object() else { return };
    let full = format!("{prefix}{place}");
    let at = Path::root(&full);
    if let Some(max) = size(schema, "maxProperties").filter(|max| map.len() > *max) {
        errors.too_many(&at, map.len(), max);
    }
    if let Some(min) = size(schema, "minProperties").filter(|min| map.len() < *min) {
        errors.invalid(
            &at,
            count(map.len()),
            &format!("{place} in body should have at least {min} properties"),
        );
    }
    let below = |name: &str| {
        if place.is_empty() {
            name.to_owned()
        } else {
            format!("{place}.{name}")
        }
    };
    let dotted = if place.is_empty() && !prefix.is_empty() {
        format!("{prefix}.")
    } else {
        prefix.to_owned()
    };
    for name in schema.texts("required") {
        if !map.contains_key(name) {
            errors.required(&Path::root(&format!("{dotted}{}", below(name))), "");
        }
    }
    let rest = sub(schema, "additionalProperties");
    for (name, item) in map {
        let before = old.and_then(|old| old.get(name));
        match schema.map("properties").and_then(|properties| properties.get(name)) {
            Some(_)
                if place.is_empty()
                    && prefix.is_empty()
                    && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") => {}
            Some(known) => check(known, item, before, &dotted, &below(name), errors),
            None if rest.is_object() => check(rest, item, before, &dotted, &below(name), errors),
            None => {}
        }
    }
}

fn fits(schema: &Value, value: &Value) -> bool {
    let mut errors = Errors::new();
    check(schema, value, None, "", "", &mut errors);
    errors.is_empty()
}

fn combinations(schema: &Value, value: &Value, place: &str, at: &Path<'_>, errors: &mut Errors) {
    let named = gojson::quote(place);
    let count = |list: &str| schema.items(list).iter().filter(|one| fits(one, value)).count();
    if !schema.items("anyOf").is_empty() && count("anyOf") == 0 {
        errors.invalid(at, "", &format!("{named} must validate at least one schema (anyOf)"));
    }
    if !schema.items("oneOf").is_empty() {
        match count("oneOf") {
            1 => {}
            0 => errors.invalid(
                at,
                "",
                &format!("{named} must validate one and only one schema (oneOf). Found none valid"),
            ),
            many => {
                errors.invalid(
                    at,
                    "",
                    &format!("{named} must validate one and only one schema (oneOf). Found {many} valid alternatives"),
                );
            }
        }
    }
    if !schema.items("allOf").is_empty() && count("allOf") < schema.items("allOf").len() {
        errors.invalid(at, "", &format!("{named} must validate all the schemas (allOf)"));
    }
    let not = sub(schema, "not");
    if not.is_object() && fits(not, value) {
        errors.invalid(at, "", &format!("{named} must not validate the schema (not)"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_read_like_the_recorded_ones() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1, "maximum": 10}, "mode": {"type": "string", "enum": ["auto", "manual"]},
            "name": {"type": "string", "maxLength": 5, "pattern": "^[a-z]*$"}, "any": {"x-kubernetes-int-or-string": true},
            "list": {"type": "array", "maxItems": 1, "items": {"type": "string"}}}}}});
        for (spec, wanted) in [
            (json!({}), vec!["spec.size: Required value"]),
            (
                json!({"size": "1"}),
                vec![r#"spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#],
            ),
            (
                json!({"size": 11}),
                vec!["spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10"],
            ),
            (
                json!({"size": 1, "mode": "odd"}),
                vec![r#"spec.mode: Unsupported value: "odd": supported values: "auto", "manual""#],
            ),
            (
                json!({"size": 1, "name": "TOOLONG"}),
                vec!["spec.name: Too long: may not be more than 5 bytes"],
            ),
            (
                json!({"size": 1, "name": "A"}),
                vec![r#"spec.name: Invalid value: "A": spec.name in body should match '^[a-z]*$'"#],
            ),
            (
                json!({"size": 1, "any": true}),
                vec![
                    r#"spec.any: Invalid value: "boolean": spec.any in body must be of type integer,string: "boolean""#,
                ],
            ),
            (
                json!({"size": 1, "list": ["a", 1]}),
                vec![
                    "spec.list: Too many: 2: must have at most 1 item",
                    r#"spec.list[1]: Invalid value: "integer": spec.list[1] in body must be of type string: "integer""#,
                ],
            ),
        ] {
            let mut errors = Errors::new();
            check(&schema, &json!({"spec": spec}), None, "", "", &mut errors);
            let got: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(got, wanted, "{spec}");
        }
    }

    #[test]
    fn what_an_update_leaves_alone_is_not_held_against_it() {
        let schema =
            json!({"properties": {"spec": {"properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}}});
        let old = json!({"spec": {"a": "bad", "b": 1}});
        let mut errors = Errors::new();
        check(
            &schema,
            &json!({"spec": {"a": "bad", "b": 2}}),
            Some(&old),
            "",
            "",
            &mut errors,
        );
        assert!(errors.is_empty());
        check(
            &schema,
            &json!({"spec": {"a": "worse", "b": 2}}),
            Some(&old),
            "",
            "",
            &mut errors,
        );
        assert_eq!(errors.len(), 1);
    }
}
