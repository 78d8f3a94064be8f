//! JSON patch (RFC 6902), with the server's deviations: replacing a map key that is not there adds it.

use serde_json::Value;

/// More operations than this in one patch are refused.
pub(super) const OPERATIONS: usize = 10_000;

/// An operation that cannot be done; the server does not say which.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Impossible;

/// Do the operations in their order.
pub(super) fn apply(target: &mut Value, operations: &[Value]) -> Result<(), Impossible> {
    for operation in operations {
        let path = parts(operation["path"].as_str().ok_or(Impossible)?)?;
        let value = || operation.get("value").cloned().ok_or(Impossible);
        match operation["op"].as_str() {
            Some("add") => add(target, &path, value()?)?,
            Some("replace") => replace(target, &path, value()?)?,
            Some("remove") => {
                remove(target, &path)?;
            }
            Some("test") => {
                let wanted = operation.get("value").unwrap_or(&Value::Null);
                if find(target, &path).unwrap_or(&Value::Null) != wanted {
                    return Err(Impossible);
                }
            }
            Some("copy") => {
                let from = parts(operation["from"].as_str().ok_or(Impossible)?)?;
                let found = find(target, &from).ok_or(Impossible)?.clone();
                add(target, &path, found)?;
            }
            Some("move") => {
                let from = parts(operation["from"].as_str().ok_or(Impossible)?)?;
                let found = remove(target, &from)?;
                add(target, &path, found)?;
            }
            _ => return Err(Impossible),
        }
    }
    Ok(())
}

fn parts(pointer: &str) -> Result<Vec<String>, Impossible> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let rest = pointer.strip_prefix('/').ok_or(Impossible)?;
    Ok(rest
        .split('/')
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect())
}

/// The place of an item: negative numbers count from the end.
fn index(text: &str, length: usize) -> Option<usize> {
    match text.strip_prefix('-') {
        Some(back) => length.checked_sub(back.parse().ok()?),
        None => text.parse().ok(),
    }
}

fn find<'a>(target: &'a Value, path: &[String]) -> Option<&'a Value> {
    path.iter().try_fold(target, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(items) => items.get(index(part, items.len())?),
        _ => None,
    })
}

fn parent<'a, 'p>(target: &'a mut Value, path: &'p [String]) -> Result<(&'a mut Value, &'p str), Impossible> {
    let (last, above) = path.split_last().ok_or(Impossible)?;
    let mut at = target;
    for part in above {
        at = match at {
            Value::Object(map) => map.get_mut(part).ok_or(Impossible)?,
            Value::Array(items) => {
                let length = items.len();
                index(part, length).and_then(|at| items.get_mut(at)).ok_or(Impossible)?
            }
            _ => return Err(Impossible),
        };
    }
    Ok((at, last))
}

fn add(target: &mut Value, path: &[String], value: Value) -> Result<(), Impossible> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path)? {
        (Value::Object(map), last) => {
            map.insert(last.to_owned(), value);
        }
        (Value::Array(items), "-") => items.push(value),
        (Value::Array(items), last) => {
            let at = index(last, items.len())
                .filter(|at| *at <= items.len())
                .ok_or(Impossible)?;
            items.insert(at, value);
        }
        _ => return Err(Impossible),
    }
    Ok(())
}

fn replace(target: &mut Value, path: &[String], value: Value) -> Result<(), Impossible> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    match parent(target, path)? {
        (Value::Object(map), last) => {
            map.insert(last.to_owned(), value);
        }
        (Value::Array(items), last) => {
            let at = index(last, items.len()).ok_or(Impossible)?;
            *items.get_mut(at).ok_or(Impossible)? = value;
        }
        _ => return Err(Impossible),
    }
    Ok(())
}

fn remove(target: &mut Value, path: &[String]) -> Result<Value, Impossible> {
    match parent(target, path)? {
        (Value::Object(map), last) => map.remove(last).ok_or(Impossible),
        (Value::Array(items), last) => {
            let at = index(last, items.len())
                .filter(|at| *at < items.len())
                .ok_or(Impossible)?;
            Ok(items.remove(at))
        }
        _ => Err(Impossible),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operations_do_what_the_standard_and_the_server_say() {
        let start = json!({"a": {"b": 1}, "l": [1, 2]});
        for (operations, expected) in [
            (
                json!([{"op": "add", "path": "/l/-", "value": 3}]),
                Some(json!({"a": {"b": 1}, "l": [1, 2, 3]})),
            ),
            (
                json!([{"op": "add", "path": "/l/0", "value": 0}]),
                Some(json!({"a": {"b": 1}, "l": [0, 1, 2]})),
            ),
            (
                json!([{"op": "replace", "path": "/a/none", "value": 2}]),
                Some(json!({"a": {"b": 1, "none": 2}, "l": [1, 2]})),
            ),
            (
                json!([{"op": "move", "from": "/a/b", "path": "/c"}]),
                Some(json!({"a": {}, "c": 1, "l": [1, 2]})),
            ),
            (json!([{"op": "test", "path": "/a/b", "value": 2}]), None),
            (json!([{"op": "remove", "path": "/a/none"}]), None),
            (json!([{"op": "remove", "path": "/l/2"}]), None),
            (json!([{"op": "add", "path": "/x/y", "value": 1}]), None),
            (json!([{"op": "frobnicate", "path": "/a"}]), None),
            (json!([{"op": "add", "path": "a", "value": 1}]), None),
            (json!([{"op": "add", "path": "/l/99", "value": 1}]), None),
        ] {
            let mut value = start.clone();
            let outcome = apply(&mut value, operations.as_array().unwrap());
            assert_eq!(outcome.ok().map(|()| value), expected, "{operations}");
        }
    }
}
