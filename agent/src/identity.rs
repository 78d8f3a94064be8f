//! The identity of this node: what the metadata service says, and the identity tags that the launcher set. Read once;
//! later changes of the tags never change the identity.

use crate::config;
use crate::metadata::{Metadata, MetadataError};
use std::net::IpAddr;

/// The tag that the agent maintains, and the only one that it may write.
pub const TAG_STATE: &str = "myelin.dev:state";

/// The tag by which the pool requests a drain. Removing it cancels the drain.
pub const TAG_DRAIN: &str = "myelin.dev:drain";

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Instance id.
    pub instance: String,
    /// Cluster, from its tag.
    pub cluster: String,
    /// Role in it, from its tag.
    pub role: String,
    /// Region.
    pub region: String,
    /// Availability zone.
    pub zone: String,
    /// Private address.
    pub address: IpAddr,
}

/// Why the identity is unknown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The metadata service did not say.
    #[error("read who this node is: {0}")]
    Metadata(#[from] MetadataError),
    /// A part is absent.
    #[error("the metadata service has no {0}")]
    Absent(&'static str),
    /// Tags are not shown.
    #[error(
        "the metadata service shows no tags of this instance: launch it with instance metadata tags enabled (metadataTags: true)"
    )]
    NoTags,
    /// An identity tag is absent.
    #[error(
        "this instance has no tag {0}: who launches it sets it, the agent may not (identity in the configuration names others)"
    )]
    NoTag(String),
    /// A part is none; the beginning of what stands in its place.
    #[error("the metadata service says the {0} is {1:?}; is it one of EC2's?")]
    Wrong(&'static str, String),
}

/// Asks.
///
/// # Errors
/// When the service cannot be asked, or identity tags are absent.
pub async fn read(metadata: &Metadata, tags: &config::Identity) -> Result<Identity, IdentityError> {
    let instance = part(metadata, "meta-data/instance-id", "instance id").await?;
    if !is_id(&instance) {
        return Err(wrong("instance id", &instance));
    }
    let address = part(metadata, "meta-data/local-ipv4", "private address").await?;
    let address = address.parse().map_err(|_| wrong("private address", &address))?;
    let zone = part(metadata, "meta-data/placement/availability-zone", "zone").await?;
    let region = part(metadata, "meta-data/placement/region", "region").await?;
    if metadata.get("meta-data/tags/instance").await?.is_none() {
        return Err(IdentityError::NoTags);
    }
    Ok(Identity {
        cluster: tag(metadata, &tags.cluster_tag).await?,
        role: tag(metadata, &tags.role_tag).await?,
        instance,
        region,
        zone,
        address,
    })
}

/// Whether peers can name it: letters, digits and hyphens, at most 21.
fn is_id(text: &str) -> bool {
    text.len() <= 21 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn wrong(part: &'static str, text: &str) -> IdentityError {
    IdentityError::Wrong(part, text.chars().take(60).collect())
}

async fn part(metadata: &Metadata, path: &str, name: &'static str) -> Result<String, IdentityError> {
    let found = metadata.get(path).await?.filter(|v| !v.is_empty());
    found.ok_or(IdentityError::Absent(name))
}

async fn tag(metadata: &Metadata, key: &str) -> Result<String, IdentityError> {
    let found = metadata.get(&format!("meta-data/tags/instance/{key}")).await?;
    found
        .filter(|v| !v.is_empty())
        .ok_or_else(|| IdentityError::NoTag(key.to_owned()))
}
