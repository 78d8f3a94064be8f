//! Services and Ingresses: whether they have an address, and something behind it.
//!
//! A Service without endpoints is worth mentioning but does not block: its pods have gates of their own, and a Service
//! in front of a workload scaled to zero is no failure.

use crate::gate::{
    Cause, Heals, Verdict,
    judge::Subject,
    reading::{list, text},
};
use serde_json::Value;

pub(in crate::gate) fn judge_service(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    let kind = text(value, "/spec/type");
    if kind == "LoadBalancer" && list(value, "/status/loadBalancer/ingress").is_empty() {
        let uid = text(value, "/metadata/uid");
        let said = subject.sights.notes(subject.key).newest(uid, |n| {
            matches!(
                n.reason.as_str(),
                "SyncLoadBalancerFailed"
                    | "EnsuringLoadBalancer"
                    | "FailedBuildModel"
                    | "FailedDeployModel"
                    | "AllocationFailed"
            )
        });
        let reason = said.map_or_else(String::new, super::super::events::Note::words);
        let because = "status.loadBalancer.ingress is empty: nobody has given it an address yet";
        return Verdict::waiting(now, Heals::Others, Cause::Unanswered, reason, because);
    }
    let selects = value
        .pointer("/spec/selector")
        .and_then(Value::as_object)
        .is_some_and(|s| !s.is_empty());
    if kind == "ExternalName" || !selects {
        return Verdict::current(now, "");
    }
    let service = "/metadata/labels/kubernetes.io~1service-name";
    let slices: Vec<_> = subject
        .sights
        .of_kind("EndpointSlice", &subject.key.namespace)
        .filter(|(_, seen)| text(&seen.value, service) == subject.key.name)
        .collect();
    let ready = |endpoint: &Value| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
    let endpoints = || slices.iter().flat_map(|(_, seen)| list(&seen.value, "/endpoints"));
    if slices.is_empty() || endpoints().any(ready) {
        return Verdict::current(now, "");
    }
    let because = if endpoints().next().is_none() {
        "its selector matches no running pod"
    } else {
        "none of its endpoints is ready"
    };
    Verdict::waiting(now, Heals::Others, Cause::Unanswered, "", because).advisory()
}

pub(in crate::gate) fn judge_ingress(subject: &Subject<'_>) -> Verdict {
    let (value, now) = (subject.value(), subject.now);
    if list(value, "/status/loadBalancer/ingress").is_empty() {
        let because = "status.loadBalancer.ingress is empty: no controller has taken it up, or it does not say so";
        return Verdict::waiting(now, Heals::Others, Cause::Unanswered, "", because).advisory();
    }
    Verdict::current(now, "")
}
