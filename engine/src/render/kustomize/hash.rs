//! The name suffix of generated ConfigMaps and Secrets: the start of a SHA-256 over their content as Go's
//! `encoding/json` writes it, in letters that form no words.

use super::resource::Resource;
use crate::yaml::{Content, Node, to_json};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

/// The original means to add the name and looks it up where it is not; its hashes are without it.
const NAME: &str = "";

/// Ten letters and digits that change when the content changes.
pub(super) fn suffix(resource: &Resource) -> Result<String, String> {
    let mut text = String::from("{");
    let mut field = |key: &str, value: &Value| {
        if text.len() > 1 {
            text.push(',');
        }
        go_string(&mut text, key);
        text.push(':');
        go_json(&mut text, value);
    };
    let value = |path: &[&str]| lookup(&resource.node, path);
    match resource.kind() {
        "ConfigMap" => {
            let binary = value(&["binaryData"])?;
            if binary.is_object() {
                field("binaryData", &binary);
            }
            field("data", &value(&["data"])?);
            field("kind", &"ConfigMap".into());
            field("name", &NAME.into());
        }
        "Secret" => {
            field("data", &value(&["data"])?);
            field("kind", &"Secret".into());
            field("name", &NAME.into());
            let strings = value(&["stringData"])?;
            if strings.is_object() {
                field("stringData", &strings);
            }
            field("type", &value(&["type"])?);
        }
        _ => {
            text.clear();
            go_json(&mut text, &to_json(&resource.node).map_err(|e| e.message)?);
            return Ok(letters(&text));
        }
    }
    text.push('}');
    Ok(letters(&text))
}

/// A map or list as JSON, a scalar as its text, nothing as an empty text.
fn lookup(node: &Node, path: &[&str]) -> Result<Value, String> {
    match node.path(path).map(|n| (n, &n.content)) {
        None => Ok(Value::String(String::new())),
        Some((_, Content::Scalar(scalar))) => Ok(Value::String(scalar.text.to_string())),
        Some((node, _)) => to_json(node).map_err(|e| e.message),
    }
}

fn letters(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    let mut hex = String::new();
    for byte in &digest[..5] {
        write!(hex, "{byte:02x}").expect("writing to a string cannot fail");
    }
    let swap = |c| match c {
        '0' => 'g',
        '1' => 'h',
        '3' => 'k',
        'a' => 'm',
        'e' => 't',
        other => other,
    };
    hex.chars().map(swap).collect()
}

fn go_json(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => go_string(out, text),
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                go_json(out, item);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push('{');
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                go_string(out, key);
                out.push(':');
                go_json(out, &map[key]);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

/// As Go writes a string: like JSON, with what HTML could take for markup escaped.
fn go_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                write!(out, "\\u{:04x}", c as u32).expect("writing to a string cannot fail");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
