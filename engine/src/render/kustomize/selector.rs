//! Selections of resources: anchored regular expressions on names, kinds and namespaces, and label selectors on labels and
//! annotations.

use super::id::{Gvk, Id};
use super::reader::Reader;
use super::resource::Resource;
use regex::Regex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Which resources a patch or a replacement is for. Everything that is empty matches.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    pub(super) group: Option<Regex>,
    pub(super) version: Option<Regex>,
    pub(super) kind: Option<Regex>,
    pub(super) name: Option<Regex>,
    pub(super) namespace: Option<Regex>,
    pub(super) labels: Vec<Requirement>,
    pub(super) annotations: Vec<Requirement>,
    /// The same as plain texts: replacements select by these.
    pub(super) exact: Id,
}

impl Selector {
    /// Reads the fields of a selector from those of a map.
    pub(super) fn read(r: &mut Reader<'_>) -> Self {
        let expression = |r: &mut Reader<'_>, field: &'static str, keep: &mut Arc<str>| {
            let text = r.located(field)?;
            *keep = text.text.as_str().into();
            if text.text.is_empty() {
                return None;
            }
            match anchored(&text.text) {
                Ok(regex) => Some(regex),
                Err(e) => {
                    r.problem(text.at, format!("{field} is not a regular expression: {e}"));
                    None
                }
            }
        };
        let mut exact = Id::default();
        let mut selector = Self {
            group: expression(r, "group", &mut exact.gvk.group),
            version: expression(r, "version", &mut exact.gvk.version),
            kind: expression(r, "kind", &mut exact.gvk.kind),
            name: expression(r, "name", &mut exact.name),
            namespace: expression(r, "namespace", &mut exact.namespace),
            ..Self::default()
        };
        selector.exact = exact;
        for (field, into) in [
            ("labelSelector", &mut selector.labels),
            ("annotationSelector", &mut selector.annotations),
        ] {
            if let Some(text) = r.located(field) {
                match requirements(&text.text) {
                    Ok(all) => *into = all,
                    Err(e) => r.problem(text.at, format!("{field}: {e}")),
                }
            }
        }
        selector
    }

    /// Whether only labels and annotations are selected.
    pub(super) fn has_no_id(&self) -> bool {
        self.exact == Id::default()
    }

    fn fits(regex: Option<&Regex>, text: &str) -> bool {
        regex.is_none_or(|r| r.is_match(text))
    }

    pub(super) fn fits_gvk(&self, gvk: &Gvk) -> bool {
        Self::fits(self.group.as_ref(), &gvk.group)
            && Self::fits(self.version.as_ref(), &gvk.version)
            && Self::fits(self.kind.as_ref(), &gvk.kind)
    }

    pub(super) fn fits_texts(&self, resource: &Resource) -> bool {
        (self.labels.is_empty() || fits_all(&self.labels, &resource.texts("labels")))
            && (self.annotations.is_empty() || fits_all(&self.annotations, &resource.texts("annotations")))
    }

    /// Whether a resource is selected, by the name it has or the one it had first.
    pub(super) fn selects(&self, resource: &Resource) -> bool {
        let now = resource.id();
        if !self.fits_gvk(&now.gvk) {
            return false;
        }
        let first = resource.original_id();
        (Self::fits(self.namespace.as_ref(), first.effective_namespace())
            || Self::fits(self.namespace.as_ref(), now.effective_namespace()))
            && (Self::fits(self.name.as_ref(), &first.name) || Self::fits(self.name.as_ref(), &now.name))
            && self.fits_texts(resource)
    }
}

/// An expression that must match the whole text.
pub(super) fn anchored(pattern: &str) -> Result<Regex, String> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(1 << 20)
        .build()
        .map_err(|e| e.to_string().lines().last().unwrap_or_default().trim().to_owned())
}

/// One term of a label selector.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Requirement {
    Exists(String),
    Absent(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Greater(String, i64),
    Less(String, i64),
}

fn fits_all(all: &[Requirement], texts: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
    all.iter().all(|one| match one {
        Requirement::Exists(key) => texts.contains_key(key.as_str()),
        Requirement::Absent(key) => !texts.contains_key(key.as_str()),
        Requirement::In(key, values) => texts
            .get(key.as_str())
            .is_some_and(|v| values.iter().any(|w| **w == **v)),
        Requirement::NotIn(key, values) => !texts
            .get(key.as_str())
            .is_some_and(|v| values.iter().any(|w| **w == **v)),
        Requirement::Greater(key, n) => texts
            .get(key.as_str())
            .is_some_and(|v| v.parse().is_ok_and(|v: i64| v > *n)),
        Requirement::Less(key, n) => texts
            .get(key.as_str())
            .is_some_and(|v| v.parse().is_ok_and(|v: i64| v < *n)),
    })
}

/// Reads `a=b,c!=d,e in (f,g),h,!i`.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = term_end(rest);
        let term = rest[..end].trim();
        rest = rest[end..].strip_prefix(',').unwrap_or("").trim_start();
        if term.is_empty() {
            return Err(format!("\"{text}\" has an empty term"));
        }
        all.push(requirement(term)?);
    }
    Ok(all)
}

/// A comma inside brackets does not end a term.
fn term_end(text: &str) -> usize {
    let mut depth = 0;
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => return i,
            _ => {}
        }
    }
    text.len()
}

fn requirement(term: &str) -> Result<Requirement, String> {
    let clean = |s: &str| s.trim().to_owned();
    let number = |s: &str| {
        s.trim()
            .parse()
            .map_err(|_| format!("\"{term}\" compares with what is no whole number"))
    };
    let found = if let Some(key) = term.strip_prefix('!') {
        Requirement::Absent(clean(key))
    } else if let Some((key, value)) = term.split_once("!=") {
        Requirement::NotIn(clean(key), vec![clean(value)])
    } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        Requirement::In(clean(key), vec![clean(value)])
    } else if let Some((key, value)) = term.split_once('>') {
        Requirement::Greater(clean(key), number(value)?)
    } else if let Some((key, value)) = term.split_once('<') {
        Requirement::Less(clean(key), number(value)?)
    } else if let Some((head, list)) = term.strip_suffix(')').and_then(|t| t.split_once('(')) {
        let values: Vec<String> = list.split(',').map(clean).collect();
        let words: Vec<&str> = head.split_whitespace().collect();
        match words[..] {
            [key, "in"] => Requirement::In(key.to_owned(), values),
            [key, "notin"] => Requirement::NotIn(key.to_owned(), values),
            _ => return Err(format!("\"{term}\" is neither \"key in (..)\" nor \"key notin (..)\"")),
        }
    } else {
        Requirement::Exists(clean(term))
    };
    let (Requirement::Exists(key)
    | Requirement::Absent(key)
    | Requirement::In(key, _)
    | Requirement::NotIn(key, _)
    | Requirement::Greater(key, _)
    | Requirement::Less(key, _)) = &found;
    if !is_key(key) {
        return Err(format!("\"{key}\" is not a label's key"));
    }
    if let Requirement::In(_, values) | Requirement::NotIn(_, values) = &found
        && let Some(wrong) = values.iter().find(|v| !v.is_empty() && !is_name(v))
    {
        return Err(format!("\"{wrong}\" cannot be a label's value"));
    }
    Ok(found)
}

/// A name with or without a domain before it (the rules are those of apimachinery's `validation.IsQualifiedName`).
fn is_key(key: &str) -> bool {
    match key.split_once('/') {
        None => is_name(key),
        Some((domain, name)) => {
            let is_part = |part: &str| {
                let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
                edge(part.chars().next())
                    && edge(part.chars().last())
                    && part
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            };
            is_name(name) && domain.len() <= 253 && domain.split('.').all(is_part)
        }
    }
}

/// At most 63 letters, digits, dashes, underscores and dots, between letters or digits.
fn is_name(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_selectors_read_as_kubectl_reads_them() {
        let texts: BTreeMap<Arc<str>, Arc<str>> = [("a", "1"), ("b", "x")].map(|(k, v)| (k.into(), v.into())).into();
        for (text, want) in [
            ("a=1", Some(true)),
            ("a==1, b!=y", Some(true)),
            ("a in (2, 1),b notin (z)", Some(true)),
            ("!c,a", Some(true)),
            ("a>0,a<2", Some(true)),
            ("c=1", Some(false)),
            ("c!=1", Some(true)),
            ("", Some(true)),
            ("a=1,,b", None),
            ("a b", None),
            ("a=1 2", None),
            ("a=-1", None),
            ("-a=1", None),
            ("!x.io/c", Some(true)),
            ("X.io/c", None),
            ("a in (1,)", Some(true)),
        ] {
            let got = requirements(text).ok().map(|all| fits_all(&all, &texts));
            assert_eq!(got, want, "{text}");
        }
    }
}
