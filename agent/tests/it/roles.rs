//! The credentials of the instance's role: obtained from the metadata service, sufficient for everything the agent
//! does, renewed before they expire, and replaced when EC2 calls them expired. The sandbox refuses expired sessions and
//! enforces the worker policy of `infra/` on the role.

use crate::harness::{Agent, Node, World, until};
use crate::policy::{Asked, policy, recorder};
use jiff::SignedDuration;
use myelin_sandbox::ec2::{Policy, Times};
use std::collections::BTreeSet;

/// A world in which the role's keys live that long, and may do what `infra/iam/worker.json.tftpl` says.
async fn world(life: SignedDuration) -> World {
    let world = World::with(Times {
        credentials: life,
        ..Times::default()
    })
    .await;
    let policy = Policy::read(&policy()).expect("a policy");
    world.cloud.with_role_policy("prod-worker", policy);
    let key = "ssm-0123456789abcdef0123456789abcdef".to_owned();
    world.cloud.world().parameters.insert("/prod/agent-key".into(), key);
    world
}

/// A node with the role, and an agent that has no keys of its own.
async fn node_with_role<'w>(world: &'w World, endpoint: &str) -> (Node<'w>, Agent) {
    let node = world.launch_with("prod", "&IamInstanceProfile.Name=prod-worker").await;
    let more = "peers: {key: {parameter: /prod/agent-key}, port: 17946, interval: 1s}\n";
    let agent = node.agent_as(endpoint, &[], &node.configuration(more), &crate::workload::command());
    until("the tag says ready", &agent, async || {
        node.state().as_deref() == Some("ready")
    })
    .await;
    (node, agent)
}

/// Sessions in which the agent asked.
fn sessions(asked: &Asked) -> BTreeSet<String> {
    let asked = asked.lock().expect("not poisoned");
    asked
        .iter()
        .map(|(_, session)| session.clone().unwrap_or_default())
        .collect()
}

/// Outcomes of an operation, oldest first.
fn outcomes(world: &World, operation: &str) -> Vec<String> {
    let all = world.cloud.world();
    let of = all.calls.iter().filter(|(o, _)| o == operation);
    of.map(|(_, outcome)| outcome.clone()).collect()
}

#[tokio::test]
async fn the_keys_of_the_role_are_enough_and_are_renewed_before_they_end() {
    // The agent renews five minutes ahead: so these are renewed two seconds after each fetch.
    let world = world(SignedDuration::from_secs(302)).await;
    let (endpoint, asked) = recorder(world.endpoint.url()).await;
    let (node, agent) = node_with_role(&world, &endpoint).await;
    until("keys were renewed twice", &agent, async || sessions(&asked).len() >= 3).await;
    assert!(!sessions(&asked).contains(""), "nothing is asked without a session");
    // While the metadata service is down, those at hand are good to their end.
    node.metadata("down").await;
    until("the trouble is seen", &agent, async || {
        agent.json("/status").await["metadataTrouble"].is_string()
    })
    .await;
    let before = world.calls("DescribeInstances");
    until("EC2 is asked all the same", &agent, async || {
        world.calls("DescribeInstances") > before + 2
    })
    .await;
    for operation in ["GetParameter", "CreateTags", "DescribeInstances"] {
        let outcomes = outcomes(&world, operation);
        assert!(
            !outcomes.is_empty() && outcomes.iter().all(|o| o == "ok"),
            "{operation}: {outcomes:?}"
        );
    }
    let log = agent.log();
    assert!(!log.contains("sandbox-until") && !log.contains("ssm-0123"), "{log}");
}

#[tokio::test]
async fn keys_that_ec2_calls_ended_are_replaced_whatever_this_machines_clock_says() {
    let world = world(SignedDuration::from_hours(6)).await;
    let (_, agent) = node_with_role(&world, &world.endpoint.url()).await;
    // The cloud is seven hours ahead now; sessions of the metadata service have ended as well.
    world.cloud.clock.advance(std::time::Duration::from_secs(7 * 3_600));
    until("EC2 refuses the old keys and takes the new ones", &agent, async || {
        let outcomes = outcomes(&world, "DescribeInstances");
        let refused = outcomes.iter().position(|o| o == "RequestExpired");
        refused.is_some_and(|at| outcomes[at..].iter().any(|o| o == "ok"))
    })
    .await;
    let refused = outcomes(&world, "DescribeInstances")
        .iter()
        .filter(|o| *o == "RequestExpired")
        .count();
    assert_eq!(refused, 1, "one refusal is enough to know");
}

#[tokio::test]
async fn an_instance_without_a_role_serves_and_says_what_it_lacks() {
    let world = World::new().await;
    let node = world.launch("prod").await;
    let agent = node.agent_as(
        &world.endpoint.url(),
        &[],
        &node.configuration(""),
        &crate::workload::command(),
    );
    agent.ready().await;
    until("it says what it lacks", &agent, async || {
        agent
            .log()
            .contains("this instance has no role: launch it with an instance profile")
    })
    .await;
    assert_eq!(node.state(), None, "and EC2 was told nothing");
    assert_eq!(agent.presence().await, "ready");
}
