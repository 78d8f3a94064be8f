//! `buildMetadata`: the annotations that tell where a resource came from and what changed it.

use super::resmap::ResMap;
use super::resource::{Provenance, Resource};
use crate::tree::TreePath;
use crate::yaml::{Node, emit};
use serde_json::{Value, json};

pub(super) fn built_in(file: &TreePath, kind: &str) -> Provenance {
    Provenance::Configured {
        file: file.clone(),
        api_version: "builtin".into(),
        kind: kind.into(),
        name: "".into(),
        namespace: "".into(),
    }
}

/// A generator or transformer with a configuration of its own.
pub(super) fn plugin(plugin: &Resource, used_in: &TreePath) -> Provenance {
    let file = match &plugin.origin {
        Some(Provenance::File(file)) => file.clone(),
        _ => used_in.clone(),
    };
    Provenance::Configured {
        file,
        api_version: plugin.api_version().into(),
        kind: plugin.kind().into(),
        name: plugin.name().into(),
        namespace: plugin.namespace().into(),
    }
}

/// As YAML with the fields in the original's order.
fn told(provenance: &Provenance, root: &TreePath) -> String {
    match provenance {
        Provenance::File(file) => emit(&json!({"path": file.relative_to(root)})),
        Provenance::Configured {
            file,
            api_version,
            kind,
            name,
            namespace,
        } => {
            let mut by = json!({"apiVersion": &**api_version, "kind": &**kind});
            for (key, text) in [("name", name), ("namespace", namespace)] {
                if !text.is_empty() {
                    by[key] = Value::String(text.to_string());
                }
            }
            emit(&json!({"configuredIn": file.relative_to(root)})) + &emit(&json!({"configuredBy": by}))
        }
    }
}

/// The texts as the items of a YAML list.
fn list(texts: &[String]) -> String {
    let mut out = String::new();
    for text in texts {
        for (i, line) in text.lines().enumerate() {
            out.push_str(if i == 0 { "- " } else { "  " });
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// The original's own notes, as it keeps them among a resource's annotations while it works. What a file says there is taken out with them.
const NOTES: &[&str] = &[
    "alpha.config.kubernetes.io/transformations",
    "config.k8s.io/id",
    "config.kubernetes.io/index",
    "config.kubernetes.io/origin",
    "config.kubernetes.io/path",
    "internal.config.kubernetes.io/allowKindChange",
    "internal.config.kubernetes.io/allowNameChange",
    "internal.config.kubernetes.io/annotations-migration-resource-id",
    "internal.config.kubernetes.io/generatorBehavior",
    "internal.config.kubernetes.io/id",
    "internal.config.kubernetes.io/index",
    NEEDS_HASH,
    "internal.config.kubernetes.io/path",
    "internal.config.kubernetes.io/prefixes",
    "internal.config.kubernetes.io/previousKinds",
    "internal.config.kubernetes.io/previousNames",
    "internal.config.kubernetes.io/previousNamespaces",
    "internal.config.kubernetes.io/refBy",
    "internal.config.kubernetes.io/seqindent",
    "internal.config.kubernetes.io/suffixes",
];

const NEEDS_HASH: &str = "internal.config.kubernetes.io/needsHashSuffix";

/// Takes notes out that came with the files: of other tools that read and write resources as kustomize does, and of
/// earlier builds whose output was committed. The one for a hash suffix is heeded.
pub(super) fn clear(resources: &mut ResMap) {
    for resource in &mut resources.all {
        let Some(annotations) = resource.node.path(&["metadata", "annotations"]) else {
            continue;
        };
        if !annotations.entries().iter().any(|e| NOTES.contains(&&*e.key)) {
            continue;
        }
        resource.needs_hash |= annotations.get(NEEDS_HASH).and_then(Node::text) == Some("enabled");
        let mut texts = resource.texts("annotations");
        texts.retain(|key, _| !NOTES.contains(&&**key));
        resource.set_texts("annotations", &texts);
    }
}

/// Writes the annotations that the root requests.
pub(super) fn annotate(resources: &mut ResMap, root: &TreePath, origins: bool, transformers: bool) {
    for resource in &mut resources.all {
        let mut texts = resource.texts("annotations");
        if let Some(origin) = resource.origin.as_ref().filter(|_| origins) {
            texts.insert("config.kubernetes.io/origin".into(), told(origin, root).into());
        }
        if transformers && !resource.transformations.is_empty() {
            let all: Vec<String> = resource.transformations.iter().map(|t| told(t, root)).collect();
            texts.insert("alpha.config.kubernetes.io/transformations".into(), list(&all).into());
        }
        resource.set_texts("annotations", &texts);
    }
}
