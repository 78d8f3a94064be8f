//! Nodes to JSON values and back, with the losses of both tools: numbers by value, timestamps as text.

use super::YamlError;
use super::node::{Content, Entry, Node, Scalar, Tag};
use super::number::{Number, go_float_g};
use super::resolve::{Profile, Resolved, resolve};
use base64::Engine as _;
use serde_json::Value;

/// The JSON value of a node.
///
/// # Errors
/// Where a number is NaN or infinite, or a text contradicts its explicit tag.
pub fn to_json(node: &Node) -> Result<Value, YamlError> {
    Ok(match &node.content {
        Content::Map(entries) => Value::Object(
            entries
                .iter()
                .map(|e| Ok((e.key.to_string(), to_json(&e.value)?)))
                .collect::<Result<_, YamlError>>()?,
        ),
        Content::Seq(items) => Value::Array(items.iter().map(to_json).collect::<Result<_, _>>()?),
        Content::Scalar(scalar) => scalar_json(scalar).map_err(|message| YamlError::new(node.at, message))?,
    })
}

fn scalar_json(scalar: &Scalar) -> Result<Value, String> {
    let text = &*scalar.text;
    let wrong = |kind: &str| format!("\"{text}\" is not {kind}");
    match scalar.tag {
        Tag::Str => Ok(Value::String(text.to_owned())),
        Tag::Null => Ok(Value::Null),
        Tag::Blank => Ok(Value::String(String::new())),
        // Only kubectl's profile gives its wider spellings this tag.
        Tag::Bool => match resolve(text, Profile::Manifest) {
            Resolved::Bool(value) => Ok(Value::Bool(value)),
            _ => Err(wrong("a boolean")),
        },
        Tag::Int | Tag::Float => match resolve(text, Profile::Kustomize) {
            Resolved::Number(number) => match number.through_json() {
                Number::Int(int) => Ok(int.into()),
                Number::UInt(int) => Ok(int.into()),
                Number::Float(float) => serde_json::Number::from_f64(float)
                    .map(Value::Number)
                    .ok_or_else(|| format!("{text} has no place in JSON; write it in quotes if it is meant as text")),
            },
            _ => Err(wrong("a number")),
        },
        Tag::Timestamp => match resolve(text, Profile::Kustomize) {
            Resolved::Timestamp(time) => Ok(Value::String(time)),
            _ => Err(wrong("a timestamp")),
        },
        Tag::Binary => {
            let packed: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(packed)
                .map_err(|_| "the text of !!binary is not base64".to_owned())?;
            Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned()))
        }
    }
}

/// A node, without positions, of a JSON value.
pub fn from_json(value: &Value) -> Node {
    match value {
        Value::Null => Node::null(),
        Value::Bool(b) => Node::tagged(if *b { "true" } else { "false" }, Tag::Bool),
        Value::Number(n) => match n.as_f64() {
            Some(f) if n.is_f64() => Node::tagged(go_float_g(f), Tag::Float),
            _ => Node::tagged(n.to_string(), Tag::Int),
        },
        Value::String(s) => Node::string(s.as_str()),
        Value::Array(items) => Node::new(Content::Seq(items.iter().map(from_json).collect())),
        Value::Object(map) => Node::new(Content::Map(
            map.iter()
                .map(|(key, value)| {
                    let value = from_json(value);
                    Entry {
                        key: key.as_str().into(),
                        at: value.at,
                        value,
                    }
                })
                .collect(),
        )),
    }
}
