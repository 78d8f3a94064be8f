//! Rows that take more than reading fields: pods, nodes, events.

use jiff::Timestamp;
use serde_json::Value;

use super::age;

/// A node's row.
pub(super) fn node(object: &Value, age: Value) -> Vec<Value> {
    let status = &object["status"];
    let ready = status["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|c| c["type"] == "Ready");
    let mut state = match ready.map(|c| c["status"].as_str().unwrap_or("")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object["spec"]["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let roles: Vec<&str> = object["metadata"]["labels"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(key, _)| key.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let roles = if roles.is_empty() {
        "<none>".to_owned()
    } else {
        roles.join(",")
    };
    let address = |kind: &str| {
        let found = status["addresses"]
            .as_array()
            .into_iter()
            .flatten()
            .find(|a| a["type"] == kind);
        found.and_then(|a| a["address"].as_str()).unwrap_or("<none>").to_owned()
    };
    let info = |field: &str| Value::from(status["nodeInfo"][field].as_str().unwrap_or("<unknown>"));
    vec![
        object["metadata"]["name"].clone(),
        state.into(),
        roles.into(),
        age,
        info("kubeletVersion"),
        address("InternalIP").into(),
        address("ExternalIP").into(),
        info("osImage"),
        info("kernelVersion"),
        info("containerRuntimeVersion"),
    ]
}

/// An event's row.
pub(super) fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let about = &object["involvedObject"];
    let kind = about["kind"].as_str().unwrap_or("").to_ascii_lowercase();
    let first = &object["firstTimestamp"];
    let first = if first.is_string() { first } else { &object["eventTime"] };
    let last = &object["lastTimestamp"];
    let last = if last.is_string() { last } else { first };
    let source = object["source"]["component"]
        .as_str()
        .or_else(|| object["reportingComponent"].as_str())
        .unwrap_or("");
    let source = match object["source"]["host"].as_str() {
        Some(host) => format!("{source}, {host}"),
        None => source.to_owned(),
    };
    vec![
        age(last, now).into(),
        object["type"].clone(),
        object["reason"].clone(),
        format!("{kind}/{}", about["name"].as_str().unwrap_or("")).into(),
        about["fieldPath"].as_str().unwrap_or("").into(),
        source.into(),
        object["message"].as_str().unwrap_or("").trim().into(),
        age(first, now).into(),
        object["count"].as_i64().unwrap_or(1).to_string().into(),
        object["metadata"]["name"].clone(),
    ]
}

/// A pod's row; the status column is the most telling of phase, reasons and container states.
pub(super) fn pod(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut reason = status["reason"]
        .as_str()
        .or_else(|| status["phase"].as_str())
        .unwrap_or("Unknown")
        .to_owned();
    let gated = items(&status["conditions"])
        .iter()
        .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
    if gated {
        reason = "SchedulingGated".to_owned();
    }
    let inits = items(&spec["initContainers"]);
    let sidecar = |name: &Value| {
        inits
            .iter()
            .any(|c| c["name"] == *name && c["restartPolicy"] == "Always")
    };
    let sidecars = inits.iter().filter(|c| c["restartPolicy"] == "Always").count();
    let (mut restarts, mut ready) = (0, 0);
    let total = items(&spec["containers"]).len() + sidecars;
    let mut last_restart: Option<Value> = None;
    let mut initializing = false;
    let note = |container: &Value, last: &mut Option<Value>| {
        let finished = &container["lastState"]["terminated"]["finishedAt"];
        if finished.is_string() && last.as_ref().is_none_or(|l| l.as_str() < finished.as_str()) {
            *last = Some(finished.clone());
        }
    };
    for (index, container) in items(&status["initContainerStatuses"]).iter().enumerate() {
        note(container, &mut last_restart);
        let is_sidecar = sidecar(&container["name"]);
        let state = &container["state"];
        if is_sidecar || !initializing {
            restarts += container["restartCount"].as_i64().unwrap_or(0);
        }
        if initializing {
            continue;
        }
        if is_sidecar && container["ready"] == true {
            ready += 1;
        }
        if state["terminated"]["exitCode"] == 0 || (is_sidecar && container["started"] == true) {
            continue;
        }
        initializing = true;
        reason = if state["terminated"].is_object() {
            match state["terminated"]["reason"].as_str() {
                Some(why) if !why.is_empty() => format!("Init:{why}"),
                _ => format!(
                    "Init:ExitCode:{}",
                    state["terminated"]["exitCode"].as_i64().unwrap_or(0)
                ),
            }
        } else {
            match state["waiting"]["reason"].as_str() {
                Some(why) if !why.is_empty() && why != "PodInitializing" => format!("Init:{why}"),
                _ => format!("Init:{index}/{}", inits.len()),
            }
        };
    }
    if !initializing {
        let mut running = false;
        let mut main_restarts = 0;
        for container in items(&status["containerStatuses"]).iter().rev() {
            note(container, &mut last_restart);
            main_restarts += container["restartCount"].as_i64().unwrap_or(0);
            let state = &container["state"];
            if let Some(why) = state["waiting"]["reason"].as_str().filter(|w| !w.is_empty()) {
                reason = why.to_owned();
            } else if state["terminated"].is_object() {
                reason = match state["terminated"]["reason"].as_str() {
                    Some(why) if !why.is_empty() => why.to_owned(),
                    _ => format!("ExitCode:{}", state["terminated"]["exitCode"].as_i64().unwrap_or(0)),
                };
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                ready += 1;
            }
        }
        restarts += main_restarts;
        if reason == "Completed" && running {
            let is_ready = items(&status["conditions"])
                .iter()
                .any(|c| c["type"] == "Ready" && c["status"] == "True");
            reason = if is_ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
    if object["metadata"]["deletionTimestamp"].is_string() {
        let over = matches!(status["phase"].as_str(), Some("Succeeded" | "Failed"));
        if status["reason"] == "NodeLost" {
            reason = "Unknown".to_owned();
        } else if !over {
            reason = "Terminating".to_owned();
        }
    }
    let restarts = match last_restart.filter(|_| restarts > 0) {
        Some(time) => format!("{restarts} ({} ago)", age(&time, now)),
        None => restarts.to_string(),
    };
    let or_none = |value: &Value| Value::from(value.as_str().filter(|t| !t.is_empty()).unwrap_or("<none>"));
    let gates = items(&spec["readinessGates"]);
    let gates = if gates.is_empty() {
        "<none>".to_owned()
    } else {
        let conditions = items(&status["conditions"]);
        let met = gates.iter().filter(|g| {
            conditions
                .iter()
                .any(|c| c["type"] == g["conditionType"] && c["status"] == "True")
        });
        format!("{}/{}", met.count(), gates.len())
    };
    vec![
        object["metadata"]["name"].clone(),
        format!("{ready}/{total}").into(),
        reason.into(),
        restarts.into(),
        age(&object["metadata"]["creationTimestamp"], now).into(),
        or_none(&status["podIP"]),
        or_none(&spec["nodeName"]),
        or_none(&status["nominatedNodeName"]),
        gates.into(),
    ]
}
