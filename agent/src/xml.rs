//! Just enough XML to read answers of EC2's query protocol: elements and text. Attributes, comments and declarations
//! are skipped; a document type is refused, so that no entity can be defined. Depth is bounded.

use std::borrow::Cow;

/// Deepest nesting. Answers of EC2 stay below ten.
const DEPTH: usize = 32;

/// Walks a document and calls `text` with the path of every element that holds text, and `end` when an element closes.
///
/// # Errors
/// What is wrong with the document.
pub fn walk<'d>(
    document: &'d str,
    mut text: impl FnMut(&[&'d str], Cow<'d, str>),
    mut end: impl FnMut(&[&'d str]),
) -> Result<(), String> {
    let mut path: Vec<&str> = Vec::new();
    let mut rest = document;
    while let Some(at) = rest.find('<') {
        let (before, tail) = rest.split_at(at);
        if !before.trim().is_empty() && !path.is_empty() {
            text(&path, unescape(before.trim())?);
        }
        let (mark, close, after) = if let Some(tail) = tail.strip_prefix("<!--") {
            let end = tail.find("-->").ok_or("a comment does not end")?;
            ("", false, &tail[end + 3..])
        } else if tail.starts_with("<?") {
            let end = tail.find("?>").ok_or("a declaration does not end")?;
            ("", false, &tail[end + 2..])
        } else if tail.starts_with("<!") {
            return Err("it has a document type or a section that answers of EC2 do not have".into());
        } else {
            let end = tail.find('>').ok_or("a tag does not end")?;
            let inner = &tail[1..end];
            (inner.trim_start_matches('/'), inner.starts_with('/'), &tail[end + 1..])
        };
        rest = after;
        if mark.is_empty() {
            continue;
        }
        let alone = mark.ends_with('/');
        let name = mark.trim_end_matches('/').split_whitespace().next().unwrap_or_default();
        if close {
            if path.last() != Some(&name) {
                return Err(format!("</{name}> closes nothing"));
            }
            end(&path);
            path.pop();
        } else {
            if path.len() == DEPTH {
                return Err(format!("it is nested deeper than {DEPTH}"));
            }
            path.push(name);
            if alone {
                end(&path);
                path.pop();
            }
        }
    }
    if path.is_empty() {
        Ok(())
    } else {
        Err(format!("<{}> does not end", path.join("><")))
    }
}

fn unescape(text: &str) -> Result<Cow<'_, str>, String> {
    if !text.contains('&') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        let end = rest[at..].find(';').ok_or("a reference does not end")? + at;
        let name = &rest[at + 1..end];
        let number = |digits: &str, base| u32::from_str_radix(digits, base).ok().and_then(char::from_u32);
        let one = match name {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => match name.strip_prefix("#x") {
                Some(hex) => number(hex, 16),
                None => name.strip_prefix('#').and_then(|d| number(d, 10)),
            },
        };
        out.push(one.ok_or_else(|| format!("&{name}; is unknown"))?);
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(document: &str) -> Result<Vec<(String, String)>, String> {
        let mut found = Vec::new();
        walk(
            document,
            |path, text| found.push((path.join("/"), text.into_owned())),
            |_| {},
        )?;
        Ok(found)
    }

    #[test]
    fn elements_text_and_references_are_read() {
        let read =
            read("<?xml version=\"1.0\"?>\n<a x=\"1\"><!-- c --><b> 1 &lt;&#x41;&#66;&amp; </b><c/><b>2</b></a>");
        let expected = [("a/b", "1 <AB&"), ("a/b", "2")].map(|(p, t)| (p.to_owned(), t.to_owned()));
        assert_eq!(read, Ok(expected.to_vec()));
    }

    #[test]
    fn what_is_torn_or_defines_entities_is_refused() {
        for document in [
            "<a>",
            "<a></b>",
            "<a",
            "<a>&x;</a>",
            "<a>&lt</a>",
            "<!DOCTYPE a []><a/>",
            "<a><!-- </a>",
        ] {
            assert!(read(document).is_err(), "{document}");
        }
        assert!(read(&"<a>".repeat(1000)).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_never_a_panic(text in "[<>/a-c&;!?# \\-é]{0,60}") {
            let _ = read(&text);
        }
    }
}
