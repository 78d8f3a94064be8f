//! The HTTP answers of a modelled pod through the API server's service proxy.
//!
//! Answers come from, in this order: the pod's annotation `sandbox.myelin.dev/http`, a JSON list; a ConfigMap
//! `sandbox-http` in the pod's namespace, whose values are such lists. An entry is `{"path": "/health", "service":
//! "api", "status": 200, "body": "...", "contentType": "..."}`; `service` is optional, and `*` at the end of a path
//! matches the rest. A path that a probe of the pod uses is answered 200 `ok` while the pod is ready. Any other path is
//! a 404, because nothing is known about it. Bodies are not streamed.

use serde::Deserialize;
use serde_json::Value;

use crate::kubernetes::controllers::world::World;
use crate::kubernetes::controllers::{endpoints, object, pods};
use crate::kubernetes::registry::Failure;

/// An answer that a test wrote down.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Canned {
    path: String,
    #[serde(default)]
    service: String,
    #[serde(default = "ok")]
    status: u16,
    #[serde(default)]
    body: String,
    #[serde(default = "plain")]
    content_type: String,
}

fn ok() -> u16 {
    200
}

fn plain() -> String {
    "text/plain; charset=utf-8".to_owned()
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

fn listed(text: &str) -> Vec<Canned> {
    serde_json::from_str(text).unwrap_or_else(|error| {
        tracing::warn!(%error, "a table of canned pages cannot be read");
        Vec::new()
    })
}

/// A request to a Service: `name` is `[scheme:]service[:port]` as in the proxy's path, `path` begins with a slash.
pub(crate) fn ask(world: &World, namespace: &str, name: &str, path: &str) -> Result<Page, Failure> {
    let parts: Vec<&str> = name.split(':').collect();
    let (service, port) = match parts.as_slice() {
        [service] => (*service, ""),
        [service, port] | [_, service, port] => (*service, *port),
        _ => return Err(Failure::bad_request(format!("invalid service request \"{name}\""))),
    };
    let Some(found) = world.cache.find("services", namespace, service) else {
        return Err(Failure::not_found("", "services", service));
    };
    let none = |what: &str| {
        let name = if port.is_empty() {
            service.to_owned()
        } else {
            format!("{service}:{port}")
        };
        Failure::new(
            503,
            "ServiceUnavailable",
            format!("{what} available for service \"{name}\""),
        )
    };
    let ports = object::list(found.value(), "/spec/ports");
    let known = ports
        .iter()
        .any(|p| p["name"] == port || p["port"].as_i64().is_some_and(|n| n.to_string() == port));
    if !(known || port.is_empty() && ports.len() == 1) {
        return Err(none("no service port found, none"));
    }
    let behind = endpoints::pods_behind(world, found.value());
    let pod = behind
        .iter()
        .find(|pod| pods::is_ready(pod.value()) && !object::is_deleting(pod.value()));
    let Some(pod) = pod else {
        return Err(none("no endpoints"));
    };
    Ok(page(world, pod.value(), service, path))
}

fn page(world: &World, pod: &Value, service: &str, path: &str) -> Page {
    let asked = path.split('?').next().unwrap_or_default();
    let mut table: Vec<Canned> = object::annotation(pod, &format!("{}http", super::behaviour::PREFIX))
        .map(listed)
        .unwrap_or_default();
    if let Some(map) = world
        .registry
        .find("configmaps", object::namespace(pod), "sandbox-http")
    {
        let data = map.value()["data"].as_object().cloned().unwrap_or_default();
        table.extend(data.values().filter_map(Value::as_str).flat_map(listed));
    }
    let fits = |entry: &&Canned| {
        let path = match entry.path.strip_suffix('*') {
            Some(start) => asked.starts_with(start),
            None => asked == entry.path,
        };
        path && (entry.service.is_empty() || entry.service == service)
    };
    if let Some(entry) = table.iter().find(fits) {
        return Page {
            status: entry.status,
            content_type: entry.content_type.clone(),
            body: entry.body.clone(),
        };
    }
    let containers = object::list(pod, "/spec/containers");
    let probed = containers.iter().any(|c| {
        ["readinessProbe", "livenessProbe", "startupProbe"]
            .iter()
            .any(|probe| c[*probe]["httpGet"]["path"] == asked)
    });
    let (status, body) = if probed {
        (200, "ok")
    } else {
        (404, "404 page not found\n")
    };
    Page {
        status,
        content_type: plain(),
        body: body.to_owned(),
    }
}
