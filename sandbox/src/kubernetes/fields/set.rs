//! Sets of field paths, in the form of `fieldsV1`.
//!
//! An element of a path is kept as the text that `fieldsV1` writes for it: `f:name` for a field, `k:{"name":"a"}` for a list
//! item with keys, `v:"a"` for a set's item, `i:0` for an index. A path may be in the set itself, and may have paths below it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A set of field paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    member: bool,
    below: FieldSet,
}

/// The deepest path that is read: deeper ones are no objects of this API.
const DEPTH: usize = 100;

impl FieldSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Read `fieldsV1`. What is malformed is left out.
    pub fn from_json(value: &Value) -> Self {
        Self::read(value, DEPTH)
    }

    fn read(value: &Value, depth: usize) -> Self {
        let mut set = Self::new();
        let Some(map) = value.as_object().filter(|_| depth > 0) else {
            return set;
        };
        for (element, inner) in map.iter().filter(|(element, _)| *element != ".") {
            let below = Self::read(inner, depth - 1);
            let member = inner
                .as_object()
                .is_none_or(|inner| inner.is_empty() || inner.contains_key("."));
            set.entries.insert(canonical(element), Entry { member, below });
        }
        set
    }

    /// Write `fieldsV1`.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        for (element, entry) in &self.entries {
            let mut inner = match entry.below.to_json() {
                Value::Object(map) => map,
                _ => Map::new(),
            };
            if entry.member && !inner.is_empty() {
                inner.insert(".".to_owned(), Value::Object(Map::new()));
            }
            if entry.member || !inner.is_empty() {
                out.insert(element.clone(), Value::Object(inner));
            }
        }
        Value::Object(out)
    }

    /// Whether no path is in it.
    pub fn is_empty(&self) -> bool {
        self.entries
            .values()
            .all(|entry| !entry.member && entry.below.is_empty())
    }

    /// Put a path into it.
    pub fn insert(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let entry = self.entries.entry(first.clone()).or_default();
        if rest.is_empty() {
            entry.member = true;
        } else {
            entry.below.insert(rest);
        }
    }

    /// Put a single element into it.
    pub(super) fn insert_one(&mut self, element: &str) {
        self.entries.entry(element.to_owned()).or_default().member = true;
    }

    /// Put what is below an element into it.
    pub(super) fn insert_below(&mut self, element: &str, below: Self) {
        if below.entries.is_empty() {
            return;
        }
        let entry = self.entries.entry(element.to_owned()).or_default();
        entry.below = std::mem::take(&mut entry.below).union(below);
    }

    /// Whether a single element is in it.
    pub(super) fn has(&self, element: &str) -> bool {
        self.entries.get(element).is_some_and(|entry| entry.member)
    }

    /// What is below an element.
    pub(super) fn below(&self, element: &str) -> Option<&Self> {
        self.entries
            .get(element)
            .map(|entry| &entry.below)
            .filter(|below| !below.is_empty())
    }

    /// Paths that are in either.
    #[must_use]
    pub fn union(mut self, other: Self) -> Self {
        for (element, theirs) in other.entries {
            match self.entries.get_mut(&element) {
                None => {
                    self.entries.insert(element, theirs);
                }
                Some(mine) => {
                    mine.member |= theirs.member;
                    mine.below = std::mem::take(&mut mine.below).union(theirs.below);
                }
            }
        }
        self
    }

    /// Paths that are in both.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let mut out = Self::new();
        for (element, mine) in &self.entries {
            if let Some(theirs) = other.entries.get(element) {
                let entry = Entry {
                    member: mine.member && theirs.member,
                    below: mine.below.intersection(&theirs.below),
                };
                if entry.member || !entry.below.is_empty() {
                    out.entries.insert(element.clone(), entry);
                }
            }
        }
        out
    }

    /// Paths in this set and not in the other; paths below a removed path stay.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut out = Self::new();
        for (element, mine) in &self.entries {
            let entry = match other.entries.get(element) {
                None => mine.clone(),
                Some(theirs) => Entry {
                    member: mine.member && !theirs.member,
                    below: mine.below.difference(&theirs.below),
                },
            };
            if entry.member || !entry.below.is_empty() {
                out.entries.insert(element.clone(), entry);
            }
        }
        out
    }

    /// This without a path and all below it.
    pub fn prune(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        if rest.is_empty() {
            self.entries.remove(*first);
        } else if let Some(entry) = self.entries.get_mut(*first) {
            entry.below.prune(rest);
        }
    }

    /// Of this only what is at or below a first element.
    pub fn keep_only(&mut self, first: &str) {
        self.entries.retain(|element, _| element == first);
    }

    /// Take a single path out; what is below it stays.
    pub fn remove_exact(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        if let Some(entry) = self.entries.get_mut(*first) {
            if rest.is_empty() {
                entry.member = false;
            } else {
                entry.below.remove_exact(rest);
            }
        }
    }

    /// The entries: element, whether it is in the set, what is below.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, bool, &Self)> {
        self.entries
            .iter()
            .map(|(element, entry)| (element.as_str(), entry.member, &entry.below))
    }

    /// All paths, as the API's messages write them: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect_paths("", &mut out);
        out
    }

    fn collect_paths(&self, prefix: &str, out: &mut Vec<String>) {
        for (element, entry) in &self.entries {
            let path = format!("{prefix}{}", shown(element));
            if entry.member {
                out.push(path.clone());
            }
            entry.below.collect_paths(&path, out);
        }
    }
}

/// The element of a field.
pub(super) fn field(name: &str) -> String {
    format!("f:{name}")
}

/// The element of a list item with keys. `pairs` may be in any order.
pub(super) fn keyed(pairs: &[(&str, &Value)]) -> String {
    let map: BTreeMap<&str, &Value> = pairs.iter().copied().collect();
    let inner: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{}:{value}", Value::from(*key)))
        .collect();
    format!("k:{{{}}}", inner.join(","))
}

/// The element of a set's item.
pub(super) fn valued(value: &Value) -> String {
    format!("v:{value}")
}

/// An element in the one form in which this program writes it.
fn canonical(element: &str) -> String {
    match element.split_once(':') {
        Some((kind @ ("k" | "v"), text)) => match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(map)) if kind == "k" => {
                let pairs: Vec<(&str, &Value)> = map.iter().map(|(key, value)| (key.as_str(), value)).collect();
                keyed(&pairs)
            }
            Ok(value) => format!("{kind}:{value}"),
            Err(_) => element.to_owned(),
        },
        _ => element.to_owned(),
    }
}

fn shown(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("k", text)) => match serde_json::from_str::<BTreeMap<String, Value>>(text) {
            Ok(map) => {
                let pairs: Vec<String> = map.iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("[{}]", pairs.join(","))
            }
            Err(_) => format!("[{text}]"),
        },
        Some(("v", text)) => format!("[={text}]"),
        Some(("i", text)) => format!("[{text}]"),
        _ => element.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_are_written_as_they_were_read() {
        let text = json!({"f:spec": {"f:ports": {".": {}, "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}}},
            "f:list": {"v:\"a\"": {}}, "f:x": {}}});
        assert_eq!(FieldSet::from_json(&text).to_json(), text);
        let shuffled = json!({"k:{\"protocol\":\"TCP\",\"port\":80}": {}});
        assert_eq!(
            FieldSet::from_json(&shuffled).to_json(),
            json!({"k:{\"port\":80,\"protocol\":\"TCP\"}": {}})
        );
    }

    #[test]
    fn set_algebra_is_exact_about_paths() {
        let a = FieldSet::from_json(&json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}}));
        let b = FieldSet::from_json(&json!({"f:a": {}, "f:d": {}}));
        assert_eq!(a.difference(&b).to_json(), json!({"f:a": {"f:b": {}}, "f:c": {}}));
        assert_eq!(a.intersection(&b).to_json(), json!({"f:a": {}}));
        assert_eq!(
            a.clone().union(b).to_json(),
            json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}, "f:d": {}})
        );
        assert!(a.difference(&a).is_empty());
    }

    #[test]
    fn paths_are_shown_as_messages_write_them() {
        let set = FieldSet::from_json(&json!({"f:c": {"k:{\"name\":\"a\"}": {"f:image": {}}}, "f:f": {"v:\"x\"": {}}}));
        assert_eq!(set.paths(), [".c[name=\"a\"].image", ".f[=\"x\"]"]);
    }
}
