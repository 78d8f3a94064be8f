//! Values from encrypted files are secret wherever a manifest puts them: a leaf that contains one is treated as one
//! that contains a write-only variable. Data of Secrets is masked anyway and not examined.

use super::DesiredObject;
use base64::Engine as _;
use serde_json::Value;

/// Shorter values occur in too many texts: they hide only a leaf that equals them.
const SHORT: usize = 4;

/// Marks every leaf that contains one of the values, in plain form or as base64.
pub(super) fn hide(values: &[String], objects: &mut [DesiredObject]) {
    if values.is_empty() {
        return;
    }
    let encode = |value: &String| base64::engine::general_purpose::STANDARD.encode(value);
    let (short, mut long): (Vec<String>, Vec<String>) = values
        .iter()
        .filter(|value| !value.is_empty())
        .cloned()
        .partition(|value| value.chars().count() < SHORT);
    long.extend(long.iter().map(encode).collect::<Vec<_>>());
    let is_secret =
        |text: &str| short.iter().any(|value| value == text) || long.iter().any(|value| text.contains(value.as_str()));
    for object in objects {
        if object.key.group.is_empty() && object.key.kind == "Secret" {
            continue;
        }
        let mut found = Vec::new();
        walk(&object.value, &mut String::new(), &is_secret, &mut found);
        object.write_only.extend(found);
    }
}

fn walk(value: &Value, path: &mut String, is_secret: &dyn Fn(&str) -> bool, out: &mut Vec<String>) {
    let length = path.len();
    match value {
        Value::String(text) if is_secret(text) => out.push(path.clone()),
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                path.push_str(&format!("/{i}"));
                walk(item, path, is_secret, out);
                path.truncate(length);
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                path.push('/');
                path.push_str(&name.replace('~', "~0").replace('/', "~1"));
                walk(item, path, is_secret, out);
                path.truncate(length);
            }
        }
        _ => {}
    }
}
