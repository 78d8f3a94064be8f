//! A recorded case: its input and its result.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// Where the recordings are, if they are here.
pub(crate) fn folder() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?.parent()?;
    let candidates = [root.join("shared"), root.parent()?.join("shared")];
    candidates
        .into_iter()
        .map(|shared| shared.join("kubernetes-api/timelines"))
        .find(|folder| folder.is_dir())
}

/// The header of a case file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Header {
    pub deadline: f64,
    pub settle: f64,
    pub until: Vec<String>,
    pub steps: Vec<Value>,
    pub watch: Vec<String>,
    pub namespace_labels: serde_json::Map<String, Value>,
    pub wait_for_defaults: bool,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            deadline: 60.0,
            settle: 2.0,
            until: Vec::new(),
            steps: Vec::new(),
            watch: Vec::new(),
            namespace_labels: serde_json::Map::new(),
            wait_for_defaults: true,
        }
    }
}

/// A recording with the case that it was made from.
#[derive(Debug)]
pub(crate) struct Case {
    pub name: String,
    pub header: Header,
    pub recording: Value,
}

impl Case {
    pub(crate) fn read(folder: &Path, name: &str) -> Self {
        let text = std::fs::read_to_string(folder.join(format!("cases/{name}.yaml"))).unwrap();
        let header = text.split("\n---\n").next().unwrap();
        let header: Value = serde_saphyr::from_str(header).unwrap_or_else(|error| panic!("{name}: {error}"));
        let header: Header = serde_json::from_value(header).unwrap_or_else(|error| panic!("{name}: {error}"));
        let recording = std::fs::read_to_string(folder.join(format!("{name}.json"))).unwrap();
        Self {
            name: name.to_owned(),
            header,
            recording: serde_json::from_str(&recording).unwrap(),
        }
    }
}

/// All cases, by name.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok());
    let mut names: Vec<String> = files
        .filter_map(|file| file.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// The value at a path such as `status.conditions[type=Ready].status`.
fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = value;
    for key in path.replace(']', "").split(['.', '[']).filter(|key| !key.is_empty()) {
        value = match (value, key.split_once('=')) {
            (Value::Array(list), Some((name, wanted))) => list.iter().find(|item| item[name] == wanted)?,
            (Value::Array(list), None) => list.get(key.parse::<usize>().ok()?)?,
            (other, _) => other.get(key)?,
        };
    }
    (!value.is_null()).then_some(value)
}

fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text
            .strip_prefix(head)
            .is_some_and(|rest| (0..=rest.len()).any(|i| rest.is_char_boundary(i) && glob(tail, &rest[i..]))),
    }
}

/// Whether an object that is there fits a condition of the recorder's language.
pub(crate) fn holds<'a>(condition: &str, live: impl Iterator<Item = (&'a str, &'a Value)>) -> bool {
    let (target, rest) = condition.split_once(' ').unwrap();
    let (kind, pattern) = target.split_once('/').unwrap();
    let found: Vec<&Value> = live
        .filter(|(k, object)| *k == kind && glob(pattern, object["metadata"]["name"].as_str().unwrap_or_default()))
        .map(|(_, object)| object)
        .collect();
    match rest {
        "gone" => return found.is_empty(),
        "present" => return !found.is_empty(),
        _ => {}
    }
    let (operator, at) = ["==", "!=", ">=", "<=", "contains"]
        .into_iter()
        .filter_map(|op| Some((op, rest.find(&format!(" {op} "))?)))
        .min_by_key(|(_, at)| *at)
        .unwrap();
    let (path, wanted) = (&rest[..at], rest[at + operator.len() + 2..].trim());
    let scalar: Value = match wanted {
        "null" => Value::Null,
        text if text.starts_with('"') => Value::String(text.trim_matches('"').to_owned()),
        text => serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned())),
    };
    let count = Value::from(found.len());
    let values: Vec<Option<&Value>> = if path == "count" {
        vec![Some(&count)]
    } else {
        found.iter().map(|object| lookup(object, path)).collect()
    };
    values.into_iter().any(|value| {
        let number = || value.and_then(Value::as_i64).unwrap_or(0);
        match operator {
            "==" => value.unwrap_or(&Value::Null) == &scalar,
            "!=" => value.unwrap_or(&Value::Null) != &scalar,
            ">=" => number() >= scalar.as_i64().unwrap(),
            "<=" => number() <= scalar.as_i64().unwrap(),
            _ => value.is_some_and(|value| {
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned)
                    .contains(wanted)
            }),
        }
    })
}

/// The name pattern of a step's target.
pub(crate) fn target_fits(pattern: &str, name: &str) -> bool {
    glob(pattern, name)
}
