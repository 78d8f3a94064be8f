//! The documents as JSON Schemas (draft 07), for editors and for checking a repository without Myelin.
//!
//! `stack`, `token` and `pool` describe what each field is for. A test ensures that they name exactly the fields that
//! the reader takes, with the same kinds, values and bounds. What a schema cannot express (a cycle, a name that does
//! not exist) only the reader finds.

mod pool;
mod stack;
mod token;

use super::{API_VERSION, DocumentKind};
use serde_json::{Map, Value, json};

/// A field of a document.
struct Field {
    name: &'static str,
    shape: Shape,
    required: bool,
    text: &'static str,
}

/// What may stand in a field.
enum Shape {
    Text,
    /// A text that fits an expression.
    Pattern(&'static str),
    Words(&'static [&'static str]),
    Flag,
    Whole(std::ops::RangeInclusive<i64>),
    Duration,
    Texts,
    TextMap,
    /// The number or name of a port.
    Port,
    /// A number of nodes, or a part such as `10%`.
    Share,
    /// HTTP status codes.
    Statuses,
    /// These fields.
    Fields(Vec<Field>),
    /// These fields, of which one alone is given.
    OneOf(Vec<Field>),
    /// The same by name.
    Entries(Vec<Field>),
    List(Vec<Field>),
}

fn field(name: &'static str, shape: Shape, text: &'static str) -> Field {
    Field {
        name,
        shape,
        required: false,
        text,
    }
}

fn required(name: &'static str, shape: Shape, text: &'static str) -> Field {
    Field {
        required: true,
        ..field(name, shape, text)
    }
}

/// RFC 1123 label.
const LABEL: &str = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$";

const DURATION: &str = "^([0-9]+(h|m|s|ms))+$";

impl Shape {
    fn schema(&self) -> Value {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Pattern(pattern) => json!({"type": "string", "pattern": pattern}),
            Self::Words(words) => json!({"enum": words}),
            Self::Flag => json!({"type": "boolean"}),
            Self::Whole(bounds) => json!({"type": "integer", "minimum": bounds.start(), "maximum": bounds.end()}),
            Self::Duration => json!({"type": "string", "pattern": DURATION, "examples": ["90s", "15m", "1h30m"]}),
            Self::Texts => json!({"type": "array", "items": {"type": "string"}}),
            Self::TextMap => json!({"type": "object", "additionalProperties": {"type": "string"}}),
            Self::Port => json!({"type": ["integer", "string"]}),
            Self::Share => json!({"oneOf": [
                {"type": "integer", "minimum": 0, "maximum": 1000}, {"type": "string", "pattern": "^(100|[0-9]{1,2})%$"}]}),
            Self::Statuses => json!({"type": "array", "items": {"type": "integer", "minimum": 100, "maximum": 599}}),
            Self::Fields(fields) => object(fields),
            Self::OneOf(fields) => {
                let mut schema = object(fields);
                schema["minProperties"] = 1.into();
                schema["maxProperties"] = 1.into();
                schema
            }
            Self::Entries(fields) => {
                json!({"type": "object", "propertyNames": {"pattern": LABEL}, "additionalProperties": object(fields)})
            }
            Self::List(fields) => json!({"type": "array", "items": object(fields)}),
        }
    }
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let mut schema = field.shape.schema();
            schema["description"] = field.text.into();
            (field.name.to_owned(), schema)
        })
        .collect();
    let mut schema = json!({"type": "object", "additionalProperties": false, "properties": properties});
    let required: Vec<&str> = fields.iter().filter(|f| f.required).map(|f| f.name).collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}

/// `dependsOn` of every kind that has it.
fn depends_on() -> Field {
    let other = vec![
        required(
            "kind",
            Shape::Words(&["Stack", "ProvisioningToken", "NodePool"]),
            "Kind of the other document.",
        ),
        required("name", Shape::Text, "Its metadata.name."),
    ];
    field(
        "dependsOn",
        Shape::List(other),
        "Documents that must be ready before this one starts.",
    )
}

/// As whom a token of its own is minted and stored.
fn account() -> Field {
    field(
        "serviceAccount",
        Shape::Text,
        "Service account, NAME (of the token's namespace) or NAMESPACE/NAME, as which `myelin run` runs the issuer's command and stores \
         the value. The source's configuration has to allow it. Default: the source's account.",
    )
}

fn metadata(kind: DocumentKind) -> Vec<Field> {
    let mut fields = vec![required(
        "name",
        Shape::Pattern(LABEL),
        "Names the document, and what remembers it in the cluster. Another name is another one.",
    )];
    if kind == DocumentKind::ProvisioningToken {
        fields.push(required(
            "namespace",
            Shape::Pattern(LABEL),
            "Namespace of the record, and of the Secret and the pod where they name none.",
        ));
    }
    fields
}

fn fields(kind: DocumentKind) -> Vec<Field> {
    let (word, about, spec): (&'static [&'static str], _, _) = match kind {
        DocumentKind::Stack => (
            &["Stack"],
            "Kubernetes objects in components that start in order.",
            stack::fields(),
        ),
        DocumentKind::ProvisioningToken => (
            &["ProvisioningToken"],
            "A one-time secret, minted once.",
            token::fields().into_iter().chain([depends_on(), account()]).collect(),
        ),
        DocumentKind::NodePool => (&["NodePool"], "EC2 workers.", pool::fields()),
    };
    vec![
        required(
            "apiVersion",
            Shape::Words(&[API_VERSION]),
            "Version of the document's form.",
        ),
        required("kind", Shape::Words(word), about),
        required("metadata", Shape::Fields(metadata(kind)), "Who this is."),
        required("spec", Shape::Fields(spec), "What is wanted."),
    ]
}

/// The JSON Schema of a kind of document.
#[must_use]
pub fn json_schema(kind: DocumentKind) -> Value {
    let mut schema = object(&fields(kind));
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = format!("{kind} of {API_VERSION}").into();
    schema
}

/// One JSON Schema for a file in which documents of all kinds may stand.
#[must_use]
pub fn json_schema_of_all() -> Value {
    let kinds = [
        DocumentKind::Stack,
        DocumentKind::ProvisioningToken,
        DocumentKind::NodePool,
    ];
    let cases: Vec<Value> = kinds
        .into_iter()
        .map(|kind| {
            let is = json!({"required": ["kind"], "properties": {"kind": {"const": kind.to_string()}}});
            json!({"if": is, "then": object(&fields(kind))})
        })
        .collect();
    let words: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": format!("Documents of {API_VERSION}"),
        "type": "object",
        "required": ["apiVersion", "kind"],
        "properties": {"apiVersion": {"enum": [API_VERSION]}, "kind": {"enum": words}},
        "allOf": cases,
    })
}

#[cfg(test)]
mod tests;
