//! Values that came out of sealed files are secret wherever a manifest puts them: the leaf that holds one is treated like one
//! that a write-only variable touched. Data of Secrets is masked anyway and is not looked at.

use super::DesiredObject;
use base64::Engine as _;
use serde_json::Value;

/// Shorter values are in too much: only a leaf that is nothing else is hidden for them.
const SHORT: usize = 4;

/// Marks every leaf with one of the values in it, as it is or as base64.
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
