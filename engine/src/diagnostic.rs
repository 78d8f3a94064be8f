//! Messages for the user: a `Diagnostic` says what failed, why, where, and what to do next.
//!
//! Code that can find several problems in one input returns all of them as [`Diagnostics`]. This file decides nothing
//! and prints nothing; front ends choose the presentation.

use crate::object::ObjectKey;
use std::fmt;

/// How bad it is. An error stops the operation, a warning does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The operation cannot go on.
    Error,
    /// The operation continues, but the user should know.
    Warning,
}

/// A position in a file. Lines and columns count from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePlace {
    /// Path as the user knows it: relative to the stack's source if there is one.
    pub file: String,
    /// Line, from 1; absent when only the file is known.
    pub line: Option<u32>,
    /// Column in characters, from 1; absent when only the line is known.
    pub column: Option<u32>,
}

impl FilePlace {
    /// A place that names only the file.
    #[must_use]
    pub fn file(file: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: None,
            column: None,
        }
    }

    /// A place that names a line of a file.
    #[must_use]
    pub fn line(file: impl Into<String>, line: u32) -> Self {
        Self {
            file: file.into(),
            line: Some(line),
            column: None,
        }
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
            if let Some(column) = self.column {
                write!(f, ":{column}")?;
            }
        }
        Ok(())
    }
}

/// One problem, for the person who reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether it stops the operation.
    pub severity: Severity,
    /// What failed, in one line. Names the object or field.
    pub summary: String,
    /// Why, what the other side said, and what to do next. May be empty.
    pub detail: String,
    /// Where the cause is in a file.
    pub place: Option<FilePlace>,
    /// Path of field names into the document (`["components", "aha", "path"]`), for front ends that map it to their own
    /// source. Names are the document's camelCase words; keys of maps stand as they are.
    pub attribute: Vec<String>,
    /// The Kubernetes object that it is about.
    pub object: Option<ObjectKey>,
}

impl Diagnostic {
    /// An error with nothing but its summary.
    #[must_use]
    pub fn error(summary: impl Into<String>) -> Self {
        Self::new(Severity::Error, summary.into())
    }

    /// A warning with nothing but its summary.
    #[must_use]
    pub fn warning(summary: impl Into<String>) -> Self {
        Self::new(Severity::Warning, summary.into())
    }

    fn new(severity: Severity, summary: String) -> Self {
        Self {
            severity,
            summary,
            detail: String::new(),
            place: None,
            attribute: Vec::new(),
            object: None,
        }
    }

    /// With the reason and the next step.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// With the place in a file.
    #[must_use]
    pub fn at(mut self, place: FilePlace) -> Self {
        self.place = Some(place);
        self
    }

    /// With the place in a file, if it is known.
    #[must_use]
    pub fn at_opt(mut self, place: Option<FilePlace>) -> Self {
        self.place = place.or(self.place);
        self
    }

    /// With the path of the document's field.
    #[must_use]
    pub fn attribute<S: Into<String>>(mut self, path: impl IntoIterator<Item = S>) -> Self {
        self.attribute = path.into_iter().map(Into::into).collect();
        self
    }

    /// With the object that it is about.
    #[must_use]
    pub fn object(mut self, key: ObjectKey) -> Self {
        self.object = Some(key);
        self
    }

    /// Whether this stops the operation.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(match self.severity {
            Severity::Error => "error: ",
            Severity::Warning => "warning: ",
        })?;
        f.write_str(&self.summary)?;
        if !self.detail.is_empty() {
            for line in self.detail.lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

/// All problems of one input, in the order they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Adds all of another's.
    pub fn extend(&mut self, other: impl IntoIterator<Item = Diagnostic>) {
        self.0.extend(other);
    }

    /// Whether any of them stops the operation.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(Diagnostic::is_error)
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// `Err(self)` when any is an error, otherwise the value and the warnings.
    ///
    /// # Errors
    /// All diagnostics, warnings included, when at least one is an error.
    pub fn or<T>(self, value: T) -> Result<(T, Self), Self> {
        if self.has_errors() {
            Err(self)
        } else {
            Ok((value, self))
        }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(one: Diagnostic) -> Self {
        Self(vec![one])
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<T: IntoIterator<Item = Diagnostic>>(iter: T) -> Self {
        Self(iter.into_iter().collect())
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, d) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{d}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diagnostic_reads_as_place_severity_summary_and_indented_detail() {
        let d = Diagnostic::error("no such field")
            .detail("did you mean path?\nsee the reference")
            .at(FilePlace {
                file: "stack.yaml".into(),
                line: Some(3),
                column: Some(7),
            });
        assert_eq!(
            d.to_string(),
            "stack.yaml:3:7: error: no such field\n  did you mean path?\n  see the reference"
        );
    }

    #[test]
    fn warnings_alone_do_not_fail() {
        let mut all = Diagnostics::from(Diagnostic::warning("w"));
        assert!(all.clone().or(()).is_ok());
        all.push(Diagnostic::error("e"));
        assert_eq!(all.or(()).unwrap_err().0.len(), 2);
    }
}
