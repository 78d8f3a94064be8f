//! `myelin_nodes`: instances by their tags, for resources that use a pool. It does not matter who launched them: only
//! tags count.

use std::collections::BTreeMap;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use myelin_engine::cloud::{Instance, InstanceState, TagFilter};
use myelin_engine::fleet::{FleetRun, TAG_CLUSTER, TAG_POOL, TAG_STATE, list_instances};

use super::DataSource;
use crate::diagnostic::{Diagnostic, Diagnostics, from_engine};
use crate::resource::Call;
use crate::schema::{Attribute, Nesting, Presence, Rule, Schema};
use crate::value::{Path, Type, Value};

/// The words for states, in the order of a life.
const STATES: [&str; 6] = [
    "pending",
    "running",
    "stopping",
    "stopped",
    "shutting-down",
    "terminated",
];

/// The data source.
#[derive(Debug)]
pub struct Nodes {
    schema: Schema,
}

impl Default for Nodes {
    fn default() -> Nodes {
        Nodes { schema: schema() }
    }
}

fn schema() -> Schema {
    let text = |name, description| Attribute::computed(name, Type::String, description);
    Schema {
        version: 0,
        description: "Nodes by their tags: ids, addresses, zone, lifecycle and state, for whatever uses a \
                      pool.\n\nGiven a cluster and a pool it lists that pool; given `tags` alone it lists every \
                      instance that has them, whoever launched it. An incomplete list from EC2 is an error.",
        attributes: vec![
            Attribute::optional("cluster", Type::String, "Cluster that the nodes' pool serves.").rule(Rule::NotEmpty),
            Attribute::optional("pool", Type::String, "Name of the pool.")
                .rule(Rule::NotEmpty)
                .rule(Rule::Needs("cluster")),
            Attribute::optional(
                "tags",
                Type::map(Type::String),
                "Tags that the nodes have, each with this value, such as `{ SynktiCluster = \"prod\" }`.",
            ),
            Attribute::optional(
                "states",
                Type::list(Type::String),
                "The states to list, by EC2's names. Default `[\"pending\", \"running\"]`.",
            ),
            Attribute::nested(
                "nodes",
                Nesting::List,
                vec![
                    text("id", "Instance id."),
                    text("instance_type", "Type."),
                    text("zone", "Availability zone."),
                    text("subnet", "Subnet; empty once the instance has ended."),
                    text("lifecycle", "`spot` or `on-demand`."),
                    text("state", "EC2's word for its state."),
                    text(
                        "reported",
                        "What the node reports about itself, such as `ready`; null if it reports nothing.",
                    ),
                    text("image_id", "Image."),
                    text("launched_at", "When it was launched (RFC 3339)."),
                    text("private_ip", "Private address."),
                    text("public_ip", "Public address; null without one."),
                    text("private_dns", "Private DNS name."),
                    Attribute::computed("tags", Type::map(Type::String), "All its tags."),
                ],
                "The nodes, in the order of their ids.",
            )
            .with_presence(Presence::Computed),
            Attribute::computed("ids", Type::list(Type::String), "Their ids."),
            Attribute::computed(
                "private_ips",
                Type::list(Type::String),
                "Private addresses, without nodes that have none yet.",
            ),
        ],
    }
}

impl DataSource for Nodes {
    fn type_name(&self) -> &'static str {
        "myelin_nodes"
    }

    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn validate(&self, config: &Value) -> Diagnostics {
        let mut problems = Diagnostics::default();
        let (cluster, tags) = (config.attribute("cluster"), config.attribute("tags"));
        let empty = |value: &Value| value.is_null() || value.as_map().is_some_and(BTreeMap::is_empty);
        if cluster.is_null() && empty(tags) {
            problems.push(Diagnostic::error(
                "Which nodes?",
                "Give cluster, cluster and pool, or tags: every instance of the account is never meant.",
            ));
        }
        for state in config.attribute("states").as_list().unwrap_or_default() {
            if let Some(word) = state.as_str()
                && !STATES.contains(&word)
            {
                problems.push(
                    Diagnostic::error(
                        format!("{word:?} is not a state"),
                        format!("EC2's states are {}.", STATES.join(", ")),
                    )
                    .at(Path::attribute("states")),
                );
            }
        }
        problems
    }

    fn read<'a>(&'a self, call: &'a Call, config: Value) -> BoxFuture<'a, Result<Value, Diagnostics>> {
        read(call, config).boxed()
    }
}

fn filters(config: &Value) -> Vec<TagFilter> {
    let own = [("cluster", TAG_CLUSTER), ("pool", TAG_POOL)];
    let own = own
        .into_iter()
        .filter_map(|(name, key)| Some((key.to_owned(), config.attribute(name).as_str()?.to_owned())));
    let tags = config.attribute("tags").as_map().into_iter().flatten();
    let tags = tags.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    own.chain(tags)
        .map(|(key, value)| TagFilter {
            key,
            values: vec![value],
        })
        .collect()
}

async fn read(call: &Call, config: Value) -> Result<Value, Diagnostics> {
    let ports = call.cloud.ports(None).await.map_err(|absent| absent.error())?;
    let run = FleetRun {
        cancel: call.cancel.clone(),
        pace: call.cloud.pace(),
        ..FleetRun::default()
    };
    let found = list_instances(&ports, &filters(&config), &run).await;
    let found = found.map_err(|problems| {
        problems
            .iter()
            .map(|problem| from_engine(problem, |_| None))
            .collect::<Diagnostics>()
    })?;
    let wanted: Vec<&str> = match config.attribute("states").as_list() {
        Some(words) => words.iter().filter_map(Value::as_str).collect(),
        None => vec![InstanceState::Pending.word(), InstanceState::Running.word()],
    };
    let nodes: Vec<&Instance> = found.iter().filter(|i| wanted.contains(&i.state.word())).collect();
    let mut result = config.as_map().cloned().unwrap_or_default();
    let texts = |all: Vec<&str>| Value::List(all.into_iter().map(Value::string).collect());
    result.extend([
        ("nodes".to_owned(), Value::List(nodes.iter().map(|i| node(i)).collect())),
        ("ids".to_owned(), texts(nodes.iter().map(|i| i.id.as_str()).collect())),
        (
            "private_ips".to_owned(),
            texts(nodes.iter().filter_map(|i| i.private_ip.as_deref()).collect()),
        ),
    ]);
    Ok(Value::Map(result))
}

fn node(i: &Instance) -> Value {
    let text = |text: &str| Value::string(text);
    let maybe = |text: &Option<String>| text.as_deref().map_or(Value::Null, Value::string);
    let tags = i.tags.iter().map(|(key, value)| (key.clone(), text(value))).collect();
    let parts = [
        ("id", text(&i.id)),
        ("instance_type", text(&i.instance_type)),
        ("zone", text(&i.zone)),
        ("subnet", text(&i.subnet)),
        ("lifecycle", text(i.lifecycle.word())),
        ("state", text(i.state.word())),
        ("reported", maybe(&i.tags.get(TAG_STATE).cloned())),
        ("image_id", text(&i.image)),
        ("launched_at", text(&i.launched_at.to_string())),
        ("private_ip", maybe(&i.private_ip)),
        ("public_ip", maybe(&i.public_ip)),
        ("private_dns", maybe(&i.private_dns)),
        ("tags", Value::Map(tags)),
    ];
    Value::Map(
        parts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}
