//! Reads a pool without its document, for front ends, and instances by any tags, for users of a pool.
//!
//! It judges nothing: without the document it is unknown whether a node is healthy or outdated.

use super::identity::{PoolId, TAG_HASH};
use super::observe::{verify_missing, whole};
use super::outcome::NodeFacts;
use super::{FleetRun, Ports, owner, pace};
use crate::cloud::{Cloud, Instance, TagFilter};
use crate::diagnostic::Diagnostics;
use crate::record::Owner;
use std::collections::BTreeSet;

/// What EC2 knows about a pool.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its instances that have not ended, by id.
    pub nodes: Vec<NodeFacts>,
    /// Its owner; None if no tag names one.
    pub owner: Option<Owner>,
    /// Whether anything of it exists: an instance or a launch template.
    pub exists: bool,
    /// What the user should know.
    pub warnings: Diagnostics,
}

/// Looks for a pool by its tags: two requests. `known` names instances that it had; a list that lacks them is checked by id.
///
/// # Errors
/// The cloud refused, did not answer, answered in part, or does not list what it has.
pub async fn find_pool(
    ports: &Ports,
    id: &PoolId,
    known: &BTreeSet<String>,
    run: &FleetRun,
) -> Result<Found, Diagnostics> {
    let cloud = pace::Paced::new(ports, run);
    let all = whole(&format!("instances of pool {id}"), cloud.instances(&id.filters()).await)?;
    let seen: BTreeSet<&String> = all.iter().map(|i| &i.id).collect();
    let missing: Vec<String> = known.iter().filter(|k| !seen.contains(k)).take(1000).cloned().collect();
    let mut warnings = Diagnostics::new();
    if !missing.is_empty() {
        verify_missing(&cloud, id, &missing, &mut warnings).await?;
    }
    let templates = whole(
        &format!("launch templates of pool {id}"),
        cloud.templates(&id.filters()).await,
    )?;
    let mut nodes: Vec<NodeFacts> = all.iter().filter(|i| !i.state.is_ended()).map(facts).collect();
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Found {
        exists: !nodes.is_empty() || !templates.is_empty(),
        owner: owner::of_templates(&templates),
        nodes,
        warnings,
    })
}

/// Every instance with these tags, by id.
///
/// # Errors
/// The cloud refused, did not answer or answered in part.
pub async fn list_instances(
    ports: &Ports,
    filters: &[TagFilter],
    run: &FleetRun,
) -> Result<Vec<Instance>, Diagnostics> {
    let cloud = pace::Paced::new(ports, run);
    let mut all = whole("instances", cloud.instances(filters).await)?;
    all.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(all)
}

/// An instance as front ends show it, without judging it.
pub(super) fn facts(i: &Instance) -> NodeFacts {
    NodeFacts {
        instance_type: i.instance_type.clone(),
        zone: i.zone.clone(),
        state: i.state.word().to_owned(),
        private_ip: i.private_ip.clone(),
        public_ip: i.public_ip.clone(),
        private_dns: i.private_dns.clone(),
        ..NodeFacts::launched(
            &i.id,
            i.lifecycle,
            &i.image,
            i.tags.get(TAG_HASH).map_or("", String::as_str),
        )
    }
}
