//! Defaults of custom resources, and nulls that cannot stay.

use serde_json::Value;

use super::super::access::{Fields, sub};

/// Fills in defaults; a null where none is allowed becomes the default or is removed.
pub(in super::super) fn apply(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(map) => {
            let properties = schema.map("properties");
            for (name, property) in properties.into_iter().flatten() {
                let nullable = property.yes("nullable");
                let absent = match map.get(name) {
                    None => true,
                    Some(value) => value.is_null() && !nullable,
                };
                if !absent {
                    continue;
                }
                match property.get("default") {
                    Some(default) => {
                        map.insert(name.clone(), default.clone());
                    }
                    None => {
                        map.remove(name);
                    }
                }
            }
            let rest = sub(schema, "additionalProperties");
            for (name, item) in map.iter_mut() {
                match properties.and_then(|properties| properties.get(name)) {
                    Some(property) => apply(property, item),
                    None if rest.is_object() => {
                        if item.is_null()
                            && !rest.yes("nullable")
                            && let Some(default) = rest.get("default")
                        {
                            *item = default.clone();
                        }
                        apply(rest, item);
                    }
                    None => {}
                }
            }
        }
        Value::Array(items) => {
            let of = sub(schema, "items");
            if of.is_object() {
                for item in items {
                    if item.is_null()
                        && !of.yes("nullable")
                        && let Some(default) = of.get("default")
                    {
                        *item = default.clone();
                    }
                    apply(of, item);
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_fill_what_is_absent_inside_what_is_there() {
        let schema = json!({"properties": {"spec": {"properties": {
            "mode": {"default": "auto"}, "maybe": {"nullable": true}, "plain": {"type": "string"},
            "opts": {"properties": {"a": {"default": "x"}}},
            "parts": {"items": {"properties": {"weight": {"default": 1}}}}}}}});
        let mut value =
            json!({"spec": {"mode": null, "maybe": null, "plain": null, "opts": {}, "parts": [{"name": "a"}]}});
        apply(&schema, &mut value);
        assert_eq!(
            value,
            json!({"spec": {"mode": "auto", "maybe": null, "opts": {"a": "x"}, "parts": [{"name": "a", "weight": 1}]}})
        );
        let mut bare = json!({});
        apply(&schema, &mut bare);
        assert_eq!(bare, json!({}));
    }
}
