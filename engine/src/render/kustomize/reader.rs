//! Reads the maps of a kustomization into typed values. Names match case-insensitively, values must have the right
//! type, null means absent, and every unknown field is an error with a suggestion. Problems are collected.

use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use crate::tree::Tree;
use crate::yaml::{At, Node, Tag};
use std::collections::BTreeMap;

/// A text and where it stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Located {
    pub(super) text: String,
    pub(super) at: At,
}

/// The place of a position, for diagnostics.
pub(super) fn place(tree: &Tree, at: At) -> FilePlace {
    let positive = |n: u32| (n > 0).then_some(n);
    FilePlace {
        file: tree.file_name(at.file),
        line: positive(at.line),
        column: positive(at.column),
    }
}

pub(super) struct Reader<'a> {
    node: &'a Node,
    tree: &'a Tree,
    problems: &'a mut Diagnostics,
    /// What is being read, for sentences: `a kustomization`.
    what: &'static str,
    known: Vec<&'static str>,
    strictness: Strictness,
}

/// How strict the original reads a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Every field must be known, every text must be one: the kustomization itself.
    Whole,
    /// Every field must be known; a number or boolean is accepted as text: configurations.
    Loose,
    /// The same, but unknown fields are ignored: configurations of plugins.
    Known,
}

impl<'a> Reader<'a> {
    pub(super) fn new(node: &'a Node, tree: &'a Tree, problems: &'a mut Diagnostics, what: &'static str) -> Self {
        let mut reader = Self {
            node,
            tree,
            problems,
            what,
            known: Vec::new(),
            strictness: Strictness::Whole,
        };
        if !node.is_map() && !node.is_null() {
            reader.problem(node.at, format!("{what} must be a map, not {}", node.kind_name()));
        }
        reader
    }

    pub(super) fn problem(&mut self, at: At, summary: impl Into<String>) {
        self.problems.push(Diagnostic::error(summary).at(place(self.tree, at)));
    }

    pub(super) fn problems(&mut self, more: Diagnostics) {
        self.problems.extend(more);
    }

    pub(super) fn diagnostic(&mut self, diagnostic: Diagnostic, at: At) {
        self.problems.push(diagnostic.at(place(self.tree, at)));
    }

    pub(super) fn at(&self) -> At {
        self.node.at
    }

    /// The value of a field, unless it is null.
    pub(super) fn value(&mut self, name: &'static str) -> Option<&'a Node> {
        self.known.push(name);
        let node = self.node;
        let entry = node
            .entry(name)
            .or_else(|| node.entries().iter().find(|e| e.key.eq_ignore_ascii_case(name)));
        entry.map(|e| &e.value).filter(|v| !v.is_null())
    }

    /// Where a field's key stands.
    pub(super) fn key_at(&self, name: &str) -> Option<At> {
        self.node
            .entries()
            .iter()
            .find(|e| e.key.eq_ignore_ascii_case(name))
            .map(|e| e.at)
    }

    /// What the original reads as a text there.
    fn text_of(&self, value: &Node) -> Option<String> {
        match value.as_str() {
            Some(text) => Some(text.to_owned()),
            None if self.strictness == Strictness::Whole => None,
            None => match crate::yaml::to_json(value) {
                Ok(serde_json::Value::Bool(flag)) => Some(flag.to_string()),
                Ok(serde_json::Value::Number(n)) => match n.as_f64() {
                    Some(float) if n.is_f64() => Some(crate::yaml::go_float_g(float)),
                    _ => Some(n.to_string()),
                },
                _ => None,
            },
        }
    }

    fn wrong(&mut self, name: &str, value: &Node, wanted: &str) {
        let mut diagnostic = Diagnostic::error(format!("{name} must be {wanted}, not {}", value.kind_name()));
        if wanted == "a string" && value.as_scalar().is_some() {
            diagnostic = diagnostic.detail(format!("Write it in quotes: \"{}\".", value.text().unwrap_or_default()));
        }
        self.diagnostic(diagnostic, value.at);
    }

    pub(super) fn text(&mut self, name: &'static str) -> String {
        self.located(name).map(|l| l.text).unwrap_or_default()
    }

    /// Refuses a map without the field; null counts as missing.
    pub(super) fn need(&mut self, name: &'static str) {
        if self.value(name).is_none() {
            let at = self.node.at;
            self.problem(at, format!("{} needs {name}", self.what));
        }
    }

    pub(super) fn located(&mut self, name: &'static str) -> Option<Located> {
        let value = self.value(name)?;
        match self.text_of(value) {
            Some(text) => Some(Located { text, at: value.at }),
            None => {
                self.wrong(name, value, "a string");
                None
            }
        }
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let value = self.value(name)?;
        match value.as_scalar() {
            Some(s) if s.tag == Tag::Bool => {
                Some(matches!(crate::yaml::to_json(value), Ok(serde_json::Value::Bool(true))))
            }
            _ => {
                self.wrong(name, value, "true or false");
                None
            }
        }
    }

    pub(super) fn integer(&mut self, name: &'static str) -> Option<i64> {
        let value = self.value(name)?;
        let number = value.as_scalar().filter(|s| matches!(s.tag, Tag::Int | Tag::Float));
        match number.and_then(|_| crate::yaml::to_json(value).ok()?.as_i64()) {
            Some(int) => Some(int),
            None => {
                self.wrong(name, value, "a whole number");
                None
            }
        }
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Vec<Located> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        if !value.is_seq() {
            self.wrong(name, value, "a list of strings");
        }
        let mut all = Vec::new();
        for item in value.items() {
            match self.text_of(item) {
                Some(text) => all.push(Located { text, at: item.at }),
                None if item.is_null() => all.push(Located {
                    text: String::new(),
                    at: item.at,
                }),
                None => self.wrong(name, item, "a string"),
            }
        }
        all
    }

    pub(super) fn map(&mut self, name: &'static str) -> BTreeMap<String, String> {
        let Some(value) = self.value(name) else {
            return BTreeMap::new();
        };
        if !value.is_map() {
            self.wrong(name, value, "a map of strings");
        }
        let mut all = BTreeMap::new();
        for entry in value.entries() {
            match self.text_of(&entry.value) {
                Some(text) => {
                    all.insert(entry.key.to_string(), text);
                }
                None if entry.value.is_null() => {
                    all.insert(entry.key.to_string(), String::new());
                }
                None => self.wrong(name, &entry.value, "a string"),
            }
        }
        all
    }

    pub(super) fn flags(&mut self, name: &'static str) -> BTreeMap<String, bool> {
        let Some(value) = self.value(name) else {
            return BTreeMap::new();
        };
        if !value.is_map() {
            self.wrong(name, value, "a map of true and false");
        }
        let mut all = BTreeMap::new();
        for entry in value.entries() {
            match crate::yaml::to_json(&entry.value) {
                Ok(serde_json::Value::Bool(flag)) => {
                    all.insert(entry.key.to_string(), flag);
                }
                _ => self.wrong(name, &entry.value, "true or false"),
            }
        }
        all
    }

    /// A map with fields of its own.
    pub(super) fn inner<T>(
        &mut self,
        name: &'static str,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> Option<T> {
        let value = self.value(name)?;
        Some(Self::nested(
            value,
            self.tree,
            self.problems,
            what,
            self.strictness,
            read,
        ))
    }

    /// A list of maps with fields of their own.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        what: &'static str,
        mut read: impl FnMut(&mut Reader<'_>) -> T,
    ) -> Vec<T> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        if !value.is_seq() {
            self.wrong(name, value, "a list");
        }
        value
            .items()
            .iter()
            .map(|item| Self::nested(item, self.tree, self.problems, what, self.strictness, &mut read))
            .collect()
    }

    /// Reads all fields of a map and refuses the rest.
    pub(super) fn whole<T>(
        node: &Node,
        tree: &Tree,
        problems: &mut Diagnostics,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> T {
        Self::nested(node, tree, problems, what, Strictness::Whole, read)
    }

    /// Reads all fields of a map and refuses unknown ones; a number or boolean is accepted as text.
    pub(super) fn loose<T>(
        node: &Node,
        tree: &Tree,
        problems: &mut Diagnostics,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> T {
        Self::nested(node, tree, problems, what, Strictness::Loose, read)
    }

    /// Reads the known fields of a map and passes over the rest.
    pub(super) fn known<T>(
        node: &Node,
        tree: &Tree,
        problems: &mut Diagnostics,
        what: &'static str,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> T {
        Self::nested(node, tree, problems, what, Strictness::Known, read)
    }

    fn nested<T>(
        node: &Node,
        tree: &Tree,
        problems: &mut Diagnostics,
        what: &'static str,
        strictness: Strictness,
        read: impl FnOnce(&mut Reader<'_>) -> T,
    ) -> T {
        let mut reader = Reader::new(node, tree, problems, what);
        reader.strictness = strictness;
        let value = read(&mut reader);
        reader.finish();
        value
    }

    fn finish(mut self) {
        for entry in self.node.entries() {
            if self.strictness == Strictness::Known
                || self.known.iter().any(|known| entry.key.eq_ignore_ascii_case(known))
            {
                continue;
            }
            let key = &entry.key;
            let mut diagnostic = Diagnostic::error(format!("{} has no field \"{key}\"", self.what));
            if let Some(near) = nearest(key, &self.known) {
                diagnostic = diagnostic.detail(format!("Did you mean \"{near}\"?"));
            }
            self.diagnostic(diagnostic, entry.at);
        }
    }
}

/// The known name that is closest to a wrong one, if any is close.
fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase();
    let near = known
        .iter()
        .map(|name| (distance(&wrong, &name.to_ascii_lowercase()), *name))
        .min()?;
    (near.0 <= 1 + wrong.len().min(30) / 4).then_some(near.1)
}

/// How many letters must change (Levenshtein), for short words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(40).collect(), b.chars().take(40).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut left = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = left + usize::from(x != y);
            left = row[j + 1];
            row[j + 1] = change.min(left + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
