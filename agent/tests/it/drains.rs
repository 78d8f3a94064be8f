//! What makes a node drain, in which order it ends, and what cancels it.

use crate::harness::{Agent, Node, PATIENCE, World, end, front, until};
use http::Method;
use rustix::process::Signal;
use std::time::{Duration, Instant};

/// A hook whose end no test waits for, in a drain far from its deadline.
const LONG: &str = "timeout: 10m, hook: {command: [sleep, '500'], timeout: 500s}";

async fn ready<'w>(world: &'w World, more: &str) -> (Node<'w>, Agent) {
    let node = world.launch("prod").await;
    let agent = node.agent(&node.configuration(more));
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
    (node, agent)
}

async fn drained(agent: &Agent) {
    until("the node is drained", agent, async || agent.step().await == "drained").await;
}

/// A hook that notes that it ran, and with what.
fn hook(node_folder: &str) -> String {
    format!(
        "drain: {{hook: {{command: [sh, -c, 'echo \"hook $MYELIN_DRAIN_CAUSE $MYELIN_CLUSTER\" >> {node_folder}/hits'], timeout: 5s}}}}\n"
    )
}

#[tokio::test]
async fn a_spot_notice_drains_in_order_and_ends_before_the_capacity_goes() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    let agent = node.agent(&node.configuration(&hook(&node.folder.display().to_string())));
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
    node.spot_notice(120);
    until("the tag says draining", &agent, async || {
        node.state().as_deref() == Some("draining")
    })
    .await;
    drained(&agent).await;
    until("the tag is gone", &agent, async || node.state().is_none()).await;
    assert_eq!(agent.hits(), ["started", "hook spot notice prod", "terminated"]);
    assert_eq!(
        agent.get("/healthz").await.map(|a| a.status),
        Some(503),
        "it stays to say what it is"
    );
}

#[tokio::test]
async fn a_stubborn_workload_is_killed_a_margin_before_the_deadline() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    // Its grace alone would let it live for ten minutes.
    let patient = node.configuration("").replace("grace: 2s", "grace: 10m");
    let agent = node.agent(&patient);
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
    std::fs::write(node.folder.join("stubborn"), "").expect("room");
    let began = Instant::now();
    node.spot_notice(40);
    let left = async || agent.json("/status").await["drain"]["secondsLeft"].as_u64();
    until("the notice is seen", &agent, async || left().await.is_some()).await;
    let left = left().await.expect("it drains");
    assert!(left <= 30, "all is to end ten seconds before the capacity goes: {left}");
    drained(&agent).await;
    assert!(
        began.elapsed() < Duration::from_secs(40),
        "all had ended before the capacity went: {:?}",
        began.elapsed()
    );
    assert!(agent.log().contains("gets SIGKILL"), "{}", agent.log());
    assert_eq!(agent.hits(), ["started", "terminated"]);
}

#[tokio::test]
async fn the_pools_drain_tag_drains_and_its_removal_calls_off() {
    let world = World::new().await;
    let (node, agent) = ready(&world, &format!("drain: {{{LONG}}}\n")).await;
    node.set_tag("myelin.dev:drain", Some("2026-01-01T00:00:00Z"));
    until("the hook runs", &agent, async || {
        agent.step().await == "hook" && node.state().as_deref() == Some("draining")
    })
    .await;
    let refused = agent.command("undrain");
    assert!(!refused.0 && refused.1.contains("drain tag"), "{refused:?}");
    // The service goes down; silence calls nothing off.
    node.set_tag("myelin.dev:drain", None);
    node.metadata("down").await;
    until("the trouble is seen", &agent, async || {
        agent.json("/status").await["metadataTrouble"].is_string()
    })
    .await;
    assert_eq!(agent.presence().await, "draining");
    node.metadata("up").await;
    agent.ready().await;
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
    assert_eq!(agent.hits(), ["started"], "the workload was never touched");
}

#[tokio::test]
async fn people_drain_and_undrain_until_the_workload_has_its_sigterm() {
    let world = World::new().await;
    let (node, agent) = ready(&world, &format!("drain: {{{LONG}}}\n")).await;
    let (done, said) = agent.command("drain");
    assert!(done && said.contains("within 590 s"), "{said}");
    until("the tag says draining", &agent, async || {
        node.state().as_deref() == Some("draining")
    })
    .await;
    let (done, said) = agent.command("status");
    assert!(
        done && said.contains("drain      ") && said.contains("(request)"),
        "{said}"
    );
    let (done, said) = agent.command("drain");
    assert!(done && said.contains("drains already"), "{said}");
    let (done, said) = agent.command("undrain");
    assert!(done && said.contains("called off"), "{said}");
    agent.ready().await;
    let (done, said) = agent.command("undrain");
    assert!(done && said.contains("does not drain"), "{said}");
    drop(agent);

    let (_, agent) = ready(&world, "").await;
    assert!(agent.command("drain").0);
    drained(&agent).await;
    let (done, said) = agent.command("undrain");
    assert!(!done && said.contains("SIGTERM already"), "{said}");
    let (done, said) = agent.command("drain");
    assert!(done && said.contains("drained already"), "{said}");
    let (done, said) = agent.command("peers");
    assert_eq!((done, said.as_str()), (true, "no peers are known\n"));
}

#[tokio::test]
async fn requests_in_flight_hold_a_drain_which_is_called_off_or_ends_with_them_after_sigterm() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    let mut agent = node.agent(&node.with_peers("drain: {timeout: 10m}\n"));
    agent.ready().await;
    let held = {
        let address = agent.address.clone();
        tokio::spawn(async move { front(&address, Method::POST, "/hold", &[], "x").await })
    };
    until("the workload works on it", &agent, async || {
        agent.metric("front_in_flight").await == 1
    })
    .await;
    assert!(agent.command("drain").0);
    until("the request holds the drain", &agent, async || {
        agent.step().await == "finishing"
    })
    .await;
    assert!(agent.command("undrain").0);
    agent.ready().await;
    agent.signal(Signal::TERM);
    // For longer than peers need to hear of it: then an idle node would go on.
    until("the request holds the end", &agent, async || {
        let drain = agent.json("/status").await["drain"].clone();
        drain["step"] == "finishing" && drain["secondsLeft"].as_u64().is_some_and(|left| left <= 586)
    })
    .await;
    assert!(agent.command("drain").0);
    let (done, said) = agent.command("undrain");
    assert!(!done && said.contains("another reason: SIGTERM"), "{said}");
    std::fs::write(node.folder.join("release"), "").expect("room");
    assert_eq!(held.await.expect("it ends").expect("an answer").0, 200);
    assert!(end(&mut agent).await.success(), "{}", agent.log());
    assert_eq!(agent.hits(), ["started", "POST /hold 1", "terminated"]);
}

#[tokio::test]
async fn a_rebalance_recommendation_does_what_the_policy_says() {
    for (policy, presence, tag) in [("cordon", "cordoned", "draining"), ("drain", "draining", "")] {
        let world = World::new().await;
        let (node, agent) = ready(&world, &format!("drain: {{rebalance: {policy}}}\n")).await;
        world.cloud.recommend_rebalance(&node.id).expect("launched");
        until("the recommendation is followed", &agent, async || {
            agent.presence().await == presence && node.state().unwrap_or_default() == tag
        })
        .await;
        if policy == "cordon" {
            let (done, said) = agent.command("undrain");
            assert!(done && said.contains("EC2 recommends a rebalance"), "{said}");
        }
        let stopped = agent.hits().contains(&"terminated".to_owned());
        assert_eq!(stopped, policy == "drain", "{policy}");
    }
    let world = World::new().await;
    let (node, agent) = ready(&world, &format!("drain: {{rebalance: ignore, {LONG}}}\n")).await;
    world.cloud.recommend_rebalance(&node.id).expect("launched");
    // If this tag is seen, the recommendation was read: a look reads that first.
    node.set_tag("myelin.dev:drain", Some("2026-01-01T00:00:00Z"));
    until("the tag is seen", &agent, async || agent.presence().await == "draining").await;
    let causes = agent.json("/status").await["drain"]["causes"].clone();
    assert_eq!(causes, serde_json::json!(["drain tag"]));
    node.set_tag("myelin.dev:drain", None);
    agent.ready().await;
}

#[tokio::test]
async fn an_agent_that_starts_on_a_draining_node_does_not_serve() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    node.set_tag("myelin.dev:drain", Some("2026-01-01T00:00:00Z"));
    // An earlier run of the agent left this.
    node.set_tag("myelin.dev:state", Some("ready"));
    let mut agent = node.agent(&node.configuration(""));
    drained(&agent).await;
    until("the tag is gone", &agent, async || node.state().is_none()).await;
    assert!(agent.hits().is_empty(), "{:?}", agent.hits());
    agent.signal(Signal::TERM);
    assert!(end(&mut agent).await.success());
}

#[tokio::test]
async fn an_address_that_others_can_reach_answers_questions_and_changes_nothing() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    // A port of its own: this address takes the port on all of the machine's.
    let usual = format!("listen: '{}:{}'", node.address, crate::harness::ADMIN);
    let port = (20_000..30_000)
        .find(|port| std::net::TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .expect("a port is free");
    let agent = node.agent(
        &node
            .configuration("")
            .replace(&usual, &format!("listen: '0.0.0.0:{port}'")),
    );
    let ready = async || agent.command("status").1.contains("state      ready");
    until("the node is ready", &agent, ready).await;
    let url = format!("http://{}:{port}/drain", node.address);
    let url = myelin_agent::wire::Url::parse(&url).expect("an address");
    let answer = myelin_agent::wire::send(&url, Method::POST, &[], bytes::Bytes::new(), 4096, PATIENCE).await;
    assert_eq!(answer.expect("an answer").status, 403);
    assert!(ready().await);
    assert!(agent.command("drain").0, "the socket is for people of this machine");
}
