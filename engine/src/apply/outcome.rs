//! What an apply or destroy did, object by object.

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::object::ObjectKey;
use std::collections::BTreeMap;

/// The result for one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Nothing had to be done.
    Unchanged,
    /// Applied, and its gate is open.
    Ready,
    /// Applied, but its gate had not opened at the end. The text says what it waits for.
    Waiting(String),
    /// Applied, and then it failed; or it could not be applied. The text says why.
    Failed(String),
    /// Not tried, for the reason in the text.
    Skipped(String),
    /// A request was sent and its answer never came. The next apply finds out.
    Uncertain(String),
    /// Deleted, and gone.
    Gone,
    /// Left in the cluster on purpose; the text says why.
    Kept(String),
}

/// A step, for observers. Texts hold no secret values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// An object was sent and confirmed.
    Applied(ObjectKey),
    /// An object's gate opened.
    Ready(ObjectKey),
    /// An object waits, for this reason. Reported when the reason changes.
    Waiting(ObjectKey, String),
    /// An object failed.
    Failed(ObjectKey, String),
    /// An object was deleted and is gone.
    Gone(ObjectKey),
    /// Everything of a component is ready.
    ComponentReady(String),
}

/// What happened. True on every exit: success, failure, timeout and cancellation.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Every object of the plan or of the record.
    pub objects: BTreeMap<ObjectKey, Fate>,
    /// `ready`, `waiting`, `failed: …` or `skipped: …` for each component.
    pub components: BTreeMap<String, String>,
    /// Whether everything is ready (or, for a destroy, gone).
    pub ready: bool,
    /// Whether the record exists, that is, whether the cluster may hold anything of the stack.
    pub recorded: bool,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
    /// Whether it was cancelled.
    pub cancelled: bool,
    /// Whether another run wrote the record meanwhile and is in charge now.
    pub superseded: bool,
    /// Whether it failed and the stack is back in its last good state, with everything ready.
    pub rolled_back: bool,
}

impl Outcome {
    /// Nothing was done, for this reason.
    #[must_use]
    pub fn refused(why: impl Into<Diagnostics>) -> Self {
        Self {
            diagnostics: why.into(),
            ..Self::default()
        }
    }

    /// Adds a diagnostic.
    pub(crate) fn tell(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }
}
