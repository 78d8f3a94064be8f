//! Which values and combinations of settings are valid. `shape` checks shapes and types.

use super::{Config, Span};
use crate::wire::Url;
use std::time::Duration;

impl Config {
    /// All invalid values; each message begins with the name of a field.
    pub(super) fn problems(&self) -> Vec<String> {
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
            let url = health.http.as_deref();
            wrong(
                url.is_some_and(|u| !u.starts_with("http://")),
                "workload.health.http must begin with http://: the workload is on this machine",
            );
            wrong(
                url.is_some_and(|u| u.starts_with("http://") && Url::parse(u).is_none()),
                "workload.health.http must be an address such as http://127.0.0.1:8000/health",
            );
            let port = |at: &str| {
                at.rsplit_once(':')
                    .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
            };
            wrong(
                health.tcp.as_deref().is_some_and(|at| !port(at)),
                "workload.health.tcp must be a host and a port, such as 127.0.0.1:8000",
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
        let nothing = |command: &[String]| command.first().is_none_or(String::is_empty);
        wrong(
            !self.workload.command.is_empty() && nothing(&self.workload.command),
            "workload.command must name a program",
        );
        wrong(
            self.drain.hook.as_ref().is_some_and(|h| nothing(&h.command)),
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
            let everywhere = front.listen.ip().is_unspecified();
            wrong(
                front.listen.port() == front.backend.port() && (everywhere || front.listen.ip() == front.backend.ip()),
                "front.backend must not be the front itself: give the workload another port than front.listen",
            );
            wrong(front.max_connections == 0, "front.maxConnections must be at least 1");
            wrong(front.max_in_flight == 0, "front.maxInFlight must be at least 1");
        }
        for (field, time) in self.waits() {
            wrong(time.0.is_zero(), &format!("{field} must be longer than 0s"));
        }
        out
    }

    /// Time limits that nothing could meet if they were zero.
    fn waits(&self) -> Vec<(&'static str, Span)> {
        let mut all = vec![("workload.startTimeout", self.workload.start_timeout)];
        all.extend(
            self.workload
                .health
                .iter()
                .map(|h| ("workload.health.timeout", h.timeout)),
        );
        all.extend(self.drain.hook.iter().map(|h| ("drain.hook.timeout", h.timeout)));
        if let Some(front) = &self.front {
            all.extend([
                ("front.headTimeout", front.head_timeout),
                ("front.bodyTimeout", front.body_timeout),
                ("front.idleTimeout", front.idle_timeout),
                ("front.connectTimeout", front.connect_timeout),
                ("front.answerTimeout", front.answer_timeout),
            ]);
        }
        all
    }

    /// One line for the user: what a node with these settings does.
    #[must_use]
    pub fn summary(&self) -> String {
        let workload = match self.workload.command.first() {
            Some(program) => format!("it runs {program}"),
            None => "it runs the command after `--`".into(),
        };
        let health = match &self.workload.health {
            Some(health) => {
                let place = health.http.as_deref().or(health.tcp.as_deref()).unwrap_or_default();
                format!("asks {place} for its health")
            }
            None => "takes it for healthy while it runs".into(),
        };
        let peers = if self.peers.is_some() {
            "has peers"
        } else {
            "has no peers"
        };
        let front = match &self.front {
            Some(front) => format!("passes requests from {} to {}", front.listen, front.backend),
            None => "passes no requests".into(),
        };
        format!("the configuration is valid: {workload}, {health}, {peers}, {front}")
    }
}
