//! `policies`: the stack's own rules in CEL, which every object must satisfy. They are evaluated on the objects as they
//! will be sent, before anything is planned.

use super::DesiredObject;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Match, PolicyRule};
use crate::object::split_api_version;
use cel::objects::{Key, Map};
use cel::{Context, Env, Program, Value as Cel};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// CEL with its string and list functions.
fn environment() -> Arc<Env> {
    let mut env = Env::stdlib();
    // If an extension does not load, its functions stay undeclared, which is reported where they are used.
    let _ = env.add_extension(cel::extensions::strings);
    let _ = env.add_extension(cel::extensions::lists);
    Arc::new(env)
}

/// Reports every object that breaks a rule. An object that is not completely known yet is checked once it is.
pub(super) fn check(rules: &[PolicyRule], objects: &[DesiredObject], problems: &mut Diagnostics) {
    if rules.is_empty() {
        return;
    }
    let env = environment();
    for rule in rules {
        let program: Program = match env.compile(&rule.rule) {
            Ok(program) => program,
            Err(error) => {
                problems.push(
                    Diagnostic::error(format!("the policy rule {:?} cannot be read", rule.rule))
                        .detail(error.to_string()),
                );
                continue;
            }
        };
        let concerned = objects
            .iter()
            .filter(|o| o.unknown.is_empty() && fits(&rule.matches, o));
        for object in concerned {
            let mut context = Context::with_env(env.clone());
            context.add_variable_from_value("object", convert(&object.value));
            let component = object.component.clone().unwrap_or_default();
            context.add_variable_from_value("component", Cel::String(Arc::new(component)));
            let why = match program.execute(&context) {
                Ok(Cel::Bool(true)) => continue,
                Ok(Cel::Bool(false)) => format!("rule: {}", rule.rule),
                Ok(_) => format!("rule: {}\nit has to say true or false", rule.rule),
                // An error may repeat values of a Secret.
                Err(_) if object.key.kind == "Secret" || !object.write_only.is_empty() => {
                    format!(
                        "rule: {}\nit could not be evaluated; ask has(object.…) before a field that may be absent",
                        rule.rule
                    )
                }
                Err(error) => {
                    format!(
                        "rule: {}\n{error}; ask has(object.…) before a field that may be absent",
                        rule.rule
                    )
                }
            };
            problems.push(
                Diagnostic::error(format!("{}: {}", object.key.human(), rule.message))
                    .detail(why)
                    .at(object.origin.clone())
                    .object(object.key.clone()),
            );
        }
    }
}

fn fits(wanted: &Match, object: &DesiredObject) -> bool {
    let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
    let group = wanted.api_version.as_str();
    let labels = object.value.pointer("/metadata/labels");
    is(&wanted.kind, &object.key.kind)
        && is(&wanted.name, &object.key.name)
        && is(&wanted.namespace, &object.key.namespace)
        && (group.is_empty() || split_api_version(group).0 == object.key.group)
        && wanted
            .labels
            .iter()
            .all(|(k, v)| labels.and_then(|l| l.get(k)).and_then(Value::as_str) == Some(v))
}

/// JSON as CEL sees it: whole numbers are int, as in schemas.
fn convert(value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(b) => Cel::Bool(*b),
        Value::Number(n) => n
            .as_i64()
            .map_or_else(|| Cel::Float(n.as_f64().unwrap_or_default()), Cel::Int),
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => Cel::List(Arc::new(items.iter().map(convert).collect())),
        Value::Object(map) => {
            let map: HashMap<Key, Cel> = map
                .iter()
                .map(|(name, value)| (Key::String(Arc::new(name.clone())), convert(value)))
                .collect();
            Cel::Map(Map { map: Arc::new(map) })
        }
    }
}
