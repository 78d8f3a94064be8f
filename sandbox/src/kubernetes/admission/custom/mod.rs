//! Custom resources: pruning, defaults and rules by their own schemas, and the definitions themselves. A schema is read as it
//! was written (`openAPIV3Schema`); the types that apply and watches need are made of it in `schema`.

pub(super) mod cel;
pub(super) mod defaulting;
pub(super) mod definition;
mod formats;
mod functions;
pub(super) mod lists;
pub(super) mod prune;
pub(super) mod schema;
mod structural;

use serde_json::Value;

use super::errors::{Errors, Path, Wrong};

/// Validates a custom resource by its schema: shape first, then lists, then its CEL rules. `warnings` gets the rules
/// that use unsupported functions.
pub(super) fn validate(
    validation: &Value,
    old: Option<&Value>,
    new: &Value,
    warnings: &mut Vec<String>,
    errors: &mut Errors,
) {
    if !validation.is_object() {
        return;
    }
    let mut found = Errors::new();
    schema::check(validation, new, old, "", "", &mut found);
    if old.is_none_or(|old| {
        let mut before = Errors::new();
        lists::check(validation, old, "", &mut before);
        before.is_empty()
    }) {
        lists::check(validation, new, "", &mut found);
    }
    let blocking = found.iter().any(|error| {
        matches!(
            error.wrong,
            Wrong::NotSupported | Wrong::Required | Wrong::TooLong | Wrong::TooMany | Wrong::TypeInvalid
        )
    });
    if cel::has_rules(validation) {
        if blocking {
            let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            found.invalid(&Path::root("<nil>"), None, why);
        } else {
            cel::check(validation, old, new, warnings, &mut found);
        }
    }
    errors.append(found);
}
