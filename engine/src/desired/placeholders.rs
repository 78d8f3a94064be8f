//! Refuses placeholders that were never replaced (`CHANGEME_DB_PASSWORD`), before anything is planned.
//!
//! Prose that mentions them (`CHANGEME_*`) does not count. Whether a value is any good is not checked.

use super::DesiredObject;
use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use base64::Engine as _;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// The annotation (value `allowed`) of an object that may hold placeholders.
const ALLOW: &str = "myelin.dev/placeholders";

fn pattern() -> &'static Regex {
    static PATTERN: OnceLock<Regex> = OnceLock::new();
    PATTERN.get_or_init(|| Regex::new(r"\bCHANGEME_[A-Z0-9][A-Z0-9_]*").expect("a constant that the tests compile"))
}

/// Reports every placeholder once for each object that holds it, at its line where the file shows it.
pub(super) fn refuse(objects: &[DesiredObject], text: &dyn Fn(&str) -> Option<String>, problems: &mut Diagnostics) {
    for object in objects {
        let annotation = object
            .value
            .pointer("/metadata/annotations")
            .and_then(|a| a.get(ALLOW))
            .and_then(Value::as_str);
        if annotation == Some("allowed") {
            continue;
        }
        let mut found = BTreeMap::new();
        search(&object.value, &object.key.kind, "", &mut found);
        for (placeholder, path) in found {
            let place = text(&object.origin.file)
                .and_then(|text| line_of(&text, &placeholder, object.origin.line))
                .map_or_else(
                    || object.origin.clone(),
                    |line| FilePlace::line(object.origin.file.clone(), line),
                );
            problems.push(
                Diagnostic::error(format!("{} still holds the placeholder {placeholder}", object.key.human()))
                    .detail(format!(
                        "at {path}. Put the real value there, or a variable (${{NAME}}) that substitute or substitute_wo sets; the \
                         annotation {ALLOW}: allowed keeps it"
                    ))
                    .at(place)
                    .object(object.key.clone()),
            );
        }
    }
}

/// Placeholders below a value, each with the first path that leads to it.
fn search(value: &Value, kind: &str, path: &str, found: &mut BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            let decoded = (kind == "Secret" && path.starts_with("data."))
                .then(|| base64::prelude::BASE64_STANDARD.decode(text).ok())
                .flatten()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            for text in [Some(text), decoded.as_ref()].into_iter().flatten() {
                for hit in pattern().find_iter(text) {
                    found.entry(hit.as_str().to_owned()).or_insert_with(|| path.to_owned());
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                search(item, kind, &format!("{path}[{i}]"), found);
            }
        }
        Value::Object(map) => {
            for (name, item) in map {
                let below = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                search(item, kind, &below, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The first line from `start` on that holds a text; None when none does (a generated or encoded value).
fn line_of(text: &str, wanted: &str, start: Option<u32>) -> Option<u32> {
    let start = start.unwrap_or(1);
    (1_u32..)
        .zip(text.lines())
        .find(|(number, line)| *number >= start && line.contains(wanted))
        .map(|(number, _)| number)
}
