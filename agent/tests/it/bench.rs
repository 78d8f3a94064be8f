//! Measurements of the agent, for `cargo xtask bench agent`. They are tests too: each fails beyond its limit.

use crate::harness::{Node, World, front, until};
use crate::pools::pool_of;
use http::Method;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A node's configuration with the front's own limits.
fn usual(node: &Node<'_>) -> String {
    node.with_peers("").replace(", connectTimeout: 20s", "")
}

/// Clients that ask one front again and again, until they are dropped.
struct Load {
    clients: Vec<tokio::task::JoinHandle<()>>,
    done: Arc<AtomicU64>,
    /// When and how requests were lost.
    lost: Arc<Mutex<Vec<(Instant, String)>>>,
    /// The longest time between two answers.
    gap: Arc<Mutex<(Instant, Duration)>>,
}

impl Load {
    fn new(address: &str, count: usize, method: &Method) -> Self {
        let load = Self {
            clients: Vec::new(),
            done: Arc::default(),
            lost: Arc::default(),
            gap: Arc::new(Mutex::new((Instant::now(), Duration::ZERO))),
        };
        let clients = (0..count).map(|_| {
            let (address, method) = (address.to_owned(), method.clone());
            let (done, lost, gap) = (Arc::clone(&load.done), Arc::clone(&load.lost), Arc::clone(&load.gap));
            tokio::spawn(async move {
                loop {
                    match front(&address, method.clone(), "/slow/20", &[], "").await {
                        Ok((200, _)) => {
                            done.fetch_add(1, Ordering::Relaxed);
                            let mut gap = gap.lock().expect("not poisoned");
                            gap.1 = gap.1.max(gap.0.elapsed());
                            gap.0 = Instant::now();
                        }
                        other => lost
                            .lock()
                            .expect("not poisoned")
                            .push((Instant::now(), format!("{other:?}"))),
                    }
                }
            })
        });
        Self {
            clients: clients.collect(),
            ..load
        }
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn lost(&self) -> Vec<String> {
        self.lost
            .lock()
            .expect("not poisoned")
            .iter()
            .map(|(_, why)| why.clone())
            .collect()
    }

    fn stop(&mut self) {
        self.clients.drain(..).for_each(|c| c.abort());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo xtask bench agent"]
async fn planned_drain_under_load() {
    let world = World::new().await;
    let all = pool_of(&world, "prod", 3, usual).await;
    let mut loads: Vec<Load> = (0..2)
        .map(|n| Load::new(&all[n].0.address, 16, &Method::POST))
        .collect();
    until("there is load", &all[0].1, async || {
        loads[0].done() + loads[1].done() > 500
    })
    .await;
    let began = Instant::now();
    assert!(all[1].1.command("drain").0);
    until("it is drained", &all[1].1, async || all[1].1.step().await == "drained").await;
    let took = began.elapsed();
    let at = loads[1].done();
    until("load goes on", &all[1].1, async || loads[1].done() > at + 500).await;
    loads.iter_mut().for_each(Load::stop);
    let lost: Vec<String> = loads.iter().flat_map(Load::lost).collect();
    let done = loads[0].done() + loads[1].done();
    println!(
        "  planned drain: {done} POSTs from 32 clients, {} lost; drained in {:.1} s",
        lost.len(),
        took.as_secs_f64()
    );
    assert!(lost.is_empty(), "{lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo xtask bench agent"]
async fn death_under_load() {
    for (method, may_lose) in [(Method::GET, 0), (Method::POST, 16)] {
        let world = World::new().await;
        let mut all = pool_of(&world, "prod", 3, usual).await;
        // The node that gets the requests has an unhealthy workload: all its requests go to the other two, one of which
        // dies.
        std::fs::write(all[0].0.folder.join("sick"), "").expect("room");
        until("it is sick", &all[0].1, async || all[0].1.presence().await == "sick").await;
        let mut load = Load::new(&all[0].0.address, 16, &method);
        until("there is load", &all[0].1, async || load.done() > 500).await;
        *load.gap.lock().expect("not poisoned") = (Instant::now(), Duration::ZERO);
        all[2].1.vanish();
        let at = load.done();
        until("load goes on", &all[0].1, async || load.done() > at + 500).await;
        load.stop();
        let (lost, gap) = (load.lost(), load.gap.lock().expect("not poisoned").1);
        println!(
            "  kill -9 of a node that serves {method}s: longest time without an answer {} ms, {} of 16 clients' requests lost",
            gap.as_millis(),
            lost.len()
        );
        assert!(gap < Duration::from_secs(2), "{gap:?}");
        assert!(lost.len() <= may_lose, "{lost:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo xtask bench agent"]
async fn cost_beside_a_hundred_peers() {
    const NODES: usize = 101;
    const SECONDS: u64 = 60;
    let world = World::new().await;
    let mut all = Vec::new();
    for _ in 0..NODES {
        let node = world.launch("prod").await;
        // The rule's own interval: this counts questions to EC2. The workload is a sleep; it is not what is measured.
        let configuration = node.with_peers("").replace("interval: 1s", "interval: 30s");
        let configuration: String = configuration
            .lines()
            .filter(|l| !l.contains("health:"))
            .map(|l| format!("{l}\n"))
            .collect();
        let agent = node.agent_with(&configuration, &["sleep".into(), "3600".into()]);
        all.push((node, agent));
    }
    for (_, agent) in &all {
        until("all know all", agent, async || agent.peers().await == NODES - 1).await;
    }
    let cost = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name in brackets: the state is the first, utime and stime the twelfth and thirteenth; a tick is 10 ms.
        let ticks = |at| {
            stat.rsplit(')')
                .next()
                .and_then(|f| f.split_whitespace().nth(at)?.parse::<u64>().ok())
        };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let resident = status
            .lines()
            .find_map(|l| l.strip_prefix("VmHWM:"))
            .unwrap_or_default();
        let kib: u64 = resident.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0);
        let spent = ticks(11).zip(ticks(12)).map(|(user, system)| (user + system) * 10);
        (spent.expect("it runs"), kib)
    };
    let before: Vec<u64> = all.iter().map(|(_, a)| cost(a.child.id()).0).collect();
    let (asked, began) = (world.calls("DescribeInstances"), Instant::now());
    tokio::time::sleep(Duration::from_secs(SECONDS)).await;
    let asked = world.calls("DescribeInstances") - asked;
    let share =
        |at: usize| (cost(all[at].1.child.id()).0 - before[at]) as f64 / began.elapsed().as_millis() as f64 * 100.0;
    let shares: Vec<f64> = (0..NODES).map(share).collect();
    let mean = shares.iter().sum::<f64>() / NODES as f64;
    let most = all.iter().map(|(_, a)| cost(a.child.id()).1).max().unwrap_or(0);
    let hourly = asked as f64 / NODES as f64 * 3_600.0 / SECONDS as f64;
    println!(
        "  {NODES} agents: at most {:.1} MiB resident, {mean:.2} % of a core on average, {hourly:.0} questions to EC2 per node and hour",
        most as f64 / 1024.0
    );
    assert!(most > 0 && most < 20 * 1024, "{most} KiB");
    assert!(mean < 1.0, "{mean} %");
    assert!(hourly < 200.0, "{hourly}; every 30 s makes 120");
}
