//! The order in which the objects of a record are deleted: dependants before what they need. An object that is not
//! deleted holds back what it needs, and nothing else.
//!
//! Bookkeeping only: it knows neither requests nor time. The edges come from the applies that created the objects, so
//! edges from different applies may contradict each other; then the recorded depth decides.

use crate::graph::BASE;
use crate::object::ObjectKey;
use crate::record::{Entry, Record};
use std::collections::{BTreeMap, BTreeSet};

/// Something that waits to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Node<'a> {
    Object(&'a ObjectKey),
    /// Everything in a component; [`BASE`] is the base.
    Component(&'a str),
    /// Everything at a depth and below, for entries of old records, whose edges are unknown.
    Depth(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Waiting,
    Going,
    Gone,
    Stays,
}

#[derive(Debug)]
struct Place {
    key: Option<ObjectKey>,
    level: u32,
    /// What it needs, and what therefore may be deleted only after it.
    needs: Vec<usize>,
    /// How many of its dependants still exist.
    held_by: usize,
    stand: Stand,
}

/// What may be deleted when.
#[derive(Debug)]
pub(super) struct Retreat {
    places: Vec<Place>,
    at: BTreeMap<ObjectKey, usize>,
}

impl Retreat {
    /// The order of deletion for everything that a record names.
    pub(super) fn of(record: &Record) -> Self {
        let edges = edges(record);
        let all: BTreeSet<Node<'_>> = edges
            .iter()
            .flat_map(|(from, to)| std::iter::once(*from).chain(to.iter().copied()))
            .collect();
        let index: BTreeMap<Node<'_>, usize> = all.iter().enumerate().map(|(i, n)| (*n, i)).collect();
        let mut places: Vec<Place> = all
            .iter()
            .map(|node| Place {
                key: match node {
                    Node::Object(key) => Some((*key).clone()),
                    Node::Component(_) | Node::Depth(_) => None,
                },
                level: match node {
                    Node::Object(key) => record.entry(key).map_or(0, |e| e.level),
                    Node::Component(_) | Node::Depth(_) => 0,
                },
                needs: edges.get(node).into_iter().flatten().map(|to| index[to]).collect(),
                held_by: 0,
                stand: Stand::Waiting,
            })
            .collect();
        for from in 0..places.len() {
            for to in places[from].needs.clone() {
                places[to].held_by += 1;
            }
        }
        let at = places
            .iter()
            .enumerate()
            .filter_map(|(i, p)| Some((p.key.clone()?, i)))
            .collect();
        Self { places, at }
    }

    /// What may be deleted now. Each object is returned once. Empty while others are in progress, and at the end.
    pub(super) fn next(&mut self) -> Vec<ObjectKey> {
        let mut free = self.free();
        let under_way = self.places.iter().any(|p| p.stand == Stand::Going);
        if free.is_empty() && !under_way {
            self.break_cycle();
            free = self.free();
        }
        free
    }

    fn free(&mut self) -> Vec<ObjectKey> {
        let mut free = Vec::new();
        let mut todo: Vec<usize> = (0..self.places.len()).collect();
        while let Some(i) = todo.pop() {
            let place = &mut self.places[i];
            if place.stand != Stand::Waiting || place.held_by > 0 {
                continue;
            }
            match &place.key {
                Some(key) => {
                    place.stand = Stand::Going;
                    free.push(key.clone());
                }
                // Components and depths only pass the order on.
                None => todo.extend(self.leave(i)),
            }
        }
        free.sort();
        free
    }

    /// The object no longer holds anything back: it is gone, or kept on purpose.
    pub(super) fn gone(&mut self, key: &ObjectKey) {
        if let Some(i) = self
            .at
            .get(key)
            .copied()
            .filter(|i| self.places[*i].stand != Stand::Gone)
        {
            self.leave(i);
        }
    }

    fn leave(&mut self, i: usize) -> Vec<usize> {
        self.places[i].stand = Stand::Gone;
        let needs = self.places[i].needs.clone();
        for to in &needs {
            self.places[*to].held_by = self.places[*to].held_by.saturating_sub(1);
        }
        needs
    }

    /// The object is not deleted.
    pub(super) fn stays(&mut self, key: &ObjectKey) {
        if let Some(i) = self.at.get(key) {
            self.places[*i].stand = Stand::Stays;
        }
    }

    /// Among nodes that only a contradiction holds back, releases the deepest.
    fn break_cycle(&mut self) {
        let held = self.behind_what_stays();
        let deepest = (0..self.places.len())
            .filter(|i| self.places[*i].stand == Stand::Waiting && !held.contains_key(i))
            .max_by_key(|i| self.places[*i].level);
        if let Some(i) = deepest {
            self.places[i].held_by = 0;
        }
    }

    /// What is still needed by something that stays, and by which.
    fn behind_what_stays(&self) -> BTreeMap<usize, usize> {
        let mut held = BTreeMap::new();
        let mut todo: Vec<(usize, usize)> = (0..self.places.len())
            .filter(|i| self.places[*i].stand == Stand::Stays)
            .flat_map(|i| self.places[i].needs.iter().map(move |to| (*to, i)))
            .collect();
        while let Some((i, why)) = todo.pop() {
            if self.places[i].stand == Stand::Waiting && held.insert(i, why).is_none() {
                todo.extend(self.places[i].needs.iter().map(|to| (*to, why)));
            }
        }
        held
    }

    /// What was never released, and what still needs it.
    pub(super) fn held(&self) -> Vec<(ObjectKey, ObjectKey)> {
        let name = |i: usize| self.places[i].key.clone();
        self.behind_what_stays()
            .into_iter()
            .filter_map(|(i, why)| Some((name(i)?, name(why)?)))
            .collect()
    }
}

/// What each node needs, according to the record.
fn edges(record: &Record) -> BTreeMap<Node<'_>, BTreeSet<Node<'_>>> {
    let number: BTreeMap<u32, &Entry> = record.entries.values().map(|e| (e.number, e)).collect();
    let needed = |entry: &Entry| -> Vec<&Entry> {
        let numbers = entry.needs.iter().flatten();
        numbers.filter_map(|n| number.get(n).copied()).collect()
    };
    let late = late(record, &needed);
    let depths: BTreeSet<u32> = record.entries.values().map(|e| e.level).collect();
    let mut edges: BTreeMap<Node<'_>, BTreeSet<Node<'_>>> = BTreeMap::new();
    for entry in record.entries.values() {
        let from = Node::Object(&entry.key);
        let mut needs: BTreeSet<Node<'_>> = needed(entry).into_iter().map(|e| Node::Object(&e.key)).collect();
        needs.remove(&from);
        if entry.needs.is_none() {
            needs.extend(depths.range(..entry.level).next_back().map(|d| Node::Depth(*d)));
        }
        match &entry.component {
            Some(name) => {
                let after = record.after.get(name).into_iter().flatten();
                needs.extend(after.map(|n| Node::Component(n)));
                needs.insert(Node::Component(BASE));
                edges.entry(Node::Component(name)).or_default().insert(from);
            }
            None if late.contains(&entry.key) => {}
            None => {
                edges.entry(Node::Component(BASE)).or_default().insert(from);
            }
        }
        edges.entry(Node::Depth(entry.level)).or_default().insert(from);
        edges.insert(from, needs);
    }
    for (name, after) in &record.after {
        // A component without objects passes the order on.
        let passed = after.iter().map(|n| Node::Component(n));
        edges.entry(Node::Component(name)).or_default().extend(passed);
    }
    for (lower, upper) in depths.iter().zip(depths.iter().skip(1)) {
        edges
            .entry(Node::Depth(*upper))
            .or_default()
            .insert(Node::Depth(*lower));
    }
    if record.entries.values().all(|e| e.needs.is_some()) {
        edges.retain(|node, _| !matches!(node, Node::Depth(_)));
    }
    edges
}

/// Objects of the base that needed a component's object: they were created after it, and are deleted before it.
fn late<'r>(record: &'r Record, needed: &dyn Fn(&'r Entry) -> Vec<&'r Entry>) -> BTreeSet<ObjectKey> {
    let mut waiting: BTreeMap<&ObjectKey, Vec<&Entry>> = BTreeMap::new();
    for entry in record.entries.values() {
        for other in needed(entry) {
            waiting.entry(&other.key).or_default().push(entry);
        }
    }
    let mut todo: Vec<&Entry> = record.entries.values().filter(|e| e.component.is_some()).collect();
    let mut late = BTreeSet::new();
    while let Some(entry) = todo.pop() {
        for from in waiting.get(&entry.key).into_iter().flatten() {
            if from.component.is_none() && late.insert(from.key.clone()) {
                todo.push(from);
            }
        }
    }
    late
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Owner, StackId};

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new("", "ConfigMap", "n", name)
    }

    /// Name, component, level and the names of what it needs, if recorded.
    type Line<'a> = (&'a str, Option<&'a str>, u32, Option<&'a [&'a str]>);

    fn record(entries: &[Line<'_>], after: &[(&str, &[&str])]) -> Record {
        let stack = StackId {
            namespace: "n".into(),
            name: "s".into(),
        };
        let mut record = Record::new(stack, Owner::Terraform, [0; 32]);
        let number = |name: &str| entries.iter().position(|e| e.0 == name).unwrap() as u32 + 1;
        for (name, component, level, needs) in entries {
            let entry = Entry {
                component: component.map(str::to_owned),
                level: *level,
                number: number(name),
                needs: needs.map(|names| names.iter().map(|n| number(n)).collect()),
                ..Entry::intended(key(name))
            };
            record.entries.insert(entry.key.clone(), entry);
        }
        record.after = after
            .iter()
            .map(|(name, others)| ((*name).to_owned(), others.iter().map(|o| (*o).to_owned()).collect()))
            .collect();
        record
    }

    /// The order in waves, if the named objects stay.
    fn waves(record: &Record, stay: &[&str]) -> Vec<String> {
        let mut retreat = Retreat::of(record);
        let mut waves = Vec::new();
        loop {
            let next = retreat.next();
            if next.is_empty() {
                return waves;
            }
            let names: Vec<&str> = next.iter().map(|k| &*k.name).collect();
            waves.push(names.join(" "));
            for key in &next {
                if stay.contains(&&*key.name) {
                    retreat.stays(key);
                } else {
                    retreat.gone(key);
                }
            }
        }
    }

    #[test]
    fn what_does_not_go_holds_only_what_it_needs() {
        let record = record(
            &[
                ("base", None, 1, Some(&[])),
                ("a", Some("a"), 2, Some(&[])),
                ("a-reader", Some("a"), 3, Some(&["a"])),
                ("b", Some("b"), 2, Some(&[])),
                ("b-reader", Some("b"), 3, Some(&["b"])),
                ("c", Some("c"), 4, Some(&[])),
                ("front", None, 5, Some(&["b-reader"])),
            ],
            &[("a", &[]), ("b", &[]), ("empty", &["b"]), ("c", &["empty"])],
        );
        assert_eq!(waves(&record, &[]), ["a-reader c front", "a b-reader", "b", "base"]);
        assert_eq!(waves(&record, &["a-reader"]), ["a-reader c front", "b-reader", "b"]);
        let mut retreat = Retreat::of(&record);
        retreat.next();
        retreat.stays(&key("a-reader"));
        assert_eq!(
            retreat.held(),
            [(key("a"), key("a-reader")), (key("base"), key("a-reader"))]
        );
    }

    #[test]
    fn a_record_without_edges_goes_by_depth_as_it_was_written() {
        let record = record(
            &[
                ("namespace", None, 1, None),
                ("config", None, 2, None),
                ("other", None, 2, None),
                ("pod", None, 7, None),
            ],
            &[],
        );
        assert_eq!(waves(&record, &[]), ["pod", "config other", "namespace"]);
        assert_eq!(waves(&record, &["other"]), ["pod", "config other"]);
    }

    #[test]
    fn entries_of_old_and_new_applies_go_together() {
        let record = record(
            &[
                ("config", None, 1, Some(&[])),
                ("old", None, 2, None),
                ("pod", None, 2, Some(&["config"])),
            ],
            &[],
        );
        assert_eq!(waves(&record, &[]), ["old pod", "config"]);
    }

    #[test]
    fn edges_that_contradict_each_other_hold_nothing_for_ever() {
        let record = record(
            &[
                ("a", Some("a"), 2, Some(&["b"])),
                ("b", Some("b"), 3, Some(&[])),
                ("c", None, 1, Some(&[])),
            ],
            &[("b", &["a"])],
        );
        let waves = waves(&record, &[]);
        assert_eq!(
            waves.join(" ").split(' ').collect::<BTreeSet<_>>(),
            ["a", "b", "c"].into()
        );
        assert_eq!(waves.last().map(String::as_str), Some("c"));
    }
}
