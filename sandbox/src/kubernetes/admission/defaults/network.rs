//! Defaults of services and of what routes to them.

use serde_json::{Value, json};

use super::super::access::{Fields, default, default_text, set, struct_mut, sub};
use super::for_each;

pub(super) fn service(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    default_text(spec, "sessionAffinity", "None");
    if spec.text("sessionAffinity") == "None" {
        super::super::access::remove(spec, "sessionAffinityConfig");
    } else if spec.text("sessionAffinity") == "ClientIP"
        && let Some(client) =
            struct_mut(spec, "sessionAffinityConfig").and_then(|config| struct_mut(config, "clientIP"))
    {
        default(client, "timeoutSeconds", 10800);
    }
    default_text(spec, "type", "ClusterIP");
    for_each(spec, "ports", |port| {
        default_text(port, "protocol", "TCP");
        let unset = match port.at("targetPort") {
            None => true,
            Some(value) => value.as_i64() == Some(0) || value.as_str() == Some(""),
        };
        if unset {
            let number = sub(port, "port").clone();
            set(port, "targetPort", number);
        }
    });
    let kind = spec.text("type").to_owned();
    let reachable = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || kind == "ClusterIP" && !spec.items("externalIPs").is_empty();
    if reachable {
        default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind == "LoadBalancer"
        && let Some(status) = struct_mut(object, "status").and_then(|status| struct_mut(status, "loadBalancer"))
    {
        for_each(status, "ingress", |ingress| {
            if !ingress.text("ip").is_empty() {
                default(ingress, "ipMode", "VIP");
            }
        });
    }
}

pub(super) fn endpoints(object: &mut Value) {
    for_each(object, "subsets", |subset| {
        for_each(subset, "ports", |port| default_text(port, "protocol", "TCP"));
    });
}

pub(super) fn endpoint_slice(object: &mut Value) {
    for_each(object, "ports", |port| {
        default(port, "name", "");
        default(port, "protocol", "TCP");
    });
}

pub(super) fn network_policy(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    if spec.items("policyTypes").is_empty() {
        let types = if spec.items("egress").is_empty() {
            json!(["Ingress"])
        } else {
            json!(["Ingress", "Egress"])
        };
        set(spec, "policyTypes", types);
    }
    for rules in ["ingress", "egress"] {
        for_each(spec, rules, |rule| {
            for_each(rule, "ports", |port| default(port, "protocol", "TCP"));
        });
    }
}

pub(super) fn ingress_class(object: &mut Value) {
    if let Some(parameters) = object
        .get_mut("spec")
        .and_then(|spec| spec.get_mut("parameters"))
        .filter(|value| value.is_object())
    {
        default(parameters, "scope", "Cluster");
    }
}
