//! Two states of an object → the fields that differ, with readable paths and masked secrets.

use super::FieldChange;
use crate::desired::masked;
use crate::mask::{MaskKey, WRITE_ONLY};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Limit of fields shown for one object.
const MOST: usize = 200;

/// Keys that identify the items of lists of objects, in order of preference. For display only: ownership never depends
/// on them.
const ITEM_KEYS: &[&str] = &[
    "name",
    "key",
    "containerPort",
    "port",
    "mountPath",
    "ip",
    "type",
    "uid",
    "host",
];

/// What changes from `live` to the server's `result`; without one, where the manifest `wanted` differs from `live`.
/// `write_only` holds JSON pointers into the manifest.
pub(super) fn fields(
    live: &Value,
    result: Option<&Value>,
    wanted: &Value,
    write_only: &BTreeSet<String>,
    key: &MaskKey,
) -> Vec<FieldChange> {
    let hidden: Vec<String> = write_only.iter().filter_map(|p| path_of(wanted, p)).collect();
    let none = BTreeSet::new();
    let mut differ = Differ {
        hidden: &hidden,
        subset: result.is_none(),
        found: Vec::new(),
    };
    let before = masked(&bare(live), &none, key);
    let after = masked(&bare(result.unwrap_or(wanted)), &none, key);
    differ.walk(Some(&before), Some(&after), &mut String::new());
    differ.found
}

/// The object without counters and timestamps of the server.
fn bare(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for name in [
                "managedFields",
                "resourceVersion",
                "generation",
                "creationTimestamp",
                "uid",
                "selfLink",
            ] {
                metadata.remove(name);
            }
        }
    }
    value
}

struct Differ<'a> {
    hidden: &'a [String],
    /// Whether only what `after` contains counts.
    subset: bool,
    found: Vec<FieldChange>,
}

impl Differ<'_> {
    fn walk(&mut self, before: Option<&Value>, after: Option<&Value>, path: &mut String) {
        if before == after || self.found.len() >= MOST {
            return;
        }
        match (before, after) {
            (Some(Value::Object(b)), Some(Value::Object(a))) => self.objects(b, a, path),
            (Some(Value::Array(b)), Some(Value::Array(a))) => self.lists(b, a, path),
            (Some(_), None) if self.subset => {}
            (before, after) => {
                let (before, after) = (before.map(|v| self.show(v, path)), after.map(|v| self.show(v, path)));
                // A hidden value cannot be compared, so the change itself is reported.
                self.found.push(FieldChange {
                    path: path.clone(),
                    before,
                    after,
                    origin: None,
                });
            }
        }
    }

    fn objects(&mut self, before: &Map<String, Value>, after: &Map<String, Value>, path: &mut String) {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names {
            let length = path.len();
            if name.contains(['.', '/']) {
                path.push_str(&format!("[{name}]"));
            } else {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            self.walk(before.get(name), after.get(name), path);
            path.truncate(length);
        }
    }

    fn lists(&mut self, before: &[Value], after: &[Value], path: &mut String) {
        let Some(key) = item_key(before, after) else {
            if before.len() == after.len() && after.iter().any(|v| v.is_object() || v.is_array()) {
                for (i, (b, a)) in before.iter().zip(after).enumerate() {
                    let length = path.len();
                    path.push_str(&format!("[{i}]"));
                    self.walk(Some(b), Some(a), path);
                    path.truncate(length);
                }
                return;
            }
            let show = |items: &[Value]| Some(self.show(&Value::Array(items.to_vec()), path));
            let change = FieldChange {
                path: path.clone(),
                before: show(before),
                after: show(after),
                origin: None,
            };
            self.found.push(change);
            return;
        };
        let name = |v: &Value| v.get(key).map(plain);
        let mut names: Vec<String> = before.iter().chain(after).filter_map(name).collect();
        let mut seen = BTreeSet::new();
        names.retain(|n| seen.insert(n.clone()));
        for item in names {
            let find = |list: &'_ [Value]| list.iter().find(|v| name(v).as_ref() == Some(&item)).cloned();
            let length = path.len();
            path.push_str(&format!("[{key}={item}]"));
            self.walk(find(before).as_ref(), find(after).as_ref(), path);
            path.truncate(length);
        }
    }

    fn show(&self, value: &Value, path: &str) -> String {
        let inside = |h: &&String| path == h.as_str() || lies_under(path, h) || lies_under(h, path);
        if self.hidden.iter().any(|h| inside(&h)) {
            WRITE_ONLY.to_owned()
        } else {
            value.to_string()
        }
    }
}

fn lies_under(inner: &str, outer: &str) -> bool {
    inner
        .strip_prefix(outer)
        .is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The key that identifies every item of both lists uniquely.
fn item_key(before: &[Value], after: &[Value]) -> Option<&'static str> {
    if before.is_empty() && after.is_empty() {
        return None;
    }
    let names = |list: &[Value], key: &str| {
        let all: BTreeSet<String> = list.iter().filter_map(|v| v.get(key)).map(plain).collect();
        all.len() == list.len()
    };
    ITEM_KEYS
        .iter()
        .copied()
        .find(|key| names(before, key) && names(after, key))
}

/// A JSON pointer into a manifest as a readable path.
fn path_of(value: &Value, pointer: &str) -> Option<String> {
    let mut path = String::new();
    let mut here = value;
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        match here {
            Value::Object(map) => {
                if part.contains(['.', '/']) {
                    path.push_str(&format!("[{part}]"));
                } else {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(&part);
                }
                here = map.get(&part)?;
            }
            Value::Array(items) => {
                let item = items.get(part.parse::<usize>().ok()?)?;
                match item_key(items, items) {
                    Some(key) => path.push_str(&format!("[{key}={}]", plain(item.get(key)?))),
                    None => path.push_str(&format!("[{part}]")),
                }
                here = item;
            }
            _ => return None,
        }
    }
    Some(path)
}

/// The JSON pointer of a readable path in a manifest, as far as the manifest goes.
pub(super) fn pointer_of(value: &Value, path: &str) -> String {
    let mut pointer = String::new();
    let mut here = value;
    let mut rest = path;
    while !rest.is_empty() {
        let part;
        (part, rest) = match rest.strip_prefix('[') {
            Some(inner) => inner.split_once(']').unwrap_or((inner, "")),
            None => {
                let word = rest.strip_prefix('.').unwrap_or(rest);
                word.split_at(word.find(['.', '[']).unwrap_or(word.len()))
            }
        };
        let (part, next) = match here {
            Value::Object(map) => (part.to_owned(), map.get(part)),
            Value::Array(items) => {
                let index = match part.split_once('=') {
                    Some((key, wanted)) => items
                        .iter()
                        .position(|item| item.get(key).is_some_and(|v| plain(v) == wanted)),
                    None => part.parse().ok(),
                };
                let Some(index) = index else { break };
                (index.to_string(), items.get(index))
            }
            _ => break,
        };
        let Some(next) = next else { break };
        pointer.push('/');
        pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
        here = next;
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn show(changes: Vec<FieldChange>) -> Vec<String> {
        changes
            .into_iter()
            .map(|c| {
                format!(
                    "{}: {} -> {}",
                    c.path,
                    c.before.unwrap_or("-".into()),
                    c.after.unwrap_or("-".into())
                )
            })
            .collect()
    }

    #[test]
    fn fields_are_named_as_people_write_them_and_secrets_are_masked() {
        let key = MaskKey::new([1; 32]);
        let live = json!({"kind": "Deployment", "metadata": {"resourceVersion": "1", "annotations": {"a.b/c": "1"}}, "spec": {
            "replicas": 2, "strategy": {}, "containers": [
                {"name": "web", "image": "w:1", "env": [{"name": "PW", "value": "old-secret"}]}, {"name": "injected"}]}});
        let wanted = json!({"kind": "Deployment", "metadata": {"annotations": {"a.b/c": "2"}}, "spec": {
            "replicas": 2, "containers": [{"name": "web", "image": "w:2", "env": [{"name": "PW", "value": "new-secret"}]}]}});
        let write_only = ["/spec/containers/0/env/0/value".to_owned()].into();
        assert_eq!(
            show(fields(&live, None, &wanted, &write_only, &key)),
            [
                "metadata.annotations[a.b/c]: \"1\" -> \"2\"",
                "spec.containers[name=web].env[name=PW].value: (write-only) -> (write-only)",
                "spec.containers[name=web].image: \"w:1\" -> \"w:2\"",
            ]
        );
        let mut result = live.clone();
        result["spec"]["containers"] = json!([{"name": "web", "image": "w:1"}]);
        let all = show(fields(&live, Some(&result), &wanted, &write_only, &key)).join("\n");
        assert!(
            all.contains("spec.containers[name=injected]: {\"name\":\"injected\"} -> -"),
            "{all}"
        );
        assert!(!all.contains("old-secret"), "{all}");
    }

    #[test]
    fn a_path_for_people_leads_back_to_the_field() {
        let value = json!({"metadata": {"annotations": {"a.b/c": "1"}}, "spec": {
            "containers": [{"name": "x"}, {"name": "web", "args": ["a", {"k": [1]}]}]}});
        for pointer in [
            "",
            "/metadata/annotations/a.b~1c",
            "/spec/containers/1/name",
            "/spec/containers/1/args/1/k/0",
        ] {
            let path = path_of(&value, pointer).unwrap();
            assert_eq!(pointer_of(&value, &path), pointer, "{path}");
        }
        assert_eq!(
            pointer_of(&value, "spec.containers[name=zork].image"),
            "/spec/containers"
        );
    }

    #[test]
    fn a_secret_shows_that_it_changed_and_not_to_what() {
        let key = MaskKey::new([1; 32]);
        let secret = |v: &str| json!({"apiVersion": "v1", "kind": "Secret", "data": {"p": v}});
        let all = show(fields(&secret("b2xk"), None, &secret("bmV3"), &BTreeSet::new(), &key));
        assert_eq!(all.len(), 1);
        assert!(all[0].starts_with("data.p: \"(sensitive ") && !all[0].contains("b2xk") && !all[0].contains("bmV3"));
    }
}
