//! The computed attributes: the nodes, what they are launched from, and what a plan does to them.

use myelin_engine::cloud::Calls;
use myelin_engine::document::NodePool;
use myelin_engine::fleet::{FleetPlan, NodeFacts};
use myelin_engine::mask::MaskKey;

use crate::resource::stack::state::with;
use crate::value::Value;

/// The names of what only the provider knows.
pub(super) const COMPUTED: [&str; 7] = [
    "image_id",
    "newer_image_id",
    "user_data_hash",
    "spec_hash",
    "nodes",
    "steps",
    "requests",
];

fn text(text: &str) -> Value {
    if text.is_empty() {
        Value::Null
    } else {
        Value::string(text)
    }
}

fn maybe(value: Option<&str>) -> Value {
    value.map_or(Value::Null, text)
}

/// The attribute `nodes`.
pub(super) fn nodes(all: &[NodeFacts]) -> Value {
    let one = |node: &NodeFacts| {
        let parts = [
            ("instance_type", text(&node.instance_type)),
            ("zone", text(&node.zone)),
            ("lifecycle", text(node.lifecycle.word())),
            ("image_id", text(&node.image)),
            ("spec_hash", text(&node.spec_hash)),
            ("private_ip", maybe(node.private_ip.as_deref())),
            ("public_ip", maybe(node.public_ip.as_deref())),
            ("private_dns", maybe(node.private_dns.as_deref())),
        ];
        with(&Value::Null, parts)
    };
    Value::Map(all.iter().map(|node| (node.id.clone(), one(node))).collect())
}

/// The attribute `steps`.
pub(super) fn steps(plan: &FleetPlan) -> Value {
    Value::List(plan.lines().into_iter().map(Value::string).collect())
}

/// The attribute `requests`.
pub(super) fn requests(calls: &Calls) -> Value {
    Value::Map(
        calls
            .0
            .iter()
            .map(|(operation, count)| ((*operation).to_owned(), Value::Number((*count).into())))
            .collect(),
    )
}

/// The attribute `user_data_hash`: a mark, as plans have them for secrets. No sensitive value: Terraform 1.11 notes several sensitive
/// attributes of a resource in an order of chance, and takes another order for drift (`-refresh-only -detailed-exitcode`).
pub(super) fn user_data_hash(pool: &NodePool) -> Value {
    let mark = |data: &[u8]| {
        let mac = MaskKey::of_identity(&pool.cluster, &pool.name).mac(data);
        mac[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    pool.user_data
        .as_deref()
        .map_or(Value::Null, |data| Value::string(mark(data)))
}

/// A plan of which nothing is known but the inputs.
pub(super) fn undecided(planned: &Value) -> Value {
    with(planned, COMPUTED.map(|name| (name, Value::UNKNOWN)))
}

/// The computed attributes of another state.
pub(super) fn as_before(planned: &Value, prior: &Value) -> Value {
    with(planned, COMPUTED.map(|name| (name, prior.attribute(name).clone())))
}
