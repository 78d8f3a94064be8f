//! `/metrics` for Prometheus, in its text format. Every label has fixed values or is bounded by the number of sources
//! and stacks.

use super::View;
use crate::pools::pool_of;
use crate::tree::StackNode;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfStack {
    source: String,
    stack: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPool {
    source: String,
    pool: String,
}

/// States that a source may be in; the label has no other values.
const STATES: [&str; 9] = [
    "starting",
    "ready",
    "applying",
    "failed",
    "rejected",
    "refused",
    "suspended",
    "unreachable",
    "other",
];

/// States that an object may be in; the label has no other values.
const OBJECT_STATES: [&str; 7] = ["ready", "waiting", "failed", "missing", "drifted", "deleting", "other"];

pub(super) fn metrics(sources: &BTreeMap<String, View>) -> Response {
    let mut text = String::new();
    if encode(&mut text, &registry(sources)).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    (
        [(
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        )],
        text,
    )
        .into_response()
}

/// An operation of EC2 or SSM; the engine knows two dozen of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOperation {
    operation: &'static str,
}

fn ec2_requests() -> Family<OfOperation, Counter> {
    let requests = Family::<OfOperation, Counter>::default();
    for (operation, count) in crate::pools::requests().0 {
        requests.get_or_create(&OfOperation { operation }).inc_by(count);
    }
    requests
}

fn registry(sources: &BTreeMap<String, View>) -> Registry {
    let mut registry = Registry::with_prefix("myelin");
    registry.register(
        "ec2_requests",
        "Requests sent to EC2 and SSM, by operation, each page and each repetition counted",
        ec2_requests(),
    );
    let states = Family::<OfSource, Gauge>::default();
    let stacks = Family::<OfStack, Gauge>::default();
    let drifted = Family::<OfStack, Gauge>::default();
    let objects = Family::<OfSource, Gauge>::default();
    let pools = Family::<OfPool, Gauge>::default();
    let gauges: [(&str, &str, Gauges<'_>); 5] = [
        (
            "source_state",
            "1 for the state that a source is in",
            Gauges::Source(&states),
        ),
        (
            "stack_ready",
            "1 for a stack that is as its commit says, else 0",
            Gauges::Stack(&stacks),
        ),
        (
            "stack_drifted_objects",
            "Objects of a stack that are not as its commit says and are left so: reported drift, and field wars that were given up",
            Gauges::Stack(&drifted),
        ),
        (
            "objects",
            "Objects of a source, by how they stand",
            Gauges::Source(&objects),
        ),
        (
            "pool_ready",
            "1 for a pool that is as its commit says, else 0",
            Gauges::Pool(&pools),
        ),
    ];
    for (name, help, gauge) in gauges {
        match gauge {
            Gauges::Source(family) => registry.register(name, help, family.clone()),
            Gauges::Stack(family) => registry.register(name, help, family.clone()),
            Gauges::Pool(family) => registry.register(name, help, family.clone()),
        }
    }
    for (source, view) in sources {
        let current = known(&STATES, &view.status.state);
        for state in STATES {
            let labels = OfSource {
                source: source.clone(),
                state,
            };
            states.get_or_create(&labels).set(i64::from(state == current));
        }
        let mut counts: BTreeMap<&'static str, i64> = OBJECT_STATES.iter().map(|state| (*state, 0)).collect();
        for object in view.tree.stacks.iter().flat_map(StackNode::objects) {
            *counts.entry(known(&OBJECT_STATES, &object.state)).or_default() += 1;
        }
        for (state, count) in counts {
            let labels = OfSource {
                source: source.clone(),
                state,
            };
            objects.get_or_create(&labels).set(count);
        }
        for (name, state) in &view.status.stacks {
            let ready = i64::from(state == "ready");
            if let Some(pool) = pool_of(name) {
                let labels = OfPool {
                    source: source.clone(),
                    pool: pool.to_owned(),
                };
                pools.get_or_create(&labels).set(ready);
                continue;
            }
            let labels = OfStack {
                source: source.clone(),
                stack: name.clone(),
            };
            stacks.get_or_create(&labels).set(ready);
            let left = view.status.drift.get(name).map_or(0, Vec::len);
            drifted
                .get_or_create(&labels)
                .set(i64::try_from(left).unwrap_or(i64::MAX));
        }
    }
    registry
}

enum Gauges<'a> {
    Source(&'a Family<OfSource, Gauge>),
    Stack(&'a Family<OfStack, Gauge>),
    Pool(&'a Family<OfPool, Gauge>),
}

fn known(words: &[&'static str], state: &str) -> &'static str {
    words.iter().find(|word| **word == state).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::super::page::tests::view;
    use super::*;

    #[test]
    fn drift_readiness_and_pools_are_counted_and_no_label_is_made_of_foreign_words() {
        let mut view = view();
        view.status
            .stacks
            .insert("NodePool workers".to_owned(), "not ready".to_owned());
        view.status.state = "<script>".to_owned();
        let mut text = String::new();
        encode(&mut text, &registry(&BTreeMap::from([("git".to_owned(), view)]))).unwrap();
        for line in [
            "myelin_source_state{source=\"git\",state=\"other\"} 1",
            "myelin_stack_ready{source=\"git\",stack=\"shop/one\"} 1",
            "myelin_stack_drifted_objects{source=\"git\",stack=\"shop/one\"} 1",
            "myelin_objects{source=\"git\",state=\"drifted\"} 1",
            "myelin_pool_ready{source=\"git\",pool=\"workers\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("script"), "{text}");
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            let name = if kind == "counter" {
                format!("{name}_total")
            } else {
                name.to_owned()
            };
            for (page, text) in [
                ("README.md", include_str!("../../README.md")),
                ("the guide", include_str!("../../../docs/guides/reconciler.md")),
            ] {
                assert!(text.contains(&format!("| `{name}` |")), "{page} does not name {name}");
            }
        }
    }
}
