//! A pool whose nodes run real agents: launched, rolled to a new version, cancelled half-way, shrunk and destroyed by
//! the engine, which communicates with the agents by tags alone. The agents are this test program, started again; their
//! nodes have loopback addresses.

use crate::world::{client, pool, text};
use futures::future::BoxFuture;
use myelin_engine::document::NodePool;
use myelin_engine::fleet::{
    DrainPolicy, FleetOutcome, FleetRun, Known, NodeFate, PoolId, Ports, TAG_DRAIN, TAG_STATE, apply_pool,
    destroy_pool, observe_pool, plan_pool,
};
use myelin_sandbox::clock::Clock;
use myelin_sandbox::ec2::{ADMINISTRATOR, Cloud, Endpoint, State, Times, serve};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Names the configuration in the process that is to be an agent.
const CONFIGURATION: &str = "MYELIN_TEST_AGENT";

/// The longest that any condition may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How much faster than the agents' clocks the cloud's and the engine's run.
const SPEED: f64 = 5.0;

#[test]
#[ignore = "this is the agent that another test starts, and no test"]
fn be_the_agent() {
    let Ok(file) = std::env::var(CONFIGURATION) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let config = myelin_agent::config::read(Some(Path::new(&file))).expect("a configuration");
    runtime
        .block_on(myelin_agent::node::run(config))
        .expect("the agent runs");
}

struct Running(Clock);

impl myelin_engine::clock::Clock for Running {
    fn now(&self) -> jiff::Timestamp {
        self.0.now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        Box::pin(async move { clock.sleep(time).await })
    }
}

/// A machine: the agent on it, and what became of it.
struct Machine {
    agent: Child,
    folder: PathBuf,
    /// What had happened on it when EC2 was told to terminate it, and its state tag at that time.
    at_end: Option<(Vec<String>, Option<String>)>,
}

impl Machine {
    /// What its workload and its drain hook noted.
    fn notes(&self) -> Vec<String> {
        notes(&self.folder)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

fn notes(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("notes")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Machines by instance id. Each instance boots into an agent, and its end takes the agent along.
struct Machines {
    all: Arc<Mutex<BTreeMap<String, Machine>>>,
    folder: tempfile::TempDir,
    boot: tokio::task::JoinHandle<()>,
}

impl Drop for Machines {
    fn drop(&mut self) {
        self.boot.abort();
    }
}

/// A network of loopback addresses that no other test uses: the holder of the port owns it.
fn network() -> (String, TcpListener) {
    let free = (1..250).find_map(|n| {
        let prefix = format!("127.90.{n}");
        let lock = TcpListener::bind(format!("{prefix}.254:18099")).ok()?;
        Some((prefix, lock))
    });
    free.expect("a network of loopback addresses is free")
}

fn start(cloud: &Cloud, endpoint: &str, metadata: &str, root: &Path, id: &str, address: String) -> Machine {
    let folder = root.join(id);
    std::fs::create_dir(&folder).expect("room");
    if let Some(instance) = cloud.world().instances.get_mut(id) {
        instance.address.clone_from(&address);
    }
    let (f, key) = (folder.display(), root.join("key"));
    std::fs::write(&key, "0123456789abcdef0123456789abcdef").expect("room");
    let configuration = format!(
        "identity: {{clusterTag: SynktiCluster, roleTag: SynktiRole}}\n\
         workload: {{command: [sh, {f}/workload], grace: 60s}}\n\
         drain: {{timeout: 30m, hook: {{command: [sh, {f}/hook], timeout: 29m}}}}\n\
         peers: {{key: {{file: '{}'}}, port: 17946, interval: 1s}}\n\
         admin: {{listen: '{address}:18098', socket: '{f}/agent.sock'}}\n",
        key.display(),
    );
    std::fs::write(folder.join("agent.yaml"), configuration).expect("room");
    // The hook ends when the test lets all hooks end. Nothing outlives the test's folder.
    let hook = format!(
        "echo \"hook: $MYELIN_DRAIN_CAUSE\" >> {f}/notes\nwhile [ -e {f} ] && [ ! -e {}/release ]; do sleep 0.1; done\n",
        root.display()
    );
    std::fs::write(folder.join("hook"), hook).expect("room");
    let workload = format!(
        "trap 'echo terminated >> {f}/notes; exit 0' TERM\necho started >> {f}/notes\nwhile [ -e {f} ]; do sleep 0.1; done\n"
    );
    std::fs::write(folder.join("workload"), workload).expect("room");
    let log = std::fs::File::create(folder.join("log")).expect("room");
    let mut agent = Command::new(std::env::current_exe().expect("this program has a path"));
    agent
        .args([
            "--ignored",
            "--exact",
            "agents::be_the_agent",
            "--nocapture",
            "--test-threads=1",
        ])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env(CONFIGURATION, folder.join("agent.yaml"))
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata)
        .env("AWS_ACCESS_KEY_ID", "AKIDNODE")
        .env("AWS_SECRET_ACCESS_KEY", "secret-of-the-node")
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log);
    Machine {
        agent: agent.spawn().expect("the agent starts"),
        folder,
        at_end: None,
    }
}

impl Machines {
    fn new(cloud: &Cloud, endpoint: &Endpoint) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let all: Arc<Mutex<BTreeMap<String, Machine>>> = Arc::default();
        let (machines, cloud, root, aws) = (
            Arc::clone(&all),
            cloud.clone(),
            folder.path().to_owned(),
            endpoint.url(),
        );
        let boot = tokio::spawn(async move {
            let ((prefix, _lock), mut next) = (network(), 0);
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let now = cloud.clock.now();
                let seen: Vec<_> = cloud.world().instances.values().cloned().collect();
                for instance in seen {
                    let up = instance.state(now, &cloud.times) == Some(State::Running);
                    let mut machines = machines.lock().expect("not poisoned");
                    match machines.get_mut(&instance.id) {
                        None if up => {
                            next += 1;
                            let metadata = format!("{aws}/imds/{}", instance.id);
                            let address = format!("{prefix}.{next}");
                            let machine = start(&cloud, &aws, &metadata, &root, &instance.id, address);
                            machines.insert(instance.id, machine);
                        }
                        Some(machine) if !up && machine.at_end.is_none() => {
                            machine.at_end = Some((machine.notes(), instance.tags.get(TAG_STATE).cloned()));
                            let _ = machine.agent.kill();
                        }
                        _ => {}
                    }
                }
            }
        });
        Self { all, folder, boot }
    }

    fn notes(&self, id: &str) -> Vec<String> {
        self.all
            .lock()
            .expect("not poisoned")
            .get(id)
            .map(Machine::notes)
            .unwrap_or_default()
    }

    /// What had happened on a machine that has ended.
    fn at_end(&self, id: &str) -> Option<(Vec<String>, Option<String>)> {
        self.all.lock().expect("not poisoned").get(id)?.at_end.clone()
    }

    fn logs(&self) -> String {
        let all = self.all.lock().expect("not poisoned");
        let log = |(id, m): (&String, &Machine)| {
            let text = std::fs::read_to_string(m.folder.join("log")).unwrap_or_default();
            format!("--- {id}: {:?}\n{text}", m.notes())
        };
        all.iter().map(log).collect()
    }
}

struct World {
    cloud: Cloud,
    _endpoint: Endpoint,
    ports: Ports,
    machines: Machines,
}

impl World {
    async fn start() -> Self {
        let times = Times {
            boot: jiff::SignedDuration::ZERO,
            ..Times::default()
        };
        let cloud = Cloud::new(Clock::new(SPEED), times);
        let endpoint = serve(cloud.clone(), 0).await.expect("a port");
        let ports = Ports {
            cloud: client(&endpoint.url(), ADMINISTRATOR).await,
            cluster: None,
            clock: Arc::new(Running(cloud.clock.clone())),
        };
        let machines = Machines::new(&cloud, &endpoint);
        Self {
            cloud,
            _endpoint: endpoint,
            ports,
            machines,
        }
    }

    async fn converge(&self, pool: &NodePool, run: &FleetRun) -> FleetOutcome {
        let seen = observe_pool(&self.ports, pool, &Known::default(), run).await;
        let seen = seen.unwrap_or_else(|e| panic!("{}", text(&e)));
        let plan = plan_pool(pool, &seen, self.ports.clock.now());
        apply_pool(&self.ports, &plan, run).await
    }

    fn expect(&self, outcome: &FleetOutcome) {
        let problems = text(&outcome.diagnostics);
        assert!(outcome.ready, "{problems}\n{}", self.machines.logs());
    }

    fn alive(&self) -> BTreeSet<String> {
        self.cloud.alive().into_iter().map(|i| i.id).collect()
    }

    fn tag(&self, id: &str, key: &str) -> Option<String> {
        self.cloud.world().instances[id].tags.get(key).cloned()
    }

    fn ready(&self) -> usize {
        let alive = self.cloud.alive();
        alive
            .iter()
            .filter(|i| i.tags.get(TAG_STATE).is_some_and(|s| s == "ready"))
            .count()
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let began = Instant::now();
        while !holds() {
            assert!(
                began.elapsed() < PATIENCE,
                "waited in vain until {what}\n{}",
                self.machines.logs()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A version of the pool. The engine would wait an hour for a drain, so an apply that ends sooner was told by the
/// agents.
fn version(size: u32, name: &str) -> NodePool {
    pool(json!({
        "size": size, "userData": name, "instanceTypes": ["m5.large"],
        "rollout": {"health": "tag", "healthTimeout": "1h", "drainTimeout": "1h", "surge": 1, "maxUnavailable": 0, "maxRemovedPercent": 100},
    }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_is_upgraded_by_a_roll_that_its_agents_drain_for_and_a_roll_that_is_called_off_leaves_them_serving() {
    let world = World::start().await;
    let (run, began) = (FleetRun::default(), world.cloud.clock.now());
    world.expect(&world.converge(&version(2, "v1"), &run).await);
    let old = world.alive();
    assert_eq!((old.len(), world.ready()), (2, 2), "ready is what their agents say");

    // A roll begins; its first node is asked to drain, and is in its hook, when the roll is cancelled.
    let stopped = FleetRun::default();
    let goal = version(2, "v2");
    let rolling = world.converge(&goal, &stopped);
    let stop = async {
        let in_hook = |id: &String| world.machines.notes(id).iter().any(|n| n.starts_with("hook"));
        world
            .until("a node is in its drain hook", || old.iter().any(in_hook))
            .await;
        stopped.cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(rolling, stop);
    assert!(
        outcome.cancelled && outcome.ended.is_empty(),
        "{}",
        text(&outcome.diagnostics)
    );
    world
        .until("all serve again", || {
            old.iter().all(|id| world.tag(id, TAG_DRAIN).is_none()) && world.ready() == 3
        })
        .await;
    for id in &old {
        assert!(
            !world.machines.notes(id).contains(&"terminated".to_owned()),
            "{}",
            world.machines.logs()
        );
    }

    // The same again, to its end.
    std::fs::write(world.machines.folder.path().join("release"), "").expect("room");
    world.expect(&world.converge(&goal, &run).await);
    let new = world.alive();
    assert!(new.len() == 2 && new.is_disjoint(&old), "{new:?} came after {old:?}");
    assert_eq!((world.ready(), world.cloud.world().launched), (2, 4));
    world
        .until("the end of the old ones is seen", || {
            old.iter().all(|id| world.machines.at_end(id).is_some())
        })
        .await;
    for id in &old {
        let (notes, state) = world.machines.at_end(id).expect("seen");
        let last = notes[notes.len() - 2..].to_vec();
        assert_eq!(last, ["hook: drain tag", "terminated"], "{id}: {notes:?}");
        assert_eq!(
            state, None,
            "{id} was ended when its agent had reported that it is drained"
        );
    }
    let plan = {
        let seen = observe_pool(&world.ports, &goal, &Known::default(), &run).await;
        plan_pool(
            &goal,
            &seen.unwrap_or_else(|e| panic!("{}", text(&e))),
            world.ports.clock.now(),
        )
    };
    assert_eq!(
        plan.count(NodeFate::Replace) + plan.count(NodeFate::Launch),
        0,
        "{}",
        plan.text()
    );

    // In, and out: by drains as well.
    world.expect(&world.converge(&version(1, "v2"), &run).await);
    let (id, drain) = (PoolId::of(&goal), DrainPolicy::of(&goal));
    let outcome = destroy_pool(&world.ports, &id, &drain, &BTreeSet::new(), &run).await;
    world.expect(&outcome);
    assert!(world.alive().is_empty());
    world
        .until("the end of the new ones is seen", || {
            new.iter().all(|id| world.machines.at_end(id).is_some())
        })
        .await;
    for id in &new {
        let (notes, state) = world.machines.at_end(id).expect("seen");
        assert_eq!(notes, ["started", "hook: drain tag", "terminated"], "{id}");
        assert_eq!(state, None);
    }
    let took = world.cloud.clock.now().duration_since(began);
    assert!(
        took < jiff::SignedDuration::from_hours(1),
        "no drain waited for its deadline: {took:#}"
    );
}
