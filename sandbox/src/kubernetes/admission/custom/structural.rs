//! Whether a definition's schema is structural: every value typed, nothing that pruning and defaulting could not follow, rules
//! that compile.

use cel::common::ast::{Expr, IdedExpr};
use serde_json::Value;

use super::super::access::{Fields, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::gojson;
use super::{cel as rules, schema};

/// Checks a whole schema that stands at `place`.
pub(super) fn check(root: &Value, place: &str, errors: &mut Errors) {
    let at = Path::root(place);
    match root.text("type") {
        "" => errors.required(&at.child("type"), "must not be empty at the root"),
        "object" => {}
        other => errors.invalid(&at.child("type"), other, "must be object at the root"),
    }
    if root.yes("nullable") {
        errors.forbidden(&at.child("nullable"), "nullable cannot be true at the root");
    }
    node(root, place, errors);
}

fn node(schema: &Value, place: &str, errors: &mut Errors) {
    let at = Path::root(place);
    forbidden(schema, &at, errors);
    list(schema, &at, errors);
    if let Some(kind) = schema.at("type").and_then(Value::as_str)
        && !matches!(
            kind,
            "" | "array" | "boolean" | "integer" | "number" | "object" | "string"
        )
    {
        errors.unsupported(
            &at.child("type"),
            kind,
            &["array", "boolean", "integer", "number", "object", "string"],
        );
    }
    if let Some(pattern) = schema.at("pattern").and_then(Value::as_str)
        && let Err(error) = regex::Regex::new(pattern)
    {
        let why = error.to_string();
        let last = why.lines().last().unwrap_or_default().to_owned();
        errors.invalid(
            &at.child("pattern"),
            pattern,
            &format!("must be a valid regular expression, but isn't: {last}"),
        );
    }
    if let Some(default) = schema.get("default") {
        let field = format!("{place}.default");
        schema::check(schema, default, None, &field, "", errors);
    }
    for (index, rule) in schema.items("x-kubernetes-validations").iter().enumerate() {
        let list = at.child("x-kubernetes-validations");
        rule_compiles(rule, schema, &list.index(index), errors);
    }
    for (name, property) in schema.map("properties").into_iter().flatten() {
        let below = format!("{place}.properties[{name}]");
        typed(property, &below, "specified object fields", errors);
        node(property, &below, errors);
    }
    let rest = sub(schema, "additionalProperties");
    if rest.is_object() {
        let below = format!("{place}.additionalProperties");
        typed(rest, &below, "specified object fields", errors);
        node(rest, &below, errors);
    }
    let items = sub(schema, "items");
    if items.is_object() {
        let below = format!("{place}.items");
        typed(items, &below, "specified array items", errors);
        node(items, &below, errors);
    }
}

fn typed(schema: &Value, place: &str, what: &str, errors: &mut Errors) {
    let free = schema.yes("x-kubernetes-int-or-string") || schema.yes("x-kubernetes-preserve-unknown-fields");
    if schema.text("type").is_empty() && !free {
        errors.required(
            &Path::root(place).child("type"),
            &format!("must not be empty for {what}"),
        );
    }
}

fn forbidden(schema: &Value, at: &Path<'_>, errors: &mut Errors) {
    if schema.yes("uniqueItems") {
        errors.forbidden(
            &at.child("uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    let rest = schema.at("additionalProperties");
    if rest.and_then(Value::as_bool) == Some(false) {
        errors.forbidden(
            &at.child("additionalProperties"),
            "additionalProperties cannot be set to false",
        );
    }
    if rest.is_some()
        && schema
            .map("properties")
            .is_some_and(|properties| !properties.is_empty())
    {
        errors.forbidden(
            &at.child("additionalProperties"),
            "additionalProperties and properties are mutual exclusive",
        );
    }
    for (field, why) in [
        ("$ref", "$ref is not supported"),
        ("definitions", "definitions is not supported"),
        ("dependencies", "dependencies is not supported"),
        ("patternProperties", "patternProperties is not supported"),
        ("additionalItems", "additionalItems is not supported"),
    ] {
        if schema.has(field) {
            errors.forbidden(&at.child(field), why);
        }
    }
    if sub(schema, "items").is_array() {
        errors.forbidden(&at.child("items"), "items must be a schema object and not an array");
    }
    let keeps = schema
        .get("x-kubernetes-preserve-unknown-fields")
        .and_then(Value::as_bool);
    if keeps == Some(false) {
        errors.invalid(
            &at.child("x-kubernetes-preserve-unknown-fields"),
            false,
            "must be true or undefined",
        );
    }
}

fn list(schema: &Value, at: &Path<'_>, errors: &mut Errors) {
    let kind = schema.text("x-kubernetes-list-type");
    let keys = schema.texts("x-kubernetes-list-map-keys");
    if !kind.is_empty() {
        if schema.text("type") != "array" {
            if schema.text("type").is_empty() {
                errors.required(
                    &at.child("type"),
                    "must be array if x-kubernetes-list-type is specified",
                );
            } else {
                errors.invalid(
                    &at.child("type"),
                    schema.text("type"),
                    "must be array if x-kubernetes-list-type is specified",
                );
            }
        }
        if !matches!(kind, "atomic" | "map" | "set") {
            errors.unsupported(&at.child("x-kubernetes-list-type"), kind, &["atomic", "map", "set"]);
        }
    }
    if kind == "map" {
        if keys.is_empty() {
            errors.required(
                &at.child("x-kubernetes-list-map-keys"),
                "must not be empty if x-kubernetes-list-type is map",
            );
        }
        let items = sub(schema, "items");
        if !items.is_object() {
            errors.required(
                &at.child("items"),
                "must have a schema if x-kubernetes-list-type is map",
            );
            return;
        }
        let of = at.child("items");
        if items.text("type") != "object" {
            errors.invalid(
                &of.child("type"),
                items.text("type"),
                "must be object if parent array's x-kubernetes-list-type is map",
            );
        }
        let list = at.child("x-kubernetes-list-map-keys");
        for (index, key) in keys.iter().enumerate() {
            let Some(property) = items.map("properties").and_then(|properties| properties.get(*key)) else {
                errors.invalid(&list.index(index), *key, "entries must all be names of item properties");
                continue;
            };
            if matches!(property.text("type"), "array" | "object") {
                let properties = of.child("properties");
                errors.invalid(
                    &properties.key(key).child("type"),
                    property.text("type"),
                    "must be a scalar type if parent array's x-kubernetes-list-type is map",
                );
            }
            if property.get("default").is_none() && !items.texts("required").contains(key) {
                let properties = of.child("properties");
                errors.required(&properties.key(key).child("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
            }
        }
    } else if !keys.is_empty() {
        errors.forbidden(
            &at.child("x-kubernetes-list-map-keys"),
            "must not be specified if x-kubernetes-list-type is not map",
        );
    }
    let map = schema.text("x-kubernetes-map-type");
    if !map.is_empty() {
        if schema.text("type") != "object" {
            errors.invalid(
                &at.child("type"),
                schema.text("type"),
                "must be object if x-kubernetes-map-type is specified",
            );
        }
        if !matches!(map, "atomic" | "granular") {
            errors.unsupported(&at.child("x-kubernetes-map-type"), map, &["atomic", "granular"]);
        }
    }
}

fn rule_compiles(rule: &Value, schema: &Value, at: &Path<'_>, errors: &mut Errors) {
    let source = rule.text("rule");
    if source.trim().is_empty() {
        errors.required(&at.child("rule"), "rule is not specified");
        return;
    }
    if rule.text("message").contains('\n') {
        errors.invalid(
            &at.child("message"),
            rule.text("message"),
            "message must not contain line breaks",
        );
    }
    let why = match rules::environment().compile(source) {
        Ok(program) => unknown_field(program.expression(), schema).map(|(id, field)| {
            let start = program
                .source_info()
                .offset_for(id)
                .map_or(0, |(start, _)| usize::try_from(start).unwrap_or_default());
            pointed(source, start, &field)
        }),
        Err(error) => Some(format!("compilation failed: {error}")),
    };
    if let Some(why) = why {
        errors.invalid(&at.child("rule"), Shown::raw(rule_text(rule)), &why);
    }
}

/// The compiler's complaint, with the source line and a mark under the dot before the field.
fn pointed(source: &str, start: usize, field: &str) -> String {
    let from = source.get(start..).map_or(0, |_| start);
    let column = source[from..].find(&format!(".{field}")).map_or(from, |at| from + at);
    format!(
        "compilation failed: ERROR: <input>:1:{}: undefined field '{field}'\n | {source}\n | {}^",
        column + 1,
        ".".repeat(column)
    )
}

/// The first field that an expression reads from `self` and that its schema does not have.
fn unknown_field(expression: &IdedExpr, schema: &Value) -> Option<(u64, String)> {
    let mut found = None;
    visit(expression, &mut |node| {
        if found.is_some() {
            return;
        }
        if let Expr::Select(select) = &node.expr
            && let Some(of) = type_of(&select.operand, schema)
            && closed(of)
            && !has_property(of, &select.field)
        {
            found = Some((select.operand.id, select.field.clone()));
        }
    });
    found
}

fn closed(schema: &Value) -> bool {
    schema.text("type") == "object"
        && !schema.has("additionalProperties")
        && !schema.yes("x-kubernetes-preserve-unknown-fields")
        && !schema.yes("x-kubernetes-embedded-resource")
}

fn has_property(schema: &Value, field: &str) -> bool {
    schema
        .map("properties")
        .is_some_and(|properties| properties.keys().any(|name| rules::escape(name) == field))
}

fn type_of<'a>(expression: &IdedExpr, schema: &'a Value) -> Option<&'a Value> {
    match &expression.expr {
        Expr::Ident(name) if name == "self" || name == "oldSelf" => Some(schema),
        Expr::Select(select) => {
            let of = type_of(&select.operand, schema)?;
            of.map("properties")?
                .iter()
                .find(|(name, _)| rules::escape(name) == select.field)
                .map(|(_, known)| known)
        }
        _ => None,
    }
}

fn visit(expression: &IdedExpr, each: &mut dyn FnMut(&IdedExpr)) {
    each(expression);
    match &expression.expr {
        Expr::Call(call) => {
            if let Some(target) = &call.target {
                visit(target, each);
            }
            for argument in &call.args {
                visit(argument, each);
            }
        }
        Expr::Select(select) => visit(&select.operand, each),
        Expr::List(list) => list.elements.iter().for_each(|element| visit(element, each)),
        Expr::Comprehension(all) => {
            for part in [
                &all.iter_range,
                &all.accu_init,
                &all.loop_cond,
                &all.loop_step,
                &all.result,
            ] {
                visit(part, each);
            }
        }
        _ => {}
    }
}

/// A rule as the server prints it.
fn rule_text(rule: &Value) -> String {
    let optional = |field: &str| rule.at(field).map_or_else(|| "null".to_owned(), gojson::text);
    format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{},\"FieldPath\":{},\"OptionalOldSelf\":{}}}",
        gojson::string(rule.text("rule")),
        gojson::string(rule.text("message")),
        gojson::string(rule.text("messageExpression")),
        optional("reason"),
        gojson::string(rule.text("fieldPath")),
        optional("optionalOldSelf")
    )
}
