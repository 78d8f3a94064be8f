//! What a pod says, by itself.

use super::*;

fn pod_world() -> World {
    World::new("", "Pod", "one")
}

fn one() -> Value {
    bare_pod("one")
}

#[test]
fn each_reason_of_a_container_has_its_cure() {
    for (reason, message, heals) in [
        ("InvalidImageName", "couldn't parse image name", Heals::Spec),
        (
            "ErrImageNeverPull",
            "Container image \"x\" is not present with pull policy of Never",
            Heals::Others,
        ),
        (
            "ErrImagePull",
            "dial tcp: lookup example.invalid: no such host",
            Heals::Itself,
        ),
        (
            "ImagePullBackOff",
            "Back-off pulling image \"x\": ErrImagePull: x:1: not found",
            Heals::Others,
        ),
        ("CreateContainerConfigError", "secret \"nope\" not found", Heals::Others),
        (
            "CreateContainerConfigError",
            "container has runAsNonRoot and image will run as root",
            Heals::Spec,
        ),
        (
            "RunContainerError",
            "exec: \"nope\": executable file not found in $PATH",
            Heals::Spec,
        ),
        ("PostStartHookError", "command exited with 1: no", Heals::Itself),
    ] {
        let mut world = pod_world();
        world.see(&with(one(), 0, &waiting(reason, message), None));
        let verdict = world.is(State::Failed, Some(heals), message);
        assert!(
            verdict.why().starts_with(&format!("pod one container c: {reason}: ")),
            "{}",
            verdict.why()
        );
        assert_eq!(verdict.proved, heals == Heals::Spec, "{reason}");
    }
}

#[test]
fn a_reason_in_an_event_counts_before_the_status_repeats_it_and_not_after_it_healed() {
    let mut world = pod_world();
    let creating = with(one(), 0, &waiting("ContainerCreating", ""), None);
    world.see(&creating).later(500);
    world.event("Pod", "one", "c", "Failed", "Error: secret \"nope\" not found");
    world.is(State::Failed, Some(Heals::Others), "secret \"nope\" not found");
    world.later(12_000).see(&one());
    world.is(State::Current, None, "");

    let mut world = pod_world();
    world.see(&creating).later(500);
    world.event(
        "Pod",
        "one",
        "c",
        "Failed",
        "Failed to pull image \"x\": x: no such host",
    );
    world.is(State::Failed, Some(Heals::Itself), "no such host");
    world
        .later(10)
        .event("Pod", "one", "c", "Pulled", "Successfully pulled image \"x\"");
    world.is(State::InProgress, Some(Heals::Itself), "being created");
}

#[test]
fn a_back_off_that_does_not_say_why_is_told_with_the_words_of_the_attempt_before() {
    let mut world = pod_world();
    world.see(&with(one(), 0, &waiting("ErrImagePull", "manifest unknown"), None));
    world.later(15_000);
    world.see(&with(
        one(),
        0,
        &waiting("ImagePullBackOff", "Back-off pulling image \"x\""),
        None,
    ));
    world.is(State::Failed, Some(Heals::Others), "manifest unknown");
}

#[test]
fn a_pull_that_flaps_between_its_two_names_is_one_failure() {
    let mut world = pod_world();
    world.see(&with(one(), 0, &waiting("ErrImagePull", "no such host"), None));
    let first = world.look();
    world.later(12_000);
    world.see(&with(
        one(),
        0,
        &waiting("ImagePullBackOff", "Back-off: no such host"),
        None,
    ));
    assert_eq!(world.look().since, first.since);
}

#[test]
fn a_command_that_cannot_be_run_needs_another_apply() {
    let mut world = pod_world();
    let exit = ended(128, "StartError", "exec: \"nope\": executable file not found in $PATH");
    world.see(&with(
        one(),
        0,
        &waiting("CrashLoopBackOff", "back-off 10s"),
        Some(&exit),
    ));
    world.is(State::Failed, Some(Heals::Spec), "StartError, exit code 128");
}

#[test]
fn one_crash_proves_nothing_and_a_second_that_says_the_same_is_a_loop() {
    for (exit, loops_at) in [
        (ended(137, "OOMKilled", ""), 2),
        (ended(3, "Error", "fatal: no database url\n"), 2),
        (ended(1, "Error", ""), 3),
        (ended(0, "Completed", ""), 3),
    ] {
        let mut world = pod_world();
        for restarts in 0..3 {
            world
                .later(1000)
                .see(&with(one(), restarts, &running(), (restarts > 0).then_some(&exit)));
            world.later(1000).see(&with(one(), restarts, &down(&exit), None));
            let verdict = world.look();
            let failed = verdict.state == State::Failed;
            assert_eq!(failed, restarts + 1 >= loops_at, "{exit} {}", verdict.why());
            assert_eq!(verdict.proved, restarts + 1 >= 3);
        }
    }
}

#[test]
fn a_silent_second_crash_counts_after_a_whole_back_off() {
    let mut world = pod_world();
    let exit = ended(1, "Error", "");
    world.see(&with(one(), 0, &running(), None)).later(700);
    world.see(&with(one(), 0, &down(&exit), None)).later(100);
    world.see(&with(one(), 1, &running(), Some(&exit))).later(900);
    world.see(&with(one(), 1, &down(&exit), None));
    let verdict = world.is(State::InProgress, Some(Heals::Itself), "ended 2 times");
    assert_eq!(verdict.check_again_at, Some(Moment(1700 + 12_000)));
    // It recovers within the back-off: never a failure.
    world.later(11_700).see(&with(one(), 2, &running(), Some(&exit)));
    world.is(State::InProgress, Some(Heals::Itself), "ended 2 times");
    world.later(7_000);
    world.is(State::Current, None, "");
}

#[test]
fn a_moment_of_readiness_between_crashes_is_part_of_the_loop() {
    let mut world = pod_world();
    let exit = ended(1, "Error", "");
    for restarts in 0..3 {
        world.later(20_000).see(&with(one(), restarts, &running(), None));
        world.later(10_000).see(&with(one(), restarts, &down(&exit), None));
    }
    world.is(State::Failed, Some(Heals::Itself), "ended 3 times");
    world.later(40_000).see(&with(one(), 3, &running(), Some(&exit)));
    world.is(State::Failed, Some(Heals::Itself), "ended 3 times");
    // It ran for ten seconds each time: it has to outlive that to be believed.
    world.later(10_000);
    world.is(State::Failed, Some(Heals::Itself), "");
    world.later(2_500);
    world.is(State::Current, None, "");
}

#[test]
fn a_probe_that_kills_twice_is_a_loop_and_is_named() {
    let mut world = pod_world();
    world.see(&unprobed(one())).later(2_000);
    world.event("Pod", "one", "c", "Unhealthy", "Liveness probe failed: deadlocked");
    world.later(7_000);
    world.is(State::InProgress, None, "not run long enough");
    world.event(
        "Pod",
        "one",
        "c",
        "Killing",
        "Container c failed liveness probe, will be restarted",
    );
    world.is(
        State::InProgress,
        Some(Heals::Itself),
        "Liveness probe failed: deadlocked",
    );
    world.event(
        "Pod",
        "one",
        "c",
        "Killing",
        "Container c failed liveness probe, will be restarted",
    );
    let verdict = world.is(State::Failed, Some(Heals::Itself), "Liveness probe failed: deadlocked");
    assert_eq!(verdict.cause, Some(Cause::Probe));
}

#[test]
fn a_crashing_sidecar_fails_the_pod_and_a_finished_init_container_does_not() {
    let exit = ended(1, "Error", "");
    let pod = |restarts: i64, state: &Value| {
        let mut pod = one();
        pod["spec"]["initContainers"] = json!([{"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"}]);
        pod["status"]["initContainerStatuses"] = json!([
            container("setup", true, 0, &down(&ended(0, "Completed", "")), None),
            container("proxy", true, restarts, state, None),
        ]);
        pod
    };
    let mut world = pod_world();
    world.see(&pod(0, &running())).later(7_000);
    world.is(State::Current, None, "");
    for restarts in 0..3 {
        world.later(1000).see(&pod(restarts, &running()));
        world.later(1000).see(&pod(restarts, &down(&exit)));
    }
    world.is(
        State::Failed,
        Some(Heals::Itself),
        "pod one sidecar proxy: ended 3 times",
    );
}

#[test]
fn nothing_but_time_tells_a_container_without_a_probe_from_one_about_to_crash() {
    let mut world = pod_world();
    world.see(&unprobed(one()));
    let verdict = world.is(State::InProgress, None, "a readiness probe would tell");
    assert_eq!(verdict.check_again_at, Some(Moment(7_000)));
    world.later(7_000);
    world.is(State::Current, None, "");
    // With a probe its word is taken at once; an apply waits a little longer before it calls itself a success.
    let mut world = pod_world();
    world.see(&one());
    assert_eq!(world.is(State::Current, None, "").steady_at, Some(Moment(7_000)));
    // One that ran long before anybody looked has shown what it can; a clock that is a little off does not count.
    for (started, state) in [
        ("1970-01-01T00:00:00Z", State::Current),
        ("1970-01-01T00:16:00Z", State::InProgress),
    ] {
        let mut world = pod_world();
        let mut pod = unprobed(one());
        pod["status"]["containerStatuses"][0]["state"] = json!({"running": {"startedAt": started}});
        world.later(1_000_000).see(&pod);
        world.is(state, None, "");
    }
}

#[test]
fn a_missing_volume_source_is_told_by_events_alone() {
    let mut world = pod_world();
    world.see(&with(one(), 0, &waiting("ContainerCreating", ""), None));
    let message = "MountVolume.SetUp failed for volume \"all\" : secret \"creds\" not found";
    world.event("Pod", "one", "", "FailedMount", message);
    world.is(State::InProgress, Some(Heals::Others), "secret \"creds\" not found");
    world.later(2_000);
    world.is(State::Failed, Some(Heals::Others), "secret \"creds\" not found");
    world.later(9_000).see(&one());
    world.is(State::Current, None, "");
}

#[test]
fn no_node_is_a_failure_after_a_moment_unless_one_is_on_its_way() {
    let pending = |message: &str| {
        let mut pod = one();
        pod["spec"]["nodeName"] = json!("");
        pod["status"] = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]});
        pod
    };
    let mut world = pod_world();
    world.see(&pending("0/3 nodes are available: 3 Insufficient cpu."));
    let verdict = world.is(State::InProgress, Some(Heals::Others), "Insufficient cpu");
    assert_eq!(verdict.check_again_at, Some(Moment(3_000)));
    world.later(3_000);
    world.is(State::Failed, Some(Heals::Others), "Insufficient cpu");
    world.event(
        "Pod",
        "one",
        "",
        "TriggeredScaleUp",
        "pod triggered scale-up: [{pool 1->2}]",
    );
    world.is(State::InProgress, Some(Heals::Itself), "a node is on its way");

    let mut world = pod_world();
    world.see(&pending(
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
    ));
    world.later(10_400);
    world.is(State::InProgress, Some(Heals::Others), "unbound");
    world.later(600);
    world.is(State::Failed, Some(Heals::Others), "unbound");
}

#[test]
fn a_pod_that_has_failed_has_failed() {
    let never = |state: &Value, phase: &str| {
        let mut pod = with(one(), 0, state, None);
        pod["spec"]["restartPolicy"] = json!("Never");
        pod["status"]["phase"] = json!(phase);
        pod
    };
    let mut world = pod_world();
    // The phase says so a second later.
    world.see(&never(&down(&ended(5, "Error", "bad input\n")), "Running"));
    world.is(
        State::Failed,
        Some(Heals::Ended),
        "container c: Error, exit code 5: bad input",
    );
    world.see(&never(&down(&ended(0, "Completed", "")), "Succeeded"));
    world.is(State::Current, None, "completed");
    world.event(
        "Pod",
        "one",
        "",
        "Evicted",
        "Usage of EmptyDir volume \"s\" exceeds the limit \"1Mi\".",
    );
    world.see(&one());
    world.is(State::Failed, Some(Heals::Ended), "exceeds the limit");
}

#[test]
fn a_pod_that_completed_may_go_also_before_anybody_looked() {
    let mut done = with(one(), 0, &down(&ended(0, "Completed", "")), None);
    done["status"]["phase"] = json!("Succeeded");
    let is_success = |world: &mut World, words: &str, decision: Decision| {
        let verdict = world.is(State::Gone, None, words);
        assert_eq!(Patience::default().decide(Wanted::Ready, &verdict, Moment(0)), decision);
    };
    let mut world = pod_world();
    world.see(&one()).gone(&done);
    is_success(&mut world, "had completed", Decision::Open);
    let mut world = pod_world();
    world.see(&done);
    let key = world.gate.key().clone();
    world.sights.lost(&key);
    is_success(&mut world, "had completed", Decision::Open);
    let mut world = pod_world();
    world.see(&done).gone(&done).see(&one()).gone(&one());
    is_success(&mut world, "it was removed", Decision::GiveUp);
}

#[test]
fn a_silent_pod_is_explained_by_its_claim() {
    let mut world = pod_world();
    let mut pod = one();
    pod["spec"]["nodeName"] = json!("");
    pod["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    pod["status"] = json!({"phase": "Pending"});
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"namespace": "shop", "name": "data", "uid": "data"}, "status": {"phase": "Pending"}});
    world.see(&pod).see(&claim);
    world.event(
        "PersistentVolumeClaim",
        "data",
        "",
        "ExternalProvisioning",
        "Waiting for a volume to be created",
    );
    world.is(
        State::InProgress,
        Some(Heals::Others),
        "claim data: ExternalProvisioning: Waiting for a volume",
    );
}

#[test]
fn a_hook_that_fails_is_told_through_the_crashes_that_it_makes() {
    let mut world = pod_world();
    let killed = ended(137, "Error", "");
    world.see(&with(
        one(),
        0,
        &waiting("PostStartHookError", "exited with 1: no route"),
        Some(&killed),
    ));
    world.is(
        State::Failed,
        Some(Heals::Itself),
        "PostStartHookError: exited with 1: no route",
    );
    world.later(1_000).see(&with(one(), 1, &running(), Some(&killed)));
    world.is(
        State::Failed,
        Some(Heals::Itself),
        "PostStartHookError: exited with 1: no route",
    );
    world.later(7_000);
    world.is(State::Current, None, "");
}
