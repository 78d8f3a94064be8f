//! Which parts of a change are compared: the same reduction for the recording and for the sandbox.
//!
//! Kept: the kind of change; generation, finalizers, owners, whether it is being deleted and with which grace period;
//! replicas; the whole status except times, addresses, container and image ids; annotations and labels; a pod's node.
//! Left out: `resources` of pods (noise of the recorded machine, README 32), `managedFields`, specs that users wrote.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::play::Played;
use myelin_sandbox::kubernetes::store::ChangeKind;

/// States by object, each once in a row.
pub(crate) type Sequences = BTreeMap<String, Vec<String>>;

/// Fields whose values differ from run to run.
fn masked(key: &str) -> bool {
    key.ends_with("Time")
        || key.ends_with("Timestamp")
        || matches!(
            key,
            "startedAt"
                | "finishedAt"
                | "containerID"
                | "imageID"
                | "hostIP"
                | "hostIPs"
                | "podIP"
                | "podIPs"
                | "resourceVersion"
                | "timeAdded"
        )
}

fn clean(value: &Value, names: &Names) -> Value {
    match value {
        Value::Object(map) => {
            let mut out = Map::new();
            for (key, value) in map {
                if key == "resources" || key == "allocatedResources" {
                    continue;
                }
                let value = if value.is_null() {
                    continue;
                } else if masked(key) {
                    json!("<set>")
                } else {
                    clean(value, names)
                };
                out.insert(names.swap(key), value);
            }
            Value::Object(out)
        }
        Value::Array(list) => list.iter().map(|item| clean(item, names)).collect(),
        Value::String(text) => Value::String(names.swap(text)),
        other => other.clone(),
    }
}

/// Generated names and their placeholders.
#[derive(Default)]
pub(crate) struct Names {
    pairs: Vec<(String, String)>,
    patterns: Vec<(Regex, &'static str)>,
}

impl Names {
    fn new() -> Self {
        let patterns = [
            (r"<uid\d+>", "<uid>"),
            (r"<ip\d+>", "<ip>"),
            (r"<container\d+>", "<container>"),
            (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<uid>"),
            (r"\b[0-9a-f]{64}\b", "<container>"),
            (r"\b\d{1,3}(\.\d{1,3}){3}\b", "<ip>"),
            (r"<t[+-]\d+s>", "<time>"),
            (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
            (r"kube-api-access-([a-z0-9]{5}\b|<random>)", "kube-api-access-<random>"),
            (r#"(pods "[^" ]+-)[bcdfghjklmnpqrstvwxz2456789]{5}""#, "$1<random>\""),
            // A race of the runtime has two wordings.
            (
                r"failed to exec in container: .* not found: not found",
                "failed to exec in container: not found",
            ),
        ];
        Self {
            pairs: Vec::new(),
            patterns: patterns
                .map(|(pattern, to)| (Regex::new(pattern).unwrap(), to))
                .to_vec(),
        }
    }

    fn add(&mut self, raw: &str, placeholder: String) {
        if !raw.is_empty() && !self.pairs.iter().any(|(known, _)| known == raw) {
            self.pairs.push((raw.to_owned(), placeholder));
            self.pairs.sort_by_key(|(raw, _)| std::cmp::Reverse(raw.len()));
        }
    }

    fn has(&self, raw: &str) -> bool {
        self.pairs.iter().any(|(known, _)| known == raw)
    }

    fn count(&self, prefix: &str) -> usize {
        self.pairs
            .iter()
            .filter(|(_, placeholder)| placeholder.starts_with(prefix))
            .count()
            + 1
    }

    /// Generated names become their placeholders, as the recorder makes them.
    pub(crate) fn swap(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (raw, placeholder) in &self.pairs {
            if text.contains(raw.as_str()) {
                text = replace_word(&text, raw, placeholder);
            }
        }
        for (pattern, to) in &self.patterns {
            text = pattern.replace_all(&text, *to).into_owned();
        }
        text
    }

    /// Remember the generated parts of an object's name.
    fn learn(&mut self, object: &Value) {
        let meta = &object["metadata"];
        let name = meta["name"].as_str().unwrap_or_default();
        let owner = &meta["ownerReferences"][0];
        if let Some(hash) = meta["labels"]["pod-template-hash"].as_str()
            && !self.has(hash)
        {
            let n = self.count("<rs");
            self.add(hash, format!("<rs{n}>"));
        }
        for revision in [
            &meta["labels"]["controller-revision-hash"],
            &object["status"]["currentRevision"],
            &object["status"]["updateRevision"],
        ] {
            if let Some(hash) = revision.as_str().and_then(|revision| revision.rsplit('-').next())
                && !self.has(hash)
                && !hash.is_empty()
            {
                let n = self.count("<rev");
                self.add(hash, format!("<rev{n}>"));
            }
        }
        if object["kind"] == "Job"
            && owner["kind"] == "CronJob"
            && let Some(run) = name.strip_prefix(owner["name"].as_str().unwrap_or_default())
            && !self.has(&run[1..])
        {
            let n = self.count("<run");
            self.add(&run[1..], format!("<run{n}>"));
        }
        if let Some(prefix) = meta["generateName"].as_str()
            && name.starts_with(prefix)
            && owner["kind"] != "StatefulSet"
            && object["kind"] != "Event"
            && !self.has(name)
        {
            let stem = self.swap(&prefix[..prefix.len() - 1]);
            let word = object["kind"].as_str().unwrap_or_default().to_lowercase();
            let n = self.count(&format!("{stem}-<{word}"));
            self.add(name, format!("{stem}-<{word}{n}>"));
        }
    }
}

fn replace_word(text: &str, raw: &str, placeholder: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(raw) {
        let before = rest[..at].chars().next_back().or_else(|| out.chars().next_back());
        let after = rest[at + raw.len()..].chars().next();
        let free = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
        out.push_str(&rest[..at]);
        out.push_str(if free(before) && free(after) { placeholder } else { raw });
        rest = &rest[at + raw.len()..];
    }
    out + rest
}

fn push(all: &mut Sequences, key: String, state: String) {
    let sequence = all.entry(key).or_default();
    if sequence.last() != Some(&state) {
        sequence.push(state);
    }
}

fn state(change: &str, metadata: &Value, replicas: &Value, status: &Value, extra: &Value) -> String {
    let mut about = json!({});
    for field in [
        "generation",
        "deletionGracePeriodSeconds",
        "finalizers",
        "ownerReferences",
    ] {
        if !metadata[field].is_null() {
            about[field] = metadata[field].clone();
        }
    }
    if !metadata["deletionTimestamp"].is_null() {
        about["deleting"] = true.into();
    }
    let change = if change == "DELETED" { "DELETED " } else { "" };
    let replicas = if replicas.is_null() {
        String::new()
    } else {
        format!(" replicas={replicas}")
    };
    format!("{change}{about}{replicas} {extra} {status}")
}

/// What the recorder watched.
const WATCHED: &[&str] = &[
    "Pod",
    "PersistentVolumeClaim",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "PodDisruptionBudget",
    "EndpointSlice",
];

/// Which of two equal volumes a claim gets is luck: a volume goes by the name of its claim.
fn by_claim(states: Sequences) -> Sequences {
    let claim = Regex::new(r#""kind":"PersistentVolumeClaim","name":"([^"]+)""#).unwrap();
    let volume = Regex::new(r"\{\{ns\}\}-[01]\b").unwrap();
    let rename = |(key, states): (String, Vec<String>)| {
        let bound = states
            .iter()
            .find_map(|state| claim.captures(state).map(|found| found[1].to_owned()));
        let key = match bound {
            Some(claim) if key.starts_with("PersistentVolume/") => format!("PersistentVolume/of {claim}"),
            _ => key,
        };
        (
            key,
            states
                .iter()
                .map(|state| volume.replace_all(state, "<volume>").into_owned())
                .collect(),
        )
    };
    states.into_iter().map(rename).collect()
}

/// Whether the recorder watched a kind from before the apply.
pub(crate) fn is_watched(key: &str) -> bool {
    WATCHED.iter().any(|kind| key.split('/').next() == Some(kind))
}

/// The sequences of a recording.
pub(crate) fn recorded(recording: &Value) -> (Sequences, Sequences) {
    let names = Names::new();
    let mut states = Sequences::new();
    let mut kept: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for event in recording["events"].as_array().unwrap() {
        let uid = event["uid"].as_str().unwrap().to_owned();
        let known = kept.entry(uid).or_default();
        for field in ["labels", "annotations", "spec"] {
            if let Some(value) = event.get(field) {
                known.insert(field.to_owned(), value.clone());
            }
        }
        let get = |field: &str| known.get(field).cloned().unwrap_or_default();
        let extra = extra(
            event["kind"].as_str().unwrap(),
            &get("labels"),
            &get("annotations"),
            &get("spec"),
            &names,
        );
        let key = names.swap(&format!(
            "{}/{}",
            event["kind"].as_str().unwrap(),
            event["name"].as_str().unwrap()
        ));
        let status = clean(&event["status"], &names);
        push(
            &mut states,
            key,
            names.swap(&state(
                event["type"].as_str().unwrap(),
                &clean(&event["metadata"], &names),
                &event["replicas"],
                &status,
                &extra,
            )),
        );
    }
    let mut events = Sequences::new();
    for event in recording["kubernetesEvents"].as_array().unwrap() {
        let about = names.swap(event["involvedObject"].as_str().unwrap());
        add_event(
            &mut events,
            about,
            event,
            event["source"].as_str().unwrap_or_default(),
            event["fieldPath"].as_str().unwrap_or_default(),
            &names,
        );
    }
    (by_claim(states), events)
}

fn extra(kind: &str, labels: &Value, annotations: &Value, spec: &Value, names: &Names) -> Value {
    let mut extra = json!({});
    if labels.as_object().is_some_and(|map| !map.is_empty()) && kind != "Namespace" {
        extra["labels"] = clean(labels, names);
    }
    if annotations.as_object().is_some_and(|map| !map.is_empty()) {
        extra["annotations"] = clean(annotations, names);
    }
    if kind == "Pod" {
        for field in ["nodeName", "hostname", "subdomain"] {
            if !spec[field].is_null() {
                extra[field] = clean(&spec[field], names);
            }
        }
    }
    if kind.starts_with("PersistentVolume") {
        extra["volumeName"] = clean(&spec["volumeName"], names);
        extra["claimRef"] = clean(&spec["claimRef"], names);
    }
    extra
}

fn add_event(events: &mut Sequences, about: String, event: &Value, source: &str, part: &str, names: &Names) {
    // A probe that meets a container which has just ended is luck (README 6).
    if event["message"]
        .as_str()
        .is_some_and(|message| message.contains("probe errored"))
    {
        return;
    }
    let line = format!(
        "{} {} {source} {part}: {}",
        event["type"].as_str().unwrap_or_default(),
        event["reason"].as_str().unwrap_or_default(),
        // Which of several equal pods comes first is luck.
        Regex::new(r"(Deleted|Created) pod: (\S+)-<pod\d+>").unwrap().replace(
            &names.swap(event["message"].as_str().unwrap_or_default()),
            "$1 pod: $2-<pod>"
        )
    );
    let lines = events.entry(about).or_default();
    if !lines.contains(&line) {
        lines.push(line);
    }
}

/// The sequences of what the sandbox did, of the kinds that the recorder watched and the objects that the case applied.
pub(crate) fn played(played: &Played, recording: &Value) -> (Sequences, Sequences) {
    let mut names = Names::new();
    names.add(&played.namespace, "{{ns}}".to_owned());
    for seen in &played.seen {
        names.learn(seen.object.value());
    }
    let applied: Vec<String> = recording["applied"]
        .as_array()
        .unwrap()
        .iter()
        .map(|a| a["object"].as_str().unwrap().to_owned())
        .collect();
    let also: Vec<String> = recording["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| format!("{}/{}", e["kind"].as_str().unwrap(), e["name"].as_str().unwrap()))
        .collect();
    let (mut states, mut events) = (Sequences::new(), Sequences::new());
    for seen in &played.seen {
        let object = seen.object.value();
        let kind = object["kind"].as_str().unwrap();
        let meta = &object["metadata"];
        let foreign = meta["namespace"]
            .as_str()
            .is_some_and(|namespace| namespace != played.namespace);
        if foreign || kind == "Node" {
            continue;
        }
        if kind == "Event" {
            if seen.change != ChangeKind::Deleted {
                let about = names.swap(&format!(
                    "{}/{}",
                    object["involvedObject"]["kind"].as_str().unwrap(),
                    object["involvedObject"]["name"].as_str().unwrap()
                ));
                let source = object["reportingComponent"]
                    .as_str()
                    .filter(|s| !s.is_empty())
                    .or(object["source"]["component"].as_str())
                    .unwrap_or_default();
                add_event(
                    &mut events,
                    about,
                    object,
                    source,
                    object["involvedObject"]["fieldPath"].as_str().unwrap_or_default(),
                    &names,
                );
            }
            continue;
        }
        let named = names.swap(&format!("{kind}/{}", meta["name"].as_str().unwrap()));
        let raw = format!(
            "{kind}/{}",
            meta["name"].as_str().unwrap().replace(&played.namespace, "{{ns}}")
        );
        if !WATCHED.contains(&kind) && !also.contains(&raw) && !also.contains(&named) {
            assert!(
                !applied.contains(&named)
                    || ["ConfigMap", "Secret", "ServiceAccount", "StorageClass", "ResourceQuota"].contains(&kind),
                "{named} is not in the recording"
            );
            continue;
        }
        let mut about = meta.clone();
        if let Some(owners) = meta["ownerReferences"].as_array() {
            about["ownerReferences"] = owners
                .iter()
                .map(|o| {
                    Value::String(format!(
                        "{}/{}",
                        o["kind"].as_str().unwrap(),
                        o["name"].as_str().unwrap()
                    ))
                })
                .collect();
        }
        let extra = extra(kind, &meta["labels"], &meta["annotations"], &object["spec"], &names);
        let change = if seen.change == ChangeKind::Deleted {
            "DELETED"
        } else {
            ""
        };
        let status = clean(&object["status"], &names);
        let replicas = &object["spec"]["replicas"];
        push(
            &mut states,
            named,
            names.swap(&state(change, &clean(&about, &names), replicas, &status, &extra)),
        );
    }
    (by_claim(states), events)
}
