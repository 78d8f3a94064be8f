//! What a CustomResourceDefinition says about a resource besides its names.

use serde_json::Value;

/// The parts of a definition's version that the registry and the API need.
#[derive(Debug, Clone, Default)]
pub struct Definition {
    /// The structural schema as it was written (`openAPIV3Schema`).
    pub validation: Value,
    /// Whether `/status` is served.
    pub status: bool,
    /// Where `/scale` finds its fields, if it is served.
    pub scale: Option<ScalePaths>,
    /// Columns of tables.
    pub columns: Vec<Value>,
    /// JSON paths that field selectors may name.
    pub selectable: Vec<String>,
    /// The kind of lists.
    pub list_kind: String,
}

/// The JSON paths of a custom resource's scale.
#[derive(Debug, Clone, Default)]
pub struct ScalePaths {
    /// Such as `.spec.replicas`.
    pub spec: String,
    /// Such as `.status.replicas`.
    pub status: String,
    /// Such as `.status.labelSelector`.
    pub selector: Option<String>,
}
