//! Kubernetes objects as the engine handles them: a key, JSON, and where the JSON came from.
//!
//! Nothing here knows schemas or talks to a cluster.

use crate::diagnostic::FilePlace;
use crate::origin::FieldOrigins;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{fmt, str::FromStr};

/// What names one object for its whole life: group, kind, namespace and name. The API version is not part of it: the same
/// object is served at several.
///
/// As text it is `group/Kind/namespace/name`; the core group is written `core`, a cluster-scoped object has an empty third
/// segment. Four segments always, so the text is unambiguous.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// API group; empty for the core group.
    pub group: String,
    /// Kind, as in the manifest.
    pub kind: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its four parts.
    #[must_use]
    pub fn new(
        group: impl Into<String>,
        kind: impl Into<String>,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key that a manifest's own fields give; missing fields are empty.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        Self::new(
            split_api_version(text("/apiVersion")).0,
            text("/kind"),
            text("/metadata/namespace"),
            text("/metadata/name"),
        )
    }

    /// Short text for sentences: `Deployment shop/web`, `Namespace shop`.
    #[must_use]
    pub fn human(&self) -> String {
        if self.namespace.is_empty() {
            format!("{} {}", self.kind, self.name)
        } else {
            format!("{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = if self.group.is_empty() { "core" } else { &self.group };
        write!(f, "{group}/{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// The text was not `group/Kind/namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an object key: expected group/Kind/namespace/name (group \"core\" for the core group)")]
pub struct NotAKey(pub String);

impl FromStr for ObjectKey {
    type Err = NotAKey;
    fn from_str(text: &str) -> Result<Self, NotAKey> {
        let parts: Vec<&str> = text.split('/').collect();
        let [group, kind, namespace, name] = parts[..] else {
            return Err(NotAKey(text.into()));
        };
        if group.is_empty() || kind.is_empty() || name.is_empty() {
            return Err(NotAKey(text.into()));
        }
        Ok(Self::new(
            if group == "core" { "" } else { group },
            kind,
            namespace,
            name,
        ))
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// `apps/v1` → (`apps`, `v1`); `v1` → (``, `v1`).
#[must_use]
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// One manifest: its JSON and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// The manifest. `serde_json` sorts the keys, so its text is canonical.
    pub value: Value,
    /// The file (relative to the source) that the manifest was read or generated from, with the line where the document
    /// starts. A generated object names the kustomization that generates it.
    pub origin: FilePlace,
    /// Where its fields came from: a field that a patch set names the patch.
    pub fields: FieldOrigins,
}

impl Object {
    /// The key that the manifest's own fields give.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        ObjectKey::of(&self.value)
    }

    /// Where the field at a JSON pointer came from, as far as it is known: the patch, the generator's entry or the line of
    /// the kustomization that set it, or else what is nearest around it.
    #[must_use]
    pub fn origin_of(&self, pointer: &str) -> FilePlace {
        self.fields.find(pointer).unwrap_or_else(|| self.origin.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text() {
        for key in [
            ObjectKey::new("apps", "Deployment", "shop", "web"),
            ObjectKey::new("", "Namespace", "", "shop"),
            ObjectKey::new("rbac.authorization.k8s.io", "ClusterRole", "", "system:thing"),
        ] {
            assert_eq!(key.to_string().parse::<ObjectKey>().unwrap(), key);
        }
        for bad in [
            "",
            "a/b/c",
            "core//x/y",
            "core/ConfigMap/x/",
            "a/b/c/d/e",
            "/ConfigMap/x/y",
        ] {
            assert!(bad.parse::<ObjectKey>().is_err(), "{bad}");
        }
    }
}
