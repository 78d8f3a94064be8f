//! Sends spans to the collector that OpenTelemetry's variables name, in a task of its own. A collector that does not
//! answer costs one line in the log; the spans that it does not take are dropped.

use super::{Span, wire};
use crate::notify::{Failed, is_safe, post};
use axum::http::{HeaderName, HeaderValue, Uri};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Spans in one request.
const BATCH: usize = 512;
/// How long the first span of a request waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// One request, from the name of the host to the end of the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a stop waits for the last spans.
const FAREWELL: Duration = Duration::from_secs(2);

/// A collector.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    url: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    resource: Vec<(String, String)>,
}

impl Target {
    /// From the variables of the OpenTelemetry specification; None when no collector is named. What is odd about them is answered
    /// beside it, for the log.
    pub(crate) fn from_environment(variable: &dyn Fn(&str) -> Option<String>) -> (Option<Self>, Vec<String>) {
        let said = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
        let mut odd = Vec::new();
        let is = |name: &str, word: &str| said(name).is_some_and(|text| text.trim().eq_ignore_ascii_case(word));
        if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
            return (None, odd);
        }
        let (name, text) = match said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
            Some(url) => ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url),
            None => match said("OTEL_EXPORTER_OTLP_ENDPOINT") {
                Some(url) => (
                    "OTEL_EXPORTER_OTLP_ENDPOINT",
                    format!("{}/v1/traces", url.trim().trim_end_matches('/')),
                ),
                None => return (None, odd),
            },
        };
        let url = text.trim().parse::<Uri>().ok().filter(|url| {
            let known = matches!(url.scheme_str(), Some("http" | "https"));
            known && url.host().is_some() && !url.authority().is_some_and(|a| a.as_str().contains('@'))
        });
        let Some(url) = url else {
            odd.push(format!(
                "{name} is no http or https URL without a user; nothing is traced"
            ));
            return (None, odd);
        };
        let protocol = said("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| said("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if protocol.is_some_and(|protocol| protocol.trim() != "http/json") {
            odd.push("traces are sent as http/json whatever OTEL_EXPORTER_OTLP_PROTOCOL says; a collector takes it where it takes http".into());
        }
        let mut headers = Vec::new();
        let text = said("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| said("OTEL_EXPORTER_OTLP_HEADERS"));
        for (name, value) in pairs(&text.unwrap_or_default()) {
            match (name.parse::<HeaderName>(), HeaderValue::from_str(&value)) {
                (Ok(name), Ok(mut value)) => {
                    value.set_sensitive(true);
                    headers.push((name, value));
                }
                _ => odd.push(format!(
                    "OTEL_EXPORTER_OTLP_HEADERS: {name} is no header and is left out"
                )),
            }
        }
        if !headers.is_empty() && !is_safe(&url) {
            odd.push("OTEL_EXPORTER_OTLP_HEADERS leave this machine over https only; they are left out".into());
            headers.clear();
        }
        let mut resource = pairs(&said("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
        if let Some(service) = said("OTEL_SERVICE_NAME") {
            resource.retain(|(name, _)| name != "service.name");
            resource.push(("service.name".into(), service));
        }
        for (name, value) in [
            ("service.name", Some("myelin".to_owned())),
            ("service.version", Some(env!("CARGO_PKG_VERSION").to_owned())),
            ("service.instance.id", said("HOSTNAME")),
        ] {
            if let Some(value) = value.filter(|_| resource.iter().all(|(known, _)| known != name)) {
                resource.push((name.into(), value));
            }
        }
        let target = Self { url, headers, resource };
        (Some(target), odd)
    }
}

/// `a=b,c=d`, values percent-encoded, as W3C baggage has it.
fn pairs(text: &str) -> Vec<(String, String)> {
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), decoded(value.trim())))
        .filter(|(name, _)| !name.is_empty())
        .collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex
            .and_then(|hex| u8::from_str_radix(hex, 16).ok())
            .filter(|_| *first == b'%')
        {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends what was gathered.
pub(crate) struct Exporter {
    target: Target,
    gathered: mpsc::Receiver<Span>,
    dropped: Arc<AtomicU64>,
}

impl Exporter {
    pub(super) fn new(target: Target, gathered: mpsc::Receiver<Span>, dropped: Arc<AtomicU64>) -> Self {
        Self {
            target,
            gathered,
            dropped,
        }
    }

    /// Until the token is cancelled; then what is left, for a moment.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut silent = false;
        while let Some(first) = stop.run_until_cancelled(self.gathered.recv()).await.flatten() {
            let mut batch = vec![first];
            let end = tokio::time::Instant::now() + GATHER;
            while batch.len() < BATCH {
                let more = self.gathered.recv_many(&mut batch, BATCH - 1);
                let full = tokio::time::timeout_at(end, stop.run_until_cancelled(more)).await;
                if !matches!(full, Ok(Some(1..))) {
                    break;
                }
            }
            self.send(&batch, &mut silent).await;
        }
        let farewell = async {
            let mut batch = Vec::new();
            while !self.gathered.is_empty() {
                self.gathered.recv_many(&mut batch, BATCH).await;
                self.send(&batch, &mut silent).await;
                batch.clear();
            }
        };
        let _ = tokio::time::timeout(FAREWELL, farewell).await;
    }

    async fn send(&self, batch: &[Span], silent: &mut bool) {
        let body = wire::body(&self.target.resource, batch).to_string();
        let sent = tokio::time::timeout(PATIENCE, post(&self.target.url, &self.target.headers, &body)).await;
        let why = match sent {
            Ok(Ok(())) => None,
            Ok(Err(Failed::Again(why) | Failed::Never(why))) => Some(why),
            Err(_) => Some(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        match why {
            Some(why) if !*silent => {
                *silent = true;
                tracing::warn!(
                    collector = self.target.url.host(),
                    why,
                    "traces are not taken and are dropped; this is said once"
                );
            }
            None if *silent => {
                *silent = false;
                tracing::info!(collector = self.target.url.host(), "traces are taken again");
            }
            None if dropped > 0 => tracing::warn!(dropped, "more spans than the collector takes; some were dropped"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(variables: &[(&str, &str)]) -> (Option<Target>, Vec<String>) {
        Target::from_environment(&|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_collector_is_named_as_the_specification_says() {
        let general = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let traces = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
        for (variables, url) in [
            (&[][..], None),
            (&[(general, "")], None),
            (&[(general, "http://c:4318")], Some("http://c:4318/v1/traces")),
            (
                &[(general, "http://c:4318/otlp/")],
                Some("http://c:4318/otlp/v1/traces"),
            ),
            (&[(general, "http://c"), (traces, "https://t/x")], Some("https://t/x")),
            (&[(general, "http://c"), ("OTEL_SDK_DISABLED", "true")], None),
            (&[(general, "http://c"), ("OTEL_TRACES_EXPORTER", "none")], None),
            (&[(general, "c:4318")], None),
            (&[(general, "http://user:word@c")], None),
        ] {
            let (found, _) = target(variables);
            assert_eq!(found.map(|t| t.url.to_string()).as_deref(), url, "{variables:?}");
        }
    }

    #[test]
    fn headers_leave_the_machine_over_https_only_and_a_service_has_its_name() {
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b,bad header=1");
        for (url, kept) in [("https://c", 1), ("http://127.0.0.1:1", 1), ("http://collector", 0)] {
            let (found, odd) = target(&[("OTEL_EXPORTER_OTLP_ENDPOINT", url), headers]);
            let found = found.unwrap();
            assert_eq!(found.headers.len(), kept, "{url}");
            assert!(found.headers.iter().all(|(_, value)| value == "a b"));
            assert_eq!(odd.len(), 2 - kept, "{odd:?}");
        }
        let (found, _) = target(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x,env=prod"),
            ("OTEL_SERVICE_NAME", "deployer"),
        ]);
        let resource = found.unwrap().resource;
        let of = |name: &str| {
            resource
                .iter()
                .filter(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!((of("service.name"), of("env")), (vec!["deployer"], vec!["prod"]));
        assert_eq!(of("service.version").len(), 1);
    }
}
