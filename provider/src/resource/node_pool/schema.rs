//! The schema of `myelin_node_pool`.

use crate::schema::{Attribute, IdentityAttribute, IdentitySchema, Nesting, Presence, Rule, Schema};
use crate::value::Type;

fn text(name: &'static str, description: &'static str) -> Attribute {
    Attribute::optional(name, Type::String, description).rule(Rule::NotEmpty)
}

fn texts() -> Type {
    Type::list(Type::String)
}

/// Configuration and state of a pool.
pub(super) fn schema() -> Schema {
    let mut attributes = inputs();
    attributes.extend(rolling());
    attributes.extend(computed());
    Schema {
        version: 0,
        description: "A pool of EC2 workers: launched from one specification, found again by their tags, replaced one by one \
                      when the specification changes, and drained before they end.\n\nThe plan tells what happens to which \
                      node, why, and in which order. The truth is in EC2's tags: a lost state loses no node, and an \
                      apply that is killed is finished by the next one, without a node too many. No capacity in one offering \
                      (type, zone, lifecycle) means the next; when all are refused the apply ends with what there is and \
                      names each refusal. `min` and `max` are owned, the size between them is not: an autoscaler or a person \
                      inside the range is no drift. Metadata service version 2 is required, the root volume is encrypted, \
                      and nodes get no public address, unless said otherwise.",
        attributes,
    }
}

fn inputs() -> Vec<Attribute> {
    vec![
        Attribute::required(
            "name",
            Type::String,
            "Name of the pool. Together with the cluster it identifies the pool.",
        )
        .replaces()
        .rule(Rule::DnsLabel),
        Attribute::required(
            "cluster",
            Type::String,
            "Cluster that the pool serves; any name you choose.",
        )
        .replaces()
        .rule(Rule::DnsLabel),
        Attribute::optional("size", Type::Number, "Number of nodes, 0 to 1000. Or `min` and `max`.")
            .rule(Rule::ConflictsWith("min"))
            .rule(Rule::ConflictsWith("max")),
        Attribute::optional("min", Type::Number, "Fewest nodes.").rule(Rule::Needs("max")),
        Attribute::optional("max", Type::Number, "Most nodes.").rule(Rule::Needs("min")),
        Attribute::nested(
            "capacity",
            Nesting::Single,
            vec![
                Attribute::optional(
                    "on_demand_base",
                    Type::Number,
                    "Number of on-demand nodes before any spot node. Default 0.",
                ),
                Attribute::optional(
                    "spot_percent",
                    Type::Number,
                    "Percentage of spot nodes above the base. Default 100.",
                ),
            ],
            "Spot and on-demand. All spot by default.",
        ),
        Attribute::required("instance_types", texts(), "Instance types, the preferred one first."),
        Attribute::nested(
            "image",
            Nesting::Single,
            vec![
                text("id", "This image.").rule(Rule::ConflictsWith("parameter")),
                text(
                    "parameter",
                    "SSM parameter that names the image. Looked up at plan and pinned; a newer image is reported in \
                     `newer_image_id` and not used.",
                ),
                Attribute::optional(
                    "follow",
                    Type::Bool,
                    "Use a newer image when the parameter names one. Default `false`.",
                ),
            ],
            "The image: an id or a parameter.",
        )
        .with_presence(Presence::Required),
        Attribute::required("subnets", texts(), "Subnets, each in its zone."),
        Attribute::optional("security_groups", texts(), "Security groups. Default: that of the VPC."),
        text("instance_profile", "Name or ARN of the instance profile."),
        Attribute::optional(
            "user_data",
            Type::String,
            "User data as the instance will read it, at most 16 KB. Write-only: neither a plan nor a state holds it. \
             A change shows as a change of `user_data_hash` and rolls the pool.",
        )
        .write_only(),
        Attribute::optional(
            "user_data_encoding",
            Type::String,
            "Encoding of `user_data`; `base64` allows any bytes, for example gzip, which cloud-init unpacks. Default \
             `text`.",
        )
        .rule(Rule::OneOf(&["text", "base64"])),
        Attribute::nested(
            "root_volume",
            Nesting::Single,
            vec![
                Attribute::optional("size", Type::Number, "GiB. Default 20."),
                Attribute::optional("type", Type::String, "Kind of volume. Default `gp3`.")
                    .rule(Rule::OneOf(&["gp3", "gp2", "io1", "io2"])),
                Attribute::optional("encrypted", Type::Bool, "Default `true`."),
                text("kms_key", "Key. Default: the account's."),
            ],
            "The root volume.",
        ),
        Attribute::optional("tags", Type::map(Type::String), "Tags of instances and volumes."),
        Attribute::optional(
            "discovery_tags",
            Type::map(Type::String),
            "Tags that peers find the nodes by, such as `SynktiCluster`. Set at launch like `tags`; nodes cannot change them.",
        ),
        Attribute::optional(
            "metadata_tags",
            Type::Bool,
            "Whether an instance can read its tags from its metadata service. Default `true`.",
        ),
        Attribute::optional(
            "metadata_hops",
            Type::Number,
            "Network hops that an answer of the metadata service may take; with 2, containers can reach it. Default 1.",
        ),
        Attribute::optional(
            "public_address",
            Type::Bool,
            "Whether nodes get public addresses. Default `false`.",
        ),
    ]
}

fn rolling() -> Vec<Attribute> {
    let span = |name, description| Attribute::optional(name, Type::String, description).rule(Rule::Duration);
    vec![
        Attribute::nested(
            "rollout",
            Nesting::Single,
            vec![
                text("surge", "Nodes above the size during a roll: a number, or a share such as `\"10%\"`. Default `1`."),
                text("max_unavailable", "Nodes that may be missing during a roll, in the same form. Default `0`."),
                Attribute::optional(
                    "health",
                    Type::String,
                    "What makes a node healthy: both status checks of EC2, the node's own state tag (`myelin-agent` sets it), or \
                     its Kubernetes node being Ready. Default `statusChecks`.",
                )
                .rule(Rule::OneOf(&["statusChecks", "tag", "kubernetes"])),
                span("health_timeout", "Time limit for a new node to become healthy. Default `10m`."),
                span("drain_timeout", "Time limit of a node's drain. Default `5m`."),
                Attribute::optional(
                    "max_removed_percent",
                    Type::Number,
                    "Largest share of the pool, in percent, that one apply may remove without replacing. Default 50.",
                ),
            ],
            "How nodes are replaced.",
        ),
        Attribute::nested(
            "kubernetes",
            Nesting::Single,
            vec![
                Attribute::optional(
                    "at_deadline",
                    Type::String,
                    "What happens if a disruption budget still protects pods when `drain_timeout` is over: `fail` \
                     ends the drain and uncordons the node, `force` deletes the pods. Default `fail`.",
                )
                .rule(Rule::OneOf(&["fail", "force"])),
            ],
            "The nodes belong to the provider's Kubernetes cluster: they are cordoned and drained by eviction.",
        ),
        text(
            "drain_hook",
            "A shell command that drains a node which is in no cluster and has no agent, at most 256 characters. SSM \
             runs it on the node, at least once, before the node is terminated. A hook that fails or hangs holds the \
             node until `drain_timeout`, with a warning. Nodes carry it in a tag.",
        ),
        text(
            "undrain_hook",
            "A shell command that restarts what `drain_hook` stopped, run in the same way when a removal is cancelled.",
        ),
        span("launch_timeout", "Time limit for finding capacity. Default `5m`."),
        Attribute::nested(
            "timeouts",
            Nesting::Single,
            vec![
                span("create", "For the first apply."),
                span("update", "For later ones."),
                span("delete", "For the destroy."),
            ],
            "Time limits of single operations. Default: the sum of what `launch_timeout` and `rollout` allow.",
        ),
    ]
}

fn computed() -> Vec<Attribute> {
    let text = |name, description| Attribute::computed(name, Type::String, description);
    vec![
        text("id", "`cluster/name`."),
        text("image_id", "The image of new nodes, pinned."),
        text(
            "newer_image_id",
            "The image that the parameter names now, if it differs: available, and not used. Null otherwise.",
        ),
        text(
            "user_data_hash",
            "Keyed hash of the user data: it changes when they change and does not reveal them. Null without user data.",
        ),
        text(
            "spec_hash",
            "Hash of what new nodes are launched from, as in their tag `myelin.dev:spec-hash`. Null until the first apply \
             succeeds.",
        ),
        Attribute::nested(
            "nodes",
            Nesting::Map,
            vec![
                text("instance_type", "Type."),
                text("zone", "Availability zone."),
                text("lifecycle", "`spot` or `on-demand`."),
                text("image_id", "Image."),
                text("spec_hash", "Hash of what it was launched from."),
                text("private_ip", "Private address."),
                text("public_ip", "Public address; null without one."),
                text("private_dns", "Private DNS name."),
            ],
            "The nodes, by instance id.",
        )
        .with_presence(Presence::Computed),
        Attribute::computed(
            "steps",
            Type::list(Type::String),
            "What the last change did to each node, why, and in which order. A plan shows the same as a warning.",
        ),
        Attribute::computed(
            "requests",
            Type::map(Type::Number),
            "Requests that the last change sent to EC2 and SSM, by operation.",
        ),
    ]
}

/// What names a pool forever. The account and the region are the provider block's.
pub(super) fn identity() -> IdentitySchema {
    let part = |name, description| IdentityAttribute {
        name,
        required: true,
        description,
    };
    IdentitySchema {
        version: 0,
        attributes: vec![
            part("cluster", "Cluster that the pool serves."),
            part("name", "Name of the pool."),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::stack::document::camel_case;
    use crate::schema::Kind;
    use serde_json::Value as Json;
    use std::collections::BTreeSet;

    fn compare(place: &str, attributes: &[Attribute], fields: &Json) {
        let properties = fields["properties"].as_object().unwrap();
        let inputs = attributes.iter().filter(|a| a.presence != Presence::Computed);
        let ours: BTreeSet<String> = inputs.map(|a| camel_case(a.name)).collect();
        let own = ["name", "timeouts"].map(str::to_owned);
        let ours: BTreeSet<String> = ours.into_iter().filter(|name| !own.contains(name)).collect();
        let theirs: BTreeSet<String> = properties.keys().filter(|name| *name != "dependsOn").cloned().collect();
        assert_eq!(ours, theirs, "{place}");
        for attribute in attributes {
            if let Kind::Nested(_, inner) = &attribute.kind
                && let Some(field) = properties.get(&camel_case(attribute.name))
                && field["properties"].is_object()
            {
                compare(attribute.name, inner, field);
            }
        }
    }

    #[test]
    fn a_pool_has_the_same_words_in_hcl_and_in_yaml() {
        let document: Json = serde_json::from_str(include_str!("../../../../schemas/nodepool.json")).unwrap();
        let spec = &document["properties"]["spec"];
        assert!(spec["properties"]["instanceTypes"].is_object(), "{spec:#}");
        compare("spec", &schema().attributes, spec);
    }
}
