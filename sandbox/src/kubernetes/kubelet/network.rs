//! Addresses inside the cluster: Services with ready endpoints, and pods.
//!
//! A name is resolved as the cluster's DNS would. A port is open if a ready pod is behind it; whether a program really
//! listens there is unknown, and is assumed for every ready pod.

use serde_json::Value;

use super::shell::Reach;
use crate::kubernetes::controllers::world::World;
use crate::kubernetes::controllers::{endpoints, object, pods};

/// The result of a connection from a namespace to a host and port. Port 0 only checks whether there is a ready pod.
pub(crate) fn answer(world: &World, namespace: &str, host: &str, port: u16) -> Reach {
    if host == "localhost" || host == "127.0.0.1" {
        return Reach::Refused;
    }
    if host.parse::<std::net::IpAddr>().is_ok() {
        let mut services = world.cache.all("services");
        if let Some(service) = services.find(|service| object::text(service.value(), "/spec/clusterIP") == host) {
            return behind(world, service.value(), port);
        }
        let mut pods = world.cache.all("pods");
        let pod =
            pods.find(|pod| object::text(pod.value(), "/status/podIP") == host && !pods::is_finished(pod.value()));
        return pod.map_or(Reach::Silent, |pod| {
            if pods::is_ready(pod.value()) {
                Reach::Open
            } else {
                Reach::Refused
            }
        });
    }
    let name = host.trim_end_matches('.');
    let name = name
        .strip_suffix(".svc.cluster.local")
        .or_else(|| name.strip_suffix(".svc"))
        .unwrap_or(name);
    let parts: Vec<&str> = name.split('.').collect();
    let found = match parts.as_slice() {
        [service] => world.cache.find("services", namespace, service).map(|s| (s, None)),
        [first, second] => match world.cache.find("services", second, first) {
            Some(service) => Some((service, None)),
            None => world
                .cache
                .find("services", namespace, second)
                .map(|s| (s, Some(*first))),
        },
        [pod, service, space] => world.cache.find("services", space, service).map(|s| (s, Some(*pod))),
        _ => None,
    };
    match found {
        None => Reach::Unknown,
        Some((service, None)) => behind(world, service.value(), port),
        Some((service, Some(hostname))) => {
            let named = |pod: &Value| {
                object::text(pod, "/spec/hostname") == hostname
                    && object::text(pod, "/spec/subdomain") == service.name()
            };
            let pods = endpoints::pods_behind(world, service.value());
            // A pod has a name when it is ready, or when its Service publishes it before.
            let up = pods
                .iter()
                .find(|pod| named(pod.value()) && is_up(service.value(), pod.value()));
            up.map_or(Reach::Unknown, |_| Reach::Open)
        }
    }
}

fn is_up(service: &Value, pod: &Value) -> bool {
    (service["spec"]["publishNotReadyAddresses"] == true || pods::is_ready(pod)) && !object::is_deleting(pod)
}

fn behind(world: &World, service: &Value, port: u16) -> Reach {
    let headless = service["spec"]["clusterIP"] == "None";
    let api = object::name(service) == "kubernetes" && object::namespace(service) == "default";
    let up = api
        || endpoints::pods_behind(world, service)
            .iter()
            .any(|pod| is_up(service, pod.value()));
    let mut ports = object::list(service, "/spec/ports")
        .iter()
        .filter_map(|p| p["port"].as_i64());
    if headless {
        // Without an endpoint the name has no address.
        return if up { Reach::Open } else { Reach::Unknown };
    }
    if port != 0 && !ports.any(|p| p == i64::from(port)) {
        return Reach::Silent;
    }
    if up { Reach::Open } else { Reach::Refused }
}
