//! `buildMetadata`: the annotations that tell where a resource came from and what changed it.

use super::resmap::ResMap;
use super::resource::{Provenance, Resource};
use crate::tree::TreePath;
use crate::yaml::emit;
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

/// Writes the annotations that the root asks for.
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
