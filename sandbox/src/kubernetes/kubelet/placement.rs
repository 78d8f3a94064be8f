//! Whether a pod fits a node. Pure, given what is already on the node.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::kubernetes::controllers::{amount, object};

/// Why a node does not fit, with the scheduler's message, and whether removing other pods could help.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unfit {
    pub(crate) reason: String,
    pub(crate) curable: bool,
}

/// Usage of a node: resources in thousandths, host ports with the number of their users, pods.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken {
    pub(crate) resources: BTreeMap<String, i128>,
    pub(crate) ports: BTreeMap<(String, i64), u32>,
    pub(crate) pods: i128,
}

impl Taken {
    /// A pod comes to the node.
    pub(crate) fn add(&mut self, spec: &Value) {
        self.pods += 1;
        for (name, amount) in requests(spec) {
            *self.resources.entry(name).or_default() += amount;
        }
        for port in host_ports(spec) {
            *self.ports.entry(port).or_default() += 1;
        }
    }

    /// A pod that was added leaves it.
    pub(crate) fn remove(&mut self, spec: &Value) {
        self.pods -= 1;
        for (name, amount) in requests(spec) {
            *self.resources.entry(name).or_default() -= amount;
        }
        for port in host_ports(spec) {
            if let Some(holders) = self.ports.get_mut(&port) {
                *holders = holders.saturating_sub(1);
                if *holders == 0 {
                    self.ports.remove(&port);
                }
            }
        }
    }
}

/// Two quantities as one.
pub(super) fn sum(left: &str, right: &str) -> String {
    amount::show(amount::millis(left).unwrap_or(0) + amount::millis(right).unwrap_or(0))
}

/// A pod's requests: the larger of its init containers and its containers together.
pub(crate) fn requests(spec: &Value) -> BTreeMap<String, i128> {
    let of = |container: &Value| -> BTreeMap<String, i128> {
        let requests = container["resources"]["requests"].as_object().into_iter().flatten();
        requests
            .filter_map(|(name, amount)| Some((name.clone(), amount::millis(amount.as_str()?)?)))
            .collect()
    };
    let mut total: BTreeMap<String, i128> = BTreeMap::new();
    let sidecars = object::list(spec, "/initContainers")
        .iter()
        .filter(|c| c["restartPolicy"] == "Always");
    for container in object::list(spec, "/containers").iter().chain(sidecars) {
        for (name, amount) in of(container) {
            *total.entry(name).or_default() += amount;
        }
    }
    for container in object::list(spec, "/initContainers") {
        for (name, amount) in of(container) {
            let slot = total.entry(name).or_default();
            *slot = (*slot).max(amount);
        }
    }
    total
}

/// The host ports that a pod takes.
pub(crate) fn host_ports(spec: &Value) -> BTreeSet<(String, i64)> {
    let ports = object::list(spec, "/containers")
        .iter()
        .flat_map(|c| object::list(c, "/ports"));
    ports
        .filter_map(|port| {
            Some((
                port["protocol"].as_str().unwrap_or("TCP").to_owned(),
                port["hostPort"].as_i64().filter(|p| *p > 0)?,
            ))
        })
        .collect()
}

fn tolerates(spec: &Value, taint: &Value) -> bool {
    object::list(spec, "/tolerations").iter().any(|toleration| {
        let effect = toleration["effect"].as_str().unwrap_or_default();
        let key = toleration["key"].as_str().unwrap_or_default();
        (effect.is_empty() || taint["effect"] == effect)
            && match toleration["operator"].as_str().unwrap_or("Equal") {
                "Exists" => key.is_empty() || taint["key"] == key,
                _ => {
                    taint["key"] == key
                        && taint["value"].as_str().unwrap_or_default()
                            == toleration["value"].as_str().unwrap_or_default()
                }
            }
    })
}

fn requirement(found: Option<&str>, expression: &Value) -> bool {
    let values: Vec<&str> = object::list(expression, "/values")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let number = |text: &str| text.parse::<i64>().ok();
    match expression["operator"].as_str().unwrap_or_default() {
        "In" => found.is_some_and(|v| values.contains(&v)),
        "NotIn" => found.is_none_or(|v| !values.contains(&v)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => found.and_then(number) > values.first().copied().and_then(number),
        "Lt" => found
            .and_then(number)
            .is_some_and(|n| values.first().copied().and_then(number).is_some_and(|m| n < m)),
        _ => false,
    }
}

/// Whether a pod's node selector and required affinity accept a node.
fn selects(spec: &Value, node: &Value) -> bool {
    let labels = &node["metadata"]["labels"];
    let label = |key: &str| labels.get(key).and_then(Value::as_str);
    let plain = spec["nodeSelector"]
        .as_object()
        .is_none_or(|map| map.iter().all(|(key, value)| label(key) == value.as_str()));
    let terms = object::list(
        spec,
        "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    );
    let affinity = terms.is_empty()
        || terms.iter().any(|term| {
            object::list(term, "/matchExpressions")
                .iter()
                .all(|e| requirement(label(e["key"].as_str().unwrap_or_default()), e))
                && object::list(term, "/matchFields")
                    .iter()
                    .all(|e| requirement(Some(object::name(node)), e))
        });
    plain && affinity
}

/// Whether a DaemonSet's pods belong on a node.
pub(crate) fn daemon_fits(spec: &Value, node: &Value) -> bool {
    let named = spec["nodeName"].as_str().is_none_or(|name| name == object::name(node));
    let implied = [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
        "node.kubernetes.io/unschedulable",
    ];
    let mut taints = object::list(node, "/spec/taints")
        .iter()
        .filter(|taint| taint["effect"] != "PreferNoSchedule");
    named
        && selects(spec, node)
        && taints.all(|taint| implied.iter().any(|key| taint["key"] == *key) || tolerates(spec, taint))
}

/// Whether a pod fits a node with what is taken there.
pub(crate) fn fits(spec: &Value, node: &Value, taken: &Taken) -> Result<(), Vec<Unfit>> {
    let one = |reason: &str, curable| {
        Err(vec![Unfit {
            reason: reason.to_owned(),
            curable,
        }])
    };
    let unschedulable = serde_json::json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    if node["spec"]["unschedulable"] == true && !tolerates(spec, &unschedulable) {
        return one("node(s) were unschedulable", false);
    }
    if !object::condition(node, "Ready").is_some_and(|c| c["status"] == "True") {
        return one("node(s) had untolerated taint(s)", false);
    }
    let blocking = |taint: &&Value| taint["effect"] != "PreferNoSchedule" && !tolerates(spec, taint);
    if object::list(node, "/spec/taints").iter().any(|taint| blocking(&taint)) {
        return one("node(s) had untolerated taint(s)", false);
    }
    if !selects(spec, node) {
        return one("node(s) didn't match Pod's node affinity/selector", false);
    }
    if host_ports(spec).iter().any(|port| taken.ports.contains_key(port)) {
        return one("node(s) didn't have free ports for the requested pod ports", true);
    }
    let room = |name: &str| {
        node["status"]["allocatable"][name]
            .as_str()
            .and_then(amount::millis)
            .unwrap_or(0)
    };
    let mut short = Vec::new();
    if taken.pods * 1000 + 1000 > room("pods") {
        short.push(Unfit {
            reason: "Too many pods".to_owned(),
            curable: true,
        });
    }
    for (name, asked) in requests(spec) {
        let used = taken.resources.get(&name).copied().unwrap_or(0);
        if asked > 0 && used + asked > room(&name) {
            short.push(Unfit {
                reason: format!("Insufficient {name}"),
                curable: asked <= room(&name),
            });
        }
    }
    if short.is_empty() { Ok(()) } else { Err(short) }
}
