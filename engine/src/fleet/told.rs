//! A plan as text: the same lines in every front end. Decides nothing.
//!
//! Every node is named. Many nodes with the same fate for the same reason share a line, so that the plan of a pool of
//! 300 stays readable.

use super::plan::{FleetPlan, NodeFate, NodePlan};
use std::fmt::Write as _;

/// Up to this many nodes with one fate, turn and reason have lines of their own.
const OWN_LINES: usize = 4;

impl NodeFate {
    fn sign(self) -> &'static str {
        match self {
            Self::Keep | Self::Watch => "",
            Self::Undrain => "~ ",
            Self::Launch => "+ ",
            Self::Replace => "-/+ ",
            Self::Remove => "- ",
        }
    }
}

impl FleetPlan {
    /// What happens to each node, and why: actions first, in order of their turns, then what is left alone.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let alike = |a: &NodePlan, b: &NodePlan| a.turn == b.turn && a.fate == b.fate && a.reason == b.reason;
        let mut groups: Vec<Vec<&NodePlan>> = Vec::new();
        for node in &self.nodes {
            match groups
                .iter_mut()
                .rev()
                .find(|group| group.first().is_some_and(|first| alike(first, node)))
            {
                Some(group) => group.push(node),
                None => groups.push(vec![node]),
            }
        }
        groups.into_iter().flat_map(|group| group_lines(&group)).collect()
    }

    /// `2 kept, 1 launched, 0 replaced, 0 removed`; rare fates are added only if they occur.
    #[must_use]
    pub fn summary(&self) -> String {
        let always = [
            (NodeFate::Keep, "kept"),
            (NodeFate::Launch, "launched"),
            (NodeFate::Replace, "replaced"),
            (NodeFate::Remove, "removed"),
        ];
        let rare = [(NodeFate::Undrain, "undrained"), (NodeFate::Watch, "watched")];
        let rare = rare.into_iter().filter(|(fate, _)| self.count(*fate) > 0);
        let counts = always
            .into_iter()
            .chain(rare)
            .map(|(fate, word)| format!("{} {word}", self.count(fate)));
        counts.collect::<Vec<_>>().join(", ")
    }

    /// The whole plan.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = format!("pool {}: {}\n", self.id, self.summary());
        for line in self.lines() {
            let _ = writeln!(out, "  {line}");
        }
        if let Some(newer) = &self.newer_image {
            let _ = writeln!(out, "  image {newer} is available; the pool stays on {}", self.image);
        }
        for d in &self.diagnostics.0 {
            let _ = writeln!(out, "  {d}");
        }
        let _ = writeln!(out, "  plan {}", self.hash);
        out
    }
}

fn group_lines(group: &[&NodePlan]) -> Vec<String> {
    let one = |node: &NodePlan, what: &str| {
        let turn = match node.turn {
            0 => String::new(),
            turn => format!("{turn}. "),
        };
        format!("{turn}{}{} {what}: {}", node.fate.sign(), node.fate.word(), node.reason)
    };
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return Vec::new();
    };
    if group.len() <= OWN_LINES {
        let own = |node: &&NodePlan| one(node, &format!("{} ({})", node.id, node.place));
        return group.iter().map(own).collect();
    }
    let many = if first.fate == NodeFate::Launch {
        // They have only numbers so far.
        format!("{} to {} ({})", first.id, last.id, first.place)
    } else {
        let ids: Vec<&str> = group.iter().map(|node| node.id.as_str()).collect();
        format!("{} nodes ({})", group.len(), ids.join(" "))
    };
    vec![one(first, &many)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, fate: NodeFate, turn: u32) -> NodePlan {
        NodePlan {
            id: id.to_owned(),
            place: "here".to_owned(),
            fate,
            reason: "so".to_owned(),
            turn,
        }
    }

    #[test]
    fn few_nodes_have_lines_of_their_own_and_many_share_one_that_names_them_all() {
        let of = |fate, turn, count: usize| {
            let nodes: Vec<NodePlan> = (1..=count).map(|n| node(&format!("n-{n}"), fate, turn)).collect();
            group_lines(&nodes.iter().collect::<Vec<_>>())
        };
        assert_eq!(of(NodeFate::Replace, 2, 1), ["2. -/+ replace n-1 (here): so"]);
        assert_eq!(of(NodeFate::Keep, 0, 2), ["keep n-1 (here): so", "keep n-2 (here): so"]);
        assert_eq!(of(NodeFate::Keep, 0, 5), ["keep 5 nodes (n-1 n-2 n-3 n-4 n-5): so"]);
        assert_eq!(of(NodeFate::Launch, 1, 300), ["1. + launch n-1 to n-300 (here): so"]);
    }
}
