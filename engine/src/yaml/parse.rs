//! Text to nodes: drives the parser's events, types the scalars by [`Profile`], expands aliases and merge keys, refuses
//! duplicate keys, and keeps every input inside its [`Limits`].

use super::YamlError;
use super::node::{At, Content, Entry, FileId, Node, Scalar, Tag};
use super::resolve::{Profile, tag_of, yaml11_bool};
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What one text may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of the text, in bytes.
    pub bytes: usize,
    /// Nodes of all documents, after aliases are expanded.
    pub nodes: usize,
    /// Nesting of maps and lists.
    pub depth: usize,
    /// Documents.
    pub documents: usize,
}

impl Default for Limits {
    /// 16 MiB, a million nodes, 128 levels, 50,000 documents.
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            nodes: 1_000_000,
            depth: 128,
            documents: 50_000,
        }
    }
}

/// Reads every document of a text. Documents without content are left out.
///
/// # Errors
/// The first thing that is wrong, with its position.
pub fn parse(text: &str, file: FileId, profile: Profile, limits: Limits) -> Result<Vec<Node>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > limits.bytes {
        let message = format!(
            "the text has {} bytes, more than the limit of {}",
            text.len(),
            limits.bytes
        );
        return Err(YamlError::new(At::default(), message));
    }
    if let Some(at) = forbidden_character(text) {
        return Err(YamlError::new(
            at,
            "control characters are not allowed in YAML; write them escaped in double quotes",
        ));
    }
    let mut reader = Reader {
        file,
        profile,
        limits,
        documents: Vec::new(),
        open: Vec::new(),
        anchors: HashMap::new(),
        nodes: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| {
            let at = At {
                file,
                line: small(e.marker().line()),
                column: small(e.marker().col() + 1),
            };
            YamlError::new(at, format!("not valid YAML: {}", e.info()))
        })?;
        reader.event(event, span)?;
    }
    Ok(reader.documents)
}

/// Reads a text that must hold exactly one document.
///
/// # Errors
/// As [`parse`], and when there is none or a second one.
pub fn parse_one(text: &str, file: FileId, profile: Profile, limits: Limits) -> Result<Node, YamlError> {
    let mut documents = parse(text, file, profile, limits)?.into_iter();
    match (documents.next(), documents.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(YamlError::new(At::default(), "the file has no content")),
        (_, Some(second)) => Err(YamlError::new(
            second.at,
            "there is a second document where one is expected",
        )),
    }
}

/// The position of the first character that YAML does not allow anywhere.
fn forbidden_character(text: &str) -> Option<At> {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    if text.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\n') {
        return None;
    }
    let index = text.char_indices().find(|(_, c)| !allowed(*c))?.0;
    let before = &text[..index];
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Some(At {
        file: FileId::default(),
        line: small(line),
        column: small(column),
    })
}

fn small(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// A map or list that is still being read.
struct Open {
    at: At,
    anchor: usize,
    /// How many nodes had been read before it.
    before: usize,
    inside: Inside,
}

enum Inside {
    Seq(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        key: Option<Key>,
        merges: Vec<Node>,
        seen: Seen,
    },
}

enum Key {
    Text(Arc<str>, At),
    Merge,
}

/// The keys of a map so far: a scan while there are few, a set from then on.
#[derive(Default)]
struct Seen {
    many: HashSet<Arc<str>>,
    /// Whether a key came again where that is allowed.
    repeated: bool,
}

const FEW: usize = 16;

impl Seen {
    /// Whether a key is new.
    fn add(&mut self, entries: &[Entry], key: &Arc<str>) -> bool {
        if entries.len() < FEW {
            return !entries.iter().any(|e| e.key == *key);
        }
        if self.many.is_empty() {
            self.many.extend(entries.iter().map(|e| e.key.clone()));
        }
        self.many.insert(key.clone())
    }
}

struct Reader {
    file: FileId,
    profile: Profile,
    limits: Limits,
    documents: Vec<Node>,
    open: Vec<Open>,
    /// Finished nodes that have an anchor, with the number of nodes in them.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
}

impl Reader {
    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let at = At {
            file: self.file,
            line: small(span.start.line()),
            column: small(span.start.col() + 1),
        };
        match event {
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(())
            }
            Event::Alias(id) => {
                let Some((node, size)) = self.anchors.get(&id) else {
                    return Err(YamlError::new(at, "an alias cannot stand inside what it refers to"));
                };
                let (node, size) = (node.clone(), *size);
                self.count(size, at)?;
                self.place(node, 0, size, at)
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.count(1, at)?;
                let merge = style == ScalarStyle::Plain && text == "<<" && tag.is_none();
                let scalar = self.scalar(text.as_ref(), style, tag.as_deref(), at)?;
                if merge && self.expects_key() {
                    if let Some(Open {
                        inside: Inside::Map { key, .. },
                        ..
                    }) = self.open.last_mut()
                    {
                        *key = Some(Key::Merge);
                    }
                    return Ok(());
                }
                self.place(
                    Node {
                        at,
                        content: Content::Scalar(scalar),
                    },
                    anchor,
                    1,
                    at,
                )
            }
            Event::SequenceStart(anchor, _) => self.push(at, anchor, Inside::Seq(Vec::new())),
            Event::MappingStart(anchor, _) => self.push(
                at,
                anchor,
                Inside::Map {
                    entries: Vec::new(),
                    key: None,
                    merges: Vec::new(),
                    seen: Seen::default(),
                },
            ),
            Event::SequenceEnd | Event::MappingEnd => self.pop(at),
            Event::DocumentEnd | Event::StreamStart | Event::StreamEnd | Event::Nothing => Ok(()),
        }
    }

    fn expects_key(&self) -> bool {
        matches!(
            self.open.last(),
            Some(Open {
                inside: Inside::Map { key: None, .. },
                ..
            })
        )
    }

    fn count(&mut self, more: usize, at: At) -> Result<(), YamlError> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > self.limits.nodes {
            let message = format!(
                "more than {} values, aliases expanded; split the file",
                self.limits.nodes
            );
            return Err(YamlError::new(at, message));
        }
        Ok(())
    }

    fn push(&mut self, at: At, anchor: usize, inside: Inside) -> Result<(), YamlError> {
        if self.open.len() >= self.limits.depth {
            return Err(YamlError::new(
                at,
                format!("nested deeper than {} levels", self.limits.depth),
            ));
        }
        let before = self.nodes;
        self.count(1, at)?;
        self.open.push(Open {
            at,
            anchor,
            before,
            inside,
        });
        Ok(())
    }

    fn pop(&mut self, at: At) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else {
            return Err(YamlError::new(at, "not valid YAML: something ends that never began"));
        };
        let content = match open.inside {
            Inside::Seq(items) => Content::Seq(items),
            Inside::Map {
                mut entries,
                merges,
                seen,
                ..
            } => {
                if seen.repeated {
                    keep_last(&mut entries);
                }
                merge(&mut entries, merges);
                Content::Map(entries)
            }
        };
        let size = self.nodes - open.before;
        self.place(Node { at: open.at, content }, open.anchor, size, open.at)
    }

    /// Puts a finished node where it belongs: into the open map or list, or as a document.
    fn place(&mut self, node: Node, anchor: usize, size: usize, at: At) -> Result<(), YamlError> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let profile = self.profile;
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => {
                if !node.is_null() {
                    if self.documents.len() >= self.limits.documents {
                        let message = format!("more than {} documents in one file", self.limits.documents);
                        return Err(YamlError::new(at, message));
                    }
                    self.documents.push(node);
                }
                Ok(())
            }
            Some(Inside::Seq(items)) => {
                items.push(node);
                Ok(())
            }
            Some(Inside::Map {
                entries,
                key,
                merges,
                seen,
            }) => match key.take() {
                None => {
                    let text = key_text(&node, profile)?;
                    if !seen.add(entries, &text) {
                        if profile != Profile::Settings {
                            let first = entries.iter().find(|e| e.key == text).map_or(0, |e| e.at.line);
                            let message = format!("the key \"{text}\" appears twice in one map, first in line {first}");
                            return Err(YamlError::new(node.at, message));
                        }
                        seen.repeated = true;
                    }
                    *key = Some(Key::Text(text, node.at));
                    Ok(())
                }
                Some(Key::Text(key, key_at)) => {
                    entries.push(Entry {
                        key,
                        at: key_at,
                        value: node,
                    });
                    Ok(())
                }
                Some(Key::Merge) => {
                    match node.content {
                        Content::Map(_) => merges.push(node),
                        Content::Seq(items) if items.iter().all(Node::is_map) => merges.extend(items),
                        _ => {
                            return Err(YamlError::new(
                                at,
                                "the value of the merge key << must be a map or a list of maps",
                            ));
                        }
                    }
                    Ok(())
                }
            },
        }
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&saphyr_parser::Tag>,
        at: At,
    ) -> Result<Scalar, YamlError> {
        let tag = match tag {
            Some(tag) if tag.is_yaml_core_schema() => match &*tag.suffix {
                "str" => Tag::Str,
                "int" => Tag::Int,
                "float" => Tag::Float,
                "bool" => Tag::Bool,
                "null" => Tag::Null,
                "timestamp" => Tag::Timestamp,
                "binary" => Tag::Binary,
                _ => Tag::Str,
            },
            Some(tag) if tag.handle != "!" || !tag.suffix.is_empty() => Tag::Str,
            _ if style == ScalarStyle::Plain => tag_of(text, self.profile),
            _ => Tag::Str,
        };
        if tag == Tag::Null && !matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Err(YamlError::new(at, format!("\"{text}\" is not null")));
        }
        Ok(Scalar { text: text.into(), tag })
    }
}

/// The text of a key. kubectl makes text of every scalar; kustomize takes only strings.
fn key_text(node: &Node, profile: Profile) -> Result<Arc<str>, YamlError> {
    let Some(scalar) = node.as_scalar() else {
        return Err(YamlError::new(
            node.at,
            format!("a key must be a string, not {}", node.kind_name()),
        ));
    };
    match (scalar.tag, profile) {
        (Tag::Str | Tag::Binary, _) => Ok(scalar.text.clone()),
        (Tag::Bool, Profile::Manifest) => {
            let truth = yaml11_bool(&scalar.text).unwrap_or_else(|| scalar.text.eq_ignore_ascii_case("true"));
            Ok(if truth { "true".into() } else { "false".into() })
        }
        (Tag::Int | Tag::Float, Profile::Manifest) => match super::to_json(node)? {
            serde_json::Value::Number(n) => Ok(n.to_string().into()),
            _ => Ok(scalar.text.clone()),
        },
        _ => Err(YamlError::new(
            node.at,
            format!(
                "the key {} is {}, and a key must be a string; write it in quotes",
                scalar.text,
                node.kind_name()
            ),
        )),
    }
}

/// Of entries with the same key, keeps the last.
fn keep_last(entries: &mut Vec<Entry>) {
    let mut have: HashSet<Arc<str>> = HashSet::new();
    entries.reverse();
    entries.retain(|e| have.insert(e.key.clone()));
    entries.reverse();
}

/// Adds what `<<` brings: keys of the map itself win, then earlier merged maps.
fn merge(entries: &mut Vec<Entry>, merges: Vec<Node>) {
    if merges.is_empty() {
        return;
    }
    let mut have: HashSet<Arc<str>> = entries.iter().map(|e| e.key.clone()).collect();
    for map in merges {
        if let Content::Map(more) = map.content {
            entries.extend(more.into_iter().filter(|e| have.insert(e.key.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::to_json;
    use serde_json::json;

    fn read(text: &str, profile: Profile) -> Result<Vec<serde_json::Value>, YamlError> {
        parse(text, FileId::default(), profile, Limits::default())?
            .iter()
            .map(to_json)
            .collect()
    }

    #[test]
    fn kubectl_and_kustomize_read_the_same_text_as_they_do() {
        let text = "on: yes\na: 0644\nb: &x {c: 1.0, d: 1_000}\ne: {<<: *x, d: 2}\nf: 2001-1-1\n---\n# nothing\n---\n- !!binary aGk=\n- !!str 1\n";
        assert_eq!(
            read(text, Profile::Manifest).unwrap(),
            [
                json!({"true": true, "a": 420, "b": {"c": 1, "d": 1000}, "e": {"c": 1, "d": 2}, "f": "2001-1-1"}),
                json!(["hi", "1"]),
            ]
        );
        assert_eq!(
            read("a: 1\nb: 2\na: 3\n", Profile::Settings).unwrap(),
            [json!({"a": 3, "b": 2})]
        );
        assert_eq!(read("on: yes\n", Profile::Kustomize).unwrap(), [json!({"on": "yes"})]);
    }

    #[test]
    fn what_is_refused_is_refused_with_its_position() {
        for (text, line, column, say) in [
            ("a: 1\nb: 2\na: 3\n", 3, 1, "appears twice"),
            ("a: 1\n1: 2\n", 2, 1, "must be a string"),
            ("a: [1, 2\n", 2, 1, "not valid YAML"),
            ("a: &x [*x]\n", 1, 8, "inside what it refers to"),
            ("a: b\n  c: d\n", 2, 4, "not valid YAML"),
            ("x: \u{1}\n", 1, 4, "control characters"),
        ] {
            let e = read(text, Profile::Kustomize).unwrap_err();
            assert!(e.message.contains(say), "{text:?}: {e}");
            assert_eq!((e.line, e.column), (line, column), "{text:?}: {e}");
        }
    }

    #[test]
    fn aliases_cannot_multiply_past_the_limit() {
        let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..9 {
            let refs = vec![format!("*a{}", i - 1); 10].join(", ");
            text.push_str(&format!("a{i}: &a{i} [{refs}]\n"));
        }
        assert!(
            read(&text, Profile::Kustomize)
                .unwrap_err()
                .message
                .contains("aliases expanded")
        );
        let nested = format!("{}x", "- ".repeat(5000));
        assert!(
            read(&nested, Profile::Kustomize)
                .unwrap_err()
                .message
                .contains("nested deeper")
        );
        assert!(read(&"[".repeat(50_000), Profile::Kustomize).is_err());
    }

    #[test]
    fn positions_are_those_of_keys_and_values() {
        let doc = parse_one(
            "a:\n  - b: c\n",
            FileId::default(),
            Profile::Kustomize,
            Limits::default(),
        )
        .unwrap();
        let item = &doc.get("a").unwrap().items()[0];
        let entry = item.entry("b").unwrap();
        assert_eq!((entry.at.line, entry.at.column), (2, 5));
        assert_eq!((entry.value.at.line, entry.value.at.column), (2, 8));
    }
}
