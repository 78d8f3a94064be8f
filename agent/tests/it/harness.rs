//! A model cloud with instances on loopback addresses, and agents as processes on them.

use crate::workload;
use bytes::Bytes;
use http::Method;
use jiff::SignedDuration;
use myelin_agent::wire::{self, Answer, Url};
use myelin_sandbox::clock::Clock;
use myelin_sandbox::ec2::cloud::Times;
use myelin_sandbox::ec2::{Cloud, Endpoint, catalog, serve};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// The longest that any condition may take, on a machine that has other things to do. Conditions are waited for, never slept for; how
/// fast something is, the simulation says on its own clock, and the bench on a quiet machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Port of every workload, front and admin address; nodes differ by their addresses.
pub(crate) const WORKLOAD: u16 = 18_000;
pub(crate) const ADMIN: u16 = 18_098;

pub(crate) const FRONT: u16 = 18_080;
pub(crate) const GOSSIP: u16 = 17_946;

/// A network of 254 loopback addresses that no other test uses, in this process or another: the holder of the lock's
/// port owns the network.
#[derive(Debug)]
struct Network {
    prefix: String,
    _lock: std::net::TcpListener,
}

impl Network {
    fn claim() -> Self {
        let start = std::process::id().wrapping_mul(7);
        for n in 0..10_000_u32 {
            let at = start.wrapping_add(n) % 10_000;
            let prefix = format!("127.{}.{}", 100 + at / 250, 1 + at % 250);
            if let Ok(lock) = std::net::TcpListener::bind(format!("{prefix}.254:18099")) {
                return Self { prefix, _lock: lock };
            }
        }
        panic!("no network of loopback addresses is free");
    }
}

/// A cloud of one test.
pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) endpoint: Endpoint,
    /// The address by which nodes reach it.
    pub(crate) host: String,
    pub(crate) folder: tempfile::TempDir,
    network: Network,
    nodes: AtomicU8,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Times::default()).await
    }

    /// One in which things take that long; instances are up at once.
    pub(crate) async fn with(times: Times) -> Self {
        let times = Times {
            boot: SignedDuration::ZERO,
            ..times
        };
        let cloud = Cloud::new(Clock::new(1.0), times);
        let endpoint = serve(cloud.clone(), 0).await.expect("a port");
        let folder = tempfile::Builder::new()
            .prefix("myelin-agent-")
            .tempdir()
            .expect("a folder");
        std::fs::write(folder.path().join("key"), "0123456789abcdef0123456789abcdef\n").expect("room");
        Self {
            cloud,
            endpoint,
            host: "127.0.0.1".into(),
            folder,
            network: Network::claim(),
            nodes: AtomicU8::new(1),
        }
    }

    /// Launches an instance with these tags beside its cluster's and pool's.
    pub(crate) async fn launch(&self, cluster: &str) -> Node<'_> {
        self.launch_with(cluster, "").await
    }

    /// Launches an instance; `more` is appended to the request.
    pub(crate) async fn launch_with(&self, cluster: &str, more: &str) -> Node<'_> {
        let n = self.nodes.fetch_add(1, Ordering::Relaxed);
        let form = format!(
            "Action=RunInstances&Version=2016-11-15&ImageId={}&InstanceType=m5.large&SubnetId={}&MinCount=1&MaxCount=1\
             &MetadataOptions.HttpTokens=required&MetadataOptions.InstanceMetadataTags=enabled\
             &TagSpecification.1.ResourceType=instance\
             &TagSpecification.1.Tag.1.Key=myelin.dev:cluster&TagSpecification.1.Tag.1.Value={cluster}\
             &TagSpecification.1.Tag.2.Key=myelin.dev:pool&TagSpecification.1.Tag.2.Value=worker{more}",
            catalog::IMAGES[0].id,
            catalog::SUBNETS[0].id,
        );
        let answer = self.post("/", form).await;
        let text = String::from_utf8(answer.body.to_vec()).expect("text");
        let id = between(&text, "<instanceId>", "</instanceId>").unwrap_or_else(|| panic!("no instance: {text}"));
        let address = format!("{}.{n}", self.network.prefix);
        let folder = self.folder.path().join(format!("node-{n}"));
        std::fs::create_dir(&folder).expect("room");
        self.cloud.world().instances.get_mut(&id).expect("launched").address = address.clone();
        Node {
            world: self,
            id,
            address,
            folder,
            namespace: None,
        }
    }

    /// Where nodes reach EC2.
    fn url(&self) -> String {
        self.endpoint.url().replace("127.0.0.1", &self.host)
    }

    pub(crate) async fn post(&self, path: &str, body: String) -> Answer {
        let url = Url::parse(&self.endpoint.url()).expect("an address").join(path);
        wire::send(&url, Method::POST, &[], Bytes::from(body), 1 << 20, PATIENCE)
            .await
            .expect("an answer")
    }

    /// How often an operation was called.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.cloud.world().calls.iter().filter(|(o, _)| o == operation).count()
    }
}

fn between(text: &str, from: &str, to: &str) -> Option<String> {
    let start = text.find(from)? + from.len();
    Some(text[start..start + text[start..].find(to)?].to_owned())
}

/// One instance.
pub(crate) struct Node<'w> {
    pub(crate) world: &'w World,
    pub(crate) id: String,
    pub(crate) address: String,
    pub(crate) folder: PathBuf,
    /// The network namespace that its agent runs in, where that is not the test's.
    pub(crate) namespace: Option<String>,
}

impl Node<'_> {
    /// The value of a tag.
    pub(crate) fn tag(&self, key: &str) -> Option<String> {
        self.world.cloud.world().instances[&self.id].tags.get(key).cloned()
    }

    pub(crate) fn set_tag(&self, key: &str, value: Option<&str>) {
        let mut world = self.world.cloud.world();
        let tags = &mut world.instances.get_mut(&self.id).expect("launched").tags;
        match value {
            Some(value) => drop(tags.insert(key.into(), value.into())),
            None => drop(tags.remove(key)),
        }
    }

    /// What the agent's state tag says.
    pub(crate) fn state(&self) -> Option<String> {
        self.tag("myelin.dev:state")
    }

    pub(crate) fn spot_notice(&self, seconds: i64) {
        let after = SignedDuration::from_secs(seconds);
        self.world.cloud.spot_notice(&self.id, after).expect("launched");
    }

    pub(crate) async fn metadata(&self, what: &str) {
        self.world
            .post(&format!("/imds/{}/sandbox/{what}", self.id), String::new())
            .await;
    }

    /// A configuration with quick checks, which wait long for an answer on a machine that is busy; `more` is appended.
    pub(crate) fn configuration(&self, more: &str) -> String {
        format!(
            "workload:\n  health: {{http: 'http://{a}:{WORKLOAD}/health', interval: 100ms, timeout: 20s, failures: 2}}\n  \
             grace: 2s\n  restart: {{first: 100ms, longest: 500ms, most: 5}}\n\
             admin: {{listen: '{a}:{ADMIN}', socket: '{f}/agent.sock'}}\n{more}",
            a = self.address,
            f = self.folder.display(),
        )
    }

    /// The configuration of a node that has peers and a front.
    pub(crate) fn with_peers(&self, more: &str) -> String {
        self.configuration(&format!(
            "peers: {{key: {{file: '{key}'}}, port: {GOSSIP}, interval: 1s}}\n\
             front: {{listen: '{a}:{FRONT}', backend: '{a}:{WORKLOAD}', connectTimeout: 20s}}\n{more}",
            key = self.world.folder.path().join("key").display(),
            a = self.address,
        ))
    }

    /// Starts the agent with a workload.
    pub(crate) fn agent(&self, configuration: &str) -> Agent {
        self.agent_with(configuration, &workload::command())
    }

    /// Starts the agent with a command.
    pub(crate) fn agent_with(&self, configuration: &str, workload: &[String]) -> Agent {
        self.agent_at(&self.world.url(), configuration, workload)
    }

    /// Starts the agent with a command, and with another way to AWS.
    pub(crate) fn agent_at(&self, aws: &str, configuration: &str, workload: &[String]) -> Agent {
        let keys = [
            ("AWS_ACCESS_KEY_ID", "AKIDNODE"),
            ("AWS_SECRET_ACCESS_KEY", "secret-of-the-node"),
        ];
        self.agent_as(aws, &keys, configuration, workload)
    }

    /// Starts the agent with keys in its environment; without any it has those of the instance's role.
    pub(crate) fn agent_as(&self, aws: &str, keys: &[(&str, &str)], configuration: &str, workload: &[String]) -> Agent {
        let file = self.folder.join("agent.yaml");
        std::fs::write(&file, configuration).expect("room");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.join("log"))
            .expect("room");
        let mut command = match &self.namespace {
            // It becomes the agent: the process is the same.
            Some(name) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", name, env!("CARGO_BIN_EXE_myelin-agent")]);
                command
            }
            None => Command::new(env!("CARGO_BIN_EXE_myelin-agent")),
        };
        command.args(["run", "--config"]).arg(&file).arg("--").args(workload);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("AWS_ENDPOINT_URL", aws)
            .env(
                "AWS_EC2_METADATA_SERVICE_ENDPOINT",
                self.world
                    .endpoint
                    .metadata_url(&self.id)
                    .replace("127.0.0.1", &self.world.host),
            )
            .envs(keys.iter().copied())
            .env(workload::ADDRESS, format!("{}:{WORKLOAD}", self.address))
            .env(workload::FOLDER, &self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        Agent {
            child: command.spawn().expect("the agent starts"),
            folder: self.folder.clone(),
            address: self.address.clone(),
        }
    }
}

/// A running agent.
pub(crate) struct Agent {
    pub(crate) child: Child,
    pub(crate) folder: PathBuf,
    pub(crate) address: String,
}

impl Agent {
    pub(crate) async fn get(&self, path: &str) -> Option<Answer> {
        let url = Url::parse(&format!("http://{}:{ADMIN}{path}", self.address)).expect("an address");
        wire::send(&url, Method::GET, &[], Bytes::new(), 8 << 20, PATIENCE / 3)
            .await
            .ok()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path)
            .await
            .map(|a| serde_json::from_slice(&a.body).unwrap_or_default())
            .unwrap_or_default()
    }

    pub(crate) async fn presence(&self) -> String {
        self.json("/status").await["presence"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// How many peers take work.
    pub(crate) async fn peers(&self) -> usize {
        let peers = self.json("/peers").await;
        peers
            .as_array()
            .into_iter()
            .flatten()
            .filter(|p| p["presence"] == "ready")
            .count()
    }

    /// A request through the front.
    pub(crate) async fn front(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (u16, String) {
        front(&self.address, method, path, headers, body)
            .await
            .unwrap_or_else(|e| (0, e))
    }

    /// A number of the metrics.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let answer = self.get("/metrics").await.expect("the agent answers");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix(&format!("myelin_agent_{name} ")));
        line.and_then(|v| v.parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Where the drain is; empty when there is none.
    pub(crate) async fn step(&self) -> String {
        self.json("/status").await["drain"]["step"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    pub(crate) async fn ready(&self) {
        until("the node is ready", self, async || self.presence().await == "ready").await;
    }

    /// A command of `myelin-agent` to this agent: whether it succeeded, and what it printed.
    pub(crate) fn command(&self, name: &str) -> (bool, String) {
        let done = Command::new(env!("CARGO_BIN_EXE_myelin-agent"))
            .arg(name)
            .arg("--socket")
            .arg(self.folder.join("agent.sock"))
            .output()
            .expect("the command runs");
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// kill -9 of the agent and of its workload: the machine is gone.
    pub(crate) fn vanish(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was started here");
        self.kill_workload();
    }

    /// kill -9 of its workload.
    pub(crate) fn kill_workload(&self) {
        for pid in workload_pid(&self.log()) {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
            .expect("it runs");
        rustix::process::kill_process(pid, signal).expect("it runs");
    }

    pub(crate) fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("it was started here")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// What reached the workload.
    pub(crate) fn hits(&self) -> Vec<String> {
        hits(&self.folder)
    }
}

pub(crate) fn hits(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("hits")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A stopped agent ends its workload; a killed one cannot.
        let workload = workload_pid(&self.log());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in workload {
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
    }
}

/// Process groups of the workloads that a log speaks of.
pub(crate) fn workload_pid(log: &str) -> Vec<rustix::process::Pid> {
    let started = log.lines().filter(|l| l.contains("the workload is started"));
    let pid = |line: &str| {
        // What the workload prints stands in the same lines.
        let read: Value = serde_json::from_str(&line[line.find('{')?..]).ok()?;
        rustix::process::Pid::from_raw(i32::try_from(read["pid"].as_i64()?).ok()?)
    };
    started.filter_map(pid).collect()
}

/// A request to a front on an address of its own connection.
pub(crate) async fn front(
    address: &str,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Result<(u16, String), String> {
    let url = Url::parse(&format!("http://{address}:{FRONT}{path}")).expect("an address");
    let answer = wire::send(&url, method, headers, Bytes::from(body.to_owned()), 8 << 20, PATIENCE).await;
    let answer = answer.map_err(|e| e.to_string())?;
    Ok((answer.status, String::from_utf8_lossy(&answer.body).into_owned()))
}

/// Waits for a condition; fails with the agent's log.
pub(crate) async fn until(what: &str, agent: &Agent, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(
            began.elapsed() < PATIENCE,
            "waited in vain until {what}\n{}",
            agent.log()
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// Waits until a process has ended.
pub(crate) async fn end(agent: &mut Agent) -> std::process::ExitStatus {
    let began = Instant::now();
    loop {
        if let Some(status) = agent.ended() {
            return status;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "waited in vain for the end\n{}",
            agent.log()
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
