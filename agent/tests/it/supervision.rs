//! The workload is kept running, and the tag reports its state.

use crate::harness::{ADMIN, FRONT, World, end, until};
use rustix::process::Signal;

#[tokio::test]
async fn a_node_is_ready_when_its_workload_is_and_untagged_when_it_has_ended() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    std::fs::write(node.folder.join("sick"), "").expect("room");
    // An earlier run, which was killed, left this.
    node.set_tag("myelin.dev:state", Some("ready"));
    let mut agent = node.agent(&node.configuration(""));
    until("the workload runs", &agent, async || {
        agent.presence().await == "starting" && !agent.hits().is_empty()
    })
    .await;
    until("the tag is gone", &agent, async || node.state().is_none()).await;
    assert_eq!(agent.get("/healthz").await.map(|a| a.status), Some(503));
    std::fs::remove_file(node.folder.join("sick")).expect("it is there");
    agent.ready().await;
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
    assert_eq!(agent.get("/healthz").await.map(|a| a.status), Some(200));
    assert_eq!(world.calls("CreateTags"), 1, "one request for one change");

    agent.signal(Signal::TERM);
    assert!(end(&mut agent).await.success(), "{}", agent.log());
    assert_eq!(node.state(), None);
    assert_eq!(agent.hits(), ["started", "terminated"]);
}

#[tokio::test]
async fn a_workload_that_dies_is_started_again_and_given_up_after_its_bound() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    let agent = node.agent(&node.configuration(""));
    agent.ready().await;
    let mut killed = 0;
    while killed < 5 {
        until("it runs", &agent, async || agent.hits().len() == killed + 1).await;
        let Some(pid) = agent.json("/status").await["pid"].as_i64() else {
            tokio::task::yield_now().await;
            continue;
        };
        let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
        killed += 1;
        rustix::process::kill_process(pid, Signal::KILL).expect("it runs");
        until("the death is seen", &agent, async || {
            let now = agent.json("/status").await;
            now["pid"].as_i64() != Some(i64::from(pid.as_raw_nonzero().get()))
        })
        .await;
    }
    until("the tag says failed", &agent, async || {
        node.state().as_deref() == Some("failed")
    })
    .await;
    let status = agent.json("/status").await;
    assert_eq!(status["restarts"], 4, "{status}");
    assert!(
        status["why"].as_str().is_some_and(|w| w.contains("signal: 9")),
        "{status}"
    );
    assert_eq!(agent.hits(), ["started"; 5]);
}

#[tokio::test]
async fn what_a_workload_started_has_its_grace_as_well() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    let hits = node.folder.join("hits").display().to_string();
    // The shell ends at its SIGTERM; what it started has something to finish.
    let script = format!(
        "(trap 'sleep 1; echo finished >> {hits}; exit 0' TERM; echo started >> {hits}; while :; do sleep 0.1; done) & wait"
    );
    let configuration = format!(
        "workload: {{grace: 60s}}\nadmin: {{listen: '{}:{ADMIN}', socket: '{}/agent.sock'}}\n",
        node.address,
        node.folder.display()
    );
    let mut agent = node.agent_with(&configuration, &["sh".into(), "-c".into(), script]);
    agent.ready().await;
    until("all of it runs", &agent, async || agent.hits() == ["started"]).await;
    agent.signal(Signal::TERM);
    assert!(end(&mut agent).await.success(), "{}", agent.log());
    assert_eq!(agent.hits(), ["started", "finished"]);
}

#[tokio::test]
async fn an_address_that_is_taken_ends_the_agent_before_its_workload_begins() {
    let world = World::new().await;
    for (port, field) in [(FRONT, "(front.listen)"), (ADMIN, "(admin.listen)")] {
        let node = world.launch("prod").await;
        let _taken = std::net::TcpListener::bind(format!("{}:{port}", node.address)).expect("it is free");
        let mut agent = node.agent(&node.with_peers(""));
        assert!(!end(&mut agent).await.success());
        let log = agent.log();
        assert!(log.contains(field) && log.contains("in use"), "{log}");
        assert!(
            agent.hits().is_empty() && !log.contains("the workload is started"),
            "{log}"
        );
        assert!(
            log.lines().all(|line| line.starts_with('{')),
            "every line is JSON: {log}"
        );
    }
}

#[tokio::test]
async fn a_workload_that_does_not_become_healthy_says_why() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    std::fs::write(node.folder.join("sick"), "").expect("room");
    let agent = node.agent(&node.configuration(""));
    until("it says why", &agent, async || {
        let status = agent.json("/status").await;
        let why = status["why"].as_str().unwrap_or_default().to_owned();
        status["workload"] == "starting" && why.ends_with("/health answers 503")
    })
    .await;
    let (done, said) = agent.command("status");
    assert!(done && said.contains("because    http://"), "{said}");
}

#[tokio::test]
async fn a_sick_workload_is_told_to_peers_at_once_and_keeps_its_tag_for_a_while() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    let agent = node.agent(&node.configuration(""));
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
    std::fs::write(node.folder.join("sick"), "").expect("room");
    until("the node says sick", &agent, async || agent.presence().await == "sick").await;
    assert_eq!(node.state().as_deref(), Some("ready"));
    std::fs::remove_file(node.folder.join("sick")).expect("it is there");
    agent.ready().await;
    assert_eq!(world.calls("CreateTags"), 1);
}

#[tokio::test]
async fn a_tag_that_ec2_refuses_is_tried_again() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    let faults = r#"{"failures": [{"operation": "CreateTags", "code": "Unavailable", "status": 503, "times": 2}]}"#;
    world.cloud.world().faults = serde_json::from_str(faults).expect("faults");
    let agent = node.agent(&node.configuration(""));
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
    assert_eq!(world.calls("CreateTags"), 3);
    assert!(agent.log().contains("Unavailable"));
    assert!(!agent.log().contains("secret-of-the-node"));
}
