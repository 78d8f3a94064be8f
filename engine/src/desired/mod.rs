//! The desired state of a stack: every object as it will be sent, its component, and the order between objects.
//!
//! Pure: documents and rendered manifests in, [`Desired`] or all problems out. No cluster is asked; `observe` and
//! `plan` handle what only a cluster knows (whether an object exists, who owns a field). The steps, one file each:
//! `substitute` the variables, set `images`, `assign` components, `shape` every object for its namespace and record,
//! `checksum` what pods read.

mod assign;
mod checksum;
mod images;
mod masked;
mod opened;
mod placeholders;
mod policies;
mod shape;
mod substitute;
mod tokens;

pub use masked::{Redaction, masked, redact};
pub(crate) use shape::scale_target;
pub(crate) use tokens::token_text;
pub use tokens::{WantedToken, is_token, lone_token, token_key};

use crate::diagnostic::{Diagnostics, FilePlace};
use crate::document::{Adopt, Check, Conflicts, Drift, OnFailure, ProtectedKind, Requirement, Stack, Text};
use crate::graph::{self, Graph};
use crate::mask::MaskKey;
use crate::object::{Object, ObjectKey};
use crate::origin::FieldOrigins;
use crate::record::StackId;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Values that are passed beside the document.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    /// Write-only variables: they take precedence over `substitute`, and every value that contains one is masked
    /// without a hash.
    pub write_only: BTreeMap<String, Text>,
    /// Values from encrypted files: a text that contains one is masked, wherever it is.
    pub opened: Vec<String>,
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
    /// Where its fields come from.
    pub fields: FieldOrigins,
    /// JSON pointers of values that hold a write-only variable.
    pub write_only: BTreeSet<String>,
    /// JSON pointers of values that are not known yet. Non-empty makes the object unknown.
    pub unknown: BTreeSet<String>,
    /// Whether the manifest was not in the source: the stack's own Namespace. It is created if absent and otherwise
    /// left alone.
    pub implicit: bool,
}

/// How the stack is treated: everything in the document that is not an object.
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
    /// See [`crate::document::Stack::drift`].
    pub drift: Drift,
    /// Time limit of every wait.
    pub timeout: Duration,
    /// See [`crate::document::Stack::on_failure`].
    pub on_failure: OnFailure,
}

/// One component's terms.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ComponentTerms {
    /// Components that must be ready first.
    pub after: BTreeSet<String>,
    /// Time limit of its own wait.
    pub timeout: Option<Duration>,
    /// Checks to run in this order once its objects are ready.
    pub verify: Vec<Check>,
}

/// What the stack should be.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Which stack.
    pub stack: StackId,
    /// Every object, in an order that respects the graph.
    pub objects: Vec<DesiredObject>,
    /// The tokens.
    pub tokens: Vec<WantedToken>,
    /// The components by name.
    pub components: BTreeMap<String, ComponentTerms>,
    /// Objects of others that must be ready first, each with the component that requires it, or None for the whole
    /// stack.
    pub requires: Vec<(Option<String>, Requirement)>,
    /// What waits for what.
    pub graph: Graph,
    /// How the stack wants to be treated.
    pub policy: Policy,
    /// Warnings; never errors.
    pub warnings: Diagnostics,
    /// Whether this is the last good state, restored because an apply failed. Tokens are then left as they are.
    pub going_back: bool,
}

impl Desired {
    /// The object of a key.
    #[must_use]
    pub fn object(&self, key: &ObjectKey) -> Option<&DesiredObject> {
        self.objects.iter().find(|o| o.key == *key)
    }

    /// The token of a key.
    #[must_use]
    pub fn token(&self, key: &ObjectKey) -> Option<&WantedToken> {
        self.tokens.iter().find(|t| t.key == *key)
    }

    /// Canonical JSON of every object that is completely known, with Secrets and write-only values masked under `key`;
    /// None for an object that is not known yet. With a fixed key, a pure function of the configuration.
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
            .chain(self.tokens.iter().map(|t| (t.key.clone(), Some(token_text(&t.token)))))
            .collect()
    }
}

/// The annotation on pod templates that changes when the config they read changes.
pub const CONFIG_CHECKSUM: &str = "myelin.dev/config-checksum";

/// The annotation (value `disabled`) that keeps `${…}` in one object as it is.
pub const SUBSTITUTE: &str = "myelin.dev/substitute";

/// From the document and the rendered manifests to the desired state.
///
/// Origins are relative to the source (`Tree::shown_from`). `text` returns the text of a file by the path that origins
/// use, so that problems inside it can name their line.
///
/// # Errors
/// Every problem of the input: unset variables, components that match nothing, duplicate objects, cycles.
pub fn desired(
    stack: &Stack,
    variables: &Variables,
    rendered: Vec<Object>,
    text: &dyn Fn(&str) -> Option<String>,
) -> Result<Desired, Diagnostics> {
    let mut problems = Diagnostics::new();
    let id = StackId {
        namespace: stack.namespace.clone(),
        name: stack.name.clone(),
    };
    let mut objects = substitute::substitute(stack, variables, rendered, text, &mut problems);
    opened::hide(&variables.opened, &mut objects);
    images::set_images(&stack.images, &mut objects, &mut problems);
    assign::assign(stack, &mut objects, &mut problems);
    shape::shape(stack, &id, &mut objects, &mut problems);
    placeholders::refuse(&objects, text, &mut problems);
    policies::check(&stack.policies, &objects, &mut problems);
    if problems.has_errors() {
        // Later steps would only repeat the same problems in other words.
        return Err(problems);
    }
    if stack.restart_on_config_change {
        checksum::add(&MaskKey::of_identity(&id.namespace, &id.name), &mut objects);
    }
    let components = terms(stack);
    let after = components
        .iter()
        .map(|(name, terms)| (name.clone(), terms.after.clone()))
        .collect();
    let tokens = tokens::wanted(stack);
    let graph = {
        let members: Vec<_> = objects
            .iter()
            .map(|o| graph::Member {
                key: &o.key,
                value: &o.value,
                component: o.component.as_deref(),
            })
            .collect();
        graph::build(&members, &tokens::members(stack, &tokens, &objects), &after)
    };
    let graph = match graph {
        Ok(graph) => graph,
        Err(more) => {
            problems.extend(more);
            return Err(problems);
        }
    };
    objects.sort_by_cached_key(|o| (graph.level.get(&o.key).copied().unwrap_or(0), o.key.clone()));
    let own = stack
        .components
        .iter()
        .flat_map(|(name, c)| c.requires.iter().map(move |r| (Some(name.clone()), r.clone())));
    let requires = stack.requires.iter().map(|r| (None, r.clone())).chain(own).collect();
    let ((), warnings) = problems.or(())?;
    Ok(Desired {
        stack: id,
        objects,
        tokens,
        components,
        requires,
        graph,
        policy: policy(stack),
        warnings,
        going_back: false,
    })
}

fn policy(stack: &Stack) -> Policy {
    Policy {
        prune: stack.prune,
        delete_protected: stack.delete_protected.clone(),
        replace: stack.replace.clone(),
        adopt: stack.adopt,
        conflicts: stack.conflicts,
        drift: stack.drift,
        timeout: stack.timeout,
        on_failure: stack.on_failure,
    }
}

/// The components' terms; a stack without components is one, named like the stack.
fn terms(stack: &Stack) -> BTreeMap<String, ComponentTerms> {
    if stack.components.is_empty() {
        return [(stack.name.clone(), ComponentTerms::default())].into();
    }
    let terms = |c: &crate::document::Component| ComponentTerms {
        after: c.after.clone(),
        timeout: c.timeout,
        verify: c.verify.clone(),
    };
    stack
        .components
        .iter()
        .map(|(name, c)| (name.clone(), terms(c)))
        .collect()
}

#[cfg(test)]
mod tests;
