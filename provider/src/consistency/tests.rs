//! Each rule with an answer that keeps it and one that breaks it.

use super::*;
use crate::schema::{Attribute, Nesting, Presence, Schema};

fn schema() -> Schema {
    Schema {
        version: 0,
        description: "",
        attributes: vec![
            Attribute::required("name", Type::String, ""),
            Attribute::optional("note", Type::String, ""),
            Attribute::optional("secret", Type::String, "").write_only(),
            Attribute::optional("mode", Type::String, "").with_presence(Presence::OptionalComputed),
            Attribute::computed("id", Type::String, ""),
            Attribute::nested(
                "parts",
                Nesting::Map,
                vec![
                    Attribute::optional("path", Type::String, ""),
                    Attribute::computed("state", Type::String, ""),
                ],
                "",
            ),
        ],
    }
}

fn object(entries: &[(&str, Value)]) -> Value {
    Value::Map(
        entries
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
    )
}

fn with(base: &Value, name: &str, value: Value) -> Value {
    let mut entries = base.as_map().expect("an object").clone();
    entries.insert(name.to_owned(), value);
    Value::Map(entries)
}

fn part(state: Value) -> Value {
    object(&[("a", object(&[("path", Value::string("./a")), ("state", state)]))])
}

fn config() -> Value {
    object(&[
        ("name", Value::string("n")),
        ("note", Value::Null),
        ("secret", Value::string("hunter2")),
        ("mode", Value::Null),
        ("id", Value::Null),
        ("parts", part(Value::Null)),
    ])
}

fn planned() -> Value {
    let planned = with(&with(&config(), "secret", Value::Null), "id", Value::UNKNOWN);
    with(
        &with(&planned, "mode", Value::string("x")),
        "parts",
        part(Value::UNKNOWN),
    )
}

fn places(broken: &[Broken]) -> Vec<String> {
    broken.iter().map(|broken| broken.path.to_string()).collect()
}

#[test]
fn a_plan_may_choose_only_what_is_computed_and_not_configured() {
    let (schema, config) = (schema(), config());
    let prior = with(&planned(), "name", Value::string("old"));
    let rules = |planned: &Value| places(&broken_plan_rules(&schema, &prior, &config, planned));
    assert_eq!(rules(&planned()), [""; 0]);
    let cases = [
        ("name", Value::string("old"), true),
        ("name", Value::string("other"), false),
        ("name", Value::UNKNOWN, false),
        ("note", Value::string("invented"), false),
        ("secret", Value::string("hunter2"), false),
        ("parts", Value::UNKNOWN, false),
        ("parts", Value::Map([].into()), false),
        ("parts", Value::Null, false),
        ("id", Value::string("chosen"), true),
        ("mode", Value::Null, true),
    ];
    for (name, value, allowed) in cases {
        let expected = if allowed { vec![] } else { vec![name.to_owned()] };
        assert_eq!(
            rules(&with(&planned(), name, value.clone())),
            expected,
            "{name} = {value:?}"
        );
    }
}

#[test]
fn an_unknown_in_the_configuration_stays_unknown_in_the_plan() {
    let config = with(&config(), "name", Value::UNKNOWN);
    let rules = |name| broken_plan_rules(&schema(), &Value::Null, &config, &with(&planned(), "name", name));
    assert_eq!(places(&rules(Value::UNKNOWN)), [""; 0]);
    assert_eq!(places(&rules(Value::string("guess"))), ["name"]);
}

#[test]
fn a_state_is_what_was_planned_and_wholly_known() {
    let schema = schema();
    let state = with(
        &with(&planned(), "id", Value::string("1")),
        "parts",
        part(Value::string("up")),
    );
    let rules = |state: &Value| places(&broken_apply_rules(&schema, &planned(), state));
    assert_eq!(rules(&state), [""; 0]);
    assert_eq!(rules(&with(&state, "id", Value::UNKNOWN)), ["id"]);
    assert_eq!(rules(&with(&state, "mode", Value::string("y"))), ["mode"]);
    assert_eq!(
        rules(&with(&state, "secret", Value::string("hunter2"))),
        ["secret", "secret"]
    );
    assert_eq!(
        rules(&with(&state, "parts", part(Value::UNKNOWN))),
        ["parts[\"a\"].state"]
    );
    assert_eq!(rules(&with(&state, "parts", Value::Map([].into()))), ["parts"]);
    assert_eq!(rules(&Value::Bool(true)), ["", ""]);
}

#[test]
fn a_report_names_the_place_and_never_the_value() {
    let broken = broken_state_rules(&schema(), &with(&config(), "id", Value::UNKNOWN));
    let report = report("myelin_thing", "state", &broken);
    assert!(report.has_errors());
    assert_eq!(report.iter().count(), 2, "the secret and the unknown id");
    assert!(report.iter().all(|problem| !format!("{problem:?}").contains("hunter2")));
}
