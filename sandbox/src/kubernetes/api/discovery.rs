//! Discovery: `/api`, `/apis`, groups, versions, the aggregated form, health and version.

use serde_json::{Value, json};

use super::Call;
use super::reply::{Reply, to_bytes};
use super::route::Route;
use crate::kubernetes::registry::{Failure, Registry};
use crate::kubernetes::schema::resources::{Resource, Served, api_version};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Checks that `/healthz/NAME` knows.
const CHECKS: [&str; 5] = [
    "ping",
    "log",
    "etcd",
    "informer-sync",
    "poststarthook/start-apiextensions-controllers",
];

/// Answer what is neither objects nor OpenAPI.
pub(crate) fn answer(registry: &Registry, call: &Call, route: &Route) -> Result<Reply, Failure> {
    let served = registry.catalog().served();
    match route {
        Route::Health(check) if check.is_empty() || CHECKS.contains(&check.as_str()) => Ok(Reply::text(200, "ok")),
        Route::Health(_) => Ok(Reply::text(404, "404 page not found\n")),
        Route::ServerVersion => Ok(Reply::value(200, &version(), call.accept.kubernetes()?)),
        Route::Root => {
            let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
            for (group, versions) in served.groups.iter().filter(|(group, _)| !group.is_empty()) {
                paths.push(format!("/apis/{group}"));
                paths.extend(versions.iter().map(|version| format!("/apis/{group}/{version}")));
            }
            paths.extend(
                [
                    "/healthz",
                    "/livez",
                    "/openapi/v2",
                    "/openapi/v3",
                    "/readyz",
                    "/sandbox",
                    "/version",
                ]
                .map(str::to_owned),
            );
            Ok(Reply::value(200, &json!({"paths": paths}), call.accept.kubernetes()?))
        }
        Route::Core if call.accept.aggregated() => Ok(aggregated(&served, true)),
        Route::Groups if call.accept.aggregated() => Ok(aggregated(&served, false)),
        Route::Core => {
            let address = json!([{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}]);
            let body = json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": address});
            Ok(Reply::value(200, &body, call.accept.kubernetes()?))
        }
        Route::Groups => {
            let groups: Vec<Value> = served
                .groups
                .iter()
                .filter(|(name, _)| !name.is_empty())
                .map(group)
                .collect();
            let body = json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups});
            Ok(Reply::value(200, &body, call.accept.kubernetes()?))
        }
        Route::Group(name) => {
            let found = served
                .groups
                .iter()
                .find(|(group, _)| group == name)
                .ok_or_else(Failure::no_such_path)?;
            let mut body = group(found);
            body["kind"] = "APIGroup".into();
            body["apiVersion"] = "v1".into();
            Ok(Reply::value(200, &body, call.accept.kubernetes()?))
        }
        Route::Version(group, version) => {
            let mut resources = Vec::new();
            for resource in served.in_version(group, version) {
                resources.extend(plain(&resource));
            }
            resources.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
            let body = json!({
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version),
                "resources": resources,
            });
            Ok(Reply::value(200, &body, call.accept.kubernetes()?))
        }
        _ => Err(Failure::no_such_path()),
    }
}

/// What `/version` says. The git version names the sandbox, so that nobody mistakes it for a cluster.
fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": format!("v1.36.2+myelin-sandbox.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc", "platform": "sandbox/loopback",
    })
}

fn group((name, versions): &(String, Vec<String>)) -> Value {
    let entry = |version: &String| json!({"groupVersion": api_version(name, version), "version": version});
    let all: Vec<Value> = versions.iter().map(entry).collect();
    json!({"name": name, "versions": all, "preferredVersion": all.first()})
}

/// A resource and its subresources as `APIResource`s.
fn plain(resource: &Resource) -> Vec<Value> {
    let mut main = json!({
        "name": resource.gvr.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        main["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        main["categories"] = json!(resource.categories);
    }
    main["storageVersionHash"] = json!(storage_hash(resource));
    let mut out = vec![main];
    for sub in &resource.subresources {
        let mut entry = json!({
            "name": format!("{}/{}", resource.gvr.plural, sub.name), "singularName": "",
            "namespaced": resource.namespaced, "kind": sub.kind, "verbs": sub.verbs,
        });
        let (group, version) = &sub.group_version;
        if !version.is_empty() {
            entry["group"] = json!(group);
            entry["version"] = json!(version);
        }
        out.push(entry);
    }
    out
}

/// Something stable that changes with the storage version.
fn storage_hash(resource: &Resource) -> String {
    use base64::Engine as _;
    use sha2::Digest;
    let text = format!("{}/{}/{}", resource.gvr.group, resource.storage_version, resource.kind);
    base64::engine::general_purpose::STANDARD.encode(&sha2::Sha256::digest(text.as_bytes())[..8])
}

fn aggregated(served: &Served, core: bool) -> Reply {
    let mut items = Vec::new();
    for (group, versions) in served.groups.iter().filter(|(name, _)| name.is_empty() == core) {
        let versions: Vec<Value> = versions
            .iter()
            .map(|version| {
                let mut resources: Vec<Value> = served.in_version(group, version).map(|r| in_full(&r)).collect();
                resources.sort_by(|a, b| a["resource"].as_str().cmp(&b["resource"].as_str()));
                json!({"version": version, "freshness": "Current", "resources": resources})
            })
            .collect();
        let metadata = if group.is_empty() {
            json!({})
        } else {
            json!({"name": group})
        };
        items.push(json!({"metadata": metadata, "versions": versions}));
    }
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    });
    Reply::new(200, AGGREGATED, to_bytes(&body)).with("vary", "Accept")
}

fn in_full(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let own = if resource.is_custom() {
        kind(&resource.gvr.group, &resource.gvr.version, &resource.kind)
    } else {
        kind("", "", &resource.kind)
    };
    let mut out = json!({
        "resource": resource.gvr.plural, "responseKind": own,
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        out["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        out["categories"] = json!(resource.categories);
    }
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| {
            let (group, version) = &sub.group_version;
            let group = if resource.is_custom() && version.is_empty() {
                &resource.gvr.group
            } else {
                group
            };
            let version = if resource.is_custom() && version.is_empty() {
                &resource.gvr.version
            } else {
                version
            };
            json!({"subresource": sub.name, "responseKind": kind(group, version, &sub.kind), "verbs": sub.verbs})
        })
        .collect();
    if !subresources.is_empty() {
        out["subresources"] = json!(subresources);
    }
    out
}
