//! Ingresses, their classes, network policies, endpoints.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::access::{Fields, same, sub};
use super::super::errors::{Errors, Path};
use super::super::{names, selectors};
use super::number::one_of;

const SPEC: Path<'static> = Path::root("spec");

pub(super) fn ingress(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    if spec.items("rules").is_empty() && !spec.has("defaultBackend") {
        errors.invalid(
            &SPEC,
            super::super::errors::Shown::raw("[]"),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    let list = SPEC.child("tls");
    for (index, tls) in spec.items("tls").iter().enumerate() {
        let at = list.index(index);
        let hosts = at.child("hosts");
        for (index, name) in tls.texts("hosts").into_iter().enumerate() {
            host(name, &hosts.index(index), errors);
        }
        let secret = tls.text("secretName");
        if !secret.is_empty() {
            errors.invalid_each(&at.child("secretName"), secret, names::subdomain(secret));
        }
    }
    let list = SPEC.child("rules");
    for (index, rule) in spec.items("rules").iter().enumerate() {
        let at = list.index(index);
        let name = rule.text("host");
        if !name.is_empty() {
            if name.parse::<std::net::IpAddr>().is_ok() {
                errors.invalid(&at.child("host"), name, "must be a DNS name, not an IP address");
            } else {
                host(name, &at.child("host"), errors);
            }
        }
        let Some(http) = rule.at("http") else { continue };
        let http_path = at.child("http");
        let paths = http_path.child("paths");
        if http.items("paths").is_empty() {
            errors.required(&paths, "");
        }
        for (index, path) in http.items("paths").iter().enumerate() {
            route(path, &paths.index(index), errors);
        }
    }
    if let Some(default) = spec.at("defaultBackend") {
        backend(default, &SPEC.child("defaultBackend"), errors);
    }
    if let Some(class) = spec.at("ingressClassName").and_then(Value::as_str) {
        errors.invalid_each(&SPEC.child("ingressClassName"), class, names::subdomain(class));
    }
}

fn host(name: &str, path: &Path<'_>, errors: &mut Errors) {
    let problems = if name.contains('*') {
        names::wildcard_subdomain(name)
    } else {
        names::subdomain(name)
    };
    errors.invalid_each(path, name, problems);
}

fn route(route: &Value, at: &Path<'_>, errors: &mut Errors) {
    let place = route.text("path");
    match route.at("pathType").and_then(Value::as_str) {
        None => errors.required(&at.child("pathType"), "pathType must be specified"),
        Some("Exact" | "Prefix") => {
            if !place.starts_with('/') {
                errors.invalid(&at.child("path"), place, "must be an absolute path");
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"] {
                if place.contains(bad) {
                    errors.invalid(&at.child("path"), place, &format!("must not contain '{bad}'"));
                }
            }
            for bad in ["/..", "/."] {
                if place.ends_with(bad) {
                    errors.invalid(&at.child("path"), place, &format!("cannot end with '{bad}'"));
                }
            }
        }
        Some("ImplementationSpecific") => {
            if !place.is_empty() && !place.starts_with('/') {
                errors.invalid(&at.child("path"), place, "must be an absolute path");
            }
        }
        Some(other) => errors.unsupported(
            &at.child("pathType"),
            other,
            &["Exact", "ImplementationSpecific", "Prefix"],
        ),
    }
    backend(sub(route, "backend"), &at.child("backend"), errors);
}

fn backend(backend: &Value, at: &Path<'_>, errors: &mut Errors) {
    match (backend.at("service"), backend.at("resource")) {
        (Some(_), Some(_)) => errors.invalid(at, "", "cannot set both resource and service backends"),
        (None, None) => errors.required(at, "port name or number is required"),
        (None, Some(_)) => {}
        (Some(service), None) => {
            let at = at.child("service");
            let name = service.text("name");
            if name.is_empty() {
                errors.required(&at.child("name"), "");
            } else {
                errors.invalid_each(&at.child("name"), name, names::label(name));
            }
            let port = sub(service, "port");
            let (number, name) = (port.int("number").unwrap_or_default(), port.text("name"));
            let at = at.child("port");
            match (number != 0, !name.is_empty()) {
                (true, true) => errors.invalid(&at, "", "cannot set both port name & port number"),
                (false, false) => errors.required(&at, "port name or number is required"),
                (true, false) => {
                    for problem in names::port(number) {
                        errors.invalid(&at.child("number"), number, &problem);
                    }
                }
                (false, true) => errors.invalid_each(&at.child("name"), name, names::port_name(name)),
            }
        }
    }
}

pub(super) fn ingress_class(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let controller = spec.text("controller");
    if controller.len() > 250 {
        errors.too_long(&SPEC.child("controller"), 250);
    }
    if controller.is_empty() {
        errors.required(&SPEC.child("controller"), "");
    } else if !controller.contains('/') {
        errors.invalid(
            &SPEC.child("controller"),
            controller,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        );
    }
    if let Some(parameters) = spec.at("parameters") {
        let at = SPEC.child("parameters");
        for field in ["kind", "name"] {
            if parameters.text(field).is_empty() {
                errors.required(&at.child(field), &format!("{field} is required"));
            }
        }
        let (scope, namespace) = (parameters.text("scope"), parameters.text("namespace"));
        match scope {
            "Cluster" if parameters.has("namespace") => {
                errors.forbidden(&at.child("namespace"), "`parameters.scope` is set to 'Cluster'");
            }
            "Namespace" if namespace.is_empty() => {
                errors.required(&at.child("namespace"), "`parameters.scope` is set to 'Namespace'");
            }
            "Cluster" | "Namespace" => {}
            other => errors.unsupported(&at.child("scope"), other, &["Cluster", "Namespace"]),
        }
    }
}

pub(super) fn ingress_class_change(old: &Value, new: &Value, errors: &mut Errors) {
    let (was, is) = (sub(old, "spec").text("controller"), sub(new, "spec").text("controller"));
    if was != is {
        errors.invalid(&SPEC.child("controller"), is, "field is immutable");
    }
}

pub(super) fn network_policy(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    selectors::validate(spec.at("podSelector"), &SPEC.child("podSelector"), errors);
    for (rules, peers) in [("ingress", "from"), ("egress", "to")] {
        let list = SPEC.child(rules);
        for (index, rule) in spec.items(rules).iter().enumerate() {
            let at = list.index(index);
            let ports = at.child("ports");
            for (index, port) in rule.items("ports").iter().enumerate() {
                policy_port(port, &ports.index(index), errors);
            }
            let list = at.child(peers);
            for (index, peer) in rule.items(peers).iter().enumerate() {
                policy_peer(peer, &list.index(index), errors);
            }
        }
    }
    let types = spec.texts("policyTypes");
    let list = SPEC.child("policyTypes");
    if types.len() > 2 {
        errors.invalid(
            &list,
            sub(spec, "policyTypes"),
            "may not specify more than two policyTypes",
        );
    }
    for (index, kind) in types.into_iter().enumerate() {
        if !matches!(kind, "Ingress" | "Egress") {
            errors.unsupported(&list.index(index), kind, &["Egress", "Ingress"]);
        }
    }
}

fn policy_port(port: &Value, at: &Path<'_>, errors: &mut Errors) {
    one_of(port, "protocol", &["SCTP", "TCP", "UDP"], false, at, errors);
    match names::int_or_text(port, "port") {
        Some(Ok(number)) => {
            for problem in names::port(number) {
                errors.invalid(&at.child("port"), number, &problem);
            }
            if let Some(end) = port.int("endPort") {
                if end < number {
                    errors.invalid(&at.child("endPort"), end, "must be greater than or equal to `port`");
                }
                for problem in names::port(end) {
                    errors.invalid(&at.child("endPort"), end, &problem);
                }
            }
        }
        Some(Err(name)) => {
            if let Some(end) = port.int("endPort") {
                errors.invalid(
                    &at.child("endPort"),
                    end,
                    "may not be specified when `port` is non-numeric",
                );
            }
            errors.invalid_each(&at.child("port"), &name, names::port_name(&name));
        }
        None => {
            if let Some(end) = port.int("endPort") {
                errors.invalid(
                    &at.child("endPort"),
                    end,
                    "may not be specified when `port` is not specified",
                );
            }
        }
    }
}

fn policy_peer(peer: &Value, at: &Path<'_>, errors: &mut Errors) {
    let mut given = 0;
    for field in ["podSelector", "namespaceSelector"] {
        if let Some(selector) = peer.at(field) {
            given += 1;
            selectors::validate(Some(selector), &at.child(field), errors);
        }
    }
    if let Some(block) = peer.at("ipBlock") {
        let path = at.child("ipBlock");
        let cidr = block.text("cidr");
        if cidr.is_empty() {
            errors.required(&path.child("cidr"), "");
        } else {
            errors.invalid_each(&path.child("cidr"), cidr, names::cidr(cidr));
        }
        let list = path.child("except");
        for (index, except) in block.texts("except").into_iter().enumerate() {
            errors.invalid_each(&list.index(index), except, names::cidr(except));
        }
        if given > 0 {
            errors.forbidden(at, "may not specify both ipBlock and another peer");
        }
        given += 1;
    }
    if given == 0 {
        errors.required(at, "must specify a peer");
    }
}

pub(super) fn endpoints(object: &Value, errors: &mut Errors) {
    let list = Path::root("subsets");
    for (index, subset) in object.items("subsets").iter().enumerate() {
        let at = list.index(index);
        if subset.items("addresses").is_empty() && subset.items("notReadyAddresses").is_empty() {
            errors.required(&at, "must specify `addresses` or `notReadyAddresses`");
        }
        for field in ["addresses", "notReadyAddresses"] {
            let addresses = at.child(field);
            for (index, address) in subset.items(field).iter().enumerate() {
                let at = addresses.index(index);
                errors.invalid_each(&at.child("ip"), address.text("ip"), names::ip(address.text("ip")));
            }
        }
        let ports = at.child("ports");
        for (index, port) in subset.items("ports").iter().enumerate() {
            let at = ports.index(index);
            if port.text("name").is_empty() && subset.items("ports").len() > 1 {
                errors.required(&at.child("name"), "");
            }
            let number = port.int("port").unwrap_or_default();
            for problem in names::port(number) {
                errors.invalid(&at.child("port"), number, &problem);
            }
            one_of(port, "protocol", &["SCTP", "TCP", "UDP"], true, &at, errors);
        }
    }
}

pub(super) fn endpoint_slice(object: &Value, errors: &mut Errors) {
    let kind = object.text("addressType");
    let root = Path::root("addressType");
    if kind.is_empty() {
        errors.required(&root, "");
    } else if !matches!(kind, "FQDN" | "IPv4" | "IPv6") {
        errors.unsupported(&root, kind, &["FQDN", "IPv4", "IPv6"]);
    }
    let list = Path::root("endpoints");
    let all = object.items("endpoints");
    if all.len() > 1000 {
        errors.too_many(&list, all.len(), 1000);
    }
    for (index, endpoint) in all.iter().enumerate() {
        let at = list.index(index);
        let addresses = at.child("addresses");
        if endpoint.items("addresses").is_empty() {
            errors.required(&addresses, "must contain at least 1 address");
        }
        for (index, address) in endpoint.texts("addresses").into_iter().enumerate() {
            let at = addresses.index(index);
            match kind {
                "IPv4" if address.parse::<std::net::Ipv4Addr>().is_err() => {
                    errors.invalid(&at, address, "must be a valid IPv4 address");
                }
                "IPv6" if address.parse::<std::net::Ipv6Addr>().is_err() => {
                    errors.invalid(&at, address, "must be a valid IPv6 address");
                }
                "FQDN" => errors.invalid_each(&at, address, names::subdomain(address)),
                _ => {}
            }
        }
    }
    let list = Path::root("ports");
    let mut seen = BTreeSet::new();
    for (index, port) in object.items("ports").iter().enumerate() {
        let at = list.index(index);
        let name = port.text("name");
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        if !name.is_empty() {
            errors.invalid_each(&at.child("name"), name, names::label(name));
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], true, &at, errors);
        if let Some(number) = port.int("port") {
            for problem in names::port(number) {
                errors.invalid(&at.child("port"), number, &problem);
            }
        }
    }
}

pub(super) fn endpoint_slice_change(old: &Value, new: &Value, errors: &mut Errors) {
    if !same(old.at("addressType"), new.at("addressType")) {
        errors.invalid(&Path::root("addressType"), new.at("addressType"), "field is immutable");
    }
}
