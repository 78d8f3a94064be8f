//! A pod's worker: what is due now, in which order, and how a pod ends.

use serde_json::Value;

use super::launch::{self, Step};
use super::probes::{self, Kind};
use super::runtime::{PodRun, Stage};
use super::shell::{Millis, Progress, lock, usage};
use super::status::{Exit, Role, State};
use super::{network, timing};
use crate::kubernetes::controllers::amount;
use crate::kubernetes::controllers::events::{Event, POD};
use crate::kubernetes::controllers::object;
use crate::kubernetes::controllers::world::World;
use crate::kubernetes::registry::{Actor, DeleteOptions};

/// No pod has this much to do at one time; what has loops.
const BOUND: usize = 10_000;
const DEADLINE: (&str, &str) = (
    "DeadlineExceeded",
    "Pod was active on the node longer than the specified deadline",
);

/// Do all that is due.
pub(super) fn work(world: &mut World, run: &mut PodRun) {
    for _ in 0..BOUND {
        let Some(pod) = world.registry.find("pods", &run.key.0, &run.key.1) else {
            return;
        };
        if !once(world, run, pod.value()) {
            return;
        }
    }
    tracing::error!(pod = %run.key.1, "a pod's worker found no end");
}

fn once(world: &mut World, run: &mut PodRun, pod: &Value) -> bool {
    let now = world.now;
    let due = |at: Option<Millis>| at.is_some_and(|at| at <= now);
    if let Some(i) = run
        .containers
        .iter()
        .position(|c| due(c.process.as_ref().and_then(|p| p.due)))
    {
        run_process(world, run, pod, i);
        return true;
    }
    // A pod that is to go drops what it was doing.
    if run.stage == Stage::Living && object::is_deleting(pod) {
        stop(world, run, pod, None);
        return true;
    }
    if run.stage == Stage::Living && due(run.plan.front().map(|(at, _)| *at)) {
        if let Some((_, step)) = run.plan.pop_front() {
            launch::step(world, run, pod, step);
        }
        return true;
    }
    if due(run.tick_at) {
        run.tick_at = None;
        if run.relist() {
            run.want_sync(now);
        }
        return true;
    }
    match run.stage.clone() {
        Stage::Living => living(world, run, pod),
        Stage::Ending { at } if at <= now => {
            finish(world, run, pod, None);
            true
        }
        Stage::Stopping { kill, cause, .. } if kill <= now || !run.any_running() => {
            for i in 0..run.containers.len() {
                if matches!(run.containers[i].state, State::Running { .. }) {
                    exited(world, run, pod, i, 137, "Error");
                }
            }
            run.stage = Stage::Stopped {
                at: now + timing::CLEAN,
                cause,
            };
            true
        }
        Stage::Stopping {
            kill,
            cause,
            sidecars: false,
        } => {
            // Sidecars go when those whom they serve have gone.
            if run
                .containers
                .iter()
                .any(|c| c.role != Role::Sidecar && matches!(c.state, State::Running { .. }))
            {
                return false;
            }
            run.stage = Stage::Stopping {
                kill,
                cause,
                sidecars: true,
            };
            tell(world, run, pod, true);
            true
        }
        Stage::Stopped { at, cause } if at <= now => {
            finish(
                world,
                run,
                pod,
                cause
                    .as_ref()
                    .map(|(reason, message)| (reason.as_str(), message.as_str())),
            );
            true
        }
        Stage::Over { at: Some(at) } if at <= now => {
            run.stage = Stage::Over { at: None };
            remove(world, pod);
            true
        }
        Stage::Over { at: None } if object::is_deleting(pod) && run.sync_at.take().is_some() => {
            remove(world, pod);
            true
        }
        _ => false,
    }
}

fn living(world: &mut World, run: &mut PodRun, pod: &Value) -> bool {
    let now = world.now;
    let wanted = run.sync_at.into_iter().chain(run.retry_at).min();
    if run.plan.is_empty() && !run.stale && wanted.is_some_and(|at| at <= now) {
        sync(world, run, pod);
        return true;
    }
    if run.sandbox
        && let Some((i, p)) = next_probe(run, now)
    {
        probe(world, run, pod, i, p);
        return true;
    }
    if run.deadline_at.is_some_and(|at| at <= now) {
        run.deadline_at = None;
        let cause = (DEADLINE.0.to_owned(), DEADLINE.1.to_owned());
        world.event(Event::normal(pod, POD, "kubelet", DEADLINE.0, DEADLINE.1));
        write_status(world, run, pod, false, Some(DEADLINE));
        world.event(Event::normal(pod, POD, "kubelet", DEADLINE.0, DEADLINE.1));
        stop(world, run, pod, Some(cause));
        return true;
    }
    if run.evict_at.is_some_and(|at| at <= now) {
        run.evict_at = Some(now + timing::EVICTION);
        if let Some(why) = overfull(run, pod) {
            world.event(Event::warning(pod, POD, "kubelet", "Evicted", why.clone()));
            stop(world, run, pod, Some(("Evicted".to_owned(), why)));
        }
        return true;
    }
    false
}

/// One turn of the pod: write its status, then do what it needs.
fn sync(world: &mut World, run: &mut PodRun, pod: &Value) {
    let now = world.now;
    (run.sync_at, run.retry_at) = (None, None);
    write_status(world, run, pod, false, None);
    if let Some(seconds) = object::number(pod, "/spec/activeDeadlineSeconds") {
        let start = object::seconds(pod, "/status/startTime").unwrap_or(now.div_euclid(1000));
        run.deadline_at = Some((start + seconds) * 1000);
    }
    let view = run.view(pod, "", now, false, None);
    if matches!(view.phase(), "Succeeded" | "Failed") || view.mains_are_done() {
        if run.any_running() {
            stop(world, run, pod, None);
        } else {
            run.stage = Stage::Ending {
                at: now + timing::CONFIRM,
            };
        }
        return;
    }
    if !run.mounted {
        let beside = Millis::from(world.kubelet.starting());
        run.plan
            .push_back((now + timing::MOUNT + beside * timing::STAGGER, Step::Mount));
    } else if run.sandbox {
        launch::begin(run, pod, now);
    }
}

/// Writes the status that follows from the observation, if it has changed.
pub(super) fn write_status(world: &World, run: &PodRun, pod: &Value, ended: bool, cause: Option<(&str, &str)>) {
    let node = object::text(pod, "/spec/nodeName");
    let host = world.kubelet.host_ip(node);
    // Others write conditions too: theirs are in the object as it is now.
    let Some(live) = world.registry.find("pods", &run.key.0, &run.key.1) else {
        return;
    };
    let status = run.view(live.value(), &host, world.now, ended, cause).status();
    if live.value()["status"] == status {
        return;
    }
    let written = world
        .registry
        .modify_status(&Actor::kubelet(node), "pods", &run.key.0, &run.key.1, |pod| {
            pod["status"] = status.clone();
        });
    if let Err(failure) = written
        && !failure.is_not_found()
    {
        tracing::warn!(pod = %run.key.1, %failure.message, "a pod's status was refused");
    }
}

/// Let a container's process run as far as it can.
pub(super) fn run_process(world: &mut World, run: &mut PodRun, pod: &Value, i: usize) {
    let Some(mut process) = run.containers[i].process.take() else {
        return;
    };
    let namespace = run.key.0.clone();
    let progress = process.run(world.now, &|host, port| network::answer(world, &namespace, host, port));
    match progress {
        Progress::Waits(_) => run.containers[i].process = Some(process),
        Progress::Ended(code) => exited(world, run, pod, i, code, if code == 0 { "Completed" } else { "Error" }),
        Progress::OutOfMemory => exited(world, run, pod, i, 137, "OOMKilled"),
    }
}

/// A container has ended.
pub(super) fn exited(world: &mut World, run: &mut PodRun, pod: &Value, i: usize, code: i32, reason: &'static str) {
    let now = world.now;
    let spec = launch::spec_of(pod, i);
    let container = &mut run.containers[i];
    let State::Running { since, id } = container.state.clone() else {
        return;
    };
    container.process = None;
    if let Some(log) = &container.log {
        lock(log).close();
    }
    let path = spec["terminationMessagePath"]
        .as_str()
        .unwrap_or("/dev/termination-log");
    let file = container
        .machine
        .as_ref()
        .and_then(|machine| machine.read(path))
        .map(|file| file.data)
        .unwrap_or_default();
    let mut message = String::from_utf8_lossy(&file[..file.len().min(4096)]).into_owned();
    if message.is_empty()
        && code != 0
        && spec["terminationMessagePolicy"] == "FallbackToLogsOnError"
        && let Some(log) = &container.log
    {
        let text = lock(log).text();
        message = String::from_utf8_lossy(&text[text.len().saturating_sub(2048)..]).into_owned();
    }
    container.state = State::Exited(Exit {
        code,
        reason,
        message: Some(message),
        started: Some(since),
        finished: Some(now),
        id,
    });
    run.want_tick(now);
    // A worker that waits for this end need not wait longer.
    if let Some((at, Step::Kill(waits) | Step::Unhook(waits, _))) = run.plan.front_mut()
        && *waits == i
    {
        *at = now;
    }
}

/// Ask a container to stop: its hook first, then the signal.
pub(super) fn terminate(world: &mut World, run: &mut PodRun, pod: &Value, i: usize) {
    let hook: Vec<String> = object::list(launch::spec_of(pod, i), "/lifecycle/preStop/exec/command")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    if let Some(machine) = run.containers[i].machine.clone().filter(|_| !hook.is_empty()) {
        let _finding = probes::run(world, pod, &machine, &hook, 30, true);
    }
    if let Some(process) = &mut run.containers[i].process {
        process.terminate();
        run_process(world, run, pod, i);
    }
}

fn tell(world: &mut World, run: &mut PodRun, pod: &Value, sidecars: bool) {
    for i in 0..run.containers.len() {
        let container = &run.containers[i];
        if (container.role == Role::Sidecar) == sidecars && matches!(container.state, State::Running { .. }) {
            let message = format!("Stopping container {}", container.name);
            launch::say(world, pod, run, i, false, "Killing", message);
            terminate(world, run, pod, i);
        }
    }
}

/// Stop all containers: because the pod is deleted, has had its time, or must make room.
fn stop(world: &mut World, run: &mut PodRun, pod: &Value, cause: Option<(String, String)>) {
    let now = world.now;
    run.plan.clear();
    (run.sync_at, run.retry_at) = (None, None);
    let grace = object::number(pod, "/metadata/deletionGracePeriodSeconds")
        .or_else(|| object::number(pod, "/spec/terminationGracePeriodSeconds"))
        .unwrap_or(30)
        .saturating_mul(1000);
    let by_user = cause.is_none() && object::is_deleting(pod);
    let beside = Millis::from(world.kubelet.stopping());
    run.stage = Stage::Stopping {
        kill: now + grace.clamp(timing::LEAST_GRACE, 1_000_000_000) + 300 + beside * timing::STAGGER,
        cause,
        sidecars: false,
    };
    if by_user {
        write_status(world, run, pod, false, None);
    }
    tell(world, run, pod, false);
}

/// Everything has ended: say so for the last time.
fn finish(world: &mut World, run: &mut PodRun, pod: &Value, cause: Option<(&str, &str)>) {
    let now = world.now;
    for container in &mut run.containers {
        if container.state == State::Absent && (object::is_deleting(pod) || cause.is_some()) {
            let message = "The container could not be located when the pod was terminated".to_owned();
            container.state = State::Exited(Exit {
                code: 137,
                reason: "ContainerStatusUnknown",
                message: Some(message),
                started: None,
                finished: None,
                id: String::new(),
            });
        }
    }
    run.reasons.clear();
    run.relist();
    run.tick_at = None;
    if cause.is_some_and(|(reason, _)| reason == DEADLINE.0) {
        world.event(Event::normal(pod, POD, "kubelet", DEADLINE.0, DEADLINE.1));
    }
    write_status(world, run, pod, true, cause);
    run.sandbox = false;
    run.stage = Stage::Over {
        at: object::is_deleting(pod).then_some(now + timing::REMOVE),
    };
}

fn remove(world: &World, pod: &Value) {
    let options = DeleteOptions {
        grace_period: Some(0),
        uid: Some(object::uid(pod).to_owned()),
        ..DeleteOptions::default()
    };
    let node = object::text(pod, "/spec/nodeName");
    // Gone already is as good.
    let _ = world.registry.delete(
        &Actor::kubelet(node),
        "pods",
        object::namespace(pod),
        object::name(pod),
        &options,
    );
}

/// The sentence about a volume that holds more than it may.
fn overfull(run: &PodRun, pod: &Value) -> Option<String> {
    object::list(pod, "/spec/volumes").iter().find_map(|volume| {
        let limit = volume["emptyDir"]["sizeLimit"].as_str()?;
        let name = volume["name"].as_str()?;
        let used = run.mounts.get(name).map_or(0, usage);
        (i128::from(used) > amount::units(limit)?)
            .then(|| format!("Usage of EmptyDir volume \"{name}\" exceeds the limit \"{limit}\". "))
    })
}

fn next_probe(run: &PodRun, now: Millis) -> Option<(usize, usize)> {
    let all = run
        .containers
        .iter()
        .enumerate()
        .flat_map(|(i, c)| c.probes.iter().enumerate().map(move |(p, probe)| (probe.due, i, p)));
    all.filter(|(due, ..)| *due <= now).min().map(|(_, i, p)| (i, p))
}

/// Look at a container with one of its probes.
fn probe(world: &mut World, run: &mut PodRun, pod: &Value, i: usize, p: usize) {
    let now = world.now;
    let spec = launch::spec_of(pod, i);
    let start_time = Millis::try_from(world.config.start_time).unwrap_or(0);
    let container = &mut run.containers[i];
    container.probes[p].advance(now);
    let kind = container.probes[p].kind;
    let State::Running { id, since } = container.seen.0.clone() else {
        if container.probes[p].lose() {
            run.want_sync(now);
        }
        return;
    };
    container.probes[p].follow(&id);
    let started = container.is_started();
    let probe = &container.probes[p];
    let wrong_time = match kind {
        Kind::Startup => started,
        Kind::Readiness | Kind::Liveness => !started,
    };
    if probe.hold || wrong_time || !probe.is_time(since, now) {
        return;
    }
    if !matches!(container.state, State::Running { .. }) {
        // It has ended and nobody has noticed yet.
        if spec[kind.field()]["exec"].is_object() {
            let message = format!(
                "{} probe errored and resulted in unknown state: rpc error: code = NotFound desc = failed to exec in container: failed to load task: no running \
                 task found: task {id} not found: not found",
                kind.word()
            );
            launch::say(world, pod, run, i, true, "Unhealthy", message);
        }
        return;
    }
    let behaviour = &container.behaviour;
    let alive = now >= since + start_time && !behaviour.hang;
    let ready = alive && !behaviour.never_ready && behaviour.ready_after.is_none_or(|after| now >= since + after);
    let serving = if kind == Kind::Readiness { ready } else { alive };
    let forced =
        behaviour.hang || (kind == Kind::Readiness && (behaviour.never_ready || behaviour.ready_after.is_some()));
    let Some(machine) = container.machine.clone() else {
        return;
    };
    let ip = run.ip.clone().unwrap_or_default();
    let finding = if forced {
        if serving {
            Ok(())
        } else {
            Err("not ready, as its annotation says".to_owned())
        }
    } else {
        probes::look(
            world,
            pod,
            &spec[kind.field()],
            &machine,
            &ip,
            serving && !machine.closed,
        )
    };
    let changed = run.containers[i].probes[p].count(finding.is_ok());
    if let Err(output) = finding {
        launch::say(
            world,
            pod,
            run,
            i,
            true,
            "Unhealthy",
            format!("{} probe failed: {output}", kind.word()),
        );
    }
    if !changed {
        return;
    }
    let failed = run.containers[i].probes[p].result == Some(false);
    if failed && kind != Kind::Readiness {
        run.containers[i].kill = true;
    }
    if kind == Kind::Startup && !failed {
        // The start is written before any readiness check.
        mark_started(world, run, pod, &run.containers[i].name);
        prompt(run, i, now);
    }
    run.want_sync(now);
}

fn mark_started(world: &World, run: &PodRun, pod: &Value, name: &str) {
    let actor = Actor::kubelet(object::text(pod, "/spec/nodeName"));
    let marked = world
        .registry
        .modify_status(&actor, "pods", &run.key.0, &run.key.1, |pod| {
            for list in ["initContainerStatuses", "containerStatuses"] {
                for status in pod["status"]
                    .get_mut(list)
                    .and_then(Value::as_array_mut)
                    .into_iter()
                    .flatten()
                {
                    if status["name"] == name {
                        status["started"] = true.into();
                    }
                }
            }
        });
    if let Err(failure) = marked
        && !failure.is_not_found()
    {
        tracing::warn!(pod = %run.key.1, %failure.message, "a pod's status was refused");
    }
}

/// A container that has just started is checked for readiness at once.
pub(super) fn prompt(run: &mut PodRun, i: usize, now: Millis) {
    for probe in run.containers[i]
        .probes
        .iter_mut()
        .filter(|probe| probe.kind == Kind::Readiness)
    {
        probe.due = probe.due.min(now + timing::PROMPT_PROBE);
    }
}
