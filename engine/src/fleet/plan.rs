//! Document and observation → [`FleetPlan`]: which nodes are kept, launched, replaced or removed, why, and in which
//! order.
//!
//! A pure function. `apply` removes no node that a plan did not name, and `step` decides moment by moment when.

use super::identity::PoolId;
use super::intent;
use super::node::{Node, NodeHealth, since};
use super::observe::Observed;
use crate::cloud::Lifecycle;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::NodePool;
use crate::mask::hex;
use jiff::Timestamp;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// An instance with our tags but no identity may be a launch in progress; only an older one counts as leaked and is
/// removed.
pub const LEAK_AGE: Duration = Duration::from_secs(600);

/// What happens to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeFate {
    /// Nothing.
    Keep,
    /// A drain in progress is cancelled; the node stays.
    Undrain,
    /// It is launched.
    Launch,
    /// A new node takes its place, then it is drained and terminated.
    Replace,
    /// It is drained and terminated.
    Remove,
    /// It has the pool's tags but no identity, and is too young to be touched.
    Watch,
}

impl NodeFate {
    /// The fate in one word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Undrain => "undrain",
            Self::Launch => "launch",
            Self::Replace => "replace",
            Self::Remove => "remove",
            Self::Watch => "watch",
        }
    }
}

/// What happens to one node, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// Instance id; `new-1` and so on for nodes that do not exist.
    pub id: String,
    /// Type, lifecycle and zone, actual or possible.
    pub place: String,
    /// What happens.
    pub fate: NodeFate,
    /// Why, in a few words.
    pub reason: String,
    /// Its turn, from 1; 0 for nodes to which nothing happens. Launches in the same turn happen together.
    pub turn: u32,
}

/// What would change in a pool. Made by [`plan_pool`](super::plan_pool); executed by [`apply_pool`](super::apply_pool).
#[derive(Debug, Clone)]
pub struct FleetPlan {
    /// Which pool.
    pub id: PoolId,
    /// Number of nodes that it will have.
    pub desired: u32,
    /// The image of new nodes.
    pub image: String,
    /// What the document's parameter names now, if that is another image: available, and not applied.
    pub newer_image: Option<String>,
    /// Hash of what new nodes are launched from.
    pub spec_hash: String,
    /// Every node, in the order of turns, then by id.
    pub nodes: Vec<NodePlan>,
    /// Refusals and warnings. A plan with an error cannot be applied.
    pub diagnostics: Diagnostics,
    /// Identity of the plan: the same inputs give the same text in every front end.
    pub hash: String,
    pub(super) pool: NodePool,
    pub(super) observed: Observed,
}

impl FleetPlan {
    /// Whether applying it changes no node.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes
            .iter()
            .all(|n| matches!(n.fate, NodeFate::Keep | NodeFate::Watch))
    }

    /// Number of nodes with a fate.
    #[must_use]
    pub fn count(&self, fate: NodeFate) -> usize {
        self.nodes.iter().filter(|n| n.fate == fate).count()
    }
}

/// How many nodes the pool should have: the current number, within the document's bounds. Inside the range, an
/// autoscaler or a user decides, and that is not drift. During a roll the number comes from the intent, because a surge
/// is not a decision.
fn desired(pool: &NodePool, seen: &Observed, hash: &str) -> u32 {
    let live = |n: &&Node| n.is_identified() && n.health != NodeHealth::Leaving;
    let count = u32::try_from(seen.nodes.iter().filter(live).count()).unwrap_or(u32::MAX);
    let rolling = seen
        .nodes
        .iter()
        .any(|n| n.outdated(pool, hash).is_some() || n.draining_since.is_some());
    let begun = seen
        .templates
        .iter()
        .flatten()
        .filter_map(intent::Intent::of)
        .max_by_key(|i| (i.slot, i.attempt))
        .filter(|_| rolling)
        .map(|i| i.target);
    begun.unwrap_or(count).clamp(pool.size.min, pool.size.max)
}

/// "node" or "nodes", depending on the number.
fn nodes(count: usize) -> &'static str {
    if count == 1 { "node" } else { "nodes" }
}

/// Nodes to give up first: those that are not ready, then those in the most crowded zone, then the youngest.
fn surplus(mut from: Vec<&Node>, count: usize) -> Vec<&Node> {
    let mut out = Vec::new();
    for _ in 0..count {
        let mut crowd: BTreeMap<&str, usize> = BTreeMap::new();
        for n in &from {
            *crowd.entry(n.instance.zone.as_str()).or_default() += 1;
        }
        let worst = from.iter().enumerate().max_by_key(|(_, n)| {
            let i = &n.instance;
            (
                !n.serves(),
                crowd.get(i.zone.as_str()).copied(),
                i.launched_at,
                i.id.clone(),
            )
        });
        let Some(at) = worst.map(|(at, _)| at) else { break };
        out.push(from.remove(at));
    }
    out
}

pub(super) fn plan(pool: &NodePool, seen: &Observed, now: Timestamp) -> FleetPlan {
    let hash = seen.hash.clone();
    let want = desired(pool, seen, &hash);
    let mut fates: BTreeMap<&str, (NodeFate, String)> = BTreeMap::new();
    let (ours, strays): (Vec<&Node>, Vec<&Node>) = seen.nodes.iter().partition(|n| n.is_identified());
    for n in strays {
        let age = since(n.instance.launched_at, now);
        let fate = if age >= LEAK_AGE {
            (
                NodeFate::Remove,
                format!(
                    "has the pool's tags and no identity, {} min old: a leak",
                    age.as_secs() / 60
                ),
            )
        } else {
            (
                NodeFate::Watch,
                format!("has the pool's tags and no identity, {} s old", age.as_secs()),
            )
        };
        fates.insert(&n.instance.id, fate);
    }
    for n in &ours {
        let fate = if let Some(why) = n.outdated(pool, &hash) {
            (NodeFate::Replace, why)
        } else {
            match &n.health {
                NodeHealth::Failed(why) => (NodeFate::Replace, format!("not healthy: {why}")),
                NodeHealth::Leaving => (
                    NodeFate::Remove,
                    "leaves by itself (a spot notice, or its agent)".to_owned(),
                ),
                _ if n.draining_since.is_some() => (NodeFate::Undrain, "its removal was called off".to_owned()),
                NodeHealth::Ready => (NodeFate::Keep, "as specified".to_owned()),
                NodeHealth::Starting => (NodeFate::Keep, "starting".to_owned()),
            }
        };
        fates.insert(&n.instance.id, fate);
    }
    shrink(&ours, &mut fates, want as usize);
    balance(pool, &ours, &mut fates, want);

    let stays = |f: &NodeFate| matches!(f, NodeFate::Keep | NodeFate::Undrain);
    let staying = fates.values().filter(|(f, _)| stays(f)).count();
    let diagnostics = judge(pool, seen, &fates, want);
    let nodes = in_turns(pool, seen, &fates, want, staying);
    let hash_of_plan = plan_hash(pool, &hash, want, &nodes);
    FleetPlan {
        id: PoolId::of(pool),
        desired: want,
        image: seen.image.clone(),
        newer_image: seen.newer_image.clone(),
        spec_hash: hash,
        nodes,
        diagnostics,
        hash: hash_of_plan,
        pool: pool.clone(),
        observed: seen.clone(),
    }
}

/// If there are more nodes than wanted, those that would be replaced are removed first, without a replacement.
fn shrink<'a>(ours: &[&'a Node], fates: &mut BTreeMap<&'a str, (NodeFate, String)>, want: usize) {
    let of = |fates: &BTreeMap<&str, (NodeFate, String)>, n: &Node| fates.get(n.instance.id.as_str()).map(|(f, _)| *f);
    let (mut stay, mut go) = (Vec::new(), Vec::new());
    for n in ours {
        match of(fates, n) {
            Some(NodeFate::Replace) => go.push(*n),
            Some(NodeFate::Keep | NodeFate::Undrain) => stay.push(*n),
            _ => {}
        }
    }
    let replacements = want.saturating_sub(stay.len()).min(go.len());
    for n in surplus(go.clone(), go.len() - replacements) {
        if let Some((fate, why)) = fates.get_mut(n.instance.id.as_str()) {
            *fate = NodeFate::Remove;
            why.push_str("; not needed any more");
        }
    }
    for n in surplus(stay.clone(), stay.len().saturating_sub(want)) {
        fates.insert(
            &n.instance.id,
            (NodeFate::Remove, format!("the pool is to have {want} {}", nodes(want))),
        );
    }
}

/// Replaces spot with on-demand nodes or the other way round, if the capacity requires it.
fn balance<'a>(pool: &NodePool, ours: &[&'a Node], fates: &mut BTreeMap<&'a str, (NodeFate, String)>, want: u32) {
    let on_demand = pool.capacity.on_demand(want) as usize;
    for (lifecycle, limit) in [
        (Lifecycle::OnDemand, on_demand),
        (Lifecycle::Spot, want as usize - on_demand),
    ] {
        let have: Vec<&Node> = ours
            .iter()
            .filter(|n| n.instance.lifecycle == lifecycle)
            .filter(|n| {
                matches!(
                    fates.get(n.instance.id.as_str()),
                    Some((NodeFate::Keep | NodeFate::Undrain, _))
                )
            })
            .copied()
            .collect();
        for n in surplus(have.clone(), have.len().saturating_sub(limit)) {
            let why = format!("{limit} {} nodes are wanted", lifecycle.word());
            fates.insert(&n.instance.id, (NodeFate::Replace, why));
        }
    }
}

/// The blast radius, and warnings for the user.
fn judge(pool: &NodePool, seen: &Observed, fates: &BTreeMap<&str, (NodeFate, String)>, want: u32) -> Diagnostics {
    let mut out = seen.warnings.clone();
    // A node that leaves by itself or is broken does not count as taken away by us.
    let healthy = |id: &str| seen.nodes.iter().any(|n| n.instance.id == id && n.serves());
    let removed = fates
        .iter()
        .filter(|(id, (f, _))| *f == NodeFate::Remove && healthy(id))
        .count();
    let total = seen.nodes.iter().filter(|n| n.serves()).count();
    let limit = usize::from(pool.rollout.max_removed_percent);
    if removed > 1 && removed * 100 > total * limit {
        out.push(
            Diagnostic::error(format!("the plan removes {removed} of {total} serving nodes of pool {}", PoolId::of(pool)))
                .detail(format!(
                    "rollout.maxRemovedPercent allows {limit} %; raise it for this change if it is meant, or shrink in steps"
                ))
                .attribute(["spec", "rollout", "maxRemovedPercent"]),
        );
    }
    if want > 0 && seen.image.is_empty() {
        out.push(Diagnostic::error("the image of new nodes is not known").attribute(["spec", "image"]));
    }
    out
}

/// The order in which `step` works: launches as far as the surge allows, then a removal for each place that must become
/// free.
fn in_turns(
    pool: &NodePool,
    seen: &Observed,
    fates: &BTreeMap<&str, (NodeFate, String)>,
    want: u32,
    staying: usize,
) -> Vec<NodePlan> {
    let mut launches = (want as usize).saturating_sub(staying);
    let (surge, _) = allowance(pool, want);
    let mut goers: Vec<&Node> = seen
        .nodes
        .iter()
        .filter(|n| {
            matches!(
                fates.get(n.instance.id.as_str()),
                Some((NodeFate::Replace | NodeFate::Remove, _))
            )
        })
        .collect();
    super::step::removal_order(&mut goers);
    let mut exists = staying + goers.len();
    let (mut turn, mut number, mut out) = (0, 0, Vec::new());
    let mut goers = goers.into_iter();
    loop {
        let room = (want as usize + surge as usize).saturating_sub(exists).min(launches);
        if room > 0 {
            turn += 1;
        }
        for _ in 0..room {
            number += 1;
            launches -= 1;
            exists += 1;
            out.push(NodePlan {
                id: format!("new-{number}"),
                place: format!("{} in {} subnets", pool.instance_types.join(" or "), pool.subnets.len()),
                fate: NodeFate::Launch,
                reason: format!("the pool is to have {want} {}", nodes(want as usize)),
                turn,
            });
        }
        let Some(node) = goers.next() else { break };
        turn += 1;
        exists -= 1;
        out.push(line(node, fates, turn));
    }
    let rest = seen.nodes.iter().filter(|n| {
        !matches!(
            fates.get(n.instance.id.as_str()),
            Some((NodeFate::Replace | NodeFate::Remove, _)) | None
        )
    });
    out.extend(rest.map(|n| line(n, fates, 0)));
    out
}

fn line(node: &Node, fates: &BTreeMap<&str, (NodeFate, String)>, turn: u32) -> NodePlan {
    let (fate, reason) = fates
        .get(node.instance.id.as_str())
        .cloned()
        .unwrap_or((NodeFate::Watch, String::new()));
    NodePlan {
        id: node.instance.id.clone(),
        place: node.place(),
        fate,
        reason,
        turn,
    }
}

/// How many nodes above and below the size are allowed during a roll. If both round to zero, one may be missing, as in
/// a Deployment.
pub(super) fn allowance(pool: &NodePool, want: u32) -> (u32, u32) {
    let (surge, missing) = (
        pool.rollout.surge.of(want, true),
        pool.rollout.max_unavailable.of(want, false),
    );
    if surge == 0 && missing == 0 {
        (0, 1)
    } else {
        (surge, missing)
    }
}

/// Hashes what the plan will do to which nodes. Reasons are not included, because they contain ages.
fn plan_hash(pool: &NodePool, hash: &str, want: u32, nodes: &[NodePlan]) -> String {
    let all: Vec<_> = nodes.iter().map(|n| json!([n.id, n.fate.word(), n.turn])).collect();
    let text = json!([
        "myelin fleet plan v1",
        pool.cluster,
        pool.name,
        hash,
        want,
        pool.instance_types,
        pool.subnets,
        all
    ]);
    hex(&Sha256::digest(text.to_string().as_bytes())[..16])
}
