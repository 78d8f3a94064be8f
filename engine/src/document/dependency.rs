//! `dependsOn`: the documents that must be ready before this one starts. Whether they exist is checked where all
//! documents are known.

use super::fields::Fields;
use crate::diagnostic::Diagnostics;
use std::collections::BTreeSet;
use std::fmt;

/// The kinds of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// `Stack`
    Stack,
    /// `ProvisioningToken`
    ProvisioningToken,
    /// `NodePool`
    NodePool,
}

impl DocumentKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stack, Self::ProvisioningToken, Self::NodePool];

    /// The word for it in a document.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stack => "Stack",
            Self::ProvisioningToken => "ProvisioningToken",
            Self::NodePool => "NodePool",
        }
    }

    /// The kind that a word names.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

impl fmt::Display for DocumentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A document by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentName {
    /// Its kind.
    pub kind: DocumentKind,
    /// Its name.
    pub name: String,
}

impl fmt::Display for DocumentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Reads `dependsOn: [{kind: NodePool, name: workers}]`.
pub(super) fn read_depends_on(fields: &mut Fields<'_>, p: &mut Diagnostics) -> BTreeSet<DocumentName> {
    let mut all = BTreeSet::new();
    for (value, path) in fields.list("dependsOn", p) {
        let mut item = fields.at(path, value, p);
        let kind = item.required("kind", "Stack, ProvisioningToken or NodePool", p);
        let name = item.required("name", "the document's metadata.name", p);
        match DocumentKind::from_word(&kind) {
            Some(kind) => {
                all.insert(DocumentName { kind, name });
            }
            None if kind.is_empty() => {}
            None => item.problem(
                "kind",
                format!("\"{kind}\" is not a kind of document"),
                "use Stack, ProvisioningToken or NodePool",
                p,
            ),
        }
        item.end(p);
    }
    all
}
