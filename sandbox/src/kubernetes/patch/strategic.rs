//! Strategic merge patch: a merge patch that knows lists by key, and the directives `$patch`, `$retainKeys`,
//! `$setElementOrder/…` and `$deleteFromPrimitiveList/…`.

use serde_json::{Map, Value};

use crate::kubernetes::schema::{Shape, Strategic, Type};

const ORDER: &str = "$setElementOrder/";
const DELETE_PRIMITIVES: &str = "$deleteFromPrimitiveList/";

/// A patch that cannot be applied, in the server's message.
pub(super) type Fault = String;

/// Merge `patch` into an object of a type.
pub(super) fn apply(
    of: Option<Type<'_>>,
    original: &Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>, Fault> {
    match patch
        .get("$patch")
        .map(|directive| directive.as_str().unwrap_or_default())
    {
        Some("replace") => {
            let mut out = patch.clone();
            out.remove("$patch");
            return Ok(out);
        }
        Some("delete") => return Ok(Map::new()),
        Some("merge") | None => {}
        Some(other) => return Err(format!("Unknown patch type found: {other}")),
    }
    let mut out = original.clone();
    if let Some(retain) = patch.get("$retainKeys") {
        let Some(keys) = retain.as_array() else {
            return Err("invalid patch format of retainKeys".to_owned());
        };
        for key in patch.keys().filter(|key| !key.starts_with('$')) {
            if !patch[key].is_null() && !keys.iter().any(|k| k == key.as_str()) {
                return Err("patch contains fields not in retainKeys".to_owned());
            }
        }
        out.retain(|key, _| keys.iter().any(|k| k == key.as_str()));
    }
    for (name, value) in patch {
        if name == "$patch" || name == "$retainKeys" {
            continue;
        }
        if let Some(list) = name.strip_prefix(DELETE_PRIMITIVES) {
            if let (Some(Value::Array(items)), Value::Array(gone)) = (out.get_mut(list), value) {
                items.retain(|item| !gone.contains(item));
            }
            continue;
        }
        if let Some(list) = name.strip_prefix(ORDER) {
            if !patch.contains_key(list)
                && let (Some(Value::Array(items)), Value::Array(order)) = (out.get(list), value)
            {
                let key = merge_key(of, list);
                let ordered = in_order(items.clone(), order, items, key.as_deref());
                out.insert(list.to_owned(), ordered.into());
            }
            continue;
        }
        if value.is_null() {
            out.remove(name);
            continue;
        }
        let inner = of.and_then(|of| of.member(name));
        let field = of.and_then(|of| of.field(name));
        let rule = field.map(|field| field.patch.clone()).unwrap_or_default();
        let merged = match (out.get(name), value) {
            (Some(Value::Object(was)), Value::Object(change)) if !rule.replace => {
                Value::Object(apply(inner, was, change)?)
            }
            (_, Value::Object(change)) => Value::Object(apply(inner, &Map::new(), change)?),
            (was, Value::Array(change)) => {
                let was = was.and_then(Value::as_array).cloned().unwrap_or_default();
                let order = patch.get(&format!("{ORDER}{name}")).and_then(Value::as_array);
                list(inner, &rule, &was, change, order)?
            }
            (_, scalar) => scalar.clone(),
        };
        out.insert(name.clone(), merged);
    }
    Ok(out)
}

fn merge_key(of: Option<Type<'_>>, field: &str) -> Option<String> {
    of.and_then(|of| of.field(field))
        .and_then(|field| field.patch.key.clone())
}

fn list(
    of: Option<Type<'_>>,
    rule: &Strategic,
    original: &[Value],
    patch: &[Value],
    order: Option<&Vec<Value>>,
) -> Result<Value, Fault> {
    if !rule.merge {
        return Ok(stripped(patch).into());
    }
    let Some(key) = &rule.key else {
        // A list of plain values: those that are new are added.
        let mut out = original.to_vec();
        for value in patch {
            if !out.contains(value) {
                out.push(value.clone());
            }
        }
        return Ok(ordered(out, patch, order, original, None).into());
    };
    let item = of.and_then(|of| match of.shape() {
        Shape::List { item, .. } => Some(of.to(*item)),
        _ => None,
    });
    let mut out = original.to_vec();
    let mut changes = Vec::new();
    for change in patch {
        let Value::Object(map) = change else {
            return Err("expected a map in a merged list".to_owned());
        };
        let directive = map.get("$patch").map(|d| d.as_str().unwrap_or_default());
        match directive {
            Some("replace") if map.len() == 1 => {
                let rest: Vec<Value> = patch.iter().filter(|p| p.get("$patch").is_none()).cloned().collect();
                return Ok(rest.into());
            }
            _ => {}
        }
        let Some(named) = map.get(key).filter(|v| !v.is_null()) else {
            return Err(format!("map: {change} does not contain declared merge key: {key}"));
        };
        let at = out.iter().position(|item| item.get(key) == Some(named));
        match directive {
            Some("delete") => out.retain(|item| item.get(key) != Some(named)),
            Some("replace") => {
                let mut whole = map.clone();
                whole.remove("$patch");
                match at {
                    Some(at) => out[at] = Value::Object(whole),
                    None => out.push(Value::Object(whole)),
                }
                changes.push(change.clone());
            }
            Some("merge") | None => {
                let was = at.and_then(|at| out[at].as_object().cloned()).unwrap_or_default();
                let merged = Value::Object(apply(item, &was, map)?);
                match at {
                    Some(at) => out[at] = merged,
                    None => out.push(merged),
                }
                changes.push(change.clone());
            }
            Some(other) => return Err(format!("Unknown patch type found: {other}")),
        }
    }
    Ok(ordered(out, &changes, order, original, Some(key)).into())
}

/// A replacing list without directives in it.
fn stripped(patch: &[Value]) -> Vec<Value> {
    let kept = patch
        .iter()
        .filter(|item| item.get("$patch").is_none_or(|d| d != "delete"));
    kept.map(|item| {
        let mut item = item.clone();
        if let Some(map) = item.as_object_mut() {
            map.retain(|key, _| !key.starts_with('$'));
        }
        item
    })
    .filter(|item| item.as_object().is_none_or(|map| !map.is_empty()))
    .collect()
}

fn ordered(
    merged: Vec<Value>,
    patch: &[Value],
    order: Option<&Vec<Value>>,
    original: &[Value],
    key: Option<&str>,
) -> Vec<Value> {
    in_order(merged, order.map_or(patch, Vec::as_slice), original, key)
}

/// Items that the order lists come in that order; the others keep their place relative to these, as far as possible.
fn in_order(merged: Vec<Value>, order: &[Value], original: &[Value], key: Option<&str>) -> Vec<Value> {
    let same = |a: &Value, b: &Value| match key {
        Some(key) => a.get(key).is_some() && a.get(key) == b.get(key),
        None => a == b,
    };
    let place = |list: &[Value], value: &Value| list.iter().position(|other| same(other, value));
    let (mut named, mut rest): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|value| place(order, value).is_some());
    named.sort_by_key(|value| place(order, value));
    rest.sort_by_key(|value| place(original, value));
    let mut out = Vec::with_capacity(named.len() + rest.len());
    let (mut left, mut right) = (rest.into_iter().peekable(), named.into_iter().peekable());
    loop {
        let from_left = match (left.peek(), right.peek()) {
            (None, None) => return out,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(l), Some(r)) => matches!((place(original, l), place(original, r)), (Some(l), Some(r)) if l < r),
        };
        out.extend(if from_left { left.next() } else { right.next() });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kubernetes::schema::builtin;

    fn merged(kind: &str, original: &Value, patch: &Value) -> Result<Value, Fault> {
        let of = builtin::schema().kind(kind);
        apply(of, original.as_object().unwrap(), patch.as_object().unwrap()).map(Value::Object)
    }

    #[test]
    fn lists_are_merged_by_their_key() {
        let pod = json!({"spec": {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b", "image": "1"}]}});
        let patch = json!({"spec": {"containers": [{"name": "a", "image": "2", "env": [{"name": "X", "$patch": "delete"}, {"name": "Z", "value": "3"}]}]}});
        let out = merged("v1/Pod", &pod, &patch).unwrap();
        assert_eq!(out["spec"]["containers"][0]["image"], "2");
        assert_eq!(
            out["spec"]["containers"][0]["env"],
            json!([{"name": "Z", "value": "3"}, {"name": "Y", "value": "2"}])
        );
        assert_eq!(out["spec"]["containers"][1]["name"], "b");
    }

    #[test]
    fn directives_delete_replace_retain_and_order() {
        let deployment = json!({"metadata": {"finalizers": ["a/a", "b/b"]},
            "spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
        for (patch, path, expected) in [
            (
                json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}),
                "/spec/strategy",
                json!({"type": "Recreate"}),
            ),
            (
                json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"]}}),
                "/metadata/finalizers",
                json!(["b/b"]),
            ),
            (
                json!({"metadata": {"finalizers": ["c/c"]}}),
                "/metadata/finalizers",
                json!(["c/c", "a/a", "b/b"]),
            ),
            (
                json!({"metadata": {"$setElementOrder/finalizers": ["b/b", "a/a"]}}),
                "/metadata/finalizers",
                json!(["b/b", "a/a"]),
            ),
            (
                json!({"spec": {"$patch": "replace", "paused": true}}),
                "/spec",
                json!({"paused": true}),
            ),
            (json!({"spec": null}), "/spec", Value::Null),
        ] {
            let out = merged("apps/v1/Deployment", &deployment, &patch).unwrap();
            assert_eq!(out.pointer(path).cloned().unwrap_or_default(), expected, "{patch}");
        }
        assert!(merged("apps/v1/Deployment", &deployment, &json!({"$patch": "dance"})).is_err());
        let keyless = json!({"spec": {"template": {"spec": {"containers": [{"image": "x"}]}}}});
        assert!(merged("apps/v1/Deployment", &deployment, &keyless).is_err());
    }
}
