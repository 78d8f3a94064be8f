//! Addresses and node ports of services: allocated at random from their ranges, or as requested if they are free. An
//! allocation is reserved until the write is done; after that the stored service itself is the claim.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::super::access::{Fields, items_mut, set, struct_mut, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::gojson;
use crate::kubernetes::registry::{Failure, Registry};
use crate::kubernetes::schema::resources::Resource;

/// The service network: 10.0.0.0/16.
const NETWORK: u32 = 0x0a00_0000;
const HOSTS: u32 = 1 << 16;
/// The ports of nodes that services may have.
const PORTS: std::ops::RangeInclusive<i64> = 30000..=32767;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    Address(String),
    Port(String, i64),
}

/// What writes under way have taken.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pending: Mutex<BTreeSet<Claim>>,
}

/// An allocation from a pool. Dropping it returns it; by then the stored object has it, or nobody does.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    pool: &'a Pool,
    claims: Vec<Claim>,
}

impl Reservation<'_> {
    /// The write is done.
    pub(crate) fn keep(self) {}
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.claims.is_empty() {
            return;
        }
        let mut pending = self.pool.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for claim in &self.claims {
            pending.remove(claim);
        }
    }
}

fn claims_of(spec: &Value) -> Vec<Claim> {
    let mut out: Vec<Claim> = spec
        .texts("clusterIPs")
        .into_iter()
        .filter(|ip| !matches!(*ip, "" | "None"))
        .map(|ip| Claim::Address(ip.to_owned()))
        .collect();
    for port in spec.items("ports") {
        if let Some(number) = port.int("nodePort").filter(|number| *number != 0) {
            out.push(Claim::Port(port.text("protocol").to_owned(), number));
        }
    }
    if let Some(number) = spec.int("healthCheckNodePort").filter(|number| *number != 0) {
        out.push(Claim::Port("TCP".to_owned(), number));
    }
    out
}

/// Gives a service what its type needs and it does not have yet.
pub(crate) fn allocate<'a>(
    registry: &'a Registry,
    resource: &Resource,
    old: Option<&Value>,
    new: &mut Value,
    _dry_run: bool,
) -> Result<Reservation<'a>, Failure> {
    let mut reservation = Reservation {
        pool: registry.pool(),
        claims: Vec::new(),
    };
    if &*resource.storage != "services" {
        return Ok(reservation);
    }
    let had = old.map(|old| claims_of(sub(old, "spec"))).unwrap_or_default();
    let mut pending = registry.pool().pending.lock().unwrap_or_else(PoisonError::into_inner);
    let mut taken: BTreeSet<Claim> = pending.clone();
    let (name, namespace) = (
        sub(new, "metadata").text("name").to_owned(),
        sub(new, "metadata").text("namespace").to_owned(),
    );
    let needs_all = claims_of(sub(new, "spec")).iter().any(|claim| !had.contains(claim)) || lacks(sub(new, "spec"));
    if needs_all {
        for service in registry.list("services", None, None).unwrap_or_default() {
            if service.name() != name || service.namespace() != namespace {
                taken.extend(claims_of(sub(service.value(), "spec")));
            }
        }
    }
    let mut errors = Errors::new();
    let Some(spec) = struct_mut(new, "spec") else {
        return Ok(reservation);
    };
    let mut claims = Vec::new();
    address(spec, &had, &taken, &mut claims, &mut errors);
    ports(spec, &had, &taken, &mut claims, &mut errors);
    if !errors.is_empty() {
        return Err(Failure::invalid(
            &resource.gvr.group,
            &resource.kind,
            &name,
            &errors.into_faults(),
        ));
    }
    pending.extend(claims.iter().cloned());
    reservation.claims = claims;
    Ok(reservation)
}

fn wants_address(spec: &Value) -> bool {
    matches!(spec.text("type"), "ClusterIP" | "NodePort" | "LoadBalancer" | "")
}

fn wants_ports(spec: &Value) -> bool {
    spec.text("type") == "NodePort"
        || spec.text("type") == "LoadBalancer" && sub(spec, "allocateLoadBalancerNodePorts").as_bool() != Some(false)
}

fn lacks(spec: &Value) -> bool {
    wants_address(spec) && spec.text("clusterIP").is_empty()
        || wants_ports(spec)
            && spec
                .items("ports")
                .iter()
                .any(|port| port.int("nodePort").unwrap_or_default() == 0)
}

fn in_network(ip: &str) -> bool {
    match ip.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => u32::from(ip).wrapping_sub(NETWORK) < HOSTS,
        _ => false,
    }
}

fn address(spec: &mut Value, had: &[Claim], taken: &BTreeSet<Claim>, claims: &mut Vec<Claim>, errors: &mut Errors) {
    if !wants_address(spec) {
        return;
    }
    let asked = spec.text("clusterIP").to_owned();
    if asked == "None" {
        return;
    }
    if asked.is_empty() {
        for _ in 0..10_000 {
            let ip = Ipv4Addr::from(NETWORK + 256 + rand::random_range(0..HOSTS - 512)).to_string();
            let claim = Claim::Address(ip.clone());
            if taken.contains(&claim) {
                continue;
            }
            set(spec, "clusterIP", ip.clone());
            set(spec, "clusterIPs", json!([ip]));
            claims.push(claim);
            return;
        }
        errors.internal(
            &Path::root("spec").child("clusterIPs"),
            "failed to allocate a serviceIP: range is full",
        );
        return;
    }
    for ip in spec.texts("clusterIPs") {
        let claim = Claim::Address(ip.to_owned());
        if ip.is_empty() || had.contains(&claim) {
            continue;
        }
        let why = if !in_network(ip) {
            "the provided network does not match the current range"
        } else if taken.contains(&claim) {
            "provided IP is already allocated"
        } else {
            claims.push(claim);
            continue;
        };
        let shown = Shown::raw(gojson::text(sub(spec, "clusterIPs")));
        errors.invalid(
            &Path::root("spec").child("clusterIPs"),
            shown,
            &format!("failed to allocate IP {ip}: {why}"),
        );
    }
}

fn ports(spec: &mut Value, had: &[Claim], taken: &BTreeSet<Claim>, claims: &mut Vec<Claim>, errors: &mut Errors) {
    let wanted = wants_ports(spec);
    let root = Path::root("spec");
    let list = root.child("ports");
    let mut own: Vec<(String, i64, i64)> = Vec::new();
    for (index, port) in spec.items("ports").iter().enumerate() {
        let Some(number) = port.int("nodePort").filter(|number| *number != 0) else {
            continue;
        };
        let claim = Claim::Port(port.text("protocol").to_owned(), number);
        own.push((
            port.text("protocol").to_owned(),
            port.int("port").unwrap_or_default(),
            number,
        ));
        if had.contains(&claim) || claims.contains(&claim) {
            continue;
        }
        let item = list.index(index);
        let at = item.child("nodePort");
        if !PORTS.contains(&number) {
            errors.invalid(
                &at,
                number,
                "provided port is not in the valid range. The range of valid ports is 30000-32767",
            );
        } else if taken.contains(&claim) {
            errors.invalid(&at, number, "provided port is already allocated");
        } else {
            claims.push(claim);
        }
    }
    if wanted {
        for port in items_mut(spec, "ports") {
            if port.int("nodePort").unwrap_or_default() != 0 {
                continue;
            }
            let protocol = port.text("protocol").to_owned();
            let number = port.int("port").unwrap_or_default();
            // the same port over another protocol shares the node port if it can
            let twin = own
                .iter()
                .find(|(other, same, _)| *same == number && *other != protocol)
                .map(|(_, _, found)| *found);
            let Some(found) = pick(&protocol, twin, taken, claims) else {
                errors.internal(&list, "failed to allocate a nodePort: range is full");
                return;
            };
            set(port, "nodePort", found);
            own.push((protocol.clone(), number, found));
            claims.push(Claim::Port(protocol, found));
        }
    }
    let checked = spec.text("type") == "LoadBalancer" && spec.text("externalTrafficPolicy") == "Local";
    if checked
        && spec.int("healthCheckNodePort").unwrap_or_default() == 0
        && let Some(found) = pick("TCP", None, taken, claims)
    {
        set(spec, "healthCheckNodePort", found);
        claims.push(Claim::Port("TCP".to_owned(), found));
    }
}

fn pick(protocol: &str, first: Option<i64>, taken: &BTreeSet<Claim>, claims: &[Claim]) -> Option<i64> {
    let free = |number: i64| {
        let claim = Claim::Port(protocol.to_owned(), number);
        !taken.contains(&claim) && !claims.contains(&claim)
    };
    if let Some(number) = first.filter(|number| free(*number)) {
        return Some(number);
    }
    for _ in 0..1000 {
        let number = rand::random_range(PORTS);
        if free(number) {
            return Some(number);
        }
    }
    PORTS.into_iter().find(|number| free(*number))
}
