//! Resources → objects, with values as the original produces them: it writes every resource as JSON and reads that as
//! YAML before it prints it.

use super::reader::place;
use super::resmap::ResMap;
use super::resource::Resource;
use super::side_by_side;
use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use crate::object::Object;
use crate::tree::Tree;
use crate::yaml::{At, to_json};
use serde_json::Value;

/// From how many on objects are finished on all cores.
const ENOUGH: usize = 64;

/// The objects of a build, in the order of its resources.
///
/// # Errors
/// Values that have no place in JSON or YAML.
pub(super) fn objects(resources: ResMap, tree: &Tree) -> Result<Vec<Object>, Diagnostics> {
    let made = side_by_side::map(resources.all, ENOUGH, |resource| object(resource, tree));
    let mut problems = Diagnostics::new();
    let mut objects = Vec::with_capacity(made.len());
    for one in made {
        match one {
            Ok(object) => objects.push(object),
            Err(problem) => problems.push(problem),
        }
    }
    problems.or(objects).map(|(objects, _)| objects)
}

fn object(mut resource: Resource, tree: &Tree) -> Result<Object, Diagnostic> {
    resource.make_texts("annotations");
    // Only a list without items can have come here without.
    if resource.node.get("metadata").is_none() {
        resource.metadata();
    }
    let mut value = to_json(&resource.node).map_err(|e| {
        let at = At {
            line: e.line,
            column: e.column,
            ..resource.at()
        };
        Diagnostic::error(format!("{}: {}", resource.id(), e.message)).at(place(tree, at))
    })?;
    through_yaml(&mut value).map_err(|(key, c)| {
        Diagnostic::error(format!("{}: {key} holds the character U+{:04X}", resource.id(), c as u32))
            .detail("kustomize refuses to print it, because YAML allows it only escaped. Remove it, or keep the text in base64 (binaryData).")
            .at(place(tree, resource.at()))
    })?;
    let origin = FilePlace {
        column: None,
        ..place(tree, resource.at())
    };
    let fields = crate::render::fields::origins(&resource.node, &|file| tree.file_name(file));
    Ok(Object { value, origin, fields })
}

/// Applies to texts what reading JSON as YAML does: the line break U+0085 folds, and other characters that JSON does
/// not escape and YAML does not allow are refused, with the name of their key.
fn through_yaml(value: &mut Value) -> Result<(), (String, char)> {
    match value {
        Value::String(text) => {
            if let Some(c) = text.chars().find(|c| is_refused(*c)) {
                return Err(("a list".to_owned(), c));
            }
            if text.contains(NEXT_LINE) {
                *text = folded(text);
            }
            Ok(())
        }
        Value::Array(items) => items.iter_mut().try_for_each(through_yaml),
        Value::Object(map) => map.iter_mut().try_for_each(|(key, value)| {
            if let Some(c) = key.chars().find(|c| is_refused(*c)) {
                return Err((key.escape_debug().to_string(), c));
            }
            let direct = value.is_string();
            through_yaml(value).map_err(|(inner, c)| (if direct { key.clone() } else { inner }, c))
        }),
        _ => Ok(()),
    }
}

const NEXT_LINE: char = '\u{85}';

fn is_refused(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}') && c != NEXT_LINE
}

/// Folds lines as in a quoted text: blanks around a line break are removed, a single break becomes a blank, and of
/// several breaks the first is removed.
fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = rest.find(NEXT_LINE) {
        out.push_str(rest[..end].trim_end_matches(' '));
        let after = rest[end..].trim_start_matches([NEXT_LINE, ' ']);
        let breaks = rest[end..rest.len() - after.len()].matches(NEXT_LINE).count();
        match breaks {
            1 => out.push(' '),
            more => out.extend(std::iter::repeat_n('\n', more - 1)),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn texts_come_out_as_from_a_quoted_text_of_yaml() {
        for (text, want) in [
            ("a \u{85} b", "a b"),
            ("a\u{85}\u{85} \u{85}b", "a\n\nb"),
            ("\u{85}", " "),
            ("a\nb", "a\nb"),
        ] {
            let mut value = json!({"k": [text]});
            through_yaml(&mut value).unwrap();
            assert_eq!(value, json!({"k": [want]}), "{text:?}");
        }
        assert_eq!(
            through_yaml(&mut json!({"a": {"b": "x\u{7f}"}})),
            Err(("b".to_owned(), '\u{7f}'))
        );
        assert_eq!(through_yaml(&mut json!({"a": "\u{0}\u{1f}"})), Ok(()));
    }
}
