//! CronJobs: a Job each time the schedule says.

use std::sync::Arc;

use serde_json::{Value, json};

use super::cron::Schedule;
use super::events::{CRON_JOB, Event};
use super::job_rules;
use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use crate::kubernetes::registry::{Failure, Propagation};
use crate::kubernetes::store::Object;

const SOURCE: &str = "cronjob-controller";
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

pub(super) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        "cronjobs.batch" if !seen.gone() => world.enqueue(Who::CronJob, object::key_of(seen.value())),
        "jobs.batch" => {
            if let Some(("CronJob", name, _)) = object::controller(seen.value()) {
                world.enqueue(Who::CronJob, object::key(seen.object.namespace(), name));
            }
        }
        _ => {}
    }
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(cron) = world.cache.get("cronjobs.batch", key) else {
        return Outcome::Done;
    };
    reconcile(world, cron.value()).into()
}

fn reconcile(world: &mut World, cron: &Value) -> Result<(), Failure> {
    let jobs = world.cache.owned("jobs.batch", object::uid(cron));
    let mut next = cron.clone();
    let mut active: Vec<Value> = object::list(cron, "/status/active").to_vec();
    for job in &jobs {
        let Some(end) = job_rules::finished(job.value()) else {
            continue;
        };
        let listed = active.len();
        active.retain(|reference| reference["uid"] != job.uid());
        if active.len() < listed {
            let message = format!(
                "Saw completed job: {}, condition: {}",
                job.name(),
                object::text(end, "/type")
            );
            world.event(Event::normal(cron, CRON_JOB, SOURCE, "SawCompletedJob", message));
        }
        let completed = &job.value()["status"]["completionTime"];
        if end["type"] == "Complete" && completed.as_str() > next["status"]["lastSuccessfulTime"].as_str() {
            next["status"]["lastSuccessfulTime"] = completed.clone();
        }
    }
    active.retain(|reference| jobs.iter().any(|job| reference["uid"] == job.uid()));
    set_active(&mut next, &active);
    if next["status"] != cron["status"] {
        next = world.update_status("cronjobs.batch", next)?.value().clone();
    }
    prune(
        world,
        &jobs,
        "Complete",
        object::number(cron, "/spec/successfulJobsHistoryLimit").unwrap_or(3),
    )?;
    prune(
        world,
        &jobs,
        "Failed",
        object::number(cron, "/spec/failedJobsHistoryLimit").unwrap_or(1),
    )?;
    if object::is_deleting(cron) || cron["spec"]["suspend"] == true {
        return Ok(());
    }
    let schedule = match Schedule::parse(
        object::text(cron, "/spec/schedule"),
        object::text(cron, "/spec/timeZone"),
    ) {
        Ok(schedule) => schedule,
        Err(why) => {
            let message = format!("unparseable schedule: {} : {why}", object::text(cron, "/spec/schedule"));
            world.event(Event::warning(cron, CRON_JOB, SOURCE, "UnparseableSchedule", message));
            return Ok(());
        }
    };
    start(world, cron, next, &jobs, &schedule, active)
}

fn set_active(cron: &mut Value, active: &[Value]) {
    let status = object::object_mut(cron, "status");
    if active.is_empty() {
        status.remove("active");
    } else {
        status.insert("active".to_owned(), active.into());
    }
}

/// Make the job that is due, and come back when the next one is.
fn start(
    world: &mut World,
    cron: &Value,
    mut next: Value,
    jobs: &[Arc<Object>],
    schedule: &Schedule,
    mut active: Vec<Value>,
) -> Result<(), Failure> {
    let now = world.now.div_euclid(1000);
    let since = object::seconds(&next, "/status/lastScheduleTime")
        .or_else(|| object::seconds(cron, "/metadata/creationTimestamp"))
        .unwrap_or(now);
    let earliest =
        object::number(cron, "/spec/startingDeadlineSeconds").map_or(since, |deadline| since.max(now - deadline));
    let due = schedule.last_between(earliest, now);
    if let Some(at) = schedule.next_after(now) {
        world.enqueue_at(Who::CronJob, object::key_of(cron), at * 1000);
    }
    let Some(due) = due else { return Ok(()) };
    match object::text(cron, "/spec/concurrencyPolicy") {
        "Forbid" if !active.is_empty() => {
            let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
            world.event(Event::normal(cron, CRON_JOB, SOURCE, "JobAlreadyActive", message));
            return Ok(());
        }
        "Replace" => {
            for job in jobs
                .iter()
                .filter(|job| active.iter().any(|reference| reference["uid"] == job.uid()))
            {
                world.delete("jobs.batch", job.value(), Some(Propagation::Background))?;
                world.event(Event::normal(
                    cron,
                    CRON_JOB,
                    SOURCE,
                    "SuccessfulDelete",
                    format!("Deleted job {}", job.name()),
                ));
            }
            active.clear();
        }
        _ => {}
    }
    let template = &cron["spec"]["jobTemplate"];
    let mut metadata = json!({
        "name": format!("{}-{}", object::name(cron), due.div_euclid(60)), "namespace": object::namespace(cron),
        "ownerReferences": [object::owner_reference(cron, "batch/v1", "CronJob")],
    });
    for field in ["labels", "annotations"] {
        if let Some(value) = template["metadata"].get(field) {
            metadata[field] = value.clone();
        }
    }
    object::object_mut(&mut metadata, "annotations").insert(SCHEDULED.to_owned(), object::time(due * 1000));
    let body = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]});
    let job = match world.create("jobs.batch", object::namespace(cron), body) {
        Err(failure) if failure.is_already_exists() => return Ok(()),
        Err(failure) => {
            world.event(Event::warning(
                cron,
                CRON_JOB,
                SOURCE,
                "FailedCreate",
                format!("Error creating job: {}", failure.message),
            ));
            return Err(failure);
        }
        Ok(job) => job,
    };
    world.event(Event::normal(
        cron,
        CRON_JOB,
        SOURCE,
        "SuccessfulCreate",
        format!("Created job {}", job.name()),
    ));
    active.push(json!({
        "apiVersion": "batch/v1", "kind": "Job", "namespace": job.namespace(), "name": job.name(), "uid": job.uid(),
        "resourceVersion": job.revision().to_string(),
    }));
    set_active(&mut next, &active);
    next["status"]["lastScheduleTime"] = object::time(due * 1000);
    world.update_status("cronjobs.batch", next).map(|_| ())
}

/// Delete finished jobs beyond the history limit, oldest first.
fn prune(world: &World, jobs: &[Arc<Object>], end: &str, limit: i64) -> Result<(), Failure> {
    let mut ended: Vec<&Arc<Object>> = jobs
        .iter()
        .filter(|job| job_rules::finished(job.value()).is_some_and(|c| c["type"] == end))
        .collect();
    ended.sort_by_key(|job| object::seconds(job.value(), "/status/startTime"));
    let excess = usize::try_from(i64::try_from(ended.len()).unwrap_or(0) - limit).unwrap_or(0);
    for job in ended.into_iter().take(excess) {
        world.delete("jobs.batch", job.value(), Some(Propagation::Background))?;
    }
    Ok(())
}
