//! What containers printed, as `kubectl logs` asks for it.

use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::runtime::Container;
use super::shell::{Log, lock};
use super::status::State;
use crate::kubernetes::controllers::object;
use crate::kubernetes::controllers::world::World;
use crate::kubernetes::registry::Failure;

/// Which lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Of which container; the only one if empty.
    pub container: String,
    /// Of the run before.
    pub previous: bool,
    /// Only the last so many.
    pub tail: Option<usize>,
    /// Each with its time.
    pub timestamps: bool,
    /// Only those of the last so many seconds.
    pub since_seconds: Option<i64>,
    /// At most so many bytes.
    pub limit_bytes: Option<usize>,
}

/// The container that a request means.
pub(crate) fn container_name(pod: &Value, asked: &str) -> Result<String, Failure> {
    let all = || {
        object::list(pod, "/spec/initContainers")
            .iter()
            .chain(object::list(pod, "/spec/containers"))
            .filter_map(|c| c["name"].as_str())
    };
    if !asked.is_empty() {
        if all().any(|name| name == asked) {
            return Ok(asked.to_owned());
        }
        return Err(Failure::bad_request(format!(
            "container {asked} is not valid for pod {}",
            object::name(pod)
        )));
    }
    if let Some(name) = object::annotation(pod, "kubectl.kubernetes.io/default-container") {
        return Ok(name.to_owned());
    }
    let mains: Vec<&str> = object::list(pod, "/spec/containers")
        .iter()
        .filter_map(|c| c["name"].as_str())
        .collect();
    match mains.as_slice() {
        // Init containers do not count, as in the real server's choice.
        [only] => Ok((*only).to_owned()),
        _ => {
            let inits: Vec<&str> = object::list(pod, "/spec/initContainers")
                .iter()
                .filter_map(|c| c["name"].as_str())
                .collect();
            let mut message = format!(
                "a container name must be specified for pod {}, choose one of: [{}]",
                object::name(pod),
                mains.join(" ")
            );
            if !inits.is_empty() {
                message.push_str(&format!(" or one of the init containers: [{}]", inits.join(" ")));
            }
            Err(Failure::bad_request(message))
        }
    }
}

/// Where a container's output is kept.
pub(crate) fn source(world: &World, pod: &Value, query: &LogQuery) -> Result<Arc<Mutex<Log>>, Failure> {
    let name = container_name(pod, &query.container)?;
    let run = world.kubelet.run(object::uid(pod));
    let container: Option<&Container> = run.and_then(|run| run.containers.iter().find(|c| c.name == name));
    if query.previous {
        let missing = || {
            Failure::bad_request(format!(
                "previous terminated container \"{name}\" in pod \"{}\" not found",
                object::name(pod)
            ))
        };
        let container = container.ok_or_else(missing)?;
        // Until it is started again its last run is the previous one.
        let ended = matches!(container.state, State::Exited(_)) && container.previous_log.is_none();
        let log = if ended {
            container.log.as_ref()
        } else {
            container.previous_log.as_ref()
        };
        return log.cloned().ok_or_else(missing);
    }
    if let Some(log) = container.and_then(|container| container.log.as_ref()) {
        return Ok(log.clone());
    }
    let status = ["/status/containerStatuses", "/status/initContainerStatuses"]
        .into_iter()
        .flat_map(|list| object::list(pod, list))
        .find(|s| s["name"] == name.as_str());
    let waiting = status
        .map(|status| &status["state"]["waiting"])
        .filter(|waiting| waiting.is_object());
    let why = match waiting.map(|waiting| waiting["reason"].as_str().unwrap_or_default()) {
        Some("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName") => {
            format!(
                "container \"{name}\" in pod \"{}\" is waiting to start: trying and failing to pull image",
                object::name(pod)
            )
        }
        Some(reason) => format!(
            "container \"{name}\" in pod \"{}\" is waiting to start: {reason}",
            object::name(pod)
        ),
        None => format!("container \"{name}\" in pod \"{}\" is not available", object::name(pod)),
    };
    Err(Failure::bad_request(why))
}

/// The lines of a log after the first `skip` bytes that a query selects, and how many lines there are now.
pub(crate) fn select(log: &Mutex<Log>, query: &LogQuery, now: i64, skip: usize) -> (Vec<u8>, usize) {
    let log = lock(log);
    let since = query.since_seconds.map(|seconds| now - seconds * 1000);
    let lines: Vec<_> = log
        .after(skip)
        .filter(|line| since.is_none_or(|since| line.at >= since))
        .collect();
    let from = if skip > 0 {
        0
    } else {
        query.tail.map_or(0, |tail| lines.len().saturating_sub(tail))
    };
    let mut out = Vec::new();
    for line in &lines[from..] {
        if query.timestamps
            && let Some(stamp) = object::micro_time(line.at).as_str()
        {
            out.extend_from_slice(stamp.trim_end_matches('Z').as_bytes());
            out.extend_from_slice(b"000Z ");
        }
        out.extend_from_slice(&line.text);
    }
    if let Some(limit) = query.limit_bytes {
        out.truncate(limit);
    }
    (out, log.count())
}
