//! Text to tokens, as libyaml cuts it: the scanner behind both tools' YAML libraries, whose habits (tabs, flow collections that
//! leave their indentation, quoted text over several lines) manifests rely on.

use super::YamlError;
use super::node::{At, FileId};
use std::borrow::Cow;
use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    /// In quotes, or a literal block.
    Quoted,
    /// A block that starts with `>`.
    Folded,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    StreamEnd,
    /// `---`, and whether more follows on its line.
    DocumentStart(bool),
    DocumentEnd,
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
        self.to_next_token();
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
                return Err(self.error(mark, "directives (%) are not supported; remove the line"));
            }
            if let Some(dashes) = self.document_marker() {
                self.unroll(-1);
                self.remove_key()?;
                self.simple_key_allowed = false;
                for _ in 0..3 {
                    self.skip();
                }
                let rest = self.text[self.mark.index..]
                    .split(['\n', '\r'])
                    .next()
                    .unwrap_or_default()
                    .trim_start();
                let more = !rest.is_empty() && !rest.starts_with('#');
                self.push(
                    if dashes {
                        Token::DocumentStart(more)
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

    fn to_next_token(&mut self) {
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

    /// A key may not go on over a line break, nor for ever.
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
            while !self.is_blank_or_end(0) && !(flow && matches!(self.byte(0), b',' | b'[' | b']' | b'{' | b'}')) {
                self.skip();
            }
        }
        if !self.is_blank_or_end(0) && !(self.flow_level > 0 && self.byte(0) == b',') {
            return Err(self.error(mark, "a tag must be followed by a blank"));
        }
        self.push(Token::Tag(&self.text[mark.index..self.mark.index]), mark);
        Ok(())
    }

    fn block_scalar(&mut self) -> Result<()> {
        self.remove_key()?;
        self.simple_key_allowed = true;
        let mark = self.mark;
        let literal = self.byte(0) == b'|';
        self.skip();
        let (mut keep, mut strip, mut increment) = (false, false, 0i64);
        for _ in 0..2 {
            match self.byte(0) {
                b'+' if !keep && !strip => keep = true,
                b'-' if !keep && !strip => strip = true,
                digit @ b'1'..=b'9' if increment == 0 => increment = i64::from(digit - b'0'),
                b'0' => return Err(self.error(mark, "the indentation of a block of text cannot be 0")),
                _ => break,
            }
            self.skip();
        }
        while self.is_blank(0) {
            self.skip();
        }
        if self.byte(0) == b'#' {
            while !self.is_break(0) && !self.at_end() {
                self.skip();
            }
        }
        if !self.is_break(0) && !self.at_end() {
            return Err(self.error(mark, "a block of text starts on the next line"));
        }
        self.skip_line_if_any();
        let mut indent = if increment > 0 {
            self.indent.max(0) + increment
        } else {
            0
        };
        let (mut text, mut leading_break, mut trailing) = (String::new(), String::new(), String::new());
        self.block_breaks(&mut indent, &mut trailing, mark)?;
        let mut leading_blank = false;
        while i64::from(self.mark.column) == indent && !self.at_end() {
            let blank = self.is_blank(0);
            if !literal && !leading_blank && !blank && leading_break == "\n" {
                if trailing.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(&leading_break);
            }
            leading_break.clear();
            text.push_str(&trailing);
            trailing.clear();
            leading_blank = blank;
            let start = self.mark.index;
            while !self.is_break(0) && !self.at_end() {
                self.skip();
            }
            text.push_str(&self.text[start..self.mark.index]);
            self.read_line(&mut leading_break);
            self.block_breaks(&mut indent, &mut trailing, mark)?;
        }
        if !strip {
            text.push_str(&leading_break);
        }
        if keep {
            text.push_str(&trailing);
        }
        let style = if literal { Style::Quoted } else { Style::Folded };
        self.push(Token::Scalar(text.into(), style), mark);
        Ok(())
    }

    fn skip_line_if_any(&mut self) {
        if self.is_break(0) {
            self.skip_line();
        }
    }

    /// Passes over indentation and empty lines; finds out the indentation if it is not known.
    fn block_breaks(&mut self, indent: &mut i64, breaks: &mut String, mark: Mark) -> Result<()> {
        let mut deepest = 0;
        loop {
            while (*indent == 0 || i64::from(self.mark.column) < *indent) && self.byte(0) == b' ' {
                self.skip();
            }
            deepest = deepest.max(i64::from(self.mark.column));
            if (*indent == 0 || i64::from(self.mark.column) < *indent) && self.byte(0) == b'\t' {
                return Err(self.error(mark, "a tab stands where the text's indentation needs blanks"));
            }
            if !self.is_break(0) {
                break;
            }
            self.read_line(breaks);
        }
        if *indent == 0 {
            *indent = deepest.max(self.indent + 1).max(1);
        }
        Ok(())
    }

    fn quoted(&mut self) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark;
        let quote = self.byte(0);
        self.skip();
        if let Some(text) = self.simple_quoted(quote) {
            self.push(Token::Scalar(text.into(), Style::Quoted), mark);
            return Ok(());
        }
        let mut text = String::new();
        loop {
            if self.mark.column == 0 && self.document_marker().is_some() {
                return Err(self.error(
                    mark,
                    "a document ends inside of this quoted text; the closing quote is missing",
                ));
            }
            if self.at_end() {
                return Err(self.error(mark, "the closing quote of this text is missing"));
            }
            let mut leading_blanks = false;
            while !self.is_blank_or_end(0) {
                match (quote, self.byte(0)) {
                    (b'\'', b'\'') if self.byte(1) == b'\'' => {
                        text.push('\'');
                        self.skip();
                        self.skip();
                    }
                    (quote, byte) if quote == byte => break,
                    (b'"', b'\\') if self.is_break(1) => {
                        self.skip();
                        self.skip_line();
                        leading_blanks = true;
                        break;
                    }
                    (b'"', b'\\') => self.escape(&mut text)?,
                    _ => self.read(&mut text),
                }
            }
            if self.byte(0) == quote && !self.at_end() {
                break;
            }
            let (mut blanks, mut first, mut more) = (String::new(), String::new(), String::new());
            while self.is_blank(0) || self.is_break(0) {
                if self.is_blank(0) {
                    if leading_blanks {
                        self.skip();
                    } else {
                        self.read(&mut blanks);
                    }
                } else if leading_blanks {
                    self.read_line(&mut more);
                } else {
                    blanks.clear();
                    self.read_line(&mut first);
                    leading_blanks = true;
                }
            }
            if leading_blanks {
                fold(&mut text, &first, &more);
            } else {
                text.push_str(&blanks);
            }
        }
        self.skip();
        self.push(Token::Scalar(text.into(), Style::Quoted), mark);
        Ok(())
    }

    /// A quoted text on one line without escapes, which needs no copy.
    fn simple_quoted(&mut self, quote: u8) -> Option<&'a str> {
        let rest = &self.bytes[self.mark.index..];
        let length = rest
            .iter()
            .position(|b| *b == quote || *b == b'\\' || *b < b' ' || *b > b'~')?;
        let doubled = quote == b'\'' && rest.get(length + 1) == Some(&b'\'');
        if rest[length] != quote || doubled {
            return None;
        }
        let start = self.mark.index;
        self.mark.index += length + 1;
        self.mark.column += u32::try_from(length + 1).unwrap_or(u32::MAX);
        Some(&self.text[start..start + length])
    }

    fn escape(&mut self, text: &mut String) -> Result<()> {
        let mark = self.mark;
        let digits = match self.byte(1) {
            b'x' => 2,
            b'u' => 4,
            b'U' => 8,
            _ => 0,
        };
        if digits > 0 {
            let start = self.mark.index + 2;
            let hex = self.text.get(start..start + digits);
            let code = hex
                .filter(|h| h.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|h| u32::from_str_radix(h, 16).ok());
            let c = code.and_then(char::from_u32);
            text.push(c.ok_or_else(|| self.error(mark, "the escape in this quoted text is no character"))?);
            for _ in 0..digits + 2 {
                self.skip();
            }
            return Ok(());
        }
        let c = match self.byte(1) {
            b'0' => '\0',
            b'a' => '\u{7}',
            b'b' => '\u{8}',
            b't' | b'\t' => '\t',
            b'n' => '\n',
            b'v' => '\u{b}',
            b'f' => '\u{c}',
            b'r' => '\r',
            b'e' => '\u{1b}',
            b' ' => ' ',
            b'"' => '"',
            b'\'' => '\'',
            b'\\' => '\\',
            b'N' => '\u{85}',
            b'_' => '\u{a0}',
            b'L' => '\u{2028}',
            b'P' => '\u{2029}',
            _ => return Err(self.error(mark, "unknown escape; write \\\\ for a backslash, or use single quotes")),
        };
        text.push(c);
        self.skip();
        self.skip();
        Ok(())
    }

    fn plain(&mut self) -> Result<()> {
        self.save_key()?;
        self.simple_key_allowed = false;
        let mark = self.mark;
        let indent = self.indent + 1;
        // As long as the text is one piece of the input it is not copied.
        let mut end = self.mark.index;
        let mut copied: Option<String> = None;
        let (mut blanks_from, mut first, mut more) = (self.mark.index, String::new(), String::new());
        let mut leading_blanks = false;
        loop {
            if (self.mark.column == 0 && self.document_marker().is_some()) || self.byte(0) == b'#' {
                break;
            }
            while !self.is_blank_or_end(0) {
                let byte = self.byte(0);
                let ends = (byte == b':' && self.is_blank_or_end(1))
                    || (self.flow_level > 0 && matches!(byte, b',' | b'?' | b'[' | b']' | b'{' | b'}'));
                if ends {
                    break;
                }
                if leading_blanks {
                    let text = copied.get_or_insert_with(|| self.text[mark.index..end].to_owned());
                    fold(text, &first, &more);
                    first.clear();
                    more.clear();
                    leading_blanks = false;
                } else if blanks_from < self.mark.index
                    && blanks_from == end
                    && let Some(text) = &mut copied
                {
                    text.push_str(&self.text[end..self.mark.index]);
                }
                let start = self.mark.index;
                self.skip();
                if let Some(text) = &mut copied {
                    text.push_str(&self.text[start..self.mark.index]);
                }
                end = self.mark.index;
                blanks_from = end;
            }
            if !(self.is_blank(0) || self.is_break(0)) {
                break;
            }
            while self.is_blank(0) || self.is_break(0) {
                if self.is_blank(0) {
                    if leading_blanks && i64::from(self.mark.column) < indent && self.byte(0) == b'\t' {
                        return Err(self.error(self.mark, "a tab stands where the indentation needs blanks"));
                    }
                    self.skip();
                } else if leading_blanks {
                    self.read_line(&mut more);
                } else {
                    self.read_line(&mut first);
                    leading_blanks = true;
                }
            }
            if self.flow_level == 0 && i64::from(self.mark.column) < indent {
                break;
            }
        }
        if leading_blanks {
            self.simple_key_allowed = true;
        }
        let text = copied.map_or_else(|| Cow::Borrowed(&self.text[mark.index..end]), Cow::Owned);
        if text.is_empty() {
            return Err(self.error(mark, "a value is expected here"));
        }
        self.push(Token::Scalar(text, Style::Plain), mark);
        Ok(())
    }
}

/// Joins two lines of folded text: one line break is a blank, the others stay.
fn fold(text: &mut String, first: &str, more: &str) {
    if first == "\n" {
        if more.is_empty() {
            text.push(' ');
        } else {
            text.push_str(more);
        }
    } else {
        text.push_str(first);
        text.push_str(more);
    }
}
