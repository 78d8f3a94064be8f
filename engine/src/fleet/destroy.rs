//! Destroys a pool: drains and terminates every instance with the pool's tags, including leaked ones, then deletes the
//! launch templates.
//!
//! Waits until EC2 shows all of them as terminated, including instances of a launch whose answer was lost, which may
//! appear late.

use super::apply::{seconds, terminate};
use super::identity::{PoolId, TAG_DRAIN};
use super::intent::{self, Intent};
use super::look::View;
use super::node::{cluster_node, since};
use super::observe::{cloud_problem, whole};
use super::outcome::{FleetOutcome, FleetRun, NodeFacts};
use super::pace::Paced;
use super::step::Drained;
use super::{ClusterNode, DrainPolicy, Ports, drain};
use crate::cloud::{Cloud, Instance, Kind, LaunchTemplate, Tags};
use crate::cluster::{Selection, kinds, retrying};
use crate::diagnostic::{Diagnostic, Diagnostics};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between looks.
const PAUSE: Duration = Duration::from_secs(10);

/// How long after an open intent its instances may still appear.
const LATE: Duration = Duration::from_secs(120);

/// Time limit for termination once everything is drained.
const ENDING: Duration = Duration::from_secs(900);

struct Destroyer<'a> {
    ports: &'a Ports,
    id: &'a PoolId,
    policy: &'a DrainPolicy,
    run: &'a FleetRun,
    cloud: Paced,
    hooks: drain::Hooks,
    view: View,
    outcome: FleetOutcome,
}

pub(super) async fn destroy(
    ports: &Ports,
    id: &PoolId,
    policy: &DrainPolicy,
    known: &BTreeSet<String>,
    run: &FleetRun,
) -> FleetOutcome {
    let mut destroyer = Destroyer {
        ports,
        id,
        policy,
        run,
        cloud: Paced::new(ports, run),
        hooks: drain::Hooks::default(),
        view: View::default(),
        outcome: FleetOutcome::default(),
    };
    match destroyer.work(known).await {
        Ok(()) => destroyer.outcome.ready = true,
        Err(why) => {
            destroyer.outcome.fail(why);
            destroyer.call_off().await;
        }
    }
    let now = ports.clock.now();
    let left: Vec<NodeFacts> = destroyer
        .view
        .instances(now)
        .into_iter()
        .map(|(i, _)| super::find::facts(i))
        .collect();
    let calls = destroyer.cloud.calls();
    let mut outcome = destroyer.outcome;
    outcome.nodes = left;
    outcome.calls = calls;
    outcome
}

impl Destroyer<'_> {
    async fn work(&mut self, known: &BTreeSet<String>) -> Result<(), Diagnostics> {
        let what = format!("launch templates of pool {}", self.id);
        let templates = whole(&what, self.cloud.templates(&self.id.filters()).await)?;
        let noted = super::owner::of_templates(&templates);
        if let Some(refusal) = super::owner::refusal(self.id, noted.as_ref(), self.run.owner.as_ref()) {
            return Err(refusal.into());
        }
        let open = templates.iter().filter_map(Intent::of).max_by_key(|i| i.at);
        self.view.look_at_instances(&self.cloud, self.ports, self.id).await?;
        self.check(known, &templates).await?;
        let began = self.ports.clock.now();
        loop {
            let now = self.ports.clock.now();
            let late = open
                .as_ref()
                .is_some_and(|i| since(i.at, now) < LATE && self.view.seen_of(i.slot, i.attempt) < i.count as usize);
            if self.view.is_empty() && !late {
                break;
            }
            if self.run.cancel.is_cancelled() {
                self.outcome.cancelled = true;
                return Err(Diagnostic::error(format!("destroying pool {} was stopped", self.id)).into());
            }
            if since(began, now) > self.policy.timeout + ENDING {
                return Err(
                    Diagnostic::error(format!("instances of pool {} have not ended", self.id))
                        .detail("they were drained and told to end; destroy again")
                        .into(),
                );
            }
            self.turn(now).await?;
            tokio::select! {
                () = self.ports.clock.sleep(PAUSE) => {}
                () = self.run.cancel.cancelled() => {}
            }
            self.view.look_at_instances(&self.cloud, self.ports, self.id).await?;
        }
        for template in templates {
            match self.cloud.delete_template(&template.id).await {
                Err(e) if e.kind != Kind::NotFound => {
                    return Err(
                        cloud_problem(format!("launch template {} cannot be deleted", template.name), &e).into(),
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// A list that shows nothing of a pool that had nodes is not believed without proof.
    async fn check(&mut self, known: &BTreeSet<String>, templates: &[LaunchTemplate]) -> Result<(), Diagnostics> {
        let listed: BTreeSet<String> = self.view.launches.values().flatten().cloned().collect();
        let missing: Vec<String> = known.difference(&listed).take(1000).cloned().collect();
        let mut proven = false;
        if !missing.is_empty() {
            let found = whole("the pool's known instances", self.cloud.instances_by_id(&missing).await)?;
            let tags = self.id.tags();
            let alive: Vec<String> = found
                .iter()
                .filter(|i| !i.state.is_ended() && tags.iter().all(|(k, v)| i.tags.get(k) == Some(v)))
                .map(|i| i.id.clone())
                .collect();
            if alive.iter().any(|id| !self.view.has(id)) {
                return Err(
                    Diagnostic::error(format!("EC2's list of pool {} is not complete", self.id))
                        .detail(format!(
                            "{} run with its tags and are not listed: try again",
                            alive.join(", ")
                        ))
                        .into(),
                );
            }
            proven = !found.is_empty();
        }
        let had = templates.iter().filter_map(intent::target).max().unwrap_or(0);
        if had > 0 && listed.is_empty() && self.view.is_empty() && !proven {
            let names: Vec<&str> = templates.iter().map(|t| t.name.as_str()).collect();
            return Err(Diagnostic::error(format!("EC2 lists no instance of pool {}, which had {had}", self.id))
                .detail(format!(
                    "look whether the region and the credentials are right. If the instances ended more than an hour ago, delete \
                     launch template {} and destroy again",
                    names.join(" and ")
                ))
                .into());
        }
        Ok(())
    }

    /// Begins drains, and terminates what is drained.
    async fn turn(&mut self, now: Timestamp) -> Result<(), Diagnostics> {
        let nodes = self.cluster_nodes().await?;
        let instances: Vec<(Instance, Option<Timestamp>)> = self
            .view
            .instances(now)
            .into_iter()
            .map(|(i, d)| (i.clone(), d))
            .collect();
        let (mut begin, mut end) = (Vec::new(), Vec::new());
        for (instance, since) in instances {
            let Some(since) = since else {
                begin.push(instance.id);
                continue;
            };
            let means = drain::Means {
                cloud: &self.cloud,
                cluster: self.ports.cluster.as_deref(),
                hooks: &self.hooks,
                policy: self.policy,
                run: self.run,
            };
            let found = drain::look(means, &instance, nodes.get(&instance.id), since, now).await;
            self.outcome.diagnostics.extend(drain::overdue(&instance.id, &found));
            match found {
                Drained::Empty | Drained::Overdue(_) => end.push(instance.id),
                Drained::Waiting(_) => {}
                Drained::Refused(why) => {
                    return Err(Diagnostic::error(format!(
                        "{} of pool {} cannot be drained: {why}",
                        instance.id, self.id
                    ))
                    .detail("relax the disruption budget, or set kubernetes.atDeadline: force")
                    .into());
                }
            }
        }
        if !begin.is_empty() {
            self.run.tell(&begin, format!("draining {} nodes", begin.len()));
            let tags = Tags::from([(TAG_DRAIN.to_owned(), seconds(now).to_string())]);
            for some in begin.chunks(1000) {
                let sent = self.cloud.create_tags(some, &tags).await;
                sent.map_err(|e| {
                    cloud_problem(format!("nodes of pool {} cannot be marked for draining", self.id), &e)
                })?;
            }
            self.view.drained(&begin, Some(seconds(now)));
        }
        if !end.is_empty() {
            self.run.tell(&end, format!("ending {} drained nodes", end.len()));
            terminate(&self.cloud, &end)
                .await
                .map_err(|e| cloud_problem(format!("nodes of pool {} cannot be ended", self.id), &e))?;
            self.view.ended(&end, now);
            self.outcome.ended.extend(end);
        }
        Ok(())
    }

    async fn cluster_nodes(&self) -> Result<BTreeMap<String, ClusterNode>, Diagnostics> {
        let (Some(_), Some(cluster)) = (&self.policy.kubernetes, &self.ports.cluster) else {
            return Ok(BTreeMap::new());
        };
        let (resource, selection) = (kinds::known("v1", "Node"), Selection::default());
        let list = retrying(&self.run.cancel, || cluster.list(&resource, &selection))
            .await
            .map_err(|e| Diagnostic::error("the cluster's nodes cannot be listed").detail(e.to_string()))?;
        Ok(list.items.iter().filter_map(cluster_node).collect())
    }

    /// The destroy was stopped: nodes that are not terminated keep serving.
    async fn call_off(&mut self) {
        let now = self.ports.clock.now();
        let begun: Vec<String> = self
            .view
            .instances(now)
            .into_iter()
            .filter(|(_, d)| d.is_some())
            .map(|(i, _)| i.id.clone())
            .collect();
        if begun.is_empty() {
            return;
        }
        let nodes = self.cluster_nodes().await.unwrap_or_default();
        for node in begun.iter().filter_map(|id| nodes.get(id)) {
            if let Some(cluster) = &self.ports.cluster
                && let Err(e) = drain::cordon(&**cluster, &node.name, false, &self.run.cancel).await
            {
                self.outcome
                    .fail(Diagnostic::error(format!("node {} cannot be uncordoned", node.name)).detail(e.to_string()));
            }
        }
        let instances = self.view.instances(now);
        let back = instances.iter().filter(|(_, d)| d.is_some()).map(|(i, _)| *i);
        let problems = drain::undo(&self.cloud, back, self.policy.timeout).await;
        self.outcome.diagnostics.extend(problems);
        for some in begun.chunks(1000) {
            if let Err(e) = self.cloud.delete_tags(some, &[TAG_DRAIN.to_owned()]).await {
                self.outcome.fail(cloud_problem(
                    format!("the drain of nodes of pool {} cannot be called off", self.id),
                    &e,
                ));
            }
        }
    }
}
