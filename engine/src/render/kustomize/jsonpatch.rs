//! JSON patches (RFC 6902) on YAML nodes, exactly as lenient and strict as the original's library: `-` appends, a
//! negative index counts from the end, and what is removed or replaced must exist.

use crate::yaml::{
    Content, Entry, Node, STARTS_WITH_TAB, Tag, from_json, go_float_g, is_written_as_block, is_written_plain, to_json,
};
use serde_json::Value;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Operation {
    kind: Op,
    path: Vec<String>,
    /// As written, for messages.
    shown: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Op {
    Add(Node),
    Replace(Node),
    Remove,
    Test(Node),
    Move(Vec<String>),
    Copy(Vec<String>),
}

/// Reads a list of operations.
pub(super) fn read(node: &Node) -> Result<Vec<Operation>, String> {
    if !node.is_seq() {
        return Err(format!(
            "a JSON patch is a list of operations, not {}",
            node.kind_name()
        ));
    }
    node.items().iter().map(operation).collect()
}

fn operation(node: &Node) -> Result<Operation, String> {
    let text = |name: &str| node.get(name).and_then(Node::text);
    let at = node.at.line;
    let shown = text("path").ok_or_else(|| format!("the operation in line {at} has no path"))?;
    let from = || {
        let from = text("from").ok_or_else(|| format!("the operation in line {at} has no from"))?;
        pointer(from)
    };
    // The original reads values as JSON, so that `on` is `true` and `0x10` is `16` from here on.
    let value = || match node.get("value") {
        None => Ok(Node::null()),
        Some(value) => as_json(value),
    };
    let kind = match text("op") {
        Some("add") => Op::Add(value()?),
        Some("replace") => Op::Replace(value()?),
        Some("remove") => Op::Remove,
        Some("test") => Op::Test(value()?),
        Some("move") => Op::Move(from()?),
        Some("copy") => Op::Copy(from()?),
        Some(other) => return Err(format!("\"{other}\" is not an operation of a JSON patch")),
        None => return Err(format!("the operation in line {at} has no op")),
    };
    Ok(Operation {
        kind,
        path: pointer(shown)?,
        shown: shown.to_owned(),
    })
}

/// A value as JSON has it, with the positions that it was read at.
pub(super) fn as_json(node: &Node) -> Result<Node, String> {
    let content = match &node.content {
        Content::Scalar(_) => {
            let value = to_json(node).map_err(|e| e.message)?;
            from_json(&value).in_quotes(value.is_string()).content
        }
        Content::Seq(items) => Content::Seq(items.iter().map(as_json).collect::<Result<_, _>>()?),
        Content::Map(entries) => {
            let entry = |e: &Entry| {
                Ok(Entry {
                    key: e.key.clone(),
                    at: e.at,
                    value: as_json(&e.value)?,
                })
            };
            Content::Map(entries.iter().map(entry).collect::<Result<_, String>>()?)
        }
    };
    Ok(Node::new(content).at(node.at))
}

/// A resource as the original's library gives it back: read from JSON, where every number is a float, and written as YAML.
pub(super) fn renewed(node: Node) -> Result<Node, String> {
    let at = node.at;
    let content = match node.content {
        Content::Scalar(ref scalar) if scalar.tag == Tag::Str => {
            if scalar.text.starts_with('\t') && scalar.text.contains('\n') && is_written_as_block(&scalar.text) {
                return Err(STARTS_WITH_TAB.to_owned());
            }
            let quoted = !is_written_plain(&scalar.text);
            node.in_quotes(quoted).content
        }
        Content::Scalar(_) => {
            match to_json(&node).map_err(|e| e.message)? {
                Value::Number(n) => {
                    let float = n.as_f64().unwrap_or_default();
                    let exact = float.abs() < LARGEST_EXACT && float.fract() == 0.0;
                    if exact {
                        from_json(&Value::Number(n))
                    } else {
                        Node::tagged(go_float_g(float), Tag::Float)
                    }
                }
                value => from_json(&value),
            }
            .content
        }
        Content::Seq(items) => Content::Seq(items.into_iter().map(renewed).collect::<Result<_, _>>()?),
        Content::Map(entries) => {
            let entry = |e: Entry| {
                Ok(Entry {
                    key: e.key,
                    at: e.at,
                    value: renewed(e.value)?,
                })
            };
            Content::Map(entries.into_iter().map(entry).collect::<Result<_, String>>()?)
        }
    };
    Ok(Node::new(content).at(at))
}

/// The whole numbers below this are all floats.
const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0;

/// The parts of a path. The original's library ignores what precedes the first slash, and finds nothing without one.
fn pointer(text: &str) -> Result<Vec<String>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let (_, rest) = text
        .split_once('/')
        .ok_or_else(|| format!("the path \"{text}\" must begin with a slash"))?;
    Ok(rest
        .split('/')
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect())
}

/// Applies the operations in order.
pub(super) fn apply(node: &mut Node, operations: &[Operation]) -> Result<(), String> {
    let mut copied = 0;
    for operation in operations {
        if let Op::Copy(from) = &operation.kind {
            copied += held(node, from).map_or(0, |value| value.weight());
            if copied > super::MOST_DOUBLED {
                return Err(format!("the patch copies more than {} values", super::MOST_DOUBLED));
            }
        }
        one(node, operation).map_err(|e| format!("{} {}: {e}", name(&operation.kind), operation.shown))?;
    }
    Ok(())
}

/// What the values of the operations weigh together.
pub(super) fn weight(operations: &[Operation]) -> usize {
    let value = |o: &Operation| match &o.kind {
        Op::Add(value) | Op::Replace(value) | Op::Test(value) => value.weight(),
        Op::Remove | Op::Move(_) | Op::Copy(_) => 1,
    };
    operations.iter().map(value).sum()
}

fn name(op: &Op) -> &'static str {
    match op {
        Op::Add(_) => "add",
        Op::Replace(_) => "replace",
        Op::Remove => "remove",
        Op::Test(_) => "test",
        Op::Move(_) => "move",
        Op::Copy(_) => "copy",
    }
}

fn one(node: &mut Node, operation: &Operation) -> Result<(), String> {
    let path = &operation.path;
    match &operation.kind {
        Op::Add(value) => add(node, path, value.clone()),
        Op::Replace(value) => replace(node, path, value.clone()),
        Op::Remove => remove(node, path).map(drop),
        Op::Test(wanted) => {
            let found = find(node, path);
            let same = match found {
                Ok(found) => same(found, wanted),
                Err(_) => wanted.is_null(),
            };
            if same {
                Ok(())
            } else {
                Err("the value is another one".to_owned())
            }
        }
        Op::Move(from) => {
            let value = remove(node, from)?;
            add(node, path, value)
        }
        Op::Copy(from) => {
            let value = held(node, from)?;
            add(node, path, value)
        }
    }
}

fn same(a: &Node, b: &Node) -> bool {
    match (to_json(a), to_json(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

fn missing(part: &str) -> String {
    format!("there is no \"{part}\"")
}

/// The index that a part of a path means in a list of `length`.
fn index(part: &str, length: usize) -> Result<usize, String> {
    let number: i64 = part.parse().map_err(|_| format!("\"{part}\" is no index of a list"))?;
    let index = if number < 0 { number + length as i64 } else { number };
    usize::try_from(index).map_err(|_| format!("the list has {length} elements, not {part}"))
}

fn find<'a>(node: &'a Node, path: &[String]) -> Result<&'a Node, String> {
    path.iter().try_fold(node, |node, part| match &node.content {
        Content::Map(_) => node.get(part).ok_or_else(|| missing(part)),
        Content::Seq(items) => items.get(index(part, items.len())?).ok_or_else(|| missing(part)),
        Content::Scalar(_) => Err(missing(part)),
    })
}

fn find_mut<'a>(node: &'a mut Node, path: &[String]) -> Result<&'a mut Node, String> {
    path.iter().try_fold(node, |node, part| match &mut node.content {
        Content::Map(entries) => entries
            .iter_mut()
            .find(|e| *e.key == **part)
            .map(|e| &mut e.value)
            .ok_or_else(|| missing(part)),
        Content::Seq(items) => {
            let index = index(part, items.len())?;
            items.get_mut(index).ok_or_else(|| missing(part))
        }
        Content::Scalar(_) => Err(missing(part)),
    })
}

fn parent<'a, 'b>(node: &'a mut Node, path: &'b [String]) -> Result<(&'a mut Node, &'b str), String> {
    let (last, parents) = path.split_last().ok_or("the path is empty")?;
    Ok((find_mut(node, parents)?, last))
}

/// What a place holds; a key that is not there holds null, as for the original's library.
fn held(node: &Node, path: &[String]) -> Result<Node, String> {
    let (last, parents) = path.split_last().ok_or("the path is empty")?;
    let parent = find(node, parents)?;
    match &parent.content {
        Content::Map(_) => Ok(parent.get(last).cloned().unwrap_or_else(Node::null)),
        _ => find(parent, std::slice::from_ref(last)).cloned(),
    }
}

/// Puts a value in the place of another. The original's library takes a key of a map that is not there for one that is.
fn replace(node: &mut Node, path: &[String], value: Node) -> Result<(), String> {
    if path.is_empty() {
        if value.as_scalar().is_some() {
            return Err("the whole resource can only be replaced by a map".to_owned());
        }
        *node = value;
        return Ok(());
    }
    let (parent, last) = parent(node, path)?;
    match &mut parent.content {
        Content::Seq(items) => {
            let index = index(last, items.len())?;
            *items.get_mut(index).ok_or_else(|| missing(last))? = value;
        }
        Content::Map(_) => parent.set(last, value),
        Content::Scalar(_) => return Err(missing(last)),
    }
    Ok(())
}

fn add(node: &mut Node, path: &[String], value: Node) -> Result<(), String> {
    let (parent, last) = parent(node, path)?;
    match &mut parent.content {
        Content::Map(entries) => {
            match entries.iter_mut().find(|e| &*e.key == last) {
                Some(entry) => {
                    entry.at = value.at;
                    entry.value = value;
                }
                None => entries.push(Entry {
                    key: last.into(),
                    at: value.at,
                    value,
                }),
            }
            Ok(())
        }
        Content::Seq(items) => {
            // From the end, an index counts in the list as it will be.
            let index = match last {
                "-" => items.len(),
                _ if last.starts_with('-') => index(last, items.len() + 1)?,
                _ => index(last, items.len())?,
            };
            if index > items.len() {
                return Err(format!("the list has only {} elements", items.len()));
            }
            items.insert(index, value);
            Ok(())
        }
        Content::Scalar(_) => Err(format!("there is {} where a map or list is needed", parent.kind_name())),
    }
}

fn remove(node: &mut Node, path: &[String]) -> Result<Node, String> {
    let (parent, last) = parent(node, path)?;
    match &mut parent.content {
        Content::Map(_) => parent.remove(last).ok_or_else(|| missing(last)),
        Content::Seq(items) => {
            let index = index(last, items.len())?;
            if index < items.len() {
                Ok(items.remove(index))
            } else {
                Err(missing(last))
            }
        }
        Content::Scalar(_) => Err(missing(last)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{FileId, Limits, Profile, parse_one, to_json};
    use serde_json::json;

    fn node(text: &str) -> Node {
        parse_one(text, FileId::default(), Profile::Manifest, Limits::default()).unwrap()
    }

    #[test]
    fn operations_do_what_the_rfc_says() {
        for (patch, want) in [
            (
                "[{op: add, path: /a/-, value: 4}]",
                Ok(json!({"a": [1, 2, 3, 4], "b~/": {"c": "d"}})),
            ),
            (
                "[{op: add, path: /a/1, value: 4}]",
                Ok(json!({"a": [1, 4, 2, 3], "b~/": {"c": "d"}})),
            ),
            (
                "[{op: remove, path: /a/-1}]",
                Ok(json!({"a": [1, 2], "b~/": {"c": "d"}})),
            ),
            (
                "[{op: replace, path: /b~0~1/c, value: x}]",
                Ok(json!({"a": [1, 2, 3], "b~/": {"c": "x"}})),
            ),
            (
                "[{op: move, from: /a/0, path: /b~0~1/e}]",
                Ok(json!({"a": [2, 3], "b~/": {"c": "d", "e": 1}})),
            ),
            (
                "[{op: copy, from: /a, path: /z}]",
                Ok(json!({"a": [1, 2, 3], "z": [1, 2, 3], "b~/": {"c": "d"}})),
            ),
            (
                "[{op: test, path: /a/0, value: 1.0}]",
                Ok(json!({"a": [1, 2, 3], "b~/": {"c": "d"}})),
            ),
            ("[{op: test, path: /a/0, value: 2}]", Err("test /a/0")),
            ("[{op: remove, path: /nothing}]", Err("remove /nothing")),
            (
                "[{op: replace, path: /nothing, value: 1}]",
                Ok(json!({"a": [1, 2, 3], "b~/": {"c": "d"}, "nothing": 1})),
            ),
            ("[{op: replace, path: /a/3, value: 1}]", Err("replace /a/3")),
            ("[{op: replace, path: /x/y, value: 1}]", Err("replace /x/y")),
            (
                "[{op: copy, from: /nothing, path: /z}]",
                Ok(json!({"a": [1, 2, 3], "b~/": {"c": "d"}, "z": null})),
            ),
            ("[{op: add, path: /x/y, value: 1}]", Err("add /x/y")),
            ("[{op: add, path: /a/9, value: 1}]", Err("add /a/9")),
        ] {
            let mut doc = node("a: [1, 2, 3]\nb~/: {c: d}\n");
            let got = apply(&mut doc, &read(&node(patch)).unwrap());
            match want {
                Ok(want) => assert_eq!((got, to_json(&doc).unwrap()), (Ok(()), want), "{patch}"),
                Err(start) => assert!(got.unwrap_err().starts_with(start), "{patch}"),
            }
        }
    }
}
