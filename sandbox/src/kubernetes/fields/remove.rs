//! Taking paths out of values, and making the fields on the way to a path members.

use serde_json::{Map, Value};

use super::set::{FieldSet, field};
use super::typed::element;
use crate::kubernetes::schema::{Shape, Type};

/// The value without the paths of a set; `None` if nothing is left of it.
pub(super) fn remove(of: Type<'_>, value: &Value, paths: &FieldSet) -> Option<Value> {
    match (of.shape(), value) {
        (Shape::Scalar(_), value) => Some(value.clone()),
        (Shape::List { item, kind }, Value::Array(items)) => {
            if of.is_atomic() {
                return None;
            }
            let mut out = Vec::new();
            for child in items {
                let Some(element) = element(kind, child) else {
                    out.push(child.clone());
                    continue;
                };
                if paths.has(&element) {
                    continue;
                }
                match paths.below(&element) {
                    Some(below) => out.push(remove(of.to(*item), child, below).unwrap_or(Value::Null)),
                    None => out.push(child.clone()),
                }
            }
            (!out.is_empty()).then_some(Value::Array(out))
        }
        (Shape::Any, Value::Array(_)) => None,
        (_, Value::Object(map)) => {
            if of.is_atomic() {
                return None;
            }
            let mut out = Map::new();
            for (name, child) in map {
                let element = field(name);
                if paths.has(&element) {
                    continue;
                }
                let kept = match (paths.below(&element), of.member(name)) {
                    (Some(below), Some(inner)) => remove(inner, child, below).unwrap_or(Value::Null),
                    _ => child.clone(),
                };
                out.insert(name.clone(), kept);
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        (_, value) => Some(value.clone()),
    }
}

/// The set plus every declared field on the way to one of its paths.
pub(super) fn with_parents(of: Type<'_>, paths: &FieldSet) -> FieldSet {
    let mut out = FieldSet::new();
    for (element, member, below) in paths.iter() {
        let inner = inner_type(of, element);
        let declared = element.strip_prefix("f:").is_some_and(|name| of.field(name).is_some());
        if member || (declared && !below.is_empty()) {
            out.insert_one(element);
        }
        if !below.is_empty() {
            let below = match inner {
                Some(inner) => with_parents(inner, below),
                None => below.clone(),
            };
            out.insert_below(element, below);
        }
    }
    out
}

fn inner_type<'a>(of: Type<'a>, element: &str) -> Option<Type<'a>> {
    match (of.shape(), element.strip_prefix("f:")) {
        (_, Some(name)) => of.member(name),
        (Shape::List { item, .. }, None) => Some(of.to(*item)),
        _ => None,
    }
}
