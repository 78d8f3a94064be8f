//! What to do at this moment of an apply: a pure function of the goal and the current observation, so that a new
//! process continues where the last one stopped.
//!
//! The promise: we never reduce the nodes that serve below the wanted number minus what may be unavailable.

use super::node::{Node, NodeHealth};
use super::plan::allowance;
use crate::cloud::Lifecycle;
use crate::document::NodePool;
use std::collections::BTreeSet;

/// The goal of an apply.
#[derive(Debug, Clone)]
pub(super) struct Goal {
    /// Number of nodes in the end.
    pub(super) desired: u32,
    /// Nodes that the plan removes.
    pub(super) going: BTreeSet<String>,
}

/// The state of a drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Drained {
    /// Nothing is left on the node.
    Empty,
    /// The deadline passed with this unfinished, and the policy is to terminate the node all the same.
    Overdue(String),
    /// Something is still on the node.
    Waiting(String),
    /// The deadline passed, and the policy is to keep what a disruption budget protects.
    Refused(String),
}

/// What to do now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Nodes to launch, by lifecycle.
    pub(super) launch: Vec<(Lifecycle, u32)>,
    /// Nodes whose drain begins.
    pub(super) drain: Vec<String>,
    /// Drained nodes to terminate.
    pub(super) end: Vec<String>,
    /// Why the roll pauses.
    pub(super) halt: Option<String>,
    /// Whether everything is as planned.
    pub(super) done: bool,
}

/// The order of removal: nodes that do not serve, then the oldest.
pub(super) fn removal_order(nodes: &mut [&Node]) {
    nodes.sort_by_key(|n| {
        let i = &n.instance;
        (n.draining_since.is_none(), n.serves(), i.launched_at, i.id.clone())
    });
}

/// Decides. `coming` are launched nodes that EC2 does not list yet, by lifecycle.
pub(super) fn step(
    pool: &NodePool,
    goal: &Goal,
    nodes: &[Node],
    coming: &[Lifecycle],
    drained: &dyn Fn(&Node) -> Option<Drained>,
) -> Step {
    let mut out = Step::default();
    let want = goal.desired as usize;
    let (surge, missing) = allowance(pool, goal.desired);
    let here = |n: &&Node| !n.instance.state.is_ended();
    let going: Vec<&Node> = nodes
        .iter()
        .filter(here)
        .filter(|n| goal.going.contains(&n.instance.id))
        .collect();
    let staying: Vec<&Node> = nodes
        .iter()
        .filter(here)
        .filter(|n| !goal.going.contains(&n.instance.id) && n.is_identified() && n.health != NodeHealth::Leaving)
        .collect();
    if let Some((n, why)) = staying.iter().find_map(|n| match &n.health {
        NodeHealth::Failed(why) => Some((n, why)),
        _ => None,
    }) {
        out.halt = Some(format!("{} ({}) is not healthy: {why}", n.instance.id, n.place()));
        return out;
    }
    for n in &going {
        match (n.draining_since, drained(n)) {
            (Some(_), Some(Drained::Empty | Drained::Overdue(_))) => out.end.push(n.instance.id.clone()),
            (Some(_), Some(Drained::Refused(why))) => {
                out.halt = Some(format!("{} ({}) cannot be drained: {why}", n.instance.id, n.place()));
                return out;
            }
            _ => {}
        }
    }

    // Launch what is missing, as far as the surge leaves room beside nodes that still have to go.
    let have = staying.len() + coming.len();
    // A node that leaves by itself uses no room: spot reclaims come in bulk, and their replacement does not wait.
    let beside = going.iter().filter(|n| n.health != NodeHealth::Leaving).count();
    let room = (want + surge as usize).saturating_sub(have + beside);
    let launch = want.saturating_sub(have).min(room);
    out.launch = by_lifecycle(pool, goal.desired, &staying, coming, launch);

    // Terminate what the promise can spare. A node that does not serve does not count.
    let serving = staying.iter().filter(|n| n.serves()).count() + going.iter().filter(|n| n.serves()).count();
    let mut spare = serving.saturating_sub(want.saturating_sub(missing as usize));
    let mut next: Vec<&Node> = going.iter().filter(|n| n.draining_since.is_none()).copied().collect();
    removal_order(&mut next);
    for n in next {
        if n.serves() {
            if spare == 0 {
                continue;
            }
            spare -= 1;
        }
        out.drain.push(n.instance.id.clone());
    }
    out.done =
        going.is_empty() && have >= want && coming.is_empty() && staying.iter().all(|n| n.health == NodeHealth::Ready);
    out
}

/// Splits a launch of this size by lifecycle.
fn by_lifecycle(
    pool: &NodePool,
    desired: u32,
    staying: &[&Node],
    coming: &[Lifecycle],
    launch: usize,
) -> Vec<(Lifecycle, u32)> {
    let launch = u32::try_from(launch).unwrap_or(u32::MAX);
    let on_demand = |l: &Lifecycle| *l == Lifecycle::OnDemand;
    let have = staying.iter().filter(|n| on_demand(&n.instance.lifecycle)).count()
        + coming.iter().filter(|l| on_demand(l)).count();
    let wanted = pool
        .capacity
        .on_demand(desired)
        .saturating_sub(u32::try_from(have).unwrap_or(u32::MAX))
        .min(launch);
    [(Lifecycle::OnDemand, wanted), (Lifecycle::Spot, launch - wanted)]
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .collect()
}
