//! The settings: every field with its default and its meaning. `rules` checks which values are valid together.

use super::Span;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const fn seconds(n: u64) -> Span {
    Span(Duration::from_secs(n))
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// The tags that identify the node.
    pub identity: Identity,
    /// What it runs.
    pub workload: Workload,
    /// How it is drained.
    pub drain: Drain,
    /// How it finds its peers. Absent: it has none.
    pub peers: Option<Peers>,
    /// The front that serves requests. Absent: none.
    pub front: Option<Front>,
    /// Where people and monitors ask.
    pub admin: Admin,
}

/// Identity tags, set by the launcher; the agent reads them and may not write them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Identity {
    /// Tag that names the cluster.
    pub cluster_tag: String,
    /// Tag that names the role in it.
    pub role_tag: String,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            cluster_tag: "myelin.dev:cluster".into(),
            role_tag: "myelin.dev:pool".into(),
        }
    }
}

/// The workload.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Workload {
    /// Program and arguments; those after `--` on the command line take precedence.
    pub command: Vec<String>,
    /// How its health is checked. Absent: it is healthy while it runs.
    pub health: Option<Health>,
    /// Longest time from its start to its first healthy answer.
    pub start_timeout: Span,
    /// How it is restarted.
    pub restart: Restart,
    /// From SIGTERM to SIGKILL.
    pub grace: Span,
}

impl Default for Workload {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            health: None,
            start_timeout: seconds(600),
            restart: Restart::default(),
            grace: seconds(20),
        }
    }
}

/// A health check: exactly one of `http` and `tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Health {
    /// URL that answers 2xx or 3xx if it is healthy.
    #[serde(default)]
    pub http: Option<String>,
    /// Address that accepts connections if it is healthy.
    #[serde(default)]
    pub tcp: Option<String>,
    /// Time between two checks.
    #[serde(default = "Health::interval")]
    pub interval: Span,
    /// Time limit of one check.
    #[serde(default = "Health::timeout")]
    pub timeout: Span,
    /// Failures in a row until it is unhealthy.
    #[serde(default = "Health::failures")]
    pub failures: u32,
    /// How long it may be unhealthy before it is restarted.
    #[serde(default = "Health::patience")]
    pub restart_after: Span,
}

impl Health {
    fn interval() -> Span {
        seconds(2)
    }
    fn timeout() -> Span {
        seconds(1)
    }
    fn failures() -> u32 {
        3
    }
    fn patience() -> Span {
        seconds(60)
    }
}

/// Restarts: full jitter below a bound that doubles.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Restart {
    /// Bound of the first wait.
    pub first: Span,
    /// Bound of every wait.
    pub longest: Span,
    /// Ends in a row after which the node reports `failed` and stops trying.
    pub most: u32,
    /// A run this long resets the count.
    pub forget_after: Span,
}

impl Default for Restart {
    fn default() -> Self {
        Self {
            first: seconds(1),
            longest: seconds(60),
            most: 10,
            forget_after: seconds(600),
        }
    }
}

/// What a rebalance recommendation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Rebalance {
    /// Nothing.
    #[default]
    Ignore,
    /// New work goes elsewhere; current work continues.
    Cordon,
    /// The node is drained as for a spot notice.
    Drain,
}

/// How the node is drained.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// From the start of a drain to its deadline, if no notice names one.
    pub timeout: Span,
    /// How long before the deadline everything has ended.
    pub margin: Span,
    /// What a rebalance recommendation does.
    pub rebalance: Rebalance,
    /// A command that runs after requests have finished and before the workload is stopped.
    pub hook: Option<Hook>,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            timeout: seconds(120),
            margin: seconds(10),
            rebalance: Rebalance::default(),
            hook: None,
        }
    }
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Hook {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Its time limit.
    #[serde(default = "Hook::timeout")]
    pub timeout: Span,
}

impl Hook {
    fn timeout() -> Span {
        seconds(30)
    }
}

/// Peers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peers {
    /// The cluster key.
    pub key: KeySource,
    /// UDP port of every node of the cluster.
    #[serde(default = "Peers::port")]
    pub port: u16,
    /// Address to listen on. Absent: the node's private address.
    #[serde(default)]
    pub listen: Option<std::net::IpAddr>,
    /// Shortest mean time between two queries to EC2. It grows with the cluster: each of N nodes queries at most every
    /// N/5 s.
    #[serde(default = "Peers::interval")]
    pub interval: Span,
}

impl Peers {
    fn port() -> u16 {
        7946
    }
    fn interval() -> Span {
        seconds(30)
    }
}

/// Where the cluster key is: exactly one of these.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeySource {
    /// A file.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// An SSM parameter (SecureString).
    #[serde(default)]
    pub parameter: Option<String>,
}

/// The front.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Front {
    /// Its address. Peers pass requests to this port.
    pub listen: SocketAddr,
    /// The local workload.
    pub backend: SocketAddr,
    /// Limit of connections; more are closed at once.
    #[serde(default = "Front::connections")]
    pub max_connections: usize,
    /// Limit of concurrent requests to the local workload; more go to peers, or are answered 503.
    #[serde(default = "Front::in_flight")]
    pub max_in_flight: u32,
    /// Time limit for a request's head. A slower client is disconnected.
    #[serde(default = "Front::head")]
    pub head_timeout: Span,
    /// Longest silence of a client in the middle of a body.
    #[serde(default = "Front::idle")]
    pub body_timeout: Span,
    /// How long a connection stays open between two requests. A load balancer must close its idle connections sooner,
    /// or it sends requests into connections that are being closed; the default is longer than the 60 s of AWS's.
    #[serde(default = "Front::between")]
    pub idle_timeout: Span,
    /// Time limit of a connection attempt to the workload or a peer.
    #[serde(default = "Front::connect")]
    pub connect_timeout: Span,
    /// From a request to the head of its answer.
    #[serde(default = "Front::answer")]
    pub answer_timeout: Span,
    /// Bodies up to this many bytes are buffered, so that an idempotent request can be repeated.
    #[serde(default = "Front::kept")]
    pub kept_body: usize,
}

impl Front {
    fn connections() -> usize {
        4096
    }
    fn in_flight() -> u32 {
        1024
    }
    fn head() -> Span {
        seconds(10)
    }
    fn idle() -> Span {
        seconds(30)
    }
    fn between() -> Span {
        seconds(75)
    }
    fn connect() -> Span {
        Span(Duration::from_millis(500))
    }
    fn answer() -> Span {
        seconds(300)
    }
    fn kept() -> usize {
        64 << 10
    }
}

/// Where people and monitors ask.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Admin {
    /// Address for health, peers and metrics; `POST` is answered on loopback only. Absent in the file: 127.0.0.1:9808.
    pub listen: Option<SocketAddr>,
    /// Socket for the command line.
    pub socket: PathBuf,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: Some(SocketAddr::from(([127, 0, 0, 1], 9808))),
            socket: "/run/myelin-agent/agent.sock".into(),
        }
    }
}
