//! A manifest as it may be shown: data of Secrets and write-only values are replaced by marks.

use crate::graph::references::pod_template;
use crate::mask::{MaskKey, WRITE_ONLY};
use crate::object::ObjectKey;
use serde_json::Value;
use std::collections::BTreeSet;

/// A manifest with the data of Secrets and the values at `write_only` (JSON pointers) masked.
///
/// Of a Secret everything under `data` and `stringData` is masked, and the annotation in which `kubectl apply` repeats it. The
/// names of the keys stay.
#[must_use]
pub fn masked(value: &Value, write_only: &BTreeSet<String>, key: &MaskKey) -> Value {
    let mut value = value.clone();
    for pointer in write_only {
        if let Some(v) = value.pointer_mut(pointer) {
            *v = WRITE_ONLY.into();
        }
    }
    let object = ObjectKey::of(&value);
    if object.group.is_empty() && object.kind == "Secret" {
        for field in ["data", "stringData"] {
            let Some(data) = value.get_mut(field) else { continue };
            let Some(map) = data.as_object_mut() else {
                *data = WRITE_ONLY.into();
                continue;
            };
            for (name, v) in map.iter_mut().filter(|(_, v)| *v != WRITE_ONLY) {
                let bytes = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
                *v = key.mark(&format!("/{field}/{name}"), bytes.as_bytes()).into();
            }
        }
        let last_applied = "kubectl.kubernetes.io/last-applied-configuration";
        if let Some(v) = value
            .pointer_mut("/metadata/annotations")
            .and_then(|a| a.get_mut(last_applied))
        {
            *v = WRITE_ONLY.into();
        }
    }
    value
}

/// JSON pointer of the annotations of a workload's pod template.
pub(super) fn template_annotations(key: &ObjectKey) -> Option<String> {
    // Only templates whose change rolls pods: a Job's is immutable, and a bare Pod restarts nothing.
    let rolls = matches!(&*key.kind, "Deployment" | "StatefulSet" | "DaemonSet") && key.group == "apps";
    rolls
        .then(|| pod_template(&key.group, &key.kind).map(|p| format!("{p}/metadata/annotations")))
        .flatten()
}

/// Shorter values (in bytes) occur by chance in unrelated text.
const SHORT: usize = 4;

/// The secret values of objects, to be removed from text of others: validation errors and log lines repeat values.
#[derive(Debug, Clone, Default)]
pub struct Redaction {
    /// Each value, and how a quoting server writes it if that differs. The longest comes first, because one may be part
    /// of another.
    secrets: Vec<(String, Option<String>)>,
}

impl Redaction {
    /// The values of all objects of a stack. Very short ones are not removed: they occur in every text by chance.
    #[must_use]
    pub fn of(desired: &super::Desired) -> Self {
        let secretive = desired
            .objects
            .iter()
            .filter(|o| !o.write_only.is_empty() || o.key.kind == "Secret");
        let all = secretive.flat_map(|o| secrets(&o.value, &o.write_only));
        Self::of_values(all.filter(|secret| secret.len() >= SHORT).collect())
    }

    /// The values of one object: of a Secret all data, of any the values at `write_only` (JSON pointers).
    #[must_use]
    pub fn of_object(value: &Value, write_only: &BTreeSet<String>) -> Self {
        Self::of_values(secrets(value, write_only))
    }

    fn of_values(mut values: BTreeSet<String>) -> Self {
        values.remove("");
        let with_escaped = |secret: String| {
            let escaped = secret.escape_default().to_string();
            let other = (escaped != secret).then_some(escaped);
            (secret, other)
        };
        let mut secrets: Vec<_> = values.into_iter().map(with_escaped).collect();
        secrets.sort_by_key(|(secret, _)| std::cmp::Reverse(secret.len()));
        Self { secrets }
    }

    /// The text without the values.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (secret, escaped) in &self.secrets {
            // Cutting a short value out would make the text unreadable, and not cutting it would show it.
            if secret.len() < SHORT && text.contains(secret) {
                return "the server's words are not shown, because they may contain a secret value".into();
            }
            for found in std::iter::once(secret).chain(escaped) {
                if out.contains(found) {
                    out = out.replace(found, "(sensitive)");
                }
            }
        }
        out
    }
}

/// A message of the server about an object, without the values that the object keeps secret.
#[must_use]
pub fn redact(text: &str, value: &Value, write_only: &BTreeSet<String>) -> String {
    Redaction::of_object(value, write_only).redact(text)
}

fn secrets(value: &Value, write_only: &BTreeSet<String>) -> BTreeSet<String> {
    use base64::Engine as _;
    let mut secrets: BTreeSet<String> = BTreeSet::new();
    for pointer in write_only {
        secrets.extend(value.pointer(pointer).and_then(Value::as_str).map(str::to_owned));
    }
    let key = ObjectKey::of(value);
    if key.group.is_empty() && key.kind == "Secret" {
        for v in ["data", "stringData"]
            .iter()
            .filter_map(|f| value.get(f))
            .filter_map(Value::as_object)
            .flat_map(|m| m.values())
        {
            let text = v.as_str().map_or_else(|| v.to_string(), str::to_owned);
            let decoded = base64::engine::general_purpose::STANDARD.decode(&text).ok();
            secrets.extend(decoded.and_then(|b| String::from_utf8(b).ok()));
            secrets.insert(text);
        }
    }
    secrets
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn messages_lose_the_values_they_repeat() {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "data": {"p": "aHVudGVyMg=="}});
        let none = BTreeSet::new();
        assert_eq!(
            redact("bad hunter2, aHVudGVyMg==", &secret, &none),
            "bad (sensitive), (sensitive)"
        );
        let map = json!({"kind": "ConfigMap", "data": {"u": "db://swordfish"}});
        assert_eq!(
            redact("\"db://swordfish\" is bad", &map, &["/data/u".to_owned()].into()),
            "\"(sensitive)\" is bad"
        );
        assert_eq!(redact("plain", &map, &none), "plain");
        let short = json!({"apiVersion": "v1", "kind": "Secret", "data": {"p": "YQ=="}});
        assert!(!redact("an a", &short, &none).contains("an a"));
    }
}
