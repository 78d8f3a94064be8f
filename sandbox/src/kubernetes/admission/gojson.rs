//! Text as the real server prints it: Go's quoted strings and Go's JSON, in which `<`, `>` and `&` are escaped. Messages that
//! show values depend on it. It is no serializer for the wire.

use std::fmt::Write as _;

use serde_json::Value;

/// A string as Go's `%q` prints it.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A value as Go's `encoding/json` writes it.
pub(crate) fn text(value: &Value) -> String {
    escape_html(&value.to_string())
}

/// A string as a JSON string of Go's.
pub(crate) fn string(text: &str) -> String {
    escape_html(&Value::String(text.to_owned()).to_string())
}

fn escape_html(text: &str) -> String {
    if !text.contains(['<', '>', '&']) {
        return text.to_owned();
    }
    text.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

/// What Go's JSON reader says about a text that is no JSON object's; `None` if it is well formed.
pub(crate) fn syntax_error(bytes: &[u8]) -> Option<String> {
    let error = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).err()?;
    if error.is_eof() {
        return Some("unexpected end of JSON input".to_owned());
    }
    // serde counts columns from one, in bytes, and stops after the offending byte or on it
    let line = bytes
        .split(|b| *b == b'\n')
        .nth(error.line().saturating_sub(1))
        .unwrap_or_default();
    let at = error.column().saturating_sub(1).min(line.len().saturating_sub(1));
    let found = line
        .get(at)
        .copied()
        .map_or_else(String::new, |b| char::from(b).to_string());
    let text = error.to_string();
    let wanted = if text.starts_with("key must be a string") {
        "looking for beginning of object key string"
    } else if text.starts_with("expected `:`") {
        "after object key"
    } else if text.starts_with("expected `,` or `}`") {
        "after object key:value pair"
    } else if text.starts_with("expected `,` or `]`") {
        "after array element"
    } else if text.starts_with("trailing characters") {
        "after top-level value"
    } else {
        "looking for beginning of value"
    };
    Some(format!("invalid character '{found}' {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_read_like_gos() {
        for (text, wanted) in [
            (
                "{bad",
                Some("invalid character 'b' looking for beginning of object key string"),
            ),
            ("", Some("unexpected end of JSON input")),
            ("{\"a\" 1}", Some("invalid character '1' after object key")),
            ("{} x", Some("invalid character 'x' after top-level value")),
            ("{}", None),
        ] {
            assert_eq!(syntax_error(text.as_bytes()).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn quotes_and_controls_are_escaped_as_go_does() {
        assert_eq!(quote("a\"b\\\n\u{1}é"), "\"a\\\"b\\\\\\n\\x01é\"");
        assert_eq!(
            text(&serde_json::json!({"a": "x > 1 & <"})),
            r#"{"a":"x \u003e 1 \u0026 \u003c"}"#
        );
    }
}
