//! What waits for what: objects and components as nodes, implicit and explicit edges.
//!
//! Pure. A cycle is an error that names its path. `references` reads what a manifest names, `edges` turns that into
//! waits, `order` finds depths and cycles, and `tokens` puts one-time secrets between the workloads that issue and
//! those that read them.

mod edges;
mod order;
pub(crate) mod references;
mod tokens;

pub use edges::DEPENDS_ON;

use crate::diagnostic::Diagnostics;
use crate::object::ObjectKey;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// The stack's base as a component: what lies under no component's path.
pub const BASE: &str = "";

/// How far the other side must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Until {
    /// It is in the cluster.
    Applied,
    /// Its gate is open.
    Ready,
}

/// One wait, with its reason for users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// How far the other side must be.
    pub until: Until,
    /// Why, as the middle of a sentence: `reads`, `lives in`, `is an instance of`.
    pub why: &'static str,
}

/// One object of the set, as the graph sees it.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its key.
    pub key: &'a ObjectKey,
    /// Its manifest.
    pub value: &'a Value,
    /// Its component; None for the base.
    pub component: Option<&'a str>,
}

/// One token of the set, as the graph sees it. It is a node like an object, and ready once its value is stored.
#[derive(Debug, Clone)]
pub struct TokenMember<'a> {
    /// Its key.
    pub key: &'a ObjectKey,
    /// The Secret that its value goes to.
    pub secret: ObjectKey,
    /// The components that name it.
    pub components: BTreeSet<&'a str>,
    /// Workloads of the set whose pods issue it.
    pub issuers: Vec<ObjectKey>,
}

/// The order of one stack's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// For each object: what it waits for.
    pub needs: BTreeMap<ObjectKey, BTreeMap<ObjectKey, Need>>,
    /// For each object: the components that must be ready first. [`BASE`] stands for the base, which must be applied.
    pub after: BTreeMap<ObjectKey, BTreeSet<String>>,
    /// The objects of each component. For the base, only those that do not wait for a component's object.
    pub members: BTreeMap<String, BTreeSet<ObjectKey>>,
    /// Depth of each object: what it waits for has a smaller depth.
    pub level: BTreeMap<ObjectKey, u32>,
}

/// Builds the graph of a set.
///
/// # Errors
/// A cycle, named by its path; a `depends-on` annotation that cannot be read or names nothing of the set.
pub fn build(
    members: &[Member<'_>],
    tokens: &[TokenMember<'_>],
    after: &BTreeMap<String, BTreeSet<String>>,
) -> Result<Graph, Diagnostics> {
    let mut problems = Diagnostics::new();
    let needs = edges::needs(members, &mut problems);
    let mut graph = Graph {
        needs,
        ..Graph::default()
    };
    for member in members {
        if let Some(component) = member.component {
            graph
                .members
                .entry(component.to_owned())
                .or_default()
                .insert(member.key.clone());
        }
    }
    let late = order::reaching_components(members, &graph.needs);
    for member in members {
        let mut waits: BTreeSet<String> = BTreeSet::new();
        match member.component {
            Some(component) => {
                waits.extend(after.get(component).into_iter().flatten().cloned());
                waits.insert(BASE.to_owned());
            }
            None if late.contains(member.key) => {}
            None => {
                graph
                    .members
                    .entry(BASE.to_owned())
                    .or_default()
                    .insert(member.key.clone());
            }
        }
        graph.after.insert(member.key.clone(), waits);
    }
    tokens::add(members, tokens, after, &mut graph);
    edges::add_weak(members, &mut graph);
    match order::levels(&graph, after) {
        Ok(level) => graph.level = level,
        Err(cycle) => problems.push(cycle),
    }
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(graph)
    }
}

#[cfg(test)]
mod tests;
