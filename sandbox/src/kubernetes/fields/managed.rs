//! `metadata.managedFields`: reading and writing the books, and what each kind of write does to them.

use serde_json::{Map, Value, json};

pub(crate) use super::apply::Lookup;
use super::apply::{Apply, Change, leave_out, leave_out_reset};
use super::set::FieldSet;
use super::typed::{faults, to_set};
use crate::kubernetes::admission::decode;
use crate::kubernetes::registry::{Failure, Part};
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::schema::versions;

/// How fields came to be owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// One entry of the books.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    pub(super) fields: FieldSet,
}

/// Up to this number of managers of plain writes have separate entries; older ones are merged.
const UPDATE_MANAGERS: usize = 10;
const BUCKET: &str = "ancient-changes";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

fn read(value: &Value) -> Option<Vec<Entry>> {
    let mut out = Vec::new();
    for entry in value.as_array()? {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let operation = match entry["operation"].as_str() {
            Some("Apply") => Operation::Apply,
            Some("Update") => Operation::Update,
            _ => return None,
        };
        out.push(Entry {
            manager: text("manager"),
            operation,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: FieldSet::from_json(&entry["fieldsV1"]),
        });
    }
    Some(out)
}

fn write(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    entries.sort_by(|a, b| {
        let key = |e: &Entry| {
            (
                e.operation,
                e.time.clone(),
                e.manager.clone(),
                e.api_version.clone(),
                e.subresource.clone(),
            )
        };
        key(a).cmp(&key(b))
    });
    let list: Vec<Value> = entries.iter().map(encoded).collect();
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    if list.is_empty() {
        metadata.remove("managedFields");
    } else {
        metadata.insert("managedFields".to_owned(), list.into());
    }
}

fn encoded(entry: &Entry) -> Value {
    let operation = match entry.operation {
        Operation::Apply => "Apply",
        Operation::Update => "Update",
    };
    let mut out = json!({
        "manager": entry.manager, "operation": operation, "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1", "fieldsV1": entry.fields.to_json(),
    });
    if !entry.time.is_empty() {
        out["time"] = entry.time.clone().into();
    }
    if !entry.subresource.is_empty() {
        out["subresource"] = entry.subresource.clone().into();
    }
    out
}

/// `managedFields: []` and `[{}]` mean: forget everything.
fn is_reset(list: &Value) -> bool {
    list.as_array().is_some_and(|list| {
        list.is_empty() || (list.len() == 1 && list[0].as_object().is_some_and(|e| e.values().all(is_zero)))
    })
}

fn is_zero(value: &Value) -> bool {
    value.is_null() || value == ""
}

/// A new object of a kind with nothing in it, as its types write it.
fn blank(resource: &Resource) -> Value {
    decode::empty(resource)
}

/// What a create, a PUT or a patch other than apply does to the books. `live` and `new` are in stored form.
pub(crate) fn on_update(
    resource: &Resource,
    lookup: Lookup<'_>,
    live: Option<&Value>,
    new: &mut Value,
    manager: &str,
    part: Part,
    now: &str,
) {
    let sent = new["metadata"]
        .as_object_mut()
        .and_then(|m| m.remove("managedFields"))
        .unwrap_or_default();
    let kept = live
        .and_then(|live| read(&live["metadata"]["managedFields"]))
        .unwrap_or_default();
    let mut entries = match part {
        Part::Main if is_reset(&sent) => Vec::new(),
        Part::Main => read(&sent).filter(|entries| !entries.is_empty()).unwrap_or(kept),
        _ => kept,
    };
    if live.is_some() && entries.is_empty() {
        return;
    }
    let blank_object;
    let old = match live {
        Some(live) => live,
        None => {
            blank_object = blank(resource);
            &blank_object
        }
    };
    track(resource, lookup, old, new, &mut entries, manager, part, now);
    write(new, entries);
}

/// Give a plain writer what it changes.
#[allow(clippy::too_many_arguments, reason = "one per part of the write")]
fn track(
    resource: &Resource,
    lookup: Lookup<'_>,
    old: &Value,
    new: &Value,
    entries: &mut Vec<Entry>,
    manager: &str,
    part: Part,
    now: &str,
) {
    let api_version = resource.api_version();
    let change = Change {
        resource,
        part,
        old,
        new,
        lookup,
    };
    let writer = entries.iter().position(|entry| {
        entry.manager == manager
            && entry.operation == Operation::Update
            && entry.subresource == part.name()
            && entry.api_version == api_version
    });
    change.settle(entries, writer);
    let Some(comparison) = change.seen_in(&api_version) else {
        return;
    };
    let before = writer.map(|at| entries[at].fields.clone()).unwrap_or_default();
    let mut fields = before
        .difference(&comparison.removed)
        .union(comparison.modified)
        .union(comparison.added);
    leave_out(resource, part, &mut fields);
    match writer {
        Some(at) if entries[at].fields != fields => {
            entries[at].fields = fields;
            now.clone_into(&mut entries[at].time);
        }
        Some(_) => {}
        None => entries.push(Entry {
            manager: manager.to_owned(),
            operation: Operation::Update,
            api_version,
            subresource: part.name().to_owned(),
            time: now.to_owned(),
            fields,
        }),
    }
    cap(entries);
}

/// Put the oldest plain writers together when there are too many.
fn cap(entries: &mut Vec<Entry>) {
    entries.retain(|entry| !entry.fields.is_empty());
    let mut updates: Vec<usize> = (0..entries.len())
        .filter(|at| entries[*at].operation == Operation::Update)
        .collect();
    if updates.len() <= UPDATE_MANAGERS {
        return;
    }
    updates.sort_by(|a, b| entries[*a].time.cmp(&entries[*b].time));
    let surplus = updates.len() - UPDATE_MANAGERS;
    let mut old: Vec<usize> = updates.into_iter().take(surplus + 1).collect();
    old.sort_unstable_by(|a, b| b.cmp(a));
    for at in old {
        let entry = entries.remove(at);
        let bucket = entries.iter_mut().find(|e| {
            e.manager == BUCKET
                && e.operation == Operation::Update
                && e.api_version == entry.api_version
                && e.subresource.is_empty()
        });
        match bucket {
            Some(bucket) => {
                bucket.fields = std::mem::take(&mut bucket.fields).union(entry.fields);
                bucket.time = bucket.time.clone().max(entry.time);
            }
            None => entries.push(Entry {
                manager: BUCKET.to_owned(),
                subresource: String::new(),
                ..entry
            }),
        }
    }
}

/// One apply.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) resource: &'a Resource,
    pub(crate) lookup: Lookup<'a>,
    pub(crate) config: &'a Value,
    pub(crate) manager: &'a str,
    pub(crate) part: Part,
    pub(crate) force: bool,
    pub(crate) now: &'a str,
}

/// The object after an apply, in stored form and before defaults, with its books. `live` is `None` if it is not there yet.
pub(crate) fn on_apply(request: Request<'_>, live: Option<&Value>) -> Result<Value, Failure> {
    let Request { resource, config, .. } = request;
    let root = resource
        .root()
        .ok_or_else(|| Failure::unmodelled(resource.qualified()))?;
    if config["metadata"]
        .get("managedFields")
        .is_some_and(|list| !list.is_null())
    {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    let mut wrong = Vec::new();
    faults(root, config, "", &mut wrong);
    if !wrong.is_empty() {
        let metadata = &config["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let (group, version) = (&resource.gvr.group, &resource.gvr.version);
        let prefix = format!(
            "failed to create typed patch object ({}/{}; {group}/{version}, Kind={}): ",
            text("namespace"),
            text("name"),
            resource.kind
        );
        let all = if wrong.len() == 1 {
            wrong.remove(0)
        } else {
            format!("errors:\n  {}", wrong.join("\n  "))
        };
        return Err(Failure::unreasoned(prefix + &all));
    }
    match attempt(request, live, request.force) {
        Err(conflicts) if request.manager == "kubectl" => {
            // What only kubectl's own annotation vouches for is no conflict: it moves over from client-side apply.
            let owned = live.map(|live| vouched(resource, live)).unwrap_or_default();
            let rest: Vec<(Entry, FieldSet)> = conflicts
                .into_iter()
                .map(|(entry, set)| (entry, set.difference(&owned)))
                .filter(|(_, s)| !s.is_empty())
                .collect();
            if rest.is_empty() {
                attempt(request, live, true).map_err(|conflicts| conflict_failure(&conflicts))
            } else {
                Err(conflict_failure(&rest))
            }
        }
        Err(conflicts) => Err(conflict_failure(&conflicts)),
        Ok(object) => Ok(object),
    }
}

fn attempt(request: Request<'_>, live: Option<&Value>, force: bool) -> Result<Value, Vec<(Entry, FieldSet)>> {
    let Request {
        resource,
        lookup,
        config,
        manager,
        part,
        now,
        ..
    } = request;
    let blank_object;
    let old = match live {
        Some(live) => live,
        None => {
            blank_object = blank(resource);
            &blank_object
        }
    };
    let mut entries = read(&old["metadata"]["managedFields"]).unwrap_or_default();
    if entries.is_empty() && live.is_some() {
        // There were no entries yet: existing fields belong to the manager `before-first-apply`.
        let empty = blank(resource);
        track(
            resource,
            lookup,
            &empty,
            old,
            &mut entries,
            "before-first-apply",
            Part::Main,
            now,
        );
    }
    let api_version = resource.api_version();
    let Some(root) = resource.root() else {
        return Err(Vec::new());
    };
    // While removals are determined, the applier owns everything that it names, including the object's identity.
    let mut fields = to_set(root, config);
    leave_out_reset(resource, part, &mut fields);
    let found = entries.iter().position(|entry| {
        entry.manager == manager && entry.operation == Operation::Apply && entry.subresource == part.name()
    });
    let last = found.map(|at| entries[at].clone());
    let writer = match found {
        Some(at) => at,
        None => {
            entries.push(Entry {
                manager: manager.to_owned(),
                operation: Operation::Apply,
                api_version: api_version.clone(),
                subresource: part.name().to_owned(),
                time: now.to_owned(),
                fields: FieldSet::new(),
            });
            entries.len() - 1
        }
    };
    entries[writer].fields = fields;
    entries[writer].api_version = api_version;
    let apply = Apply {
        resource,
        part,
        config,
        lookup,
    };
    let mut object = apply
        .object(old, &entries, last.as_ref())
        .unwrap_or_else(|| old.clone());
    leave_out(resource, part, &mut entries[writer].fields);
    keep_metadata(old, &mut object);
    let change = Change {
        resource,
        part: apply.part,
        old,
        new: &object,
        lookup,
    };
    let owners = entries.clone();
    let conflicts = change.settle(&mut entries, Some(writer));
    if !force && !conflicts.is_empty() {
        return Err(conflicts
            .into_iter()
            .map(|(index, set)| (owners[index].clone(), set))
            .collect());
    }
    if last
        .as_ref()
        .is_none_or(|last| last.fields != entries[writer].fields || last.api_version != entries[writer].api_version)
        || object != *old
    {
        now.clone_into(&mut entries[writer].time);
    }
    if manager == "kubectl" && object["metadata"]["annotations"][LAST_APPLIED].is_string() {
        object["metadata"]["annotations"][LAST_APPLIED] = last_applied(config).into();
    }
    write(&mut object, entries);
    Ok(object)
}

/// What the server keeps in metadata is not the applier's to change.
fn keep_metadata(old: &Value, object: &mut Value) {
    if !object["metadata"].is_object() {
        object["metadata"] = Value::Object(Map::new());
    }
    let Some(metadata) = object["metadata"].as_object_mut() else {
        return;
    };
    if let Some(list) = old["metadata"].get("managedFields") {
        metadata.insert("managedFields".to_owned(), list.clone());
    }
}

/// The text that `kubectl apply` would keep of a configuration.
fn last_applied(config: &Value) -> String {
    let mut config = config.clone();
    if let Some(annotations) = config
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    format!("{config}\n")
}

/// Fields that the annotation of client-side apply vouches for: their value is the live one.
fn vouched(resource: &Resource, live: &Value) -> FieldSet {
    let text = live["metadata"]["annotations"][LAST_APPLIED]
        .as_str()
        .unwrap_or_default();
    let Ok(applied) = serde_json::from_str::<Value>(text) else {
        return FieldSet::new();
    };
    let Some(root) = resource.root() else {
        return FieldSet::new();
    };
    let seen = versions::from_storage(resource, live);
    let comparison = super::typed::compare(root, &seen, &applied);
    let mut set = to_set(root, &applied)
        .difference(&comparison.modified)
        .difference(&comparison.added);
    set.insert(&[
        "f:metadata".to_owned(),
        "f:annotations".to_owned(),
        format!("f:{LAST_APPLIED}"),
    ]);
    set
}

fn conflict_failure(conflicts: &[(Entry, FieldSet)]) -> Failure {
    let mut named: Vec<(String, Vec<String>)> = conflicts
        .iter()
        .map(|(entry, set)| (described(entry), set.paths()))
        .collect();
    named.sort();
    let count: usize = named.iter().map(|(_, paths)| paths.len()).sum();
    let mut message = format!(
        "Apply failed with {count} conflict{}: ",
        if count == 1 { "" } else { "s" }
    );
    let parts: Vec<String> = named
        .iter()
        .map(|(owner, paths)| match paths.as_slice() {
            [path] => format!("conflict with {owner}: {path}"),
            paths => {
                let lines: Vec<String> = paths.iter().map(|path| format!("\n- {path}")).collect();
                format!("conflicts with {owner}:{}", lines.concat())
            }
        })
        .collect();
    message.push_str(&parts.join("\n"));
    let causes: Vec<Value> = named
        .iter()
        .flat_map(|(owner, paths)| {
            paths.iter().map(move |path| {
                json!({"reason": "FieldManagerConflict", "message": format!("conflict with {owner}"), "field": path})
            })
        })
        .collect();
    let mut failure = Failure::new(409, "Conflict", message);
    failure.details = Some(json!({"causes": causes}));
    failure
}

/// `"alice"`, `"bob" with subresource "status" using v1`.
fn described(entry: &Entry) -> String {
    let mut out = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        out.push_str(&format!(" with subresource {:?}", entry.subresource));
    }
    if entry.operation == Operation::Update {
        out.push_str(&format!(" using {}", entry.api_version));
    }
    out
}

/// If nothing but the times of the books differs, the times are those of before: such a write changes nothing.
pub(crate) fn keep_times_of_unchanged(old: &Value, new: &mut Value) {
    let Some(mut entries) = new["metadata"]["managedFields"].as_array().cloned() else {
        return;
    };
    let Some(before) = old["metadata"]["managedFields"].as_array() else {
        return;
    };
    if before.len() != entries.len() {
        return;
    }
    let without_time = |entry: &Value| {
        let mut entry = entry.clone();
        if let Some(map) = entry.as_object_mut() {
            map.remove("time");
        }
        entry
    };
    // Times order the entries, so equal books may come in another order.
    let mut was: Vec<(Value, &Value)> = before.iter().map(|entry| (without_time(entry), entry)).collect();
    for entry in &mut entries {
        let bare = without_time(entry);
        let Some(at) = was.iter().position(|(other, _)| *other == bare) else {
            return;
        };
        *entry = was.swap_remove(at).1.clone();
    }
    let candidate = Value::Array(before.clone());
    let kept = new["metadata"]["managedFields"].take();
    new["metadata"]["managedFields"] = candidate;
    if new != old {
        new["metadata"]["managedFields"] = kept;
    }
}
