//! Objects that are being deleted: what holds them, and who can release them.

use crate::gate::{
    Heals, Verdict,
    judge::Subject,
    reading::{conditions, list, tidy},
};
use serde_json::Value;

/// Finalizers of Kubernetes' own controllers, which are removed without help.
const OWN: [&str; 8] = [
    "foregroundDeletion",
    "orphan",
    "kubernetes",
    "kubernetes.io/pvc-protection",
    "kubernetes.io/pv-protection",
    "batch.kubernetes.io/job-tracking",
    "service.kubernetes.io/load-balancer-cleanup",
    "customresourcecleanup.apiextensions.k8s.io",
];

pub(in crate::gate) fn judge(subject: &Subject<'_>, value: &Value) -> Verdict {
    let now = subject.now;
    // A namespace reports what is left in it five seconds after its deletion.
    let left: Vec<_> = conditions(value)
        .filter(|c| c.is_true() && (c.kind.ends_with("Remaining") || c.kind.contains("Failure")))
        .collect();
    if !left.is_empty() {
        let finalizers = left.iter().any(|c| c.kind == "NamespaceFinalizersRemaining");
        let words: Vec<String> = left.iter().map(super::super::reading::Condition::words).collect();
        let heals = if finalizers { Heals::Others } else { Heals::Itself };
        return Verdict::terminating(now, heals, words.join("; "), "");
    }
    let finalizers: Vec<&str> = list(value, "/metadata/finalizers")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let foreign: Vec<&str> = finalizers.iter().filter(|f| !OWN.contains(f)).copied().collect();
    if foreign.is_empty() {
        let because = match finalizers.first() {
            Some(own) => format!("it is being deleted; finalizer {} is Kubernetes' own", tidy(own)),
            None => "it is being deleted".to_owned(),
        };
        return Verdict::terminating(now, Heals::Itself, "", because);
    }
    let because = format!(
        "it is being deleted, and stays until somebody removes the finalizer{} {}",
        if foreign.len() == 1 { "" } else { "s" },
        tidy(&foreign.join(", "))
    );
    Verdict::terminating(now, Heals::Others, "", because)
}
