//! A stored object: immutable, shared, and rendered to JSON at most once.

use std::sync::OnceLock;

use bytes::Bytes;
use serde::ser::SerializeMap;
use serde_json::Value;

/// An object as it is stored. `value` has `apiVersion` and `kind` (of the storage version) like any manifest.
#[derive(Debug)]
pub struct Object {
    key: String,
    value: Value,
    revision: u64,
    body: OnceLock<Bytes>,
}

impl Object {
    pub(super) fn new(key: &str, mut value: Value, revision: u64) -> Self {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".to_owned(), Value::String(revision.to_string()));
        }
        Self {
            key: key.to_owned(),
            value,
            revision,
            body: OnceLock::new(),
        }
    }

    /// An object that is not in the store: what a dry run would have written.
    pub fn unstored(key: &str, value: Value, revision: u64) -> Self {
        Self {
            key: key.to_owned(),
            value,
            revision,
            body: OnceLock::new(),
        }
    }

    /// `namespace/name`, or the name alone for cluster-scoped objects.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The whole object.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The store's revision of it; `metadata.resourceVersion` as a number.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        self.meta("name")
    }

    /// `metadata.namespace`, or the empty string.
    pub fn namespace(&self) -> &str {
        self.meta("namespace")
    }

    /// `metadata.uid`.
    pub fn uid(&self) -> &str {
        self.meta("uid")
    }

    /// Whether `metadata.deletionTimestamp` is set.
    pub fn is_deleting(&self) -> bool {
        self.value["metadata"]["deletionTimestamp"].is_string()
    }

    /// `metadata.labels`; null if there are none.
    pub fn labels(&self) -> &Value {
        &self.value["metadata"]["labels"]
    }

    fn meta(&self, field: &str) -> &str {
        self.value["metadata"][field].as_str().unwrap_or_default()
    }

    /// The object's JSON without `apiVersion` and `kind`, braces included; rendered once and shared by all responses.
    pub fn body(&self) -> &Bytes {
        self.body.get_or_init(|| Bytes::from(render_body(&self.value)))
    }
}

/// JSON of an object less `apiVersion` and `kind`.
pub(crate) fn render_body(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut serializer = serde_json::Serializer::new(&mut out);
    if let Value::Object(map) = value {
        let fields = map.iter().filter(|(name, _)| *name != "apiVersion" && *name != "kind");
        let written = serde::Serializer::serialize_map(&mut serializer, None).and_then(|mut writer| {
            for (name, value) in fields {
                writer.serialize_entry(name, value)?;
            }
            writer.end()
        });
        written.expect("JSON values with string keys always render");
    } else {
        out.extend_from_slice(b"{}");
    }
    out
}
