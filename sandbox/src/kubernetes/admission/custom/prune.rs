//! Fields that a custom resource's schema does not know are dropped and reported.

use serde_json::Value;

use super::super::access::{Fields, sub};

/// Prunes a complete object; its type and metadata always stay. Adds `unknown field "spec.x"` for each dropped field.
pub(in super::super) fn object(schema: &Value, object: &mut Value, unknown: &mut Vec<String>) {
    let mut path = Vec::new();
    value(schema, object, true, &mut path, unknown);
}

fn value(schema: &Value, value: &mut Value, is_resource: bool, path: &mut Vec<String>, unknown: &mut Vec<String>) {
    let is_resource = is_resource || schema.yes("x-kubernetes-embedded-resource");
    match value {
        Value::Object(map) => {
            let keeps = schema.yes("x-kubernetes-preserve-unknown-fields");
            let properties = schema.map("properties");
            let rest = schema.at("additionalProperties");
            let mut gone = Vec::new();
            for (key, item) in map.iter_mut() {
                if is_resource && matches!(key.as_str(), "apiVersion" | "kind" | "metadata") {
                    continue;
                }
                path.push(key.clone());
                match (properties.and_then(|properties| properties.get(key)), rest) {
                    (Some(known), _) => self::value(known, item, false, path, unknown),
                    (None, Some(rest)) if rest.is_object() => self::value(rest, item, false, path, unknown),
                    (None, Some(rest)) if rest.as_bool() == Some(true) => {}
                    _ if keeps => {}
                    _ => {
                        unknown.push(format!("unknown field \"{}\"", join(path)));
                        gone.push(key.clone());
                    }
                }
                path.pop();
            }
            for key in gone {
                map.remove(&key);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.push(format!("[{index}]"));
                let known = sub(schema, "items");
                if !known.is_null() {
                    self::value(known, item, false, path, unknown);
                } else if !schema.yes("x-kubernetes-preserve-unknown-fields") {
                    self::value(&Value::Null, item, false, path, unknown);
                }
                path.pop();
            }
        }
        _ => {}
    }
}

fn join(path: &[String]) -> String {
    let mut out = String::new();
    for step in path {
        if !out.is_empty() && !step.starts_with('[') {
            out.push('.');
        }
        out.push_str(step);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_schema_does_not_know_goes_and_is_told() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"b": {"type": "object"}}},
            "map": {"type": "object", "additionalProperties": {"type": "object"}}}}}});
        let mut value = json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "top": 1, "spec": {
            "list": [{"a": "1", "z": 1}], "free": {"y": 1, "b": {"c": 1}}, "map": {"k": {"d": 1}}}});
        let mut unknown = Vec::new();
        object(&schema, &mut value, &mut unknown);
        assert_eq!(
            value,
            json!({"apiVersion": "x/v1", "kind": "X", "metadata": {"name": "x"}, "spec": {
                "list": [{"a": "1"}], "free": {"y": 1, "b": {}}, "map": {"k": {}}}})
        );
        unknown.sort();
        assert_eq!(
            unknown,
            ["spec.free.b.c", "spec.list[0].z", "spec.map.k.d", "top"].map(|path| format!("unknown field \"{path}\""))
        );
    }
}
