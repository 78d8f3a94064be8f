//! Lists that are sets or maps hold no item twice.

use serde_json::{Map, Value};

use super::super::access::{Fields, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::gojson;

/// Checks all sets and maps below `place`.
pub(in super::super) fn check(schema: &Value, value: &Value, place: &str, errors: &mut Errors) {
    match value {
        Value::Array(items) => {
            match schema.text("x-kubernetes-list-type") {
                "set" => {
                    for (index, item) in items.iter().enumerate() {
                        if items[..index].contains(item) {
                            errors.duplicate(&Path::root(place).index(index), item);
                        }
                    }
                }
                "map" => {
                    let keys = schema.texts("x-kubernetes-list-map-keys");
                    let all: Vec<Value> = items.iter().map(|item| key(item, &keys)).collect();
                    for (index, key) in all.iter().enumerate() {
                        if all[..index].contains(key) {
                            errors.duplicate(&Path::root(place).index(index), Shown::raw(gojson::text(key)));
                        }
                    }
                }
                _ => {}
            }
            let of = sub(schema, "items");
            for (index, item) in items.iter().enumerate() {
                check(of, item, &format!("{place}[{index}]"), errors);
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                let known = schema.map("properties").and_then(|properties| properties.get(name));
                if let Some(known) = known.or_else(|| schema.at("additionalProperties")) {
                    let below = if place.is_empty() {
                        name.clone()
                    } else {
                        format!("{place}.{name}")
                    };
                    check(known, item, &below, errors);
                }
            }
        }
        _ => {}
    }
}

/// The part of an item that tells it from others.
pub(super) fn key(item: &Value, keys: &[&str]) -> Value {
    let part: Map<String, Value> = keys
        .iter()
        .filter_map(|key| item.get(*key).map(|value| ((*key).to_owned(), value.clone())))
        .collect();
    Value::Object(part)
}
