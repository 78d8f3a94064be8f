//! The configuration file (`/etc/myelin/agent.yaml`) → settings. Strict: an unknown field is an error, and all errors
//! are reported at once. The file holds no secrets: it names the file or SSM parameter of the cluster key.

mod lines;
mod rules;
mod settings;
mod shape;
mod span;

pub use settings::{
    Admin, Config, Drain, Front, Health, Hook, Identity, KeySource, Peers, Rebalance, Restart, Workload,
};
pub use span::Span;

use crate::bounded;
use lines::Lines;
use std::fmt;
use std::path::Path;

/// The default path of the file.
pub const DEFAULT_PATH: &str = "/etc/myelin/agent.yaml";

/// Largest file that is read, in bytes.
const LIMIT: u64 = 256 << 10;

/// One error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line of its field, if known.
    pub line: Option<u64>,
    /// The message, with the name of the field.
    pub what: String,
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
    /// It has invalid content.
    #[error("{}", Listed(.path, .problems))]
    Wrong {
        /// The file.
        path: String,
        /// Everything that is wrong.
        problems: Vec<Problem>,
    },
}

/// Problems of a file, each on a line of its own.
struct Listed<'p>(&'p str, &'p [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(path, problems) = self;
        for (at, Problem { line, what }) in problems.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            match line {
                Some(line) => write!(f, "{end}{path}:{line}: {what}")?,
                None => write!(f, "{end}{path}: {what}")?,
            }
        }
        Ok(())
    }
}

/// Reads the file. If none was named and the default file is absent, returns the defaults.
///
/// # Errors
/// When it cannot be read, or has invalid content.
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
/// Everything that is wrong with it, from its first line to its last.
pub fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    let (problems, config) = if text.trim().is_empty() {
        (Vec::new(), Config::default())
    } else {
        match serde_saphyr::from_str::<Config>(text) {
            Ok(config) => (config.problems(), config),
            Err(first) => return Err(all(text, &first.to_string())),
        }
    };
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(placed(text, problems))
    }
}

/// All errors of a text with the wrong shape; the parser's message about the first, if nothing more is known.
fn all(text: &str, first: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Ok(root @ serde_json::Value::Object(_)) = serde_saphyr::from_str(text) {
        let rest;
        (problems, rest) = shape::problems(&root);
        problems.extend(rest.iter().flat_map(Config::problems));
    }
    if problems.is_empty() {
        let what = first.to_owned();
        return vec![Problem { line: None, what }];
    }
    placed(text, problems)
}

/// Finds the line of each problem by the field that its message begins with.
fn placed(text: &str, problems: Vec<String>) -> Vec<Problem> {
    let lines = Lines::of(text);
    let place = |what: String| {
        let field = what.split([' ', ':']).next().unwrap_or_default();
        Problem {
            line: lines.line(field),
            what,
        }
    };
    let mut placed: Vec<Problem> = problems.into_iter().map(place).collect();
    placed.sort_by_key(|p| p.line);
    placed
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// The messages for a wrong text.
    fn wrong(text: &str) -> String {
        let problems = parse(text).expect_err("it is wrong");
        let path = "agent.yaml".to_owned();
        ConfigError::Wrong { path, problems }.to_string()
    }

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
    fn everything_that_is_wrong_is_said_at_once_with_its_line_and_unknown_fields_are() {
        let said = wrong(
            "identity: {clusterTag: a, roleTag: a}\n\
             workload: {health: {interval: 1s, timeout: 0s}, command: ['']}\n\
             drain: {timeout: 5s}\n\
             peers: {key: {}, port: 0}\n\
             front: {listen: '0.0.0.0:80', backend: '127.0.0.1:80'}\n",
        );
        let lines: Vec<&str> = said.lines().collect();
        for (at, (line, part)) in [
            (1, "identity.clusterTag and identity.roleTag must differ"),
            (2, "workload.health needs exactly one of http"),
            (2, "workload.command must name a program"),
            (2, "workload.health.timeout must be longer than 0s"),
            (3, "drain.timeout must be longer than drain.margin"),
            (4, "peers.key needs exactly one of file"),
            (4, "peers.port must not be 0"),
            (5, "front.backend must not be the front itself"),
        ]
        .into_iter()
        .enumerate()
        {
            let expected = format!("agent.yaml:{line}: {part}");
            assert!(
                lines.get(at).is_some_and(|l| l.starts_with(&expected)),
                "{expected} is not line {at} of {said}"
            );
        }
        assert_eq!(lines.len(), 8, "{said}");
        let said = wrong("# a comment\ndrain:\n  timeuot: 5s\n");
        assert!(
            said.starts_with("agent.yaml:3: drain.timeuot: ") && said.contains("unknown field"),
            "{said}"
        );
    }

    #[test]
    fn values_of_a_wrong_kind_unknown_fields_and_absent_ones_are_said_together_with_the_rest() {
        let said = wrong(
            "workload: {command: nope, grace: 1y, health: {http: 'ftp://x', failures: many}}\n\
             drain: {timeout: 5s, rebalance: maybe, hook: {timeout: 1s}}\n\
             peers: {port: 7946}\n\
             front: {listen: nowhere, maxConnections: -1}\n\
             admin: {sokcet: /x}\n\
             surprise: true\n",
        );
        assert_eq!(said.lines().count(), 13, "{said}");
        for part in [
            "1: workload.command: ",
            "1: workload.grace: \"1y\" is not a duration",
            "1: workload.health.failures: ",
            "1: workload.health.http must begin with http://",
            "2: drain.timeout must be longer than drain.margin",
            "2: drain.rebalance: ",
            "2: drain.hook.command is absent",
            "3: peers.key is absent",
            "4: front.listen: ",
            "4: front.maxConnections: ",
            "4: front.backend is absent",
            "5: admin.sokcet: ",
            "6: surprise: ",
        ] {
            assert!(said.contains(&format!("agent.yaml:{part}")), "{part} is not in {said}");
        }
        // Text that is not YAML gets the parser's message, with its place.
        assert!(wrong("drain: [").contains("line 1"), "{}", wrong("drain: ["));
        for text in [
            "[",
            "7",
            "- a",
            "a: [",
            "workload: 7",
            "peers:\n",
            "front: []",
            "drain: {timeout: 1s}\ndrain: {}\n",
        ] {
            let _ = parse(text);
        }
    }
}
