//! The computed attributes: where the value is, its keyed hash, times and counts.

use std::collections::BTreeMap;

use myelin_engine::observe::TokenFacts;

use crate::resource::stack::state::with;
use crate::value::{Number, Value};

/// The names of what only an apply can know.
const COMPUTED: [&str; 6] = ["secret_uid", "value_hash", "minted_at", "expires_at", "mints", "due"];

/// A time in the form that users and Terraform's functions read.
fn time(seconds: Option<i64>) -> Value {
    let time = seconds.and_then(|at| jiff::Timestamp::from_second(at).ok());
    time.map_or(Value::Null, |time| Value::string(time.to_string()))
}

fn text(text: Option<&str>) -> Value {
    text.map_or(Value::Null, Value::string)
}

/// What a stack's state shows of its tokens, by name.
pub(in crate::resource) fn shown(tokens: &BTreeMap<String, TokenFacts>) -> Value {
    let one = |facts: &TokenFacts| {
        let parts = [
            ("secret_uid", text(facts.secret_uid.as_deref())),
            ("value_hash", text(facts.value_hash.as_deref())),
            ("minted_at", time(facts.minted_at)),
            ("expires_at", time(facts.expires_at)),
            ("mints", Value::Number(Number::from(facts.mints))),
        ];
        with(&Value::Null, parts)
    };
    Value::Map(tokens.iter().map(|(name, facts)| (name.clone(), one(facts))).collect())
}

/// A state with what is known of the token.
pub(super) fn with_facts(state: &Value, facts: &TokenFacts) -> Value {
    with(
        state,
        [
            ("secret_uid", text(facts.secret_uid.as_deref())),
            ("value_hash", text(facts.value_hash.as_deref())),
            ("minted_at", time(facts.minted_at)),
            ("expires_at", time(facts.expires_at)),
            ("mints", Value::Number(Number::from(facts.mints))),
            ("due", text(facts.due.as_deref())),
        ],
    )
}

/// A state of a token of which nothing is known.
pub(super) fn without_facts(state: &Value, due: Option<&str>) -> Value {
    let nothing = COMPUTED.map(|name| (name, Value::Null));
    with(&with(state, nothing), [("due", text(due))])
}

/// A plan that may change the value: the result is known after apply, and then nothing is due.
pub(super) fn undecided(planned: &Value) -> Value {
    let unknown = COMPUTED.map(|name| (name, Value::UNKNOWN));
    with(&with(planned, unknown), [("due", Value::Null)])
}

/// The computed attributes of another state.
pub(super) fn as_before(planned: &Value, prior: &Value) -> Value {
    with(planned, COMPUTED.map(|name| (name, prior.attribute(name).clone())))
}

/// Whether a state names a value that no token minted.
pub(super) fn is_adopted(state: &Value) -> bool {
    !state.is_null() && *state.attribute("mints") == Value::Number(Number::from(0u64))
}
