//! All errors in the shape of a configuration (unknown fields, values of a wrong type, missing fields), where a YAML
//! parser stops at the first. Each value is parsed on its own, in a configuration that contains nothing else.

use super::Config;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

/// Limit of values to check; a configuration has about fifty.
const MOST: usize = 500;

/// Fields without a default, with valid placeholders.
fn required() -> [(&'static [&'static str], Value); 4] {
    [
        (&["front", "listen"], json!("127.0.0.1:1")),
        (&["front", "backend"], json!("127.0.0.1:2")),
        (&["peers", "key"], json!({"file": "key"})),
        (&["drain", "hook", "command"], json!(["true"])),
    ]
}

/// All errors of shape, and the configuration that can be read without them.
pub(super) fn problems(root: &Value) -> (Vec<String>, Option<Config>) {
    let mut found = Vec::new();
    let mut rest = json!({});
    let mut leaves = Vec::new();
    collect(root, &mut Vec::new(), &mut leaves);
    for (path, value) in leaves {
        let mut alone = json!({});
        put(&mut alone, &path, value.clone());
        stand_in(&mut alone);
        match Config::deserialize(&alone) {
            Ok(_) => put(&mut rest, &path, value.clone()),
            Err(error) => {
                found.push(format!("{}: {error}", path.join(".")));
                // Its field counts as present: it is wrong, not missing.
                if let Some((_, stand)) = required().into_iter().find(|(field, _)| *field == path) {
                    put(&mut rest, &path, stand);
                }
            }
        }
    }
    for path in stand_in(&mut rest) {
        found.push(format!("{} is absent", path.join(".")));
    }
    (found, Config::deserialize(&rest).ok())
}

/// Inserts placeholders for missing fields without a default; returns where.
fn stand_in(root: &mut Value) -> Vec<&'static [&'static str]> {
    let mut absent = Vec::new();
    for (path, value) in required() {
        let parent = path[..path.len() - 1].iter().try_fold(&*root, |at, name| at.get(name));
        if parent.is_some_and(|parent| parent.is_object() && parent.get(path[path.len() - 1]).is_none()) {
            put(root, path, value);
            absent.push(path);
        }
    }
    absent
}

/// All values that are not maps, or are empty ones, by their paths.
fn collect<'v>(at: &'v Value, path: &mut Vec<&'v str>, out: &mut Vec<(Vec<&'v str>, &'v Value)>) {
    match at {
        Value::Object(fields) if !fields.is_empty() || path.is_empty() => {
            for (name, value) in fields {
                path.push(name);
                collect(value, path, out);
                path.pop();
            }
        }
        _ if out.len() < MOST => out.push((path.clone(), at)),
        _ => {}
    }
}

fn put(root: &mut Value, path: &[&str], value: Value) {
    let mut at = root;
    for name in path {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[*name];
    }
    *at = value;
}
