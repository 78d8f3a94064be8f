//! Services: ports, types, addresses and families, and what an update may change.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::access::{Fields, same, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::{gojson, metadata, names};
use super::number::one_of;

const SPEC: Path<'static> = Path::root("spec");

pub(super) fn service(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let kind = spec.text("type");
    let headless = spec.text("clusterIP") == "None";
    if spec.items("ports").is_empty() && !headless && kind != "ExternalName" {
        errors.required(&SPEC.child("ports"), "");
    }
    match kind {
        "LoadBalancer" => {
            let ports = SPEC.child("ports");
            for (index, port) in spec.items("ports").iter().enumerate() {
                if port.int("port") == Some(10250) {
                    errors.invalid(
                        &ports.index(index),
                        10250,
                        "may not expose port 10250 externally since it is used by kubelet",
                    );
                }
            }
            if headless {
                errors.invalid(
                    &SPEC.child("clusterIPs[0]"),
                    "None",
                    "may not be set to 'None' for LoadBalancer services",
                );
            }
        }
        "NodePort" if headless => {
            errors.invalid(
                &SPEC.child("clusterIPs[0]"),
                "None",
                "may not be set to 'None' for NodePort services",
            );
        }
        "ExternalName" => {
            let name = spec.text("externalName");
            if !spec.text("clusterIP").is_empty() || !spec.items("clusterIPs").is_empty() {
                errors.forbidden(&SPEC.child("clusterIPs"), "may not be set for ExternalName services");
            }
            let trimmed = name.strip_suffix('.').unwrap_or(name);
            if name.is_empty() {
                errors.required(&SPEC.child("externalName"), "");
            } else {
                errors.invalid_each(&SPEC.child("externalName"), name, names::subdomain(trimmed));
            }
        }
        _ => {}
    }
    ports(spec, errors);
    metadata::labels(spec.at("selector"), &SPEC.child("selector"), errors);
    one_of(spec, "sessionAffinity", &["ClientIP", "None"], true, &SPEC, errors);
    affinity(spec, errors);
    if kind != "ExternalName" {
        addresses(spec, errors);
    }
    let list = SPEC.child("externalIPs");
    for (index, ip) in spec.texts("externalIPs").into_iter().enumerate() {
        errors.invalid_each(&list.index(index), ip, names::ip(ip));
    }
    match kind {
        "" => errors.required(&SPEC.child("type"), ""),
        "ClusterIP" | "ExternalName" | "LoadBalancer" | "NodePort" => {}
        other => errors.unsupported(
            &SPEC.child("type"),
            other,
            &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        ),
    }
    node_ports(spec, errors);
    load_balancer(spec, errors);
    traffic(spec, errors);
}

fn ports(spec: &Value, errors: &mut Errors) {
    let list = SPEC.child("ports");
    let all = spec.items("ports");
    let mut seen = BTreeSet::new();
    for (index, port) in all.iter().enumerate() {
        let path = list.index(index);
        let name = port.text("name");
        if name.is_empty() {
            if all.len() > 1 {
                errors.required(&path.child("name"), "");
            }
        } else {
            errors.invalid_each(&path.child("name"), name, names::label(name));
            if !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        let number = port.int("port").unwrap_or_default();
        for problem in names::port(number) {
            errors.invalid(&path.child("port"), number, &problem);
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], true, &path, errors);
        match names::int_or_text(port, "targetPort") {
            Some(Ok(target)) => {
                for problem in names::port(target) {
                    errors.invalid(&path.child("targetPort"), target, &problem);
                }
            }
            Some(Err(target)) => errors.invalid_each(&path.child("targetPort"), &target, names::port_name(&target)),
            None => {}
        }
        let protocol = port.text("appProtocol");
        if !protocol.is_empty() {
            errors.invalid_each(&path.child("appProtocol"), protocol, names::qualified_name(protocol));
        }
    }
    let mut pairs: Vec<(i64, &str)> = Vec::new();
    for (index, port) in all.iter().enumerate() {
        let pair = (port.int("port").unwrap_or_default(), port.text("protocol"));
        if pairs.contains(&pair) {
            let text = format!(
                "{{\"Name\":\"\",\"Protocol\":{},\"AppProtocol\":null,\"Port\":{},\"TargetPort\":0,\"NodePort\":0}}",
                gojson::string(pair.1),
                pair.0
            );
            errors.duplicate(&list.index(index), Shown::raw(text));
        } else {
            pairs.push(pair);
        }
    }
}

fn affinity(spec: &Value, errors: &mut Errors) {
    let config = SPEC.child("sessionAffinityConfig");
    let client = config.child("clientIP");
    let at = client.child("timeoutSeconds");
    match spec.text("sessionAffinity") {
        "ClientIP" => {
            let seconds = sub(sub(spec, "sessionAffinityConfig"), "clientIP")
                .int("timeoutSeconds")
                .unwrap_or_default();
            if !(1..=86400).contains(&seconds) {
                errors.invalid(&at, seconds, "must be greater than 0 and less than 86400");
            }
        }
        _ if spec.has("sessionAffinityConfig") => {
            errors.forbidden(
                &config,
                &format!(
                    "must not be set when session affinity is {}",
                    spec.text("sessionAffinity")
                ),
            );
        }
        _ => {}
    }
}

fn addresses(spec: &Value, errors: &mut Errors) {
    let list = SPEC.child("clusterIPs");
    let all = spec.texts("clusterIPs");
    let first = spec.text("clusterIP");
    if all.is_empty() && !first.is_empty() {
        errors.required(&list, "");
    }
    if !all.is_empty() && first.is_empty() {
        errors.invalid(
            &list,
            Shown::from(sub(spec, "clusterIPs")),
            "clusterIPs must be empty when clusterIP is not specified",
        );
    }
    if all.first().is_some_and(|ip| !first.is_empty() && *ip != first) {
        errors.invalid(
            &list,
            Shown::from(sub(spec, "clusterIPs")),
            "first value must match `clusterIP`",
        );
    }
    for (index, ip) in all.iter().enumerate() {
        if index == 0 && *ip == "None" {
            if all.len() > 1 {
                errors.invalid(
                    &list,
                    Shown::from(sub(spec, "clusterIPs")),
                    "'None' must be the first and only value",
                );
            }
            return;
        }
        if !ip.is_empty() {
            errors.invalid_each(&list.index(index), ip, names::ip(ip));
        }
    }
    if all.len() > 2 {
        errors.invalid(
            &list,
            Shown::from(sub(spec, "clusterIPs")),
            "may only hold up to 2 values",
        );
    }
    let families = SPEC.child("ipFamilies");
    let mut seen = BTreeSet::new();
    for (index, family) in spec.texts("ipFamilies").into_iter().enumerate() {
        if !matches!(family, "IPv4" | "IPv6") {
            errors.unsupported(&families.index(index), family, &["IPv4", "IPv6"]);
        } else if !seen.insert(family) {
            errors.duplicate(&families.index(index), family);
        }
    }
    one_of(
        spec,
        "ipFamilyPolicy",
        &["PreferDualStack", "RequireDualStack", "SingleStack"],
        false,
        &SPEC,
        errors,
    );
}

fn node_ports(spec: &Value, errors: &mut Errors) {
    let kind = spec.text("type");
    let list = SPEC.child("ports");
    let mut seen: Vec<(i64, &str)> = Vec::new();
    for (index, port) in spec.items("ports").iter().enumerate() {
        let number = port.int("nodePort").unwrap_or_default();
        if number == 0 {
            continue;
        }
        let path = list.index(index);
        if kind == "ClusterIP" {
            errors.forbidden(&path.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
            continue;
        }
        let pair = (number, port.text("protocol"));
        if seen.contains(&pair) {
            errors.duplicate(&path.child("nodePort"), number);
        } else {
            seen.push(pair);
        }
    }
}

fn load_balancer(spec: &Value, errors: &mut Errors) {
    let balanced = spec.text("type") == "LoadBalancer";
    let list = SPEC.child("loadBalancerSourceRanges");
    if !balanced && spec.has("loadBalancerSourceRanges") && !spec.items("loadBalancerSourceRanges").is_empty() {
        errors.forbidden(&list, "may only be used when `type` is 'LoadBalancer'");
    }
    if balanced {
        for (index, range) in spec.texts("loadBalancerSourceRanges").into_iter().enumerate() {
            errors.invalid_each(&list.index(index), range, names::cidr(range.trim()));
        }
    }
    if !balanced && spec.has("allocateLoadBalancerNodePorts") {
        errors.forbidden(
            &SPEC.child("allocateLoadBalancerNodePorts"),
            "may only be used when `type` is 'LoadBalancer'",
        );
    }
    if balanced && !spec.has("allocateLoadBalancerNodePorts") {
        errors.required(&SPEC.child("allocateLoadBalancerNodePorts"), "");
    }
    if let Some(class) = spec.at("loadBalancerClass").and_then(Value::as_str) {
        if balanced {
            errors.invalid_each(&SPEC.child("loadBalancerClass"), class, names::qualified_name(class));
        } else {
            errors.forbidden(
                &SPEC.child("loadBalancerClass"),
                "may only be used when `type` is 'LoadBalancer'",
            );
        }
    }
}

fn traffic(spec: &Value, errors: &mut Errors) {
    let kind = spec.text("type");
    let reachable =
        matches!(kind, "NodePort" | "LoadBalancer") || kind == "ClusterIP" && !spec.items("externalIPs").is_empty();
    let policy = spec.text("externalTrafficPolicy");
    let at = SPEC.child("externalTrafficPolicy");
    if reachable {
        if policy.is_empty() {
            errors.required(&at, "");
        } else if !matches!(policy, "Cluster" | "Local") {
            errors.unsupported(&at, policy, &["Cluster", "Local"]);
        }
    } else if !policy.is_empty() {
        errors.invalid(&at, policy, "may only be set for externally-accessible services");
    }
    if spec.int("healthCheckNodePort").unwrap_or_default() != 0 && !(kind == "LoadBalancer" && policy == "Local") {
        errors.invalid(
            &SPEC.child("healthCheckNodePort"),
            spec.int("healthCheckNodePort").unwrap_or_default(),
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'",
        );
    }
    if kind != "ExternalName" {
        one_of(
            spec,
            "internalTrafficPolicy",
            &["Cluster", "Local"],
            true,
            &SPEC,
            errors,
        );
    }
    one_of(
        spec,
        "trafficDistribution",
        &["PreferClose", "PreferSameNode", "PreferSameZone"],
        false,
        &SPEC,
        errors,
    );
}

/// Addresses are for life, unless the type changes to one that has none.
pub(super) fn change(old: &Value, new: &Value, errors: &mut Errors) {
    let (before, after) = (sub(old, "spec"), sub(new, "spec"));
    let list = SPEC.child("clusterIPs");
    let addressed = |spec: &Value| spec.text("type") != "ExternalName";
    if addressed(before) && addressed(after) {
        for (index, was) in before.texts("clusterIPs").into_iter().enumerate() {
            if was.is_empty() {
                continue;
            }
            match after.texts("clusterIPs").get(index) {
                Some(is) if *is == was => {}
                Some(_) => errors.invalid(
                    &list.index(index),
                    Shown::from(sub(after, "clusterIPs")),
                    "may not change once set",
                ),
                None if index == 0 => errors.invalid(
                    &list.index(0),
                    Shown::from(after.at("clusterIPs")),
                    "primary clusterIP can not be unset",
                ),
                None => {}
            }
        }
        if let (Some(was), Some(is)) = (before.texts("ipFamilies").first(), after.texts("ipFamilies").first())
            && was != is
        {
            errors.invalid(
                &SPEC.child("ipFamilies[0]"),
                Shown::from(sub(after, "ipFamilies")),
                "may not change once set",
            );
        }
    }
    if before.text("type") == "LoadBalancer"
        && after.text("type") == "LoadBalancer"
        && !same(before.at("loadBalancerClass"), after.at("loadBalancerClass"))
    {
        errors.invalid(
            &SPEC.child("loadBalancerClass"),
            after.at("loadBalancerClass"),
            "may not change once set",
        );
    }
}
