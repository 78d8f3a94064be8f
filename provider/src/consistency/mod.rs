//! Terraform's rules for the answers of a provider, checked by us before an answer is sent.
//!
//! Terraform reports a broken rule as "this is a bug in the provider" without saying where. Checked here, a bug of ours
//! becomes an error with a path, and no state is written from it. The rules come from Terraform's
//! docs/resource-instance-change-lifecycle.md. Messages never repeat a value, which may be a secret.

mod plan;
mod state;

pub use plan::broken_plan_rules;
pub use state::{broken_apply_rules, broken_state_rules};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::value::{Path, Type, Value};

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Where.
    pub path: Path,
    /// What is wrong there.
    pub problem: String,
}

impl Broken {
    fn new(path: &Path, problem: impl Into<String>) -> Broken {
        Broken {
            path: path.clone(),
            problem: problem.into(),
        }
    }
}

/// Broken rules as diagnostics; `answer` names what would have been sent.
pub fn report(type_name: &str, answer: &str, broken: &[Broken]) -> Diagnostics {
    broken
        .iter()
        .map(|broken| {
            let place = if broken.path.is_root() {
                "the whole value".to_owned()
            } else {
                broken.path.to_string()
            };
            Diagnostic::error(
                format!("Bug in the Myelin provider: inconsistent {answer} of {type_name}"),
                format!(
                    "At {place}: {}. Nothing was stored from this answer. Please report it with the configuration and \
                     TF_LOG_PROVIDER=debug output.",
                    broken.problem
                ),
            )
            .at(broken.path.clone())
        })
        .collect()
}

/// Whether the value, as far as it is known, is of the type.
fn conforms(ty: &Type, value: &Value) -> bool {
    match (ty, value) {
        (_, Value::Null | Value::Unknown(_))
        | (Type::Bool, Value::Bool(_))
        | (Type::Number, Value::Number(_))
        | (Type::String, Value::String(_)) => true,
        (Type::List(element) | Type::Set(element), Value::List(elements)) => {
            elements.iter().all(|value| conforms(element, value))
        }
        (Type::Tuple(types), Value::List(elements)) => {
            types.len() == elements.len() && types.iter().zip(elements).all(|(ty, value)| conforms(ty, value))
        }
        (Type::Map(element), Value::Map(entries)) => entries.values().all(|value| conforms(element, value)),
        (Type::Object(attributes), Value::Map(entries)) => {
            attributes.len() == entries.len()
                && attributes
                    .iter()
                    .all(|(name, ty)| entries.get(name).is_some_and(|value| conforms(ty, value)))
        }
        (Type::Dynamic, Value::Dynamic(inner)) => conforms(&inner.0, &inner.1),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
