//! What workloads make of their pods.

use super::*;

fn web() -> World {
    World::new("apps", "Deployment", "web")
}

#[test]
fn a_deployment_is_current_by_its_counts_and_by_pods_that_can_be_believed() {
    let mut world = web();
    world.see(&deployment(1)).see(&replica_set(1));
    world.is(State::InProgress, None, "0 of 1 pod ready");
    world.see(&web_pod());
    world.is(State::Current, None, "");
    // Scaled to nothing is as wanted.
    let mut world = web();
    world.see(&deployment(0)).see(&replica_set(0));
    world.is(State::Current, None, "");
}

#[test]
fn absent_observed_generation_is_not_consent() {
    for (group, kind, value) in [
        ("apps", "Deployment", deployment(0)),
        ("apps", "StatefulSet", stateful_set(0, 0)),
    ] {
        let mut world = World::new(group, kind, value["metadata"]["name"].as_str().unwrap());
        let mut value = value;
        value["status"].as_object_mut().unwrap().remove("observedGeneration");
        world.see(&value);
        world.is(State::InProgress, None, "has not seen the change");
    }
    // A view from before the apply counts for nothing, however good it looks.
    let mut world = web();
    world.gate.applied_again(Applied {
        at: Moment(0),
        generation: Some(2),
        has_status: None,
    });
    world.see(&deployment(0));
    world.is(State::InProgress, None, "the watch has not shown the change yet");
}

#[test]
fn old_pods_say_nothing_of_the_new_version() {
    let mut world = web();
    let mut old = replica_set(1);
    old["metadata"]["name"] = json!("web-0");
    old["spec"]["template"]["spec"]["containers"][0]["image"] = json!("shop/web:0");
    let broken = with(web_pod(), 0, &waiting("ErrImagePull", "no such host"), None);
    let mut rolling = deployment(1);
    rolling["status"]["replicas"] = json!(2);
    world.see(&rolling).see(&old).see(&replica_set(1)).see(&broken);
    world.see(&owned(bare_pod("web-0-a"), "ReplicaSet", "apps/v1", "web-0"));
    world.is(
        State::Failed,
        Some(Heals::Itself),
        "pod web-1-a container c: ErrImagePull",
    );
    // Nor does a broken old pod fail the new one.
    let mut world = web();
    let broken = with(bare_pod("web-0-a"), 0, &waiting("ErrImagePull", "no such host"), None);
    world.see(&rolling).see(&old).see(&replica_set(1)).see(&web_pod());
    world.see(&owned(broken, "ReplicaSet", "apps/v1", "web-0"));
    world.is(State::InProgress, None, "1 old pod to stop");
}

#[test]
fn pods_that_are_still_stopping_do_not_hold_it_up() {
    let mut world = web();
    let mut value = deployment(1);
    value["status"]["terminatingReplicas"] = json!(1);
    let mut stopping = owned(bare_pod("web-1-b"), "ReplicaSet", "apps/v1", "web-1");
    stopping["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let stopping = with(stopping, 0, &down(&ended(137, "Error", "")), None);
    world.see(&value).see(&replica_set(1)).see(&web_pod()).see(&stopping);
    world.is(State::Current, None, "1 old pod is still stopping");
}

#[test]
fn a_deadline_is_told_with_what_held_it_up() {
    let mut world = web();
    let mut value = deployment(1);
    value["status"]["readyReplicas"] = json!(0);
    value["status"]["conditions"] = json!([{"type": "Progressing", "status": "False",
        "reason": "ProgressDeadlineExceeded", "message": "timed out progressing."}]);
    let unready = with(web_pod(), 0, &running(), None);
    let mut unready = unready;
    unready["status"]["conditions"] = json!([{"type": "Ready", "status": "False"}]);
    unready["status"]["containerStatuses"][0]["ready"] = json!(false);
    world.see(&value).see(&replica_set(1)).see(&unready);
    world.event(
        "Pod",
        "web-1-a",
        "c",
        "Unhealthy",
        "Readiness probe failed: cache is cold\n",
    );
    let verdict = world.is(
        State::Failed,
        Some(Heals::Itself),
        "Readiness probe failed: cache is cold",
    );
    assert!(verdict.why().contains("ProgressDeadlineExceeded"), "{}", verdict.why());
    assert!(!verdict.proved, "it may still become ready");
    world.later(5_000).see(&deployment(1)).see(&web_pod());
    world.is(State::Current, None, "");
}

#[test]
fn paused_is_said_at_once_and_only_another_apply_helps() {
    let mut world = web();
    let mut value = deployment(1);
    value["spec"]["paused"] = json!(true);
    world.see(&value);
    let verdict = world.is(State::InProgress, Some(Heals::Spec), "Deployment is paused");
    assert!(verdict.proved);
}

#[test]
fn refused_pods_count_only_while_pods_are_missing() {
    let mut world = web();
    let refusal = json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "pods \"web-1-\" is forbidden: exceeded quota: small"}]);
    let mut set = replica_set(2);
    set["status"]["replicas"] = json!(1);
    set["status"]["conditions"] = refusal.clone();
    let mut value = deployment(2);
    value["status"]["readyReplicas"] = json!(1);
    world.see(&value).see(&set).see(&web_pod());
    world.is(State::InProgress, Some(Heals::Others), "exceeded quota");
    world.later(2_000);
    world.is(State::Failed, Some(Heals::Others), "exceeded quota");
    // The condition stays while the pods that were let in run.
    let mut set = replica_set(1);
    set["status"]["conditions"] = refusal;
    world.see(&deployment(1)).see(&set);
    world.is(State::Current, None, "");
    // Events are the only sign for kinds without such a condition, until a later one says that it worked.
    let mut world = World::new("apps", "StatefulSet", "db");
    let mut value = stateful_set(1, 0);
    value["status"]["replicas"] = json!(0);
    world.see(&value);
    world.event(
        "StatefulSet",
        "db",
        "",
        "FailedCreate",
        "create Pod db-0 failed: violates PodSecurity \"restricted\"",
    );
    world.later(2_000);
    world.is(State::Failed, Some(Heals::Spec), "violates PodSecurity");
    world.event(
        "StatefulSet",
        "db",
        "",
        "SuccessfulCreate",
        "create Pod db-0 successful",
    );
    world.is(State::InProgress, None, "0 of 1 pod ready");
}

#[test]
fn a_broken_pod_of_an_older_revision_blocks_a_stateful_set_until_somebody_deletes_it() {
    let mut world = World::new("apps", "StatefulSet", "db");
    let broken = with(db_pod(1, "db-2"), 0, &waiting("ErrImagePull", "no such host"), None);
    world.see(&stateful_set(2, 1)).see(&db_pod(0, "db-1")).see(&broken);
    let verdict = world.is(State::Failed, Some(Heals::Others), "delete the pod");
    assert!(verdict.why().contains("no such host"), "{}", verdict.why());
    world.gone(&broken);
    let mut healthy = db_pod(1, "db-1");
    healthy["metadata"]["uid"] = json!("db-1-again");
    world.see(&healthy).see(&stateful_set(2, 2));
    world.is(State::Current, None, "");
}

#[test]
fn on_delete_is_current_with_old_pods_and_not_before_there_are_pods() {
    let on_delete = |mut value: Value| {
        value["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        value
    };
    let mut world = World::new("apps", "StatefulSet", "db");
    world.see(&on_delete(stateful_set(1, 0)));
    world.is(State::InProgress, None, "0 of 1 pod ready");
    let mut value = on_delete(stateful_set(1, 1));
    value["status"]["updatedReplicas"] = json!(0);
    value["status"]["updateRevision"] = json!("db-2");
    world.see(&value).see(&db_pod(0, "db-1"));
    world.is(
        State::Current,
        None,
        "1 pod runs the old revision until somebody deletes it",
    );
}

#[test]
fn a_partition_is_complete_when_the_pods_above_it_are_updated() {
    let mut world = World::new("apps", "StatefulSet", "db");
    let mut value = stateful_set(2, 2);
    value["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = json!(1);
    value["status"]["updateRevision"] = json!("db-2");
    value["status"]["updatedReplicas"] = json!(0);
    world.see(&value).see(&db_pod(0, "db-1")).see(&db_pod(1, "db-1"));
    world.is(State::InProgress, None, "0 of 1 pod updated");
    value["status"]["updatedReplicas"] = json!(1);
    world.see(&value).see(&db_pod(1, "db-2"));
    world.is(State::Current, None, "");
}

#[test]
fn a_daemon_set_without_nodes_is_current_and_a_broken_new_pod_fails_it() {
    let set = |wanted: i64, ready: i64| {
        json!({"apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": {"namespace": "shop", "name": "agent", "uid": "agent", "generation": 1,
                "annotations": {"deprecated.daemonset.template.generation": "2"}},
            "status": {"observedGeneration": 1, "desiredNumberScheduled": wanted, "currentNumberScheduled": wanted,
                "updatedNumberScheduled": wanted, "numberReady": ready, "numberAvailable": ready}})
    };
    let mut world = World::new("apps", "DaemonSet", "agent");
    world.see(&set(0, 0));
    world.is(State::Current, None, "no node wants its pod");
    let pod = |generation: &str| {
        let pod = with(bare_pod("agent-a"), 0, &waiting("ErrImagePull", "no such host"), None);
        let mut pod = owned(pod, "DaemonSet", "apps/v1", "agent");
        pod["metadata"]["labels"] = json!({"pod-template-generation": generation});
        pod
    };
    world.see(&set(1, 0)).see(&pod("1"));
    world.is(State::InProgress, None, "0 of 1 pod ready");
    world.see(&pod("2"));
    world.is(State::Failed, Some(Heals::Itself), "no such host");
}

fn job(spec: &Value, status: &Value) -> Value {
    json!({"apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"namespace": "shop", "name": "task", "uid": "task", "generation": 1},
        "spec": spec, "status": status})
}

fn task_pod(name: &str, state: &Value) -> Value {
    let mut pod = owned(with(bare_pod(name), 0, state, None), "Job", "batch/v1", "task");
    pod["spec"]["restartPolicy"] = json!("Never");
    pod
}

#[test]
fn a_job_is_done_when_complete_and_not_before() {
    let spec = json!({"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never"}}});
    let mut world = World::new("batch", "Job", "task");
    world.see(&job(&spec, &json!({"active": 1})));
    world.is(State::InProgress, None, "");
    let complete = json!({"conditions": [{"type": "Complete", "status": "True"}]});
    world.see(&job(&spec, &complete));
    world.is(State::Current, None, "completed");
    // Its time to live removes it: that takes nothing back.
    world.gone(&job(&spec, &complete));
    let verdict = world.is(State::Gone, None, "had completed");
    assert_eq!(
        Patience::default().decide(Wanted::Ready, &verdict, Moment(0)),
        Decision::Open
    );
    // A short one has done both before anybody looked: the news that it is gone says how it ended.
    let mut world = World::new("batch", "Job", "task");
    world
        .see(&job(&spec, &json!({"active": 1})))
        .see(&job(&spec, &complete))
        .gone(&job(&spec, &complete));
    let verdict = world.is(State::Gone, None, "had completed");
    assert_eq!(
        Patience::default().decide(Wanted::Ready, &verdict, Moment(0)),
        Decision::Open
    );
    // A controller may say in two steps that it is done; a list that lacks it does not say how it ended, what was seen before does.
    let met = json!({"conditions": [{"type": "SuccessCriteriaMet", "status": "True"}]});
    let mut world = World::new("batch", "Job", "task");
    world.see(&job(&spec, &met)).gone(&job(&spec, &met));
    world.is(State::Gone, None, "had completed");
    world.see(&job(&spec, &met));
    let key = world.gate.key().clone();
    world.sights.lost(&key);
    world.is(State::Gone, None, "had completed");
    // A recreated object has not done what its predecessor did.
    world
        .see(&job(&spec, &json!({"active": 1})))
        .gone(&job(&spec, &json!({"active": 1})));
    world.is(State::Gone, None, "it was removed");
    // One that vanished before it was done is no success.
    let mut world = World::new("batch", "Job", "task");
    world
        .see(&job(&spec, &json!({"active": 1})))
        .gone(&job(&spec, &json!({})));
    let verdict = world.is(State::Gone, None, "was removed");
    assert_eq!(
        Patience::default().decide(Wanted::Ready, &verdict, Moment(0)),
        Decision::GiveUp
    );
}

#[test]
fn a_job_past_its_limit_has_failed_before_it_says_so_and_its_pods_words_outlive_the_pod() {
    let spec = json!({"backoffLimit": 1, "template": {"spec": {"restartPolicy": "Never"}}});
    let mut world = World::new("batch", "Job", "task");
    let failed = down(&ended(5, "Error", "bad input"));
    world
        .see(&job(&spec, &json!({"active": 1})))
        .see(&task_pod("task-a", &failed));
    world.is(
        State::InProgress,
        Some(Heals::Itself),
        "1 more allowed: pod task-a container c: Error, exit code 5: bad input",
    );
    world
        .gone(&task_pod("task-a", &failed))
        .see(&task_pod("task-b", &failed));
    world.is(
        State::Failed,
        Some(Heals::Ended),
        "pod task-b container c: Error, exit code 5: bad input",
    );
    world.gone(&task_pod("task-b", &failed));
    let over =
        json!([{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit reached"}]);
    world.see(&job(&spec, &json!({"failed": 2, "conditions": over})));
    world.is(
        State::Failed,
        Some(Heals::Ended),
        "exit code 5: bad input; BackoffLimitExceeded",
    );
    // With rules of its own for failures it is left to say so itself.
    let spec = json!({"backoffLimit": 0, "podFailurePolicy": {}, "template": {"spec": {"restartPolicy": "Never"}}});
    let mut world = World::new("batch", "Job", "task");
    world
        .see(&job(&spec, &json!({"active": 1})))
        .see(&task_pod("task-a", &failed));
    world.is(State::InProgress, Some(Heals::Itself), "exit code 5");
}

#[test]
fn a_job_whose_pod_cannot_start_fails_although_it_never_says_so() {
    let spec = json!({"template": {"spec": {"restartPolicy": "Never"}}});
    let mut world = World::new("batch", "Job", "task");
    world.see(&job(&spec, &json!({"active": 1})));
    world.see(&task_pod(
        "task-a",
        &waiting("CreateContainerConfigError", "secret \"nope\" not found"),
    ));
    world.is(State::Failed, Some(Heals::Others), "secret \"nope\" not found");
    world.see(&job(&json!({"suspend": true}), &json!({})));
    world.is(State::Current, None, "suspended");
}

#[test]
fn pods_that_their_node_refuses_one_after_the_other_fail_what_makes_them() {
    let refused = |name: &str| {
        let mut pod = owned(bare_pod(name), "ReplicaSet", "apps/v1", "web-1");
        pod["status"] =
            json!({"phase": "Failed", "reason": "SysctlForbidden", "message": "forbidden sysctl: kernel.x"});
        pod
    };
    let mut short = deployment(1);
    short["status"]["readyReplicas"] = json!(0);
    let mut world = web();
    world.see(&short).see(&replica_set(1)).see(&refused("web-1-a"));
    world.is(State::InProgress, Some(Heals::Spec), "forbidden sysctl");
    world.see(&refused("web-1-b")).see(&refused("web-1-c"));
    world.is(State::Failed, Some(Heals::Spec), "forbidden sysctl");
    // Old ones that lie about do not matter to one that lives.
    let mut alive = web_pod();
    alive["metadata"]["name"] = json!("web-1-d");
    world.see(&deployment(1)).see(&alive);
    world.is(State::Current, None, "");
}
