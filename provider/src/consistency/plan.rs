//! What a planned state may be, given the configuration and the state before.

use crate::schema::{Attribute, Kind, Nesting, Presence, Schema};
use crate::value::{Path, Step, Value};

use super::{Broken, conforms};

/// Every rule that a planned state of a create or update breaks.
pub fn broken_plan_rules(schema: &Schema, prior: &Value, config: &Value, planned: &Value) -> Vec<Broken> {
    let mut broken = Vec::new();
    let root = Path::root();
    if !conforms(&schema.ty(), planned) || planned.as_map().is_none() {
        broken.push(Broken::new(&root, "the planned value is not of the schema's type"));
        return broken;
    }
    object(&schema.attributes, prior, config, planned, &root, &mut broken);
    broken
}

fn object(
    attributes: &[Attribute],
    prior: &Value,
    config: &Value,
    planned: &Value,
    path: &Path,
    broken: &mut Vec<Broken>,
) {
    for attribute in attributes {
        let name = attribute.name;
        let path = path.then(Step::Attribute(name.to_owned()));
        one(
            attribute,
            prior.attribute(name),
            config.attribute(name),
            planned.attribute(name),
            &path,
            broken,
        );
    }
}

fn one(attribute: &Attribute, prior: &Value, config: &Value, planned: &Value, path: &Path, broken: &mut Vec<Broken>) {
    if attribute.write_only {
        if !planned.is_null() {
            broken.push(Broken::new(path, "a write-only attribute must be null in a plan"));
        }
        return;
    }
    match (config.is_null(), attribute.presence) {
        (true, Presence::Computed | Presence::OptionalComputed) => return,
        (true, Presence::Required | Presence::Optional) => {
            if !planned.is_null() {
                broken.push(Broken::new(path, "planned although the configuration does not set it"));
            }
            return;
        }
        (false, Presence::Computed) => {
            broken.push(Broken::new(
                path,
                "the configuration sets what only the provider may set",
            ));
            return;
        }
        (false, Presence::Required | Presence::Optional | Presence::OptionalComputed) => {}
    }
    if planned == config || (!prior.is_null() && planned == prior) {
        return;
    }
    match &attribute.kind {
        Kind::Nested(nesting, inner) if !config.is_unknown() => {
            if planned.is_unknown() || planned.is_null() {
                broken.push(Broken::new(
                    path,
                    "configured, so it can be neither unknown nor null as a whole",
                ));
                return;
            }
            nested(*nesting, inner, prior, config, planned, path, broken);
        }
        Kind::Nested(..) | Kind::Plain(_) => {
            broken.push(Broken::new(
                path,
                "planned as neither the configured nor the prior value",
            ));
        }
    }
}

fn nested(
    nesting: Nesting,
    inner: &[Attribute],
    prior: &Value,
    config: &Value,
    planned: &Value,
    path: &Path,
    broken: &mut Vec<Broken>,
) {
    match (nesting, config, planned) {
        (Nesting::Single, _, _) => object(inner, prior, config, planned, path, broken),
        (Nesting::List, Value::List(config), Value::List(planned)) if config.len() == planned.len() => {
            for (index, (config, planned)) in config.iter().zip(planned).enumerate() {
                let prior = prior
                    .as_list()
                    .and_then(|elements| elements.get(index))
                    .unwrap_or(&Value::Null);
                object(inner, prior, config, planned, &path.then(Step::Index(index)), broken);
            }
        }
        (Nesting::Map, Value::Map(config), Value::Map(planned)) if config.keys().eq(planned.keys()) => {
            for (key, config) in config {
                object(
                    inner,
                    prior.attribute(key),
                    config,
                    &planned[key],
                    &path.then(Step::Key(key.clone())),
                    broken,
                );
            }
        }
        (Nesting::List | Nesting::Map, _, _) => {
            broken.push(Broken::new(path, "planned with other elements than configured"));
        }
    }
}
