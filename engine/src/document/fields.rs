//! A reader of JSON objects that collects every problem with its place instead of stopping at the first.

use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use serde_json::{Map, Value};

/// Finds the place in a file of the field at a path; front ends without files answer `None`.
pub type Places<'a> = &'a dyn Fn(&[String]) -> Option<FilePlace>;

/// One JSON object being read. Fields are taken by name; [`Fields::end`] reports those that were not taken.
pub(super) struct Fields<'a> {
    map: Map<String, Value>,
    path: Vec<String>,
    known: Vec<&'static str>,
    places: Places<'a>,
}

impl<'a> Fields<'a> {
    /// Starts on a value that must be an object; anything else is reported and read as empty.
    pub(super) fn new(value: Value, path: Vec<String>, places: Places<'a>, problems: &mut Diagnostics) -> Self {
        let map = match value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => {
                problems.push(wrong_type(&path, places, "a map", &other));
                Map::new()
            }
        };
        Self {
            map,
            path,
            known: Vec::new(),
            places,
        }
    }

    /// The path of a field of this object.
    pub(super) fn path_of(&self, name: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(name.to_owned());
        path
    }

    /// Reports a problem with a field of this object.
    pub(super) fn problem(&self, name: &str, summary: impl Into<String>, detail: &str, problems: &mut Diagnostics) {
        problems.push(problem(&self.path_of(name), self.places, summary, detail));
    }

    /// Records which fields are read, for the test that compares the schemas with the reader. The first and most
    /// specific note of a field counts.
    #[cfg(test)]
    fn note(&self, name: &str, kind: impl FnOnce() -> String) {
        asked::note(&self.path, name, kind);
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, reason = "of use in tests alone")]
    fn note(&self, _: &str, _: impl FnOnce() -> String) {}

    /// Takes a field; null is absent.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Value> {
        self.note(name, || "anything".to_owned());
        self.known.push(name);
        self.map.remove(name).filter(|v| !v.is_null())
    }

    /// Takes a text.
    pub(super) fn text(&mut self, name: &'static str, problems: &mut Diagnostics) -> Option<String> {
        self.note(name, || "text".to_owned());
        match self.take(name)? {
            Value::String(text) => Some(text),
            other => {
                problems.push(wrong_type(&self.path_of(name), self.places, "a text", &other));
                None
            }
        }
    }

    /// Takes a text that must be there.
    pub(super) fn required(&mut self, name: &'static str, fix: &str, problems: &mut Diagnostics) -> String {
        let before = problems.0.len();
        let text = self.text(name, problems).filter(|t| !t.is_empty());
        if text.is_none() && problems.0.len() == before {
            let at = (self.places)(&self.path_of(name)).or_else(|| (self.places)(&self.path));
            problems.push(
                Diagnostic::error(format!("{} is missing", self.path_of(name).join(".")))
                    .detail(fix)
                    .attribute(self.path_of(name))
                    .at_opt(at),
            );
        }
        text.unwrap_or_default()
    }

    /// Takes a boolean.
    pub(super) fn boolean(&mut self, name: &'static str, problems: &mut Diagnostics) -> Option<bool> {
        self.note(name, || "flag".to_owned());
        match self.take(name)? {
            Value::Bool(b) => Some(b),
            other => {
                problems.push(wrong_type(&self.path_of(name), self.places, "true or false", &other));
                None
            }
        }
    }

    /// Takes one of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        name: &'static str,
        words: &[(&str, T)],
        problems: &mut Diagnostics,
    ) -> Option<T> {
        self.note(name, || {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            format!("one of {}", words.join(" "))
        });
        let text = self.text(name, problems)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let all: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let summary = format!("{} cannot be \"{text}\"", self.path_of(name).join("."));
            self.problem(name, summary, &format!("write one of: {}", all.join(", ")), problems);
        }
        found
    }

    /// Takes a duration such as `15m`.
    pub(super) fn duration(&mut self, name: &'static str, problems: &mut Diagnostics) -> Option<std::time::Duration> {
        self.note(name, || "duration".to_owned());
        let text = self.text(name, problems)?;
        match super::parse_duration(&text) {
            Ok(duration) if duration.is_zero() => {
                self.problem(
                    name,
                    format!("{} is zero", self.path_of(name).join(".")),
                    "write for example 15m",
                    problems,
                );
                None
            }
            Ok(duration) => Some(duration),
            Err(why) => {
                self.problem(name, format!("{}: {why}", self.path_of(name).join(".")), "", problems);
                None
            }
        }
    }

    /// Takes a whole number within bounds.
    pub(super) fn integer(
        &mut self,
        name: &'static str,
        bounds: std::ops::RangeInclusive<i64>,
        problems: &mut Diagnostics,
    ) -> Option<i64> {
        self.note(name, || format!("{} to {}", bounds.start(), bounds.end()));
        let value = self.take(name)?;
        let Some(number) = value.as_i64() else {
            problems.push(wrong_type(&self.path_of(name), self.places, "a whole number", &value));
            return None;
        };
        if bounds.contains(&number) {
            return Some(number);
        }
        let summary = format!("{} cannot be {number}", self.path_of(name).join("."));
        self.problem(
            name,
            summary,
            &format!("write {} to {}", bounds.start(), bounds.end()),
            problems,
        );
        None
    }

    /// Takes a map to be read field by field; absent is empty.
    pub(super) fn nested(&mut self, name: &'static str, problems: &mut Diagnostics) -> Fields<'a> {
        let value = self.take(name).unwrap_or_default();
        self.sub(name, value, problems)
    }

    /// Starts on the value of a field that was taken.
    pub(super) fn sub(&self, name: &str, value: Value, problems: &mut Diagnostics) -> Fields<'a> {
        Fields::new(value, self.path_of(name), self.places, problems)
    }

    /// Starts on a value below this object, as [`Fields::entries`] and [`Fields::list`] give it.
    pub(super) fn at(&self, path: Vec<String>, value: Value, problems: &mut Diagnostics) -> Fields<'a> {
        Fields::new(value, path, self.places, problems)
    }

    /// Takes a list; each item with its path.
    pub(super) fn list(&mut self, name: &'static str, problems: &mut Diagnostics) -> Vec<(Value, Vec<String>)> {
        self.note(name, || "list".to_owned());
        match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .into_iter()
                .enumerate()
                .map(|(i, item)| {
                    let mut path = self.path_of(name);
                    path.push(i.to_string());
                    (item, path)
                })
                .collect(),
            Some(other) => {
                problems.push(wrong_type(&self.path_of(name), self.places, "a list", &other));
                Vec::new()
            }
        }
    }

    /// Takes a list of texts.
    pub(super) fn texts(&mut self, name: &'static str, problems: &mut Diagnostics) -> Vec<String> {
        self.note(name, || "texts".to_owned());
        let places = self.places;
        self.list(name, problems)
            .into_iter()
            .filter_map(|(item, path)| match item {
                Value::String(text) => Some(text),
                other => {
                    problems.push(wrong_type(&path, places, "a text", &other));
                    None
                }
            })
            .collect()
    }

    /// Takes a map; each value with its path, in the order of the keys.
    pub(super) fn entries(
        &mut self,
        name: &'static str,
        problems: &mut Diagnostics,
    ) -> Vec<(String, Value, Vec<String>)> {
        self.note(name, || "entries".to_owned());
        match self.take(name) {
            None => Vec::new(),
            Some(Value::Object(map)) => map
                .into_iter()
                .map(|(key, value)| {
                    let mut path = self.path_of(name);
                    path.push(key.clone());
                    (key, value, path)
                })
                .collect(),
            Some(other) => {
                problems.push(wrong_type(&self.path_of(name), self.places, "a map", &other));
                Vec::new()
            }
        }
    }

    /// Takes a map of texts. Numbers and booleans are refused: `1.10` would silently become `1.1`.
    pub(super) fn text_map(&mut self, name: &'static str, problems: &mut Diagnostics) -> Vec<(String, String)> {
        self.note(name, || "map of texts".to_owned());
        let places = self.places;
        self.entries(name, problems)
            .into_iter()
            .filter_map(|(key, value, path)| match value {
                Value::String(text) => Some((key, text)),
                other => {
                    problems.push(
                        wrong_type(&path, places, "a text", &other)
                            .detail("put the value in quotes so that it stays as written"),
                    );
                    None
                }
            })
            .collect()
    }

    /// Reports every field that was not taken, with the nearest known name.
    pub(super) fn end(self, problems: &mut Diagnostics) {
        for name in self.map.keys() {
            let path = self.path_of(name);
            let nearest = self.known.iter().map(|k| (distance(name, k), *k)).min();
            let hint = match nearest {
                Some((d, near)) if d <= 1 + near.len() / 4 => format!("did you mean {near}?"),
                _ => format!("known fields: {}", self.known.join(", ")),
            };
            problems.push(problem(
                &path,
                self.places,
                format!("{} is not a field", path.join(".")),
                &hint,
            ));
        }
    }
}

/// A problem at a path.
pub(super) fn problem(path: &[String], places: Places<'_>, summary: impl Into<String>, detail: &str) -> Diagnostic {
    Diagnostic::error(summary)
        .detail(detail)
        .attribute(path.iter().cloned())
        .at_opt(places(path))
}

/// "must be … , not …" at a path.
pub(super) fn wrong_type(path: &[String], places: Places<'_>, wanted: &str, got: &Value) -> Diagnostic {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    };
    let name = if path.is_empty() {
        "the document".into()
    } else {
        path.join(".")
    };
    problem(path, places, format!("{name} must be {wanted}, not {got}"), "")
}

/// Edit distance, for "did you mean".
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate().take(64) {
        let mut last = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let same = last + usize::from(!ca.eq_ignore_ascii_case(cb));
            last = row[j + 1];
            row[j + 1] = same.min(row[j] + 1).min(last + 1);
        }
    }
    row[b.len()]
}

/// Which fields the reader has read, on this thread.
#[cfg(test)]
pub(super) mod asked {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static ASKED: RefCell<Option<BTreeMap<String, String>>> = const { RefCell::new(None) };
    }

    /// Starts recording.
    pub(in crate::document) fn begin() {
        ASKED.with_borrow_mut(|asked| *asked = Some(BTreeMap::new()));
    }

    /// The recorded fields: the kind of each by path, with `*` for positions.
    pub(in crate::document) fn end() -> BTreeMap<String, String> {
        ASKED.take().unwrap_or_default()
    }

    pub(super) fn note(path: &[String], name: &str, kind: impl FnOnce() -> String) {
        ASKED.with_borrow_mut(|asked| {
            let Some(asked) = asked else { return };
            let mut at = String::new();
            for part in path.iter().map(String::as_str).chain([name]) {
                at.push('.');
                at.push_str(if part.bytes().all(|b| b.is_ascii_digit()) {
                    "*"
                } else {
                    part
                });
            }
            asked.entry(at).or_insert_with(kind);
        });
    }
}
