//! Reading and shaping objects as JSON: the few accessors that every controller needs.

use std::sync::Arc;

use serde_json::{Map, Value, json};

/// Namespace (empty for cluster-scoped objects) and name.
pub(crate) type Key = (Arc<str>, Arc<str>);

/// A key from its parts.
pub(crate) fn key(namespace: &str, name: &str) -> Key {
    (Arc::from(namespace), Arc::from(name))
}

/// The key of an object.
pub(crate) fn key_of(object: &Value) -> Key {
    key(namespace(object), name(object))
}

pub(crate) fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(crate) fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

pub(crate) fn generation(object: &Value) -> i64 {
    object["metadata"]["generation"].as_i64().unwrap_or(0)
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

/// A text under a JSON pointer; empty if it is not there.
pub(crate) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// A number under a JSON pointer.
pub(crate) fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// A list under a JSON pointer; empty if it is not there.
pub(crate) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(crate) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["annotations"].get(name).and_then(Value::as_str)
}

pub(crate) fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object["metadata"]["labels"].get(name).and_then(Value::as_str)
}

pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object, "/metadata/finalizers").iter().filter_map(Value::as_str)
}

/// The owner that controls an object: kind, name, uid.
pub(crate) fn controller(object: &Value) -> Option<(&str, &str, &str)> {
    let owner = list(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner["controller"] == true)?;
    Some((owner["kind"].as_str()?, owner["name"].as_str()?, owner["uid"].as_str()?))
}

/// An owner reference as controllers write it.
pub(crate) fn owner_reference(owner: &Value, api_version: &str, kind: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// Seconds since the epoch of a `metav1.Time` under a pointer.
pub(crate) fn seconds(object: &Value, pointer: &str) -> Option<i64> {
    text(object, pointer)
        .parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_second)
}

/// Milliseconds as a `metav1.Time`: whole seconds.
pub(crate) fn time(millis: i64) -> Value {
    let second = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    Value::String(second.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Milliseconds as a `metav1.MicroTime`.
pub(crate) fn micro_time(millis: i64) -> Value {
    let moment = jiff::Timestamp::from_millisecond(millis).unwrap_or_default();
    Value::String(moment.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
}

/// A condition of a type.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list(object, "/status/conditions")
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// Put a field into an object if it has a value other than zero, or take it out: how `omitempty` numbers look.
pub(crate) fn set_nonzero(map: &mut Map<String, Value>, field: &str, value: i64) {
    if value == 0 {
        map.remove(field);
    } else {
        map.insert(field.to_owned(), value.into());
    }
}

/// The object under a field, made if it is not there.
pub(crate) fn object_mut<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    let slot = &mut value[field];
    if !slot.is_object() {
        *slot = json!({});
    }
    slot.as_object_mut().expect("it was made an object above")
}

/// `25%` or `2` of a total, rounded up or down. Anything else counts as 0.
pub(crate) fn scaled(value: &Value, total: i64, up: bool) -> i64 {
    match value {
        Value::Number(n) => n.as_i64().unwrap_or(0),
        Value::String(text) => match text.strip_suffix('%').and_then(|percent| percent.parse::<i64>().ok()) {
            Some(percent) if up => (total.saturating_mul(percent) + 99).div_euclid(100),
            Some(percent) => total.saturating_mul(percent).div_euclid(100),
            None => text.parse().unwrap_or(0),
        },
        _ => 0,
    }
}

/// A hash in the letters that generated names use, as `pod-template-hash` has them.
pub(crate) fn short_hash(value: &Value, salt: i64) -> String {
    let mut hash: u32 = 2_166_136_261;
    for byte in value
        .to_string()
        .into_bytes()
        .into_iter()
        .chain(salt.to_le_bytes().into_iter().filter(|_| salt != 0))
    {
        hash = (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    }
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    hash.to_string()
        .bytes()
        .map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_round_as_the_rollout_needs() {
        for (value, total, up, expected) in [
            (json!("25%"), 1, true, 1),
            (json!("25%"), 1, false, 0),
            (json!("25%"), 0, true, 0),
            (json!(2), 10, true, 2),
            (json!("50%"), 3, false, 1),
        ] {
            assert_eq!(scaled(&value, total, up), expected, "{value} of {total}");
        }
    }

    #[test]
    fn a_hash_is_stable_and_made_of_safe_letters() {
        let hash = short_hash(&json!({"a": 1}), 0);
        assert_eq!(hash, short_hash(&json!({"a": 1}), 0));
        assert_ne!(hash, short_hash(&json!({"a": 1}), 1));
        assert!(hash.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)));
    }
}
