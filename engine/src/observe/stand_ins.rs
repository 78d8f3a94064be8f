//! Stand-ins: list items that somebody put in the place of ours. The merge key of an item was edited (a port's number,
//! a container's name), so our item is gone, and another one exists under a key that no manifest of ours names.
//!
//! A server-side apply would only add ours beside it. Two ports with one name are then refused every time, and two
//! containers of one image both run. This module finds those items, the object without them, and the transfer in
//! `managedFields` after which an ordinary apply removes them like anything else that a manifest no longer contains.
//! Pure; `reclaim` asks the server. Which lists have keys, and which keys, is read from `managedFields`: no schema is
//! needed, and custom resources work too.

use super::owned::{entries, entry, item_of, path_text, was_owned};
use super::trial::{Manners, REPLACED_MANAGERS};
use crate::cluster::FIELD_MANAGER;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A list item that is not ours, in a list where one of ours is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StandIn {
    /// The elements of its path in a field set: `f:spec`, `f:ports`, `k:{"port":81,"protocol":"TCP"}`.
    elements: Vec<String>,
    /// The owners of any part of it.
    managers: BTreeSet<String>,
    /// Whether the missing item was ours before, so that bringing it back is a revert.
    pub(super) reverts: bool,
    /// Whether it equals ours except for its key, is the only such item in the list, and appeared after our last apply.
    pub(super) renamed: bool,
    /// Whether it shares a value with the missing item.
    pub(super) alike: bool,
}

impl StandIn {
    /// Its managers and its path, in the form that conflicts use.
    pub(crate) fn named(&self) -> (String, String) {
        let managers: Vec<&str> = self.managers.iter().map(String::as_str).collect();
        (managers.join(" and "), path_text(&self.elements))
    }
}

/// Whether an item of ours was renamed and nothing else: no apply would be refused for that.
pub(crate) fn renamed(live: &Value, body: &Value, manners: &Manners) -> bool {
    stand_ins(live, body, manners).iter().any(|item| item.renamed)
}

/// All items of others in lists where an item of the manifest is missing.
pub(super) fn stand_ins(live: &Value, body: &Value, manners: &Manners) -> Vec<StandIn> {
    let fields = known_fields(live, body);
    let mut search = Search {
        live,
        manners,
        version: body.get("apiVersion"),
        since: entry(live).and_then(|e| e.get("time")).and_then(Value::as_str),
        found: Vec::new(),
    };
    search.walk(&fields, live, body, &mut Vec::new());
    search.found
}

/// What all managers together own of the main resource, at the version of the manifest.
fn known_fields(live: &Value, body: &Value) -> Value {
    let mut all = json!({});
    for entry in entries(live).filter(|e| speaks(e, body.get("apiVersion"))) {
        merge(&mut all, entry.get("fieldsV1").unwrap_or(&Value::Null));
    }
    all
}

/// Whether an entry of `managedFields` is about the main resource, at the version of the manifest.
fn speaks(entry: &Value, version: Option<&Value>) -> bool {
    let subresource = entry.get("subresource").and_then(Value::as_str).unwrap_or_default();
    subresource.is_empty() && entry.get("apiVersion") == version
}

fn is_our_apply(entry: &Value) -> bool {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
    text("manager") == FIELD_MANAGER && text("operation") == "Apply" && text("subresource").is_empty()
}

fn merge(into: &mut Value, from: &Value) {
    let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) else {
        return;
    };
    for (name, value) in from {
        merge(into.entry(name.clone()).or_insert_with(|| json!({})), value);
    }
}

/// The keys of a list item: `k:{"name":"web"}`.
fn keys_of(element: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(element.strip_prefix("k:")?).ok()
}

/// A manifest's value of a key. The protocol of a port is the one key of a built-in list that has a default.
fn key_value(item: &Value, name: &str) -> Option<Value> {
    item.get(name)
        .cloned()
        .or_else(|| (name == "protocol").then(|| "TCP".into()))
}

fn has_keys(item: &Value, keys: &Map<String, Value>) -> bool {
    keys.iter().all(|(name, v)| key_value(item, name).as_ref() == Some(v))
}

struct Search<'a> {
    live: &'a Value,
    manners: &'a Manners,
    version: Option<&'a Value>,
    /// The time of our last apply.
    since: Option<&'a str>,
    found: Vec<StandIn>,
}

impl Search<'_> {
    fn walk(&mut self, fields: &Value, live: &Value, body: &Value, path: &mut Vec<String>) {
        let Some(fields) = fields.as_object() else { return };
        match (live, body) {
            (Value::Object(live), Value::Object(body)) => {
                for (element, inner) in fields {
                    let Some(name) = element.strip_prefix("f:") else {
                        continue;
                    };
                    if let (Some(live), Some(body)) = (live.get(name), body.get(name)) {
                        path.push(element.clone());
                        self.walk(inner, live, body, path);
                        path.pop();
                    }
                }
            }
            (Value::Array(live), Value::Array(body)) => self.list(fields, live, body, path),
            _ => {}
        }
    }

    fn list(&mut self, fields: &Map<String, Value>, live: &[Value], body: &[Value], path: &mut Vec<String>) {
        let mut strangers = Vec::new();
        let mut names: Vec<String> = Vec::new();
        for (element, inner) in fields {
            let Some(keys) = keys_of(element) else { continue };
            if names.is_empty() {
                names = keys.keys().cloned().collect();
            }
            let Some(item) = item_of(live, element) else { continue };
            path.push(element.clone());
            match body.iter().find(|wanted| has_keys(wanted, &keys)) {
                Some(wanted) => self.walk(inner, item, wanted, path),
                None => strangers.push((element.clone(), item)),
            }
            path.pop();
        }
        let missing: Vec<(&Value, Map<String, Value>)> = body
            .iter()
            .filter_map(|wanted| {
                let keys = names.iter().map(|n| Some((n.clone(), key_value(wanted, n)?)));
                let keys: Map<String, Value> = keys.collect::<Option<_>>()?;
                Some((wanted, keys))
            })
            .filter(|(_, keys)| !live.iter().any(|item| has_keys(item, keys)))
            .collect();
        if names.is_empty() || missing.is_empty() {
            return;
        }
        for (element, item) in &strangers {
            let mut elements = path.clone();
            elements.push(element.clone());
            let owners = self.owners(&elements);
            if owners.is_empty() {
                continue;
            }
            let managers: BTreeSet<String> = owners.iter().map(|(manager, _)| manager.clone()).collect();
            let adopted = self.manners.adopting
                && managers
                    .iter()
                    .all(|manager| REPLACED_MANAGERS.contains(&manager.as_str()));
            let mut stand_in = StandIn {
                elements,
                managers,
                reverts: adopted,
                renamed: false,
                alike: false,
            };
            for (wanted, keys) in &missing {
                let mut ours = path.clone();
                ours.push(format!("k:{}", Value::Object(keys.clone())));
                if !was_owned(&self.manners.key, &self.manners.owned, &path_text(&ours)) && !adopted {
                    continue;
                }
                stand_in.reverts = true;
                let same = is_renamed(wanted, item, &names);
                let alone = strangers
                    .iter()
                    .filter(|(_, other)| is_renamed(wanted, other, &names))
                    .count()
                    == 1;
                stand_in.renamed |= same && alone && owners.iter().all(|(_, fresh)| *fresh);
                stand_in.alike |= same || are_alike(wanted, item, &names);
            }
            self.found.push(stand_in);
        }
    }

    /// Everybody else who owns a part of an item, and whether it was written by a plain update since our last apply.
    fn owners(&self, elements: &[String]) -> Vec<(String, bool)> {
        let text = |e: &Value, name: &str| e.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        entries(self.live)
            .filter(|e| speaks(e, self.version) && !is_our_apply(e))
            .filter(|e| at(e.get("fieldsV1").unwrap_or(&Value::Null), elements).is_some())
            .map(|e| {
                let fresh =
                    text(e, "operation") == "Update" && self.since.is_some_and(|since| *text(e, "time") >= *since);
                (text(e, "manager"), fresh)
            })
            .collect()
    }
}

/// Whether a live item has everything that a manifest's item has, except for the keys. An item that has nothing but
/// keys matches any.
fn is_renamed(wanted: &Value, live: &Value, keys: &[String]) -> bool {
    let rest: Vec<(&String, &Value)> = rest_of(wanted, keys).collect();
    !rest.is_empty()
        && rest
            .iter()
            .all(|(name, v)| live.get(*name).is_some_and(|have| covers(have, v)))
}

fn are_alike(wanted: &Value, live: &Value, keys: &[String]) -> bool {
    rest_of(wanted, keys).any(|(name, v)| !v.is_object() && !v.is_array() && live.get(name) == Some(v))
}

fn rest_of<'a>(item: &'a Value, keys: &'a [String]) -> impl Iterator<Item = (&'a String, &'a Value)> {
    let fields = item.as_object().into_iter().flatten();
    fields.filter(|(name, v)| !keys.contains(name) && !v.is_null())
}

/// Whether a live value has everything that a manifest's value has; defaults may exist beside.
fn covers(have: &Value, want: &Value) -> bool {
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => want
            .iter()
            .all(|(name, v)| v.is_null() || have.get(name).is_some_and(|have| covers(have, v))),
        (Value::Array(have), Value::Array(want)) => {
            have.len() == want.len() && have.iter().zip(want).all(|(have, want)| covers(have, want))
        }
        (have, want) => have == want,
    }
}

/// The part of a field set at a path.
fn at<'a>(fields: &'a Value, elements: &[String]) -> Option<&'a Value> {
    elements.iter().try_fold(fields, |fields, element| fields.get(element))
}

/// A JSON patch to the object without these items and with ours, for a dry run: it proves that the server accepts the
/// result, and shows what changes. Only fields of the manifest are named.
pub(super) fn without(live: &Value, body: &Value, items: &[&StandIn]) -> Value {
    let mut fields = known_fields(live, body);
    let mut value = live.clone();
    for item in items {
        take_out(&mut value, &item.elements);
        forget(&mut fields, &item.elements);
    }
    overlay(&mut value, body, &fields);
    let mut patch = vec![guard(live)];
    let escaped = |name: &str| name.replace('~', "~0").replace('/', "~1");
    let outer = body
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| format!("/{}", escaped(name)));
    let inner = ["/metadata/labels", "/metadata/annotations"].map(str::to_owned);
    for path in outer.chain(inner) {
        let ours = body.pointer(&path).is_some();
        if ours && !["/apiVersion", "/kind", "/metadata", "/status"].contains(&path.as_str()) {
            patch.push(json!({"op": "add", "path": path, "value": value.pointer(&path)}));
        }
    }
    Value::Array(patch)
}

/// Requires this very object. Its version may change: a controller that updates its status must not block this.
fn guard(live: &Value) -> Value {
    json!({"op": "test", "path": "/metadata/uid", "value": live.pointer("/metadata/uid")})
}

fn take_out(value: &mut Value, elements: &[String]) {
    let Some((first, rest)) = elements.split_first() else {
        return;
    };
    match value {
        Value::Object(map) => {
            if let Some(inner) = first.strip_prefix("f:").and_then(|name| map.get_mut(name)) {
                take_out(inner, rest);
            }
        }
        Value::Array(items) => {
            let Some(position) = item_of(items, first).and_then(|item| items.iter().position(|i| i == item)) else {
                return;
            };
            if rest.is_empty() {
                items.remove(position);
            } else {
                take_out(&mut items[position], rest);
            }
        }
        _ => {}
    }
}

/// Puts a manifest's values over live ones; lists with keyed items are merged item by item.
fn overlay(have: &mut Value, want: &Value, fields: &Value) {
    let none = Value::Null;
    match (have, want) {
        (Value::Object(have), Value::Object(want)) => {
            for (name, v) in want.iter().filter(|(_, v)| !v.is_null()) {
                match have.get_mut(name) {
                    Some(have) => overlay(have, v, fields.get(format!("f:{name}")).unwrap_or(&none)),
                    None => drop(have.insert(name.clone(), v.clone())),
                }
            }
        }
        (Value::Array(have), Value::Array(want)) if fields.as_object().is_some_and(|f| f.keys().any(|e| e != ".")) => {
            let keyed: Vec<(Map<String, Value>, &Value)> = fields
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(element, inner)| Some((keys_of(element)?, inner)))
                .collect();
            for item in want {
                let same = keyed.iter().find(|(keys, _)| has_keys(item, keys));
                let place = same.and_then(|(keys, inner)| {
                    let position = have.iter().position(|live| has_keys(live, keys))?;
                    Some((position, *inner))
                });
                match place {
                    Some((position, inner)) => overlay(&mut have[position], item, inner),
                    None if have.contains(item) => {}
                    None => have.push(item.clone()),
                }
            }
        }
        (have, want) => *have = want.clone(),
    }
}

/// A JSON patch that transfers these items to us in `managedFields` and changes nothing else. The next apply does not
/// name them and so removes them, in the same request that brings ours back. The patch requires that the items and
/// their owners are as observed; other changes of the object do not matter.
pub(crate) fn given_over(live: &Value, body: &Value, items: &[StandIn]) -> Value {
    let mut given = json!({});
    let (mut tests, mut edits) = (vec![guard(live)], Vec::new());
    let place = |i: usize| format!("/metadata/managedFields/{i}");
    // From last to first, because removing an entry moves those behind it.
    for (i, entry) in entries(live).enumerate().collect::<Vec<_>>().into_iter().rev() {
        if !speaks(entry, body.get("apiVersion")) || is_our_apply(entry) {
            continue;
        }
        let mut fields = entry.get("fieldsV1").cloned().unwrap_or_default();
        for item in items {
            let Some(theirs) = at(&fields, &item.elements).cloned() else {
                continue;
            };
            let tree = item
                .elements
                .iter()
                .rev()
                .fold(theirs, |inner, element| json!({element: inner}));
            merge(&mut given, &tree);
            forget(&mut fields, &item.elements);
        }
        if Some(&fields) == entry.get("fieldsV1") {
            continue;
        }
        tests.push(json!({"op": "test", "path": place(i), "value": entry}));
        edits.push(if fields.as_object().is_some_and(Map::is_empty) {
            json!({"op": "remove", "path": place(i)})
        } else {
            json!({"op": "replace", "path": format!("{}/fieldsV1", place(i)), "value": fields})
        });
    }
    for (i, entry) in entries(live).enumerate().filter(|(_, e)| is_our_apply(e)) {
        let mut ours = entry.get("fieldsV1").cloned().unwrap_or_default();
        merge(&mut ours, &given);
        tests.push(json!({"op": "test", "path": place(i), "value": entry}));
        // Before the others, while no index has moved yet.
        edits.insert(
            0,
            json!({"op": "replace", "path": format!("{}/fieldsV1", place(i)), "value": ours}),
        );
    }
    let tests_of_items = items.iter().filter_map(|item| {
        let (path, value) = pointer(live, &item.elements)?;
        Some(json!({"op": "test", "path": path, "value": value}))
    });
    tests.extend(tests_of_items);
    tests.extend(edits);
    Value::Array(tests)
}

/// An item's JSON pointer and value.
fn pointer<'a>(live: &'a Value, elements: &[String]) -> Option<(String, &'a Value)> {
    let mut path = String::new();
    let mut here = live;
    for element in elements {
        let part = match here {
            Value::Array(items) => {
                let item = item_of(items, element)?;
                items.iter().position(|i| i == item)?.to_string()
            }
            _ => element.strip_prefix("f:")?.to_owned(),
        };
        here = match here {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?)?,
            other => other.get(&part)?,
        };
        path.push('/');
        path.push_str(&part.replace('~', "~0").replace('/', "~1"));
    }
    Some((path, here))
}

/// Removes a path from a field set, and parents that become empty.
fn forget(fields: &mut Value, elements: &[String]) {
    let Some((first, rest)) = elements.split_first() else {
        return;
    };
    let Some(map) = fields.as_object_mut() else { return };
    let empty = map.get_mut(first).is_some_and(|inner| {
        forget(inner, rest);
        // An empty set at a field would mean that the whole field is owned.
        inner.as_object().is_none_or(Map::is_empty)
    });
    if rest.is_empty() || empty {
        map.remove(first);
    }
}

#[cfg(test)]
#[path = "stand_ins_tests.rs"]
mod tests;
