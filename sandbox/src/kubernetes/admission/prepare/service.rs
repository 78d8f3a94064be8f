//! How a Service keeps what it was given: addresses and node ports that an update does not mention stay, and those that its new
//! type has no use for go. Handing out new ones is the registry's.

use serde_json::{Value, json};

use super::super::access::{Fields, copy, default, items_mut, remove, same, set, struct_mut, sub};

fn kind(spec: &Value) -> &str {
    spec.text("type")
}

fn has_cluster_ip(spec: &Value) -> bool {
    matches!(kind(spec), "ClusterIP" | "NodePort" | "LoadBalancer" | "")
}

fn has_node_ports(spec: &Value) -> bool {
    kind(spec) == "NodePort"
        || kind(spec) == "LoadBalancer" && sub(spec, "allocateLoadBalancerNodePorts").as_bool() != Some(false)
}

fn has_health_port(spec: &Value) -> bool {
    kind(spec) == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local"
}

fn reachable(spec: &Value) -> bool {
    matches!(kind(spec), "NodePort" | "LoadBalancer")
        || kind(spec) == "ClusterIP" && !spec.items("externalIPs").is_empty()
}

pub(super) fn for_create(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    if !spec.text("clusterIP").is_empty() && spec.items("clusterIPs").is_empty() {
        let ip = spec.text("clusterIP").to_owned();
        set(spec, "clusterIPs", json!([ip]));
    }
    families(spec);
}

pub(super) fn for_update(object: &mut Value, old: &Value) {
    let old = sub(old, "spec");
    let Some(spec) = struct_mut(object, "spec") else { return };
    normalize(spec, old);
    drop_unused(spec, old);
    keep_allocated(spec, old);
    families(spec);
}

/// `clusterIP` and `clusterIPs` say the same; whichever the writer changed wins.
fn normalize(spec: &mut Value, old: &Value) {
    let (is, was) = (spec.text("clusterIP").to_owned(), old.text("clusterIP").to_owned());
    let same_list = same(spec.at("clusterIPs"), old.at("clusterIPs"));
    if is == was {
        if spec.items("clusterIPs").is_empty() && !is.is_empty() && !same_list && old.items("clusterIPs").len() <= 1 {
            set(spec, "clusterIPs", json!([is]));
        }
    } else if same_list || spec.items("clusterIPs").is_empty() {
        if is.is_empty() {
            remove(spec, "clusterIPs");
        } else {
            set(spec, "clusterIPs", json!([is]));
        }
    }
}

/// Fields of the old type that the writer left alone do not survive a change of type.
fn drop_unused(spec: &mut Value, old: &Value) {
    if has_cluster_ip(old) && !has_cluster_ip(spec) && same(spec.at("clusterIPs"), old.at("clusterIPs")) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            remove(spec, field);
        }
    }
    if has_node_ports(old) && !has_node_ports(spec) && same_node_ports(spec, old) {
        for port in items_mut(spec, "ports") {
            remove(port, "nodePort");
        }
    }
    let gone = [
        ("healthCheckNodePort", has_health_port(old) && !has_health_port(spec)),
        (
            "allocateLoadBalancerNodePorts",
            kind(old) == "LoadBalancer" && kind(spec) != "LoadBalancer",
        ),
        (
            "loadBalancerClass",
            kind(old) == "LoadBalancer" && kind(spec) != "LoadBalancer",
        ),
        ("externalTrafficPolicy", reachable(old) && !reachable(spec)),
        (
            "internalTrafficPolicy",
            kind(old) != "ExternalName" && kind(spec) == "ExternalName",
        ),
    ];
    for (field, gone) in gone {
        if gone && same(spec.at(field), old.at(field)) {
            remove(spec, field);
        }
    }
}

fn same_node_ports(spec: &Value, old: &Value) -> bool {
    let ports = |spec: &Value| {
        spec.items("ports")
            .iter()
            .filter_map(|port| port.int("nodePort"))
            .collect::<std::collections::BTreeSet<_>>()
    };
    ports(spec) == ports(old)
}

/// A PUT that does not name them keeps the address and the node ports.
fn keep_allocated(spec: &mut Value, old: &Value) {
    if has_cluster_ip(old) && has_cluster_ip(spec) {
        if spec.text("clusterIP").is_empty() {
            copy(spec, old, "clusterIP");
        }
        if spec.items("clusterIPs").is_empty() && spec.text("clusterIP") == old.text("clusterIP") {
            copy(spec, old, "clusterIPs");
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if !spec.has(field) {
                copy(spec, old, field);
            }
        }
    }
    if has_node_ports(old) && has_node_ports(spec) {
        let key = |port: &Value| (port.int("port"), port.text("protocol").to_owned());
        let known: Vec<_> = old
            .items("ports")
            .iter()
            .map(|port| (key(port), port.int("nodePort")))
            .collect();
        let mut used: Vec<i64> = spec
            .items("ports")
            .iter()
            .filter_map(|port| port.int("nodePort"))
            .collect();
        for port in items_mut(spec, "ports") {
            if port.int("nodePort").unwrap_or_default() == 0
                && let Some((_, Some(number))) = known.iter().find(|(known, _)| *known == key(port))
                && !used.contains(number)
            {
                used.push(*number);
                set(port, "nodePort", *number);
            }
        }
    }
    if has_health_port(old) && has_health_port(spec) && spec.int("healthCheckNodePort").unwrap_or_default() == 0 {
        copy(spec, old, "healthCheckNodePort");
    }
}

/// The IP families of a single-stack IPv4 cluster, where the writer names none.
fn families(spec: &mut Value) {
    if !has_cluster_ip(spec) {
        return;
    }
    let headless = spec.text("clusterIP") == "None";
    let selects = spec.map("selector").is_some_and(|selector| !selector.is_empty());
    if headless && !selects {
        default(spec, "ipFamilyPolicy", "RequireDualStack");
    } else {
        default(spec, "ipFamilyPolicy", "SingleStack");
    }
    if spec.items("ipFamilies").is_empty() {
        let v6 = spec.text("clusterIP").contains(':');
        let dual = headless && !selects && spec.text("ipFamilyPolicy") != "SingleStack";
        set(
            spec,
            "ipFamilies",
            if dual {
                json!(["IPv4", "IPv6"])
            } else if v6 {
                json!(["IPv6"])
            } else {
                json!(["IPv4"])
            },
        );
    }
}
