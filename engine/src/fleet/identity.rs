//! The identity of a node: the tags that the pool sets at launch, the hash of what the node was launched from, and
//! client tokens.
//!
//! Pure. Tag keys contain no slash, because EC2 refuses a launch that shows such a key to the instance's metadata
//! service.

use crate::cloud::{ImageSource, ResolvedImage, TagFilter, Tags, TemplateBody, VolumeSpec};
use crate::document::{Image, NodePool};
use crate::mask::hex;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fmt;

/// Cluster of the pool.
pub const TAG_CLUSTER: &str = "myelin.dev:cluster";
/// Name of the pool.
pub const TAG_POOL: &str = "myelin.dev:pool";
/// Number of the launch that created the instance. One launch creates many instances, and EC2 gives them the same tags.
pub const TAG_SLOT: &str = "myelin.dev:slot";
/// Number of the request within that launch: after a refusal, the rest is requested elsewhere.
pub const TAG_ATTEMPT: &str = "myelin.dev:attempt";
/// Hash of what the instance was launched from.
pub const TAG_HASH: &str = "myelin.dev:spec-hash";
/// Version of the algorithm behind that hash.
pub const TAG_HASH_VERSION: &str = "myelin.dev:hash-version";
/// What the node reports about itself: `ready`, `draining`, `drained`, `failed`. The only tag that a node may write.
pub const TAG_STATE: &str = "myelin.dev:state";
/// Since when the pool wants the node drained (RFC 3339). Removing the tag cancels the drain.
pub const TAG_DRAIN: &str = "myelin.dev:drain";

/// Shell command that drains the node, for nodes without an agent that are in no cluster. Run over SSM, at least once.
pub const TAG_DRAIN_HOOK: &str = "myelin.dev:drain-hook";

/// Shell command that restarts what the drain hook stopped, when a removal is cancelled.
pub const TAG_UNDRAIN_HOOK: &str = "myelin.dev:undrain-hook";

/// Version of [`spec_hash`]. Nodes with another version are never compared, so a new version of this program replaces
/// no node.
pub const HASH_VERSION: &str = "1";

/// A pool's identity: a function of its document alone, so that a lost state loses no node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId {
    /// Cluster that it serves.
    pub cluster: String,
    /// Its name.
    pub name: String,
}

impl PoolId {
    /// The identity of a document's pool.
    #[must_use]
    pub fn of(pool: &NodePool) -> Self {
        Self {
            cluster: pool.cluster.clone(),
            name: pool.name.clone(),
        }
    }

    /// Filters that find everything of the pool.
    #[must_use]
    pub fn filters(&self) -> Vec<TagFilter> {
        [(TAG_CLUSTER, &self.cluster), (TAG_POOL, &self.name)]
            .map(|(key, value)| TagFilter {
                key: key.into(),
                values: vec![value.clone()],
            })
            .into()
    }

    /// The tags of everything that the pool creates.
    #[must_use]
    pub fn tags(&self) -> Tags {
        Tags::from([
            (TAG_CLUSTER.into(), self.cluster.clone()),
            (TAG_POOL.into(), self.name.clone()),
        ])
    }
}

impl fmt::Display for PoolId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.name)
    }
}

/// The image that a document names.
#[must_use]
pub(super) fn image_source(pool: &NodePool) -> ImageSource {
    match &pool.image {
        Image::Id(id) => ImageSource::Id(id.clone()),
        Image::Parameter(name) => ImageSource::Parameter(name.clone()),
    }
}

/// Hash of what defines a node. Types, subnets, sizes and capacity are not included: a node of a type that is still
/// allowed stays, whatever else the list says.
#[must_use]
pub fn spec_hash(pool: &NodePool, image: &str) -> String {
    let mut groups = pool.security_groups.clone();
    groups.sort();
    let user_data = pool.user_data.as_deref().map(|d| hex(&Sha256::digest(d)));
    let volume = &pool.root_volume;
    let mut text = json!([
        "myelin node v1",
        image,
        pool.instance_profile,
        groups,
        user_data,
        [
            json!(volume.size),
            json!(volume.kind),
            json!(volume.encrypted),
            json!(volume.kms_key)
        ],
        pool.tags,
        pool.discovery_tags,
        pool.metadata_tags,
        pool.metadata_hops,
        pool.public_address,
    ]);
    // Added only if there is a hook, so that pools without one keep their hashes.
    if let (Some(hook), Some(parts)) = (&pool.drain_hook, text.as_array_mut()) {
        parts.push(json!({"drainHook": hook, "undrainHook": pool.undrain_hook}));
    }
    hex(&Sha256::digest(text.to_string().as_bytes())[..8])
}

/// Name of the launch template of a generation.
#[must_use]
pub(super) fn template_name(id: &PoolId, hash: &str) -> String {
    let whole = format!("myelin-{}-{}-{hash}", id.cluster, id.name);
    if whole.len() <= 128 {
        return whole;
    }
    // Two label names can reach EC2's limit; the hash of the whole keeps truncated names distinct.
    let mark = hex(&Sha256::digest(whole.as_bytes())[..8]);
    format!("{whole:.90}-{mark}-{hash}")
}

/// The tags of all nodes of a generation.
#[must_use]
pub(super) fn node_tags(pool: &NodePool, hash: &str) -> Tags {
    let mut tags: Tags = pool.tags.clone();
    tags.extend(pool.discovery_tags.clone());
    tags.extend(PoolId::of(pool).tags());
    tags.extend([
        ("Name".to_owned(), format!("{}-{}", pool.cluster, pool.name)),
        (TAG_HASH.to_owned(), hash.to_owned()),
        (TAG_HASH_VERSION.to_owned(), HASH_VERSION.to_owned()),
    ]);
    for (tag, hook) in [
        (TAG_DRAIN_HOOK, &pool.drain_hook),
        (TAG_UNDRAIN_HOOK, &pool.undrain_hook),
    ] {
        tags.extend(hook.iter().map(|hook| (tag.to_owned(), hook.clone())));
    }
    tags
}

/// The body of that template.
#[must_use]
pub(super) fn template_body(pool: &NodePool, image: &ResolvedImage, hash: &str) -> TemplateBody {
    TemplateBody {
        image: image.id.clone(),
        instance_profile: pool.instance_profile.clone(),
        security_groups: pool.security_groups.clone(),
        user_data: pool.user_data.clone(),
        root_volume: VolumeSpec {
            device: image.root_device.clone(),
            size: pool.root_volume.size.max(image.root_size),
            kind: pool.root_volume.kind.clone(),
            encrypted: pool.root_volume.encrypted,
            kms_key: pool.root_volume.kms_key.clone(),
        },
        metadata_tags: pool.metadata_tags,
        metadata_hops: pool.metadata_hops,
        public_address: pool.public_address,
        tags: node_tags(pool, hash),
    }
}

/// The tags of one launch. They repeat the generation's tags: if the tags of a request replaced those of its template
/// instead of adding to them, the node would have no identity.
#[must_use]
pub(super) fn launch_tags(pool: &NodePool, hash: &str, slot: u32, attempt: u32) -> Tags {
    let mut tags = node_tags(pool, hash);
    tags.insert(TAG_SLOT.into(), slot.to_string());
    tags.insert(TAG_ATTEMPT.into(), attempt.to_string());
    tags
}

/// The client token of a launch: a function of the pool, the launch, the attempt and the final request. So repeating
/// the same request launches nothing new, whoever repeats it, and another request never meets a used token.
#[must_use]
pub(super) fn client_token(id: &PoolId, slot: u32, attempt: u32, request: &str) -> String {
    let text = json!(["myelin launch v1", id.cluster, id.name, slot, attempt, request]).to_string();
    hex(&Sha256::digest(text.as_bytes()))[..52].to_owned()
}
