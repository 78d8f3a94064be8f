//! YAML: text to nodes with positions, exactly as kubectl or kustomize reads it, and values back to text as kustomize
//! prints it. Does not know Kubernetes, files or schemas.
//!
//! Two [`Profile`]s, because the two tools disagree: kubectl reads YAML 1.1 booleans (`yes`, `on`) and turns keys that are
//! no strings into strings; kustomize knows only `true` and `false` and refuses such keys. Both read `0644` as octal,
//! expand `<<` and aliases, and refuse duplicate keys.

mod emit;
mod folded;
mod json;
mod node;
mod number;
mod parse;
mod pieces;
mod resolve;
mod scan;
mod timestamp;

pub use emit::{emit, is_written_plain, key_order};
pub use folded::{STARTS_WITH_TAB, is_written_as_block};
pub use json::{from_json, to_json};
pub use node::{At, Content, Entry, FileId, Node, Scalar, Tag};
pub use number::{Number, go_float_g};
pub use parse::{Limits, parse, parse_one};
pub use resolve::{Profile, Resolved, resolve};

/// Why a text is not YAML, or not YAML that a manifest may contain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {message}")]
pub struct YamlError {
    /// From 1; 0 if there is none.
    pub line: u32,
    /// In characters, from 1; 0 if there is none.
    pub column: u32,
    /// What is wrong and what to do.
    pub message: String,
}

impl YamlError {
    /// An error at a position.
    pub fn new(at: At, message: impl Into<String>) -> Self {
        Self {
            line: at.line,
            column: at.column,
            message: message.into(),
        }
    }

    /// As a diagnostic about the named file.
    #[must_use]
    pub fn in_file(self, file: &str) -> crate::diagnostic::Diagnostic {
        let positive = |n: u32| (n > 0).then_some(n);
        crate::diagnostic::Diagnostic::error(self.message).at(crate::diagnostic::FilePlace {
            file: file.to_owned(),
            line: positive(self.line),
            column: positive(self.column),
        })
    }
}
