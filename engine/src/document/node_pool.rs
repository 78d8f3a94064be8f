//! JSON of a `NodePool` document → [`NodePool`]. Every EC2 limit that can be known without a request is checked here,
//! because a launch that fails after a clean plan means that the plan was wrong.

use super::API_VERSION;
use super::dependency::{DocumentName, read_depends_on};
use super::fields::{Fields, Places};
use super::stack::label_name;
use crate::diagnostic::Diagnostics;
use base64::Engine as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// User data after decoding, in bytes (EC2 user guide, "instance user data").
pub const USER_DATA_LIMIT: usize = 16 * 1024;
/// Tags of one resource (EC2 user guide, "tag restrictions").
const TAG_LIMIT: usize = 50;
/// Characters of a tag's value.
const TAG_VALUE: usize = 256;
/// Tags that the pool sets itself: name, cluster, pool, slot, attempt, spec hash, its version, drain, drain hook, undrain hook, state.
const OWN_TAGS: usize = 11;
/// Prefix of the pool's own tags.
pub const TAG_PREFIX: &str = "myelin.dev:";
/// Nodes of one pool.
pub(super) const SIZE: std::ops::RangeInclusive<i64> = 0..=1000;

/// A pool of EC2 workers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePool {
    /// Name; with the cluster it identifies the pool.
    pub name: String,
    /// The cluster that the pool serves.
    pub cluster: String,
    /// Fewest and most nodes. Equal for a fixed size.
    pub size: Size,
    /// Spot and on-demand.
    pub capacity: Capacity,
    /// Instance types, the preferred one first.
    pub instance_types: Vec<String>,
    /// The image.
    pub image: Image,
    /// Whether a newer image that the parameter names is used; otherwise the first one stays and a newer one is
    /// reported.
    pub follow_image: bool,
    /// Subnets, each in its zone.
    pub subnets: Vec<String>,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// Name or ARN of the instance profile.
    pub instance_profile: Option<String>,
    /// User data, as the instance will read it.
    pub user_data: Option<Vec<u8>>,
    /// The root volume.
    pub root_volume: RootVolume,
    /// Tags of instances and volumes.
    pub tags: BTreeMap<String, String>,
    /// Tags that peers and people find the nodes by.
    pub discovery_tags: BTreeMap<String, String>,
    /// Whether an instance can read its tags from its metadata service.
    pub metadata_tags: bool,
    /// Network hops that an answer of the metadata service may take; 2 lets containers reach it.
    pub metadata_hops: u8,
    /// Whether nodes get public addresses.
    pub public_address: bool,
    /// How nodes are replaced.
    pub rollout: Rollout,
    /// How nodes of a Kubernetes cluster are cordoned and drained; None if they are not cluster nodes.
    pub kubernetes: Option<KubernetesNodes>,
    /// A shell command that drains a node which is in no cluster and has no agent. Each node carries it in a tag, and
    /// SSM runs it, at least once, before the node is terminated.
    pub drain_hook: Option<String>,
    /// A shell command that restarts what the drain hook stopped, run in the same way when a removal is cancelled.
    pub undrain_hook: Option<String>,
    /// Time limit of the wait for capacity.
    pub launch_timeout: Duration,
    /// Other documents that must be ready first.
    pub depends_on: BTreeSet<DocumentName>,
}

/// How many nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// At least.
    pub min: u32,
    /// At most.
    pub max: u32,
}

/// How many nodes are on-demand; the rest is spot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// On-demand nodes before any spot one.
    pub on_demand_base: u32,
    /// Percentage of spot above the base.
    pub spot_percent: u8,
}

impl Capacity {
    /// On-demand nodes of a pool of `size`.
    #[must_use]
    pub fn on_demand(self, size: u32) -> u32 {
        let base = self.on_demand_base.min(size);
        let above = u64::from(size - base);
        // Rounded up: a percentage of spot is a maximum, so that a small pool never has fewer on-demand nodes than
        // asked for.
        let on_demand = (above * u64::from(100 - self.spot_percent)).div_ceil(100);
        base + u32::try_from(on_demand).unwrap_or(0)
    }
}

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// This one.
    Id(String),
    /// What this SSM parameter names; looked up at plan and pinned.
    Parameter(String),
}

/// The root volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootVolume {
    /// GiB.
    pub size: u32,
    /// `gp3`, `gp2`, `io1`, `io2`.
    pub kind: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Key; the account's default when None.
    pub kms_key: Option<String>,
}

/// How nodes are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rollout {
    /// Nodes above the size while rolling.
    pub surge: Share,
    /// Nodes that may be missing while rolling.
    pub max_unavailable: Share,
    /// What makes a node healthy.
    pub health: Health,
    /// Time limit of the wait for a new node's health.
    pub health_timeout: Duration,
    /// Time limit of a node's drain.
    pub drain_timeout: Duration,
    /// Largest part of the pool, in percent, that one run may remove without replacing.
    pub max_removed_percent: u8,
}

/// A count, or a part of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// This number of nodes.
    Count(u32),
    /// A percentage of the pool.
    Percent(u8),
}

impl Share {
    /// Nodes of a pool of `size`, rounded up for surge and down for what may be missing, as Kubernetes rounds a Deployment's.
    #[must_use]
    pub fn of(self, size: u32, up: bool) -> u32 {
        match self {
            Self::Count(n) => n,
            Self::Percent(p) => {
                let hundredths = u64::from(size) * u64::from(p);
                u32::try_from(if up { hundredths.div_ceil(100) } else { hundredths / 100 }).unwrap_or(u32::MAX)
            }
        }
    }
}

/// What makes a node healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Both status checks of EC2.
    StatusChecks,
    /// The node's own state tag says ready.
    Tag,
    /// The Kubernetes node is Ready.
    Kubernetes,
}

/// How nodes of a Kubernetes cluster are drained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesNodes {
    /// Whether what a disruption budget still holds at the deadline is deleted, or the drain fails and the node is uncordoned.
    pub force_at_deadline: bool,
}

/// Reads a whole document: `{apiVersion, kind: NodePool, metadata: {name}, spec: {…}}`.
///
/// # Errors
/// Every problem of the document, each with path, place and fix.
pub fn node_pool_from_value(value: Value, places: Places<'_>) -> Result<NodePool, Diagnostics> {
    let mut problems = Diagnostics::new();
    let p = &mut problems;
    let mut top = Fields::new(value, Vec::new(), places, p);
    for (field, want) in [("apiVersion", API_VERSION), ("kind", "NodePool")] {
        let got = top.required(field, &format!("write {field}: {want}"), p);
        if !got.is_empty() && got != want {
            top.problem(
                field,
                format!("{field} \"{got}\" is not {want}"),
                &format!("write {want}"),
                p,
            );
        }
    }
    let mut metadata = top.nested("metadata", p);
    let name = metadata.required("name", "give the pool a name, for example metadata: {name: workers}", p);
    label_name(&metadata, "name", &name, p);
    metadata.end(p);
    let mut spec = top.nested("spec", p);
    top.end(p);
    let pool = read_pool(name, &mut spec, p);
    spec.end(p);
    if problems.has_errors() { Err(problems) } else { Ok(pool) }
}

fn read_pool(name: String, spec: &mut Fields<'_>, p: &mut Diagnostics) -> NodePool {
    let cluster = spec.required("cluster", "name the cluster that the pool serves", p);
    label_name(spec, "cluster", &cluster, p);
    let size = read_size(spec, p);
    let capacity = read_capacity(spec, p);
    let instance_types = spec.texts("instanceTypes", p);
    check_instance_types(spec, &instance_types, p);
    let (image, follow_image) = read_image(spec, p);
    let subnets = ids(spec, "subnets", "subnet-", p);
    if subnets.is_empty() {
        spec.problem(
            "subnets",
            "a pool needs at least one subnet",
            "list the subnets, one for each zone",
            p,
        );
    }
    let security_groups = ids(spec, "securityGroups", "sg-", p);
    let instance_profile = spec.text("instanceProfile", p);
    let user_data = read_user_data(spec, p);
    let drain_hook = read_hook(spec, "drainHook", p);
    let undrain_hook = read_hook(spec, "undrainHook", p);
    if undrain_hook.is_some() && drain_hook.is_none() {
        spec.problem(
            "undrainHook",
            "there is no drain hook whose work it could bring back",
            "add drainHook, or remove undrainHook",
            p,
        );
    }
    let root_volume = read_volume(spec, p);
    let tags: BTreeMap<String, String> = spec.text_map("tags", p).into_iter().collect();
    let discovery_tags: BTreeMap<String, String> = spec.text_map("discoveryTags", p).into_iter().collect();
    let metadata_tags = spec.boolean("metadataTags", p).unwrap_or(true);
    check_tags(spec, &tags, &discovery_tags, metadata_tags, p);
    let metadata_hops = spec.integer("metadataHops", 1..=64, p);
    let public_address = spec.boolean("publicAddress", p).unwrap_or(false);
    let rollout = read_rollout(spec, p);
    let kubernetes = spec.take("kubernetes").map(|value| {
        let mut fields = spec.sub("kubernetes", value, p);
        let force = fields
            .word("atDeadline", &[("fail", false), ("force", true)], p)
            .unwrap_or(false);
        fields.end(p);
        KubernetesNodes {
            force_at_deadline: force,
        }
    });
    if rollout.health == Health::Kubernetes && kubernetes.is_none() {
        spec.problem(
            "rollout",
            "health: kubernetes needs a pool of cluster nodes",
            "add kubernetes: {}",
            p,
        );
    }
    NodePool {
        name,
        cluster,
        size,
        capacity,
        instance_types,
        image,
        follow_image,
        subnets,
        security_groups,
        instance_profile,
        user_data,
        drain_hook,
        undrain_hook,
        root_volume,
        tags,
        discovery_tags,
        metadata_tags,
        metadata_hops: metadata_hops.and_then(|n| u8::try_from(n).ok()).unwrap_or(1),
        public_address,
        rollout,
        kubernetes,
        launch_timeout: spec.duration("launchTimeout", p).unwrap_or(Duration::from_secs(300)),
        depends_on: read_depends_on(spec, p),
    }
}

/// A shell command that nodes carry in a tag.
fn read_hook(spec: &mut Fields<'_>, name: &'static str, p: &mut Diagnostics) -> Option<String> {
    let hook = spec.text(name, p)?;
    let length = hook.chars().count();
    if hook.trim().is_empty() || length > TAG_VALUE || hook.contains(['\n', '\r', '\0']) {
        spec.problem(
            name,
            format!("a hook is one line of 1 to {TAG_VALUE} characters, because nodes carry it in a tag"),
            "put the work into a script of the image or of the user data, and call it here",
            p,
        );
    }
    Some(hook)
}

fn read_size(spec: &mut Fields<'_>, p: &mut Diagnostics) -> Size {
    let known = p.iter().count();
    let (size, min, max) = (
        spec.integer("size", SIZE, p),
        spec.integer("min", SIZE, p),
        spec.integer("max", SIZE, p),
    );
    let number = |n: i64| u32::try_from(n).unwrap_or(0);
    match (size, min, max) {
        (Some(n), None, None) => Size {
            min: number(n),
            max: number(n),
        },
        (None, Some(min), Some(max)) if min <= max => Size {
            min: number(min),
            max: number(max),
        },
        (None, Some(_), Some(_)) => {
            spec.problem("min", "min is larger than max", "write min and max with min first", p);
            Size { min: 0, max: 0 }
        }
        // The problem with one of them has been reported already.
        _ if p.iter().count() > known => Size { min: 0, max: 0 },
        _ => {
            spec.problem(
                "size",
                "a pool needs a size, or min and max",
                "write size: 3, or min: 1 and max: 5",
                p,
            );
            Size { min: 0, max: 0 }
        }
    }
}

fn read_capacity(spec: &mut Fields<'_>, p: &mut Diagnostics) -> Capacity {
    let mut fields = spec.nested("capacity", p);
    let base = fields.integer("onDemandBase", SIZE, p).unwrap_or(0);
    let percent = fields.integer("spotPercent", 0..=100, p).unwrap_or(100);
    fields.end(p);
    Capacity {
        on_demand_base: u32::try_from(base).unwrap_or(0),
        spot_percent: u8::try_from(percent).unwrap_or(100),
    }
}

fn read_image(spec: &mut Fields<'_>, p: &mut Diagnostics) -> (Image, bool) {
    let mut fields = spec.nested("image", p);
    let (id, parameter) = (fields.text("id", p), fields.text("parameter", p));
    let follow = fields.boolean("follow", p).unwrap_or(false);
    if follow && id.is_some() {
        let fix = "remove it, or name the image by a parameter";
        fields.problem("follow", "an image that is named by its id never becomes newer", fix, p);
    }
    fields.end(p);
    let image = match (id, parameter) {
        (Some(id), None) => {
            if !is_id(&id, "ami-") {
                spec.problem(
                    "image",
                    format!("\"{id}\" is not an image id"),
                    "write ami- and 8 or 17 hexadecimal digits",
                    p,
                );
            }
            Image::Id(id)
        }
        (None, Some(name)) => {
            if !name.starts_with('/') {
                spec.problem(
                    "image",
                    format!("\"{name}\" is not an SSM parameter"),
                    "write its whole path, /aws/service/…",
                    p,
                );
            }
            Image::Parameter(name)
        }
        _ => {
            let fix = "write image: {id: ami-…} or image: {parameter: /aws/service/…}";
            spec.problem("image", "a pool needs one image: an id or a parameter", fix, p);
            Image::Id(String::new())
        }
    };
    (image, follow)
}

fn read_volume(spec: &mut Fields<'_>, p: &mut Diagnostics) -> RootVolume {
    let mut fields = spec.nested("rootVolume", p);
    let size = fields.integer("size", 1..=16_384, p).unwrap_or(20);
    let kinds = [("gp3", "gp3"), ("gp2", "gp2"), ("io1", "io1"), ("io2", "io2")];
    let kind = fields.word("type", &kinds, p).unwrap_or("gp3");
    let encrypted = fields.boolean("encrypted", p).unwrap_or(true);
    let kms_key = fields.text("kmsKey", p);
    if kms_key.is_some() && !encrypted {
        fields.problem(
            "kmsKey",
            "a key goes with an encrypted volume",
            "remove encrypted: false, or the key",
            p,
        );
    }
    fields.end(p);
    RootVolume {
        size: u32::try_from(size).unwrap_or(20),
        kind: kind.into(),
        encrypted,
        kms_key,
    }
}

fn read_rollout(spec: &mut Fields<'_>, p: &mut Diagnostics) -> Rollout {
    let mut fields = spec.nested("rollout", p);
    let surge = read_share(&mut fields, "surge", p).unwrap_or(Share::Count(1));
    let max_unavailable = read_share(&mut fields, "maxUnavailable", p).unwrap_or(Share::Count(0));
    if [surge, max_unavailable]
        .iter()
        .all(|s| matches!(s, Share::Count(0) | Share::Percent(0)))
    {
        let fix = "allow a surge, or a node to be missing";
        fields.problem(
            "surge",
            "with no surge and nothing unavailable a roll cannot move",
            fix,
            p,
        );
    }
    let words = [
        ("statusChecks", Health::StatusChecks),
        ("tag", Health::Tag),
        ("kubernetes", Health::Kubernetes),
    ];
    let health = fields.word("health", &words, p).unwrap_or(Health::StatusChecks);
    let health_timeout = fields.duration("healthTimeout", p).unwrap_or(Duration::from_secs(600));
    let drain_timeout = fields.duration("drainTimeout", p).unwrap_or(Duration::from_secs(300));
    let removed = fields.integer("maxRemovedPercent", 0..=100, p).unwrap_or(50);
    fields.end(p);
    Rollout {
        surge,
        max_unavailable,
        health,
        health_timeout,
        drain_timeout,
        max_removed_percent: u8::try_from(removed).unwrap_or(50),
    }
}

fn read_share(fields: &mut Fields<'_>, name: &'static str, p: &mut Diagnostics) -> Option<Share> {
    let value = fields.take(name)?;
    let percent = value
        .as_str()
        .and_then(|t| t.strip_suffix('%'))
        .and_then(|t| t.parse::<u8>().ok());
    let count = value.as_u64().and_then(|n| u32::try_from(n).ok());
    match (count, percent) {
        (Some(n), _) if n <= 1000 => Some(Share::Count(n)),
        (_, Some(n)) if n <= 100 => Some(Share::Percent(n)),
        _ => {
            fields.problem(
                name,
                format!("{name} cannot be {value}"),
                "write a number of nodes, or a part such as \"10%\"",
                p,
            );
            None
        }
    }
}

fn read_user_data(spec: &mut Fields<'_>, p: &mut Diagnostics) -> Option<Vec<u8>> {
    let base64 = spec.word("userDataEncoding", &[("text", false), ("base64", true)], p);
    let Some(text) = spec.text("userData", p) else {
        if base64.is_some() {
            let summary = "userDataEncoding needs userData";
            spec.problem("userDataEncoding", summary, "remove it, or give the user data", p);
        }
        return None;
    };
    let bytes = if base64 == Some(true) {
        // Base64 is how to pass gzip, which cloud-init can read.
        let Ok(bytes) = base64::prelude::BASE64_STANDARD.decode(text.trim()) else {
            spec.problem(
                "userData",
                "userData is not base64",
                "write standard base64 with padding",
                p,
            );
            return None;
        };
        bytes
    } else {
        text.into_bytes()
    };
    if bytes.len() > USER_DATA_LIMIT {
        let summary = format!("userData has {} bytes, EC2 takes {USER_DATA_LIMIT}", bytes.len());
        let fix = "compress it (gzip with userDataEncoding: base64, which cloud-init unpacks), or fetch the rest from a bucket at boot";
        spec.problem("userData", summary, fix, p);
    }
    Some(bytes)
}

fn check_instance_types(spec: &mut Fields<'_>, types: &[String], p: &mut Diagnostics) {
    if types.is_empty() {
        spec.problem(
            "instanceTypes",
            "a pool needs at least one instance type",
            "list them, the preferred one first",
            p,
        );
    }
    let mut seen = BTreeSet::new();
    for name in types {
        let parts = name.split_once('.');
        let word = |t: &str| {
            !t.is_empty()
                && t.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
        };
        if !parts.is_some_and(|(family, size)| word(family) && word(size)) {
            spec.problem(
                "instanceTypes",
                format!("\"{name}\" is not an instance type"),
                "write for example g4dn.xlarge",
                p,
            );
        }
        if !seen.insert(name) {
            spec.problem("instanceTypes", format!("{name} is listed twice"), "remove one", p);
        }
    }
}

/// Ids of one kind, each once.
fn ids(spec: &mut Fields<'_>, field: &'static str, prefix: &str, p: &mut Diagnostics) -> Vec<String> {
    let all = spec.texts(field, p);
    for (at, id) in all.iter().enumerate() {
        if !is_id(id, prefix) {
            spec.problem(
                field,
                format!("\"{id}\" is not a {prefix} id"),
                &format!("write {prefix} and its hexadecimal digits"),
                p,
            );
        }
        if all[..at].contains(id) {
            spec.problem(field, format!("{id} is listed twice"), "remove one", p);
        }
    }
    all
}

fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|t| matches!(t.len(), 8 | 17) && t.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Limits of tags (EC2 user guide, "tag restrictions" and "work with instance tags in instance metadata").
fn check_tags(
    spec: &Fields<'_>,
    tags: &BTreeMap<String, String>,
    discovery: &BTreeMap<String, String>,
    in_metadata: bool,
    p: &mut Diagnostics,
) {
    let room = TAG_LIMIT - OWN_TAGS;
    if tags.len() + discovery.len() > room {
        let summary = format!("{} tags are too many", tags.len() + discovery.len());
        let fix = format!("EC2 takes {TAG_LIMIT} on a resource and the pool needs {OWN_TAGS}: write {room} at most");
        spec.problem("tags", summary, &fix, p);
    }
    for (field, map) in [("tags", tags), ("discoveryTags", discovery)] {
        for (key, value) in map {
            let lower = key.to_ascii_lowercase();
            if lower.starts_with("aws:") {
                spec.problem(
                    field,
                    format!("tag key \"{key}\" is reserved"),
                    "aws: is AWS's own prefix",
                    p,
                );
            } else if lower.starts_with(TAG_PREFIX) || key == "Name" {
                spec.problem(
                    field,
                    format!("tag key \"{key}\" is the pool's own"),
                    "choose another key",
                    p,
                );
            } else if key.is_empty() || key.chars().count() > 128 {
                spec.problem(
                    field,
                    format!("tag key \"{key:.32}\" has a wrong length"),
                    "write 1 to 128 characters",
                    p,
                );
            } else if in_metadata && !key.chars().all(|c| c.is_ascii_alphanumeric() || "+-=.,_:@".contains(c)) {
                let fix = "while instances read their tags from metadata, EC2 takes letters, digits and +-=.,_:@ only; \
                           change the key or write metadataTags: false";
                spec.problem(
                    field,
                    format!("tag key \"{key}\" has a character that fails the launch"),
                    fix,
                    p,
                );
            }
            if value.chars().count() > 256 {
                spec.problem(
                    field,
                    format!("the value of tag \"{key}\" is too long"),
                    "write 256 characters at most",
                    p,
                );
            }
        }
    }
    for key in tags.keys().filter(|k| discovery.contains_key(*k)) {
        spec.problem(
            "discoveryTags",
            format!("tag \"{key}\" is in tags too"),
            "write it once",
            p,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(change: Value) -> Result<NodePool, Vec<String>> {
        let mut spec = json!({
            "cluster": "my-prod", "size": 3, "instanceTypes": ["g4dn.xlarge", "g5.xlarge"],
            "image": {"parameter": "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"},
            "subnets": ["subnet-0aaaaaaaaaaaaaaa1"],
            "discoveryTags": {"SynktiCluster": "my-prod", "SynktiRole": "worker"},
        });
        for (key, value) in change.as_object().cloned().unwrap_or_default() {
            spec[key] = value;
        }
        let document =
            json!({"apiVersion": API_VERSION, "kind": "NodePool", "metadata": {"name": "workers"}, "spec": spec});
        node_pool_from_value(document, &|_| None).map_err(|ds| ds.0.iter().map(|d| d.summary.clone()).collect())
    }

    #[test]
    fn a_size_that_is_wrong_is_one_problem_and_not_also_a_missing_one() {
        for (change, why) in [
            (json!({"size": -1}), "cannot be -1"),
            (json!({"size": "three"}), "must be a whole number"),
            (json!({"size": null, "min": 0, "max": 100_000}), "cannot be 100000"),
        ] {
            let problems = read(change).expect_err("a problem");
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(why), "{problems:?}");
        }
    }

    #[test]
    fn the_spot_pool_of_the_seed_is_read_with_safe_defaults() {
        let pool = read(json!({})).expect("a pool");
        assert_eq!(pool.size, Size { min: 3, max: 3 });
        assert_eq!(pool.capacity.on_demand(3), 0);
        assert!(pool.root_volume.encrypted && !pool.public_address);
        assert_eq!(pool.metadata_hops, 1);
    }

    #[test]
    fn every_limit_that_ec2_would_refuse_late_is_refused_at_plan() {
        let many: BTreeMap<String, String> = (0..43).map(|n| (format!("k{n}"), String::new())).collect();
        let table = [
            (
                json!({"userData": "x".repeat(USER_DATA_LIMIT + 1)}),
                "userData has 16385 bytes",
            ),
            (
                json!({"userData": "no base64!", "userDataEncoding": "base64"}),
                "is not base64",
            ),
            (json!({"userDataEncoding": "base64"}), "needs userData"),
            (json!({"tags": many}), "too many"),
            (json!({"tags": {"aws:x": ""}}), "is reserved"),
            (json!({"tags": {"a b": ""}}), "fails the launch"),
            (json!({"tags": {"a": "v".repeat(257)}}), "too long"),
            (json!({"tags": {"SynktiRole": "x"}}), "is in tags too"),
            (json!({"drainHook": "x".repeat(257)}), "one line of 1 to 256 characters"),
            (json!({"drainHook": "a\nb"}), "one line of 1 to 256 characters"),
            (json!({"undrainHook": "start"}), "no drain hook whose work"),
            (json!({"size": 1001}), "cannot be 1001"),
            (json!({"min": 1}), "needs a size"),
            (json!({"size": null, "min": 3, "max": 2}), "larger than max"),
            (json!({"instanceTypes": []}), "at least one instance type"),
            (json!({"instanceTypes": ["G4DN.xlarge"]}), "not an instance type"),
            (json!({"subnets": ["subnet-1"]}), "not a subnet- id"),
            (json!({"image": {"id": "ami-1", "parameter": "/x"}}), "one image"),
            (json!({"rollout": {"surge": 0, "maxUnavailable": 0}}), "cannot move"),
            (
                json!({"rollout": {"health": "kubernetes"}}),
                "needs a pool of cluster nodes",
            ),
        ];
        for (change, want) in table {
            let problems = read(change).expect_err(want);
            assert!(
                problems.iter().any(|s| s.contains(want)),
                "{want} is not in {problems:#?}"
            );
        }
        assert!(
            read(json!({"tags": {"a b": ""}, "metadataTags": false})).is_ok(),
            "without metadata tags the key is fine"
        );
    }

    #[test]
    fn shares_and_capacity_round_to_the_safe_side() {
        assert_eq!(
            (Share::Percent(10).of(5, true), Share::Percent(10).of(5, false)),
            (1, 0)
        );
        let half = Capacity {
            on_demand_base: 1,
            spot_percent: 50,
        };
        assert_eq!([0, 1, 2, 4].map(|n| half.on_demand(n)), [0, 1, 2, 3]);
    }
}
