//! The cloud and the cluster → [`Observed`]: one DescribeInstances, and further requests only when there is work.
//!
//! A list that is denied, incomplete, or empty although nodes are known is an error, so that nothing is decided on it.

use super::identity::{HASH_VERSION, PoolId, TAG_HASH, TAG_HASH_VERSION, image_source, spec_hash, template_name};
use super::node::{ClusterNode, Node, cluster_node, node, since};
use super::{Known, Ports, intent, owner};
use crate::cloud::{
    Calls, Cloud, CloudError, Completeness, Instance, InstanceStatus, Kind, LaunchTemplate, Listing, ResolvedImage,
};
use crate::cluster::{Selection, kinds, retrying};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Health, Image, NodePool};
use crate::record::Owner;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A younger node cannot have passed its status checks, so they are not read.
const STATUS_AFTER: Duration = Duration::from_secs(40);

/// The observed state of a pool.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Instances with the pool's tags that have not ended, by id.
    pub nodes: Vec<Node>,
    /// Instances with the pool's tags that are ending or have ended, as long as EC2 lists them.
    pub ended: Vec<Instance>,
    /// The image of new nodes: the pinned one, or what the document names now.
    pub image: String,
    /// What the document's parameter names now, if it was read and differs from the pinned image.
    pub newer_image: Option<String>,
    /// Hash of what new nodes are launched from.
    pub hash: String,
    /// The pool's owner, if the templates were read and name one.
    pub owner: Option<Owner>,
    /// The pool's launch templates; None if there was no need to read them.
    pub(super) templates: Option<Vec<LaunchTemplate>>,
    /// Details of the image, if they were read.
    pub(super) resolved: Option<ResolvedImage>,
    /// What the user should know.
    pub warnings: Diagnostics,
    /// Requests sent.
    pub calls: Calls,
}

/// An error of the cloud as a diagnostic.
pub(super) fn cloud_problem(what: String, error: &CloudError) -> Diagnostic {
    let next = match error.kind {
        Kind::Denied => "give the credentials this right; nothing was launched or ended",
        Kind::Throttled => "others use the account's request rate up; try again later",
        Kind::Lost | Kind::Other => "try again; what the request may have done is found by its tags",
        Kind::Invalid => "correct the pool's document",
        Kind::NotFound => {
            "it is not there in this region and account: correct its name, or try again if it was made just now"
        }
        _ => "try again",
    };
    Diagnostic::error(what).detail(format!("{error}; {next}"))
}

/// The complete listing, or why it cannot be believed.
pub(super) fn whole<T>(what: &str, listing: Result<Listing<T>, CloudError>) -> Result<Vec<T>, Diagnostic> {
    let listing = listing.map_err(|e| cloud_problem(format!("{what} cannot be listed"), &e))?;
    match listing.completeness {
        Completeness::Complete => Ok(listing.items),
        Completeness::Partial(why) => Err(Diagnostic::error(format!("{what} could be listed only in part"))
            .detail(format!("{why}; nothing is launched or ended on half a list: try again"))),
    }
}

pub(super) async fn observe(
    cloud: &dyn Cloud,
    ports: &Ports,
    pool: &NodePool,
    known: &Known,
    cancel: &CancellationToken,
) -> Result<Observed, Diagnostics> {
    let before = cloud.calls();
    let id = PoolId::of(pool);
    let instances = whole(&format!("instances of pool {id}"), cloud.instances(&id.filters()).await)?;
    let now = ports.clock.now();
    let (ended, live): (Vec<Instance>, Vec<Instance>) = instances.into_iter().partition(|i| i.state.is_ended());
    let mut warnings = Diagnostics::new();

    let by_id = |i: &Instance| i.id.clone();
    let seen: BTreeSet<String> = live.iter().chain(&ended).map(by_id).collect();
    let missing: Vec<String> = known.nodes.difference(&seen).take(1000).cloned().collect();
    let mut vouched_gone = false;
    if !missing.is_empty() {
        vouched_gone = verify_missing(cloud, &id, &missing, &mut warnings).await?;
    }

    let (mut image, mut newer, mut resolved, mut templates) = (known.image.clone(), None, None, None);
    if let Image::Id(fixed) = &pool.image {
        image = Some(fixed.clone());
    } else if image.is_none() || known.update_image {
        // A lost state does not unpin the image: the youngest node of this hash version has it.
        let youngest = live
            .iter()
            .filter(|i| i.tags.get(TAG_HASH_VERSION).is_some_and(|v| v == HASH_VERSION))
            .filter(|i| i.tags.get(TAG_HASH) == Some(&spec_hash(pool, &i.image)))
            .max_by_key(|i| i.launched_at);
        image = youngest.map(|i| i.image.clone()).filter(|_| !known.update_image);
    }
    if image.is_none() || known.look_for_newer && matches!(pool.image, Image::Parameter(_)) {
        let found = cloud.image(&image_source(pool)).await.map_err(|e| {
            Diagnostics::from(
                cloud_problem(format!("the image of pool {id} cannot be looked up"), &e).attribute(["spec", "image"]),
            )
        })?;
        match &image {
            Some(pinned) if *pinned != found.id => newer = Some(found.id),
            _ => {
                image = Some(found.id.clone());
                resolved = Some(found);
            }
        }
    }
    let image = image.unwrap_or_default();
    let hash = spec_hash(pool, &image);

    let statuses = statuses(cloud, pool, &live, known.check_health, now).await?;
    let cluster_nodes = cluster_nodes(ports, pool, cancel, &mut warnings).await?;
    let mut nodes: Vec<Node> = live
        .into_iter()
        .map(|i| {
            let (status, own) = (statuses.get(&i.id), cluster_nodes.get(&i.id).cloned());
            node(pool, i, status, own, now)
        })
        .collect();
    nodes.sort_by(|a, b| a.instance.id.cmp(&b.instance.id));

    let steady = nodes
        .iter()
        .all(|n| n.serves() && n.is_identified() && n.outdated(pool, &hash).is_none())
        && (pool.size.min as usize..=pool.size.max as usize).contains(&nodes.len())
        && !nodes.is_empty();
    if !steady || known.look_for_owner {
        let found = whole(
            &format!("launch templates of pool {id}"),
            cloud.templates(&id.filters()).await,
        )?;
        if nodes.is_empty() && ended.is_empty() && !vouched_gone {
            believable_nothing(&id, &found)?;
        }
        if !steady && !found.iter().any(|t| t.name == template_name(&id, &hash)) {
            architectures(cloud, pool, &image, &mut resolved).await?;
        }
        templates = Some(found);
    }
    let owner = templates.as_deref().and_then(owner::of_templates);
    let calls = cloud.calls().since(&before);
    Ok(Observed {
        nodes,
        ended,
        image,
        newer_image: newer,
        hash,
        owner,
        templates,
        resolved,
        warnings,
        calls,
    })
}

/// Requests by id what a list by tags does not show. True if the cloud says that all of it is gone.
pub(super) async fn verify_missing(
    cloud: &dyn Cloud,
    id: &PoolId,
    missing: &[String],
    warnings: &mut Diagnostics,
) -> Result<bool, Diagnostics> {
    let found = whole("the pool's known instances", cloud.instances_by_id(missing).await)?;
    let alive: Vec<&Instance> = found.iter().filter(|i| !i.state.is_ended()).collect();
    let ours = id.tags();
    let lying: Vec<&str> = alive
        .iter()
        .filter(|i| ours.iter().all(|(k, v)| i.tags.get(k) == Some(v)))
        .map(|i| i.id.as_str())
        .collect();
    if !lying.is_empty() {
        let names = lying.iter().take(5).copied().collect::<Vec<_>>().join(", ");
        return Err(Diagnostic::error(format!("EC2's list of pool {id} is not complete"))
            .detail(format!(
                "{names} run with the pool's tags and are not listed; nothing is done on such a list: try again"
            ))
            .into());
    }
    for stray in &alive {
        warnings.push(
            Diagnostic::warning(format!(
                "{} has lost the tags of pool {id} and is not its node any more",
                stray.id
            ))
            .detail("it still runs; give it its tags back, or end it by hand"),
        );
    }
    Ok(!found.is_empty() && alive.is_empty())
}

/// An error if nothing is listed, not even an ended instance, while a template says that the pool had nodes.
fn believable_nothing(id: &PoolId, templates: &[LaunchTemplate]) -> Result<(), Diagnostic> {
    let Some((template, n)) = templates
        .iter()
        .filter_map(|t| intent::target(t).filter(|n| *n > 0).map(|n| (t, n)))
        .max_by_key(|(t, _)| t.created_at)
    else {
        return Ok(());
    };
    Err(Diagnostic::error(format!("EC2 lists no instance of pool {id}, which had {n}")).detail(format!(
        "such a list launches nothing and ends nothing: look whether the region and the credentials are right, and try again. If the \
         instances ended more than an hour ago, delete launch template {} and try again",
        template.name
    )))
}

/// Checks that all types can run the image.
async fn architectures(
    cloud: &dyn Cloud,
    pool: &NodePool,
    image: &str,
    resolved: &mut Option<ResolvedImage>,
) -> Result<(), Diagnostics> {
    if resolved.is_none() {
        let source = crate::cloud::ImageSource::Id(image.to_owned());
        let found = cloud.image(&source).await.map_err(|e| {
            Diagnostics::from(
                cloud_problem(format!("image {image} cannot be described"), &e).attribute(["spec", "image"]),
            )
        })?;
        *resolved = Some(found);
    }
    let Some(image) = resolved else { return Ok(()) };
    let mut problems = Diagnostics::new();
    if !image.available {
        problems.push(
            Diagnostic::error(format!("image {} is not available", image.id))
                .detail("name another, or wait until it is")
                .attribute(["spec", "image"]),
        );
    }
    let types = whole("instance types", cloud.instance_types(&pool.instance_types).await)?;
    for name in &pool.instance_types {
        let problem = match types.iter().find(|t| t.name == *name) {
            None => format!("the region has no instance type {name}"),
            Some(t) if !t.architectures.contains(&image.architecture) => {
                format!(
                    "{name} runs {}, image {} is {}",
                    t.architectures.join(" and "),
                    image.id,
                    image.architecture
                )
            }
            Some(t) if !t.spot && pool.capacity.on_demand(pool.size.max) < pool.size.max => {
                format!("{name} does not come as spot, and the pool has spot nodes")
            }
            Some(_) => continue,
        };
        problems.push(
            Diagnostic::error(problem)
                .detail("remove it from the list, or choose another image or capacity")
                .attribute(["spec", "instanceTypes"]),
        );
    }
    if problems.has_errors() { Err(problems) } else { Ok(()) }
}

pub(super) async fn statuses(
    cloud: &dyn Cloud,
    pool: &NodePool,
    live: &[Instance],
    all: bool,
    now: Timestamp,
) -> Result<BTreeMap<String, InstanceStatus>, Diagnostics> {
    let mut out = BTreeMap::new();
    if pool.rollout.health != Health::StatusChecks {
        return Ok(out);
    }
    let wanted: Vec<String> = live
        .iter()
        .filter(|i| i.state == crate::cloud::InstanceState::Running)
        .filter(|i| {
            let age = since(i.launched_at, now);
            // Read up to twice the health timeout: a node that was never seen healthy must not become so by growing old
            // unseen.
            age >= STATUS_AFTER && (all || age <= pool.rollout.health_timeout * 2)
        })
        .map(|i| i.id.clone())
        .collect();
    for ids in wanted.chunks(1000) {
        let found = whole("status checks", cloud.statuses(ids).await)?;
        out.extend(found.into_iter().map(|s| (s.id.clone(), s)));
    }
    Ok(out)
}

pub(super) async fn cluster_nodes(
    ports: &Ports,
    pool: &NodePool,
    cancel: &CancellationToken,
    warnings: &mut Diagnostics,
) -> Result<BTreeMap<String, ClusterNode>, Diagnostics> {
    if pool.kubernetes.is_none() {
        return Ok(BTreeMap::new());
    }
    let Some(cluster) = &ports.cluster else {
        warnings.push(
            Diagnostic::warning(format!(
                "the nodes of pool {} are cluster nodes, and no cluster is configured",
                PoolId::of(pool)
            ))
            .detail("without it no node can be drained and none is seen Ready"),
        );
        return Ok(BTreeMap::new());
    };
    let resource = kinds::known("v1", "Node");
    let selection = Selection::default();
    let list = retrying(cancel, || cluster.list(&resource, &selection))
        .await
        .map_err(|e| {
            Diagnostics::from(Diagnostic::error("the cluster's nodes cannot be listed").detail(e.to_string()))
        })?;
    Ok(list.items.iter().filter_map(cluster_node).collect())
}
