//! How an apply of a pool runs, its progress, and its result, which is true on every exit.

use super::node::{Node, NodeHealth};
use super::{Cooling, Pace};
use crate::cloud::{Calls, LaunchRefusal, Lifecycle};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::record::Owner;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// One step of an apply, for users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetProgress {
    /// The instances that it concerns; empty for the pool as a whole.
    pub nodes: Vec<String>,
    /// What happens.
    pub text: String,
}

/// How to run an apply or destroy of a pool.
#[derive(Clone)]
pub struct FleetRun {
    /// Cancelled to stop: nothing new starts, and drains are cancelled.
    pub cancel: CancellationToken,
    /// Called for every step. Must not block.
    pub progress: Arc<dyn Fn(FleetProgress) + Send + Sync>,
    /// Offerings that were refused recently. Share one between the pools of a process.
    pub cooling: Arc<Cooling>,
    /// The account's request rates. Share one between the pools of a process.
    pub pace: Arc<Pace>,
    /// Who acts. It is recorded in what the pool creates, and refused if another owner is recorded. None acts for any
    /// owner.
    pub owner: Option<Owner>,
}

impl Default for FleetRun {
    fn default() -> Self {
        Self {
            cancel: CancellationToken::new(),
            progress: Arc::new(|_| {}),
            cooling: Arc::default(),
            pace: Arc::default(),
            owner: None,
        }
    }
}

impl FleetRun {
    pub(super) fn tell(&self, nodes: &[String], text: impl Into<String>) {
        (self.progress)(FleetProgress {
            nodes: nodes.to_vec(),
            text: text.into(),
        });
    }
}

/// A node as front ends show and remember it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// Instance id.
    pub id: String,
    /// Type; empty while EC2 does not list the instance yet.
    pub instance_type: String,
    /// Zone; empty while EC2 does not list the instance yet.
    pub zone: String,
    /// Spot or on-demand.
    pub lifecycle: Lifecycle,
    /// EC2's word for its state.
    pub state: String,
    /// Private address.
    pub private_ip: Option<String>,
    /// Public address.
    pub public_ip: Option<String>,
    /// Private DNS name.
    pub private_dns: Option<String>,
    /// Whether it is healthy.
    pub ready: bool,
    /// Hash of what it was launched from; empty when unknown.
    pub spec_hash: String,
    /// Image.
    pub image: String,
}

impl NodeFacts {
    /// The facts of an observed node.
    #[must_use]
    pub fn of(node: &Node) -> Self {
        let i = &node.instance;
        Self {
            id: i.id.clone(),
            instance_type: i.instance_type.clone(),
            zone: i.zone.clone(),
            lifecycle: i.lifecycle,
            state: i.state.word().to_owned(),
            private_ip: i.private_ip.clone(),
            public_ip: i.public_ip.clone(),
            private_dns: i.private_dns.clone(),
            ready: node.health == NodeHealth::Ready,
            spec_hash: node.spec_hash.clone().unwrap_or_default(),
            image: i.image.clone(),
        }
    }

    /// Of an instance that was launched and is not listed yet.
    #[must_use]
    pub(super) fn launched(id: &str, lifecycle: Lifecycle, image: &str, hash: &str) -> Self {
        Self {
            id: id.to_owned(),
            instance_type: String::new(),
            zone: String::new(),
            lifecycle,
            state: "pending".into(),
            private_ip: None,
            public_ip: None,
            private_dns: None,
            ready: false,
            spec_hash: hash.to_owned(),
            image: image.to_owned(),
        }
    }
}

/// The result of an apply or destroy.
#[derive(Debug, Clone, Default)]
pub struct FleetOutcome {
    /// The pool's nodes at the end, as last seen, including launched ones that EC2 does not list yet.
    pub nodes: Vec<NodeFacts>,
    /// The image of new nodes, pinned.
    pub image: String,
    /// Instances that this run launched or adopted.
    pub launched: Vec<String>,
    /// Instances that this run terminated.
    pub ended: Vec<String>,
    /// Offerings that were refused, once each.
    pub refusals: Vec<LaunchRefusal>,
    /// Requests sent, by operation.
    pub calls: Calls,
    /// Errors and warnings.
    pub diagnostics: Diagnostics,
    /// Whether everything is as planned and healthy; for a destroy, whether nothing is left.
    pub ready: bool,
    /// Whether it was stopped from outside.
    pub cancelled: bool,
}

impl FleetOutcome {
    pub(super) fn fail(&mut self, why: impl Into<Diagnostics>) {
        self.diagnostics.extend(why.into());
    }

    /// The refused offerings as text for users.
    #[must_use]
    pub fn refusals_text(&self) -> String {
        let one = |r: &LaunchRefusal| {
            let place = if r.zone.is_empty() { &r.subnet } else { &r.zone };
            format!("{} {} in {place}: {}", r.instance_type, r.lifecycle.word(), r.code)
        };
        self.refusals.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// A run that was refused before it began.
    #[must_use]
    pub(super) fn refused(why: impl Into<Diagnostics>) -> Self {
        let mut out = Self::default();
        out.fail(why);
        if !out.diagnostics.has_errors() {
            out.diagnostics
                .push(Diagnostic::error("the pool's plan cannot be applied"));
        }
        out
    }
}
