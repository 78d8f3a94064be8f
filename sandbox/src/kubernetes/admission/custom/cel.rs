//! The CEL rules of a schema (`x-kubernetes-validations`), evaluated on their value, with the previous value if the two
//! can be correlated. Costs are not counted; sizes are bounded by the limit of a request.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use cel::objects::{Key, Map};
use cel::{Context, Env, ExecutionError, Program, Value as Cel};
use serde_json::Value;

use super::super::access::{Fields, sub};
use super::super::errors::{Errors, Path, Shown};
use super::{functions, lists};

/// The language as the API server offers it: optionals, strings, lists, math.
pub(super) fn environment() -> Arc<Env> {
    static ENV: OnceLock<Arc<Env>> = OnceLock::new();
    let build = || {
        let mut env = Env::stdlib().with_optional_support(true);
        // If an extension does not load, its functions stay undeclared, which is reported where they are used.
        let _ = env.add_extension(cel::extensions::strings);
        let _ = env.add_extension(cel::extensions::lists);
        let _ = env.add_extension(cel::extensions::math);
        Arc::new(env)
    };
    ENV.get_or_init(build).clone()
}

/// Whether a schema has any rule.
pub(in super::super) fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => map.iter().any(|(key, value)| match key.as_str() {
            "x-kubernetes-validations" => value.as_array().is_some_and(|rules| !rules.is_empty()),
            "default" | "enum" | "example" => false,
            _ => has_rules(value),
        }),
        Value::Array(items) => items.iter().any(has_rules),
        _ => false,
    }
}

/// Checks all rules of a schema.
pub(in super::super) fn check(
    schema: &Value,
    old: Option<&Value>,
    new: &Value,
    warnings: &mut Vec<String>,
    errors: &mut Errors,
) {
    Walk {
        warnings,
        errors,
        updating: old.is_some(),
    }
    .at(schema, old, new, "");
}

struct Walk<'a> {
    warnings: &'a mut Vec<String>,
    errors: &'a mut Errors,
    updating: bool,
}

impl Walk<'_> {
    fn at(&mut self, schema: &Value, old: Option<&Value>, new: &Value, place: &str) {
        if new.is_null() {
            return;
        }
        for rule in schema.items("x-kubernetes-validations") {
            self.rule(rule, schema, old, new, place);
        }
        match new {
            Value::Object(map) => {
                for (name, item) in map {
                    let known = schema.map("properties").and_then(|properties| properties.get(name));
                    let Some(known) =
                        known.or_else(|| schema.at("additionalProperties").filter(|rest| rest.is_object()))
                    else {
                        continue;
                    };
                    let below = if place.is_empty() {
                        name.clone()
                    } else {
                        format!("{place}.{name}")
                    };
                    self.at(known, old.and_then(|old| old.get(name)), item, &below);
                }
            }
            Value::Array(items) => {
                let of = sub(schema, "items");
                let keys = schema.texts("x-kubernetes-list-map-keys");
                let correlates = schema.text("x-kubernetes-list-type") == "map";
                for (index, item) in items.iter().enumerate() {
                    let before = old.filter(|_| correlates).and_then(Value::as_array).and_then(|old| {
                        old.iter()
                            .find(|other| lists::key(other, &keys) == lists::key(item, &keys))
                    });
                    self.at(of, before, item, &format!("{place}[{index}]"));
                }
            }
            _ => {}
        }
    }

    fn rule(&mut self, rule: &Value, schema: &Value, old: Option<&Value>, new: &Value, place: &str) {
        let source = rule.text("rule");
        let transition = source.contains("oldSelf");
        let optional = rule.yes("optionalOldSelf");
        if transition && old.is_none() && !optional {
            return;
        }
        if !transition && self.updating && old == Some(new) {
            return;
        }
        let env = environment();
        let at = Path::root(place);
        let shown = || {
            if new.is_object() || new.is_array() {
                Shown::nothing()
            } else {
                Shown::from(new)
            }
        };
        let outcome = env
            .compile(source)
            .map_err(|error| error.to_string())
            .and_then(|program| {
                let context = context(&env, schema, old, new, transition, optional)?;
                program.execute(&context).map_err(|error| self.explain(&error, source))
            });
        match outcome {
            Ok(Cel::Bool(true)) => {}
            Ok(Cel::Bool(false)) => self.violated(rule, schema, old, new, place),
            Ok(_) => self
                .errors
                .invalid(&at, shown(), &format!("rule does not evaluate to a boolean: {source}")),
            Err(why) if why.is_empty() => {}
            Err(why) => self
                .errors
                .invalid(&at, shown(), &format!("{why} evaluating rule: {source}")),
        }
    }

    /// What went wrong; empty if it is only that the sandbox does not know a function.
    fn explain(&mut self, error: &ExecutionError, source: &str) -> String {
        match error {
            ExecutionError::UndeclaredReference(name) => {
                let warning = format!("sandbox: rule not checked, {name} is not modelled: {source}");
                if !self.warnings.contains(&warning) {
                    self.warnings.push(warning);
                }
                String::new()
            }
            ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
            other => other.to_string(),
        }
    }

    fn violated(&mut self, rule: &Value, schema: &Value, old: Option<&Value>, new: &Value, place: &str) {
        let message = message(rule, schema, old, new);
        let field = rule.text("fieldPath");
        let full = format!("{place}{field}");
        let full = full.strip_prefix('.').unwrap_or(&full);
        let at = Path::root(full);
        let shown = if new.is_object() || new.is_array() || !field.is_empty() {
            Shown::nothing()
        } else {
            Shown::from(new)
        };
        match rule.text("reason") {
            "FieldValueForbidden" => self.errors.forbidden(&at, &message),
            "FieldValueRequired" => self.errors.required(&at, &message),
            "FieldValueDuplicate" => self.errors.duplicate(&at, shown),
            _ => self.errors.invalid(&at, shown, &message),
        }
    }
}

/// What the rule says when it does not hold.
fn message(rule: &Value, schema: &Value, old: Option<&Value>, new: &Value) -> String {
    let expression = rule.text("messageExpression");
    if !expression.is_empty() {
        let env = environment();
        let text = env.compile(expression).ok().and_then(|program| {
            let context = context(&env, schema, old, new, old.is_some(), rule.yes("optionalOldSelf")).ok()?;
            match program.execute(&context) {
                Ok(Cel::String(text)) if !text.trim().is_empty() && !text.contains('\n') => {
                    Some(text.trim().to_owned())
                }
                _ => None,
            }
        });
        if let Some(text) = text {
            return text;
        }
    }
    match rule.text("message") {
        "" => format!("failed rule: {}", rule.text("rule").trim()),
        text => text.trim().to_owned(),
    }
}

fn context<'v>(
    env: &Arc<Env>,
    schema: &Value,
    old: Option<&Value>,
    new: &Value,
    transition: bool,
    optional: bool,
) -> Result<Context<'static, 'v>, String> {
    let mut context = Context::with_env(env.clone());
    functions::declare(&mut context).map_err(|error| error.to_string())?;
    context.add_variable_from_value("self", convert(schema, new));
    if transition || optional {
        let before = old.map(|old| convert(schema, old));
        let value = if optional {
            optional_of(env, before)?
        } else {
            before.unwrap_or(Cel::Null)
        };
        context.add_variable_from_value("oldSelf", value);
    }
    Ok(context)
}

/// An optional value is made by the language itself.
fn optional_of(env: &Arc<Env>, value: Option<Cel>) -> Result<Cel, String> {
    let source = if value.is_some() {
        "optional.of(value)"
    } else {
        "optional.none()"
    };
    let program: Program = env.compile(source).map_err(|error| error.to_string())?;
    let mut context = Context::with_env(env.clone());
    if let Some(value) = value {
        context.add_variable_from_value("value", value);
    }
    program.execute(&context).map_err(|error| error.to_string())
}

/// JSON as CEL sees it through a schema: integers whole, numbers floating, properties under names that CEL can write.
fn convert(schema: &Value, value: &Value) -> Cel {
    match value {
        Value::Null => Cel::Null,
        Value::Bool(value) => Cel::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) if schema.text("type") != "number" => Cel::Int(whole),
            _ => Cel::Float(number.as_f64().unwrap_or_default()),
        },
        Value::String(text) => Cel::String(Arc::new(text.clone())),
        Value::Array(items) => {
            let of = sub(schema, "items");
            Cel::List(Arc::new(items.iter().map(|item| convert(of, item)).collect()))
        }
        Value::Object(map) => {
            let mut out: HashMap<Key, Cel> = HashMap::with_capacity(map.len());
            for (name, item) in map {
                match schema.map("properties").and_then(|properties| properties.get(name)) {
                    Some(known) => out.insert(Key::String(Arc::new(escape(name))), convert(known, item)),
                    None => out.insert(
                        Key::String(Arc::new(name.clone())),
                        convert(sub(schema, "additionalProperties"), item),
                    ),
                };
            }
            Cel::Map(Map { map: Arc::new(out) })
        }
    }
}

/// The name under which rules see a property: what the language cannot write is spelled out.
pub(super) fn escape(name: &str) -> String {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[allow(clippy::needless_pass_by_value, reason = "literals read better at the call")]
    fn run(schema: &Value, old: Option<Value>, new: Value) -> Vec<String> {
        let (mut warnings, mut errors) = (Vec::new(), Errors::new());
        check(schema, old.as_ref(), &new, &mut warnings, &mut errors);
        assert!(warnings.is_empty(), "{warnings:?}");
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_see_the_value_and_what_it_was() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "x-kubernetes-validations": [{"rule": "!has(self.lo) || !has(self.hi) || self.lo <= self.hi", "message": "lo must not exceed hi", "fieldPath": ".lo"}],
            "properties": {"lo": {"type": "integer"}, "hi": {"type": "integer"},
                "frozen": {"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "frozen cannot change"}]}}}}});
        assert_eq!(
            run(&schema, None, json!({"spec": {"lo": 5, "hi": 2}})),
            ["spec.lo: Invalid value: lo must not exceed hi"]
        );
        assert!(run(&schema, None, json!({"spec": {"lo": 1, "hi": 2, "frozen": "a"}})).is_empty());
        assert_eq!(
            run(
                &schema,
                Some(json!({"spec": {"frozen": "a"}})),
                json!({"spec": {"frozen": "b"}})
            ),
            ["spec.frozen: Invalid value: \"b\": frozen cannot change"]
        );
        assert!(run(&schema, Some(json!({"spec": {}})), json!({"spec": {"frozen": "b"}})).is_empty());
    }

    #[test]
    fn messages_can_be_computed_and_old_values_optional() {
        let schema = json!({"type": "object", "properties": {"n": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "oldSelf.hasValue() ? self >= oldSelf.value() : self == 0", "optionalOldSelf": true,
             "messageExpression": "'got ' + string(self)", "reason": "FieldValueForbidden"}]}}});
        assert_eq!(run(&schema, None, json!({"n": 3})), ["n: Forbidden: got 3"]);
        assert!(run(&schema, None, json!({"n": 0})).is_empty());
        assert!(run(&schema, Some(json!({"n": 3})), json!({"n": 4})).is_empty());
        assert_eq!(
            run(&schema, Some(json!({"n": 3})), json!({"n": 2})),
            ["n: Forbidden: got 2"]
        );
    }

    #[test]
    fn items_of_maps_meet_their_former_selves() {
        let schema = json!({"type": "object", "properties": {"l": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "properties": {"name": {"type": "string"}, "a-b": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "self.a__dash__b >= oldSelf.a__dash__b"}]}}}});
        let old = json!({"l": [{"name": "x", "a-b": 1}, {"name": "y", "a-b": 5}]});
        let new = json!({"l": [{"name": "y", "a-b": 4}, {"name": "x", "a-b": 2}, {"name": "z", "a-b": 0}]});
        assert_eq!(
            run(&schema, Some(old), new),
            ["l[0]: Invalid value: failed rule: self.a__dash__b >= oldSelf.a__dash__b"]
        );
    }
}
