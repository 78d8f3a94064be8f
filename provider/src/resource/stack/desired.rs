//! What a configuration wants: the document, the files under its source, the objects.

use std::collections::BTreeMap;

use myelin_engine::desired::{Desired, desired};
use myelin_engine::document::UNKNOWN;
use myelin_engine::mask::MaskKey;
use sha2::{Digest as _, Sha256};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::schema::Schema;
use crate::value::Value;

use super::document::{self, Operation};

/// What a configuration wants, and how that is shown.
#[derive(Debug)]
pub(super) struct Wanted {
    /// For the engine.
    pub(super) desired: Desired,
    /// The attribute `objects`.
    pub(super) objects: Value,
    /// The attribute `revision`.
    pub(super) revision: Value,
    /// Warnings.
    pub(super) warnings: Diagnostics,
}

/// Reads the document and the source and decides what the stack should be. A pure function of configuration and files.
///
/// # Errors
/// All problems at once.
pub(super) fn wanted(schema: &Schema, config: &Value, operation: Operation) -> Result<Wanted, Diagnostics> {
    let stack = document::stack(schema, config, operation)?;
    let (rendered, texts) = render(&stack)?;
    let desired = desired(&stack, &document::variables(config), rendered, &|file| {
        texts.get(file).cloned()
    })
    .map_err(|problems| document::told(schema, &problems))?;
    let warnings = document::told(schema, &desired.warnings);
    let canonical = desired.canonical(&MaskKey::of_identity(&stack.namespace, &stack.name));
    let objects: BTreeMap<String, Value> = canonical
        .into_iter()
        .map(|(key, json)| (key.to_string(), json.map_or(Value::UNKNOWN, Value::string)))
        .collect();
    // A name that is not known yet makes the whole map unknown: its keys are.
    let objects = if objects.keys().any(|key| key.contains(UNKNOWN)) {
        Value::UNKNOWN
    } else {
        Value::Map(objects)
    };
    let revision = revision(&objects);
    Ok(Wanted {
        desired,
        objects,
        revision,
        warnings,
    })
}

/// Names a set of objects: the hash of their keys and canonical JSON.
fn revision(objects: &Value) -> Value {
    let Some(entries) = objects.as_map().filter(|_| objects.is_wholly_known()) else {
        return Value::UNKNOWN;
    };
    let mut hash = Sha256::new();
    for (key, json) in entries {
        for part in [key.as_str(), json.as_str().unwrap_or_default()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
    }
    Value::string(myelin_engine::mask::hex(&hash.finalize()[..8]))
}

type Rendered = (Vec<myelin_engine::object::Object>, BTreeMap<String, String>);

fn render(stack: &myelin_engine::document::Stack) -> Result<Rendered, Diagnostics> {
    Err(Diagnostic::error("Rendering is not built yet", format!("source {:?}", stack.source)).into())
}
