//! What waits for what: objects and components as nodes, implicit and explicit edges.
//!
//! Pure. A cycle is an error that names its path.

use crate::object::ObjectKey;
use std::collections::{BTreeMap, BTreeSet};

/// How far the other side must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Until {
    /// It is in the cluster.
    Applied,
    /// Its gate is open.
    Ready,
}

/// The order of one stack's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// For each object: what it waits for, and how far that must be.
    pub needs: BTreeMap<ObjectKey, BTreeMap<ObjectKey, Until>>,
    /// For each object: the components that must be ready first.
    pub after: BTreeMap<ObjectKey, BTreeSet<String>>,
    /// Depth of each object: what it waits for is less deep.
    pub level: BTreeMap<ObjectKey, u32>,
}
