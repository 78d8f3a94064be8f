//! Nodes on real networks: each agent in its own network namespace, on two bridges with one cable between them. Cables
//! are pulled, and a node's packets are sent to a machine that does not exist.
//!
//! The test runs itself again in fresh network, mount and process namespaces (`unshare`), in which it creates all
//! others: however it ends, the kernel removes all of it, and nothing outside is touched. Skipped, with a message, if
//! that is not permitted. Lost packets are left to the simulation, because not every kernel has `tc netem`.

use crate::harness::{Agent, GOSSIP, Node, World, until};
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Command;
use tokio::net::{TcpListener, TcpStream};

/// Set in the process that runs inside.
const INSIDE: &str = "MYELIN_TEST_NAMESPACES";

/// This test's name.
const SELF: &str = "namespaces::nodes_on_real_networks_split_where_a_cable_is_pulled_join_again_and_never_mix";

/// Where EC2 and the metadata services are, as the nodes see it: on the western bridge.
const HUB: &str = "10.77.0.254";

/// Nobody's.
const NOBODY: &str = "02:00:00:00:00:99";

/// What `unshare` makes; a process in it ends with the one that made it.
const FRESH: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

/// Everything that the test needs to be permitted.
const PROBE: &str = "set -e; mount -t tmpfs none /run; ip link set lo up; ip netns add probe; \
                     ip link add bridge type bridge; ip link add cable type veth peer name eth0 netns probe; \
                     ip link set cable master bridge; ip -n probe neigh add 10.77.0.1 lladdr 02:00:00:00:00:99 nud permanent dev eth0";

#[test]
fn nodes_on_real_networks_split_where_a_cable_is_pulled_join_again_and_never_mix() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(inside());
        return;
    }
    let probe = Command::new("unshare").args(FRESH).args(["sh", "-c", PROBE]).output();
    let why = match probe {
        Ok(done) if done.status.success() => None,
        Ok(done) => Some(String::from_utf8_lossy(&done.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    };
    if let Some(why) = why {
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED: this machine does not let the test make networks of its own: {why}"
        );
        return;
    }
    let own = std::env::current_exe().expect("this program has a path");
    let done = Command::new("unshare")
        .args(FRESH)
        .arg(own)
        .args(["--exact", SELF, "--include-ignored", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .output()
        .expect("it did a moment ago");
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success() && said.contains("1 passed"), "{said}");
}

/// `ip` with these words.
fn ip(words: &str) {
    let done = Command::new("ip")
        .args(words.split(' '))
        .output()
        .expect("it did for the probe");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "ip {words}: {said}");
}

/// Whom an agent knows.
fn peers(agent: &Agent) -> BTreeSet<String> {
    let done = Command::new(env!("CARGO_BIN_EXE_myelin-agent"))
        .args(["peers", "--json", "--socket"])
        .arg(agent.folder.join("agent.sock"))
        .output()
        .expect("the command runs");
    let read: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
    let names = read.as_array().into_iter().flatten();
    names
        .filter_map(|p| p["instance"].as_str().map(str::to_owned))
        .collect()
}

/// Waits until these know exactly each other.
async fn alone(what: &str, these: &[&(Node<'_>, Agent)]) {
    for (node, agent) in these {
        let others: BTreeSet<String> = these
            .iter()
            .map(|(n, _)| n.id.clone())
            .filter(|id| *id != node.id)
            .collect();
        // An agent that is not up yet says nothing.
        let up = async || agent.folder.join("agent.sock").exists() && peers(agent) == others;
        until(&format!("{what}: {} knows {others:?}", node.id), agent, up).await;
    }
}

/// Carries what nodes say to EC2 and the metadata services, which listen on loopback.
async fn carry(port: u16) {
    let listener = TcpListener::bind((HUB, port)).await.expect("the address is there");
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut far) = TcpStream::connect(("127.0.0.1", port)).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
}

/// Launches an instance into a namespace on one of the bridges, and starts its agent; its workload is a sleep.
async fn plug<'w>(world: &'w World, cluster: &str, n: u8, bridge: &str) -> (Node<'w>, Agent) {
    let (name, port, address) = (format!("n{n}"), format!("port{n}"), format!("10.77.0.{n}"));
    ip(&format!("netns add {name}"));
    ip(&format!("link add {port} type veth peer name eth0 netns {name}"));
    ip(&format!("link set {port} master {bridge} up"));
    ip(&format!("-n {name} addr add {address}/24 dev eth0"));
    ip(&format!("-n {name} link set lo up"));
    ip(&format!("-n {name} link set eth0 up"));
    let mut node = world.launch(cluster).await;
    world
        .cloud
        .world()
        .instances
        .get_mut(&node.id)
        .expect("launched")
        .address = address.clone();
    (node.address, node.namespace) = (address, Some(name));
    let configuration = format!(
        "admin: {{listen: '127.0.0.1:9808', socket: '{}/agent.sock'}}\n\
         peers: {{key: {{file: '{}'}}, port: {GOSSIP}, interval: 1s}}\n",
        node.folder.display(),
        world.folder.path().join("key").display(),
    );
    let agent = node.agent_with(&configuration, &["sleep".into(), "3600".into()]);
    (node, agent)
}

async fn inside() {
    let mounted = Command::new("mount").args(["-t", "tmpfs", "none", "/run"]).status();
    assert!(mounted.expect("it did for the probe").success());
    ip("link set lo up");
    for bridge in ["west", "east"] {
        ip(&format!("link add {bridge} type bridge"));
        ip(&format!("link set {bridge} up"));
    }
    ip("link add cable type veth peer name elbac");
    ip("link set cable master west up");
    ip("link set elbac master east up");
    ip(&format!("addr add {HUB}/24 dev west"));

    let mut world = World::new().await;
    world.host = HUB.into();
    let url = world.endpoint.url();
    let port = url
        .trim_end_matches('/')
        .rsplit(':')
        .next()
        .and_then(|p| p.parse().ok());
    carry(port.expect("its address has a port")).await;

    let mut all = Vec::new();
    for (cluster, n, bridge) in [
        ("prod", 1, "west"),
        ("prod", 2, "west"),
        ("prod", 3, "east"),
        ("prod", 4, "east"),
        // The neighbours have the same key.
        ("test", 5, "west"),
        ("test", 6, "east"),
    ] {
        all.push(plug(&world, cluster, n, bridge).await);
    }
    let [one, two, three, four, five, six] = &all[..] else {
        panic!("there are six")
    };
    let whole = async |when: &str| {
        alone(when, &[one, two, three, four]).await;
        alone(when, &[five, six]).await;
    };
    whole("at first").await;

    ip("link set cable down");
    alone("without the cable", &[one, two]).await;
    alone("without the cable", &[three, four]).await;
    alone("without the cable", &[five]).await;
    alone("without the cable", &[six]).await;
    ip("link set cable up");
    whole("with the cable again").await;

    // The third node receives from all, and no node receives from it; to EC2 it speaks as before.
    for n in [1, 2, 4] {
        ip(&format!(
            "-n n3 neigh replace 10.77.0.{n} lladdr {NOBODY} nud permanent dev eth0"
        ));
    }
    alone("while the third is not heard", &[one, two, four]).await;
    alone("while the third is not heard", &[three]).await;
    alone("while the third is not heard", &[five, six]).await;
    for n in [1, 2, 4] {
        ip(&format!("-n n3 neigh del 10.77.0.{n} dev eth0"));
    }
    whole("when the third is heard again").await;

    // One node's own cable. Its workload ends at that moment, so that its identity changes to one that no node has
    // heard of.
    ip("link set port2 down");
    two.1.kill_workload();
    alone("without the second", &[one, three, four]).await;
    alone("without the second", &[two]).await;
    ip("link set port2 up");
    whole("with the second again").await;
}
