//! Tokens to nodes: the grammar of libyaml's parser, with the scalars typed by [`Profile`], aliases and merge keys expanded,
//! duplicate keys refused, and every input kept inside its [`Limits`].

use super::YamlError;
use super::folded::{STARTS_WITH_TAB, is_written_as_block, refolded};
use super::node::{At, Content, Entry, FileId, Node, Scalar, Tag};
use super::pieces;
use super::resolve::{Profile, tag_of, yaml11_bool};
use super::scan::{Mark, Scanner, Style, Token};
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
    /// 16 MiB, two million nodes, 128 levels, 50,000 documents.
    fn default() -> Self {
        Self {
            bytes: 16 << 20,
            nodes: 2_000_000,
            depth: 128,
            documents: 50_000,
        }
    }
}

type Result<T> = std::result::Result<T, YamlError>;

/// Reads every document of a text. Documents without content are left out.
///
/// # Errors
/// The first thing that is wrong, with its position.
pub fn parse(text: &str, file: FileId, profile: Profile, limits: Limits) -> Result<Vec<Node>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > limits.bytes {
        let message = format!(
            "the text has {} bytes, more than the limit of {}",
            text.len(),
            limits.bytes
        );
        return Err(YamlError::new(At::default(), message));
    }
    if let Some(at) = forbidden_character(text, file) {
        let message = "control characters are not allowed in YAML; write them escaped in double quotes";
        return Err(YamlError::new(at, message));
    }
    if profile != Profile::Kustomize {
        return Parser::new(Scanner::new(text, file, limits.depth), profile, limits).documents();
    }
    let pieces = pieces::cut(text).map_err(|line| {
        let at = At { file, line, column: 1 };
        YamlError::new(at, "not valid YAML: nothing but a comment may follow --- on its line")
    })?;
    let (mut all, mut nodes) = (Vec::new(), 0);
    for piece in pieces {
        let text = piece.text.strip_prefix('\u{feff}').unwrap_or(piece.text);
        let scanner = Scanner::new(text, file, limits.depth).starting_in(piece.line);
        let mut parser = Parser::new(scanner, profile, limits);
        parser.nodes = nodes;
        if let Some(node) = parser.first_document()?.filter(|node| !node.is_null()) {
            limits.check_documents(all.len(), node.at)?;
            all.push(node);
        }
        nodes = parser.nodes;
    }
    Ok(all)
}

/// Reads a text that must hold exactly one document.
///
/// # Errors
/// As [`parse`], and when there is none or a second one.
pub fn parse_one(text: &str, file: FileId, profile: Profile, limits: Limits) -> Result<Node> {
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
fn forbidden_character(text: &str, file: FileId) -> Option<At> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b) || b == b'\n') {
        return None;
    }
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    let index = text.char_indices().find(|(_, c)| !allowed(*c))?.0;
    let before = &text[..index];
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Some(At {
        file,
        line: small(line),
        column: small(column),
    })
}

/// The keys of a map so far: a scan while there are few, a set from then on.
#[derive(Default)]
struct Seen(HashSet<Arc<str>>);

const FEW: usize = 16;

impl Seen {
    /// Whether a key is new.
    fn add(&mut self, entries: &[Entry], key: &Arc<str>) -> bool {
        if entries.len() < FEW {
            return !entries.iter().any(|e| e.key == *key);
        }
        if self.0.is_empty() {
            self.0.extend(entries.iter().map(|e| e.key.clone()));
        }
        self.0.insert(key.clone())
    }
}

struct Parser<'a> {
    scanner: Scanner<'a>,
    profile: Profile,
    limits: Limits,
    /// Finished nodes that have an anchor, with the number of nodes in them; `None` while they are being read.
    anchors: HashMap<&'a str, Option<(Node, usize)>>,
    nodes: usize,
    depth: usize,
    /// Flow collections around.
    flow: usize,
}

impl Limits {
    fn check_documents(self, so_far: usize, at: At) -> Result<()> {
        if so_far < self.documents {
            return Ok(());
        }
        let message = format!("more than {} documents in one file", self.documents);
        Err(YamlError::new(at, message))
    }
}

impl<'a> Parser<'a> {
    fn new(scanner: Scanner<'a>, profile: Profile, limits: Limits) -> Self {
        Self {
            scanner,
            profile,
            limits,
            anchors: HashMap::new(),
            nodes: 0,
            depth: 0,
            flow: 0,
        }
    }

    fn is_at_end_of_document(&mut self) -> Result<bool> {
        Ok(matches!(
            self.scanner.peek()?,
            Token::DocumentStart | Token::DocumentEnd | Token::Directive | Token::StreamEnd
        ))
    }

    /// The first document, if there is one. What follows it is not looked at.
    fn first_document(&mut self) -> Result<Option<Node>> {
        let mark = self.scanner.peek_mark()?;
        match self.scanner.peek()? {
            Token::DocumentStart => drop(self.scanner.next()?),
            Token::DocumentEnd => return Err(self.scanner.error(mark, "... ends a document, and none has begun")),
            Token::Directive => return Err(self.directive(mark)),
            _ => {}
        }
        if self.is_at_end_of_document()? {
            return Ok(None);
        }
        let node = self.node(true, false)?;
        self.scanner.peek()?;
        Ok(Some(node))
    }

    fn directive(&self, mark: Mark) -> YamlError {
        self.scanner
            .error(mark, "directives (%) are not supported; remove the line")
    }

    fn documents(&mut self) -> Result<Vec<Node>> {
        let mut all = Vec::new();
        let mut first = true;
        loop {
            while *self.scanner.peek()? == Token::DocumentEnd {
                self.scanner.next()?;
            }
            let mark = self.scanner.peek_mark()?;
            match self.scanner.peek()? {
                Token::StreamEnd => return Ok(all),
                Token::DocumentStart => drop(self.scanner.next()?),
                Token::Directive => return Err(self.directive(mark)),
                _ if first => {}
                _ => return Err(self.scanner.error(mark, "a second document must start with ---")),
            }
            first = false;
            self.anchors.clear();
            if self.is_at_end_of_document()? {
                continue;
            }
            let node = self.node(true, false)?;
            if !self.is_at_end_of_document()? {
                let mark = self.scanner.peek_mark()?;
                return Err(self.scanner.error(
                    mark,
                    "this does not belong to what stands before it; check the indentation",
                ));
            }
            if !node.is_null() {
                self.limits.check_documents(all.len(), node.at)?;
                all.push(node);
            }
        }
    }

    fn count(&mut self, more: usize, at: At) -> Result<()> {
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

    /// One value. `block` allows block maps and lists, `indentless` a list that is not deeper than its key.
    fn node(&mut self, block: bool, indentless: bool) -> Result<Node> {
        let mark = self.scanner.peek_mark()?;
        let at = self.scanner.at(mark);
        if self.depth >= self.limits.depth {
            return Err(YamlError::new(
                at,
                format!("nested deeper than {} levels", self.limits.depth),
            ));
        }
        self.depth += 1;
        let node = self.node_inside(block, indentless, mark, at);
        self.depth -= 1;
        node
    }

    fn node_inside(&mut self, block: bool, indentless: bool, mark: Mark, at: At) -> Result<Node> {
        let (mut anchor, mut tag) = (None, None);
        loop {
            match self.scanner.peek()? {
                Token::Anchor(name) if anchor.is_none() => anchor = Some(*name),
                Token::Tag(name) if tag.is_none() => tag = Some(*name),
                _ => break,
            }
            self.scanner.next()?;
        }
        let before = self.nodes;
        if let Some(name) = anchor {
            self.anchors.insert(name, None);
        }
        let node = self.content(block, indentless, anchor.is_some() || tag.is_some(), tag, mark, at)?;
        if let Some(name) = anchor {
            let size = self.nodes - before;
            self.anchors.insert(name, Some((node.clone(), size)));
        }
        Ok(node)
    }

    fn content(
        &mut self,
        block: bool,
        indentless: bool,
        marked: bool,
        tag: Option<&str>,
        mark: Mark,
        at: At,
    ) -> Result<Node> {
        let token = self.scanner.peek()?;
        let content = match token {
            Token::Alias(name) => {
                let name = *name;
                self.scanner.next()?;
                return match self.anchors.get(name) {
                    Some(Some((node, size))) => {
                        let (node, size) = (node.clone(), *size);
                        self.count(size, at)?;
                        Ok(node)
                    }
                    Some(None) => Err(YamlError::new(at, "an alias cannot stand inside of what it refers to")),
                    None => Err(self
                        .scanner
                        .error(mark, &format!("there is no anchor \"&{name}\" before this alias"))),
                };
            }
            Token::Scalar(..) => {
                let (token, _) = self.scanner.next()?;
                let Token::Scalar(text, style) = token else {
                    return Err(self.scanner.error(mark, "a value is expected here"));
                };
                self.count(1, at)?;
                let block = matches!(style, Style::Literal | Style::Folded);
                if block && self.profile == Profile::Kustomize && is_written_as_block(&text) {
                    if text.starts_with('\t') {
                        return Err(YamlError::new(at, STARTS_WITH_TAB));
                    }
                    if style == Style::Folded {
                        return self.scalar(&refolded(&text), style, tag, at);
                    }
                }
                return self.scalar(&text, style, tag, at);
            }
            Token::BlockEntry if indentless => {
                self.count(1, at)?;
                Content::Seq(self.indentless()?)
            }
            Token::FlowSequenceStart => {
                self.count(1, at)?;
                self.flow += 1;
                let items = self.flow_sequence();
                self.flow -= 1;
                Content::Seq(items?)
            }
            Token::FlowMappingStart => {
                self.count(1, at)?;
                self.flow += 1;
                let entries = self.flow_mapping();
                self.flow -= 1;
                Content::Map(entries?)
            }
            Token::BlockSequenceStart if block => {
                self.count(1, at)?;
                Content::Seq(self.block_sequence()?)
            }
            Token::BlockMappingStart if block => {
                self.count(1, at)?;
                Content::Map(self.block_mapping()?)
            }
            _ if marked => {
                self.count(1, at)?;
                return self.scalar("", Style::Plain, tag, at);
            }
            _ => {
                let mark = self.scanner.peek_mark()?;
                return Err(self.scanner.error(mark, "a value is expected here"));
            }
        };
        Ok(Node { at, one: 0, content })
    }

    /// What stands where nothing is written.
    fn empty(&mut self) -> Result<Node> {
        let at = self.here()?;
        self.count(1, at)?;
        self.scalar("", Style::Plain, None, at)
    }

    fn here(&mut self) -> Result<At> {
        let mark = self.scanner.peek_mark()?;
        Ok(self.scanner.at(mark))
    }

    fn block_sequence(&mut self) -> Result<Vec<Node>> {
        self.scanner.next()?;
        let mut items = Vec::new();
        loop {
            let (token, mark) = self.scanner.next()?;
            match token {
                Token::BlockEntry => items.push(match self.scanner.peek()? {
                    Token::BlockEntry | Token::BlockEnd => self.empty()?,
                    _ => self.node(true, false)?,
                }),
                Token::BlockEnd => return Ok(items),
                _ => {
                    return Err(self
                        .scanner
                        .error(mark, "a list item (\"- \") is expected here; check the indentation"));
                }
            }
        }
    }

    fn indentless(&mut self) -> Result<Vec<Node>> {
        let mut items = Vec::new();
        while *self.scanner.peek()? == Token::BlockEntry {
            self.scanner.next()?;
            items.push(match self.scanner.peek()? {
                Token::BlockEntry | Token::Key | Token::Value | Token::BlockEnd => self.empty()?,
                _ => self.node(true, false)?,
            });
        }
        Ok(items)
    }

    fn block_mapping(&mut self) -> Result<Vec<Entry>> {
        self.scanner.next()?;
        let mut map = Map::default();
        loop {
            let (token, mark) = self.scanner.next()?;
            let key = match token {
                Token::BlockEnd => return Ok(map.finish()),
                Token::Key => match self.scanner.peek()? {
                    Token::Key | Token::Value | Token::BlockEnd => KeyNode::Node(self.empty()?),
                    _ => self.key(true)?,
                },
                _ => {
                    return Err(self
                        .scanner
                        .error(mark, "a key (\"name: \") is expected here; check the indentation"));
                }
            };
            let key = map.begin(key, self.profile, self.depth == 1)?;
            let value = if *self.scanner.peek()? == Token::Value {
                self.scanner.next()?;
                match self.scanner.peek()? {
                    Token::Key | Token::Value | Token::BlockEnd => self.empty()?,
                    _ => self.node(true, true)?,
                }
            } else {
                self.empty()?
            };
            map.end(key, value)?;
        }
    }

    /// A key; a plain `<<` is the merge key.
    fn key(&mut self, block: bool) -> Result<KeyNode> {
        if matches!(self.scanner.peek()?, Token::Scalar(text, Style::Plain) if text == "<<") {
            let (_, mark) = self.scanner.next()?;
            return Ok(KeyNode::Merge(self.scanner.at(mark)));
        }
        self.node(block, block).map(KeyNode::Node)
    }

    fn flow_sequence(&mut self) -> Result<Vec<Node>> {
        self.scanner.next()?;
        let mut items = Vec::new();
        loop {
            match self.scanner.peek()? {
                Token::FlowSequenceEnd => break,
                Token::Key => {
                    // A single pair is a map of its own.
                    let at = self.here()?;
                    self.scanner.next()?;
                    let mut map = Map::default();
                    self.flow_pair(&mut map)?;
                    items.push(Node {
                        at,
                        one: 0,
                        content: Content::Map(map.finish()),
                    });
                }
                _ => items.push(self.node(false, false)?),
            }
            let mark = self.scanner.peek_mark()?;
            match self.scanner.peek()? {
                Token::FlowEntry => drop(self.scanner.next()?),
                Token::FlowSequenceEnd => break,
                _ => return Err(self.scanner.error(mark, "\",\" or \"]\" is expected here")),
            }
        }
        self.scanner.next()?;
        Ok(items)
    }

    fn flow_mapping(&mut self) -> Result<Vec<Entry>> {
        self.scanner.next()?;
        let mut map = Map::default();
        loop {
            match self.scanner.peek()? {
                Token::FlowMappingEnd => break,
                Token::Key => {
                    self.scanner.next()?;
                    self.flow_pair(&mut map)?;
                }
                _ => {
                    let key = self.key(false)?;
                    let key = map.begin(key, self.profile, self.depth == 1)?;
                    let value = self.empty()?;
                    map.end(key, value)?;
                }
            }
            let mark = self.scanner.peek_mark()?;
            match self.scanner.peek()? {
                Token::FlowEntry => drop(self.scanner.next()?),
                Token::FlowMappingEnd => break,
                _ => return Err(self.scanner.error(mark, "\",\" or \"}\" is expected here")),
            }
        }
        self.scanner.next()?;
        Ok(map.finish())
    }

    /// A key and its value; the key's mark has been taken.
    fn flow_pair(&mut self, map: &mut Map) -> Result<()> {
        let key = match self.scanner.peek()? {
            Token::Value | Token::FlowEntry | Token::FlowMappingEnd | Token::FlowSequenceEnd => {
                KeyNode::Node(self.empty()?)
            }
            _ => self.key(false)?,
        };
        let key = map.begin(key, self.profile, self.depth == 1)?;
        let value = if *self.scanner.peek()? == Token::Value {
            self.scanner.next()?;
            match self.scanner.peek()? {
                Token::FlowEntry | Token::FlowMappingEnd | Token::FlowSequenceEnd => self.empty()?,
                _ => self.node(false, false)?,
            }
        } else {
            self.empty()?
        };
        map.end(key, value)
    }

    fn scalar(&self, text: &str, style: Style, tag: Option<&str>, at: At) -> Result<Node> {
        let explicit = tag.and_then(|t| {
            t.strip_prefix("!!")
                .or_else(|| t.strip_prefix("!<tag:yaml.org,2002:")?.strip_suffix('>'))
        });
        let tag = match (explicit, tag) {
            (Some(name), _) => match name {
                "int" => Tag::Int,
                "float" => Tag::Float,
                "bool" => Tag::Bool,
                "null" => Tag::Null,
                "timestamp" => Tag::Timestamp,
                "binary" => Tag::Binary,
                _ => Tag::Str,
            },
            (None, Some(other)) if other != "!" => Tag::Str,
            _ if style != Style::Plain => Tag::Str,
            // Nothing at all inside a flow collection is written back as an empty text by the original.
            _ if text.is_empty() && self.flow > 0 && self.profile == Profile::Kustomize => Tag::Blank,
            _ => match tag_of(text, self.profile) {
                // What has a colon is written back in quotes inside of a flow collection, and read as a text then.
                Tag::Timestamp if self.profile == Profile::Kustomize && self.flow > 0 && text.contains(':') => Tag::Str,
                tag => tag,
            },
        };
        if tag == Tag::Null && !matches!(text, "" | "~" | "null" | "Null" | "NULL") {
            return Err(YamlError::new(at, format!("\"{text}\" is not null")));
        }
        Ok(Node {
            at,
            one: 0,
            content: Content::Scalar(Scalar {
                text: text.into(),
                tag,
                quoted: style != Style::Plain,
            }),
        })
    }
}

enum KeyNode {
    Node(Node),
    Merge(At),
}

enum Key {
    Text(Arc<str>, At),
    Merge,
}

/// A map that is being read.
#[derive(Default)]
struct Map {
    entries: Vec<Entry>,
    merges: Vec<Node>,
    seen: Seen,
    merged: bool,
    /// Whether a key came again where that is allowed.
    repeated: bool,
}

impl Map {
    fn begin(&mut self, key: KeyNode, profile: Profile, outermost: bool) -> Result<Key> {
        let node = match key {
            KeyNode::Node(node) => node,
            KeyNode::Merge(at) => {
                if self.merged && profile == Profile::Kustomize {
                    return Err(YamlError::new(
                        at,
                        "the merge key << appears twice in one map; give it a list",
                    ));
                }
                self.merged = true;
                return Ok(Key::Merge);
            }
        };
        let text = key_text(&node, profile, outermost)?;
        if !self.seen.add(&self.entries, &text) {
            if profile != Profile::Settings {
                let first = self.entries.iter().find(|e| e.key == text).map_or(0, |e| e.at.line);
                let message = format!("the key \"{text}\" appears twice in one map, first in line {first}");
                return Err(YamlError::new(node.at, message));
            }
            self.repeated = true;
        }
        Ok(Key::Text(text, node.at))
    }

    fn end(&mut self, key: Key, value: Node) -> Result<()> {
        match key {
            Key::Text(key, at) => self.entries.push(Entry { key, at, value }),
            Key::Merge => match value.content {
                Content::Map(_) => self.merges.push(value),
                Content::Seq(items) if items.iter().all(Node::is_map) => self.merges.extend(items),
                _ => {
                    return Err(YamlError::new(
                        value.at,
                        "the value of the merge key << must be a map or a list of maps",
                    ));
                }
            },
        }
        Ok(())
    }

    /// Its entries: of repeated keys the last, and what `<<` brings behind those of the map itself.
    fn finish(self) -> Vec<Entry> {
        let mut entries = self.entries;
        if self.repeated {
            let mut have: HashSet<Arc<str>> = HashSet::new();
            entries.reverse();
            entries.retain(|e| have.insert(e.key.clone()));
            entries.reverse();
        }
        if !self.merges.is_empty() {
            let mut have: HashSet<Arc<str>> = entries.iter().map(|e| e.key.clone()).collect();
            for map in self.merges {
                if let Content::Map(more) = map.content {
                    entries.extend(more.into_iter().filter(|e| have.insert(e.key.clone())));
                }
            }
        }
        entries
    }
}

/// The text of a key. kubectl makes text of every scalar; kustomize takes only strings, but for the outermost keys, which it takes as
/// they are written.
fn key_text(node: &Node, profile: Profile, outermost: bool) -> Result<Arc<str>> {
    let Some(scalar) = node.as_scalar() else {
        return Err(YamlError::new(
            node.at,
            format!("a key must be a string, not {}", node.kind_name()),
        ));
    };
    match (scalar.tag, profile) {
        (Tag::Str | Tag::Binary, _) => Ok(scalar.text.clone()),
        // A key that is not even written is the empty text there.
        (Tag::Null | Tag::Blank, Profile::Kustomize) if scalar.text.is_empty() => Ok(scalar.text.clone()),
        (Tag::Int | Tag::Float | Tag::Bool | Tag::Timestamp, Profile::Kustomize) if outermost => {
            Ok(scalar.text.clone())
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::to_json;
    use serde_json::json;

    fn read(text: &str, profile: Profile) -> std::result::Result<Vec<serde_json::Value>, YamlError> {
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
            ("a:\n  1: 2\n", 2, 3, "must be a string"),
            ("a: [1, 2\n", 2, 1, "not valid YAML"),
            ("a: &x [*x]\n", 1, 8, "inside of what it refers to"),
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
