//! Starting containers: volumes, sandbox, image, configuration, process, hook; each step with its event and its reason when it fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::images::{self, Image};
use super::runtime::PodRun;
use super::shell::{Files, Log, Machine, Millis, Process};
use super::status::{Exit, Role, State, restarts_after};
use super::{exec, inputs, probes, timing, worker};
use crate::kubernetes::controllers::amount;
use crate::kubernetes::controllers::events::{Event, POD};
use crate::kubernetes::controllers::object;
use crate::kubernetes::controllers::world::World;

/// What a pod's worker does next. The number is the container's place, init containers first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Mount,
    Sandbox,
    /// Tell a container to stop, for a reason.
    Stop(usize, String),
    /// Kill it.
    Kill(usize),
    Launch(usize),
    Pulled(usize, Millis),
    Create(usize),
    Start(usize),
    /// After a hook that failed: why.
    Unhook(usize, String),
    Finish,
}

/// The specification of a container by its place.
pub(super) fn spec_of(pod: &Value, i: usize) -> &Value {
    let inits = object::list(pod, "/spec/initContainers");
    inits
        .get(i)
        .or_else(|| object::list(pod, "/spec/containers").get(i - inits.len().min(i)))
        .unwrap_or(&Value::Null)
}

/// What must be started or stopped, by what was last seen.
pub(super) fn plan(run: &PodRun, pod: &Value) -> Vec<Step> {
    let policy = object::text(pod, "/spec/restartPolicy");
    let mains_begun = run
        .containers
        .iter()
        .any(|c| c.role == Role::Main && c.seen.0 != State::Absent);
    let mut steps = Vec::new();
    for (i, container) in run.containers.iter().enumerate() {
        let restart = |steps: &mut Vec<Step>| {
            if container.kill {
                let probe = container
                    .probes
                    .iter()
                    .find(|probe| probe.hold)
                    .map_or("liveness", |probe| {
                        if probe.kind == probes::Kind::Startup {
                            "startup"
                        } else {
                            "liveness"
                        }
                    });
                let why = format!("Container {} failed {probe} probe, will be restarted", container.name);
                steps.extend([Step::Stop(i, why), Step::Kill(i), Step::Launch(i)]);
            }
        };
        match (container.role, &container.seen.0) {
            (Role::Init, _) if mains_begun => {}
            (Role::Init, State::Exited(exit)) if exit.code == 0 => {}
            (Role::Init, State::Running { .. }) => return steps,
            (Role::Init, State::Exited(exit)) => {
                if restarts_after(Role::Init, policy, exit.code) {
                    steps.push(Step::Launch(i));
                }
                return steps;
            }
            (Role::Init, State::Absent) => {
                steps.push(Step::Launch(i));
                return steps;
            }
            (Role::Sidecar, State::Running { .. }) => {
                restart(&mut steps);
                if !container.is_started() && !mains_begun {
                    return steps;
                }
            }
            (Role::Sidecar, _) => {
                steps.push(Step::Launch(i));
                if !mains_begun {
                    return steps;
                }
            }
            (Role::Main, State::Running { .. }) => restart(&mut steps),
            (Role::Main, State::Absent) => steps.push(Step::Launch(i)),
            (Role::Main, State::Exited(exit)) => {
                if restarts_after(Role::Main, policy, exit.code) {
                    steps.push(Step::Launch(i));
                }
            }
        }
    }
    steps
}

fn path_of(pod: &Value, run: &PodRun, i: usize) -> String {
    let _ = pod;
    let field = if run.containers[i].role == Role::Main {
        "containers"
    } else {
        "initContainers"
    };
    format!("spec.{field}{{{}}}", run.containers[i].name)
}

/// Say something about a container.
pub(super) fn say(
    world: &mut World,
    pod: &Value,
    run: &PodRun,
    i: usize,
    warning: bool,
    reason: &str,
    message: impl Into<String>,
) {
    let event = Event {
        warning,
        ..Event::normal(pod, POD, "kubelet", reason, message)
    };
    world.event(event.at(path_of(pod, run, i)));
}

fn fail(run: &mut PodRun, i: usize, reason: &str, message: &str, again: Millis) {
    let name = run.containers[i].name.clone();
    run.reasons.insert(name, (reason.to_owned(), message.to_owned()));
    run.failed = Some(run.failed.map_or(again, |earlier| earlier.min(again)));
}

/// Do one step.
pub(super) fn step(world: &mut World, run: &mut PodRun, pod: &Value, step: Step) {
    let now = world.now;
    match step {
        Step::Mount => mount(world, run, pod),
        Step::Sandbox => {
            run.sandbox = true;
            run.ip = Some(if pod["spec"]["hostNetwork"] == true {
                world.kubelet.host_ip(object::text(pod, "/spec/nodeName"))
            } else {
                world.kubelet.next_ip()
            });
            run.want_tick(now);
            worker::write_status(world, run, pod, false, None);
            begin(run, pod, now);
        }
        Step::Stop(i, why) => {
            say(world, pod, run, i, false, "Killing", why);
            let grace = object::number(pod, "/spec/terminationGracePeriodSeconds").unwrap_or(30) * 1000;
            worker::terminate(world, run, pod, i);
            let at = if matches!(run.containers[i].state, State::Running { .. }) {
                now + grace.max(timing::LEAST_GRACE) + timing::KILL
            } else {
                now
            };
            if let Some(front) = run.plan.front_mut() {
                front.0 = at;
            }
        }
        Step::Kill(i) => {
            run.containers[i].kill = false;
            if matches!(run.containers[i].state, State::Running { .. }) {
                worker::exited(world, run, pod, i, 137, "Error");
            }
        }
        Step::Launch(i) => launch(world, run, pod, i),
        Step::Pulled(i, took) => {
            let image = spec_of(pod, i)["image"].as_str().unwrap_or_default().to_owned();
            world.kubelet.images.insert((
                object::text(pod, "/spec/nodeName").to_owned(),
                images::normalized(&image),
            ));
            let message = format!(
                "Successfully pulled image \"{image}\" in {took}ms ({took}ms including waiting). Image size: 10485760 bytes."
            );
            say(world, pod, run, i, false, "Pulled", message);
            configure(world, run, pod, i);
        }
        Step::Create(i) => {
            say(world, pod, run, i, false, "Created", "Container created");
            run.plan.push_front((now + timing::START, Step::Start(i)));
        }
        Step::Start(i) => start(world, run, pod, i),
        Step::Unhook(i, why) => {
            if matches!(run.containers[i].state, State::Running { .. }) {
                worker::exited(world, run, pod, i, 137, "Error");
            }
            fail(run, i, "PostStartHookError", &why, timing::AGAIN);
        }
        Step::Finish => {
            if run.launched && run.failed.is_none() {
                run.tick_at = Some(now + timing::RELIST);
            } else if run.launched {
                run.want_tick(now);
            }
            if let Some(pause) = run.failed.take() {
                run.retry_at = Some(now + pause);
            }
            run.launched = false;
        }
    }
}

/// Put what must be started in line.
pub(super) fn begin(run: &mut PodRun, pod: &Value, now: Millis) {
    let steps = plan(run, pod);
    if !steps.is_empty() {
        run.plan
            .extend(steps.into_iter().chain([Step::Finish]).map(|step| (now, step)));
    }
}

fn mount(world: &mut World, run: &mut PodRun, pod: &Value) {
    let now = world.now;
    let mut failures = Vec::new();
    let mut mounts: HashMap<String, Files> = HashMap::new();
    for volume in object::list(pod, "/spec/volumes") {
        let name = volume["name"].as_str().unwrap_or_default();
        match inputs::volume(world, pod, volume) {
            Ok(data) => {
                let files = Files::default();
                inputs::fill(&files, data);
                mounts.insert(name.to_owned(), files);
            }
            Err(why) => failures.push(format!("MountVolume.SetUp failed for volume \"{name}\" : {why}")),
        }
    }
    for (i, container) in run.containers.iter_mut().enumerate() {
        container.start_probes(spec_of(pod, i), now);
    }
    if failures.is_empty() {
        run.mounts = mounts;
        run.mounted = true;
        run.plan.push_front((now + timing::SANDBOX, Step::Sandbox));
        return;
    }
    for message in failures {
        world.event(Event::warning(pod, POD, "kubelet", "FailedMount", message));
    }
    // 0.5 s, 1 s, 2 s, ... at most 2 min 2 s between two tries.
    let pause = (500_i64 << run.mount_tries.min(20)).min(122_000);
    run.mount_tries += 1;
    run.plan.push_front((now + pause, Step::Mount));
}

/// Image and configuration; what fails leaves its reason and is tried again.
fn launch(world: &mut World, run: &mut PodRun, pod: &Value, i: usize) {
    let now = world.now;
    let who = format!("{}_{}({})", object::name(pod), object::namespace(pod), object::uid(pod));
    let container = &mut run.containers[i];
    // Of a container that this very turn has killed only its earlier ends are known.
    let last = match &container.seen.0 {
        State::Exited(exit) => Some(exit),
        _ => container.seen.1.as_ref(),
    };
    if let Some(exit) = last {
        let fresh = container
            .backoff
            .filter(|(_, set)| exit.finished.unwrap_or(0) - set <= timing::FORGIVEN);
        if let Some((pause, _)) = fresh
            && let left = exit.finished.unwrap_or(0) + pause - now
            && left > 0
        {
            let message = format!(
                "back-off {} restarting failed container={} pod={who}",
                shown(pause),
                container.name
            );
            let name = container.name.clone();
            say(
                world,
                pod,
                run,
                i,
                true,
                "BackOff",
                format!("Back-off restarting failed container {name} in pod {who}"),
            );
            // The node comes by a while after the pause is over.
            return fail(run, i, "CrashLoopBackOff", &message, left + left / 4 + 500);
        }
        let pause = fresh.map_or(timing::BACKOFF, |(pause, _)| (pause * 2).min(timing::LONGEST_BACKOFF));
        container.backoff = Some((pause, now));
    }
    let spec = spec_of(pod, i);
    let image = spec["image"].as_str().unwrap_or_default().to_owned();
    if let Some((pause, since, why)) = run.image_backoff.get(&image)
        && now < since + pause
    {
        let short = format!("Back-off pulling image \"{image}\"");
        let message = format!("{short}: ErrImagePull: {why}");
        say(world, pod, run, i, false, "BackOff", short);
        say(world, pod, run, i, true, "Failed", "Error: ImagePullBackOff");
        return fail(run, i, "ImagePullBackOff", &message, timing::AGAIN);
    }
    let node = object::text(pod, "/spec/nodeName").to_owned();
    let present = world.kubelet.images.contains(&(node, images::normalized(&image)));
    match images::resolve(&image, object::text(spec, "/imagePullPolicy"), present, "10.0.0.10") {
        Image::Present => {
            let message =
                format!("Container image \"{image}\" already present on machine and can be accessed by the pod");
            say(world, pod, run, i, false, "Pulled", message);
            configure(world, run, pod, i);
        }
        Image::Pull(takes) => {
            let takes = run.containers[i].behaviour.pull_time.unwrap_or(takes);
            say(
                world,
                pod,
                run,
                i,
                false,
                "Pulling",
                format!("Pulling image \"{image}\""),
            );
            run.plan.push_front((now + takes, Step::Pulled(i, takes)));
        }
        Image::Failed(why) => {
            say(
                world,
                pod,
                run,
                i,
                false,
                "Pulling",
                format!("Pulling image \"{image}\""),
            );
            say(
                world,
                pod,
                run,
                i,
                true,
                "Failed",
                format!("Failed to pull image \"{image}\": {why}"),
            );
            say(world, pod, run, i, true, "Failed", "Error: ErrImagePull");
            let pause = run
                .image_backoff
                .get(&image)
                .map_or(timing::BACKOFF, |(pause, ..)| (pause * 2).min(timing::LONGEST_BACKOFF));
            run.image_backoff.insert(image, (pause, now, why.clone()));
            fail(run, i, "ErrImagePull", &why, timing::AGAIN);
        }
        Image::Invalid(why) => {
            say(world, pod, run, i, true, "InspectFailed", why.clone());
            say(world, pod, run, i, true, "Failed", "Error: InvalidImageName");
            fail(run, i, "InvalidImageName", &why, timing::AGAIN);
        }
        Image::Never => {
            let why = format!("Container image \"{image}\" is not present with pull policy of Never");
            say(world, pod, run, i, true, "ErrImageNeverPull", why.clone());
            say(world, pod, run, i, true, "Failed", "Error: ErrImageNeverPull");
            fail(run, i, "ErrImageNeverPull", &why, timing::AGAIN);
        }
    }
}

/// `10s`, `1m20s`: as Go prints durations.
fn shown(millis: Millis) -> String {
    let seconds = millis / 1000;
    if seconds >= 60 {
        format!("{}m{}s", seconds / 60, seconds % 60)
    } else {
        format!("{seconds}s")
    }
}

fn user_fault(pod: &Value, spec: &Value) -> Option<&'static str> {
    let context = |field: &str| match &spec["securityContext"][field] {
        Value::Null => &pod["spec"]["securityContext"][field],
        value => value,
    };
    if *context("runAsNonRoot") != true {
        return None;
    }
    match context("runAsUser").as_i64() {
        Some(0) => Some("container's runAsUser breaks non-root policy"),
        Some(_) => None,
        // Of other images we do not know the user, and assume the best.
        None => images::is_closed(spec["image"].as_str().unwrap_or_default())
            .then_some("container has runAsNonRoot and image will run as root"),
    }
}

fn configure(world: &mut World, run: &mut PodRun, pod: &Value, i: usize) {
    let spec = spec_of(pod, i);
    let environment = inputs::environment(world, pod, spec).and_then(|environment| match user_fault(pod, spec) {
        None => Ok(environment),
        Some(fault) => {
            let who = format!(
                "\"{}_{}({})\"",
                object::name(pod),
                object::namespace(pod),
                object::uid(pod)
            );
            Err(format!("{fault} (pod: {who}, container: {})", run.containers[i].name))
        }
    });
    match environment {
        Ok(_) => run.plan.push_front((world.now + timing::CREATE, Step::Create(i))),
        Err(why) => {
            say(world, pod, run, i, true, "Failed", format!("Error: {why}"));
            fail(run, i, "CreateContainerConfigError", &why, timing::AGAIN);
        }
    }
}

/// A container's inside: its volumes where they are mounted, its environment.
fn machine(world: &World, run: &PodRun, pod: &Value, i: usize) -> Machine {
    let spec = spec_of(pod, i);
    let environment = inputs::environment(world, pod, spec).unwrap_or_default();
    let mounts: Vec<(String, Files)> = object::list(spec, "/volumeMounts")
        .iter()
        .filter_map(|mount| {
            Some((
                mount["mountPath"].as_str()?.to_owned(),
                run.mounts.get(mount["name"].as_str()?)?.clone(),
            ))
        })
        .collect();
    let hostname = match object::text(pod, "/spec/hostname") {
        "" => object::name(pod),
        hostname => hostname,
    };
    let mut machine = Machine::new(
        hostname,
        environment,
        mounts,
        images::is_closed(spec["image"].as_str().unwrap_or_default()),
    );
    machine.memory = spec["resources"]["limits"]["memory"]
        .as_str()
        .and_then(amount::units)
        .and_then(|bytes| u64::try_from(bytes).ok());
    machine
}

fn start(world: &mut World, run: &mut PodRun, pod: &Value, i: usize) {
    let now = world.now;
    let spec = spec_of(pod, i);
    let mut machine = machine(world, run, pod, i);
    let container = &mut run.containers[i];
    if let State::Exited(exit) = &container.state {
        container.previous = Some(exit.clone());
        container.previous_log = container.log.take();
        container.restarts += 1;
    }
    let id = fresh_id();
    run.stale = true;
    let mut argv = inputs::arguments(spec, &machine.environment);
    if argv.is_empty() || object::list(spec, "/command").is_empty() {
        let entry = if machine.closed { "sh" } else { "entrypoint" };
        if argv.is_empty() || !machine.closed {
            argv.insert(0, entry.to_owned());
        }
    }
    if let Some(script) = container.behaviour.script(container.restarts) {
        if container.behaviour.oom_after.is_some() {
            machine.memory = machine.memory.or(Some(1));
        }
        argv = vec!["sh".to_owned(), "-c".to_owned(), script];
    }
    let mut printed = Vec::new();
    if let Some((text, code)) = exec::started_with(world, pod, spec, &argv) {
        printed = text;
        argv = vec!["sh".to_owned(), "-c".to_owned(), format!("exit {code}")];
    }
    match Process::start(&machine, &argv, Vec::new(), now) {
        Err(why) => {
            let message = format!(
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: \
                 {why}: unknown"
            );
            container.state = State::Exited(Exit {
                code: 128,
                reason: "StartError",
                message: Some(message.clone()),
                started: Some(0),
                finished: Some(now),
                id,
            });
            container.log = None;
            say(world, pod, run, i, true, "Failed", format!("Error: {message}"));
            run.want_tick(now);
            fail(run, i, "RunContainerError", &message, timing::AGAIN);
        }
        Ok(mut process) => {
            let log: Arc<Mutex<Log>> = process.log.clone();
            if let Some(text) = &container.behaviour.log {
                super::shell::lock(&log).write(now, format!("{text}\n").as_bytes());
            }
            super::shell::lock(&log).write(now, &printed);
            container.log = Some(log);
            container.machine = Some(machine);
            process.due = Some(now + timing::SPAWN);
            container.process = Some(process);
            container.state = State::Running { since: now, id };
            container.kill = false;
            let name = container.name.clone();
            run.reasons.remove(&name);
            run.launched = true;
            say(world, pod, run, i, false, "Started", "Container started");
            post_start(world, run, pod, i);
        }
    }
}

fn post_start(world: &mut World, run: &mut PodRun, pod: &Value, i: usize) {
    let hook: Vec<String> = object::list(spec_of(pod, i), "/lifecycle/postStart/exec/command")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let Some(machine) = run.containers[i].machine.clone().filter(|_| !hook.is_empty()) else {
        return;
    };
    let Err(output) = probes::run(world, pod, &machine, &hook, 3600, true) else {
        return;
    };
    let name = run.containers[i].name.clone();
    let who = format!("{}_{}({})", object::name(pod), object::namespace(pod), object::uid(pod));
    let why = format!(
        "Exec lifecycle hook ([{}]) for Container \"{name}\" in Pod \"{who}\" failed - error: command '{}' exited with 1: {output}, message: \"{}\"",
        hook.join(" "),
        hook.join(" "),
        output.escape_default()
    );
    say(world, pod, run, i, true, "FailedPostStartHook", "PostStartHook failed");
    say(world, pod, run, i, false, "Killing", "FailedPostStartHook");
    let grace = object::number(pod, "/spec/terminationGracePeriodSeconds").unwrap_or(30) * 1000;
    worker::terminate(world, run, pod, i);
    run.plan.push_front((
        world.now + grace.max(timing::LEAST_GRACE) + timing::KILL,
        Step::Unhook(i, why),
    ));
}

fn fresh_id() -> String {
    (0..4).map(|_| format!("{:016x}", rand::random::<u64>())).collect()
}
