//! `verify`: checks of a running component, as written in the document. `apply` runs them.

use super::fields::{Fields, Places};
use super::token::{Exec, PodChoice, read_exec};
use crate::diagnostic::Diagnostics;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// The default time for which a check is repeated.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// One check, repeated until it succeeds or its time is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is asked.
    pub ask: Ask,
    /// How long it is repeated; the component's and the stack's timeouts hold as well.
    pub timeout: Duration,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ask {
    /// A GET to a Service, through the API server.
    Http(Http),
    /// A command in a pod, which must end with exit code 0.
    Exec {
        /// The command.
        exec: Exec,
        /// A text that its standard output must contain.
        output: Option<String>,
    },
}

/// A GET to a Service, and the answer that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// Namespace of the Service.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// Number or name of its port; empty when it has only one.
    pub port: String,
    /// Whether its pods speak TLS. The API server does not check their certificate.
    pub https: bool,
    /// Path and query, from the first slash on.
    pub path: String,
    /// The expected status codes; none given means 200 to 299.
    pub status: Vec<u16>,
    /// A text that the body must contain.
    pub body: Option<String>,
    /// Fields of a JSON body by dotted path, and what they must be, as text.
    pub json: BTreeMap<String, String>,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.ask {
            Ask::Http(http) => {
                let port = if http.port.is_empty() {
                    String::new()
                } else {
                    format!(":{}", http.port)
                };
                // A query may hold a key.
                let path = http.path.split('?').next().unwrap_or_default();
                write!(f, "GET {path} of Service {}/{}{port}", http.namespace, http.service)
            }
            Ask::Exec { exec, .. } => {
                let program = exec.command.first().map(String::as_str).unwrap_or_default();
                match &exec.pod {
                    PodChoice::Named(pod) => write!(f, "{program} in pod {}/{pod}", exec.namespace),
                    PodChoice::Selected(labels) => {
                        let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
                        write!(f, "{program} in a pod of {} with {}", exec.namespace, labels.join(","))
                    }
                }
            }
        }
    }
}

/// Reads the checks of a component.
pub(super) fn read_checks(
    component: &mut Fields<'_>,
    namespace: &str,
    places: Places<'_>,
    p: &mut Diagnostics,
) -> Vec<Check> {
    let items = component.list("verify", p);
    let read = |(value, path): (Value, Vec<String>), p: &mut Diagnostics| {
        let mut item = Fields::new(value, path, places, p);
        let http = item.take("http");
        let exec = item.take("exec");
        let timeout = item.duration("timeout", p).unwrap_or(DEFAULT_TIMEOUT);
        let ask = match (http, exec) {
            (Some(http), None) => Some(Ask::Http(read_http(item.sub("http", http, p), namespace, p))),
            (None, Some(exec)) => {
                let mut exec = item.sub("exec", exec, p);
                let output = exec.text("output", p).filter(|t| !t.is_empty());
                let exec = read_exec(exec, namespace, p);
                Some(Ask::Exec { exec, output })
            }
            _ => {
                let fix = "write http: {service: api, path: /health} or exec: {pod: db-0, command: [pg_isready]}";
                item.problem("http", "a check is either http or exec", fix, p);
                None
            }
        };
        item.end(p);
        ask.map(|ask| Check { ask, timeout })
    };
    items.into_iter().filter_map(|item| read(item, p)).collect()
}

fn read_http(mut http: Fields<'_>, namespace: &str, p: &mut Diagnostics) -> Http {
    let own = http.text("namespace", p);
    let service = http.required("service", "name the Service, for example service: api", p);
    let port = match http.take("port") {
        None => String::new(),
        Some(Value::Number(n)) => n.to_string(),
        Some(Value::String(text)) => text,
        Some(_) => {
            http.problem("port", "a port is a number or a name", "for example port: 8080", p);
            String::new()
        }
    };
    for (name, text) in [("service", &service), ("port", &port)] {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !text.bytes().all(inner) || text.len() > 63 {
            let fix = "use lower-case letters, digits and dashes";
            http.problem(name, format!("\"{text}\" cannot be a {name}"), fix, p);
        }
    }
    let https = http
        .word("scheme", &[("http", false), ("https", true)], p)
        .unwrap_or(false);
    let path = http.text("path", p).unwrap_or_else(|| "/".into());
    if !is_path(&path) {
        let fix = "write what follows the host, for example /health?full=1; percent-encode what is no ASCII, and no dot segments";
        http.problem("path", format!("\"{path}\" is not a path"), fix, p);
    }
    let mut status = Vec::new();
    for (value, _) in http.list("status", p) {
        match value.as_u64().and_then(|n| u16::try_from(n).ok()) {
            Some(code) if (100..600).contains(&code) => status.push(code),
            _ => http.problem(
                "status",
                "a status is a number from 100 to 599",
                "for example status: [200]",
                p,
            ),
        }
    }
    let body = http.text("body", p).filter(|t| !t.is_empty());
    let json = http.text_map("json", p).into_iter().collect();
    http.end(p);
    Http {
        namespace: own.unwrap_or_else(|| namespace.to_owned()),
        service,
        port,
        https,
        path,
        status,
        body,
        json,
    }
}

/// A path with a query that stays below the Service's own: `..` would lead to other parts of the API server.
fn is_path(text: &str) -> bool {
    let path = text
        .split('?')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase()
        .replace("%2e", ".");
    let climbs = path
        .replace("%2f", "/")
        .replace('\\', "/")
        .split('/')
        .any(|s| s == ".." || s == ".");
    text.starts_with('/') && text.len() <= 2048 && !climbs && text.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_cannot_leave_the_service() {
        for (path, yes) in [
            ("/", true),
            ("/health?full=1", true),
            ("/a..b/c.d", true),
            ("health", false),
            ("/../../secrets", false),
            ("/a/%2e%2E/b", false),
            ("/a/%2e%2e%2fb", false),
            ("/./x", false),
            ("/a b", false),
            ("/ä", false),
            ("/a#b", false),
            ("/a\r\nHost: b", false),
        ] {
            assert_eq!(is_path(path), yes, "{path}");
        }
    }
}
