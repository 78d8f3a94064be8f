//! The fields of a NodePool's `spec`.

use super::{Field, LABEL, Shape, depends_on, field, required};
use crate::document::node_pool::SIZE;

pub(super) fn fields() -> Vec<Field> {
    use Shape::{Duration, Fields, Flag, Pattern, Share, Text, TextMap, Texts, Whole, Words};
    let capacity = vec![
        field(
            "onDemandBase",
            Whole(SIZE),
            "Number of on-demand nodes before any spot node. Default 0.",
        ),
        field(
            "spotPercent",
            Whole(0..=100),
            "Percentage of spot nodes above the base. Default 100.",
        ),
    ];
    let image = vec![
        field("id", Pattern("^ami-[0-9a-fA-F]+$"), "An image by its id."),
        field(
            "parameter",
            Pattern("^/"),
            "The SSM parameter that names it; looked up by a plan, and pinned.",
        ),
        field(
            "follow",
            Flag,
            "Use a newer image when the parameter names one. Default false: it is reported.",
        ),
    ];
    let volume = vec![
        field("size", Whole(1..=16_384), "GiB. Default 20."),
        field("type", Words(&["gp3", "gp2", "io1", "io2"]), "Default gp3."),
        field("encrypted", Flag, "Default true."),
        field("kmsKey", Text, "Key of the encryption. Default: the account's."),
    ];
    let rollout = vec![
        field(
            "surge",
            Share,
            "Nodes above the size while rolling, or a part such as \"10%\". Default 1.",
        ),
        field(
            "maxUnavailable",
            Share,
            "Nodes that may be missing while rolling. Default 0.",
        ),
        field(
            "health",
            Words(&["statusChecks", "tag", "kubernetes"]),
            "What makes a node healthy: EC2's status checks, the state that it writes into its own tag, or its Kubernetes node. \
             Default statusChecks.",
        ),
        field(
            "healthTimeout",
            Duration,
            "Time limit for a new node to become healthy. Default 10m.",
        ),
        field("drainTimeout", Duration, "Time limit of a node's drain. Default 5m."),
        field(
            "maxRemovedPercent",
            Whole(0..=100),
            "The largest part of the pool that one run may remove without replacing. Default 50.",
        ),
    ];
    let kubernetes = vec![field(
        "atDeadline",
        Words(&["fail", "force"]),
        "What happens to pods that a disruption budget still protects at the drain's deadline. Default fail.",
    )];
    vec![
        depends_on(),
        required(
            "cluster",
            Pattern(LABEL),
            "The cluster that the pool serves; a tag of every node.",
        ),
        field("size", Whole(SIZE), "How many nodes. Either this, or min and max."),
        field("min", Whole(SIZE), "Fewest nodes."),
        field("max", Whole(SIZE), "Most nodes."),
        field(
            "capacity",
            Fields(capacity),
            "How many nodes are on-demand; the rest is spot.",
        ),
        required("instanceTypes", Texts, "Instance types, the preferred one first."),
        required(
            "image",
            Fields(image),
            "The image: an id, or a parameter that names one; not both.",
        ),
        required("subnets", Texts, "Subnets, one for each zone."),
        field("securityGroups", Texts, "Security groups."),
        field("instanceProfile", Text, "Name or ARN of the instance profile."),
        field("userData", Text, "User data as the instance reads it. 16 KiB at most."),
        field(
            "userDataEncoding",
            Words(&["text", "base64"]),
            "Encoding of userData. base64 allows any bytes, for example gzip, which cloud-init unpacks. Default text.",
        ),
        field(
            "drainHook",
            Text,
            "A shell command that drains a node which is in no cluster and has no agent. SSM runs it on the node, at \
             least once, before the node ends; one that fails holds the node up to rollout.drainTimeout. 256 \
             characters at most.",
        ),
        field(
            "undrainHook",
            Text,
            "A shell command that restarts what drainHook stopped, run in the same way when a removal is cancelled.",
        ),
        field("rootVolume", Fields(volume), "The root volume."),
        field("tags", TextMap, "Tags of instances and volumes."),
        field(
            "discoveryTags",
            TextMap,
            "Tags by which peers and users find the nodes.",
        ),
        field(
            "metadataTags",
            Flag,
            "Whether an instance can read its tags from its metadata service. Default true.",
        ),
        field(
            "metadataHops",
            Whole(1..=64),
            "Network hops that an answer of the metadata service may take; 2 lets containers reach it. Default 1.",
        ),
        field(
            "publicAddress",
            Flag,
            "Whether nodes get public addresses. Default false.",
        ),
        field("rollout", Fields(rollout), "How nodes are replaced."),
        field(
            "kubernetes",
            Fields(kubernetes),
            "Cordon and drain the nodes of a Kubernetes cluster. Omitted if they are not cluster nodes.",
        ),
        field(
            "launchTimeout",
            Duration,
            "Time limit for finding capacity. Default 5m.",
        ),
    ]
}
