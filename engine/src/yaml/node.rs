//! The tree that a YAML document is read into: maps in source order, lists and scalars that keep their source text, each
//! with its position. Merge keys and aliases are already expanded. No rules of any tool here.

use std::sync::Arc;

/// Which file a node came from; an index that only the reader of the files can turn into a name. 0 if there is one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct FileId(pub u32);

/// A position. Lines and columns count from 1; 0 means unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct At {
    /// The file.
    pub file: FileId,
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// What a scalar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tag {
    /// A string.
    Str,
    /// A whole number; what its text says is read when it is needed.
    Int,
    /// A number with a fraction or an exponent, or one of the special values.
    Float,
    /// `true` or `false` (and in kubectl's profile their YAML 1.1 spellings).
    Bool,
    /// Nothing.
    Null,
    /// Nothing, not even written, inside a flow collection: null until it is printed, and an empty text then.
    Blank,
    /// A date or time.
    Timestamp,
    /// `!!binary`: base64 text.
    Binary,
}

/// A scalar: its text after YAML's quoting is undone, and what it is. Equality is that of the values; quotes do not count.
#[derive(Debug, Clone)]
pub struct Scalar {
    /// The text.
    pub text: Arc<str>,
    /// What it is.
    pub tag: Tag,
    /// Whether it is written in quotes or as a block of text. kustomize keeps that where it writes another value over it, which
    /// makes a text of a number.
    pub quoted: bool,
}

impl PartialEq for Scalar {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.tag == other.tag
    }
}

impl Scalar {
    /// Puts a value in the place of another one, in the quotes that this one has.
    pub fn over(mut self, old: &Self) -> Self {
        self.quoted = old.quoted;
        if old.quoted && matches!(self.tag, Tag::Int | Tag::Float | Tag::Bool | Tag::Timestamp) {
            self.tag = Tag::Str;
        }
        self
    }
}

/// One key of a map and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// Where the key stands.
    pub at: At,
    /// The value.
    pub value: Node,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// A map, in source order, without duplicate keys.
    Map(Vec<Entry>),
    /// A list.
    Seq(Vec<Node>),
    /// A scalar.
    Scalar(Scalar),
}

/// A value and its position. Equality compares values only, not positions.
#[derive(Debug, Clone)]
pub struct Node {
    /// Where it starts.
    pub at: At,
    /// Nodes with the same number are one node that is shown in several places; the caller assigns the numbers; 0 is
    /// none.
    pub one: u32,
    /// What it holds.
    pub content: Content,
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.content == other.content
    }
}

impl Node {
    /// A node without a position.
    pub fn new(content: Content) -> Self {
        Self {
            at: At::default(),
            one: 0,
            content,
        }
    }

    /// A string, in quotes where a reader of YAML 1.1 would take it for something else.
    pub fn string(text: impl Into<Arc<str>>) -> Self {
        let text = text.into();
        let quoted = super::emit::reads_as_something_else(&text);
        Self::new(Content::Scalar(Scalar {
            text,
            tag: Tag::Str,
            quoted,
        }))
    }

    /// A scalar of the given kind, without quotes.
    pub fn tagged(text: impl Into<Arc<str>>, tag: Tag) -> Self {
        Self::new(Content::Scalar(Scalar {
            text: text.into(),
            tag,
            quoted: false,
        }))
    }

    /// The same with quotes, or without, if it is a scalar.
    #[must_use]
    pub fn in_quotes(mut self, quoted: bool) -> Self {
        if let Content::Scalar(scalar) = &mut self.content {
            scalar.quoted = quoted;
        }
        self
    }

    /// Null.
    pub fn null() -> Self {
        Self::tagged("null", Tag::Null)
    }

    /// An empty map.
    pub fn map() -> Self {
        Self::new(Content::Map(Vec::new()))
    }

    /// An empty list.
    pub fn seq() -> Self {
        Self::new(Content::Seq(Vec::new()))
    }

    /// The same node at another position.
    #[must_use]
    pub fn at(mut self, at: At) -> Self {
        self.at = at;
        self
    }

    /// Gives it another position, unless that is unknown.
    pub fn moved_to(&mut self, at: At) {
        if at.line > 0 {
            self.at = at;
        }
    }

    /// The entries of a map; of anything else, none.
    pub fn entries(&self) -> &[Entry] {
        match &self.content {
            Content::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; of anything else, none.
    pub fn items(&self) -> &[Self] {
        match &self.content {
            Content::Seq(items) => items,
            _ => &[],
        }
    }

    /// The entry of a map under `key`.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| &*e.key == key)
    }

    /// The value of a map under `key`.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|e| &e.value)
    }

    /// The value of a map under `key`, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.content {
            Content::Map(entries) => entries.iter_mut().find(|e| &*e.key == key).map(|e| &mut e.value),
            _ => None,
        }
    }

    /// The value at a path of keys.
    pub fn path(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// Puts `value` under `key` of a map, instead of an old value or at the end. Anything but a map stays as it is.
    pub fn set(&mut self, key: &str, value: Self) {
        if let Content::Map(entries) = &mut self.content {
            match entries.iter_mut().find(|e| &*e.key == key) {
                Some(entry) => entry.value = value,
                None => entries.push(Entry {
                    key: key.into(),
                    at: value.at,
                    value,
                }),
            }
        }
    }

    /// Takes the value under `key` out of a map.
    pub fn remove(&mut self, key: &str) -> Option<Self> {
        match &mut self.content {
            Content::Map(entries) => {
                let index = entries.iter().position(|e| &*e.key == key)?;
                Some(entries.remove(index).value)
            }
            _ => None,
        }
    }

    /// The scalar.
    pub fn as_scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            _ => None,
        }
    }

    /// The text of any scalar, whatever it is.
    pub fn text(&self) -> Option<&str> {
        self.as_scalar().map(|s| &*s.text)
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        self.as_scalar().filter(|s| s.tag == Tag::Str).map(|s| &*s.text)
    }

    /// Approximate memory use in nodes: itself, its content, and its long texts by their length.
    pub fn weight(&self) -> usize {
        const TEXT: usize = 64;
        match &self.content {
            Content::Scalar(scalar) => 1 + scalar.text.len() / TEXT,
            Content::Seq(items) => 1 + items.iter().map(Self::weight).sum::<usize>(),
            Content::Map(entries) => {
                let entry = |e: &Entry| e.value.weight() + e.key.len() / TEXT;
                1 + entries.iter().map(entry).sum::<usize>()
            }
        }
    }

    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        self.as_scalar()
            .is_some_and(|s| matches!(s.tag, Tag::Null | Tag::Blank))
    }

    /// Whether it is a map.
    pub fn is_map(&self) -> bool {
        matches!(self.content, Content::Map(_))
    }

    /// Whether it is a list.
    pub fn is_seq(&self) -> bool {
        matches!(self.content, Content::Seq(_))
    }

    /// Whether it is a map without entries.
    pub fn is_empty_map(&self) -> bool {
        matches!(&self.content, Content::Map(entries) if entries.is_empty())
    }

    /// What it is, for a sentence: `a map`, `a list`, `a string`.
    pub fn kind_name(&self) -> &'static str {
        match &self.content {
            Content::Map(_) => "a map",
            Content::Seq(_) => "a list",
            Content::Scalar(s) => match s.tag {
                Tag::Str => "a string",
                Tag::Int | Tag::Float => "a number",
                Tag::Bool => "a boolean",
                Tag::Null | Tag::Blank => "null",
                Tag::Timestamp => "a timestamp",
                Tag::Binary => "binary data",
            },
        }
    }
}
