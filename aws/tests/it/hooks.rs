//! The drain hook over SSM: it is sent and awaited before a node is terminated, tolerated until the deadline if it
//! fails or hangs, undone if the removal is cancelled, and not used where an agent drains.

use crate::world::{World, pool, tags, text};
use jiff::SignedDuration;
use myelin_engine::cloud::Cloud as _;
use myelin_engine::document::NodePool;
use myelin_engine::fleet::{FleetOutcome, FleetRun, TAG_DRAIN, TAG_STATE, apply_pool};
use myelin_sandbox::ec2::Failure;
use serde_json::json;
use std::sync::Arc;

const HOOK: &str = "systemctl stop worker";
const BACK: &str = "systemctl start worker";
/// `drainTimeout` of these pools, in seconds.
const TIMEOUT: i64 = 120;

fn hooked(size: u32) -> NodePool {
    let rollout = json!({"drainTimeout": "120s", "maxRemovedPercent": 100});
    pool(json!({"size": size, "drainHook": HOOK, "undrainHook": BACK, "rollout": rollout}))
}

/// A pool that stands, an hour old.
async fn standing(size: u32) -> World {
    let world = World::new().await;
    assert!(world.converge(&hooked(size)).await.ready);
    world.advance(3600);
    world
}

/// What was sent over SSM: script and instances.
fn commands(world: &World) -> Vec<(Vec<String>, Vec<String>)> {
    let all = world.cloud.world();
    all.commands
        .iter()
        .map(|c| (c.script.clone(), c.instances.clone()))
        .collect()
}

fn operations(world: &World) -> Vec<String> {
    world.cloud.world().calls.iter().map(|(o, _)| o.clone()).collect()
}

/// Scales in with a stop at the moment when a drain has gone so far.
async fn stopped_at(world: &World, size: u32, moment: &'static str) -> FleetOutcome {
    let plan = world.plan(&hooked(size)).await;
    let run = FleetRun::default();
    let stop = run.cancel.clone();
    let run = FleetRun {
        progress: Arc::new(move |p| {
            if p.text.contains(moment) {
                stop.cancel();
            }
        }),
        ..run
    };
    apply_pool(&world.ports(), &plan, &run).await
}

#[tokio::test]
async fn a_drain_hook_runs_once_and_has_ended_before_its_node_is() {
    let world = standing(2).await;
    let from = operations(&world).len();
    let outcome = world.converge(&hooked(1)).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    assert_eq!(outcome.ended.len(), 1);
    assert_eq!(text(&outcome.diagnostics), "", "a drain that went well needs no word");
    assert_eq!(commands(&world), [(vec![HOOK.to_owned()], outcome.ended)]);
    let done = operations(&world).split_off(from);
    let first = |operation: &str| done.iter().position(|o| o == operation).expect(operation);
    assert!(
        first("CreateTags") < first("SendCommand"),
        "marked, then emptied: {done:?}"
    );
    assert!(first("SendCommand") < first("GetCommandInvocation"), "{done:?}");
    assert!(
        done.iter().rposition(|o| o == "GetCommandInvocation") < Some(first("TerminateInstances")),
        "{done:?}"
    );
}

#[tokio::test]
async fn a_hook_that_fails_or_hangs_or_cannot_be_sent_holds_its_node_to_the_deadline_and_is_told() {
    for (end, denied, told) in [
        ("Failed", false, "its drain hook ended with Failed"),
        (
            "Execution Timed Out",
            false,
            "its drain hook ended with Execution Timed Out",
        ),
        ("In Progress", false, "its drain hook runs"),
        ("Success", true, "its drain hook was not run"),
    ] {
        let world = standing(2).await;
        world.cloud.world().faults.commands_end = Some(end.into());
        if denied {
            world.fail(Failure {
                operation: "SendCommand".into(),
                code: "AccessDeniedException".into(),
                status: 400,
                ..Failure::default()
            });
        }
        for scale_in in [true, false] {
            let before = world.cloud.clock.now();
            let outcome = if scale_in {
                world.converge(&hooked(1)).await
            } else {
                world.destroy(&hooked(1)).await
            };
            let said = text(&outcome.diagnostics);
            assert!(outcome.ready && outcome.ended.len() == 1, "{end}: {said}");
            let took = world.cloud.clock.now().duration_since(before);
            assert!(took >= SignedDuration::from_secs(TIMEOUT), "{end}: ended after {took}");
            assert!(said.contains(&outcome.ended[0]) && said.contains(told), "{end}: {said}");
            world.advance(3600);
        }
        let sent = if denied { 0 } else { 2 };
        assert_eq!(commands(&world).len(), sent, "{end}: one for each node, never again");
        assert!(world.alive().is_empty());
    }
}

#[tokio::test]
async fn a_removal_that_is_called_off_runs_the_undrain_hook_and_takes_the_mark_back() {
    let world = standing(3).await;
    world.cloud.world().faults.commands_end = Some("In Progress".into());
    let outcome = stopped_at(&world, 2, "drain hook runs").await;
    assert!(outcome.cancelled && outcome.ended.is_empty() && outcome.nodes.len() == 3);
    let sent = commands(&world);
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(
        (&sent[0].0[..], &sent[1].0[..]),
        (&[HOOK.to_owned()][..], &[BACK.to_owned()][..])
    );
    assert_eq!(sent[0].1, sent[1].1, "to the same node");
    assert!(world.cloud.alive().iter().all(|i| !i.tags.contains_key(TAG_DRAIN)));
    // The way back out of a destroy, of all three.
    let (before, run) = (commands(&world).len(), FleetRun::default());
    let stop = run.cancel.clone();
    let run = FleetRun {
        progress: Arc::new(move |p| {
            if p.text.contains("drain hook runs") {
                stop.cancel();
            }
        }),
        ..run
    };
    let (id, drain) = (
        myelin_engine::fleet::PoolId::of(&hooked(3)),
        myelin_engine::fleet::DrainPolicy::of(&hooked(3)),
    );
    let gone = myelin_engine::fleet::destroy_pool(&world.ports(), &id, &drain, &[].into(), &run).await;
    assert!(gone.cancelled && gone.ended.is_empty());
    let back: Vec<_> = commands(&world).split_off(before);
    let undone: Vec<_> = back.iter().filter(|(s, _)| s[0] == BACK).flat_map(|(_, i)| i).collect();
    assert_eq!(undone.len(), 3, "{back:?}");
    assert!(world.cloud.alive().iter().all(|i| !i.tags.contains_key(TAG_DRAIN)));
}

#[tokio::test]
async fn a_drain_that_a_dead_process_left_is_undone_by_the_next_that_keeps_the_node() {
    let mut world = standing(3).await;
    world.fail(Failure {
        operation: "GetCommandInvocation".into(),
        code: "Hang".into(),
        times: Some(1),
        ..Failure::default()
    });
    let (going, rest) = (hooked(2), hooked(3));
    tokio::select! {
        () = world.cloud.hung() => {}
        _ = world.converge(&going) => panic!("it ended before its process died"),
    }
    world.cloud.world().faults.failures.clear();
    world.port = world.signing_with(myelin_sandbox::ec2::ADMINISTRATOR).await;
    let outcome = world.converge(&rest).await;
    assert!(
        outcome.ready && outcome.ended.is_empty(),
        "{}",
        text(&outcome.diagnostics)
    );
    let sent = commands(&world);
    assert_eq!(sent.iter().filter(|(s, _)| s[0] == BACK).count(), 1, "{sent:?}");
    assert_eq!((world.alive().len(), world.launched()), (3, 3));
    assert!(world.cloud.alive().iter().all(|i| !i.tags.contains_key(TAG_DRAIN)));
}

#[tokio::test]
async fn an_undrain_hook_that_cannot_be_sent_is_told_and_holds_up_nothing() {
    let world = standing(2).await;
    world.cloud.world().faults.commands_end = Some("In Progress".into());
    world.fail(Failure {
        operation: "SendCommand".into(),
        code: "AccessDeniedException".into(),
        status: 400,
        skip: 1,
        ..Failure::default()
    });
    let outcome = stopped_at(&world, 1, "drain hook runs").await;
    let said = text(&outcome.diagnostics);
    assert!(
        outcome.cancelled && said.contains("undrain hook") && said.contains(BACK),
        "{said}"
    );
    assert!(world.cloud.alive().iter().all(|i| !i.tags.contains_key(TAG_DRAIN)));
}

#[tokio::test]
async fn where_an_agent_drains_its_hook_waits_until_it_says_that_it_has() {
    let world = standing(2).await;
    let all = world.alive();
    world
        .port
        .create_tags(&all, &tags(&[(TAG_STATE, "draining")]))
        .await
        .expect("agents say so");
    let outcome = world.converge(&hooked(1)).await;
    let said = text(&outcome.diagnostics);
    assert!(outcome.ready && said.contains("its agent says draining"), "{said}");
    assert_eq!(commands(&world), [], "its agent never said that it had drained");
}
