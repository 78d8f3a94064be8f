//! Text to tokens, as libyaml does it: the scanner behind both tools' YAML libraries. Manifests rely on its habits
//! (tabs, flow collections that leave their indentation, quoted text over several lines).

mod text;

use super::YamlError;
use super::node::{At, FileId};
use std::borrow::Cow;
use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// In quotes.
    Quoted,
    /// `|`
    Literal,
    /// A block that starts with `>`.
    Folded,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    StreamEnd,
    /// `---`, and whether more follows on its line.
    DocumentStart,
    DocumentEnd,
    /// `%YAML` or `%TAG`.
    Directive,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a str),
    Anchor(&'a str),
    Tag(&'a str),
    Scalar(Cow<'a, str>, Style),
}

/// A place in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    index: usize,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A token that may turn out to be the key of a map once a `:` follows.
#[derive(Debug, Clone, Copy)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token: usize,
    mark: Mark,
}

/// A key that is not marked with `?` ends within this many characters.
const LONGEST_KEY: usize = 1024;

pub(super) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    file: FileId,
    mark: Mark,
    tokens: VecDeque<(Token<'a>, Mark)>,
    /// How many tokens have been handed out.
    taken: usize,
    indent: i64,
    indents: Vec<i64>,
    flow_level: usize,
    deepest: usize,
    simple_key_allowed: bool,
    simple_keys: Vec<SimpleKey>,
    ended: bool,
}

type Result<T> = std::result::Result<T, YamlError>;

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, file: FileId, deepest: usize) -> Self {
        let mark = Mark {
            index: 0,
            line: 1,
            column: 0,
        };
        Self {
            text,
            bytes: text.as_bytes(),
            file,
            mark,
            tokens: VecDeque::new(),
            taken: 0,
            indent: -1,
            indents: Vec::new(),
            flow_level: 0,
            deepest,
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey {
                possible: false,
                required: false,
                token: 0,
                mark,
            }],
            ended: false,
        }
    }

    /// The text starts in another line than the first.
    pub(super) fn starting_in(mut self, line: u32) -> Self {
        self.mark.line = line;
        self
    }

    pub(super) fn at(&self, mark: Mark) -> At {
        At {
            file: self.file,
            line: mark.line,
            column: mark.column + 1,
        }
    }

    pub(super) fn error(&self, mark: Mark, message: &str) -> YamlError {
        YamlError::new(self.at(mark), format!("not valid YAML: {message}"))
    }

    /// The next token, which stays.
    pub(super) fn peek(&mut self) -> Result<&Token<'a>> {
        self.fill()?;
        Ok(self.tokens.front().map_or(&Token::StreamEnd, |(token, _)| token))
    }

    /// Where the next token starts.
    pub(super) fn peek_mark(&mut self) -> Result<Mark> {
        self.fill()?;
        Ok(self.tokens.front().map_or(self.mark, |(_, mark)| *mark))
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Result<(Token<'a>, Mark)> {
        self.fill()?;
        self.taken += 1;
        Ok(self.tokens.pop_front().unwrap_or((Token::StreamEnd, self.mark)))
    }

    /// Scans until it is sure what the next token is: as long as that may still become a key, it is not.
    fn fill(&mut self) -> Result<()> {
        loop {
            if !self.tokens.is_empty() {
                self.drop_stale_keys()?;
                let taken = self.taken;
                if !self.simple_keys.iter().any(|k| k.possible && k.token == taken) {
                    return Ok(());
                }
            }
            if self.ended {
                return Ok(());
            }
            self.fetch()?;
        }
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.mark.index + ahead).copied().unwrap_or(0)
    }

    fn at_end(&self) -> bool {
        self.mark.index >= self.bytes.len()
    }

    /// How many bytes the line break at an offset has; 0 if there is none.
    fn break_at(&self, ahead: usize) -> usize {
        match (self.byte(ahead), self.byte(ahead + 1), self.byte(ahead + 2)) {
            (b'\r', b'\n', _) => 2,
            (b'\r' | b'\n', ..) => 1,
            (0xc2, 0x85, _) => 2,
            (0xe2, 0x80, 0xa8 | 0xa9) => 3,
            _ => 0,
        }
    }

    fn is_break(&self, ahead: usize) -> bool {
        self.break_at(ahead) > 0
    }

    fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t')
    }

    fn is_end(&self, ahead: usize) -> bool {
        self.mark.index + ahead >= self.bytes.len()
    }

    fn is_blank_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break(ahead) || self.is_end(ahead)
    }

    /// Passes over one character that is no line break.
    fn skip(&mut self) {
        let width = match self.byte(0) {
            0..=0x7f => 1,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        };
        self.mark.index += width;
        self.mark.column += 1;
    }

    fn skip_line(&mut self) {
        self.mark.index += self.break_at(0);
        self.mark.column = 0;
        self.mark.line += 1;
    }

    /// Copies one character.
    fn read(&mut self, into: &mut String) {
        let start = self.mark.index;
        self.skip();
        into.push_str(&self.text[start..self.mark.index]);
    }

    /// Copies one line break; all kinds but two become a plain one.
    fn read_line(&mut self, into: &mut String) {
        match self.break_at(0) {
            0 => return,
            3 => into.push_str(&self.text[self.mark.index..self.mark.index + 3]),
            _ => into.push('\n'),
        }
        self.skip_line();
    }

    fn push(&mut self, token: Token<'a>, mark: Mark) {
        self.tokens.push_back((token, mark));
    }

    fn fetch(&mut self) -> Result<()> {
        self.pass_blanks();
        self.drop_stale_keys()?;
        self.unroll(i64::from(self.mark.column));
        let mark = self.mark;
        if self.at_end() {
            self.unroll(-1);
            self.remove_key()?;
            self.simple_key_allowed = false;
            self.ended = true;
            self.push(Token::StreamEnd, mark);
            return Ok(());
        }
        if mark.column == 0 {
            if self.byte(0) == b'%' {
                self.unroll(-1);
                self.remove_key()?;
                self.simple_key_allowed = false;
                while !self.is_break(0) && !self.at_end() {
                    self.skip();
                }
                self.push(Token::Directive, mark);
                return Ok(());
            }
            if let Some(dashes) = self.document_marker() {
                self.unroll(-1);
                self.remove_key()?;
                self.simple_key_allowed = false;
                for _ in 0..3 {
                    self.skip();
                }
                self.push(
                    if dashes {
                        Token::DocumentStart
                    } else {
                        Token::DocumentEnd
                    },
                    mark,
                );
                return Ok(());
            }
        }
        match self.byte(0) {
            b'[' => self.flow_start(Token::FlowSequenceStart),
            b'{' => self.flow_start(Token::FlowMappingStart),
            b']' => self.flow_end(Token::FlowSequenceEnd),
            b'}' => self.flow_end(Token::FlowMappingEnd),
            b',' => {
                self.remove_key()?;
                self.simple_key_allowed = true;
                self.skip();
                self.push(Token::FlowEntry, mark);
                Ok(())
            }
            b'-' if self.is_blank_or_end(1) => self.block_entry(),
            b'?' if self.flow_level > 0 || self.is_blank_or_end(1) => self.key(),
            b':' if self.flow_level > 0 || self.is_blank_or_end(1) => self.value(),
            b'*' | b'&' => self.anchor(),
            b'!' => self.tag(),
            b'|' | b'>' if self.flow_level == 0 => self.block_scalar(),
            b'\'' | b'"' => self.quoted(),
            b'-' if !self.is_blank(1) => self.plain(),
            b'?' | b':' if self.flow_level == 0 && !self.is_blank_or_end(1) => self.plain(),
            b'-' | b'?' | b':' | b'#' | b'|' | b'>' | b'%' | b'@' | b'`' | b' ' | b'\t' => Err(self.error(
                mark,
                &format!(
                    "\"{}\" cannot start a value; write the text in quotes",
                    char::from(self.byte(0)).escape_default()
                ),
            )),
            _ => self.plain(),
        }
    }

    /// Whether a line starts with a document marker: with `---` (true) or `...` (false).
    fn document_marker(&self) -> Option<bool> {
        let marker = [self.byte(0), self.byte(1), self.byte(2)];
        match &marker {
            b"---" if self.is_blank_or_end(3) => Some(true),
            b"..." if self.is_blank_or_end(3) => Some(false),
            _ => None,
        }
    }

    fn pass_blanks(&mut self) {
        loop {
            while self.byte(0) == b' ' || ((self.flow_level > 0 || !self.simple_key_allowed) && self.byte(0) == b'\t') {
                self.skip();
            }
            if self.byte(0) == b'#' {
                while !self.is_break(0) && !self.at_end() {
                    self.skip();
                }
            }
            if !self.is_break(0) {
                return;
            }
            self.skip_line();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    /// A key may not go on over a line break, nor forever.
    fn drop_stale_keys(&mut self) -> Result<()> {
        for i in 0..self.simple_keys.len() {
            let key = self.simple_keys[i];
            let stale = key.mark.line < self.mark.line || key.mark.index + LONGEST_KEY < self.mark.index;
            if key.possible && stale {
                if key.required {
                    return Err(self.error(key.mark, "a \":\" is missing after this key"));
                }
                self.simple_keys[i].possible = false;
            }
        }
        Ok(())
    }

    fn save_key(&mut self) -> Result<()> {
        let required = self.flow_level == 0 && self.indent == i64::from(self.mark.column);
        if self.simple_key_allowed {
            self.remove_key()?;
            let key = SimpleKey {
                possible: true,
                required,
                token: self.taken + self.tokens.len(),
                mark: self.mark,
            };
            if let Some(last) = self.simple_keys.last_mut() {
                *last = key;
            }
        }
        Ok(())
    }

    fn remove_key(&mut self) -> Result<()> {
        if let Some(last) = self.simple_keys.last_mut() {
            if last.possible && last.required {
                let mark = last.mark;
                return Err(self.error(mark, "a \":\" is missing after this key"));
            }
            last.possible = false;
        }
        Ok(())
    }

    /// Opens a block map or list where the column is deeper than before.
    fn roll(&mut self, column: i64, number: Option<usize>, token: Token<'a>, mark: Mark) -> Result<()> {
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > self.deepest {
            return Err(self.too_deep(mark));
        }
        match number {
            None => self.push(token, mark),
            Some(number) => self.tokens.insert(number - self.taken, (token, mark)),
        }
        Ok(())
    }

    fn too_deep(&self, mark: Mark) -> YamlError {
        YamlError::new(self.at(mark), format!("nested deeper than {} levels", self.deepest))
    }

    /// Closes what a lesser column ends.
    fn unroll(&mut self, column: i64) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            self.push(Token::BlockEnd, self.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn flow_start(&mut self, token: Token<'a>) -> Result<()> {
        self.save_key()?;
        let mark = self.mark;
        self.flow_level += 1;
        if self.flow_level > self.deepest {
            return Err(self.too_deep(mark));
        }
        self.simple_keys.push(SimpleKey {
            possible: false,
            required: false,
            token: 0,
            mark,
        });
        self.simple_key_allowed = true;
        self.skip();
        self.push(token, mark);
        Ok(())
    }

    fn flow_end(&mut self, token: Token<'a>) -> Result<()> {
        self.remove_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            self.simple_keys.pop();
        }
        self.simple_key_allowed = false;
        let mark = self.mark;
        self.skip();
        self.push(token, mark);
        Ok(())
    }

    fn block_entry(&mut self) -> Result<()> {
        let mark = self.mark;
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.error(mark, "a list item cannot start here"));
            }
            self.roll(i64::from(mark.column), None, Token::BlockSequenceStart, mark)?;
        }
        self.remove_key()?;
        self.simple_key_allowed = true;
        self.skip();
        self.push(Token::BlockEntry, mark);
        Ok(())
    }

    fn key(&mut self) -> Result<()> {
        let mark = self.mark;
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return Err(self.error(mark, "a key cannot start here"));
            }
            self.roll(i64::from(mark.column), None, Token::BlockMappingStart, mark)?;
        }
        self.remove_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.skip();
        self.push(Token::Key, mark);
        Ok(())
    }

    fn value(&mut self) -> Result<()> {
        let mark = self.mark;
        let key = self.simple_keys.last().copied().filter(|k| k.possible);
        if let Some(key) = key {
            self.tokens.insert(key.token - self.taken, (Token::Key, key.mark));
            self.roll(
                i64::from(key.mark.column),
                Some(key.token),
                Token::BlockMappingStart,
                key.mark,
            )?;
            if let Some(last) = self.simple_keys.last_mut() {
                last.possible = false;
            }
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return Err(self.error(mark, "a \": \" cannot stand here; is the text meant to be in quotes?"));
                }
                self.roll(i64::from(mark.column), None, Token::BlockMappingStart, mark)?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.skip();
        self.push(Token::Value, mark);
        Ok(())
    }

    fn anchor(&mut self) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark;
        let alias = self.byte(0) == b'*';
        self.skip();
        let start = self.mark.index;
        while self.byte(0).is_ascii_alphanumeric() || matches!(self.byte(0), b'_' | b'-') {
            self.skip();
        }
        let name = &self.text[start..self.mark.index];
        let ends =
            self.is_blank_or_end(0) || matches!(self.byte(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ends {
            let what = if alias { "an alias" } else { "an anchor" };
            return Err(self.error(
                mark,
                &format!("{what} needs a name of letters and digits; is the text meant to be in quotes?"),
            ));
        }
        self.push(if alias { Token::Alias(name) } else { Token::Anchor(name) }, mark);
        Ok(())
    }

    fn tag(&mut self) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark;
        if self.byte(1) == b'<' {
            while !self.is_blank_or_end(0) && self.byte(0) != b'>' {
                self.skip();
            }
            if self.byte(0) != b'>' {
                return Err(self.error(mark, "a tag that starts with \"!<\" ends with \">\""));
            }
            self.skip();
        } else {
            let flow = self.flow_level > 0;
            let ends = |s: &Self| flow && matches!(s.byte(0), b',' | b'[' | b']' | b'{' | b'}');
            while !self.is_blank_or_end(0) && !ends(self) {
                self.skip();
            }
        }
        let comma = self.flow_level > 0 && self.byte(0) == b',';
        if !comma && !self.is_blank_or_end(0) {
            return Err(self.error(mark, "a tag must be followed by a blank"));
        }
        self.push(Token::Tag(&self.text[mark.index..self.mark.index]), mark);
        Ok(())
    }
}
