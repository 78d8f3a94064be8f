//! Depths and cycles of a graph, over objects and components together.

use super::{BASE, Graph, Member, Need};
use crate::diagnostic::Diagnostic;
use crate::object::ObjectKey;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A node of the order: an object, or "everything of this component".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Node<'a> {
    Component(&'a str),
    Object(&'a ObjectKey),
}

impl Node<'_> {
    fn show(self) -> String {
        match self {
            Self::Component(BASE) => "the stack's base".into(),
            Self::Component(name) => format!("component {name}"),
            Self::Object(key) => key.human(),
        }
    }
}

/// Objects of the base that wait for a component's object: an Ingress in the base that routes to a component's Service. They
/// cannot be applied before the components.
pub(super) fn reaching_components(
    members: &[Member<'_>],
    needs: &BTreeMap<ObjectKey, BTreeMap<ObjectKey, Need>>,
) -> BTreeSet<ObjectKey> {
    let mut waiting: HashMap<&ObjectKey, Vec<&ObjectKey>> = HashMap::new();
    for (from, tos) in needs {
        for to in tos.keys() {
            waiting.entry(to).or_default().push(from);
        }
    }
    let base: BTreeSet<&ObjectKey> = members
        .iter()
        .filter(|m| m.component.is_none())
        .map(|m| m.key)
        .collect();
    let mut todo: Vec<&ObjectKey> = members
        .iter()
        .filter(|m| m.component.is_some())
        .map(|m| m.key)
        .collect();
    let mut late = BTreeSet::new();
    while let Some(key) = todo.pop() {
        for from in waiting.get(key).into_iter().flatten() {
            if base.contains(from) && late.insert((*from).clone()) {
                todo.push(from);
            }
        }
    }
    late
}

/// What a node waits for.
fn waits<'a>(graph: &'a Graph, after: &'a BTreeMap<String, BTreeSet<String>>, node: Node<'a>) -> Vec<Node<'a>> {
    match node {
        Node::Component(name) => {
            let members = graph.members.get(name).into_iter().flatten().map(Node::Object);
            // A component without objects passes its own order on.
            members
                .chain(after.get(name).into_iter().flatten().map(|n| Node::Component(n)))
                .collect()
        }
        Node::Object(key) => {
            let needs = graph
                .needs
                .get(key)
                .into_iter()
                .flat_map(BTreeMap::keys)
                .map(Node::Object);
            needs
                .chain(graph.after.get(key).into_iter().flatten().map(|n| Node::Component(n)))
                .collect()
        }
    }
}

/// The depth of every object, or the cycle.
pub(super) fn levels(
    graph: &Graph,
    after: &BTreeMap<String, BTreeSet<String>>,
) -> Result<BTreeMap<ObjectKey, u32>, Diagnostic> {
    let mut nodes: Vec<Node<'_>> = graph.needs.keys().map(Node::Object).collect();
    nodes.extend(after.keys().map(|n| Node::Component(n)));
    nodes.push(Node::Component(BASE));
    let edges: HashMap<Node<'_>, Vec<Node<'_>>> = nodes.iter().map(|n| (*n, waits(graph, after, *n))).collect();
    let mut open: HashMap<Node<'_>, usize> = edges.iter().map(|(n, to)| (*n, to.len())).collect();
    let mut behind: HashMap<Node<'_>, Vec<Node<'_>>> = HashMap::new();
    for (from, tos) in &edges {
        for to in tos {
            behind.entry(*to).or_default().push(*from);
        }
    }
    let mut level: HashMap<Node<'_>, u32> = HashMap::new();
    let mut todo: Vec<Node<'_>> = nodes.iter().copied().filter(|n| edges[n].is_empty()).collect();
    while let Some(node) = todo.pop() {
        let depth = edges[&node]
            .iter()
            .map(|to| level.get(to).copied().unwrap_or(0))
            .max()
            .unwrap_or(0);
        // Only objects add depth; components only pass the order on.
        level.insert(node, depth + u32::from(matches!(node, Node::Object(_))));
        for from in behind.get(&node).into_iter().flatten() {
            if let Some(count) = open.get_mut(from) {
                *count -= 1;
                if *count == 0 {
                    todo.push(*from);
                }
            }
        }
    }
    if level.len() < nodes.len() {
        let start = nodes
            .iter()
            .copied()
            .find(|n| !level.contains_key(n))
            .expect("fewer levels than nodes");
        return Err(cycle(graph, &edges, &level, start));
    }
    Ok(level
        .into_iter()
        .filter_map(|(node, depth)| match node {
            Node::Object(key) => Some((key.clone(), depth)),
            Node::Component(_) => None,
        })
        .collect())
}

/// Follows unfinished nodes until one repeats; from there on it is the cycle.
fn cycle(
    graph: &Graph,
    edges: &HashMap<Node<'_>, Vec<Node<'_>>>,
    done: &HashMap<Node<'_>, u32>,
    start: Node<'_>,
) -> Diagnostic {
    let mut path = vec![start];
    loop {
        let last = path[path.len() - 1];
        // A node without a depth has at least one wait without one.
        let Some(next) = edges[&last].iter().copied().find(|n| !done.contains_key(n)) else {
            break;
        };
        if let Some(first) = path.iter().position(|n| *n == next) {
            path.drain(..first);
            path.push(next);
            break;
        }
        path.push(next);
    }
    let mut lines = Vec::new();
    for pair in path.windows(2) {
        let why = match (pair[0], pair[1]) {
            (Node::Object(from), Node::Object(to)) => graph
                .needs
                .get(from)
                .and_then(|n| n.get(to))
                .map_or("waits for", |n| n.why),
            (Node::Component(_), Node::Object(_)) => "contains",
            _ => "waits for",
        };
        lines.push(format!("{} {why} {}", pair[0].show(), pair[1].show()));
    }
    Diagnostic::error("the order of the stack is a cycle: nothing in it could ever start").detail(format!(
        "{}\nremove one of these: change the components' after, or move an object to another component",
        lines.join("\n")
    ))
}
