//! The body of the loop: observe, decide, and publish what should happen. The parts that listen act on it.

use super::view::{DrainView, Shared, View, set};
use crate::config;
use crate::drain::hook::Running;
use crate::drain::machine::{Cause, HookSeen, Machine, Moment, Rules, Seen, Wanted};
use crate::drain::notices::Notices;
use crate::presence::{self, Presence, Tag, TagRule};
use crate::workload::supervise::{Order, Status};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::sync::{oneshot, watch};

/// Why a node is cordoned.
const CORDONED: &str = "EC2 recommends a rebalance (drain.rebalance: cordon)";

/// A user's request. The answer is a sentence, or an error if it cannot be done.
#[derive(Debug)]
pub enum Ask {
    /// Drain the node.
    Drain(oneshot::Sender<Result<String, String>>),
    /// Cancel the drain.
    Undrain(oneshot::Sender<Result<String, String>>),
}

/// Where the decisions are published.
#[derive(Debug)]
pub struct Wishes {
    /// To the workload.
    pub order: watch::Sender<Order>,
    /// To the state tag.
    pub tag: watch::Sender<Option<Tag>>,
}

/// The state of the loop.
#[derive(Debug)]
pub struct Control {
    shared: Arc<Shared>,
    config: config::Drain,
    machine: Machine,
    tag_rule: TagRule,
    hook: Option<Running>,
    asked: bool,
    /// SIGTERM was received.
    pub stop: bool,
    wishes: Wishes,
    last: Wanted,
    /// The agent was started on a draining node: its workload is not started.
    held: bool,
}

impl Control {
    /// For a node whose workload should be started, or, with `held`, only once its drain is cancelled.
    #[must_use]
    pub fn new(shared: Arc<Shared>, config: &config::Config, wishes: Wishes, held: bool) -> Self {
        let rules = Rules {
            timeout: config.drain.timeout.0,
            margin: config.drain.margin.0,
            grace: config.workload.grace.0,
            hook: config.drain.hook.as_ref().map(|h| h.timeout.0),
        };
        Self {
            shared,
            config: config.drain.clone(),
            machine: Machine::new(rules),
            tag_rule: TagRule::default(),
            hook: None,
            asked: false,
            stop: false,
            wishes,
            last: Wanted::Serve,
            held,
        }
    }

    fn causes(&self, notices: &Notices) -> BTreeMap<Cause, Option<Moment>> {
        let mut causes = BTreeMap::new();
        if let Some(at) = notices.spot {
            causes.insert(Cause::Spot, Some(at));
        }
        let rebalance = notices.rebalance && self.config.rebalance == config::Rebalance::Drain;
        for (cause, given) in [
            (Cause::Rebalance, rebalance),
            (Cause::Tag, notices.drain_tag),
            (Cause::Asked, self.asked),
            (Cause::Stop, self.stop),
        ] {
            if given {
                causes.insert(cause, None);
            }
        }
        causes
    }

    /// One turn of the loop. Returns whether the node has nothing left to do: it was told to stop, and everything has
    /// ended.
    pub fn look(&mut self, notices: &Notices, workload: &Status, told: Option<Tag>) -> bool {
        let now = self.shared.now();
        let seen = Seen {
            now,
            causes: self.causes(notices),
            in_flight: self.shared.counters.in_flight.load(Ordering::Relaxed),
            hook: self.hook.as_ref().map_or(HookSeen::NotStarted, Running::seen),
            workload_runs: workload.health.runs(),
        };
        let wanted = self.machine.look(&seen);
        if wanted != self.last {
            self.changed(wanted, now);
        }
        let cordoned = notices.rebalance && self.config.rebalance == config::Rebalance::Cordon;
        let presence = presence::presence(wanted, cordoned, &workload.health);
        let tag = self.tag_rule.tag(wanted, cordoned, &workload.health, now);
        // What is wrong with the workload says more than that its node is held.
        let held = (presence == Presence::Cordoned).then_some(CORDONED);
        let why = workload.health.why().or(held).map(str::to_owned);
        if *self.shared.presence.borrow() != presence {
            tracing::info!(state = presence.word(), why, "the node's state has changed");
        }
        set(&self.shared.presence, presence);
        // A tag left by an earlier run could call a starting node ready: the first decision is always sent, also if it
        // is "no tag".
        set(&self.wishes.tag, Some(tag));
        self.held &= wanted.is_draining();
        let order = if self.held { Order::Terminate } else { order(wanted) };
        set(&self.wishes.order, order);
        let view = View {
            instance: self.shared.identity.instance.clone(),
            cluster: self.shared.identity.cluster.clone(),
            role: self.shared.identity.role.clone(),
            zone: self.shared.identity.zone.clone(),
            address: self.shared.identity.address.to_string(),
            presence,
            workload: workload.health.word(),
            why,
            pid: workload.pid,
            restarts: workload.restarts,
            in_flight: seen.in_flight,
            tag: told.map_or("unknown", |t| t.value().unwrap_or("none")),
            drain: self.drain_view(wanted, now),
            metadata_trouble: notices.trouble.clone(),
            peers_trouble: self.shared.peers_trouble.borrow().clone(),
        };
        set(&self.shared.view, view);
        self.last = wanted;
        wanted == Wanted::Drained && self.stop
    }

    /// The remaining time of the drain.
    #[must_use]
    pub fn left(&self) -> std::time::Duration {
        self.machine.end().unwrap_or_default().saturating_sub(self.shared.now())
    }

    fn drain_view(&self, wanted: Wanted, now: Moment) -> Option<DrainView> {
        let step = match wanted {
            Wanted::Serve => return None,
            Wanted::Finish => "finishing",
            Wanted::Hook => "hook",
            Wanted::Terminate | Wanted::Kill => "terminating",
            Wanted::Drained => "drained",
        };
        Some(DrainView {
            causes: self.machine.causes().iter().map(|c| c.word()).collect(),
            step,
            seconds_left: self.machine.end().unwrap_or(now).saturating_sub(now).as_secs(),
        })
    }

    fn changed(&mut self, wanted: Wanted, now: Moment) {
        let causes = self.machine.causes();
        let words: Vec<&str> = causes.iter().map(|c| c.word()).collect();
        let left = self.machine.end().unwrap_or(now).saturating_sub(now);
        match wanted {
            Wanted::Serve => {
                self.hook = None;
                tracing::info!("the drain is called off");
            }
            Wanted::Finish => {
                tracing::info!(
                    causes = words.join(", "),
                    seconds = left.as_secs(),
                    "the node drains: no new work"
                );
            }
            Wanted::Hook => {
                if let Some(hook) = &self.config.hook {
                    tracing::info!("the drain hook runs");
                    self.hook = Some(Running::start(hook, &self.shared.identity, &causes, left));
                }
            }
            Wanted::Terminate => {
                self.hook = None;
                tracing::info!("the workload gets SIGTERM");
            }
            Wanted::Kill => tracing::warn!("the workload did not end in its grace and gets SIGKILL"),
            Wanted::Drained => tracing::info!(seconds_left = left.as_secs(), "the node is drained"),
        }
    }

    /// Answers a user's request.
    pub fn ask(&mut self, ask: Ask) {
        let (answer, to) = match ask {
            Ask::Drain(to) => (Ok(self.drain()), to),
            Ask::Undrain(to) => (self.undrain(), to),
        };
        // The user may be gone.
        let _ = to.send(answer);
    }

    fn drain(&mut self) -> String {
        self.asked = true;
        match self.last {
            Wanted::Drained => "the node is drained already".into(),
            Wanted::Serve => {
                let seconds = (self.config.timeout.0 - self.config.margin.0).as_secs();
                format!("draining; everything ends within {seconds} s")
            }
            _ => format!(
                "the node drains already; everything ends within {} s",
                self.left().as_secs()
            ),
        }
    }

    fn undrain(&mut self) -> Result<String, String> {
        if self.last.is_final() {
            let why = "the workload has got its SIGTERM already: a drain can be called off until then; restart the agent to serve again";
            return Err(why.into());
        }
        self.asked = false;
        let others: Vec<&str> = self
            .machine
            .causes()
            .iter()
            .filter(|c| **c != Cause::Asked)
            .map(|c| c.word())
            .collect();
        match (others.is_empty(), self.last.is_draining()) {
            (false, _) => Err(format!(
                "the node still drains for another reason: {}",
                others.join(", ")
            )),
            (true, true) => Ok("the drain is called off".into()),
            (true, false) if *self.shared.presence.borrow() == Presence::Cordoned => Ok(format!(
                "the node does not drain; it takes no new work because {CORDONED}"
            )),
            (true, false) => Ok("the node does not drain".into()),
        }
    }
}

fn order(wanted: Wanted) -> Order {
    match wanted {
        Wanted::Serve | Wanted::Finish | Wanted::Hook => Order::Run,
        Wanted::Terminate | Wanted::Drained => Order::Terminate,
        Wanted::Kill => Order::Kill,
    }
}
