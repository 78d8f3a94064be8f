//! Field errors: where a value is wrong and in what way. The wording and the reasons are those of the API's field errors, which
//! clients match on. It knows no kind and no rule, and makes no Status (see `registry::Failure`).

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::gojson;
use crate::kubernetes::registry::FieldFault;

/// A path to a field, built on the stack while a validator descends and rendered only when there is something to say.
#[derive(Clone, Copy, Debug)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Child(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A path of one name; the empty name is the object itself.
    pub const fn root(name: &'a str) -> Self {
        Self {
            parent: None,
            part: Part::Child(name),
        }
    }

    /// The field `name` (or a dotted path of fields) below this one.
    pub const fn child(&'a self, name: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            part: Part::Child(name),
        }
    }

    /// The item at `index` of this list.
    pub const fn index(&'a self, index: usize) -> Path<'a> {
        Path {
            parent: Some(self),
            part: Part::Index(index),
        }
    }

    /// The entry `key` of this map.
    pub const fn key(&'a self, key: &'a str) -> Path<'a> {
        Path {
            parent: Some(self),
            part: Part::Key(key),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chain = Vec::new();
        let mut at = Some(self);
        while let Some(path) = at {
            chain.push(path.part);
            at = path.parent;
        }
        let mut started = false;
        for part in chain.iter().rev() {
            match part {
                Part::Child("") => continue,
                Part::Child(name) if started => write!(f, ".{name}")?,
                Part::Child(name) => f.write_str(name)?,
                Part::Index(index) => write!(f, "[{index}]")?,
                Part::Key(key) => write!(f, "[{key}]")?,
            }
            started = true;
        }
        Ok(())
    }
}

/// In what way a value is wrong; the reason of the cause in a Status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Absent or empty.
    Required,
    /// Malformed or out of range.
    Invalid,
    /// Of another type.
    TypeInvalid,
    /// Not one of a closed set.
    NotSupported,
    /// Said twice.
    Duplicate,
    /// Not allowed here or now.
    Forbidden,
    /// Too many bytes.
    TooLong,
    /// Too many items.
    TooMany,
    /// Refers to nothing.
    NotFound,
    /// The server could not tell.
    Internal,
}

impl Wrong {
    /// The `reason` of a cause.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::NotFound => "FieldValueNotFound",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Duplicate => "Duplicate value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::NotFound => "Not found",
            Self::Internal => "Internal error",
        }
    }
}

/// The offending value as an error shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(Option<String>);

impl Shown {
    /// Text that is shown as it stands.
    pub fn raw(text: impl Into<String>) -> Self {
        Self(Some(text.into()))
    }

    /// Nothing is shown, not even `null`.
    pub const fn nothing() -> Self {
        Self(None)
    }
}

impl From<&str> for Shown {
    fn from(text: &str) -> Self {
        Self(Some(gojson::quote(text)))
    }
}
impl From<&String> for Shown {
    fn from(text: &String) -> Self {
        Self(Some(gojson::quote(text)))
    }
}
impl From<String> for Shown {
    fn from(text: String) -> Self {
        Self(Some(gojson::quote(&text)))
    }
}
impl From<i64> for Shown {
    fn from(number: i64) -> Self {
        Self(Some(number.to_string()))
    }
}
impl From<bool> for Shown {
    fn from(value: bool) -> Self {
        Self(Some(value.to_string()))
    }
}
impl From<&Value> for Shown {
    fn from(value: &Value) -> Self {
        Self(Some(match value {
            Value::String(text) => gojson::quote(text),
            other => gojson::text(other),
        }))
    }
}
impl From<Option<&Value>> for Shown {
    fn from(value: Option<&Value>) -> Self {
        value.map_or_else(|| Self(Some("null".to_owned())), Self::from)
    }
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// In what way.
    pub wrong: Wrong,
    /// Where, as `spec.ports[0].name`.
    pub field: String,
    /// The cause's message: what was found and what would be right.
    pub body: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body)
    }
}

/// Everything that is wrong with one object, in the order in which it was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// No errors yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The errors in order.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldError> {
        self.0.iter()
    }

    /// Takes over all of another's errors.
    pub fn append(&mut self, mut other: Errors) {
        self.0.append(&mut other.0);
    }

    fn push(&mut self, wrong: Wrong, path: &Path<'_>, shown: Shown, detail: &str) {
        let mut body = wrong.text().to_owned();
        if let Shown(Some(shown)) = shown {
            let _ = write!(body, ": {shown}");
        }
        if !detail.is_empty() {
            let _ = write!(body, ": {detail}");
        }
        self.0.push(FieldError {
            wrong,
            field: path.to_string(),
            body,
        });
    }

    /// The field must have a value.
    pub fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(Wrong::Required, path, Shown::nothing(), detail);
    }

    /// The value is malformed or out of range.
    pub fn invalid(&mut self, path: &Path<'_>, value: impl Into<Shown>, detail: &str) {
        self.push(Wrong::Invalid, path, value.into(), detail);
    }

    /// The value is of the wrong type.
    pub fn type_invalid(&mut self, path: &Path<'_>, value: impl Into<Shown>, detail: &str) {
        self.push(Wrong::TypeInvalid, path, value.into(), detail);
    }

    /// The value is none of `supported`.
    pub fn unsupported(&mut self, path: &Path<'_>, value: impl Into<Shown>, supported: &[&str]) {
        let listed = supported
            .iter()
            .map(|one| gojson::quote(one))
            .collect::<Vec<_>>()
            .join(", ");
        let detail = if supported.is_empty() {
            String::new()
        } else {
            format!("supported values: {listed}")
        };
        self.push(Wrong::NotSupported, path, value.into(), &detail);
    }

    /// The value was there before.
    pub fn duplicate(&mut self, path: &Path<'_>, value: impl Into<Shown>) {
        self.push(Wrong::Duplicate, path, value.into(), "");
    }

    /// The field may not be set, or not be changed.
    pub fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push(Wrong::Forbidden, path, Shown::nothing(), detail);
    }

    /// More than `max` bytes.
    pub fn too_long(&mut self, path: &Path<'_>, max: usize) {
        self.push(
            Wrong::TooLong,
            path,
            Shown::nothing(),
            &format!("may not be more than {max} bytes"),
        );
    }

    /// `count` items where `max` are allowed.
    pub fn too_many(&mut self, path: &Path<'_>, count: usize, max: usize) {
        let items = if max == 1 { "item" } else { "items" };
        self.push(
            Wrong::TooMany,
            path,
            Shown::raw(count.to_string()),
            &format!("must have at most {max} {items}"),
        );
    }

    /// The value names something that is not there.
    pub fn not_found(&mut self, path: &Path<'_>, value: impl Into<Shown>) {
        self.push(Wrong::NotFound, path, value.into(), "");
    }

    /// The server failed while it looked at the field.
    pub fn internal(&mut self, path: &Path<'_>, detail: &str) {
        self.push(Wrong::Internal, path, Shown::nothing(), detail);
    }

    /// An `Invalid value` for each message of a name rule.
    pub fn invalid_each(&mut self, path: &Path<'_>, value: &str, messages: Vec<String>) {
        for message in messages {
            self.invalid(path, value, &message);
        }
    }

    /// The errors as the registry answers them.
    pub(crate) fn into_faults(self) -> Vec<FieldFault> {
        let fault = |error: FieldError| FieldFault {
            reason: error.wrong.reason(),
            field: error.field,
            message: error.body,
        };
        self.0.into_iter().map(fault).collect()
    }
}

impl<'a> IntoIterator for &'a Errors {
    type Item = &'a FieldError;
    type IntoIter = std::slice::Iter<'a, FieldError>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_like_the_servers() {
        let spec = Path::root("spec");
        let ports = spec.child("ports");
        let first = ports.index(0);
        assert_eq!(first.child("name").to_string(), "spec.ports[0].name");
        assert_eq!(Path::root("data").key("a b").to_string(), "data[a b]");
        assert_eq!(Path::root("").child("kind").to_string(), "kind");
    }

    #[test]
    fn errors_read_like_the_servers() {
        let mut errors = Errors::new();
        errors.required(&Path::root("a"), "");
        errors.unsupported(&Path::root("b"), "x", &["y", "z"]);
        errors.invalid(&Path::root("c"), None, "must be set");
        errors.invalid(&Path::root("d"), Shown::nothing(), "lo must not exceed hi");
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "a: Required value",
                r#"b: Unsupported value: "x": supported values: "y", "z""#,
                "c: Invalid value: null: must be set",
                "d: Invalid value: lo must not exceed hi",
            ]
        );
    }
}
