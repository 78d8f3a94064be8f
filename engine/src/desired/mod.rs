//! What the stack should be: every object as it will be sent, its component, and the order between them.
//!
//! Pure: documents and rendered manifests in, [`Desired`] or all problems out. No cluster is asked; what only a cluster can
//! know (whether an object exists, who owns a field) is `observe`'s and `plan`'s.

use crate::diagnostic::{Diagnostics, FilePlace};
use crate::document::{Adopt, Conflicts, ProtectedKind, Requirement, Text};
use crate::graph::Graph;
use crate::mask::MaskKey;
use crate::object::ObjectKey;
use crate::record::StackId;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Values that come beside the document.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// Write-only variables: they win over `substitute`, and whatever they touch is masked without a hash.
    pub write_only: BTreeMap<String, Text>,
}

/// One object as it will be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredObject {
    /// Its key, with the namespace set.
    pub key: ObjectKey,
    /// `apiVersion` that it is applied at.
    pub api_version: String,
    /// The whole manifest, labels and namespace set.
    pub value: Value,
    /// Its component; None for the stack's base.
    pub component: Option<String>,
    /// Where its manifest comes from.
    pub origin: FilePlace,
    /// JSON pointers of values that hold a write-only variable.
    pub write_only: BTreeSet<String>,
    /// JSON pointers of values that are not known yet. Non-empty makes the object unknown.
    pub unknown: BTreeSet<String>,
    /// Whether the manifest was not in the source: the stack's own Namespace. It is made if absent and else left alone.
    pub implicit: bool,
}

/// How the stack wants to be treated; everything of the document that is not an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// See [`crate::document::Stack::prune`].
    pub prune: bool,
    /// See [`crate::document::Stack::delete_protected`].
    pub delete_protected: BTreeSet<ProtectedKind>,
    /// See [`crate::document::Stack::replace`].
    pub replace: BTreeSet<String>,
    /// See [`crate::document::Stack::adopt`].
    pub adopt: Adopt,
    /// See [`crate::document::Stack::conflicts`].
    pub conflicts: Conflicts,
    /// The end of every wait.
    pub timeout: Duration,
}

/// One component's terms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ComponentTerms {
    /// Components that must be ready first.
    pub after: BTreeSet<String>,
    /// The end of its own wait.
    pub timeout: Option<Duration>,
}

/// What the stack should be.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Which stack.
    pub stack: StackId,
    /// Every object, in an order that respects the graph.
    pub objects: Vec<DesiredObject>,
    /// The components by name.
    pub components: BTreeMap<String, ComponentTerms>,
    /// Objects of others that must be ready first, each with the component that asks, or None for the whole stack.
    pub requires: Vec<(Option<String>, Requirement)>,
    /// What waits for what.
    pub graph: Graph,
    /// How the stack wants to be treated.
    pub policy: Policy,
    /// Warnings; never errors.
    pub warnings: Diagnostics,
}

impl Desired {
    /// The object of a key.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<&DesiredObject> {
        self.objects.iter().find(|o| o.key == *key)
    }

    /// Canonical JSON of every object that is wholly known, Secrets and write-only values masked under `key`; None for an
    /// object that is not known yet. A pure function of the configuration when the key is.
    #[must_use]
    pub fn canonical(&self, key: &MaskKey) -> BTreeMap<ObjectKey, Option<String>> {
        self.objects
            .iter()
            .map(|o| {
                let known = o.unknown.is_empty();
                (
                    o.key.clone(),
                    known.then(|| masked(&o.value, &o.write_only, key).to_string()),
                )
            })
            .collect()
    }
}

/// A manifest with the data of Secrets and the values at `write_only` masked.
#[must_use]
pub fn masked(value: &Value, write_only: &BTreeSet<String>, key: &MaskKey) -> Value {
    let _ = (value, write_only, key);
    Value::Null
}

/// From the document and the rendered manifests to what the stack should be.
///
/// `text` answers the text of a source file by the path that origins use, so that problems inside it can name their line.
///
/// # Errors
/// Every problem of the input: unset variables, components that match nothing, duplicate objects, cycles.
pub fn desired(
    stack: &crate::document::Stack,
    variables: &Variables,
    rendered: Vec<crate::object::Object>,
    text: &dyn Fn(&str) -> Option<String>,
) -> Result<Desired, Diagnostics> {
    let _ = (stack, variables, rendered, text);
    Err(crate::diagnostic::Diagnostic::error("this is not built yet").into())
}
