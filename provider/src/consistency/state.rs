//! What a state may be: after an apply, given what was planned; and after a read.

use crate::schema::{Attribute, Kind, Nesting, Schema};
use crate::value::{Path, Step, Value};

use super::{Broken, conforms};

/// Every rule that the state after a successful apply breaks.
pub fn broken_apply_rules(schema: &Schema, planned: &Value, state: &Value) -> Vec<Broken> {
    let mut broken = broken_state_rules(schema, state);
    compatible(planned, state, &Path::root(), &mut broken);
    broken
}

/// Every rule that any stored state breaks: the type, nothing unknown, nothing write-only.
pub fn broken_state_rules(schema: &Schema, state: &Value) -> Vec<Broken> {
    let mut broken = Vec::new();
    let root = Path::root();
    if !conforms(&schema.ty(), state) {
        broken.push(Broken::new(&root, "the value is not of the schema's type"));
        return broken;
    }
    object(&schema.attributes, state, &root, &mut broken);
    broken
}

fn object(attributes: &[Attribute], state: &Value, path: &Path, broken: &mut Vec<Broken>) {
    for attribute in attributes {
        let value = state.attribute(attribute.name);
        let path = path.then(Step::Attribute(attribute.name.to_owned()));
        if attribute.write_only && !value.is_null() {
            broken.push(Broken::new(&path, "a write-only attribute must never be stored"));
            continue;
        }
        match (&attribute.kind, value) {
            (Kind::Nested(Nesting::Single, inner), Value::Map(_)) => object(inner, value, &path, broken),
            (Kind::Nested(Nesting::List, inner), Value::List(elements)) => {
                for (index, element) in elements.iter().enumerate() {
                    object(inner, element, &path.then(Step::Index(index)), broken);
                }
            }
            (Kind::Nested(Nesting::Map, inner), Value::Map(elements)) => {
                for (key, element) in elements {
                    object(inner, element, &path.then(Step::Key(key.clone())), broken);
                }
            }
            _ if !value.is_wholly_known() => broken.push(Broken::new(&path, "unknown in a stored state")),
            _ => {}
        }
    }
}

/// What was planned as known must come out the same; what was unknown may be anything known.
fn compatible(planned: &Value, state: &Value, path: &Path, broken: &mut Vec<Broken>) {
    match (planned, state) {
        (Value::Unknown(_), _) => {}
        (Value::Map(planned), Value::Map(state)) => {
            if !planned.keys().eq(state.keys()) {
                broken.push(Broken::new(path, "other elements than planned"));
                return;
            }
            for (key, planned) in planned {
                // A step by key also for attributes: it reads well enough, and the kinds of steps are not known here.
                compatible(planned, &state[key], &path.then(Step::Attribute(key.clone())), broken);
            }
        }
        (Value::List(planned), Value::List(state)) => {
            if planned.len() != state.len() {
                broken.push(Broken::new(path, "another number of elements than planned"));
                return;
            }
            for (index, (planned, state)) in planned.iter().zip(state).enumerate() {
                compatible(planned, state, &path.then(Step::Index(index)), broken);
            }
        }
        (Value::Dynamic(planned), Value::Dynamic(state)) if planned.0 == state.0 => {
            compatible(&planned.1, &state.1, path, broken);
        }
        (planned, state) if planned == state => {}
        _ => broken.push(Broken::new(path, "another value than planned")),
    }
}
