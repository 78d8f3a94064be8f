//! Node pools when things go wrong: no capacity, a killed apply, Ctrl-C, a lost answer, throttling, a refused list.

use std::time::{Duration, Instant};

use myelin_sandbox::ec2::{Faults, NoCapacity};
use serde_json::json;

use crate::pools::{Agents, alive, fixed, known, launched};
use crate::stand::Stand;
use crate::terraform::text;

const APPLY: [&str; 4] = ["apply", "-input=false", "-no-color", "-auto-approve"];
const LIMIT: Duration = Duration::from_secs(60);

fn set(stand: &Stand, faults: serde_json::Value) {
    stand.cluster.cloud().world().faults = serde_json::from_value(faults).unwrap();
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < LIMIT, "{what} did not happen");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn no_capacity_keeps_what_came_names_each_refusal_and_the_next_apply_goes_on() {
    let stand = Stand::new(&fixed("  size = 3\n  launch_timeout = \"20s\""));
    let _agents = Agents::start(stand.cluster.cloud());
    stand.cluster.cloud().world().faults = Faults {
        no_capacity: vec![NoCapacity {
            after: 1,
            ..NoCapacity::default()
        }],
        ..Faults::default()
    };
    let failed = stand.run(&APPLY);
    let shown = text(&failed);
    assert!(!failed.status.success(), "{shown}");
    assert!(
        shown.contains("no capacity for 2 of 3 nodes") && shown.contains("InsufficientInstanceCapacity"),
        "{shown}"
    );
    for place in ["m5.large spot in us-east-1a", "c6i.large spot in us-east-1c"] {
        assert!(shown.replace("\n│ ", " ").contains(place), "{place}: {shown}");
    }
    let first = alive(&stand);
    assert_eq!((first.len(), known(&stand)), (1, first.clone()));
    set(&stand, json!({}));
    stand.apply();
    assert_eq!((alive(&stand).len(), launched(&stand)), (3, 3));
    assert!(alive(&stand).contains(&first[0]), "the healthy node was replaced");
}

#[test]
fn a_kill_in_the_middle_of_a_launch_leaves_no_node_too_many() {
    let stand = Stand::new(&fixed("  size = 3"));
    let _agents = Agents::start(stand.cluster.cloud());
    let running = stand.start(&APPLY);
    until("a launch", || launched(&stand) > 0);
    running.kill_all();
    running.end(LIMIT);
    let _ = std::fs::remove_file(stand.path(".terraform.tfstate.lock.info"));
    assert!(known(&stand).is_empty(), "the state was saved before the kill");
    stand.apply();
    assert_eq!((alive(&stand).len(), launched(&stand)), (3, 3));
    assert_eq!(known(&stand), alive(&stand));
}

#[test]
fn an_interrupt_saves_what_was_launched_and_the_next_apply_goes_on() {
    let stand = Stand::new(&fixed("  size = 2"));
    // Nobody says that the nodes are ready, so the apply waits.
    let running = stand.start(&APPLY);
    until("a launch", || launched(&stand) == 2);
    running.interrupt();
    let ended = running.end(LIMIT);
    assert!(!ended.status.success(), "{}", text(&ended));
    assert_eq!(known(&stand), alive(&stand));
    let _agents = Agents::start(stand.cluster.cloud());
    stand.apply();
    assert_eq!((alive(&stand).len(), launched(&stand)), (2, 2));
}

#[test]
fn a_lost_answer_and_throttling_are_survived_and_a_refused_list_changes_nothing() {
    let stand = Stand::new(&fixed("  size = 2"));
    let _agents = Agents::start(stand.cluster.cloud());
    set(
        &stand,
        json!({"failures": [
            {"operation": "CreateFleet", "code": "ConnectionReset", "afterEffect": true, "times": 1},
            {"operation": "DescribeInstances", "code": "RequestLimitExceeded", "status": 503, "times": 2},
        ]}),
    );
    stand.apply();
    assert_eq!((alive(&stand).len(), launched(&stand)), (2, 2));

    set(
        &stand,
        json!({"failures": [{"operation": "DescribeInstances", "code": "UnauthorizedOperation", "status": 403}]}),
    );
    let refused = stand.run(&APPLY);
    let shown = text(&refused);
    assert!(
        !refused.status.success() && shown.contains("UnauthorizedOperation"),
        "{shown}"
    );
    let destroyed = stand.run(&[
        "destroy",
        "-refresh=false",
        "-input=false",
        "-no-color",
        "-auto-approve",
    ]);
    assert!(!destroyed.status.success());
    assert_eq!((alive(&stand).len(), launched(&stand)), (2, 2));
    assert_eq!(known(&stand), alive(&stand));
}
