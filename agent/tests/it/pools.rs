//! Several nodes: they find each other by EC2 and gossip, and ignore strangers.

use crate::harness::{Agent, GOSSIP, Node, World, until};
use myelin_agent::gossip::key::Ring;
use myelin_agent::gossip::seal::{Kind, NOBODY, Sealer};
use rustix::process::Signal;
use std::collections::BTreeSet;

/// So many nodes that are ready and know each other.
pub(crate) async fn pool<'w>(world: &'w World, cluster: &str, count: usize, more: &str) -> Vec<(Node<'w>, Agent)> {
    pool_of(world, cluster, count, |node| node.with_peers(more)).await
}

/// The same with a configuration of their own.
pub(crate) async fn pool_of<'w>(
    world: &'w World,
    cluster: &str,
    count: usize,
    configuration: impl Fn(&Node<'w>) -> String,
) -> Vec<(Node<'w>, Agent)> {
    let mut all = Vec::new();
    for _ in 0..count {
        let node = world.launch(cluster).await;
        let agent = node.agent(&configuration(&node));
        all.push((node, agent));
    }
    for (_, agent) in &all {
        agent.ready().await;
        until("all know all", agent, async || agent.peers().await == count - 1).await;
    }
    all
}

#[tokio::test]
async fn nodes_find_each_other_and_notice_who_drains_who_leaves_and_who_died() {
    let world = World::new().await;
    let mut all = pool(&world, "prod", 4, "").await;
    let known = async |at: usize| {
        let peers = all[at].1.json("/peers").await;
        peers.as_array().map_or(0, Vec::len)
    };
    // Gossip spreads a drain: EC2 says nothing about it in this test.
    assert!(all[1].1.command("drain").0);
    for at in [0, 2, 3] {
        until("the drain is known", &all[at].1, async || {
            all[at].1.peers().await == 2 && known(at).await == 3
        })
        .await;
    }
    // One that says good-bye is forgotten.
    all[1].1.signal(Signal::TERM);
    until("it is forgotten", &all[0].1, async || known(0).await == 2).await;
    // One that is killed is noticed by probes.
    all[2].1.vanish();
    until("it is missed", &all[0].1, async || all[0].1.peers().await == 1).await;
    // And taken in again when its agent starts anew.
    let again = all[2].0.agent(&all[2].0.with_peers(""));
    again.ready().await;
    until("it is back", &all[0].1, async || all[0].1.peers().await == 2).await;
    until("it knows the others", &again, async || again.peers().await == 2).await;
}

#[tokio::test]
async fn two_clusters_with_one_key_on_one_network_do_not_mix_and_strangers_get_no_answer() {
    let world = World::new().await;
    let prod = pool(&world, "prod", 2, "").await;
    let test = pool(&world, "test", 2, "").await;
    for (node, agent) in prod.iter().chain(&test) {
        let peers = agent.json("/peers").await;
        let names: BTreeSet<&str> = peers
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|p| p["instance"].as_str())
            .collect();
        let own = if test.iter().any(|(n, _)| n.id == node.id) {
            &test
        } else {
            &prod
        };
        let expected: BTreeSet<&str> = own
            .iter()
            .map(|(n, _)| n.id.as_str())
            .filter(|id| *id != node.id)
            .collect();
        assert_eq!(names, expected);
    }
    // A host in the network without the key, and one with the key of another pool.
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let target = format!("{}:{GOSSIP}", prod[0].0.address);
    let made_up = Ring::new("a key that the stranger has made up", "prod", "worker").expect("a key");
    let neighbour = Ring::new("0123456789abcdef0123456789abcdef", "test", "worker").expect("a key");
    for ring in [made_up, neighbour] {
        let (packet, _) = Sealer::new(ring, [7; 16]).seal(Kind::Greeting, &NOBODY, b"let me in");
        socket.send_to(&packet, &target).await.expect("sent");
    }
    socket.send_to(&[1; 1400], &target).await.expect("sent");
    let agent = &prod[0].1;
    until("all three are dropped", agent, async || {
        agent.metric("gossip_dropped_total{why=\"foreign\"}").await >= 3
    })
    .await;
    let mut answer = [0; 2048];
    assert!(
        socket.try_recv(&mut answer).is_err(),
        "a stranger gets no answer at all"
    );
    until("the neighbour is still known", agent, async || agent.peers().await == 1).await;
}

#[tokio::test]
async fn a_node_with_another_key_says_that_nobody_answers() {
    let world = World::new().await;
    let first = pool(&world, "prod", 2, "").await;
    let key = world.folder.path().join("wrong-key");
    std::fs::write(&key, "another key that has enough characters\n").expect("room");
    let node = world.launch("prod").await;
    let usual = format!("'{}'", world.folder.path().join("key").display());
    let agent = node.agent(&node.with_peers("").replace(&usual, &format!("'{}'", key.display())));
    until("it says so", &agent, async || {
        let status = agent.json("/status").await;
        let why = status["peersTrouble"].as_str().unwrap_or_default();
        why.contains("EC2 lists") && why.contains("none answers") && why.contains("cluster key")
    })
    .await;
    assert_eq!(agent.presence().await, "ready", "it serves all the same");
    let (done, said) = agent.command("peers");
    assert!(done && said.contains("none answers"), "{said}");
    assert_eq!(first[0].1.peers().await, 1);
    assert!(first[0].1.json("/status").await["peersTrouble"].is_null());
}

#[tokio::test]
async fn a_node_asks_ec2_with_all_its_tags_and_lives_through_refusals() {
    let world = World::new().await;
    let faults = r#"{"failures": [{"operation": "DescribeInstances", "code": "RequestLimitExceeded", "status": 503, "times": 3}]}"#;
    world.cloud.world().faults = serde_json::from_str(faults).expect("faults");
    let all = pool(&world, "prod", 2, "").await;
    assert!(world.calls("DescribeInstances") >= 4);
    let only = ["DescribeInstances", "CreateTags", "RunInstances"];
    let other: Vec<String> = world
        .cloud
        .world()
        .calls
        .iter()
        .map(|(o, _)| o.clone())
        .filter(|o| !only.contains(&o.as_str()))
        .collect();
    assert!(other.is_empty(), "the agent called {other:?}");
    // The metadata service of one goes down: it stays where it is.
    all[0].0.metadata("down").await;
    until("the trouble is seen", &all[0].1, async || {
        all[0].1.json("/status").await["metadataTrouble"].is_string()
    })
    .await;
    assert_eq!(all[0].1.presence().await, "ready");
    until("its peer counts on it", &all[1].1, async || all[1].1.peers().await == 1).await;
}

#[tokio::test]
async fn the_cluster_key_may_be_a_parameter_and_a_node_waits_for_it() {
    let world = World::new().await;
    let more = "peers: {key: {parameter: /myelin/prod/agent-key}, port: 17946, interval: 1s}\n";
    let first = world.launch("prod").await;
    let second = world.launch("prod").await;
    let agents = [
        first.agent(&first.configuration(more)),
        second.agent(&second.configuration(more)),
    ];
    agents[0].ready().await;
    until("it says what is missing", &agents[0], async || {
        agents[0].log().contains("/myelin/prod/agent-key")
    })
    .await;
    let key = "ssm-0123456789abcdef0123456789abcdef";
    world
        .cloud
        .world()
        .parameters
        .insert("/myelin/prod/agent-key".into(), key.into());
    until("they know each other", &agents[0], async || {
        agents[0].json("/peers").await.as_array().is_some_and(|p| p.len() == 1)
    })
    .await;
    assert!(!agents[0].log().contains(key) && !agents[1].log().contains(key));
}
