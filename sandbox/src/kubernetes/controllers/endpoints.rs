//! Endpoints and EndpointSlices: which pods are behind a Service, and whether they are ready.
//!
//! There is one slice per Service, and only IPv4: a Service with more than a thousand pods is beyond a sandbox.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use super::{cache, pods};
use crate::kubernetes::registry::Failure;
use crate::kubernetes::store::Object;

const SLICES: &str = "endpointslices.discovery.k8s.io";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SERVICE: &str = "kubernetes.io/service-name";
const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const MOST: usize = 1000;

pub(super) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        "services" => world.enqueue(Who::Endpoints, object::key_of(seen.value())),
        "pods" => {
            // Only what an endpoint shows matters.
            let shown = |pod: &Value| {
                let status = &pod["status"];
                (
                    status["podIP"].clone(),
                    pods::is_ready(pod),
                    pods::is_finished(pod),
                    object::is_deleting(pod),
                    pod["metadata"]["labels"].clone(),
                )
            };
            if let Some(before) = &seen.before
                && !seen.gone()
                && shown(before.value()) == shown(seen.value())
            {
                return;
            }
            let labels = [Some(&seen.object), seen.before.as_ref()];
            let keys: Vec<Key> = world
                .cache
                .in_namespace("services", seen.object.namespace())
                .filter(|service| {
                    labels
                        .iter()
                        .flatten()
                        .any(|pod| selects(service.value(), pod.labels()))
                })
                .map(|service| object::key_of(service.value()))
                .collect();
            for key in keys {
                world.enqueue(Who::Endpoints, key);
            }
        }
        _ => {}
    }
}

fn selects(service: &Value, labels: &Value) -> bool {
    service["spec"]["selector"].as_object().is_some_and(|s| !s.is_empty())
        && cache::selects(&service["spec"]["selector"], labels)
}

/// The pods behind a Service, by name.
pub(crate) fn pods_behind(world: &World, service: &Value) -> Vec<Arc<Object>> {
    let pods = world.cache.in_namespace("pods", object::namespace(service));
    pods.filter(|pod| selects(service, pod.labels())).cloned().collect()
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(service) = world.cache.get("services", key) else {
        // The slice goes with its owner; Endpoints have none.
        if let Some(endpoints) = world.cache.get("endpoints", key)
            && object::label(endpoints.value(), "endpoints.kubernetes.io/managed-by").is_some()
        {
            return world.delete("endpoints", endpoints.value(), None).into();
        }
        return Outcome::Done;
    };
    reconcile(world, service.value()).into()
}

/// The port number that a Service's port means in a pod.
fn target_port(port: &Value, pod: &Value) -> Option<i64> {
    match &port["targetPort"] {
        Value::Number(n) => n.as_i64(),
        Value::String(name) => {
            let containers = object::list(pod, "/spec/containers")
                .iter()
                .flat_map(|c| object::list(c, "/ports"));
            containers
                .filter(|p| p["name"] == name.as_str())
                .find_map(|p| p["containerPort"].as_i64())
        }
        _ => port["port"].as_i64(),
    }
}

fn reconcile(world: &mut World, service: &Value) -> Result<(), Failure> {
    if service["spec"]["selector"].as_object().is_none_or(Map::is_empty)
        || service["spec"]["type"] == "ExternalName"
        || object::is_deleting(service)
    {
        return Ok(());
    }
    let mut behind = pods_behind(world, service);
    behind.retain(|pod| !pods::is_finished(pod.value()) && !object::text(pod.value(), "/status/podIP").is_empty());
    behind.truncate(MOST);
    let publish = service["spec"]["publishNotReadyAddresses"] == true;
    let ports = |pod: Option<&Value>| -> Vec<Value> {
        let ports = object::list(service, "/spec/ports").iter();
        let ports = ports.filter_map(|port| {
            let number = match pod {
                Some(pod) => target_port(port, pod)?,
                None => port["targetPort"].as_i64().or(port["port"].as_i64())?,
            };
            let mut shown = json!({"name": port["name"].as_str().unwrap_or_default(), "port": number, "protocol": port["protocol"]});
            if let Some(protocol) = port.get("appProtocol") {
                shown["appProtocol"] = protocol.clone();
            }
            Some(shown)
        });
        ports.collect()
    };
    let first = behind.first().map(|pod| pod.value());
    let shown_ports = if first.is_some() { ports(first) } else { Vec::new() };
    let headless = service["spec"]["clusterIP"] == "None";
    write_slice(world, service, &behind, publish, &shown_ports, headless)?;
    write_endpoints(world, service, &behind, publish, &shown_ports, headless)
}

fn reference(pod: &Object) -> Value {
    json!({"kind": "Pod", "namespace": pod.namespace(), "name": pod.name(), "uid": pod.uid()})
}

fn write_slice(
    world: &mut World,
    service: &Value,
    behind: &[Arc<Object>],
    publish: bool,
    ports: &[Value],
    headless: bool,
) -> Result<(), Failure> {
    let endpoints: Vec<Value> = behind
        .iter()
        .map(|pod| {
            let value = pod.value();
            let (ready, terminating) = (pods::is_ready(value), object::is_deleting(value));
            let mut endpoint = json!({
                "addresses": [value["status"]["podIP"]],
                "conditions": {"ready": publish || (ready && !terminating), "serving": ready, "terminating": terminating},
                "targetRef": reference(pod),
                "nodeName": value["spec"]["nodeName"],
            });
            if let Some(hostname) = value["spec"]["hostname"].as_str()
                && value["spec"]["subdomain"] == service["metadata"]["name"]
            {
                endpoint["hostname"] = hostname.into();
            }
            endpoint
        })
        .collect();
    let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), "endpointslice-controller.k8s.io".into());
    labels.insert(SERVICE.to_owned(), object::name(service).into());
    if headless {
        labels.insert("service.kubernetes.io/headless".to_owned(), "".into());
    }
    let slice = world.cache.owned(SLICES, object::uid(service)).into_iter().next();
    let now = object::time(world.now);
    match slice {
        None => {
            let mut body = json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
                "metadata": {
                    "generateName": format!("{}-", object::name(service)), "namespace": object::namespace(service),
                    "labels": labels, "annotations": {TRIGGER: now},
                    "ownerReferences": [object::owner_reference(service, "v1", "Service")],
                },
                "addressType": "IPv4",
            });
            body["endpoints"] = if endpoints.is_empty() {
                Value::Null
            } else {
                endpoints.into()
            };
            body["ports"] = if ports.is_empty() { Value::Null } else { ports.into() };
            world.create(SLICES, object::namespace(service), body).map(|_| ())
        }
        Some(slice) => {
            let mut next = slice.value().clone();
            let same = |field: &str, list: &[Value]| object::list(slice.value(), field) == list;
            if same("/endpoints", &endpoints)
                && same("/ports", ports)
                && next["metadata"]["labels"] == Value::Object(labels.clone())
            {
                return Ok(());
            }
            next["endpoints"] = if endpoints.is_empty() {
                Value::Null
            } else {
                endpoints.into()
            };
            next["ports"] = if ports.is_empty() { Value::Null } else { ports.into() };
            next["metadata"]["labels"] = labels.into();
            object::object_mut(&mut next["metadata"], "annotations").insert(TRIGGER.to_owned(), now);
            world.update(SLICES, next).map(|_| ())
        }
    }
}

fn write_endpoints(
    world: &mut World,
    service: &Value,
    behind: &[Arc<Object>],
    publish: bool,
    ports: &[Value],
    headless: bool,
) -> Result<(), Failure> {
    let address = |pod: &Arc<Object>| {
        let mut address = json!({"ip": pod.value()["status"]["podIP"], "nodeName": pod.value()["spec"]["nodeName"], "targetRef": reference(pod)});
        if let Some(hostname) = pod.value()["spec"]["hostname"].as_str()
            && pod.value()["spec"]["subdomain"] == service["metadata"]["name"]
        {
            address["hostname"] = hostname.into();
        }
        address
    };
    let (ready, unready): (Vec<_>, Vec<_>) = behind
        .iter()
        .filter(|pod| publish || !object::is_deleting(pod.value()))
        .partition(|pod| publish || pods::is_ready(pod.value()));
    let mut subset = Map::new();
    for (field, pods) in [("addresses", ready), ("notReadyAddresses", unready)] {
        if !pods.is_empty() {
            subset.insert(
                field.to_owned(),
                pods.into_iter().map(address).collect::<Vec<_>>().into(),
            );
        }
    }
    let mut subsets = Value::Null;
    if !subset.is_empty() {
        let ports: Vec<Value> = ports
            .iter()
            .map(|port| {
                let mut port = port.clone();
                if port["name"] == ""
                    && let Some(port) = port.as_object_mut()
                {
                    port.remove("name");
                }
                port
            })
            .collect();
        if !ports.is_empty() {
            subset.insert("ports".to_owned(), ports.into());
        }
        subsets = json!([subset]);
    }
    let mut labels = service["metadata"]["labels"].as_object().cloned().unwrap_or_default();
    labels.insert(
        "endpoints.kubernetes.io/managed-by".to_owned(),
        "endpoint-controller".into(),
    );
    if headless {
        labels.insert("service.kubernetes.io/headless".to_owned(), "".into());
    }
    let now = object::time(world.now);
    let key = object::key_of(service);
    let Some(endpoints) = world.cache.get("endpoints", &key) else {
        let mut body = json!({
            "apiVersion": "v1", "kind": "Endpoints",
            "metadata": {"name": object::name(service), "namespace": object::namespace(service), "labels": labels, "annotations": {TRIGGER: now}},
        });
        if !subsets.is_null() {
            body["subsets"] = subsets;
        }
        return match world.create("endpoints", object::namespace(service), body) {
            // Made by a user, or before we read it.
            Err(failure) if failure.is_already_exists() => Ok(()),
            other => other.map(|_| ()),
        };
    };
    let mut next = endpoints.value().clone();
    if next.get("subsets").unwrap_or(&Value::Null) == &subsets
        && next["metadata"]["labels"] == Value::Object(labels.clone())
    {
        return Ok(());
    }
    next["subsets"] = subsets;
    next["metadata"]["labels"] = labels.into();
    object::object_mut(&mut next["metadata"], "annotations").insert(TRIGGER.to_owned(), now);
    world.update("endpoints", next).map(|_| ())
}
