//! What a container is given: environment and volumes from ConfigMaps, Secrets and the pod itself, or the reason that it cannot be.

use std::collections::BTreeMap;

use base64::Engine;
use serde_json::Value;

use super::shell::{File, Files, lock};
use crate::kubernetes::controllers::object;
use crate::kubernetes::controllers::world::World;

type Data = BTreeMap<String, Vec<u8>>;

/// The data of a Secret or ConfigMap; `Err` is the kubelet's sentence.
fn data(world: &World, kind: &str, namespace: &str, name: &str) -> Result<Data, String> {
    let resource = if kind == "secret" { "secrets" } else { "configmaps" };
    let Some(found) = world.registry.find(resource, namespace, name) else {
        return Err(format!("{kind} \"{name}\" not found"));
    };
    let decode = |value: &Value| {
        base64::engine::general_purpose::STANDARD
            .decode(value.as_str().unwrap_or_default())
            .unwrap_or_default()
    };
    let mut all = Data::new();
    for (key, value) in found.value()["data"].as_object().into_iter().flatten() {
        all.insert(
            key.clone(),
            if kind == "secret" {
                decode(value)
            } else {
                value.as_str().unwrap_or_default().as_bytes().to_vec()
            },
        );
    }
    for (key, value) in found.value()["binaryData"].as_object().into_iter().flatten() {
        all.insert(key.clone(), decode(value));
    }
    Ok(all)
}

/// Reads every Secret and ConfigMap of a container's environment; returns the kubelet's message for a missing one.
pub(super) fn environment(world: &World, pod: &Value, container: &Value) -> Result<BTreeMap<String, String>, String> {
    let namespace = object::namespace(pod);
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    if pod["spec"]["enableServiceLinks"] != false {
        service_links(world, namespace, &mut all);
    }
    for source in object::list(container, "/envFrom") {
        let prefix = source["prefix"].as_str().unwrap_or_default();
        for (field, kind) in [("configMapRef", "configmap"), ("secretRef", "secret")] {
            let Some(name) = source[field]["name"].as_str() else {
                continue;
            };
            match data(world, kind, namespace, name) {
                Ok(data) => all.extend(
                    data.into_iter()
                        .map(|(key, value)| (format!("{prefix}{key}"), text(&value))),
                ),
                Err(_) if source[field]["optional"] == true => {}
                Err(why) => return Err(why),
            }
        }
    }
    for variable in object::list(container, "/env") {
        let name = variable["name"].as_str().unwrap_or_default().to_owned();
        let from = &variable["valueFrom"];
        let value = if let Some(value) = variable["value"].as_str() {
            expand(value, &all)
        } else if let Some(value) = keyed(world, namespace, from)? {
            value
        } else if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
            field(pod, path)
        } else if let Some(resource) = from["resourceFieldRef"]["resource"].as_str() {
            let (kind, resource) = resource.split_once('.').unwrap_or(("limits", resource));
            container["resources"][kind][resource]
                .as_str()
                .unwrap_or("0")
                .to_owned()
        } else if from.is_object() {
            continue;
        } else {
            String::new()
        };
        all.insert(name, value);
    }
    Ok(all)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

fn keyed(world: &World, namespace: &str, from: &Value) -> Result<Option<String>, String> {
    for (field, kind, shown) in [
        ("secretKeyRef", "secret", "Secret"),
        ("configMapKeyRef", "configmap", "ConfigMap"),
    ] {
        let reference = &from[field];
        let (Some(name), Some(key)) = (reference["name"].as_str(), reference["key"].as_str()) else {
            continue;
        };
        let found = data(world, kind, namespace, name).map(|mut data| data.remove(key));
        return match found {
            Ok(Some(value)) => Ok(Some(text(&value))),
            _ if reference["optional"] == true => Ok(None),
            Ok(None) => Err(format!("couldn't find key {key} in {shown} {namespace}/{name}")),
            Err(why) => Err(why),
        };
    }
    Ok(None)
}

/// `$(NAME)` of variables that came before.
fn expand(value: &str, known: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = value;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(left) = rest.strip_prefix("$$") {
            out.push('$');
            rest = left;
        } else if let Some((name, left)) = rest.strip_prefix("$(").and_then(|inner| inner.split_once(')')) {
            match known.get(name) {
                Some(value) => out.push_str(value),
                None => out.push_str(&rest[..name.len() + 3]),
            }
            rest = left;
        } else {
            out.push('$');
            rest = &rest[1..];
        }
    }
    out + rest
}

/// A command line with its variables filled in.
pub(super) fn arguments(container: &Value, environment: &BTreeMap<String, String>) -> Vec<String> {
    let words = object::list(container, "/command")
        .iter()
        .chain(object::list(container, "/args"));
    words
        .filter_map(Value::as_str)
        .map(|word| expand(word, environment))
        .collect()
}

/// A field of the pod as the downward API gives it.
fn field(pod: &Value, path: &str) -> String {
    if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
        let map = map.strip_prefix("metadata.").unwrap_or(map);
        return pod["metadata"][map][key].as_str().unwrap_or_default().to_owned();
    }
    match path {
        "metadata.labels" | "metadata.annotations" => {
            let map = pod["metadata"][&path["metadata.".len()..]]
                .as_object()
                .into_iter()
                .flatten();
            map.map(|(key, value)| format!("{key}={value}"))
                .collect::<Vec<_>>()
                .join("\n")
        }
        _ => match pod.pointer(&format!("/{}", path.replace('.', "/"))) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        },
    }
}

/// `AHA_SERVICE_HOST` and its like, as old programs read them.
fn service_links(world: &World, namespace: &str, all: &mut BTreeMap<String, String>) {
    let own = world.cache.in_namespace("services", namespace);
    let api = world.cache.find("services", "default", "kubernetes");
    for service in own.chain(api.iter()) {
        let ip = object::text(service.value(), "/spec/clusterIP");
        let Some(port) =
            object::number(service.value(), "/spec/ports/0/port").filter(|_| !ip.is_empty() && ip != "None")
        else {
            continue;
        };
        let name = service.name().to_uppercase().replace('-', "_");
        all.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
        all.insert(format!("{name}_SERVICE_PORT"), port.to_string());
    }
}

/// The files of one volume, or the kubelet's message about what is missing.
pub(super) fn volume(world: &World, pod: &Value, volume: &Value) -> Result<Data, String> {
    let namespace = object::namespace(pod);
    if volume["secret"].is_object() {
        return projected(world, namespace, "secret", &volume["secret"], "secretName");
    }
    if volume["configMap"].is_object() {
        return projected(world, namespace, "configmap", &volume["configMap"], "name");
    }
    if volume["downwardAPI"].is_object() {
        return Ok(downward(pod, &volume["downwardAPI"]));
    }
    if !volume["projected"].is_object() {
        return Ok(Data::new());
    }
    let (mut all, mut missing) = (Data::new(), Vec::new());
    for source in object::list(volume, "/projected/sources") {
        let found = if source["secret"].is_object() {
            projected(world, namespace, "secret", &source["secret"], "name")
        } else if source["configMap"].is_object() {
            projected(world, namespace, "configmap", &source["configMap"], "name")
        } else if source["downwardAPI"].is_object() {
            Ok(downward(pod, &source["downwardAPI"]))
        } else if let Some(path) = source["serviceAccountToken"]["path"].as_str() {
            Ok(Data::from([(path.to_owned(), b"sandbox-token".to_vec())]))
        } else {
            Ok(Data::new())
        };
        match found {
            Ok(data) => all.extend(data),
            Err(why) => missing.push(why),
        }
    }
    match missing.len() {
        0 => Ok(all),
        1 => Err(missing.concat()),
        _ => Err(format!("[{}]", missing.join(", "))),
    }
}

fn projected(world: &World, namespace: &str, kind: &str, source: &Value, name: &str) -> Result<Data, String> {
    let optional = source["optional"] == true;
    let all = match data(world, kind, namespace, source[name].as_str().unwrap_or_default()) {
        Ok(all) => all,
        Err(_) if optional => return Ok(Data::new()),
        Err(why) => return Err(why),
    };
    let items = object::list(source, "/items");
    if items.is_empty() {
        return Ok(all);
    }
    let mut chosen = Data::new();
    for item in items {
        let (key, path) = (
            item["key"].as_str().unwrap_or_default(),
            item["path"].as_str().unwrap_or_default(),
        );
        match all.get(key) {
            Some(value) => {
                chosen.insert(path.to_owned(), value.clone());
            }
            None if optional => {}
            None => {
                return Err(format!(
                    "references non-existent {} key: {key}",
                    if kind == "secret" { "secret" } else { "config" }
                ));
            }
        }
    }
    Ok(chosen)
}

fn downward(pod: &Value, source: &Value) -> Data {
    let items = object::list(source, "/items").iter();
    items
        .filter_map(|item| {
            Some((
                item["path"].as_str()?.to_owned(),
                field(pod, item["fieldRef"]["fieldPath"].as_str().unwrap_or_default()).into_bytes(),
            ))
        })
        .collect()
}

/// Put data into a volume's files.
pub(super) fn fill(files: &Files, data: Data) {
    let mut files = lock(files);
    for (name, data) in data {
        files.insert(
            name,
            File {
                size: data.len() as u64,
                data,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_variables_are_filled_in_and_unknown_ones_stay() {
        let known = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (from, to) in [
            ("x$(A)y", "x1y"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("cost: 5$", "cost: 5$"),
            ("$(A", "$(A"),
        ] {
            assert_eq!(expand(from, &known), to);
        }
    }
}
