//! The order of the output: as built, or the original's "legacy" order by kind.

use super::id::{Gvk, Id};
use super::kustomization::SortOptions;
use super::resmap::ResMap;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::LazyLock;

const FIRST: [&str; 22] = [
    "Namespace",
    "ResourceQuota",
    "StorageClass",
    "CustomResourceDefinition",
    "ServiceAccount",
    "PodSecurityPolicy",
    "Role",
    "ClusterRole",
    "RoleBinding",
    "ClusterRoleBinding",
    "ConfigMap",
    "Secret",
    "Endpoints",
    "Service",
    "LimitRange",
    "PriorityClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Deployment",
    "StatefulSet",
    "CronJob",
    "PodDisruptionBudget",
];
const LAST: [&str; 2] = ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"];

pub(super) fn sort(resources: &mut ResMap, options: Option<&SortOptions>) {
    let rank = match options {
        Some(SortOptions::Fifo) => return,
        Some(SortOptions::Legacy(Some((first, last)))) => ranks(first, last),
        _ => ranks(&FIRST, &LAST),
    };
    resources.all.sort_by_cached_key(|resource| {
        let id = resource.id();
        let kind = rank.get(&*id.gvk.kind).copied().unwrap_or(0);
        let (core, others) = namespaces_of_the_core_first(&id.gvk);
        (kind, core, others, id_key(&id))
    });
}

/// The order within a kind: by group, version and kind, and the original takes Namespaces of the core group the other way round.
fn namespaces_of_the_core_first(gvk: &Gvk) -> (Reverse<String>, String) {
    match (&*gvk.kind, &*gvk.group) {
        ("Namespace", "") => (Reverse(gvk_key(gvk)), String::new()),
        _ => (Reverse(String::new()), gvk_key(gvk)),
    }
}

fn ranks<S: AsRef<str>>(first: &[S], last: &[S]) -> HashMap<String, i64> {
    let before = first
        .iter()
        .enumerate()
        .map(|(i, kind)| (kind.as_ref().to_owned(), i as i64 - first.len() as i64));
    let after = last
        .iter()
        .enumerate()
        .map(|(i, kind)| (kind.as_ref().to_owned(), 1 + i as i64));
    before.chain(after).collect()
}

/// Where a kind comes in the legacy order.
pub(super) fn gvk_rank(gvk: &Gvk) -> (i64, String) {
    static DEFAULT: LazyLock<HashMap<String, i64>> = LazyLock::new(|| ranks(&FIRST, &LAST));
    (DEFAULT.get(&*gvk.kind).copied().unwrap_or(0), gvk_key(gvk))
}

fn or<'a>(text: &'a str, none: &'a str) -> &'a str {
    if text.is_empty() { none } else { text }
}

fn gvk_key(gvk: &Gvk) -> String {
    [or(&gvk.group, "~G"), or(&gvk.version, "~V"), or(&gvk.kind, "~K")].join("_")
}

fn id_key(id: &Id) -> String {
    [or(&id.namespace, "~X"), or(&id.name, "~N")].join("|")
}
