//! Laws of server-side apply, tested on random objects: disjoint managers never conflict; force transfers exactly the
//! conflicting fields; an apply is idempotent; a field that is applied and then omitted is removed.

use std::sync::{Arc, OnceLock};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::managed::{Request, on_apply};
use crate::kubernetes::registry::Part;
use crate::kubernetes::schema::resources::{Catalog, Resource};

const FIELDS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// Some of a ConfigMap's keys, some labels and some finalizers: a map, a map inside a struct, and a set.
#[derive(Debug, Clone)]
struct Wish {
    data: Vec<(usize, u8)>,
    labels: Vec<(usize, u8)>,
    finalizers: Vec<usize>,
}

impl Wish {
    fn config(&self) -> Value {
        let map = |pairs: &[(usize, u8)]| -> Map<String, Value> {
            pairs
                .iter()
                .map(|(at, value)| (FIELDS[*at].to_owned(), value.to_string().into()))
                .collect()
        };
        let mut config = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "n"}});
        if !self.data.is_empty() {
            config["data"] = map(&self.data).into();
        }
        if !self.labels.is_empty() {
            config["metadata"]["labels"] = map(&self.labels).into();
        }
        if !self.finalizers.is_empty() {
            let mut unique = self.finalizers.clone();
            unique.sort_unstable();
            unique.dedup();
            config["metadata"]["finalizers"] = unique.iter().map(|at| format!("example.com/{at}")).collect();
        }
        config
    }

    /// The same with keys that the other manager never uses.
    fn apart(&self) -> Value {
        let mut config = self.config();
        for place in ["/data", "/metadata/labels"] {
            if let Some(Value::Object(map)) = config.pointer_mut(place) {
                *map = std::mem::take(map)
                    .into_iter()
                    .map(|(key, value)| (format!("other-{key}"), value))
                    .collect();
            }
        }
        if let Some(Value::Array(list)) = config.pointer_mut("/metadata/finalizers") {
            for item in list {
                *item = format!("other.{}", item.as_str().unwrap()).into();
            }
        }
        config
    }
}

fn config_maps() -> Arc<Resource> {
    static FOUND: OnceLock<Arc<Resource>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            Catalog::new()
                .served()
                .get("", "v1", "configmaps")
                .expect("config maps are built in")
        })
        .clone()
}

fn wish() -> impl Strategy<Value = Wish> {
    let pairs = || prop::collection::vec((0..FIELDS.len(), 0..3u8), 0..4);
    (pairs(), pairs(), prop::collection::vec(0..4usize, 0..3)).prop_map(|(data, labels, finalizers)| Wish {
        data,
        labels,
        finalizers,
    })
}

fn apply(resource: &Resource, live: Option<&Value>, config: &Value, manager: &str, force: bool) -> Result<Value, u16> {
    let lookup = |_: &str| Some(config_maps());
    let request = Request {
        resource,
        lookup: &lookup,
        config,
        manager,
        part: Part::Main,
        force,
        now: "2024-01-01T00:00:00Z",
    };
    let mut object = on_apply(request, live).map_err(|failure| failure.code)?;
    drop_empty(&mut object);
    Ok(object)
}

/// Like decoding of an applied object: null and empty values are omitted.
fn drop_empty(object: &mut Value) {
    for place in ["", "/metadata"] {
        if let Some(Value::Object(map)) = object.pointer_mut(place) {
            map.retain(|key, value| {
                let empty = value.is_null()
                    || value.as_object().is_some_and(Map::is_empty)
                    || value.as_array().is_some_and(Vec::is_empty);
                !empty || key == "metadata"
            });
        }
    }
}

fn owned(object: &Value, manager: &str) -> Value {
    let entries = object["metadata"]["managedFields"].as_array().into_iter().flatten();
    entries
        .filter(|e| e["manager"] == manager)
        .map(|e| e["fieldsV1"].clone())
        .next()
        .unwrap_or(json!({}))
}

proptest! {
    #[test]
    fn managers_of_different_fields_never_conflict(a in wish(), b in wish(), again in wish()) {
        let resource = config_maps();
        let first = apply(&resource, None, &a.config(), "alice", false).unwrap();
        let second = apply(&resource, Some(&first), &b.apart(), "bob", false).unwrap();
        let third = apply(&resource, Some(&second), &again.config(), "alice", false);
        prop_assert!(third.is_ok());
        prop_assert_eq!(owned(&third.unwrap(), "bob"), owned(&second, "bob"));
    }

    #[test]
    fn an_apply_is_idempotent(a in wish(), b in wish()) {
        let resource = config_maps();
        let first = apply(&resource, None, &a.config(), "alice", false).unwrap();
        let second = apply(&resource, Some(&first), &b.config(), "bob", true).unwrap();
        let third = apply(&resource, Some(&second), &b.config(), "bob", false).unwrap();
        prop_assert_eq!(second, third);
    }

    #[test]
    fn force_takes_the_fields_and_no_others(a in wish(), b in wish()) {
        let resource = config_maps();
        let first = apply(&resource, None, &a.config(), "alice", false).unwrap();
        let second = apply(&resource, Some(&first), &b.config(), "bob", true).unwrap();
        for place in ["/data", "/metadata/labels"] {
            let of = |object: &Value| object.pointer(place).and_then(Value::as_object).cloned().unwrap_or_default();
            let (before, wanted, after) = (of(&first), of(&b.config()), of(&second));
            let path = place.trim_start_matches('/').split('/').fold(String::new(), |p, part| format!("{p}/f:{part}"));
            for (key, value) in &before {
                let alice = owned(&second, "alice").pointer(&format!("{path}/f:{key}")).is_some();
                let taken = wanted.get(key).is_some_and(|v| v != value);
                prop_assert_eq!(alice, !taken, "{} {}", place, key);
                if !wanted.contains_key(key) {
                    prop_assert_eq!(after.get(key), Some(value));
                }
            }
            for (key, value) in &wanted {
                prop_assert_eq!(after.get(key), Some(value));
                let place = format!("{path}/f:{key}");
                let bob = owned(&second, "bob");
                prop_assert!(bob.pointer(&place).is_some());
            }
        }
    }

    #[test]
    fn what_is_left_out_is_gone_unless_another_applier_owns_it(a in wish(), b in wish()) {
        let resource = config_maps();
        let first = apply(&resource, None, &a.config(), "alice", false).unwrap();
        let second = apply(&resource, Some(&first), &b.config(), "bob", true).unwrap();
        let bare = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "n"}});
        let third = apply(&resource, Some(&second), &bare, "alice", false).unwrap();
        for place in ["/data", "/metadata/labels"] {
            let of = |object: &Value| object.pointer(place).and_then(Value::as_object).cloned().unwrap_or_default();
            prop_assert_eq!(of(&third), of(&b.config()));
        }
        prop_assert_eq!(owned(&third, "alice"), json!({}));
    }

    #[test]
    fn another_value_for_an_owned_field_is_a_conflict(a in wish()) {
        prop_assume!(!a.data.is_empty());
        let resource = config_maps();
        let first = apply(&resource, None, &a.config(), "alice", false).unwrap();
        let mut other = a.config();
        for value in other["data"].as_object_mut().unwrap().values_mut() {
            *value = "another".into();
        }
        prop_assert_eq!(apply(&resource, Some(&first), &other, "bob", false), Err(409));
    }
}
