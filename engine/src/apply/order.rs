//! What waits for what during an apply: conditions, and what follows when each is met or fails.
//!
//! Bookkeeping only: it knows neither requests nor time.

use crate::desired::Desired;
use crate::graph::{BASE, Graph, Until};
use crate::object::ObjectKey;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A condition that something waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Condition {
    /// The object is in the cluster.
    Applied(ObjectKey),
    /// The object's gate has opened.
    Ready(ObjectKey),
    /// The object was tried, whatever the result.
    Tried(ObjectKey),
    /// Everything in the component is ready, and its checks have succeeded.
    Verified(String),
    /// Everything in the component is ready; for the base, tried.
    Component(String),
    /// The object of somebody else is ready (index into `Desired::requires`).
    Requirement(usize),
}

/// Who waits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Waiter {
    Object(ObjectKey),
    /// The checks of a component wait for its objects.
    Checks(String),
    Component(String),
}

/// What follows from a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Consequence {
    /// The object may start.
    Start(ObjectKey),
    /// Everything in the component is ready: its checks may start.
    Verify(String),
    /// Everything in the component is ready and checked.
    Complete(String),
    /// The object can never start, for the reason in the text.
    Skip(ObjectKey, String),
    /// The component can never be ready.
    Broken(String, String),
}

/// The remaining waits.
pub(super) struct Order {
    unmet: HashMap<Waiter, BTreeSet<Condition>>,
    waiting: HashMap<Condition, BTreeSet<Waiter>>,
}

impl Order {
    /// All waits of a stack.
    pub(super) fn of(desired: &Desired) -> Self {
        let mut order = Self {
            unmet: HashMap::new(),
            waiting: HashMap::new(),
        };
        let graph = &desired.graph;
        for object in &desired.objects {
            let key = &object.key;
            let mut conditions = conditions(graph, key);
            let namespace = key.group.is_empty() && key.kind == "Namespace";
            for (i, (component, _)) in desired.requires.iter().enumerate() {
                if !namespace && (component.is_none() || *component == object.component) {
                    conditions.insert(Condition::Requirement(i));
                }
            }
            order.add(Waiter::Object(key.clone()), conditions);
        }
        for token in &desired.tokens {
            order.add(Waiter::Object(token.key.clone()), conditions(graph, &token.key));
        }
        let members = |name: &str| graph.members.get(name).into_iter().flatten().cloned();
        for (name, terms) in &desired.components {
            let mut conditions: BTreeSet<Condition> = members(name).map(Condition::Ready).collect();
            // A component without objects passes the order on to its successors.
            conditions.extend(terms.after.iter().cloned().map(Condition::Component));
            if terms.verify.is_empty() {
                order.add(Waiter::Component(name.clone()), conditions);
            } else {
                order.add(Waiter::Checks(name.clone()), conditions);
                let checked = [Condition::Verified(name.clone())].into();
                order.add(Waiter::Component(name.clone()), checked);
            }
        }
        order.add(
            Waiter::Component(BASE.to_owned()),
            members(BASE).map(Condition::Tried).collect(),
        );
        order
    }

    fn add(&mut self, waiter: Waiter, conditions: BTreeSet<Condition>) {
        for condition in &conditions {
            self.waiting
                .entry(condition.clone())
                .or_default()
                .insert(waiter.clone());
        }
        self.unmet.insert(waiter, conditions);
    }

    /// Starts what waits for nothing.
    pub(super) fn begin(&mut self) -> Vec<Consequence> {
        let free: Vec<Waiter> = self
            .unmet
            .iter()
            .filter(|(_, conditions)| conditions.is_empty())
            .map(|(w, _)| w.clone())
            .collect();
        let mut out = Vec::new();
        for waiter in free {
            self.free(&waiter, &mut out);
        }
        out
    }

    /// Marks a condition as met.
    pub(super) fn met(&mut self, condition: &Condition) -> Vec<Consequence> {
        let mut out = Vec::new();
        self.meet(condition, &mut out);
        out
    }

    fn meet(&mut self, condition: &Condition, out: &mut Vec<Consequence>) {
        for waiter in self.waiting.remove(condition).unwrap_or_default() {
            if let Some(unmet) = self.unmet.get_mut(&waiter) {
                unmet.remove(condition);
                if unmet.is_empty() {
                    self.free(&waiter, out);
                }
            }
        }
    }

    fn free(&mut self, waiter: &Waiter, out: &mut Vec<Consequence>) {
        self.unmet.remove(waiter);
        match waiter {
            Waiter::Object(key) => out.push(Consequence::Start(key.clone())),
            Waiter::Checks(name) => out.push(Consequence::Verify(name.clone())),
            Waiter::Component(name) => {
                out.push(Consequence::Complete(name.clone()));
                self.meet(&Condition::Component(name.clone()), out);
            }
        }
    }

    /// An object will never exist (or, with `ready_only`, never be ready): everything that waits for it fails, and so
    /// on.
    pub(super) fn failed(&mut self, key: &ObjectKey, ready_only: bool) -> Vec<Consequence> {
        let why = format!("{} failed", key.human());
        let mut out = Vec::new();
        let mut fallen = vec![Condition::Ready(key.clone())];
        if !ready_only {
            fallen.push(Condition::Applied(key.clone()));
            self.meet(&Condition::Tried(key.clone()), &mut out);
        }
        self.fall(fallen, &why, &mut out);
        out
    }

    /// A required object of somebody else is not ready.
    pub(super) fn requirement_failed(&mut self, index: usize, why: &str) -> Vec<Consequence> {
        let mut out = Vec::new();
        self.fall(vec![Condition::Requirement(index)], why, &mut out);
        out
    }

    /// A component's checks failed.
    pub(super) fn unverified(&mut self, name: &str) -> Vec<Consequence> {
        let mut out = Vec::new();
        let why = format!("the verification of component {name} failed");
        self.fall(vec![Condition::Verified(name.to_owned())], &why, &mut out);
        out
    }

    fn fall(&mut self, mut fallen: Vec<Condition>, why: &str, out: &mut Vec<Consequence>) {
        while let Some(condition) = fallen.pop() {
            for waiter in self.waiting.remove(&condition).unwrap_or_default() {
                if self.unmet.remove(&waiter).is_none() {
                    continue;
                }
                match waiter {
                    Waiter::Object(key) => {
                        out.push(Consequence::Skip(key.clone(), why.to_owned()));
                        self.meet(&Condition::Tried(key.clone()), out);
                        fallen.push(Condition::Applied(key.clone()));
                        fallen.push(Condition::Ready(key));
                    }
                    Waiter::Checks(name) => fallen.push(Condition::Verified(name)),
                    Waiter::Component(name) => {
                        out.push(Consequence::Broken(name.clone(), why.to_owned()));
                        fallen.push(Condition::Component(name));
                    }
                }
            }
        }
    }

    /// What an object that has not started is waiting for, as text for the user.
    pub(super) fn waits_for(&self, key: &ObjectKey) -> String {
        let unmet = self.unmet.get(&Waiter::Object(key.clone())).into_iter().flatten();
        let names: Vec<String> = unmet
            .map(|condition| match condition {
                Condition::Applied(key) | Condition::Ready(key) | Condition::Tried(key) => key.human(),
                Condition::Component(name) if name == BASE => "the stack's base".to_owned(),
                Condition::Component(name) => format!("component {name}"),
                Condition::Verified(name) => format!("the checks of component {name}"),
                Condition::Requirement(_) => "what it requires of others".to_owned(),
            })
            .collect();
        names.join(", ")
    }
}

/// What an object or token waits for: the objects it needs, and the components before its own.
fn conditions(graph: &Graph, key: &ObjectKey) -> BTreeSet<Condition> {
    let needs = graph.needs.get(key).into_iter().flatten();
    let needs = needs.map(|(other, need)| match need.until {
        Until::Applied => Condition::Applied(other.clone()),
        Until::Ready => Condition::Ready(other.clone()),
    });
    let after = graph.after.get(key).into_iter().flatten();
    needs.chain(after.cloned().map(Condition::Component)).collect()
}

/// The conditions of each component's members, for its status.
pub(super) fn members(desired: &Desired) -> BTreeMap<String, Vec<ObjectKey>> {
    let mut all: BTreeMap<String, Vec<ObjectKey>> =
        desired.components.keys().map(|n| (n.clone(), Vec::new())).collect();
    for object in &desired.objects {
        if let Some(component) = &object.component {
            all.entry(component.clone()).or_default().push(object.key.clone());
        }
    }
    all
}
