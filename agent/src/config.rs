//! The configuration file (`/etc/myelin/agent.yaml`) → settings. Strict: an unknown field is an error, and everything that is wrong
//! with the values is said at once. It holds no secrets: the cluster key is a file or an SSM parameter that it names.

mod shape;

use crate::bounded;
use serde::{Deserialize, Deserializer};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the file is when nobody says.
pub const DEFAULT_PATH: &str = "/etc/myelin/agent.yaml";

/// Largest file that is read, in bytes.
const LIMIT: u64 = 256 << 10;

/// A length of time: `500ms`, `5s`, `2m`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        span(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom(format!("{text:?} is no length of time: write 500ms, 5s, 2m or 1h"))
        })
    }
}

fn span(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        "h" => number.checked_mul(3_600_000)?,
        _ => return None,
    };
    // A year is longer than any of these can mean, and keeps sums of them from overflowing.
    (millis <= 31_536_000_000).then(|| Duration::from_millis(millis))
}

const fn seconds(n: u64) -> Span {
    Span(Duration::from_secs(n))
}

/// All settings.
#[derive(Debug, Clone, PartialEq, Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Config {
    /// Which tags say who the node is.
    pub identity: Identity,
    /// What it runs.
    pub workload: Workload,
    /// How it is emptied.
    pub drain: Drain,
    /// How it finds and keeps the others. Absent: it is alone.
    pub peers: Option<Peers>,
    /// The front that serves requests. Absent: there is none.
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
    /// Program and arguments; those after `--` on the command line win.
    pub command: Vec<String>,
    /// How its health is asked. Absent: it is healthy while it runs.
    pub health: Option<Health>,
    /// Longest time from its start to its first healthy answer.
    pub start_timeout: Span,
    /// How it is started again.
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
    /// URL that answers 2xx or 3xx when all is well.
    #[serde(default)]
    pub http: Option<String>,
    /// Address that accepts connections when all is well.
    #[serde(default)]
    pub tcp: Option<String>,
    /// Between two questions.
    #[serde(default = "Health::interval")]
    pub interval: Span,
    /// End of one question.
    #[serde(default = "Health::timeout")]
    pub timeout: Span,
    /// Failures in a row that make it sick.
    #[serde(default = "Health::failures")]
    pub failures: u32,
    /// How long it may be sick before it is started again.
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

/// Starting again: full jitter below a bound that doubles.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Restart {
    /// Bound of the first wait.
    pub first: Span,
    /// Bound of every wait.
    pub longest: Span,
    /// Ends in a row after which the node says `failed` and does not try any more.
    pub most: u32,
    /// A run this long starts the count anew.
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
    /// New work goes elsewhere, what runs goes on.
    Cordon,
    /// The node is emptied as for a spot notice.
    Drain,
}

/// How the node is emptied.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// From the first word of a drain to its deadline, where no notice says one.
    pub timeout: Span,
    /// How long before the deadline everything has ended.
    pub margin: Span,
    /// What a rebalance recommendation does.
    pub rebalance: Rebalance,
    /// A command that runs when requests have finished and before the workload is stopped.
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
    /// Its end.
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
    /// Shortest mean time between two questions to EC2. It grows with the cluster: N nodes ask no oftener than every N/5 s.
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

/// Where the cluster key is: exactly one.
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
    /// Where it listens. Peers pass requests to this port.
    pub listen: SocketAddr,
    /// The local workload.
    pub backend: SocketAddr,
    /// Connections at most; more are closed at once.
    #[serde(default = "Front::connections")]
    pub max_connections: usize,
    /// Requests to the local workload at once; more go to peers, or are answered 503.
    #[serde(default = "Front::in_flight")]
    pub max_in_flight: u32,
    /// End of a request's head. A slower client is disconnected.
    #[serde(default = "Front::head")]
    pub head_timeout: Span,
    /// Longest silence of a client in the middle of a body.
    #[serde(default = "Front::idle")]
    pub body_timeout: Span,
    /// End of connecting to the workload or a peer.
    #[serde(default = "Front::connect")]
    pub connect_timeout: Span,
    /// From a request to the head of its answer.
    #[serde(default = "Front::answer")]
    pub answer_timeout: Span,
    /// Bodies up to this many bytes are kept so that an idempotent request can be repeated.
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

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read the configuration {path}: {why}")]
    Read {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// It says something that cannot be.
    #[error("{path}: {problems}")]
    Wrong {
        /// The file.
        path: String,
        /// Everything that is wrong.
        problems: String,
    },
}

/// Reads the file; without one that was named, absence of the default file means the defaults.
///
/// # Errors
/// When it cannot be read, or says something that cannot be.
pub fn read(named: Option<&Path>) -> Result<Config, ConfigError> {
    let path = named.unwrap_or(Path::new(DEFAULT_PATH));
    let fail = |why: String| ConfigError::Read {
        path: path.display().to_string(),
        why,
    };
    let text = match bounded::read(path, LIMIT) {
        Err(e) if named.is_none() && e.kind() == std::io::ErrorKind::NotFound => return Ok(Config::default()),
        text => text.map_err(|e| fail(e.to_string()))?,
    };
    parse(&text).map_err(|problems| ConfigError::Wrong {
        path: path.display().to_string(),
        problems,
    })
}

/// Reads and checks a text.
///
/// # Errors
/// Everything that is wrong with it, in one text.
pub fn parse(text: &str) -> Result<Config, String> {
    let config: Config = if text.trim().is_empty() {
        Config::default()
    } else {
        serde_saphyr::from_str(text).map_err(|first| all(text, first.to_string()))?
    };
    let problems = config.problems();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(problems.join("; "))
    }
}

/// Everything that is wrong with a text that cannot be read; what the reader said of the first shows its line.
fn all(text: &str, first: String) -> String {
    let Ok(root @ serde_json::Value::Object(_)) = serde_saphyr::from_str(text) else {
        return first;
    };
    let (mut problems, rest) = shape::problems(&root);
    problems.extend(rest.iter().flat_map(Config::problems));
    match problems.len() {
        0 | 1 => first,
        n => format!("{n} things are wrong: {}\nThe first: {first}", problems.join("; ")),
    }
}

impl Config {
    fn problems(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut wrong = |is: bool, what: &str| {
            if is {
                out.push(what.to_owned());
            }
        };
        wrong(
            self.identity.cluster_tag.is_empty() || self.identity.role_tag.is_empty(),
            "identity.clusterTag and identity.roleTag must name tags",
        );
        wrong(
            self.identity.cluster_tag == self.identity.role_tag,
            "identity.clusterTag and identity.roleTag must differ: one tag alone lets clusters mix",
        );
        if let Some(health) = &self.workload.health {
            wrong(
                health.http.is_some() == health.tcp.is_some(),
                "workload.health needs exactly one of http and tcp",
            );
            let plain = health.http.as_deref().is_none_or(|u| u.starts_with("http://"));
            wrong(
                !plain,
                "workload.health.http must begin with http://: the workload is on this machine",
            );
            wrong(health.failures == 0, "workload.health.failures must be at least 1");
            wrong(
                health.interval.0 < Duration::from_millis(50),
                "workload.health.interval must be at least 50ms",
            );
        }
        wrong(
            self.workload.restart.most == 0,
            "workload.restart.most must be at least 1",
        );
        wrong(
            self.drain.timeout.0 <= self.drain.margin.0,
            "drain.timeout must be longer than drain.margin",
        );
        wrong(
            self.drain.hook.as_ref().is_some_and(|h| h.command.is_empty()),
            "drain.hook.command must name a program",
        );
        if let Some(peers) = &self.peers {
            wrong(
                peers.key.file.is_some() == peers.key.parameter.is_some(),
                "peers.key needs exactly one of file and parameter",
            );
            wrong(peers.port == 0, "peers.port must not be 0: peers have to know it");
            wrong(
                peers.interval.0 < Duration::from_secs(1),
                "peers.interval must be at least 1s: EC2 answers 20 such questions a second for a whole account",
            );
        }
        if let Some(front) = &self.front {
            wrong(
                front.listen.port() == 0 || front.backend.port() == 0,
                "front.listen and front.backend need ports",
            );
            wrong(
                front.listen == front.backend,
                "front.backend must not be the front itself",
            );
            wrong(front.max_connections == 0, "front.maxConnections must be at least 1");
            wrong(front.max_in_flight == 0, "front.maxInFlight must be at least 1");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_file_is_read() {
        let config = parse(
            "identity: {clusterTag: SynktiCluster, roleTag: SynktiRole}\n\
             workload:\n  command: [vllm, serve]\n  health: {http: 'http://127.0.0.1:8000/health', interval: 500ms}\n  grace: 15s\n\
             drain: {timeout: 2m, rebalance: cordon, hook: {command: [/bin/save], timeout: 20s}}\n\
             peers: {key: {parameter: /myelin/prod/agent-key}}\n\
             front: {listen: '0.0.0.0:8080', backend: '127.0.0.1:8000'}\n",
        )
        .expect("it is right");
        assert_eq!(
            config.workload.health.expect("given").interval,
            Span(Duration::from_millis(500))
        );
        assert_eq!(config.peers.expect("given").port, 7946);
        assert_eq!(config.drain.rebalance, Rebalance::Cordon);
        assert_eq!(config.admin, Admin::default());
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_and_unknown_fields_are() {
        let wrong = parse(
            "identity: {clusterTag: a, roleTag: a}\n\
             workload: {health: {interval: 1s}}\n\
             drain: {timeout: 5s}\n\
             peers: {key: {}, port: 0}\n",
        )
        .expect_err("it is wrong");
        for part in [
            "must differ",
            "exactly one of http",
            "longer than drain.margin",
            "exactly one of file",
            "must not be 0",
        ] {
            assert!(wrong.contains(part), "{part} is not in {wrong}");
        }
        assert!(
            parse("drain: {timeuot: 5s}\n")
                .expect_err("unknown")
                .contains("timeuot")
        );
    }

    #[test]
    fn values_of_a_wrong_kind_unknown_fields_and_absent_ones_are_said_together_with_the_rest() {
        let wrong = parse(
            "workload: {command: nope, grace: 1y, health: {http: 'ftp://x', failures: many}}\n\
             drain: {timeout: 5s, rebalance: maybe, hook: {timeout: 1s}}\n\
             peers: {port: 7946}\n\
             front: {listen: nowhere, maxConnections: -1}\n\
             admin: {sokcet: /x}\n\
             surprise: true\n",
        )
        .expect_err("it is wrong");
        for part in [
            "13 things",
            "workload.command: ",
            "\"1y\" is no length of time",
            "workload.health.failures: ",
            "must begin with http://",
            "longer than drain.margin",
            "drain.rebalance: ",
            "drain.hook.command is absent",
            "peers.key is absent",
            "front.listen: ",
            "front.maxConnections: ",
            "front.backend is absent",
            "sokcet",
            "surprise",
            "line 1 column",
        ] {
            assert!(wrong.contains(part), "{part} is not in {wrong}");
        }
        let one = parse("workload: {grace: 1y}\n").expect_err("wrong");
        assert!(one.contains("no length of time") && one.contains("line 1"), "{one}");
        for text in ["[", "7", "- a", "a: [", "workload: 7", "peers:\n", "front: []"] {
            let _ = parse(text);
        }
    }

    #[test]
    fn lengths_of_time_have_units_and_bounds() {
        for (text, millis) in [
            ("500ms", Some(500)),
            ("5s", Some(5_000)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
        ] {
            assert_eq!(span(text).map(|d| d.as_millis()), millis, "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "5 s",
            "1.5s",
            "99999999999999999999s",
            "9000000h",
            "5d",
        ] {
            assert_eq!(span(text), None, "{text}");
        }
    }
}
