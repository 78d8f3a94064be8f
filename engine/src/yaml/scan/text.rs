//! Scalars: text blocks, quoted text and plain text, with line folding.

use super::{Mark, Result, Scanner, Style, Token};
use std::borrow::Cow;

impl<'a> Scanner<'a> {
    pub(super) fn block_scalar(&mut self) -> Result<()> {
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
        let style = if literal { Style::Literal } else { Style::Folded };
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

    pub(super) fn quoted(&mut self) -> Result<()> {
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

    pub(super) fn plain(&mut self) -> Result<()> {
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
