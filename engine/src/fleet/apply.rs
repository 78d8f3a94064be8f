//! Executes a pool's plan, look by look, until everything is as planned or a problem prevents it.
//!
//! Each turn observes, asks `step` what is due now, and does it. Nothing is remembered that a new process would lack:
//! what must outlive this process is in tags before the request that it concerns.

use super::identity::TAG_DRAIN;
use super::launch::Launching;
use super::look::View;
use super::node::since;
use super::observe::cloud_problem;
use super::outcome::{FleetOutcome, FleetRun, NodeFacts};
use super::pace::Paced;
use super::plan::{FleetPlan, NodeFate, allowance};
use super::step::{Drained, Goal, step};
use super::{DrainPolicy, Ports, drain};
use crate::cloud::{Cloud, Kind, Lifecycle, Tags};
use crate::diagnostic::{Diagnostic, Diagnostics};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Time limit for EC2 to show an instance as terminated.
const ENDING: Duration = Duration::from_secs(600);

/// One apply.
pub(super) struct Runner<'a> {
    pub(super) ports: &'a Ports,
    pub(super) plan: &'a FleetPlan,
    pub(super) run: &'a FleetRun,
    pub(super) cloud: Paced,
    pub(super) view: View,
    pub(super) launching: Launching,
    pub(super) outcome: FleetOutcome,
    hooks: drain::Hooks,
    goal: Goal,
    resumed: bool,
    starved: BTreeSet<Lifecycle>,
}

pub(super) async fn apply(ports: &Ports, plan: &FleetPlan, run: &FleetRun) -> FleetOutcome {
    let facts: Vec<NodeFacts> = plan.observed.nodes.iter().map(NodeFacts::of).collect();
    if plan.diagnostics.has_errors() {
        return FleetOutcome {
            nodes: facts,
            image: plan.image.clone(),
            ..FleetOutcome::refused(plan.diagnostics.clone())
        };
    }
    if let Some(refusal) = super::owner::refusal(&plan.id, plan.observed.owner.as_ref(), run.owner.as_ref()) {
        return FleetOutcome {
            nodes: facts,
            image: plan.image.clone(),
            ..FleetOutcome::refused(refusal)
        };
    }
    if plan.is_empty() && plan.observed.nodes.iter().all(|n| n.serves() || !n.is_identified()) {
        return FleetOutcome {
            nodes: facts,
            image: plan.image.clone(),
            diagnostics: plan.diagnostics.clone(),
            ready: true,
            ..FleetOutcome::default()
        };
    }
    let going = plan
        .nodes
        .iter()
        .filter(|n| matches!(n.fate, NodeFate::Replace | NodeFate::Remove));
    let goal = Goal {
        desired: plan.desired,
        going: going.map(|n| n.id.clone()).collect(),
    };
    let mut runner = Runner {
        ports,
        plan,
        run,
        cloud: Paced::new(ports, run),
        view: View::default(),
        launching: Launching::default(),
        outcome: FleetOutcome {
            image: plan.image.clone(),
            diagnostics: plan.diagnostics.clone(),
            nodes: facts,
            ..FleetOutcome::default()
        },
        hooks: drain::Hooks::default(),
        goal,
        resumed: false,
        starved: BTreeSet::new(),
    };
    match runner.work().await {
        Ok(()) => runner.outcome.ready = !runner.outcome.diagnostics.has_errors(),
        Err(why) => {
            runner.outcome.fail(why);
            runner.call_off().await;
        }
    }
    if !runner.view.nodes.is_empty() || !runner.view.coming.is_empty() || runner.outcome.ready {
        runner.settle().await;
        runner.outcome.nodes = runner.facts();
    }
    let calls = runner.cloud.calls();
    let mut outcome = runner.outcome;
    outcome.calls = calls;
    outcome
}

impl Runner<'_> {
    pub(super) async fn look(&mut self) -> Result<(), Diagnostics> {
        self.view
            .look(&self.cloud, self.ports, &self.plan.pool, &self.run.cancel)
            .await
    }

    /// Waits for this time, or until the run is cancelled.
    pub(super) async fn wait(&self, time: Duration) {
        tokio::select! {
            () = self.ports.clock.sleep(time) => {}
            () = self.run.cancel.cancelled() => {}
        }
    }

    fn facts(&self) -> Vec<NodeFacts> {
        let seen = self
            .view
            .nodes
            .values()
            .filter(|n| !n.instance.state.is_ended())
            .map(NodeFacts::of);
        let coming =
            self.view.coming.iter().map(|(id, (lifecycle, _))| {
                NodeFacts::launched(id, *lifecycle, &self.plan.image, &self.plan.spec_hash)
            });
        seen.chain(coming).collect()
    }

    /// The limit for all waits together; each wait also has its own.
    fn deadline(&self) -> Duration {
        let rollout = &self.plan.pool.rollout;
        let (surge, missing) = allowance(&self.plan.pool, self.plan.desired);
        let rounds = self.goal.going.len().div_ceil((surge + missing).max(1) as usize) + 1;
        let round = rollout.health_timeout + rollout.drain_timeout + ENDING;
        self.plan.pool.launch_timeout + round.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    }

    async fn work(&mut self) -> Result<(), Diagnostics> {
        let began = self.ports.clock.now();
        let deadline = self.deadline();
        self.look().await?;
        self.undrain_kept().await?;
        // Large pools are observed less often, because the account's request rate is shared.
        let pause = Duration::from_secs(u64::from(self.plan.desired / 10).clamp(5, 30));
        loop {
            if self.run.cancel.is_cancelled() {
                self.outcome.cancelled = true;
                return Err(
                    Diagnostic::error(format!("the apply of pool {} was stopped", self.plan.id))
                        .detail("what was launched stays and is adopted by the next apply")
                        .into(),
                );
            }
            if since(began, self.ports.clock.now()) > deadline {
                let why = format!("pool {} is not as planned after {} s", self.plan.id, deadline.as_secs());
                return Err(Diagnostic::error(why)
                    .detail("its nodes stay as they are; plan again")
                    .into());
            }
            self.check_coming()?;
            let nodes = self.view.list();
            let coming: Vec<Lifecycle> = self.view.coming.values().map(|(l, _)| *l).collect();
            let drained = self.drains(&nodes).await;
            let due = step(&self.plan.pool, &self.goal, &nodes, &coming, &|n| {
                drained.get(&n.instance.id).cloned()
            });
            if let Some(why) = due.halt {
                return Err(
                    Diagnostic::error(format!("the roll of pool {} is paused: {why}", self.plan.id))
                        .detail("no further node is launched or removed; mend the cause, then apply again")
                        .into(),
                );
            }
            if due.done {
                return Ok(());
            }
            let wants_launch = !due.launch.is_empty();
            if wants_launch && !self.resumed {
                self.resumed = true;
                let coming = self.view.coming.len();
                self.resume().await?;
                if self.view.coming.len() != coming {
                    continue;
                }
            }
            let overdue = due.end.iter().filter_map(|id| drain::overdue(id, drained.get(id)?));
            self.outcome.diagnostics.extend(overdue);
            self.end(&due.end).await?;
            self.begin_drains(&due.drain).await?;
            let acted = !due.end.is_empty() || !due.drain.is_empty();
            self.launch_all(&due.launch).await?;
            let starved = due.launch.iter().all(|(l, _)| self.starved.contains(l));
            if wants_launch && starved && !acted && self.view.coming.is_empty() && self.is_settled(&nodes) {
                return Err(self.no_capacity());
            }
            self.wait(pause).await;
            self.look().await?;
        }
    }

    /// Whether nothing that was begun is still in progress.
    fn is_settled(&self, nodes: &[super::Node]) -> bool {
        let ending = |n: &super::Node| n.draining_since.is_some() || n.instance.state.is_ended();
        !nodes
            .iter()
            .any(|n| self.goal.going.contains(&n.instance.id) && ending(n))
    }

    async fn launch_all(&mut self, wanted: &[(Lifecycle, u32)]) -> Result<(), Diagnostics> {
        for (lifecycle, count) in wanted {
            if self.starved.contains(lifecycle) {
                continue;
            }
            if !self.launch(*lifecycle, *count).await? {
                self.starved.insert(*lifecycle);
            }
        }
        Ok(())
    }

    fn no_capacity(&self) -> Diagnostics {
        let have = self.view.nodes.len();
        let refusals = self.outcome.refusals_text();
        let why = if refusals.is_empty() {
            "every offering was refused a short while ago and is left alone for three minutes".to_owned()
        } else {
            refusals
        };
        Diagnostic::error(format!(
            "no capacity for {} of {} nodes of pool {}",
            self.missing(),
            self.plan.desired,
            self.plan.id
        ))
        .detail(format!(
            "{why}. {have} nodes are kept; add instance types or subnets, or apply again later"
        ))
        .into()
    }

    fn missing(&self) -> usize {
        let staying = self
            .view
            .nodes
            .values()
            .filter(|n| !self.goal.going.contains(&n.instance.id));
        (self.plan.desired as usize).saturating_sub(staying.count())
    }

    /// Reports launched instances that neither a list nor a request by id has shown within the health timeout.
    fn check_coming(&self) -> Result<(), Diagnostics> {
        let now = self.ports.clock.now();
        let patience = self.plan.pool.rollout.health_timeout;
        match self.view.coming.iter().find(|(_, (_, at))| since(*at, now) > patience) {
            None => Ok(()),
            Some((id, _)) => Err(Diagnostic::error(format!(
                "{id} was launched and EC2 has not shown it for {} s",
                patience.as_secs()
            ))
            .detail("nothing is launched in its place before it is known what became of it; apply again")
            .into()),
        }
    }

    /// The state of each drain.
    async fn drains(&self, nodes: &[super::Node]) -> BTreeMap<String, Drained> {
        let (policy, now) = (DrainPolicy::of(&self.plan.pool), self.ports.clock.now());
        let draining = nodes
            .iter()
            .filter(|n| self.goal.going.contains(&n.instance.id) && !n.instance.state.is_ended())
            .filter_map(|n| n.draining_since.map(|since| (n, since)));
        let means = drain::Means {
            cloud: &self.cloud,
            cluster: self.ports.cluster.as_deref(),
            hooks: &self.hooks,
            policy: &policy,
            run: self.run,
        };
        let looks = draining.map(|(n, since)| async move {
            let found = drain::look(means, &n.instance, n.cluster_node.as_ref(), since, now).await;
            (n.instance.id.clone(), found)
        });
        futures::future::join_all(looks).await.into_iter().collect()
    }

    async fn begin_drains(&mut self, ids: &[String]) -> Result<(), Diagnostics> {
        if ids.is_empty() {
            return Ok(());
        }
        let now = self.ports.clock.now();
        self.run.tell(ids, format!("draining {} nodes", ids.len()));
        let tags = Tags::from([(TAG_DRAIN.to_owned(), seconds(now).to_string())]);
        for some in ids.chunks(1000) {
            let sent = self.cloud.create_tags(some, &tags).await;
            sent.map_err(|e| {
                cloud_problem(
                    format!("nodes of pool {} cannot be marked for draining", self.plan.id),
                    &e,
                )
            })?;
        }
        self.view.drained(ids, Some(seconds(now)));
        Ok(())
    }

    async fn end(&mut self, ids: &[String]) -> Result<(), Diagnostics> {
        if ids.is_empty() {
            return Ok(());
        }
        self.run.tell(ids, format!("ending {} drained nodes", ids.len()));
        terminate(&self.cloud, ids)
            .await
            .map_err(|e| cloud_problem(format!("nodes of pool {} cannot be ended", self.plan.id), &e))?;
        self.view.ended(ids, self.ports.clock.now());
        self.outcome.ended.extend(ids.iter().cloned());
        Ok(())
    }

    /// Cancels drains that a dead process began on nodes that the plan keeps.
    async fn undrain_kept(&mut self) -> Result<(), Diagnostics> {
        let kept: Vec<String> = self
            .view
            .nodes
            .values()
            .filter(|n| n.draining_since.is_some() && !self.goal.going.contains(&n.instance.id))
            .map(|n| n.instance.id.clone())
            .collect();
        self.undrain(&kept).await
    }

    async fn undrain(&mut self, ids: &[String]) -> Result<(), Diagnostics> {
        if ids.is_empty() {
            return Ok(());
        }
        self.run
            .tell(ids, format!("calling off the drain of {} nodes", ids.len()));
        let mut problems = Diagnostics::new();
        for id in ids {
            let own = self.view.nodes.get(id).and_then(|n| n.cluster_node.clone());
            if let (Some(node), Some(cluster)) = (own, &self.ports.cluster)
                && let Err(e) = drain::cordon(&**cluster, &node.name, false, &self.run.cancel).await
            {
                problems
                    .push(Diagnostic::error(format!("node {} cannot be uncordoned", node.name)).detail(e.to_string()));
            }
        }
        let back = ids.iter().filter_map(|id| self.view.nodes.get(id)).map(|n| &n.instance);
        problems.extend(drain::undo(&self.cloud, back, self.plan.pool.rollout.drain_timeout).await);
        for some in ids.chunks(1000) {
            if let Err(e) = self.cloud.delete_tags(some, &[TAG_DRAIN.to_owned()]).await {
                problems.push(cloud_problem(
                    format!("the drain of nodes of pool {} cannot be called off", self.plan.id),
                    &e,
                ));
            }
        }
        self.view.drained(ids, None);
        if problems.has_errors() {
            return Err(problems);
        }
        self.outcome.diagnostics.extend(problems);
        Ok(())
    }

    /// The run ends early: nodes that it began to drain and did not terminate keep serving.
    async fn call_off(&mut self) {
        let begun: Vec<String> = self
            .view
            .nodes
            .values()
            .filter(|n| n.draining_since.is_some() && !n.instance.state.is_ended())
            .map(|n| n.instance.id.clone())
            .collect();
        if let Err(why) = self.undrain(&begun).await {
            self.outcome.fail(why);
        }
    }
}

/// A time truncated to seconds, as the tag holds it.
pub(super) fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// Terminates instances; one by one if a single unknown id makes EC2 refuse them all. An instance that is not found has
/// ended, or will appear later.
pub(super) async fn terminate(cloud: &dyn Cloud, ids: &[String]) -> Result<(), crate::cloud::CloudError> {
    for some in ids.chunks(1000) {
        match cloud.terminate(some).await {
            Err(e) if e.kind == Kind::NotFound && some.len() > 1 => {
                for id in some {
                    match cloud.terminate(std::slice::from_ref(id)).await {
                        Err(e) if e.kind != Kind::NotFound => return Err(e),
                        _ => {}
                    }
                }
            }
            Err(e) if e.kind != Kind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}
