//! Values seen through their types: which paths a value has, how two values differ, and how one is merged into another.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::set::{FieldSet, field, keyed, valued};
use crate::kubernetes::schema::{ListKind, Scalar, Shape, Type};

/// How two values differ.
#[derive(Debug, Default, Clone)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) removed: FieldSet,
}

/// The element under which an item of a list is known; `None` if it has no key.
pub(super) fn element(kind: &ListKind, item: &Value) -> Option<String> {
    match kind {
        ListKind::Atomic => None,
        ListKind::Set => (!item.is_object() && !item.is_array()).then(|| valued(item)),
        ListKind::Map(keys) => {
            let map = item.as_object()?;
            let mut pairs: Vec<(&str, &Value)> = Vec::with_capacity(keys.len());
            for (key, default) in keys {
                let said = map.get(key).filter(|value| !value.is_null());
                pairs.extend(said.or(default.as_ref()).map(|value| (key.as_str(), value)));
            }
            (!pairs.is_empty()).then(|| keyed(&pairs))
        }
    }
}

/// Faults of a value that an apply body may not have: unknown fields, wrong types, items without keys or twice.
pub(super) fn faults(of: Type<'_>, value: &Value, path: &str, out: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let expected = |what: &str, out: &mut Vec<String>| {
        out.push(format!(
            "{path}: expected {what}, got &value.valueUnstructured{{Value:{}}}",
            go_value(value)
        ));
    };
    match of.shape() {
        Shape::Any | Shape::Scalar(Scalar::Opaque) => {}
        Shape::Scalar(scalar) => match scalar {
            Scalar::String | Scalar::Bytes if !value.is_string() => expected("string", out),
            Scalar::Int32 | Scalar::Int64 | Scalar::Number if !value.is_number() => {
                expected("numeric (int or float)", out);
            }
            Scalar::Boolean if !value.is_boolean() => expected("boolean", out),
            Scalar::Quantity | Scalar::IntOrString | Scalar::Time | Scalar::MicroTime
                if value.is_object() || value.is_array() =>
            {
                expected("scalar", out);
            }
            _ => {}
        },
        Shape::List { item, kind } => {
            let Some(items) = value.as_array() else {
                return expected("list", out);
            };
            let mut seen: Vec<String> = Vec::new();
            for (index, child) in items.iter().enumerate() {
                let known = element(kind, child);
                let place = match &known {
                    Some(element) => format!("{path}{}", shown(element)),
                    None => format!("{path}[{index}]"),
                };
                match (&known, kind) {
                    (None, ListKind::Map(keys)) => {
                        let names: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
                        out.push(format!(
                            "{path}: element {index}: associative list with keys has an element that omits key field {:?} \
                             (and doesn't have default value)",
                            names.first().copied().unwrap_or_default()
                        ));
                    }
                    (None, ListKind::Set) => out.push(format!("{path}: element {index}: not a scalar in a set")),
                    (Some(element), ListKind::Map(keys)) => {
                        for (key, default) in keys {
                            if default.is_none() && child.get(key).is_none_or(Value::is_null) {
                                out.push(format!(
                                    "{path}: element {index}: associative list with keys has an element that omits key \
                                     field {key:?} (and doesn't have default value)"
                                ));
                            }
                        }
                        if seen.contains(element) {
                            out.push(format!("{path}: duplicate entries for key {}", shown(element)));
                        }
                        seen.push(element.clone());
                    }
                    (Some(element), _) => {
                        if seen.contains(element) {
                            out.push(format!("{path}: duplicate entries for key {}", shown(element)));
                        }
                        seen.push(element.clone());
                    }
                    _ => {}
                }
                faults(of.to(*item), child, &place, out);
            }
        }
        Shape::Map { value: inner, .. } => {
            let Some(map) = value.as_object() else {
                return expected("map", out);
            };
            for (name, child) in map {
                faults(of.to(*inner), child, &format!("{path}.{name}"), out);
            }
        }
        Shape::Struct(_) => {
            let Some(map) = value.as_object() else {
                return expected("map", out);
            };
            for (name, child) in map {
                match of.member(name) {
                    Some(inner) => faults(inner, child, &format!("{path}.{name}"), out),
                    None => out.push(format!("{path}.{name}: field not declared in schema")),
                }
            }
        }
    }
}

fn go_value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

fn shown(element: &str) -> String {
    let mut set = FieldSet::new();
    set.insert_one(element);
    set.paths().pop().unwrap_or_default()
}

/// The paths that a value has: what an applier of it owns.
pub(super) fn to_set(of: Type<'_>, value: &Value) -> FieldSet {
    let mut set = FieldSet::new();
    if !is_leaf(of, value) {
        fill(of, value, &mut set);
    }
    set
}

/// Whether a value is owned as a whole.
fn is_leaf(of: Type<'_>, value: &Value) -> bool {
    match of.shape() {
        Shape::Scalar(_) => true,
        Shape::Any => !value.is_object(),
        _ => of.is_atomic(),
    }
}

fn fill(of: Type<'_>, value: &Value, set: &mut FieldSet) {
    match (of.shape(), value) {
        (Shape::List { item, kind }, Value::Array(items)) => {
            for child in items {
                let Some(element) = element(kind, child) else { continue };
                set.insert_one(&element);
                if !is_leaf(of.to(*item), child) {
                    let mut below = FieldSet::new();
                    fill(of.to(*item), child, &mut below);
                    set.insert_below(&element, below);
                }
            }
        }
        (Shape::Struct(_) | Shape::Map { .. } | Shape::Any, Value::Object(map)) => {
            for (name, child) in map {
                let Some(inner) = of.member(name) else { continue };
                let element = field(name);
                let declared = of.field(name).is_some();
                let empty = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                if is_leaf(inner, child) || !declared || empty {
                    set.insert_one(&element);
                }
                if !is_leaf(inner, child) {
                    let mut below = FieldSet::new();
                    fill(inner, child, &mut below);
                    set.insert_below(&element, below);
                }
            }
        }
        _ => {}
    }
}

/// How `new` differs from `old`.
pub(super) fn compare(of: Type<'_>, old: &Value, new: &Value) -> Comparison {
    let mut out = Comparison::default();
    difference(of, Some(old), Some(new), &mut Vec::new(), &mut out);
    out
}

fn is_empty(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    }
}

fn by_element<'v>(kind: &ListKind, list: Option<&'v Value>) -> BTreeMap<String, &'v Value> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| Some((element(kind, item)?, item))).collect()
}

fn note(old: Option<&Value>, new: Option<&Value>, path: &[String], out: &mut Comparison) {
    match (old, new) {
        (None, Some(_)) => out.added.insert(path),
        (Some(_), None) => out.removed.insert(path),
        (Some(old), Some(new)) if old != new => out.modified.insert(path),
        _ => {}
    }
}

fn difference(of: Type<'_>, old: Option<&Value>, new: Option<&Value>, path: &mut Vec<String>, out: &mut Comparison) {
    let leaf = match of.shape() {
        Shape::Scalar(_) => true,
        Shape::Any => {
            !old.or(new).is_some_and(Value::is_object)
                || old.zip(new).is_some_and(|(a, b)| a.is_object() != b.is_object())
        }
        _ => of.is_atomic() || (is_empty(old) && is_empty(new)),
    };
    if leaf {
        return note(old, new, path, out);
    }
    match of.shape() {
        Shape::List { item, kind } => {
            let (olds, news) = (by_element(kind, old), by_element(kind, new));
            for element in olds
                .keys()
                .chain(news.keys().filter(|element| !olds.contains_key(*element)))
            {
                path.push(element.clone());
                difference(
                    of.to(*item),
                    olds.get(element).copied(),
                    news.get(element).copied(),
                    path,
                    out,
                );
                path.pop();
            }
        }
        _ => {
            let empty = Map::new();
            let olds = old.and_then(Value::as_object).unwrap_or(&empty);
            let news = new.and_then(Value::as_object).unwrap_or(&empty);
            for (name, was) in olds {
                if let Some(inner) = of.member(name) {
                    path.push(field(name));
                    difference(inner, Some(was), news.get(name), path, out);
                    path.pop();
                }
            }
            for (name, is) in news.iter().filter(|(name, _)| !olds.contains_key(*name)) {
                if let Some(inner) = of.member(name) {
                    path.push(field(name));
                    difference(inner, None, Some(is), path, out);
                    path.pop();
                }
            }
        }
    }
    // A map or list that appears or disappears is itself one of the differences.
    if !path.is_empty() && (old.is_none() || new.is_none()) {
        note(old, new, path, out);
    }
}

/// `new` merged into `old`: what `new` says wins, what it does not say stays.
pub(super) fn merge(of: Type<'_>, old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
    let leaf = match of.shape() {
        Shape::Scalar(_) => true,
        Shape::Any => {
            !new.or(old).is_some_and(Value::is_object)
                || old.zip(new).is_some_and(|(a, b)| a.is_object() != b.is_object())
        }
        _ => of.is_atomic() || (is_empty(old) && is_empty(new)),
    };
    if leaf {
        return new.or(old).cloned();
    }
    let (Some(new), Some(old)) = (new, old) else {
        return new.or(old).cloned();
    };
    match of.shape() {
        Shape::List { item, kind } => {
            let empty = Vec::new();
            let olds = old.as_array().unwrap_or(&empty);
            let news = new.as_array().unwrap_or(&empty);
            Some(Value::Array(merge_lists(of.to(*item), kind, olds, news)))
        }
        _ => {
            let empty = Map::new();
            let olds = old.as_object().unwrap_or(&empty);
            let news = new.as_object().unwrap_or(&empty);
            let mut out = Map::new();
            for (name, was) in olds {
                let merged = match of.member(name) {
                    Some(inner) => merge(inner, Some(was), news.get(name)),
                    None => Some(was.clone()),
                };
                if let Some(merged) = merged {
                    out.insert(name.clone(), merged);
                }
            }
            for (name, is) in news.iter().filter(|(name, _)| !olds.contains_key(*name)) {
                out.insert(name.clone(), is.clone());
            }
            Some(Value::Object(out))
        }
    }
}

/// Merge two lists with known items: those of `new` keep their order, those of `old` alone stay where they were between them.
fn merge_lists(item: Type<'_>, kind: &ListKind, olds: &[Value], news: &[Value]) -> Vec<Value> {
    let known = |list: &[Value]| -> Vec<String> {
        list.iter()
            .map(|value| element(kind, value).unwrap_or_default())
            .collect()
    };
    let (old_elements, new_elements) = (known(olds), known(news));
    let find_old = |element: &String| old_elements.iter().position(|e| e == element);
    let in_new = |element: &String| new_elements.contains(element);
    let mut shared = new_elements
        .iter()
        .filter(|element| find_old(element).is_some())
        .peekable();
    let mut merged: Vec<&String> = Vec::new();
    let mut out = Vec::with_capacity(olds.len().max(news.len()));
    let (mut o, mut n) = (0, 0);
    while o < olds.len() || n < news.len() {
        if o < olds.len() && n < news.len() {
            if old_elements[o] == new_elements[n] {
                out.extend(merge(item, Some(&olds[o]), Some(&news[n])));
                merged.push(&new_elements[n]);
                shared.next_if(|next| **next == new_elements[n]);
                o += 1;
                n += 1;
                continue;
            }
            if in_new(&old_elements[o]) && shared.peek().is_some_and(|next| **next != old_elements[o]) {
                // It is in both, but its turn in the order of `new` comes later.
                o += 1;
                continue;
            }
        }
        if o < olds.len() {
            if !in_new(&old_elements[o]) {
                out.push(olds[o].clone());
                o += 1;
                continue;
            }
            if merged.contains(&&old_elements[o]) {
                o += 1;
                continue;
            }
        }
        if n < news.len() {
            let old = find_old(&new_elements[n]).map(|at| &olds[at]);
            out.extend(merge(item, old, Some(&news[n])));
            merged.push(&new_elements[n]);
            shared.next_if(|next| **next == new_elements[n]);
            n += 1;
        }
    }
    out
}
