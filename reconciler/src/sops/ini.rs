//! INI files as the reader that SOPS uses parses them: sections, `name = value` or `name: value`, values in three
//! quotes or in backticks over several lines, comments after `#` and `;`. The SOPS metadata is the section `sops`.
//!
//! Lines without an encrypted value stay as they are. An encrypted comment is dropped: nothing reads it, and the MAC
//! does not cover it. Lines that continue after a backslash are refused.

use super::flat::Flat;
use super::layout::{Found, Leaf};
use super::value::{BEGIN, Value};
use myelin_engine::tree::Sealed;
use myelin_engine::yaml::At;
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// Name of the part before the first section.
const FIRST: &str = "DEFAULT";
/// The section with the SOPS metadata.
const OWN: &str = "sops";

/// One or several lines of a file.
enum Piece<'a> {
    /// A section begins.
    Section(&'a str),
    /// A name and its value; `head` is the text before the value.
    Pair {
        head: &'a str,
        name: &'a str,
        value: String,
    },
    /// A comment that was encrypted.
    SealedComment,
    /// Another comment, or nothing.
    Other,
}

/// A piece, the line that it begins at, and its text.
struct Placed<'a> {
    piece: Piece<'a>,
    line: u32,
    text: &'a str,
}

fn odd(line: u32, why: &str) -> Sealed {
    Sealed {
        line,
        why: format!("it is encrypted by sops and is no INI that is understood: {why}"),
    }
}

/// Cuts a text into pieces, each with its line ends.
fn pieces(text: &str) -> Result<Vec<Placed<'_>>, Sealed> {
    let mut pieces = Vec::new();
    let (mut rest, mut line) = (text, 1_u32);
    while !rest.is_empty() {
        let first = &rest[..rest.find('\n').map_or(rest.len(), |end| end + 1)];
        let trimmed = first.trim();
        let (piece, length) = if trimmed.is_empty() {
            (Piece::Other, first.len())
        } else if let Some(comment) = trimmed.strip_prefix(['#', ';']) {
            let comment = comment.trim_start_matches(['#', ';', ' ']);
            let sealed = comment.starts_with(BEGIN) && comment.ends_with(']');
            let piece = if sealed { Piece::SealedComment } else { Piece::Other };
            (piece, first.len())
        } else if let Some(section) = trimmed.strip_prefix('[') {
            let end = section.rfind(']').ok_or_else(|| odd(line, "a section has no end"))?;
            (Piece::Section(section[..end].trim()), first.len())
        } else {
            pair(rest, first, line)?
        };
        let text = &rest[..length];
        pieces.push(Placed { piece, line, text });
        line = line.saturating_add(u32::try_from(text.matches('\n').count()).unwrap_or(u32::MAX));
        rest = &rest[length..];
    }
    Ok(pieces)
}

/// A name and its value, and how much of the text they take.
fn pair<'a>(rest: &'a str, first: &'a str, line: u32) -> Result<(Piece<'a>, usize), Sealed> {
    let start = first.trim_start();
    let quote = ["\"\"\"", "\"", "`"].into_iter().find(|quote| start.starts_with(quote));
    let no_value = || odd(line, "a line has no = or :");
    let (name, delimiter) = match quote {
        Some(quote) => {
            let begin = first.len() - start.len() + quote.len();
            let end = begin + first[begin..].find(quote).ok_or_else(no_value)?;
            let after = end + quote.len();
            (
                &first[begin..end],
                after + first[after..].find(['=', ':']).ok_or_else(no_value)?,
            )
        }
        None => {
            let end = first.find(['=', ':']).ok_or_else(no_value)?;
            (first[..end].trim(), end)
        }
    };
    let after = &first[delimiter + 1..];
    let begin =
        delimiter + 1 + (after.len() - after.trim_start().len()).min(after.trim_end_matches(['\r', '\n']).len());
    let head = &first[..begin];
    let value = &rest[begin..];
    for quote in ["\"\"\"", "`"] {
        if let Some(inner) = value.strip_prefix(quote) {
            let end = inner
                .find(quote)
                .ok_or_else(|| odd(line, "a value in quotes has no end"))?;
            let after = begin + quote.len() + end + quote.len();
            let length = rest[after..].find('\n').map_or(rest.len(), |end| after + end + 1);
            let value = inner[..end].to_owned();
            return Ok((Piece::Pair { head, name, value }, length));
        }
    }
    let value = first[begin..].trim();
    if value.ends_with('\\') {
        return Err(odd(line, "a value goes on in the next line"));
    }
    let value = value
        .find(['#', ';'])
        .map_or(value, |comment| value[..comment].trim_end());
    let unquoted = ['"', '\''].into_iter().find_map(|quote| {
        let inner = value.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inner)
    });
    let value = unquoted.unwrap_or(value).to_owned();
    Ok((Piece::Pair { head, name, value }, first.len()))
}

/// Reads a file.
///
/// # Errors
/// With the line that is not understood.
pub(super) fn read(text: &str, found: &mut Found) -> Result<(), Sealed> {
    let mut flat = Flat::default();
    let (mut section, mut names) = (FIRST, BTreeSet::new());
    for placed in pieces(text)? {
        match placed.piece {
            Piece::Section(name) => section = name,
            Piece::Pair { name, value, .. } if section == OWN => flat.take(name, &value, placed.line),
            Piece::Pair { name, value, .. } => {
                // The last one would win, in another order than the code was made in.
                if !names.insert((section, name)) {
                    return Err(odd(placed.line, "a name is there twice in one section"));
                }
                found.leaves.push(match value.starts_with(BEGIN) {
                    true => Leaf::Sealed {
                        place: format!("{section}:{name}:"),
                        at: At {
                            line: placed.line,
                            ..At::default()
                        },
                        text: value,
                    },
                    false => Leaf::Plain(value.into_bytes()),
                });
            }
            Piece::SealedComment | Piece::Other => {}
        }
    }
    found.metadata = flat.done();
    Ok(())
}

/// The file with opened values, in order, and without its section `sops`.
///
/// # Errors
/// As when it was read.
pub(super) fn opened(text: &str, values: &[Value]) -> Result<Zeroizing<String>, Sealed> {
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    let (mut section, mut values) = (FIRST, values.iter());
    for placed in pieces(text)? {
        if let Piece::Section(name) = placed.piece {
            section = name;
        }
        match placed.piece {
            _ if section == OWN => {}
            Piece::SealedComment => {}
            Piece::Pair { head, value, .. } if value.starts_with(BEGIN) => {
                out.push_str(head);
                if let Some(value) = values.next() {
                    quoted(&value.text, &mut out);
                }
                out.push('\n');
            }
            Piece::Pair { .. } | Piece::Section(_) | Piece::Other => out.push_str(placed.text),
        }
    }
    Ok(out)
}

/// A value so that it is read as it is.
fn quoted(value: &str, out: &mut Zeroizing<String>) {
    let quote = match value {
        _ if value.contains(['\n', '`']) => "\"\"\"",
        _ if value.contains(['#', ';']) || value.ends_with('\\') || value.starts_with("\"\"\"") => "`",
        _ if value.trim() != value => "\"",
        _ => "",
    };
    out.push_str(quote);
    out.push_str(value);
    out.push_str(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Result<Vec<(String, String, u32)>, Sealed> {
        let pieces = pieces(text)?;
        assert_eq!(pieces.iter().map(|placed| placed.text).collect::<String>(), text);
        let pair = |placed: Placed<'_>| match placed.piece {
            Piece::Pair { name, value, .. } => Some((name.to_owned(), value, placed.line)),
            _ => None,
        };
        Ok(pieces.into_iter().filter_map(pair).collect())
    }

    #[test]
    fn names_and_values_are_read_as_the_original_reads_them() {
        for (text, name, value) in [
            ("a = b", "a", "b"),
            ("  a:b  \r\n", "a", "b"),
            ("a=", "a", ""),
            ("a =\n", "a", ""),
            ("a = b ; c", "a", "b"),
            ("a = b#c", "a", "b"),
            ("a = \"b c\"", "a", "b c"),
            ("a = 'b'", "a", "b"),
            ("a = `b;#c`", "a", "b;#c"),
            ("a = \"\"\"b\n c\"\"\"\n", "a", "b\n c"),
            ("`a=b` = c", "a=b", "c"),
            ("\"a:b\": c", "a:b", "c"),
            ("ä = ö", "ä", "ö"),
        ] {
            let read = pairs(text).expect(text);
            assert_eq!(read, [(name.to_owned(), value.to_owned(), 1)], "{text}");
        }
        let lines = "; x\n\n[s]\na = \"\"\"1\n2\"\"\"\nb = 3\n";
        let numbers: Vec<u32> = pairs(lines).expect("good").into_iter().map(|(.., line)| line).collect();
        assert_eq!(numbers, [4, 6]);
        for (text, line) in [
            ("a", 1),
            ("\n[s", 2),
            ("a = b\\\n", 1),
            ("\n\na = \"\"\"b\n", 3),
            ("a = `b", 1),
            ("`a = b", 1),
        ] {
            assert_eq!(pairs(text).expect_err(text).line, line, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for value in ["", "a", "a b", " a ", "a;b", "a#b", "a\nb", "a`b", "a\\", "`", "ä"] {
            let mut written = Zeroizing::new("a = ".to_owned());
            quoted(value, &mut written);
            let read = pairs(&written).expect(value);
            assert_eq!(read[0].1, value, "{}", *written);
        }
    }
}
