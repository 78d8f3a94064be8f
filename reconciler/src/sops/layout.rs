//! Finds the encrypted values of a file and puts the decrypted ones in their place. YAML keeps its lines, so that a
//! problem in a manifest is still reported at the right line.

use super::value::{BEGIN, Kind, Value};
use super::{dotenv, ini};
use myelin_engine::tree::Sealed;
use myelin_engine::yaml::{At, Content, Entry, FileId, Limits, Node, Profile, Tag, parse, to_json};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Yaml,
    Json,
    /// Any bytes, in one value of a JSON object.
    Binary,
    /// `NAME=value` lines.
    Dotenv,
    /// Sections of such lines.
    Ini,
}

/// One value of a file, in the file's order.
pub(super) enum Leaf {
    /// An encrypted value, the place that it is bound to, and its position.
    Sealed { place: String, at: At, text: String },
    /// Another one, as the code over the file sees it.
    Plain(Vec<u8>),
}

/// A file's data key, encrypted by a key of AWS KMS. A role or a profile in the file is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SealedByKms {
    pub(super) arn: String,
    /// In base64.
    pub(super) sealed: String,
    /// What the key is bound to.
    pub(super) context: BTreeMap<String, String>,
}

/// What the file says of its keys.
#[derive(Debug, Default)]
pub(super) struct Metadata {
    pub(super) line: u32,
    /// Recipient and the key that is sealed for it.
    pub(super) age: Vec<(String, String)>,
    /// What keys of AWS KMS seal.
    pub(super) kms: Vec<SealedByKms>,
    /// Other kinds of keys.
    pub(super) others: Vec<&'static str>,
    pub(super) needs_several: bool,
    pub(super) mac: String,
    pub(super) last_modified: String,
    pub(super) mac_only_encrypted: bool,
}

/// A file that was read.
pub(super) struct Found {
    layout: Layout,
    documents: Vec<Node>,
    pub(super) leaves: Vec<Leaf>,
    pub(super) metadata: Metadata,
}

/// Kinds of keys that are not opened.
pub(super) const KINDS: [(&str, &str); 5] = [
    ("gcp_kms", "GCP KMS"),
    ("azure_kv", "Azure Key Vault"),
    ("hc_vault", "HashiCorp Vault"),
    ("hckms", "Huawei KMS"),
    ("pgp", "OpenPGP"),
];

impl Layout {
    /// How a file is written, by its name and what is in it; None when SOPS did not write it.
    pub(super) fn of(name: &str, text: &str) -> Option<Self> {
        if !text.contains("ENC[") {
            return None;
        }
        let starts = |what: &str| text.lines().any(|line| line.starts_with(what));
        if starts("sops_mac=") {
            return Some(Self::Dotenv);
        }
        if text.trim_start().starts_with('{') && text.contains("\"sops\"") && text.contains("\"mac\"") {
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
            let bytes_only = object.len() == 2 && object.get("data").is_some_and(serde_json::Value::is_string);
            let is_json = name.ends_with(".json") || name.ends_with(".yaml") || name.ends_with(".yml");
            return object.contains_key("sops").then_some(match bytes_only && !is_json {
                true => Self::Binary,
                false => Self::Json,
            });
        }
        if starts("[sops]")
            && text
                .lines()
                .any(|line| line.starts_with("mac") && line.contains("ENC["))
        {
            return Some(Self::Ini);
        }
        (starts("sops:") && text.contains("mac:")).then_some(Self::Yaml)
    }
}

fn at(line: u32, why: impl Into<String>) -> Sealed {
    Sealed { line, why: why.into() }
}

/// Reads a file.
///
/// # Errors
/// With the line that is not as SOPS writes it.
pub(super) fn read(text: &str, layout: Layout) -> Result<Found, Sealed> {
    let mut found = Found {
        layout,
        documents: Vec::new(),
        leaves: Vec::new(),
        metadata: Metadata::default(),
    };
    if layout == Layout::Dotenv {
        dotenv::read(text, &mut found);
    } else if layout == Layout::Ini {
        ini::read(text, &mut found)?;
    } else {
        // An error of the YAML reader may repeat a value, but none that was decrypted.
        found.documents = parse(text, FileId(0), Profile::Kustomize, Limits::default())
            .map_err(|error| at(error.line, "it is encrypted by sops and is no YAML"))?;
        for document in &found.documents {
            for entry in document.entries() {
                match &*entry.key {
                    "sops" if found.metadata.line == 0 => found.metadata = metadata(entry),
                    "sops" => {}
                    key => leaves(&entry.value, &mut format!("{key}:"), &mut found.leaves),
                }
            }
        }
    }
    if found.metadata.mac.is_empty() || found.metadata.last_modified.is_empty() {
        return Err(at(
            found.metadata.line,
            "its sops section has no mac or no lastmodified",
        ));
    }
    Ok(found)
}

fn metadata(entry: &Entry) -> Metadata {
    let section = &entry.value;
    let text = |node: &Node, name: &str| node.get(name).and_then(Node::text).unwrap_or_default().to_owned();
    let several = |name: &str| section.get(name).map_or(0, |list| list.items().len()) > 1;
    Metadata {
        line: entry.at.line,
        age: section
            .get("age")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .map(|item| (text(item, "recipient"), text(item, "enc")))
            .collect(),
        kms: section
            .get("kms")
            .map(Node::items)
            .unwrap_or_default()
            .iter()
            .map(|item| SealedByKms {
                arn: text(item, "arn"),
                sealed: text(item, "enc"),
                context: item
                    .get("context")
                    .map(Node::entries)
                    .unwrap_or_default()
                    .iter()
                    .map(|entry| (entry.key.to_string(), entry.value.text().unwrap_or_default().to_owned()))
                    .collect(),
            })
            .collect(),
        others: KINDS
            .into_iter()
            .filter(|(name, _)| section.get(name).is_some_and(|list| !list.items().is_empty()))
            .map(|(_, human)| human)
            .collect(),
        needs_several: several("key_groups"),
        mac: text(section, "mac"),
        last_modified: text(section, "lastmodified"),
        mac_only_encrypted: is_true(&text(section, "mac_only_encrypted")),
    }
}

pub(super) fn is_true(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Items of a list are bound to the place of the list.
fn leaves(node: &Node, place: &mut String, out: &mut Vec<Leaf>) {
    match &node.content {
        Content::Map(entries) => {
            for entry in entries {
                let length = place.len();
                place.push_str(&entry.key);
                place.push(':');
                leaves(&entry.value, place, out);
                place.truncate(length);
            }
        }
        Content::Seq(items) => items.iter().for_each(|item| leaves(item, place, out)),
        Content::Scalar(scalar) => match scalar.tag {
            Tag::Null | Tag::Blank => {}
            Tag::Str if scalar.text.starts_with(BEGIN) => out.push(Leaf::Sealed {
                place: place.clone(),
                at: node.at,
                text: scalar.text.to_string(),
            }),
            _ => out.push(Leaf::Plain(as_seen(node, &scalar.text, scalar.tag))),
        },
    }
}

/// A value as the code over the file sees it: numbers as Go prints them, `True` and `False`.
fn as_seen(node: &Node, text: &str, tag: Tag) -> Vec<u8> {
    let value = match tag {
        Tag::Int | Tag::Float | Tag::Bool => to_json(node).ok(),
        _ => None,
    };
    let seen = match value {
        Some(serde_json::Value::Bool(true)) => "True".to_owned(),
        Some(serde_json::Value::Bool(false)) => "False".to_owned(),
        Some(serde_json::Value::Number(number)) => match number.as_f64() {
            // Without an exponent, as few digits as it takes.
            Some(float) if number.is_f64() => format!("{float}"),
            _ => number.to_string(),
        },
        _ => text.to_owned(),
    };
    seen.into_bytes()
}

/// The file with opened values; `values` are those of the sealed leaves, in order.
///
/// # Errors
/// With the line of a value that is not written as SOPS writes it.
pub(super) fn write(text: &str, found: &Found, values: &[Value]) -> Result<Zeroizing<String>, Sealed> {
    match found.layout {
        Layout::Binary => Ok(values
            .first()
            .map_or_else(Zeroizing::default, |value| value.text.clone())),
        Layout::Dotenv => Ok(dotenv::opened(text, values)),
        Layout::Ini => ini::opened(text, values),
        Layout::Json => json(found, values),
        Layout::Yaml => yaml(text, found, values),
    }
}

fn json(found: &Found, values: &[Value]) -> Result<Zeroizing<String>, Sealed> {
    fn fill(node: &mut Node, values: &mut std::slice::Iter<'_, Value>) {
        match &mut node.content {
            Content::Map(entries) => entries.iter_mut().for_each(|entry| fill(&mut entry.value, values)),
            Content::Seq(items) => items.iter_mut().for_each(|item| fill(item, values)),
            Content::Scalar(scalar) if scalar.tag == Tag::Str && scalar.text.starts_with(BEGIN) => {
                if let Some(value) = values.next() {
                    scalar.text = value.text.as_str().into();
                    scalar.tag = match value.kind {
                        Kind::Text => Tag::Str,
                        Kind::Bool => Tag::Bool,
                        Kind::Number if value.text.contains(['.', 'e']) => Tag::Float,
                        Kind::Number => Tag::Int,
                    };
                }
            }
            Content::Scalar(_) => {}
        }
    }
    let broken = |_| at(found.metadata.line, "it is no JSON");
    let mut node = found.documents.first().cloned().unwrap_or_else(Node::map);
    node.remove("sops");
    fill(&mut node, &mut values.iter());
    let value = to_json(&node).map_err(broken)?;
    Ok(Zeroizing::new(value.to_string()))
}

fn yaml(text: &str, found: &Found, values: &[Value]) -> Result<Zeroizing<String>, Sealed> {
    let mut lines: Vec<Zeroizing<String>> = text.lines().map(|line| Zeroizing::new(line.to_owned())).collect();
    let sealed = found.leaves.iter().filter_map(|leaf| match leaf {
        Leaf::Sealed { at, .. } => Some(*at),
        Leaf::Plain(_) => None,
    });
    // From the end, so that what is replaced moves nothing that is still to come.
    let mut places: Vec<(At, &Value)> = sealed.zip(values).collect();
    places.sort_by_key(|(at, _)| std::cmp::Reverse((at.line, at.column)));
    for (place, value) in places {
        let odd = || {
            at(
                place.line,
                "a value is not written on one line as sops writes it; edit the file with sops once",
            )
        };
        let line = (place.line as usize)
            .checked_sub(1)
            .and_then(|i| lines.get_mut(i))
            .ok_or_else(odd)?;
        let column = (place.column as usize).checked_sub(1).ok_or_else(odd)?;
        let start = line
            .char_indices()
            .nth(column)
            .map(|(start, _)| start)
            .ok_or_else(odd)?;
        let rest = &line[start..];
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let inner = quote.map_or(rest, |_| &rest[1..]);
        let end = inner
            .starts_with(BEGIN)
            .then(|| inner.find(']'))
            .flatten()
            .ok_or_else(odd)?;
        let after = &inner[end + 1..];
        let after = match quote {
            Some(quote) => after.strip_prefix(quote).ok_or_else(odd)?,
            None => after,
        };
        let opened = Zeroizing::new(format!("{}{}{after}", &line[..start], written(value).as_str()));
        *line = opened;
    }
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    let mut in_section = false;
    for line in &lines {
        in_section = match in_section {
            true => line.is_empty() || line.starts_with([' ', '\t']),
            false => line.starts_with("sops:"),
        };
        if !in_section {
            out.push_str(line);
        }
        out.push('\n');
    }
    Ok(out)
}

/// A value as YAML, in one line.
fn written(value: &Value) -> Zeroizing<String> {
    if value.kind != Kind::Text {
        return value.text.clone();
    }
    let mut out = Zeroizing::new(String::with_capacity(value.text.len() + 2));
    out.push('"');
    for c in value.text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
