//! Deployments: a ReplicaSet for each template, and the way from one to the next.
//!
//! The order of writes is the real controller's: the condition that a ReplicaSet was created comes before the first
//! `observedGeneration`, and the write after it meets a conflict and is done again. The arithmetic is in `rollout`.

use std::sync::Arc;

use serde_json::{Value, json};

use super::events::{DEPLOYMENT, Event};
use super::object::{self, Key};
use super::rollout::{self, Conditions};
use super::world::{Outcome, Seen, Who, World};
use super::{pods, rollback};
use crate::kubernetes::registry::Failure;
use crate::kubernetes::store::Object;

pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAXIMUM: &str = "deployment.kubernetes.io/max-replicas";
const SOURCE: &str = "deployment-controller";

/// Annotations of a Deployment that its ReplicaSets do not get.
const NOT_COPIED: &[&str] = &[
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    DESIRED,
    MAXIMUM,
    "deprecated.deployment.rollback.to",
];

pub(super) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        "deployments.apps" if !seen.gone() => world.enqueue(Who::Deployment, object::key_of(seen.value())),
        "replicasets.apps" => {
            if let Some(("Deployment", name, _)) = object::controller(seen.value()) {
                world.enqueue(Who::Deployment, object::key(seen.object.namespace(), name));
            }
        }
        // Recreate waits for the last old pod.
        "pods" if seen.gone() => {
            if let Some(("ReplicaSet", name, _)) = object::controller(seen.value())
                && let Some(set) = world.cache.find("replicasets.apps", seen.object.namespace(), name)
                && let Some(("Deployment", name, _)) = object::controller(set.value())
                && let Some(deployment) = world.cache.find("deployments.apps", seen.object.namespace(), name)
                && object::text(deployment.value(), "/spec/strategy/type") == "Recreate"
            {
                world.enqueue(Who::Deployment, object::key(seen.object.namespace(), name));
            }
        }
        _ => {}
    }
}

/// A Deployment with its ReplicaSets, as they were read at the start of a turn.
pub(super) struct Turn {
    pub(super) deployment: Value,
    pub(super) sets: Vec<Value>,
}

pub(super) fn replicas(object: &Value) -> i64 {
    object::number(object, "/spec/replicas").unwrap_or(1)
}

fn status(object: &Value, field: &str) -> i64 {
    object["status"][field].as_i64().unwrap_or(0)
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(deployment) = world.cache.get("deployments.apps", key) else {
        return Outcome::Done;
    };
    let sets = world.cache.owned("replicasets.apps", deployment.uid());
    let mut turn = Turn {
        deployment: deployment.value().clone(),
        sets: sets.iter().map(|set: &Arc<Object>| set.value().clone()).collect(),
    };
    turn.sync(world).into()
}

impl Turn {
    fn sync(&mut self, world: &mut World) -> Result<(), Failure> {
        if object::is_deleting(&self.deployment) {
            let new = self.new_set().cloned();
            return self.write_status(world, self.calculated(world, new.as_ref()));
        }
        let raced = self.note_pause(world)?;
        let scaled = self.sets.iter().any(|set| {
            let desired = object::annotation(set, DESIRED).and_then(|n| n.parse::<i64>().ok());
            replicas(set) > 0 && desired.is_some_and(|n| n != replicas(&self.deployment))
        });
        if self.deployment["spec"]["paused"] == true {
            self.scale(world)?;
            let new = self.new_set().cloned();
            self.write_status(world, self.calculated(world, new.as_ref()))?;
        } else if rollback::wanted(&self.deployment).is_some() {
            return rollback::run(self, world);
        } else if scaled {
            self.scale(world)?;
            let new = self.new_set().cloned();
            self.write_status(world, self.calculated(world, new.as_ref()))?;
        } else if object::text(&self.deployment, "/spec/strategy/type") == "Recreate" {
            self.recreate(world)?;
        } else {
            self.roll(world)?;
        }
        let _ = raced;
        Ok(())
    }

    fn has_deadline(&self) -> bool {
        object::number(&self.deployment, "/spec/progressDeadlineSeconds").is_some_and(|n| n != i64::from(i32::MAX))
    }

    /// Say that the rollout is paused, or goes on.
    fn note_pause(&mut self, world: &mut World) -> Result<bool, Failure> {
        if !self.has_deadline() {
            return Ok(false);
        }
        let reason = object::condition(&self.deployment, "Progressing").map(|c| object::text(c, "/reason").to_owned());
        let noted = reason.as_deref() == Some("DeploymentPaused");
        let paused = self.deployment["spec"]["paused"] == true;
        if reason.as_deref() == Some("ProgressDeadlineExceeded") || noted == paused {
            return Ok(false);
        }
        let (reason, message) = if paused {
            ("DeploymentPaused", "Deployment is paused")
        } else {
            ("DeploymentResumed", "Deployment is resumed")
        };
        let mut next = self.deployment.clone();
        let mut conditions = Conditions::of(&next);
        conditions.set(world.now, "Progressing", "Unknown", reason, message);
        next["status"]["conditions"] = conditions.into_value();
        world.update_status("deployments.apps", next.clone())?;
        // Like the real controller, continue with what was read: the next write conflicts, and everything is read
        // again.
        self.deployment["status"]["conditions"] = next["status"]["conditions"].clone();
        Ok(true)
    }

    /// The ReplicaSet of the current template.
    pub(super) fn new_set(&self) -> Option<&Value> {
        let template = &self.deployment["spec"]["template"];
        let mut found: Vec<&Value> = self
            .sets
            .iter()
            .filter(|set| same_template(&set["spec"]["template"], template))
            .collect();
        found.sort_by_key(|set| {
            (
                object::seconds(set, "/metadata/creationTimestamp"),
                object::name(set).to_owned(),
            )
        });
        found.first().copied()
    }

    fn old_sets(&self) -> Vec<Value> {
        let new = self.new_set().map(object::uid);
        self.sets
            .iter()
            .filter(|set| Some(object::uid(set)) != new)
            .cloned()
            .collect()
    }

    fn max_surge(&self) -> i64 {
        if object::text(&self.deployment, "/spec/strategy/type") == "Recreate" {
            return 0;
        }
        object::scaled(
            &self.deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"],
            replicas(&self.deployment),
            true,
        )
    }

    fn max_unavailable(&self) -> i64 {
        if object::text(&self.deployment, "/spec/strategy/type") == "Recreate" || replicas(&self.deployment) == 0 {
            return 0;
        }
        let total = replicas(&self.deployment);
        let value = object::scaled(
            &self.deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
            total,
            false,
        );
        // With neither surge nor unavailability nothing could ever move.
        if value == 0 && self.max_surge() == 0 {
            1
        } else {
            value.min(total)
        }
    }

    /// The ReplicaSet of the current template, made if it is not there; revision numbers follow.
    fn ensure_new_set(&mut self, world: &mut World) -> Result<Value, Failure> {
        let newest = self.old_sets().iter().filter_map(revision).max().unwrap_or(0);
        let number = (newest + 1).to_string();
        if let Some(set) = self.new_set().cloned() {
            let mut next = set.clone();
            self.annotate(&mut next, &number);
            next["spec"]["minReadySeconds"] = self.deployment["spec"]["minReadySeconds"].clone();
            if next["spec"]["minReadySeconds"].is_null()
                && let Some(spec) = next["spec"].as_object_mut()
            {
                spec.remove("minReadySeconds");
            }
            if next != set {
                let written = world.update("replicasets.apps", next)?;
                self.replace(written.value());
                return Ok(written.value().clone());
            }
            let mut next = self.deployment.clone();
            let revised = set_annotation(
                &mut next,
                REVISION,
                object::annotation(&set, REVISION).unwrap_or(&number),
            );
            if self.has_deadline() && object::condition(&self.deployment, "Progressing").is_none() {
                let mut conditions = Conditions::of(&next);
                conditions.set(
                    world.now,
                    "Progressing",
                    "True",
                    "FoundNewReplicaSet",
                    &format!("Found new replica set \"{}\"", object::name(&set)),
                );
                next["status"]["conditions"] = conditions.into_value();
            }
            if revised || next != self.deployment {
                world.update_status("deployments.apps", next.clone())?;
                self.deployment = keep_version(&self.deployment, next);
            }
            return Ok(set);
        }
        let mut template = self.deployment["spec"]["template"].clone();
        let collisions = object::number(&self.deployment, "/status/collisionCount").unwrap_or(0);
        let hash = object::short_hash(&template, collisions);
        let name = format!("{}-{hash}", object::name(&self.deployment));
        object::object_mut(&mut template["metadata"], "labels")
            .insert("pod-template-hash".to_owned(), hash.as_str().into());
        let mut selector = self.deployment["spec"]["selector"].clone();
        object::object_mut(&mut selector, "matchLabels").insert("pod-template-hash".to_owned(), hash.as_str().into());
        let mut set = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": name, "namespace": object::namespace(&self.deployment),
                "labels": template["metadata"]["labels"],
                "ownerReferences": [object::owner_reference(&self.deployment, "apps/v1", "Deployment")],
            },
            "spec": {"replicas": 0, "selector": selector, "template": template},
        });
        if let Some(seconds) = self.deployment["spec"].get("minReadySeconds") {
            set["spec"]["minReadySeconds"] = seconds.clone();
        }
        let wanted = self.wanted_of_new(&set);
        set["spec"]["replicas"] = wanted.into();
        self.annotate(&mut set, &number);
        let made = match world.create("replicasets.apps", object::namespace(&self.deployment), set) {
            Ok(made) => made,
            Err(failure) if failure.is_already_exists() => {
                // Another template has this hash: salt it, and try again.
                let mut next = self.deployment.clone();
                next["status"]["collisionCount"] = (collisions + 1).into();
                world.update_status("deployments.apps", next)?;
                return Err(failure);
            }
            Err(failure) => {
                self.note_failure(world, &failure, &name)?;
                return Err(failure);
            }
        };
        if wanted > 0 {
            self.say_scaled(world, &name, 0, wanted);
        }
        self.sets.push(made.value().clone());
        let mut next = self.deployment.clone();
        let mut write = set_annotation(&mut next, REVISION, &number);
        if self.has_deadline() {
            let reason = object::condition(&self.deployment, "Progressing").map(|c| object::text(c, "/reason"));
            // A rollout that was only paused has not begun anew.
            if reason != Some("DeploymentResumed") {
                let mut conditions = Conditions::of(&next);
                conditions.set(
                    world.now,
                    "Progressing",
                    "True",
                    "NewReplicaSetCreated",
                    &format!("Created new replica set \"{name}\""),
                );
                next["status"]["conditions"] = conditions.into_value();
                write = true;
            }
        }
        if write {
            world.update_status("deployments.apps", next.clone())?;
            self.deployment = keep_version(&self.deployment, next);
        }
        Ok(made.value().clone())
    }

    fn note_failure(&mut self, world: &World, failure: &Failure, name: &str) -> Result<(), Failure> {
        let mut next = self.deployment.clone();
        let mut conditions = Conditions::of(&next);
        let message = format!("Failed to create new replica set \"{name}\": {}", failure.message);
        conditions.set(world.now, "Progressing", "False", "ReplicaSetCreateError", &message);
        next["status"]["conditions"] = conditions.into_value();
        world.update_status("deployments.apps", next).map(|_| ())
    }

    fn annotate(&self, set: &mut Value, number: &str) {
        let (desired, maximum) = (
            replicas(&self.deployment),
            replicas(&self.deployment) + self.max_surge(),
        );
        let own = self.deployment["metadata"]["annotations"]
            .as_object()
            .cloned()
            .unwrap_or_default();
        let annotations = object::object_mut(&mut set["metadata"], "annotations");
        for (name, value) in own {
            if !NOT_COPIED.contains(&name.as_str()) {
                annotations.insert(name, value);
            }
        }
        let current = annotations
            .get(REVISION)
            .and_then(Value::as_str)
            .and_then(|n| n.parse::<i64>().ok())
            .unwrap_or(0);
        if number.parse::<i64>().is_ok_and(|n| n > current) {
            if current > 0 {
                let history = annotations
                    .get("deployment.kubernetes.io/revision-history")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let history = if history.is_empty() {
                    current.to_string()
                } else {
                    format!("{history},{current}")
                };
                annotations.insert("deployment.kubernetes.io/revision-history".to_owned(), history.into());
            }
            annotations.insert(REVISION.to_owned(), number.into());
        }
        annotations.insert(DESIRED.to_owned(), desired.to_string().into());
        annotations.insert(MAXIMUM.to_owned(), maximum.to_string().into());
    }

    /// How many pods the new ReplicaSet may have now.
    fn wanted_of_new(&self, new: &Value) -> i64 {
        let total = replicas(&self.deployment);
        if object::text(&self.deployment, "/spec/strategy/type") == "Recreate" {
            return total;
        }
        let current: i64 = self.sets.iter().map(replicas).sum();
        rollout::new_replicas(total, self.max_surge(), current, replicas(new))
    }

    fn replace(&mut self, set: &Value) {
        if let Some(slot) = self
            .sets
            .iter_mut()
            .find(|known| object::uid(known) == object::uid(set))
        {
            *slot = set.clone();
        }
    }

    fn say_scaled(&self, world: &mut World, name: &str, from: i64, to: i64) {
        let way = if to > from { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {name} from {from} to {to}");
        world.event(Event::normal(
            &self.deployment,
            DEPLOYMENT,
            SOURCE,
            "ScalingReplicaSet",
            message,
        ));
    }

    /// Give a ReplicaSet a number of pods. The ReplicaSet as it is now, if that changed its number.
    fn scale_set(&self, world: &mut World, set: &Value, to: i64) -> Result<Option<Value>, Failure> {
        let mut next = set.clone();
        let from = replicas(set);
        next["spec"]["replicas"] = to.into();
        let annotations = object::object_mut(&mut next["metadata"], "annotations");
        annotations.insert(DESIRED.to_owned(), replicas(&self.deployment).to_string().into());
        annotations.insert(
            MAXIMUM.to_owned(),
            (replicas(&self.deployment) + self.max_surge()).to_string().into(),
        );
        if next == *set {
            return Ok(None);
        }
        // The status of this turn is still counted from what the turn began with, as the real one does.
        let written = world.update("replicasets.apps", next)?;
        if from != to {
            self.say_scaled(world, object::name(set), from, to);
        }
        Ok((from != to).then(|| written.value().clone()))
    }

    /// Scales to the Deployment's current number of pods, keeping the existing proportions.
    fn scale(&mut self, world: &mut World) -> Result<(), Failure> {
        let total = replicas(&self.deployment);
        let mut active: Vec<Value> = self.sets.iter().filter(|set| replicas(set) > 0).cloned().collect();
        let new = self.new_set().cloned();
        let single = match active.as_slice() {
            [] => new
                .clone()
                .or_else(|| self.sets.iter().max_by_key(|set| revision(set)).cloned()),
            [only] => Some(only.clone()),
            _ => None,
        };
        if let Some(single) = single {
            if replicas(&single) != total {
                self.scale_set(world, &single, total)?;
            }
            return Ok(());
        }
        if let Some(new) = &new
            && replicas(new) == total
            && status(new, "availableReplicas") == total
        {
            for set in self.old_sets() {
                if replicas(&set) > 0 {
                    self.scale_set(world, &set, 0)?;
                }
            }
            return Ok(());
        }
        if object::text(&self.deployment, "/spec/strategy/type") == "Recreate" {
            return Ok(());
        }
        let current: i64 = active.iter().map(replicas).sum();
        let allowed = if total > 0 { total + self.max_surge() } else { 0 };
        let growing = allowed > current;
        active.sort_by_key(|set| {
            (
                std::cmp::Reverse(replicas(set)),
                object::seconds(set, "/metadata/creationTimestamp").map(|s| if growing { -s } else { s }),
            )
        });
        let shares: Vec<(i64, Option<i64>)> = active
            .iter()
            .map(|set| {
                (
                    replicas(set),
                    object::annotation(set, MAXIMUM).and_then(|n| n.parse().ok()),
                )
            })
            .collect();
        for (set, wanted) in active.iter().zip(rollout::proportions(&shares, allowed)) {
            self.scale_set(world, set, wanted)?;
        }
        Ok(())
    }

    fn roll(&mut self, world: &mut World) -> Result<(), Failure> {
        let new = self.ensure_new_set(world)?;
        let total = replicas(&self.deployment);
        let wanted = if replicas(&new) > total {
            total
        } else {
            self.wanted_of_new(&new)
        };
        if replicas(&new) != wanted && self.scale_set(world, &new, wanted)?.is_some() {
            return self.write_rollout(world);
        }
        if self.shrink_old(world, &new)? {
            return self.write_rollout(world);
        }
        if rollout::is_complete(&self.deployment, &self.deployment["status"]) {
            self.clean_up(world)?;
        }
        self.write_rollout(world)
    }

    /// Take pods from old ReplicaSets: broken ones first, then as many as may be unavailable.
    fn shrink_old(&mut self, world: &mut World, new: &Value) -> Result<bool, Failure> {
        let mut old: Vec<Value> = self.old_sets();
        let in_old: i64 = old.iter().map(replicas).sum();
        if in_old == 0 {
            return Ok(false);
        }
        old.sort_by_key(|set| object::seconds(set, "/metadata/creationTimestamp"));
        let floor = replicas(&self.deployment) - self.max_unavailable();
        let missing_new = replicas(new) - status(new, "availableReplicas");
        let most = in_old + replicas(new) - floor - missing_new;
        if most <= 0 {
            return Ok(false);
        }
        let mut shrunk = false;
        let mut taken = 0;
        for set in &mut old {
            let broken = replicas(set) - status(set, "availableReplicas");
            if taken >= most || replicas(set) == 0 || broken <= 0 {
                continue;
            }
            let count = broken.min(most - taken);
            taken += count;
            if let Some(scaled) = self.scale_set(world, set, replicas(set) - count)? {
                shrunk = true;
                *set = scaled;
            }
        }
        let available: i64 = self.sets.iter().map(|set| status(set, "availableReplicas")).sum();
        let mut spare = available - floor;
        for set in old {
            if spare <= 0 {
                break;
            }
            let count = replicas(&set).min(spare);
            if count > 0 {
                spare -= count;
                shrunk |= self.scale_set(world, &set, replicas(&set) - count)?.is_some();
            }
        }
        Ok(shrunk)
    }

    fn recreate(&mut self, world: &mut World) -> Result<(), Failure> {
        let mut shrunk = false;
        for set in self.old_sets() {
            if replicas(&set) > 0 {
                shrunk |= self.scale_set(world, &set, 0)?.is_some();
            }
        }
        if shrunk || self.old_pods_run(world) {
            return self.write_rollout(world);
        }
        let new = self.ensure_new_set(world)?;
        self.scale_set(world, &new, replicas(&self.deployment))?;
        if rollout::is_complete(&self.deployment, &self.deployment["status"]) {
            self.clean_up(world)?;
        }
        self.write_rollout(world)
    }

    fn old_pods_run(&self, world: &World) -> bool {
        let mut running = self
            .old_sets()
            .into_iter()
            .flat_map(|set| world.cache.owned("pods", object::uid(&set)));
        running.any(|pod| !pods::is_finished(pod.value()))
    }

    /// Delete old ReplicaSets beyond the history limit.
    fn clean_up(&mut self, world: &mut World) -> Result<(), Failure> {
        let limit = object::number(&self.deployment, "/spec/revisionHistoryLimit")
            .unwrap_or(10)
            .max(0);
        let mut old = self.old_sets();
        old.retain(|set| !object::is_deleting(set));
        let excess = i64::try_from(old.len()).unwrap_or(0) - limit;
        old.sort_by_key(|set| (revision(set), object::seconds(set, "/metadata/creationTimestamp")));
        for set in old.iter().take(usize::try_from(excess).unwrap_or(0)) {
            let busy = status(set, "replicas") != 0
                || replicas(set) != 0
                || object::generation(set) > status(set, "observedGeneration");
            if !busy {
                world.delete("replicasets.apps", set, None)?;
            }
        }
        Ok(())
    }

    /// The status that follows from the ReplicaSets.
    fn calculated(&self, world: &World, new: Option<&Value>) -> Value {
        let total: i64 = self.sets.iter().map(replicas).sum();
        let sum = |field: &str| self.sets.iter().map(|set| status(set, field)).sum::<i64>();
        let available = sum("availableReplicas");
        let mut conditions = Conditions::of(&self.deployment);
        if available >= replicas(&self.deployment) - self.max_unavailable() {
            conditions.set(
                world.now,
                "Available",
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
            );
        } else {
            conditions.set(
                world.now,
                "Available",
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
            );
        }
        let mut next = serde_json::Map::new();
        next.insert(
            "observedGeneration".to_owned(),
            object::generation(&self.deployment).into(),
        );
        for (field, value) in [
            ("replicas", sum("replicas")),
            ("updatedReplicas", new.map_or(0, |set| status(set, "replicas"))),
            ("readyReplicas", sum("readyReplicas")),
            ("availableReplicas", available),
            ("unavailableReplicas", (total - available).max(0)),
        ] {
            object::set_nonzero(&mut next, field, value);
        }
        next.insert("terminatingReplicas".to_owned(), sum("terminatingReplicas").into());
        if let Some(collisions) = self.deployment["status"].get("collisionCount") {
            next.insert("collisionCount".to_owned(), collisions.clone());
        }
        next.insert("conditions".to_owned(), conditions.into_value());
        Value::Object(next)
    }

    /// Write the status of a rollout: how far it is, and whether it takes too long.
    fn write_rollout(&mut self, world: &mut World) -> Result<(), Failure> {
        let new = self.new_set().cloned();
        let mut next = self.calculated(world, new.as_ref());
        let mut conditions = Conditions::of(&json!({"status": next}));
        let current = object::condition(&self.deployment, "Progressing").cloned();
        let what = match &new {
            Some(set) => format!("ReplicaSet \"{}\"", object::name(set)),
            None => format!("Deployment \"{}\"", object::name(&self.deployment)),
        };
        let reason = current
            .as_ref()
            .map(|c| object::text(c, "/reason").to_owned())
            .unwrap_or_default();
        let settled = status(&json!({"status": next}), "replicas") == next["updatedReplicas"].as_i64().unwrap_or(0)
            && reason == "NewReplicaSetAvailable";
        if !self.has_deadline() {
            conditions.remove("Progressing");
        } else if !settled {
            if rollout::is_complete(&self.deployment, &next) {
                conditions.set(
                    world.now,
                    "Progressing",
                    "True",
                    "NewReplicaSetAvailable",
                    &format!("{what} has successfully progressed."),
                );
            } else if rollout::has_progressed(&self.deployment["status"], &next) {
                let since = current
                    .as_ref()
                    .filter(|c| c["status"] == "True")
                    .map(|c| c["lastTransitionTime"].clone());
                conditions.remove("Progressing");
                conditions.set(
                    world.now,
                    "Progressing",
                    "True",
                    "ReplicaSetUpdated",
                    &format!("{what} is progressing."),
                );
                if let Some(since) = since {
                    conditions.keep_transition("Progressing", since);
                }
            } else if self.late_at(current.as_ref()).is_some_and(|at| at < world.now) {
                conditions.set(
                    world.now,
                    "Progressing",
                    "False",
                    "ProgressDeadlineExceeded",
                    &format!("{what} has timed out progressing."),
                );
            }
        }
        let failure = self
            .sets
            .iter()
            .rev()
            .find_map(|set| object::condition(set, "ReplicaFailure"))
            .cloned();
        match failure {
            Some(failure) => {
                conditions.set(
                    world.now,
                    "ReplicaFailure",
                    object::text(&failure, "/status"),
                    object::text(&failure, "/reason"),
                    object::text(&failure, "/message"),
                );
            }
            None => conditions.remove("ReplicaFailure"),
        }
        next["conditions"] = conditions.into_value();
        if next == self.deployment["status"] {
            let key = object::key_of(&self.deployment);
            if let Some(at) = self.late_at(current.as_ref()).filter(|_| self.has_deadline()) {
                let complete = rollout::is_complete(&self.deployment, &next)
                    || reason == "NewReplicaSetAvailable"
                    || reason == "ProgressDeadlineExceeded";
                if !complete {
                    world.enqueue_at(Who::Deployment, key, at + 1000);
                }
            }
            return Ok(());
        }
        self.write_status(world, next)
    }

    /// When the rollout is late, in milliseconds.
    fn late_at(&self, condition: Option<&Value>) -> Option<i64> {
        let deadline = object::number(&self.deployment, "/spec/progressDeadlineSeconds")?;
        let condition = condition.filter(|c| c["reason"] != "NewReplicaSetAvailable")?;
        Some((object::seconds(condition, "/lastUpdateTime")? + deadline) * 1000)
    }

    fn write_status(&self, world: &World, status: Value) -> Result<(), Failure> {
        if self.deployment["status"] == status {
            return Ok(());
        }
        let mut next = self.deployment.clone();
        next["status"] = status;
        world.update_status("deployments.apps", next).map(|_| ())
    }
}

pub(super) fn revision(set: &Value) -> Option<i64> {
    object::annotation(set, REVISION)?.parse().ok()
}

/// Equal but for the hash label.
fn same_template(left: &Value, right: &Value) -> bool {
    let stripped = |template: &Value| {
        let mut template = template.clone();
        if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
            labels.remove("pod-template-hash");
        }
        if let Some(metadata) = template["metadata"].as_object_mut() {
            metadata.remove("creationTimestamp");
        }
        template
    };
    stripped(left) == stripped(right)
}

fn set_annotation(object: &mut Value, name: &str, value: &str) -> bool {
    let annotations = object::object_mut(&mut object["metadata"], "annotations");
    annotations.insert(name.to_owned(), value.into()) != Some(value.into())
}

/// What was written, but with the version that was read: the next write of this turn must notice that it is stale.
fn keep_version(read: &Value, mut written: Value) -> Value {
    written["metadata"]["resourceVersion"] = read["metadata"]["resourceVersion"].clone();
    written
}
