//! Nodes that the original holds once and shows in several places. A label or annotation that it adds at several places
//! of one resource (`metadata/labels`, a selector, a pod template) is one node of its tree. If an overlay's label, a
//! patch or a replacement then sets one of them, all of them change. JSON patches end the sharing, because they rebuild
//! the resource. Only scalars within one resource are ever shared.

use crate::yaml::{At, Content, Node, Scalar};
use std::collections::BTreeMap;

/// Marks a shared node that was written since [`Sharing::settle`], even if the value is the same.
const WRITTEN: u32 = 1 << 31;

/// Which nodes of a resource are shared.
#[derive(Debug, Clone, Default)]
pub(super) struct Sharing {
    last: u32,
    /// The value of the nodes of each number.
    held: BTreeMap<u32, Scalar>,
}

impl Sharing {
    /// A number for nodes that are about to be made.
    pub(super) fn number(&mut self) -> u32 {
        self.last = (self.last + 1) & !WRITTEN;
        self.last
    }

    /// Nodes with this number were made in several places.
    pub(super) fn keep(&mut self, number: u32, made: &Node) {
        if let Content::Scalar(scalar) = &made.content {
            self.held.insert(number, scalar.clone());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// All nodes were recreated.
    pub(super) fn end(&mut self) {
        self.held.clear();
    }

    /// Copies what was written to one node of a number to all others, in the order in which the original writes: by the
    /// names of keys.
    pub(super) fn settle(&mut self, node: &mut Node) {
        let mut written = BTreeMap::new();
        self.find(node, &mut written);
        if !written.is_empty() {
            set(node, &written);
            self.held
                .extend(written.into_iter().map(|(number, (scalar, _))| (number, scalar)));
        }
    }

    fn find(&self, node: &Node, written: &mut BTreeMap<u32, (Scalar, At)>) {
        match &node.content {
            Content::Scalar(scalar) => {
                let number = node.one & !WRITTEN;
                if let Some(held) = self.held.get(&number)
                    && (node.one != number || held != scalar)
                {
                    written.insert(number, (scalar.clone(), node.at));
                }
            }
            Content::Seq(items) => items.iter().for_each(|item| self.find(item, written)),
            Content::Map(entries) => {
                let mut sorted: Vec<_> = entries.iter().collect();
                sorted.sort_unstable_by(|a, b| a.key.cmp(&b.key));
                sorted.into_iter().for_each(|entry| self.find(&entry.value, written));
            }
        }
    }
}

fn set(node: &mut Node, written: &BTreeMap<u32, (Scalar, At)>) {
    match &mut node.content {
        Content::Scalar(held) => {
            node.one &= !WRITTEN;
            if let Some((scalar, at)) = written.get(&node.one) {
                *held = scalar.clone();
                node.at = *at;
            }
        }
        Content::Seq(items) => items.iter_mut().for_each(|item| set(item, written)),
        Content::Map(entries) => entries.iter_mut().for_each(|entry| set(&mut entry.value, written)),
    }
}

/// The effect of a strategic merge on a shared node: the patch's value in its place, marked as written.
pub(super) fn overwritten(by: Node, one: u32) -> Node {
    Node {
        one: if one == 0 { 0 } else { one | WRITTEN },
        ..by
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{FileId, Limits, Profile, parse_one, to_json};

    #[test]
    fn what_is_written_to_one_node_stands_in_all_its_places_and_the_last_write_counts() {
        let text = "z: {a: x}\nm: {a: x}\nother: x\n";
        let mut node = parse_one(text, FileId::default(), Profile::Kustomize, Limits::default()).unwrap();
        let mut sharing = Sharing::default();
        let number = sharing.number();
        for place in ["z", "m"] {
            node.get_mut(place).unwrap().get_mut("a").unwrap().one = number;
        }
        sharing.keep(number, &Node::string("x"));
        let set = |node: &mut Node, place: &str, text: &str| {
            let map = node.get_mut(place).unwrap();
            let one = map.get("a").unwrap().one;
            map.set("a", overwritten(Node::string(text), one));
        };
        let shown = |node: &Node| to_json(node).unwrap().to_string();
        set(&mut node, "m", "y");
        sharing.settle(&mut node);
        assert_eq!(shown(&node), r#"{"m":{"a":"y"},"other":"x","z":{"a":"y"}}"#);
        // z comes after m, also when it writes what is there.
        set(&mut node, "z", "y");
        set(&mut node, "m", "w");
        sharing.settle(&mut node);
        assert_eq!(shown(&node), r#"{"m":{"a":"y"},"other":"x","z":{"a":"y"}}"#);
        sharing.end();
        set(&mut node, "m", "v");
        sharing.settle(&mut node);
        assert_eq!(shown(&node), r#"{"m":{"a":"v"},"other":"x","z":{"a":"y"}}"#);
    }
}
