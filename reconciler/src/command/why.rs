//! `myelin why OBJECT`: why an object is as it is: the commit, the file and line, the stack and component, the last
//! plan, the last writer, the other owners of fields, and its state. Answered from the cluster alone; nothing is
//! decided or changed.

mod fields;

use super::exit;
use crate::access::ClusterArguments;
use crate::control::{self, NAMESPACE};
use crate::deployment::records;
use crate::field_index;
use crate::health;
use crate::origins::Origins;
use crate::output::{Colour, Output, ago, short};
use crate::tree::printable;
use anyhow::{Context as _, bail};
use clap::Args;
use myelin_engine::cluster::{Cluster, Target, kinds};
use myelin_engine::diagnostic::Diagnostics;
use myelin_engine::object::{ObjectKey, split_api_version};
use myelin_engine::observe::kinds_of;
use myelin_engine::record::{Entry, Owner, Record};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Owners are followed upwards so far: a pod, its replica set, its deployment.
const HIGHEST: usize = 5;
/// Fields that are named of one manager.
const FIELDS: usize = 8;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The object: KIND/NAME, KIND/NAMESPACE/NAME or GROUP/KIND/NAMESPACE/NAME. Kinds may be short, as kubectl takes them.
    object: String,
    /// Every field that git sets, each with its file and line and its owner on the server.
    #[arg(long)]
    fields: bool,
    /// The same of one field and what is below it: `spec.template.spec.containers[name=web].image`, or a JSON pointer.
    #[arg(long, value_name = "PATH", conflicts_with = "fields")]
    field: Option<String>,
    /// Namespace of the reconciler's own objects.
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,
    /// How to print it.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    cluster: ClusterArguments,
}

/// The answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    object: ObjectKey,
    /// The requested object, if it belongs to this one: a pod of a Deployment.
    asked: Option<String>,
    state: String,
    reason: String,
    stack: String,
    component: Option<String>,
    owner: String,
    commit: Option<String>,
    subject: Option<String>,
    author: Option<String>,
    taken: Option<i64>,
    /// `file:line` in the repository at that commit.
    origin: Option<String>,
    plan: String,
    last_writer: Option<Writer>,
    /// The other owners of fields.
    others: Vec<Writer>,
    /// Fields of the manifest that are left to others.
    left: Vec<String>,
    /// How often a foreign change was reverted within the hour.
    reverted: usize,
    /// Where fields are set, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<fields::Field>>,
}

/// An owner of fields of an object.
#[derive(Debug, Clone, Serialize)]
struct Writer {
    manager: String,
    operation: String,
    subresource: String,
    time: String,
    fields: Vec<String>,
    /// All that it owns, as managedFields has it.
    #[serde(skip)]
    set: Value,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<u8> {
    let cluster = arguments.cluster.connect().await?;
    let wanted = Wanted::parse(&arguments.object)?;
    let records = records(&*cluster).await.map_err(Diagnostics::from)?;
    let mut asked = None;
    let found = match find(&records, &wanted)? {
        Some(found) => Some(found),
        None => {
            let above = above(&*cluster, &wanted, &records).await?;
            asked = above.is_some().then(|| wanted.to_string());
            above
        }
    };
    let Some((record, entry)) = found else {
        bail!(
            "{wanted} is in no stack's record: Myelin does not own it{}",
            alike(&records, &wanted)
        );
    };
    let answer = answer(&*cluster, arguments, record, entry, asked).await?;
    let now = jiff::Timestamp::now();
    arguments.output.print(&answer, |answer| text(answer, now))?;
    Ok(exit::OK)
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    group: Option<String>,
    kind: String,
    namespace: Option<String>,
    name: String,
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// Short and plural names, as kubectl knows them.
const SHORT: [(&str, &str); 18] = [
    ("cm", "configmap"),
    ("crd", "customresourcedefinition"),
    ("cj", "cronjob"),
    ("deploy", "deployment"),
    ("ds", "daemonset"),
    ("hpa", "horizontalpodautoscaler"),
    ("ing", "ingress"),
    ("netpol", "networkpolicy"),
    ("ns", "namespace"),
    ("pdb", "poddisruptionbudget"),
    ("po", "pod"),
    ("pv", "persistentvolume"),
    ("pvc", "persistentvolumeclaim"),
    ("rs", "replicaset"),
    ("sa", "serviceaccount"),
    ("sc", "storageclass"),
    ("sts", "statefulset"),
    ("svc", "service"),
];

impl Wanted {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (group, kind, namespace, name) = match parts[..] {
            [kind, name] => (None, kind, None, name),
            [kind, namespace, name] => (None, kind, Some(namespace), name),
            [group, kind, namespace, name] => (Some(group), kind, Some(namespace), name),
            _ => bail!("{text} names no object: write KIND/NAME or KIND/NAMESPACE/NAME, for example deploy/shop/web"),
        };
        if kind.is_empty() || name.is_empty() {
            bail!("{text} names no object: write KIND/NAME or KIND/NAMESPACE/NAME, for example deploy/shop/web");
        }
        let lower = kind.to_ascii_lowercase();
        let long = SHORT.iter().find(|(short, _)| *short == lower).map(|(_, long)| *long);
        Ok(Self {
            group: group.map(|group| if group == "core" { "" } else { group }.to_owned()),
            kind: long.unwrap_or(&lower).to_owned(),
            namespace: namespace.filter(|namespace| !namespace.is_empty()).map(str::to_owned),
            name: name.to_owned(),
        })
    }

    fn is_kind(&self, kind: &str) -> bool {
        let kind = kind.to_ascii_lowercase();
        let plurals = [
            format!("{kind}s"),
            format!("{kind}es"),
            kind.trim_end_matches('y').to_owned() + "ies",
        ];
        self.kind == kind || plurals.contains(&self.kind)
    }

    fn is(&self, key: &ObjectKey) -> bool {
        self.name == key.name
            && self.is_kind(&key.kind)
            && self.group.as_ref().is_none_or(|group| *group == key.group)
            && self
                .namespace
                .as_ref()
                .is_none_or(|namespace| *namespace == key.namespace)
    }
}

type Found<'a> = (&'a Record, &'a Entry);

fn all(records: &[Record]) -> impl Iterator<Item = Found<'_>> {
    records
        .iter()
        .flat_map(|record| record.entries.values().map(move |entry| (record, entry)))
}

fn find<'a>(records: &'a [Record], wanted: &Wanted) -> anyhow::Result<Option<Found<'a>>> {
    let mut found: Vec<Found<'a>> = all(records).filter(|(_, entry)| wanted.is(&entry.key)).collect();
    // A namespace that several stacks use is made by one of them and known to all.
    found.dedup_by(|a, b| a.1.key == b.1.key && a.0.stack == b.0.stack);
    match found[..] {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        _ => {
            let names: Vec<String> = found
                .iter()
                .map(|(record, entry)| format!("{} ({})", entry.key, record.stack.title()))
                .collect();
            bail!("{wanted} names several objects; name one of\n  {}", names.join("\n  "))
        }
    }
}

/// The stack's object to which the requested one belongs, by owner references: for a pod its Deployment.
async fn above<'a>(cluster: &dyn Cluster, wanted: &Wanted, records: &'a [Record]) -> anyhow::Result<Option<Found<'a>>> {
    let Some(namespace) = wanted.namespace.clone() else {
        return Ok(None);
    };
    let known = [
        ("v1", "Pod"),
        ("apps/v1", "ReplicaSet"),
        ("batch/v1", "Job"),
        ("v1", "PersistentVolumeClaim"),
        ("discovery.k8s.io/v1", "EndpointSlice"),
    ];
    let Some((version, kind)) = known.iter().find(|(_, kind)| wanted.is_kind(kind)) else {
        return Ok(None);
    };
    let mut target = Target {
        resource: kinds::known(version, kind),
        namespace,
        name: wanted.name.clone(),
    };
    for _ in 0..HIGHEST {
        let Some(live) = cluster.get(&target).await.context("cannot read the object")? else {
            return Ok(None);
        };
        let owners = live.pointer("/metadata/ownerReferences").and_then(Value::as_array);
        let Some(owner) = owners.and_then(|owners| owners.first()) else {
            return Ok(None);
        };
        let text = |name: &str| owner.get(name).and_then(Value::as_str).unwrap_or_default();
        let (group, _) = split_api_version(text("apiVersion"));
        let key = ObjectKey::new(group, text("kind"), &*target.namespace, text("name"));
        if let Some(found) = all(records).find(|(_, entry)| entry.key == key) {
            return Ok(Some(found));
        }
        let Some(resource) = kinds::built_in(text("apiVersion"), text("kind")) else {
            return Ok(None);
        };
        target = Target {
            resource,
            name: key.name,
            ..target
        };
    }
    Ok(None)
}

fn alike(records: &[Record], wanted: &Wanted) -> String {
    let names: Vec<String> = all(records)
        .filter(|(_, entry)| entry.key.name == wanted.name || wanted.is_kind(&entry.key.kind))
        .take(5)
        .map(|(_, entry)| entry.key.human())
        .collect();
    if names.is_empty() {
        String::new()
    } else {
        format!("; it owns {}", names.join(", "))
    }
}

async fn answer(
    cluster: &dyn Cluster,
    arguments: &Arguments,
    record: &Record,
    entry: &Entry,
    asked: Option<String>,
) -> anyhow::Result<Answer> {
    let mut alone = record.clone();
    alone.entries = BTreeMap::from([(entry.key.clone(), entry.clone())]);
    let health = health::look(cluster, std::slice::from_ref(&alone))
        .await
        .context("cannot look at the object")?;
    let health = health.get(&entry.key);
    let live = live(cluster, &alone, entry).await?;
    let mut writers = live.as_ref().map(writers).unwrap_or_default();
    writers.sort_by(|a, b| b.time.cmp(&a.time));
    let asks_fields = arguments.fields || arguments.field.is_some();
    if asks_fields && !matches!(record.owner, Owner::Git(_)) {
        bail!(
            "fields are known of stacks that git drives; of {} ask `terraform plan`",
            record.stack.title()
        );
    }
    let mut answer = Answer {
        object: entry.key.clone(),
        asked,
        state: health.map_or("unknown", |health| health.state).to_owned(),
        reason: health.map(|health| health.reason.clone()).unwrap_or_default(),
        stack: record.stack.to_string(),
        component: entry.component.clone(),
        owner: record.owner.to_string(),
        commit: None,
        subject: None,
        author: None,
        taken: None,
        origin: None,
        plan: record.plan.clone(),
        last_writer: writers.iter().find(|writer| writer.subresource.is_empty()).cloned(),
        others: writers
            .iter()
            .filter(|writer| writer.manager != "myelin")
            .cloned()
            .collect(),
        left: entry.left.clone(),
        reverted: entry.reverted.len(),
        fields: None,
    };
    if let Owner::Git(source) = &record.owner {
        let sources = control::all(cluster, &arguments.namespace)
            .await
            .context("cannot read the sources")?;
        let origins = Origins::read(cluster, &arguments.namespace, source)
            .await
            .context("cannot read the index of origins")?;
        answer.origin = origins.places.get(&entry.key).cloned();
        if arguments.fields || arguments.field.is_some() {
            let places = origins
                .fields
                .as_ref()
                .and_then(|packed| field_index::find(packed, &entry.key));
            let places = places.context(
                "the source keeps no index of fields: it has not taken a commit since it can, or the commit has too many; `myelin plan` names the file of each change",
            )?;
            let found = fields::fields(&places, live.as_ref(), &writers, arguments.field.as_deref());
            if let (Some(field), true) = (&arguments.field, found.is_empty()) {
                let owners = live
                    .as_ref()
                    .map(|live| fields::owners(live, &writers, field))
                    .unwrap_or_default();
                let owned = if owners.is_empty() {
                    "nobody is known to own it".to_owned()
                } else {
                    format!("{} owns it", owners.join(", "))
                };
                bail!(
                    "git does not set {field} of {}; {owned} (--fields lists what git sets)",
                    entry.key.human()
                );
            }
            answer.fields = Some(found);
        }
        if let Some((_, status)) = sources.get(source) {
            answer.commit.clone_from(&status.commit);
            let taken = status
                .history
                .iter()
                .find(|taken| Some(&taken.commit) == status.commit.as_ref());
            if let Some(taken) = taken {
                answer.subject = Some(taken.subject.clone());
                answer.author = Some(taken.author.clone());
                answer.taken = Some(taken.at);
            }
        }
    }
    Ok(answer)
}

async fn live(cluster: &dyn Cluster, record: &Record, entry: &Entry) -> anyhow::Result<Option<Value>> {
    let kinds = kinds_of(cluster, [record])
        .await
        .context("cannot find the object's kind")?;
    let Some(resource) = kinds.into_iter().next() else {
        return Ok(None);
    };
    let target = Target {
        resource,
        namespace: entry.key.namespace.clone(),
        name: entry.key.name.clone(),
    };
    cluster.get(&target).await.context("cannot read the object")
}

fn writers(live: &Value) -> Vec<Writer> {
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    let writer = |entry: &Value| {
        let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut fields = Vec::new();
        if let Some(set) = entry.get("fieldsV1") {
            paths(set, &mut String::new(), &mut fields);
        }
        Writer {
            manager: text("manager"),
            operation: text("operation"),
            subresource: text("subresource"),
            time: text("time"),
            fields,
            set: entry.get("fieldsV1").cloned().unwrap_or_default(),
        }
    };
    entries.into_iter().flatten().map(writer).collect()
}

/// The leaves of a field set as readable paths; a few of them.
fn paths(set: &Value, at: &mut String, found: &mut Vec<String>) {
    let Some(map) = set.as_object().filter(|map| map.keys().any(|name| name != ".")) else {
        if found.len() < FIELDS && !at.is_empty() {
            found.push(at.clone());
        }
        return;
    };
    for (name, below) in map {
        let length = at.len();
        match name.split_once(':') {
            Some(("f", field)) => {
                if !at.is_empty() {
                    at.push('.');
                }
                at.push_str(field);
            }
            Some((_, item)) => at.push_str(&format!("[{}]", item.replace(['{', '}', '"'], "").replace(':', "="))),
            None => continue,
        }
        paths(below, at, found);
        at.truncate(length);
    }
}

fn text(answer: &Answer, now: jiff::Timestamp) -> String {
    let colour = Colour::of_stdout();
    let mut lines = vec![answer.object.human()];
    let mut line = |name: &str, value: String| lines.push(format!("  {name:<12} {value}"));
    if let Some(asked) = &answer.asked {
        line("asked for", format!("{asked}, which belongs to it"));
    }
    let mut state = colour.state(&answer.state);
    if !answer.reason.is_empty() {
        state.push_str(&format!(": {}", printable(&answer.reason)));
    }
    line("state", state);
    let component = answer
        .component
        .as_ref()
        .map_or(", base".to_owned(), |name| format!(", component {name}"));
    line("stack", format!("{}{component}", answer.stack));
    line("driven by", answer.owner.clone());
    if let Some(commit) = &answer.commit {
        let subject = answer
            .subject
            .as_ref()
            .map(|text| format!(" \"{}\"", printable(text)))
            .unwrap_or_default();
        let author = answer
            .author
            .as_ref()
            .map(|text| format!(" by {}", printable(text)))
            .unwrap_or_default();
        let when = answer
            .taken
            .map(|at| format!(", taken {} ago", ago(now.as_second() - at)))
            .unwrap_or_default();
        line("commit", format!("{}{subject}{author}{when}", short(commit)));
    }
    if let Some(origin) = &answer.origin {
        line("written in", origin.clone());
    }
    if !answer.plan.is_empty() {
        line("last plan", answer.plan.clone());
    }
    if let Some(writer) = &answer.last_writer {
        line("last writer", said(writer, now));
    }
    for writer in &answer.others {
        let more = if writer.fields.len() < FIELDS { "" } else { ", …" };
        let said = format!("{} {}{more}", said(writer, now), writer.fields.join(", "));
        line("also writes", said.trim_end().to_owned());
    }
    for (i, field) in answer.fields.iter().flatten().enumerate() {
        let name = if i == 0 { "fields" } else { "" };
        let set = if field.origin == field_index::OURS {
            ""
        } else {
            "set in "
        };
        let mut said = format!("{} {set}{}", printable(&field.field), printable(&field.origin));
        if !field.writers.is_empty() {
            said.push_str(&format!(", owned by {}", printable(&field.writers.join(", "))));
        }
        line(name, said);
    }
    if !answer.left.is_empty() {
        line("left alone", answer.left.join(", "));
    }
    if answer.reverted > 0 {
        line(
            "reverted",
            format!("{} foreign changes within the hour", answer.reverted),
        );
    }
    lines.join("\n") + "\n"
}

fn said(writer: &Writer, now: jiff::Timestamp) -> String {
    let when = writer.time.parse::<jiff::Timestamp>().map_or(String::new(), |at| {
        format!(" {} ago", ago(now.as_second() - at.as_second()))
    });
    let part = if writer.subresource.is_empty() {
        String::new()
    } else {
        format!(" of {}", writer.subresource)
    };
    format!("{} ({}{part}){when}", printable(&writer.manager), writer.operation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_are_named_as_kubectl_takes_them() {
        let key = ObjectKey::new("apps", "Deployment", "shop", "web");
        for text in [
            "deploy/web",
            "Deployment/web",
            "deployments/shop/web",
            "apps/Deployment/shop/web",
        ] {
            assert!(Wanted::parse(text).expect(text).is(&key), "{text}");
        }
        for text in ["deploy/other/web", "sts/web", "core/Deployment/shop/web", "deploy/we"] {
            assert!(!Wanted::parse(text).expect(text).is(&key), "{text}");
        }
        let policy = ObjectKey::new("networking.k8s.io", "NetworkPolicy", "a", "b");
        assert!(Wanted::parse("networkpolicies/b").expect("a name").is(&policy));
        for text in ["web", "deploy/", "/web", "a/b/c/d/e"] {
            assert!(Wanted::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_fields_of_a_manager_are_shown_as_paths() {
        let set = json!({"f:spec": {"f:template": {"f:containers": {"k:{\"name\":\"web\"}": {".": {}, "f:image": {}}}}, "f:replicas": {}}});
        let mut found = Vec::new();
        paths(&set, &mut String::new(), &mut found);
        assert_eq!(found, ["spec.replicas", "spec.template.containers[name=web].image"]);
    }
}
