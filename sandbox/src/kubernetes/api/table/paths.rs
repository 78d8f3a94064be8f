//! Tables of custom resources: the columns that their definitions ask for, read by simple JSON paths.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Column, age};

/// The columns; `Name` and `Age` alone if the definition names none.
pub(crate) fn columns(definitions: &[Value]) -> Vec<Column> {
    let name = Column {
        name: "Name".to_owned(),
        kind: "string",
        format: "name",
        priority: 0,
    };
    let mut out = vec![name];
    if definitions.is_empty() {
        out.push(Column {
            name: "Age".to_owned(),
            kind: "date",
            format: "",
            priority: 0,
        });
    }
    for definition in definitions {
        let kind = match definition["type"].as_str() {
            Some("integer") => "integer",
            Some("number") => "number",
            Some("boolean") => "boolean",
            Some("date") => "date",
            _ => "string",
        };
        let priority = u8::from(definition["priority"].as_i64().unwrap_or(0) > 0);
        let name = definition["name"].as_str().unwrap_or_default().to_owned();
        out.push(Column {
            name,
            kind,
            format: "",
            priority,
        });
    }
    out
}

/// The cells of one object.
pub(crate) fn cells(definitions: &[Value], object: &Value, now: Timestamp) -> Vec<Value> {
    let mut out = vec![object["metadata"]["name"].clone()];
    if definitions.is_empty() {
        out.push(object["metadata"]["creationTimestamp"].clone());
    }
    for definition in definitions {
        let found = find(object, definition["jsonPath"].as_str().unwrap_or_default());
        let kind = definition["type"].as_str().unwrap_or("string");
        out.push(match (kind, found.first()) {
            (_, None) => Value::Null,
            ("date", Some(time)) => age(time, now).into(),
            ("string", Some(Value::String(text))) => json!(text),
            ("string", Some(Value::Null)) => Value::Null,
            ("string", Some(_)) if found.len() > 1 => {
                let texts: Vec<String> = found
                    .iter()
                    .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
                    .collect();
                texts.join(",").into()
            }
            ("string", Some(value)) => value.to_string().into(),
            ("integer", Some(value)) if value.is_f64() => json!(value.as_f64().unwrap_or(0.0) as i64),
            (_, Some(value)) => (*value).clone(),
        });
    }
    out
}

/// The values at a path such as `.status.conditions[?(@.type=="Ready")].status` or `.spec.ports[0].port`.
fn find<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut at = vec![object];
    let mut rest = path.trim_matches(|c| c == '{' || c == '}').trim_start_matches('$');
    while !rest.is_empty() && !at.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some(end) = inner.find(']') else { return Vec::new() };
            let selector = &inner[..end];
            rest = &inner[end + 1..];
            at = at.into_iter().flat_map(|value| select(value, selector)).collect();
        } else {
            let trimmed = rest.trim_start_matches('.');
            // A dot in a key is escaped by a backslash.
            let mut end = trimmed.len();
            let bytes = trimmed.as_bytes();
            for (index, byte) in bytes.iter().enumerate() {
                if (*byte == b'.' && (index == 0 || bytes[index - 1] != b'\\')) || *byte == b'[' {
                    end = index;
                    break;
                }
            }
            let key = trimmed[..end].replace("\\.", ".");
            rest = &trimmed[end..];
            if key.is_empty() {
                break;
            }
            at = at.into_iter().filter_map(|value| value.get(&key)).collect();
        }
    }
    at
}

fn select<'a>(value: &'a Value, selector: &str) -> Vec<&'a Value> {
    if selector == "*" {
        return value.as_array().map(|items| items.iter().collect()).unwrap_or_default();
    }
    if let Ok(index) = selector.parse::<usize>() {
        return value.get(index).into_iter().collect();
    }
    if let Some(filter) = selector.strip_prefix("?(@.").and_then(|s| s.strip_suffix(')'))
        && let Some((key, wanted)) = filter.split_once("==")
    {
        let wanted = wanted.trim().trim_matches(['"', '\'']);
        let items = value.as_array().into_iter().flatten();
        return items.filter(|item| item[key.trim()].as_str() == Some(wanted)).collect();
    }
    value.get(selector.trim_matches(['"', '\''])).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_enter_lists_by_index_and_by_condition() {
        let object = json!({"spec": {"a.b": 1, "l": [{"x": 1}, {"x": 2}]},
            "status": {"conditions": [{"type": "A", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        for (path, expected) in [
            (".status.conditions[?(@.type==\"Ready\")].status", vec![json!("True")]),
            (".spec.l[1].x", vec![json!(2)]),
            (".spec.l[*].x", vec![json!(1), json!(2)]),
            (".spec.a\\.b", vec![json!(1)]),
            (".spec.none.deeper", vec![]),
        ] {
            let found: Vec<Value> = find(&object, path).into_iter().cloned().collect();
            assert_eq!(found, expected, "{path}");
        }
    }
}
