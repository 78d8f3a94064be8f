//! LimitRanges: defaults for containers that say nothing, and bounds that pods and claims must keep.

use serde_json::{Map, Value};

use super::super::access::{Fields, items_mut, object_mut, set, struct_mut, sub};
use super::forbidden;
use crate::kubernetes::registry::{Failure, Registry};
use crate::kubernetes::schema::quantity::Quantity;

fn ranges(registry: &Registry, object: &Value) -> Vec<(String, Vec<Value>)> {
    let namespace = sub(object, "metadata").text("namespace");
    let all = registry.list("limitranges", Some(namespace), None).unwrap_or_default();
    all.iter()
        .map(|range| {
            (
                range.name().to_owned(),
                sub(range.value(), "spec").items("limits").to_vec(),
            )
        })
        .collect()
}

fn amount(map: Option<&Map<String, Value>>, name: &str) -> Option<Quantity> {
    map?.get(name)?.as_str().and_then(Quantity::parse)
}

/// Fills in and checks a new pod.
pub(super) fn of_pod(registry: &Registry, object: &mut Value) -> Result<(), Failure> {
    let ranges = ranges(registry, object);
    if ranges.is_empty() {
        return Ok(());
    }
    let mut notes = Vec::new();
    for (_, items) in &ranges {
        for item in items.iter().filter(|item| item.text("type") == "Container") {
            for list in ["containers", "initContainers"] {
                let Some(spec) = struct_mut(object, "spec") else {
                    continue;
                };
                for container in items_mut(spec, list) {
                    fill(container, item, &mut notes);
                }
            }
        }
        if !notes.is_empty()
            && let Some(annotations) =
                struct_mut(object, "metadata").and_then(|metadata| object_mut(metadata, "annotations"))
        {
            annotations
                .entry("kubernetes.io/limit-ranger")
                .or_insert_with(|| format!("LimitRanger plugin set: {}", notes.join("; ")).into());
        }
    }
    let mut faults = Vec::new();
    let spec = sub(object, "spec");
    for (_, items) in &ranges {
        for item in items {
            match item.text("type") {
                "Container" => {
                    for container in spec.items("containers").iter().chain(spec.items("initContainers")) {
                        bounds(
                            item,
                            "Container",
                            &|part, name| amount(sub(container, "resources").map(part), name),
                            &mut faults,
                        );
                    }
                }
                "Pod" => bounds(item, "Pod", &|part, name| total(spec, part, name), &mut faults),
                _ => {}
            }
        }
    }
    refuse("pods", object, &faults)
}

/// Checks a new claim.
pub(super) fn of_claim(registry: &Registry, object: &Value) -> Result<(), Failure> {
    let mut faults = Vec::new();
    for (_, items) in ranges(registry, object) {
        for item in items.iter().filter(|item| item.text("type") == "PersistentVolumeClaim") {
            let asked = |_: &str, name: &str| amount(sub(sub(object, "spec"), "resources").map("requests"), name);
            bounds(item, "PersistentVolumeClaim", &asked, &mut faults);
        }
    }
    refuse("persistentvolumeclaims", object, &faults)
}

fn refuse(resource: &str, object: &Value, faults: &[String]) -> Result<(), Failure> {
    match faults {
        [] => Ok(()),
        [one] => Err(forbidden(resource, object, one)),
        many => Err(forbidden(resource, object, &format!("[{}]", many.join(", ")))),
    }
}

fn fill(container: &mut Value, item: &Value, notes: &mut Vec<String>) {
    let name = container.text("name").to_owned();
    let Some(resources) = struct_mut(container, "resources") else {
        return;
    };
    for (part, from, word) in [
        ("requests", "defaultRequest", "request"),
        ("limits", "default", "limit"),
    ] {
        let Some(defaults) = item.map(from).filter(|defaults| !defaults.is_empty()) else {
            continue;
        };
        let missing: Vec<(String, Value)> = defaults
            .iter()
            .filter(|(resource, _)| !resources.map(part).is_some_and(|has| has.contains_key(*resource)))
            .map(|(resource, amount)| (resource.clone(), amount.clone()))
            .collect();
        if missing.is_empty() {
            continue;
        }
        let set_names: Vec<&str> = missing.iter().map(|(resource, _)| resource.as_str()).collect();
        notes.push(format!("{} {word} for container {name}", set_names.join(", ")));
        let mut all = resources.map(part).cloned().unwrap_or_default();
        all.extend(missing);
        set(resources, part, all);
    }
}

fn total(spec: &Value, part: &str, name: &str) -> Option<Quantity> {
    let sum = |list: &str| {
        let amounts = spec
            .items(list)
            .iter()
            .filter_map(|container| amount(sub(container, "resources").map(part), name));
        amounts.map(Quantity::nano).reduce(|a, b| a.saturating_add(b))
    };
    let init = spec
        .items("initContainers")
        .iter()
        .filter_map(|container| amount(sub(container, "resources").map(part), name))
        .map(Quantity::nano)
        .max();
    let nano = sum("containers").into_iter().chain(init).max()?;
    Quantity::parse(&format!("{nano}n"))
}

fn bounds(item: &Value, kind: &str, asked: &dyn Fn(&str, &str) -> Option<Quantity>, faults: &mut Vec<String>) {
    for (name, bound) in item.map("min").into_iter().flatten() {
        let Some(bound) = bound.as_str().and_then(Quantity::parse) else {
            continue;
        };
        match asked("requests", name) {
            None => faults.push(format!(
                "minimum {name} usage per {kind} is {}.  No request is specified",
                bound.canonical()
            )),
            Some(request) if request.compare(bound).is_lt() => {
                faults.push(format!(
                    "minimum {name} usage per {kind} is {}, but request is {}",
                    bound.canonical(),
                    request.canonical()
                ));
            }
            Some(_) => {}
        }
        if let Some(limit) = asked("limits", name).filter(|limit| limit.compare(bound).is_lt()) {
            faults.push(format!(
                "minimum {name} usage per {kind} is {}, but limit is {}",
                bound.canonical(),
                limit.canonical()
            ));
        }
    }
    for (name, bound) in item.map("max").into_iter().flatten() {
        let Some(bound) = bound.as_str().and_then(Quantity::parse) else {
            continue;
        };
        if kind == "PersistentVolumeClaim" {
            if let Some(request) = asked("requests", name).filter(|request| request.compare(bound).is_gt()) {
                faults.push(format!(
                    "maximum {name} usage per {kind} is {}, but request is {}",
                    bound.canonical(),
                    request.canonical()
                ));
            }
            continue;
        }
        match asked("limits", name) {
            None => faults.push(format!(
                "maximum {name} usage per {kind} is {}.  No limit is specified",
                bound.canonical()
            )),
            Some(limit) if limit.compare(bound).is_gt() => {
                faults.push(format!(
                    "maximum {name} usage per {kind} is {}, but limit is {}",
                    bound.canonical(),
                    limit.canonical()
                ));
            }
            Some(_) => {}
        }
        if let Some(request) = asked("requests", name).filter(|request| request.compare(bound).is_gt()) {
            faults.push(format!(
                "maximum {name} usage per {kind} is {}, but request is {}",
                bound.canonical(),
                request.canonical()
            ));
        }
    }
}
