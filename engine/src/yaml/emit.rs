//! Values to text, byte for byte as kustomize prints them: sorted keys, lists not indented under their key, plain
//! scalars where every YAML 1.1 reader reads them as strings, long lines folded at the first space past column 80, text
//! with line breaks as literal blocks. The rules are those of libyaml's emitter as go-yaml v2 uses it.

use super::number::{Number, go_float_g};
use super::resolve::{Profile, Resolved, resolve};
use serde_json::{Map, Value};
use std::cmp::Ordering;

/// Lines are folded at the first space past this column.
const WIDTH: usize = 80;
/// A longer key is written in the explicit form `? key`.
const LONGEST_SIMPLE_KEY: usize = 128;

/// One document, ending in a line break.
#[must_use]
pub fn emit(value: &Value) -> String {
    let mut out = Emitter {
        out: String::new(),
        column: 0,
        whitespace: true,
        indention: true,
    };
    out.node(value, None, false, false);
    out.write_indent(0);
    out.out
}

/// How keys are ordered: letters after everything else, runs of digits by their value.
#[must_use]
pub fn key_order(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let (ar, br): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    for i in 0..ar.len().min(br.len()) {
        if ar[i] == br[i] {
            continue;
        }
        let (al, bl) = (ar[i].is_alphabetic(), br[i].is_alphabetic());
        if al && bl {
            return ar[i].cmp(&br[i]);
        }
        if al || bl {
            return if bl { Ordering::Less } else { Ordering::Greater };
        }
        let (mut an, mut bn) = (0i64, 0i64);
        if (ar[i] == '0' || br[i] == '0')
            && ar[..i]
                .iter()
                .rev()
                .take_while(|c| c.is_ascii_digit())
                .any(|c| *c != '0')
        {
            // Inside a longer number the preceding digits count.
            (an, bn) = (1, 1);
        }
        let run = |chars: &[char], start: i64| {
            let digits = chars.iter().take_while(|c| c.is_ascii_digit());
            let value = digits
                .clone()
                .fold(start, |n, c| n.wrapping_mul(10).wrapping_add(i64::from(*c as u32 - 48)));
            (digits.count(), value)
        };
        let (ai, av) = run(&ar[i..], an);
        let (bi, bv) = run(&br[i..], bn);
        (an, bn) = (av, bv);
        return an.cmp(&bn).then(ai.cmp(&bi)).then(ar[i].cmp(&br[i]));
    }
    ar.len().cmp(&br.len())
}

/// Sorts by [`key_order`], which is not a strict order (a digit can come between keys that it separates), the way Go
/// sorts: by insertion for short lists.
fn sort_keys<T: Copy>(entries: &mut [(&String, T)]) {
    const FEW: usize = 12;
    if entries
        .windows(2)
        .all(|w| key_order(w[0].0, w[1].0) != Ordering::Greater)
    {
        return;
    }
    if entries.len() > FEW {
        // What remains is nearly always strictly ordered; insertion into a sorted run works in any case.
        let (left, right) = entries.split_at_mut(entries.len() / 2);
        sort_keys(left);
        sort_keys(right);
        merge_runs(entries);
        return;
    }
    for i in 1..entries.len() {
        let mut j = i;
        while j > 0 && key_order(entries[j].0, entries[j - 1].0) == Ordering::Less {
            entries.swap(j, j - 1);
            j -= 1;
        }
    }
}

/// Merges the two sorted halves.
fn merge_runs<T: Copy>(entries: &mut [(&String, T)]) {
    let (left, right) = entries.split_at(entries.len() / 2);
    let (mut l, mut r) = (left.iter().peekable(), right.iter().peekable());
    let mut merged = Vec::with_capacity(entries.len());
    loop {
        let from_right = match (l.peek(), r.peek()) {
            (Some(a), Some(b)) => key_order(b.0, a.0) == Ordering::Less,
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => break,
        };
        merged.extend(if from_right { r.next() } else { l.next() });
    }
    entries.copy_from_slice(&merged);
}

struct Emitter {
    out: String,
    /// Characters written on this line.
    column: usize,
    /// Whether the last thing written was white space.
    whitespace: bool,
    /// Whether the line holds nothing but indentation and indicators.
    indention: bool,
}

impl Emitter {
    /// `parent` is the indentation of what contains this node (`None` at the root).
    fn node(&mut self, value: &Value, parent: Option<usize>, in_map: bool, key: bool) {
        match value {
            Value::Object(map) if !map.is_empty() => self.map(map, parent),
            Value::Array(items) if !items.is_empty() => self.list(items, parent, in_map),
            Value::Object(_) => self.indicators("{", "}"),
            Value::Array(_) => self.indicators("[", "]"),
            Value::Null => self.plain("null", 0, false),
            Value::Bool(b) => self.plain(if *b { "true" } else { "false" }, 0, false),
            Value::Number(n) => {
                let text = match n.as_f64() {
                    Some(f) if n.is_f64() => match Number::Float(f).through_json() {
                        Number::Int(i) => i.to_string(),
                        Number::UInt(u) => u.to_string(),
                        Number::Float(f) => go_float_g(f),
                    },
                    _ => n.to_string(),
                };
                self.plain(&text, 0, false);
            }
            Value::String(text) => self.string(text, parent.map_or(0, |p| p + 2), key),
        }
    }

    fn map(&mut self, map: &Map<String, Value>, parent: Option<usize>) {
        let indent = parent.map_or(0, |p| p + 2);
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        sort_keys(&mut entries);
        for (key, value) in entries {
            self.write_indent(indent);
            let simple = key.len() <= LONGEST_SIMPLE_KEY && !key.chars().any(is_break);
            if simple {
                self.string(key, indent + 2, true);
                self.indicator(":", false, false);
            } else {
                self.indicator("?", true, true);
                self.string(key, indent + 2, false);
                self.write_indent(indent);
                self.indicator(":", true, true);
            }
            self.node(value, Some(indent), true, false);
        }
    }

    fn list(&mut self, items: &[Value], parent: Option<usize>, in_map: bool) {
        let indent = match parent {
            None => 0,
            Some(parent) if in_map && !self.indention => parent,
            Some(parent) => parent + 2,
        };
        for item in items {
            self.write_indent(indent);
            self.indicator("-", true, true);
            self.node(item, Some(indent), false, false);
        }
    }

    fn string(&mut self, text: &str, indent: usize, key: bool) {
        let look = Look::at(text);
        let block = text.contains('\n') && look.block && !key;
        if block {
            return self.literal(text, indent);
        }
        let quoted = text.contains('\n') || reads_as_something_else(text);
        if quoted {
            self.double_quoted(text, indent, !key);
        } else if look.plain && !(text.is_empty() && key) {
            self.plain(text, indent, !key);
        } else if look.single {
            self.single_quoted(text, indent, !key);
        } else {
            self.double_quoted(text, indent, !key);
        }
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column += 1;
    }

    fn put_break(&mut self) {
        self.out.push('\n');
        self.column = 0;
    }

    /// Writes a character of the text; a line break of any kind ends the line.
    fn write(&mut self, c: char) {
        if c == '\n' {
            self.put_break();
        } else if is_break(c) {
            self.out.push(c);
            self.column = 0;
        } else {
            self.put(c);
        }
    }

    fn write_indent(&mut self, indent: usize) {
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put_break();
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    fn indicator(&mut self, text: &str, need_whitespace: bool, is_indention: bool) {
        if need_whitespace && !self.whitespace {
            self.put(' ');
        }
        self.out.push_str(text);
        self.column += text.len();
        self.whitespace = false;
        self.indention = self.indention && is_indention;
    }

    fn indicators(&mut self, open: &str, close: &str) {
        self.indicator(open, true, false);
        self.indicator(close, false, false);
    }

    fn plain(&mut self, text: &str, indent: usize, folds: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        let bytes = text.as_bytes();
        let mut spaces = false;
        for (i, c) in text.char_indices() {
            if c == ' ' {
                if folds && !spaces && self.column > WIDTH && bytes.get(i + 1) != Some(&b' ') {
                    self.write_indent(indent);
                } else {
                    self.put(c);
                }
                spaces = true;
            } else {
                self.write(c);
                self.indention = false;
                spaces = false;
            }
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn single_quoted(&mut self, text: &str, indent: usize, folds: bool) {
        self.indicator("'", true, false);
        let bytes = text.as_bytes();
        let (mut spaces, mut breaks) = (false, false);
        for (i, c) in text.char_indices() {
            if c == ' ' {
                let inside = i > 0 && i < text.len() - 1 && bytes.get(i + 1) != Some(&b' ');
                if folds && !spaces && self.column > WIDTH && inside {
                    self.write_indent(indent);
                } else {
                    self.put(c);
                }
                spaces = true;
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.put_break();
                }
                self.write(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent(indent);
                }
                if c == '\'' {
                    self.put('\'');
                }
                self.put(c);
                self.indention = false;
                spaces = false;
                breaks = false;
            }
        }
        self.indicator("'", false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn double_quoted(&mut self, text: &str, indent: usize, folds: bool) {
        self.indicator("\"", true, false);
        let bytes = text.as_bytes();
        let mut spaces = false;
        // The original's emitter looks for a byte order mark at the start of the text, whatever character it is at.
        let marked = text.starts_with('\u{feff}');
        for (i, c) in text.char_indices() {
            if marked || !is_printable(c) || is_break(c) || matches!(c, '"' | '\\') {
                self.escape(c);
                spaces = false;
            } else if c == ' ' {
                if folds && !spaces && self.column > WIDTH && i > 0 && i < text.len() - 1 {
                    self.write_indent(indent);
                    if bytes.get(i + 1) == Some(&b' ') {
                        self.put('\\');
                    }
                } else {
                    self.put(c);
                }
                spaces = true;
            } else {
                self.put(c);
                spaces = false;
            }
        }
        self.indicator("\"", false, false);
        self.whitespace = false;
        self.indention = false;
    }

    fn escape(&mut self, c: char) {
        self.put('\\');
        let short = match c {
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '"' => '"',
            '\\' => '\\',
            '\u{85}' => 'N',
            '\u{a0}' => '_',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            _ => {
                let code = c as u32;
                let text = match code {
                    0..=0xff => format!("x{code:02X}"),
                    0x100..=0xffff => format!("u{code:04X}"),
                    _ => format!("U{code:08X}"),
                };
                text.chars().for_each(|c| self.put(c));
                return;
            }
        };
        self.put(short);
    }

    fn literal(&mut self, text: &str, indent: usize) {
        self.indicator("|", true, false);
        if text.starts_with([' ', '\n', '\u{85}', '\u{2028}', '\u{2029}']) {
            self.indicator("2", false, false);
        }
        let mut tail = text.chars().rev();
        match (tail.next(), tail.next()) {
            (Some(last), _) if !is_break(last) => self.indicator("-", false, false),
            (Some(_), None) => self.indicator("+", false, false),
            (Some(_), Some(before)) if is_break(before) => self.indicator("+", false, false),
            _ => {}
        }
        self.put_break();
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.write(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent(indent);
                }
                self.put(c);
                self.indention = false;
                breaks = false;
            }
        }
    }
}

/// In which styles a text can be written so that it reads back the same.
struct Look {
    plain: bool,
    single: bool,
    block: bool,
}

impl Look {
    fn at(text: &str) -> Self {
        if text.is_empty() {
            return Self {
                plain: true,
                single: true,
                block: false,
            };
        }
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        let (mut line_breaks, mut special) = (false, false);
        let (mut leading, mut trailing_space, mut trailing_break) = (false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let (mut previous_space, mut previous_break) = (false, false);
        let mut preceded_by_whitespace = true;
        for (i, c) in text.char_indices() {
            let after = text[i + c.len_utf8()..].chars().next();
            let last = after.is_none();
            let followed_by_whitespace = after.is_none_or(|c| matches!(c, ' ' | '\t') || is_break(c));
            if i == 0 {
                indicators |= match c {
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
                        true
                    }
                    '?' | ':' | '-' => followed_by_whitespace,
                    _ => false,
                };
            } else {
                indicators |= match c {
                    ':' => followed_by_whitespace,
                    '#' => preceded_by_whitespace,
                    _ => false,
                };
            }
            special |= !is_printable(c);
            if c == ' ' {
                leading |= i == 0;
                trailing_space |= last;
                break_space |= previous_break;
                (previous_space, previous_break) = (true, false);
            } else if is_break(c) {
                line_breaks = true;
                leading |= i == 0;
                trailing_break |= last;
                space_break |= previous_space;
                (previous_space, previous_break) = (false, true);
            } else {
                (previous_space, previous_break) = (false, false);
            }
            preceded_by_whitespace = matches!(c, ' ' | '\t' | '\0') || is_break(c);
        }
        let impossible = space_break || special;
        Self {
            plain: !(impossible
                || break_space
                || leading
                || trailing_space
                || trailing_break
                || line_breaks
                || indicators),
            single: !(impossible || break_space),
            block: !(impossible || trailing_space),
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// What the original takes for printable: no tab, no carriage return, nothing outside the basic plane.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}') && c != '\u{feff}'
}

/// Whether a text that is no key is written without quotes, and not as a block.
pub fn is_written_plain(text: &str) -> bool {
    !text.contains('\n') && !reads_as_something_else(text) && Look::at(text).plain
}

/// Whether a YAML 1.1 reader would take the plain text for anything but a string.
pub(super) fn reads_as_something_else(text: &str) -> bool {
    resolve(text, Profile::Manifest) != Resolved::Str
        || matches!(resolve(text, Profile::Kustomize), Resolved::Timestamp(_))
        || is_base60(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_base60(text: &str) -> bool {
    let text = text.strip_prefix(['-', '+']).unwrap_or(text);
    let Some((first, rest)) = text.split_once(':') else {
        return false;
    };
    if !first.starts_with(|c: char| c.is_ascii_digit()) || !first.bytes().all(|b| b.is_ascii_digit() || b == b'_') {
        return false;
    }
    let (rest, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    fraction.bytes().all(|b| b.is_ascii_digit() || b == b'_')
        && rest.split(':').all(|part| match part.as_bytes() {
            [d] => d.is_ascii_digit(),
            [t, d] => (b'0'..=b'5').contains(t) && d.is_ascii_digit(),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_print_as_kustomize_prints_them() {
        let value = json!({
            "list": [1, "a", {"x": [], "y": {}}, [["n"]]],
            "yes": "no", "n1": "1:30", "n10": null, "n2": "0x1F", "empty": "",
            "text": "a\nb\n", "keep": "a\n\n", "strip": " a\nb", "tab": "a\tb\n", "trail": "a \nb\n",
            "colon": "a: b", "dash": "- a", "hash": "a #b", "quote": "it's", "lead": " x", "emoji": "\u{1f600}",
            "float": 1.5, "big": 1e300, "int": 3,
        });
        let want = r#"big: 1e+300
colon: 'a: b'
dash: '- a'
emoji: "\U0001F600"
empty: ""
float: 1.5
hash: 'a #b'
int: 3
keep: |+
  a

lead: ' x'
list:
- 1
- a
- x: []
  "y": {}
- - - "n"
n1: "1:30"
n2: "0x1F"
n10: null
quote: it's
strip: |2-
   a
  b
tab: "a\tb\n"
text: |
  a
  b
trail: "a \nb\n"
"yes": "no"
"#;
        assert_eq!(emit(&value), want);
    }

    #[test]
    fn long_plain_text_folds_at_the_first_space_past_column_80() {
        let words = "word ".repeat(30);
        let got = emit(&json!({"a": {"b": words.trim_end()}}));
        assert_eq!(got.lines().map(str::len).collect::<Vec<_>>(), [2, 84, 73]);
        let key = "k".repeat(129);
        assert_eq!(emit(&json!({(key.clone()): [1]})), format!("? {key}\n: - 1\n"));
    }
}
