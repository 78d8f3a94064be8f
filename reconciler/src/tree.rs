//! Sources, their stacks, components and objects as one tree with reasons: the output of `status`.
//!
//! It is built from what sources report, what records name and the state of the objects; it sends no request itself.

use crate::control::{Control, PoolWord, Status};
use crate::health::Health;
use crate::output::{Colour, Tone, ago, short};
use crate::pools::pool_of;
use clap::ValueEnum;
use myelin_engine::object::ObjectKey;
use myelin_engine::record::{Owner, Record};
use serde::Serialize;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};

/// The state of what was not looked at.
const UNKNOWN: &str = "unknown";

/// How deep the tree is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum)]
pub(crate) enum Depth {
    /// Sources alone.
    Source,
    /// Down to stacks.
    Stack,
    /// Down to components.
    Component,
    /// Everything.
    #[default]
    Object,
}

/// Everything.
#[derive(Debug, Serialize)]
pub(crate) struct Forest {
    /// Sources that have said something.
    pub(crate) sources: Vec<SourceNode>,
    /// Stacks that no such source owns: Terraform's, and those of sources that run elsewhere.
    pub(crate) others: Vec<StackNode>,
}

/// A source.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceNode {
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) message: String,
    pub(crate) commit: Option<String>,
    pub(crate) subject: String,
    /// When the commit was taken, in seconds since 1970.
    pub(crate) taken: Option<i64>,
    pub(crate) head: Option<String>,
    pub(crate) held: Option<String>,
    pub(crate) suspended: bool,
    pub(crate) unconfirmed: Option<String>,
    pub(crate) stacks: Vec<StackNode>,
    /// Its pools of nodes, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) pools: BTreeMap<String, PoolWord>,
}

/// A stack.
#[derive(Debug, Serialize)]
pub(crate) struct StackNode {
    pub(crate) name: String,
    pub(crate) owner: String,
    pub(crate) state: String,
    /// Hash of the last plan that was started.
    pub(crate) plan: String,
    pub(crate) components: Vec<ComponentNode>,
    /// Names of its tokens. Never a value.
    pub(crate) tokens: Vec<String>,
}

impl StackNode {
    /// All objects.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectNode> {
        self.components.iter().flat_map(|component| &component.objects)
    }
}

/// A component; the base has no name.
#[derive(Debug, Serialize)]
pub(crate) struct ComponentNode {
    pub(crate) name: String,
    pub(crate) state: String,
    /// Components that come before it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) after: BTreeSet<String>,
    pub(crate) objects: Vec<ObjectNode>,
}

/// An object.
#[derive(Debug, Serialize)]
pub(crate) struct ObjectNode {
    pub(crate) object: ObjectKey,
    pub(crate) state: String,
    pub(crate) reason: String,
}

impl Forest {
    /// Puts together what is known.
    pub(crate) fn grow<R: Borrow<Record>>(
        sources: &BTreeMap<String, (Control, Status)>,
        records: &[R],
        health: &BTreeMap<ObjectKey, Health>,
    ) -> Self {
        let owned_by = |name: &str| {
            let owner = Owner::Git(name.to_owned());
            let all = records.iter().map(Borrow::borrow);
            all.filter(move |record: &&Record| record.owner == owner)
        };
        let sources_of = |name: &String, (control, status): &(Control, Status)| {
            let mut stacks: Vec<StackNode> = owned_by(name).map(|record| stack(record, health)).collect();
            for stack in &mut stacks {
                if let Some(word) = status.stacks.get(&stack.name)
                    // If objects were not read, the source's own report is all there is.
                    && ["ready", UNKNOWN].contains(&stack.state.as_str())
                {
                    stack.state.clone_from(word);
                }
            }
            // Named by the commit, and nothing of it is in the cluster yet.
            for (id, word) in &status.stacks {
                if !stacks.iter().any(|stack| stack.name == *id) && pool_of(id).is_none() {
                    stacks.push(StackNode {
                        name: id.clone(),
                        owner: format!("git:{name}"),
                        state: word.clone(),
                        plan: String::new(),
                        components: Vec::new(),
                        tokens: Vec::new(),
                    });
                }
            }
            let taken = status
                .history
                .iter()
                .find(|taken| Some(&taken.commit) == status.commit.as_ref());
            SourceNode {
                name: name.clone(),
                state: status.state.clone(),
                message: status.message.clone(),
                commit: status.commit.clone(),
                subject: taken.map(|taken| taken.subject.clone()).unwrap_or_default(),
                taken: taken.map(|taken| taken.at),
                head: status.head.clone(),
                held: control.hold.clone(),
                suspended: control.suspended,
                unconfirmed: status.unconfirmed.clone(),
                stacks,
                pools: pools(status),
            }
        };
        let known = |record: &&Record| !matches!(&record.owner, Owner::Git(name) if sources.contains_key(name));
        Self {
            sources: sources.iter().map(|(name, said)| sources_of(name, said)).collect(),
            others: records
                .iter()
                .map(Borrow::borrow)
                .filter(known)
                .map(|record| stack(record, health))
                .collect(),
        }
    }

    /// Whether everything is as it should be.
    pub(crate) fn is_good(&self) -> bool {
        let good = |source: &SourceNode| ["ready", "suspended"].contains(&source.state.as_str());
        self.sources.iter().all(good)
    }

    /// The tree for people.
    pub(crate) fn text(&self, depth: Depth, colour: Colour, now: i64) -> String {
        let mut lines = Lines {
            text: String::new(),
            colour,
        };
        for source in &self.sources {
            lines.source(source, now);
            if depth >= Depth::Stack {
                lines.stacks(&source.stacks, depth, source.pools.is_empty());
                lines.pools(&source.pools, depth);
            }
        }
        if !self.others.is_empty() {
            lines.text.push_str("not driven by a source of this reconciler\n");
            lines.stacks(&self.others, depth.max(Depth::Stack), true);
        }
        lines.text
    }
}

/// What the source reports about its pools; for a pool that it only named, the name and the state.
fn pools(status: &Status) -> BTreeMap<String, PoolWord> {
    let named = status.stacks.iter().filter_map(|(title, state)| {
        let name = pool_of(title)?;
        let word = status.pools.get(name).cloned().unwrap_or_default();
        Some((
            name.to_owned(),
            PoolWord {
                state: state.clone(),
                ..word
            },
        ))
    });
    named.collect()
}

fn stack(record: &Record, health: &BTreeMap<ObjectKey, Health>) -> StackNode {
    let mut by_component: BTreeMap<&str, Vec<ObjectNode>> = BTreeMap::new();
    for entry in record.entries.values() {
        let health = health.get(&entry.key);
        let node = ObjectNode {
            object: entry.key.clone(),
            state: health.map_or(UNKNOWN, |health| health.state).to_owned(),
            reason: health.map(|health| health.reason.clone()).unwrap_or_default(),
        };
        let component = entry.component.as_deref().unwrap_or_default();
        by_component.entry(component).or_default().push(node);
    }
    // A component with nothing in it yet still has something to say.
    for name in record.components.keys() {
        by_component.entry(name).or_default();
    }
    let components: Vec<ComponentNode> = by_component
        .into_iter()
        .map(|(name, objects)| {
            let worst = worst(objects.iter().map(|object| object.state.as_str()));
            let said = record.components.get(name).map_or("ready", String::as_str);
            ComponentNode {
                name: name.to_owned(),
                after: record.after.get(name).cloned().unwrap_or_default(),
                state: if worst == "ready" { said } else { worst }.to_owned(),
                objects,
            }
        })
        .collect();
    let worst = worst(components.iter().map(|component| component.state.as_str()));
    StackNode {
        name: record.stack.to_string(),
        owner: record.owner.to_string(),
        state: match worst {
            "ready" if !record.ready => "not ready",
            other => other,
        }
        .to_owned(),
        plan: record.plan.clone(),
        components,
        tokens: record.tokens.keys().cloned().collect(),
    }
}

/// The state that is most urgent for the user.
fn worst<'a>(states: impl Iterator<Item = &'a str>) -> &'a str {
    let rank = |state: &str| match state.split([':', ' ']).next().unwrap_or_default() {
        "failed" => 0,
        "missing" => 1,
        "drifted" => 2,
        "deleting" => 3,
        "skipped" => 4,
        "waiting" => 5,
        "ready" => 9,
        _ => 6,
    };
    states.min_by_key(|state| rank(state)).unwrap_or("ready")
}

struct Lines {
    text: String,
    colour: Colour,
}

impl Lines {
    fn source(&mut self, source: &SourceNode, now: i64) {
        let commit = source.commit.as_deref().map_or("no commit yet", short);
        let state = if source.state.is_empty() {
            "silent"
        } else {
            source.state.as_str()
        };
        let mut line = format!("{}: {} at {commit}", source.name, self.colour.state(state));
        if !source.subject.is_empty() {
            line.push_str(&format!(" \"{}\"", printable(&source.subject)));
        }
        if let Some(taken) = source.taken {
            line.push_str(&format!(", {} ago", ago(now - taken)));
        }
        if let Some(held) = &source.held {
            line.push_str(&format!(", held at {}", short(held)));
        }
        if source.suspended && source.state != "suspended" {
            line.push_str(", about to be suspended");
        }
        if let Some(head) = source
            .head
            .as_ref()
            .filter(|head| Some(*head) != source.commit.as_ref())
        {
            line.push_str(&format!("; the branch is at {}", short(head)));
        }
        self.text.push_str(&line);
        self.text.push('\n');
        for line in source.message.lines() {
            self.text.push_str(&format!("    {}\n", printable(line)));
        }
    }

    /// `last` tells that nothing comes after them.
    fn stacks(&mut self, stacks: &[StackNode], depth: Depth, last: bool) {
        for (i, stack) in stacks.iter().enumerate() {
            let (branch, below) = arms(last && i + 1 == stacks.len());
            let owner = if stack.owner.starts_with("git:") {
                String::new()
            } else {
                self.colour.paint(Tone::Faint, &format!(" ({})", stack.owner))
            };
            let state = self.colour.state(&stack.state);
            self.text
                .push_str(&format!("{branch}stack {}: {state}{owner}\n", stack.name));
            if depth < Depth::Component {
                continue;
            }
            let tokens = if stack.tokens.is_empty() { 0 } else { 1 };
            let last = stack.components.len() + tokens;
            for (i, component) in stack.components.iter().enumerate() {
                let (branch, deeper) = arms(i + 1 == last);
                let name = if component.name.is_empty() {
                    "base".to_owned()
                } else {
                    format!("component {}", component.name)
                };
                let state = self.colour.state(&component.state);
                self.text.push_str(&format!("{below}{branch}{name}: {state}\n"));
                if depth == Depth::Object {
                    self.objects(&component.objects, &format!("{below}{deeper}"));
                }
            }
            if tokens == 1 {
                self.text
                    .push_str(&format!("{below}└─ tokens: {}\n", stack.tokens.join(", ")));
            }
        }
    }

    fn pools(&mut self, pools: &BTreeMap<String, PoolWord>, depth: Depth) {
        for (i, (name, pool)) in pools.iter().enumerate() {
            let (branch, below) = arms(i + 1 == pools.len());
            let mut line = format!("{branch}pool {name}: {}", self.colour.state(&pool.state));
            if !pool.reason.is_empty() {
                line.push_str(&format!(": {}", printable(&pool.reason)));
            }
            self.text.push_str(&line);
            self.text.push('\n');
            if depth < Depth::Object {
                continue;
            }
            for (i, node) in pool.nodes.iter().enumerate() {
                let (branch, _) = arms(i + 1 == pool.nodes.len());
                self.text.push_str(&format!("{below}{branch}{}\n", printable(node)));
            }
        }
    }

    fn objects(&mut self, objects: &[ObjectNode], before: &str) {
        for (i, node) in objects.iter().enumerate() {
            let (branch, _) = arms(i + 1 == objects.len());
            let mut state = self.colour.state(&node.state);
            if !node.reason.is_empty() {
                state = format!("{state}: {}", printable(&node.reason));
            }
            self.text
                .push_str(&format!("{before}{branch}{}: {state}\n", node.object.human()));
        }
    }
}

fn arms(is_last: bool) -> (&'static str, &'static str) {
    if is_last {
        ("└─ ", "   ")
    } else {
        ("├─ ", "│  ")
    }
}

/// What others wrote, without what could steer a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Taken;
    use myelin_engine::record::{Entry, StackId};

    fn record() -> Record {
        let stack: StackId = "shop/one".parse().expect("a stack");
        let mut record = Record::new(stack, Owner::Git("git".to_owned()), [0; 32]);
        for (name, component) in [("a", None), ("b", Some("web"))] {
            let key = ObjectKey::new("", "ConfigMap", "shop", name);
            let mut entry = Entry::intended(key.clone());
            entry.component = component.map(str::to_owned);
            record.entries.insert(key, entry);
        }
        record.ready = true;
        record
    }

    #[test]
    fn the_tree_shows_the_worst_of_what_is_below_and_escapes_what_steers_a_terminal() {
        let status = Status {
            state: "ready".to_owned(),
            commit: Some("0123456789abcdef".to_owned()),
            stacks: BTreeMap::from([("shop/one".to_owned(), "ready".to_owned())]),
            history: vec![Taken {
                commit: "0123456789abcdef".to_owned(),
                subject: "red\u{1b}[2J".to_owned(),
                author: "Ada".to_owned(),
                at: 100,
                state: "ready".to_owned(),
                plan: None,
            }],
            ..Status::default()
        };
        let sources = BTreeMap::from([("git".to_owned(), (Control::default(), status))]);
        let health = |state, reason: &str| Health {
            state,
            reason: reason.to_owned(),
        };
        let key = |name: &str| ObjectKey::new("", "ConfigMap", "shop", name);
        let health = BTreeMap::from([
            (key("a"), health("ready", "")),
            (key("b"), health("drifted", "somebody changed it")),
        ]);
        let forest = Forest::grow(&sources, &[record()], &health);
        let text = forest.text(Depth::Object, Colour::of_stdout(), 160);
        assert_eq!(
            text,
            "git: ready at 0123456789ab \"red [2J\", 60s ago\n\
             └─ stack shop/one: drifted\n   \
                ├─ base: ready\n   \
                │  └─ ConfigMap shop/a: ready\n   \
                └─ component web: drifted\n      \
                   └─ ConfigMap shop/b: drifted: somebody changed it\n"
        );
        assert!(forest.is_good(), "the source's own word counts");
        let stacks = forest.text(Depth::Stack, Colour::of_stdout(), 160);
        assert_eq!(stacks.lines().count(), 2, "{stacks}");
    }
}
