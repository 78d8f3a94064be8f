//! Jobs: pods until enough have succeeded or too many have failed.
//!
//! Finished pods are counted in two steps, so that none is counted twice: their uids are added to the status, their
//! finalizers are removed, then the numbers change. Changes of pods are processed a second after they happened, all at
//! once.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::events::{Event, JOB};
use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use super::{job_indexes, job_rules, pods, replicaset};
use crate::kubernetes::registry::{Failure, Part, Propagation};
use crate::kubernetes::store::{ChangeKind, Object};

pub(super) const SOURCE: &str = "job-controller";
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Changes of pods wait this long for company.
const BATCH: i64 = 1000;

pub(super) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        "jobs.batch" if !seen.gone() => {
            let key = object::key_of(seen.value());
            if let Some(at) = expires_at(seen.value()) {
                world.enqueue_at(Who::FinishedJob, key.clone(), at);
            }
            let changed = seen
                .before
                .as_ref()
                .is_none_or(|before| object::generation(before.value()) != object::generation(seen.value()));
            if seen.kind == ChangeKind::Added || changed {
                world.enqueue(Who::Job, key);
            } else {
                world.enqueue_in(Who::Job, key, BATCH);
            }
        }
        "pods" => {
            if let Some(("Job", name, _)) = object::controller(seen.value()) {
                let key = object::key(seen.object.namespace(), name);
                if world.cache.get("jobs.batch", &key).is_some() {
                    world.enqueue_in(Who::Job, key, BATCH);
                } else {
                    release(world, seen.value());
                }
            } else if object::finalizers(seen.value()).any(|f| f == TRACKING) {
                release(world, seen.value());
            }
        }
        _ => {}
    }
}

/// A pod without its job is tracked by nobody.
fn release(world: &mut World, pod: &Value) {
    if !object::finalizers(pod).any(|f| f == TRACKING) {
        return;
    }
    // If it is gone by now, so is its finalizer.
    let _ = untrack(world, pod);
}

fn untrack(world: &World, pod: &Value) -> Result<(), Failure> {
    let place = super::cache::Place {
        resource: "pods".into(),
        key: object::key_of(pod),
    };
    let result = world.modify(&place, Part::Main, |pod| {
        let left: Vec<Value> = object::list(pod, "/metadata/finalizers")
            .iter()
            .filter(|f| *f != TRACKING)
            .cloned()
            .collect();
        if left.is_empty() {
            if let Some(metadata) = pod["metadata"].as_object_mut() {
                metadata.remove("finalizers");
            }
        } else {
            pod["metadata"]["finalizers"] = left.into();
        }
    });
    match result {
        Err(failure) if !failure.is_not_found() => Err(failure),
        _ => Ok(()),
    }
}

/// When a finished job with a time to live is deleted.
fn expires_at(job: &Value) -> Option<i64> {
    let ttl = object::number(job, "/spec/ttlSecondsAfterFinished")?;
    let finished = job_rules::finished(job)?;
    Some((object::seconds(finished, "/lastTransitionTime")? + ttl) * 1000)
}

/// Delete a job whose time has come.
pub(super) fn expire(world: &mut World, key: &Key) -> Outcome {
    let Some(job) = world.cache.get("jobs.batch", key) else {
        return Outcome::Done;
    };
    if object::is_deleting(job.value()) || expires_at(job.value()).is_none_or(|at| at > world.now) {
        return Outcome::Done;
    }
    world
        .delete("jobs.batch", job.value(), Some(Propagation::Foreground))
        .into()
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(job) = world.cache.get("jobs.batch", key) else {
        return Outcome::Done;
    };
    match reconcile(world, job.value()) {
        Ok(()) => Outcome::Done,
        Err(failure) if failure.is_not_found() => Outcome::Done,
        Err(_) => Outcome::RetrySlowly,
    }
}

struct Turn<'a> {
    job: &'a Value,
    pods: Vec<Arc<Object>>,
    status: Map<String, Value>,
    conditions: Vec<Value>,
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn reconcile(world: &mut World, job: &Value) -> Result<(), Failure> {
    let pods = replicaset::claim_pods(world, job, "batch/v1", "Job")?;
    if job_rules::finished(job).is_some() || object::is_deleting(job) {
        for pod in pods {
            if pods::is_finished(pod.value()) || object::is_deleting(job) {
                release(world, pod.value());
            }
        }
        return Ok(());
    }
    let status = job["status"].as_object().cloned().unwrap_or_default();
    let conditions = object::list(job, "/status/conditions").to_vec();
    Turn {
        job,
        pods,
        status,
        conditions,
    }
    .run(world)
}

impl Turn<'_> {
    fn number(&self, pointer: &str) -> Option<i64> {
        object::number(self.job, pointer)
    }

    fn has_condition(&self, kind: &str) -> bool {
        self.conditions
            .iter()
            .any(|c| c["type"] == kind && c["status"] == "True")
    }

    fn set_condition(&mut self, world: &World, kind: &str, status: &str, reason: &str, message: &str) {
        let time = object::time(world.now);
        let condition = json!({"type": kind, "status": status, "lastProbeTime": time, "lastTransitionTime": time, "reason": reason, "message": message});
        match self.conditions.iter_mut().find(|c| c["type"] == kind) {
            Some(slot) => *slot = condition,
            None => self.conditions.push(condition),
        }
    }

    fn run(mut self, world: &mut World) -> Result<(), Failure> {
        let suspended = self.job["spec"]["suspend"] == true;
        let uncounted = &self.job["status"]["uncountedTerminatedPods"];
        let (mut succeeded_uids, mut failed_uids) = (strings(&uncounted["succeeded"]), strings(&uncounted["failed"]));
        let was = (
            self.number("/status/succeeded").unwrap_or(0),
            self.number("/status/failed").unwrap_or(0),
        );
        let tracked = |pod: &Value| object::finalizers(pod).any(|f| f == TRACKING);
        let replace_failed_only = object::text(self.job, "/spec/podReplacementPolicy") == "Failed";
        for pod in &self.pods {
            let value = pod.value();
            let known = succeeded_uids.iter().chain(&failed_uids).any(|uid| uid == pod.uid());
            if known || !tracked(value) {
                continue;
            }
            let failed = pods::phase(value) == "Failed"
                || (object::is_deleting(value) && pods::phase(value) != "Succeeded" && !replace_failed_only);
            if pods::phase(value) == "Succeeded" {
                succeeded_uids.push(pod.uid().to_owned());
            } else if failed {
                failed_uids.push(pod.uid().to_owned());
            }
        }
        if self.status.get("startTime").is_none() && !suspended {
            self.status.insert("startTime".to_owned(), object::time(world.now));
        }
        let count = |uids: &[String]| i64::try_from(uids.len()).unwrap_or(0);
        let (succeeded, failed) = (was.0 + count(&succeeded_uids), was.1 + count(&failed_uids));
        let mut active: Vec<Arc<Object>> = self
            .pods
            .iter()
            .filter(|pod| pods::is_active(pod.value()))
            .cloned()
            .collect();
        self.decide(world, succeeded, failed, &active);
        let over = self.has_condition("FailureTarget") || self.has_condition("SuccessCriteriaMet");
        let mut outcome = Ok(());
        if over || suspended {
            for pod in std::mem::take(&mut active) {
                self.delete(world, &pod)?;
                if !replace_failed_only {
                    failed_uids.push(pod.uid().to_owned());
                }
            }
        } else {
            outcome = self.manage(world, succeeded, &mut active);
        }
        if suspended != self.has_condition("Suspended") && !over {
            self.say_suspended(world, suspended);
        }
        // Only pods that were there at the start of the turn can be ready.
        let ready = active.iter().filter(|pod| pods::is_ready(pod.value())).count();
        object::set_nonzero(&mut self.status, "active", i64::try_from(active.len()).unwrap_or(0));
        self.status.insert("ready".to_owned(), ready.into());
        let terminating = self.terminating(world);
        self.status.insert("terminating".to_owned(), terminating.into());
        self.settle(world, &succeeded_uids, &failed_uids, was, terminating)?;
        outcome
    }

    fn terminating(&self, world: &World) -> usize {
        let live = self
            .pods
            .iter()
            .filter_map(|pod| world.registry.find("pods", pod.namespace(), pod.name()));
        live.filter(|pod| pods::is_terminating(pod.value())).count()
    }

    /// Whether the job has reached its end, and which.
    fn decide(&mut self, world: &mut World, succeeded: i64, failed: i64, active: &[Arc<Object>]) {
        if self.has_condition("FailureTarget") || self.has_condition("SuccessCriteriaMet") {
            return;
        }
        if let Some(message) = job_rules::failure_policy(self.job, &self.pods) {
            return self.set_condition(world, "FailureTarget", "True", "PodFailurePolicy", &message);
        }
        let limit = self.number("/spec/backoffLimit").unwrap_or(6);
        if failed > limit || job_rules::restarted_too_often(self.job, active, limit) {
            return self.set_condition(
                world,
                "FailureTarget",
                "True",
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            );
        }
        if let (Some(deadline), Some(start)) = (
            self.number("/spec/activeDeadlineSeconds"),
            object::seconds(&json!(self.status), "/startTime"),
        ) && self.job["spec"]["suspend"] != true
        {
            let at = (start + deadline) * 1000;
            if at <= world.now {
                return self.set_condition(
                    world,
                    "FailureTarget",
                    "True",
                    "DeadlineExceeded",
                    "Job was active longer than specified deadline",
                );
            }
            world.enqueue_at(Who::Job, object::key_of(self.job), at);
        }
        if job_indexes::is_indexed(self.job) && job_indexes::complete(self.job, &self.pods) {
            return self.set_condition(
                world,
                "SuccessCriteriaMet",
                "True",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            );
        }
        let reached = match self.number("/spec/completions") {
            Some(completions) => !job_indexes::is_indexed(self.job) && succeeded >= completions,
            None => succeeded > 0 && active.is_empty(),
        };
        if reached {
            self.set_condition(
                world,
                "SuccessCriteriaMet",
                "True",
                "CompletionsReached",
                "Reached expected number of succeeded pods",
            );
        }
    }

    fn say_suspended(&mut self, world: &mut World, suspended: bool) {
        if suspended {
            self.status.remove("startTime");
            self.set_condition(world, "Suspended", "True", "JobSuspended", "Job suspended");
            world.event(Event::normal(self.job, JOB, SOURCE, "Suspended", "Job suspended"));
        } else {
            self.status.insert("startTime".to_owned(), object::time(world.now));
            self.set_condition(world, "Suspended", "False", "JobResumed", "Job resumed");
            world.event(Event::normal(self.job, JOB, SOURCE, "Resumed", "Job resumed"));
        }
    }

    /// Have as many pods as may run now.
    fn manage(&mut self, world: &mut World, succeeded: i64, active: &mut Vec<Arc<Object>>) -> Result<(), Failure> {
        let parallelism = self.number("/spec/parallelism").unwrap_or(1).max(0);
        let wanted = match self.number("/spec/completions") {
            Some(completions) => parallelism.min((completions - succeeded).max(0)),
            // Once one has succeeded no new ones are made.
            None if succeeded > 0 => i64::try_from(active.len()).unwrap_or(0).min(parallelism),
            None => parallelism,
        };
        let wanted = usize::try_from(wanted).unwrap_or(0);
        if active.len() > wanted {
            active.sort_by_key(|pod| pods::deletion_rank(pod.value()));
            let spare: Vec<Arc<Object>> = active.drain(..active.len() - wanted).collect();
            for pod in spare {
                self.delete(world, &pod)?;
            }
        }
        let missing = wanted.saturating_sub(active.len());
        if missing == 0 {
            return Ok(());
        }
        let replace_failed_only = object::text(self.job, "/spec/podReplacementPolicy") == "Failed";
        if replace_failed_only && self.pods.iter().any(|pod| pods::is_terminating(pod.value())) {
            return Ok(());
        }
        if let Some(at) = job_rules::next_attempt(self.job, &self.pods).filter(|at| *at > world.now) {
            world.enqueue_at(Who::Job, object::key_of(self.job), at);
            return Ok(());
        }
        let indexes = job_indexes::is_indexed(self.job).then(|| job_indexes::free(self.job, &self.pods, missing));
        for i in 0..missing {
            let index = indexes.as_ref().map(|free| free.get(i).copied());
            match index {
                Some(None) => break,
                Some(Some(index)) => active.push(self.create(world, Some(index))?),
                None => active.push(self.create(world, None)?),
            }
        }
        Ok(())
    }

    fn create(&self, world: &mut World, index: Option<i64>) -> Result<Arc<Object>, Failure> {
        let mut pod = replicaset::pod_from(&self.job["spec"]["template"], self.job, "batch/v1", "Job");
        let finalizers = object::object_mut(&mut pod, "metadata")
            .entry("finalizers")
            .or_insert_with(|| json!([]));
        if let Some(finalizers) = finalizers.as_array_mut() {
            finalizers.push(TRACKING.into());
        }
        if let Some(index) = index {
            job_indexes::mark(self.job, &mut pod, index);
        }
        match world.create("pods", object::namespace(self.job), pod) {
            Ok(pod) => {
                world.event(Event::normal(
                    self.job,
                    JOB,
                    SOURCE,
                    "SuccessfulCreate",
                    format!("Created pod: {}", pod.name()),
                ));
                Ok(pod)
            }
            Err(failure) => {
                world.event(Event::warning(
                    self.job,
                    JOB,
                    SOURCE,
                    "FailedCreate",
                    format!("Error creating: {}", failure.message),
                ));
                Err(failure)
            }
        }
    }

    fn delete(&self, world: &mut World, pod: &Arc<Object>) -> Result<(), Failure> {
        world.delete("pods", pod.value(), None)?;
        world.event(Event::normal(
            self.job,
            JOB,
            SOURCE,
            "SuccessfulDelete",
            format!("Deleted pod: {}", pod.name()),
        ));
        Ok(())
    }

    /// Name the finished pods, let them go, count them; then say how the job ended.
    fn settle(
        mut self,
        world: &mut World,
        succeeded: &[String],
        failed: &[String],
        was: (i64, i64),
        terminating: usize,
    ) -> Result<(), Failure> {
        let mut base = self.job.clone();
        let mut uncounted = Map::new();
        for (name, uids) in [("succeeded", succeeded), ("failed", failed)] {
            if !uids.is_empty() {
                uncounted.insert(name.to_owned(), json!(uids));
            }
        }
        let pending = !uncounted.is_empty();
        self.status
            .insert("uncountedTerminatedPods".to_owned(), uncounted.into());
        if pending {
            base = self.write(world, base)?;
            for pod in &self.pods {
                if succeeded.iter().chain(failed).any(|uid| uid == pod.uid()) {
                    untrack(world, pod.value())?;
                }
            }
            self.status.insert("uncountedTerminatedPods".to_owned(), json!({}));
            object::set_nonzero(
                &mut self.status,
                "succeeded",
                was.0 + i64::try_from(succeeded.len()).unwrap_or(0),
            );
            object::set_nonzero(
                &mut self.status,
                "failed",
                was.1 + i64::try_from(failed.len()).unwrap_or(0),
            );
            if job_indexes::is_indexed(self.job) {
                self.status.insert(
                    "completedIndexes".to_owned(),
                    job_indexes::text(&job_indexes::done(self.job, &self.pods)).into(),
                );
            }
        }
        let over = self
            .conditions
            .iter()
            .find(|c| {
                matches!(c["type"].as_str(), Some("FailureTarget" | "SuccessCriteriaMet")) && c["status"] == "True"
            })
            .cloned();
        let Some(over) = over.filter(|_| terminating == 0) else {
            self.write(world, base)?;
            return Ok(());
        };
        let was_terminating = self.number("/status/terminating").unwrap_or(0) > 0;
        if was_terminating {
            base = self.write(world, base)?;
        }
        let (reason, message) = (
            object::text(&over, "/reason").to_owned(),
            object::text(&over, "/message").to_owned(),
        );
        let complete = over["type"] == "SuccessCriteriaMet";
        self.set_condition(
            world,
            if complete { "Complete" } else { "Failed" },
            "True",
            &reason,
            &message,
        );
        if complete {
            self.status.insert("completionTime".to_owned(), object::time(world.now));
        }
        self.write(world, base)?;
        if complete {
            world.event(Event::normal(self.job, JOB, SOURCE, "Completed", "Job completed"));
        } else {
            world.event(Event::warning(self.job, JOB, SOURCE, &reason, message));
        }
        Ok(())
    }

    fn write(&self, world: &World, base: Value) -> Result<Value, Failure> {
        let mut next = base;
        let mut status = self.status.clone();
        if self.conditions.is_empty() {
            status.remove("conditions");
        } else {
            status.insert("conditions".to_owned(), self.conditions.clone().into());
        }
        if next["status"] == Value::Object(status.clone()) {
            return Ok(next);
        }
        next["status"] = status.into();
        Ok(world.update_status("jobs.batch", next)?.value().clone())
    }
}
