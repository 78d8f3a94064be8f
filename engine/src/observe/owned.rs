//! Exactly what we own of a live object: the values at the field set that `managedFields` lists for us.
//!
//! Observed is compared with observed. After a confirmed apply, the owned fields and their values are hashed. As long
//! as the hash is the same, nobody has changed, taken or removed a field of ours, whatever defaults, webhooks or
//! autoscalers did elsewhere. No merge is predicted. The format of `fieldsV1` is that of structured-merge-diff:
//! `f:name`, `k:{keys}`, `v:value`, `i:index`, `.`.

use crate::cluster::FIELD_MANAGER;
use crate::mask::{MaskKey, hex};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value, json};

/// Our entry of `managedFields`: the apply of the main resource.
pub(super) fn entry(live: &Value) -> Option<&Value> {
    entries(live).find(|e| {
        let text = |name: &str| e.get(name).and_then(Value::as_str).unwrap_or_default();
        text("manager") == FIELD_MANAGER && text("operation") == "Apply" && text("subresource").is_empty()
    })
}

pub(crate) fn entries(live: &Value) -> impl Iterator<Item = &Value> {
    live.pointer("/metadata/managedFields")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Whether we have ever applied the object.
pub(crate) fn is_ours(live: &Value) -> bool {
    entry(live).is_some()
}

/// Keyed hash of our part of a live object; None if we own nothing.
pub(crate) fn attest(key: &MaskKey, live: &Value) -> Option<String> {
    let entry = entry(live)?;
    let fields = entry.get("fieldsV1")?;
    let version = entry.get("apiVersion")?;
    let text = json!([version, fields, project(fields, live)]).to_string();
    Some(hex(&key.mac(text.as_bytes())[..16]))
}

/// The values at the fields that we own, in the shape of the object, with its identity.
pub(crate) fn projection(live: &Value) -> Option<Value> {
    let fields = entry(live)?.get("fieldsV1")?;
    let mut value = project(fields, live);
    let map = value.as_object_mut()?;
    for name in ["apiVersion", "kind"] {
        map.insert(name.into(), live.get(name)?.clone());
    }
    let metadata = map.entry("metadata").or_insert_with(|| json!({})).as_object_mut()?;
    for name in ["name", "namespace"] {
        if let Some(v) = live.get("metadata").and_then(|m| m.get(name)) {
            metadata.insert(name.into(), v.clone());
        }
    }
    Some(value)
}

/// The part of a value that a field set names.
fn project(fields: &Value, value: &Value) -> Value {
    let Some(fields) = fields.as_object() else {
        return Value::Null;
    };
    if fields.keys().all(|name| name == ".") && (fields.is_empty() || !value.is_object() && !value.is_array()) {
        return value.clone();
    }
    match value {
        Value::Object(map) => {
            let named = fields.iter().filter_map(|(name, inner)| {
                let name = name.strip_prefix("f:")?;
                Some((name.to_owned(), project(inner, map.get(name)?)))
            });
            Value::Object(named.collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let named = fields.iter().filter_map(|(name, inner)| {
                let item = item_of(items, name)?;
                // An item that is listed without fields (`{}`) is owned as a whole.
                Some(project(inner, item))
            });
            Value::Array(named.collect())
        }
        other => other.clone(),
    }
}

/// The item of a list that a path element names.
pub(super) fn item_of<'a>(items: &'a [Value], element: &str) -> Option<&'a Value> {
    let (sort, rest) = element.split_once(':')?;
    match sort {
        "k" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
            items
                .iter()
                .find(|item| keys.iter().all(|(name, v)| item.get(name) == Some(v)))
        }
        "v" => {
            let wanted: Value = serde_json::from_str(rest).ok()?;
            items.iter().find(|item| **item == wanted)
        }
        "i" => items.get(rest.parse::<usize>().ok()?),
        _ => None,
    }
}

/// Paths of the leaves of a field set, as the API server writes them in conflicts: `.spec.ports[port=80,protocol="TCP"].name`.
pub(crate) fn paths(fields: &Value) -> Vec<String> {
    let mut all = Vec::new();
    walk(fields, &mut String::new(), &mut all);
    all
}

fn walk(fields: &Value, path: &mut String, all: &mut Vec<String>) {
    let Some(map) = fields.as_object().filter(|m| !m.is_empty()) else {
        all.push(path.clone());
        return;
    };
    for (name, inner) in map {
        let length = path.len();
        if !push(name, path) {
            all.push(path.clone());
            continue;
        }
        walk(inner, path, all);
        path.truncate(length);
    }
}

/// Adds an element of a field set to a path. False for the item itself (`.`), which adds nothing.
fn push(element: &str, path: &mut String) -> bool {
    match element.split_once(':') {
        None => return false,
        Some(("f", field)) => {
            path.push('.');
            path.push_str(field);
        }
        Some(("k", keys)) => {
            let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let keys: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
            path.push_str(&format!("[{}]", keys.join(",")));
        }
        Some(("v", value)) => path.push_str(&format!("[={value}]")),
        Some((_, index)) => path.push_str(&format!("[{index}]")),
    }
    true
}

/// A path through a field set, as the API server writes it in conflicts.
pub(super) fn path_text<'a>(elements: impl IntoIterator<Item = &'a String>) -> String {
    let mut path = String::new();
    for element in elements {
        push(element, &mut path);
    }
    path
}

/// Three bytes of hash per owned path: enough to tell a field that was ours from one that was not, and small enough to
/// store.
pub(crate) fn owned_paths(key: &MaskKey, live: &Value) -> String {
    let Some(fields) = entry(live).and_then(|e| e.get("fieldsV1")) else {
        return String::new();
    };
    let mut hashes: Vec<[u8; 3]> = paths(fields).iter().map(|p| path_hash(key, p)).collect();
    hashes.sort_unstable();
    hashes.dedup();
    STANDARD_NO_PAD.encode(hashes.concat())
}

/// Whether we owned a path.
pub(crate) fn was_owned(key: &MaskKey, owned: &str, path: &str) -> bool {
    let bytes = STANDARD_NO_PAD.decode(owned).unwrap_or_default();
    bytes.chunks_exact(3).any(|h| h == path_hash(key, path))
}

fn path_hash(key: &MaskKey, path: &str) -> [u8; 3] {
    let mac = key.mac(path.as_bytes());
    [mac[0], mac[1], mac[2]]
}

/// Removes the field at a conflict's path from a manifest. False if the path does not exist.
pub(crate) fn remove(value: &mut Value, path: &str) -> bool {
    match path.strip_prefix('.') {
        Some(rest) => {
            let Some(map) = value.as_object_mut() else { return false };
            // Field names may contain dots (annotations): the longest matching name wins.
            let mut names: Vec<String> = map
                .keys()
                .filter(|k| {
                    rest.strip_prefix(k.as_str())
                        .is_some_and(|r| r.is_empty() || r.starts_with(['.', '[']))
                })
                .cloned()
                .collect();
            names.sort_by_key(|n| std::cmp::Reverse(n.len()));
            names.into_iter().any(|name| {
                let deeper = &rest[name.len()..];
                if deeper.is_empty() {
                    return map.remove(&name).is_some();
                }
                map.get_mut(&name).is_some_and(|inner| remove(inner, deeper))
            })
        }
        None => {
            let Some(items) = value.as_array_mut() else {
                return false;
            };
            let Some((position, deeper)) = find_item(items, path) else {
                return false;
            };
            if deeper.is_empty() {
                items.remove(position);
                return true;
            }
            remove(&mut items[position], deeper)
        }
    }
}

/// `[name="web"].image` → the item's position and `.image`.
fn find_item<'a>(items: &[Value], path: &'a str) -> Option<(usize, &'a str)> {
    let inner = path.strip_prefix('[')?;
    // A quoted value may contain a bracket.
    let mut quoted = false;
    let end = inner.char_indices().find(|(i, c)| {
        if *c == '"' && !inner[..*i].ends_with('\\') {
            quoted = !quoted;
        }
        *c == ']' && !quoted
    })?;
    let (element, deeper) = (&inner[..end.0], &inner[end.0 + 1..]);
    if let Ok(index) = element.parse::<usize>() {
        return (index < items.len()).then_some((index, deeper));
    }
    if let Some(text) = element.strip_prefix('=') {
        let wanted: Value = serde_json::from_str(text).ok()?;
        return items.iter().position(|i| *i == wanted).map(|p| (p, deeper));
    }
    // A defaulted key (a port's protocol) may be absent from the manifest.
    let matches = |item: &Value| {
        element
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .all(|(name, v)| {
                let wanted: Option<Value> = serde_json::from_str(v).ok();
                item.get(name).is_none_or(|have| Some(have) == wanted.as_ref())
            })
    };
    items.iter().position(matches).map(|p| (p, deeper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "d", "namespace": "n", "resourceVersion": "7", "labels": {"a": "1", "other": "x"},
                "managedFields": [
                    {"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "apps/v1", "subresource": "status",
                     "fieldsV1": {"f:status": {}}},
                    {"manager": "myelin", "operation": "Apply", "apiVersion": "apps/v1", "fieldsV1": {
                        "f:metadata": {"f:labels": {"f:a": {}}, "f:finalizers": {".": {}, "v:\"x/y\"": {}}},
                        "f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {"f:spec": {"f:containers": {
                            "k:{\"name\":\"web\"}": {".": {}, "f:name": {}, "f:image": {},
                                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}}}],
                "finalizers": ["z", "x/y"]},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "1"}}, "strategy": {"type": "RollingUpdate"},
                "template": {"spec": {"containers": [
                    {"name": "sidecar", "image": "s"},
                    {"name": "web", "image": "w:1", "imagePullPolicy": "Always",
                     "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}},
            "status": {"replicas": 2}
        })
    }

    #[test]
    fn the_projection_is_what_we_own_and_nothing_else() {
        let p = projection(&live()).unwrap();
        assert_eq!(
            p,
            json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "d", "namespace": "n", "labels": {"a": "1"}, "finalizers": ["x/y"]},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "1"}}, "template": {"spec": {"containers": [
                    {"name": "web", "image": "w:1", "ports": [{"containerPort": 80}]}]}}}})
        );
    }

    #[test]
    fn the_attestation_notices_what_is_ours_and_only_that() {
        let key = MaskKey::new([1; 32]);
        let before = attest(&key, &live());
        let with = |pointer: &str, value: Value| {
            let mut l = live();
            *l.pointer_mut(pointer).unwrap() = value;
            attest(&key, &l)
        };
        let web = "/spec/template/spec/containers/1";
        for (pointer, value, ours) in [
            ("/spec/replicas", json!(3), true),
            (&*format!("{web}/image"), json!("w:2"), true),
            ("/spec/selector", json!({}), true),
            ("/metadata/finalizers", json!(["z"]), true),
            (&*format!("{web}/ports"), json!([]), true),
            (
                "/metadata/managedFields/1/fieldsV1/f:spec/f:replicas",
                Value::Null,
                true,
            ),
            ("/metadata/managedFields/1/manager", json!("other"), true),
            (&*format!("{web}/imagePullPolicy"), json!("Never"), false),
            ("/spec/strategy", json!({}), false),
            ("/metadata/labels/other", json!("y"), false),
            ("/status", json!({}), false),
            ("/metadata/resourceVersion", json!("8"), false),
            ("/spec/template/spec/containers/0/image", json!("t"), false),
        ] {
            assert_eq!(with(pointer, value) != before, ours, "{pointer}");
        }
    }

    #[test]
    fn paths_read_as_in_the_servers_conflicts_and_can_be_removed() {
        let l = live();
        let all = paths(entry(&l).unwrap().get("fieldsV1").unwrap());
        assert!(
            all.contains(&r#".spec.template.spec.containers[name="web"].image"#.to_owned()),
            "{all:?}"
        );
        assert!(all.contains(&r#".metadata.finalizers[="x/y"]"#.to_owned()));
        let key = MaskKey::new([1; 32]);
        let owned = owned_paths(&key, &l);
        assert!(was_owned(&key, &owned, ".spec.replicas"));
        assert!(!was_owned(&key, &owned, ".spec.strategy"));
        let mut value = l;
        assert!(remove(
            &mut value,
            r#".spec.template.spec.containers[name="web"].image"#
        ));
        assert_eq!(value.pointer("/spec/template/spec/containers/1/image"), None);
        assert!(remove(&mut value, r#".metadata.finalizers[="x/y"]"#));
        assert!(!remove(&mut value, ".spec.nothing"));
        let mut annotated = json!({"metadata": {"annotations": {"a.b/c": "1", "a": "2"}}});
        assert!(remove(&mut annotated, ".metadata.annotations.a.b/c"));
        assert_eq!(annotated, json!({"metadata": {"annotations": {"a": "2"}}}));
    }
}
