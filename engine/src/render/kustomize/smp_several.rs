//! Strategic merge of lists whose elements have several merge keys (container ports, service ports, topology spread
//! constraints), repeat a key or omit it. This follows the original's steps one by one, because its treatment of an
//! omitted key is peculiar: such an element of a patch changes nothing if the resource has the key.

use super::schema::Type;
use super::smp::{Merge, Patch, values_of};
use crate::yaml::Node;
use std::sync::Arc;

pub(super) struct Several<'a, 'b> {
    pub(super) merge: &'a Merge<'b>,
    pub(super) keys: &'a [Arc<str>],
    pub(super) of: Option<Type>,
}

type Values = Vec<Arc<str>>;

impl Several<'_, '_> {
    /// Longer lists are not worth the original's way of searching.
    pub(super) const LONGEST: usize = 500;

    pub(super) fn elements(&self, ours: Vec<Node>, theirs: Vec<Node>, same: bool) -> Result<Vec<Node>, String> {
        // Elements are known by their index, because the original changes them in place while several lists hold them.
        let first_of_theirs = ours.len();
        let mut pool: Vec<Node> = ours.into_iter().chain(theirs).collect();
        let mut dest: Vec<usize> = (0..first_of_theirs).collect();
        let patch: Vec<usize> = if same {
            dest.clone()
        } else {
            (first_of_theirs..pool.len()).collect()
        };
        let mut wanted: Vec<Values> = Vec::new();
        for i in patch.iter().chain(&dest) {
            let values = values_of(&pool[*i], self.keys);
            if !wanted.contains(&values) {
                wanted.push(values);
            }
        }
        complete(&mut wanted);
        let used: Vec<usize> = (0..self.keys.len())
            .filter(|k| wanted.iter().any(|v| !v[*k].is_empty()))
            .collect();
        let used = if used.is_empty() {
            (0..self.keys.len()).collect()
        } else {
            used
        };
        let keys: Vec<&str> = used.iter().map(|k| &*self.keys[*k]).collect();
        let mut merged: Vec<usize> = Vec::new();
        for all in &wanted {
            let values: Values = used.iter().map(|k| all[*k].clone()).collect();
            let mine = self.find(&pool, &dest, all);
            let other = self.find(&pool, &patch, all);
            let index = self.walk(&mut pool, mine, other)?;
            match index.filter(|i| !pool[*i].is_null() && !pool[*i].is_empty_map()) {
                None => set(&pool, &mut dest, None, &keys, &values),
                Some(index) => {
                    for (key, value) in keys.iter().zip(&values).filter(|(_, v)| !v.is_empty()) {
                        if pool[index].get(key).is_none() {
                            pool[index].set(key, Node::tagged(value.clone(), super::plain_tag(value)));
                        }
                    }
                    set(&pool, &mut merged, Some(index), &keys, &values);
                }
            }
        }
        if !wanted.is_empty() {
            for index in dest {
                let mut values = Values::new();
                for key in &keys {
                    match pool[index].get(key).and_then(Node::text) {
                        Some(text) => values.push(text.into()),
                        None => merged.push(index),
                    }
                }
                if keys.len() > 1 {
                    set(&pool, &mut merged, None, &keys, &values);
                }
                set(&pool, &mut merged, Some(index), &keys, &values);
            }
        }
        Ok(merged.into_iter().map(|i| pool[i].clone()).collect())
    }

    /// The first element with these key values, as far as they are given.
    fn find(&self, pool: &[Node], list: &[usize], values: &[Arc<str>]) -> Option<usize> {
        let given = |k: &usize| !values[*k].is_empty();
        let keys: Vec<usize> = (0..self.keys.len()).filter(given).collect();
        let keys = if keys.is_empty() {
            (0..self.keys.len()).collect()
        } else {
            keys
        };
        let fits = |i: &&usize| {
            keys.iter()
                .all(|k| pool[**i].get(&self.keys[*k]).and_then(Node::text) == Some(&values[*k]))
        };
        list.iter().find(fits).copied()
    }

    /// Merges two elements; the index of what comes of it.
    fn walk(&self, pool: &mut [Node], mine: Option<usize>, other: Option<usize>) -> Result<Option<usize>, String> {
        let take = |pool: &mut [Node], i: usize| std::mem::replace(&mut pool[i], Node::null());
        let (node, patch, into) = match (mine, other) {
            (None, None) => return Ok(None),
            (Some(i), None) => (Some(take(pool, i)), Patch::None, i),
            (Some(i), Some(j)) if i == j => (Some(take(pool, i)), Patch::Same, i),
            (None, Some(j)) => (None, Patch::Other(take(pool, j)), j),
            (Some(i), Some(j)) => {
                let replaces = pool[j].get("$patch").and_then(Node::text) == Some("replace");
                let theirs = pool[j].clone();
                pool[j].remove("$patch");
                (
                    Some(pool[i].clone()),
                    Patch::Other(theirs),
                    if replaces { j } else { i },
                )
            }
        };
        let kept = node.clone();
        match self.merge.walk(node, patch, self.of)? {
            Some(result) => {
                pool[into] = result;
                Ok(Some(into))
            }
            None => {
                if let (Some(i), Some(kept)) = (mine, kept) {
                    pool[i] = kept;
                }
                Ok(None)
            }
        }
    }
}

/// Replaces the elements with these key values, or appends if there are none; without an element, removes them.
fn set(pool: &[Node], list: &mut Vec<usize>, element: Option<usize>, keys: &[&str], values: &[Arc<str>]) {
    let by_value = values.first().is_some_and(|v| !v.is_empty());
    let mut found_any = false;
    let mut kept = Vec::with_capacity(list.len() + 1);
    for index in std::mem::take(list) {
        let node = &pool[index];
        if node.is_null() || node.is_empty_map() {
            continue;
        }
        if !node.is_map() && by_value {
            kept.push(index);
            continue;
        }
        // A key without a value to compare with fits if the one before it did.
        let fits = !values.is_empty()
            && keys.iter().zip(values).all(|(key, value)| {
                let text = node.get(key).filter(|n| !n.is_null()).and_then(Node::text);
                text.is_some_and(|text| value.is_empty() || *text == **value)
            });
        if fits {
            found_any = true;
            kept.extend(element);
        } else if !values.is_empty() {
            kept.push(index);
        }
    }
    if !found_any {
        kept.extend(element);
    }
    *list = kept;
}

/// Key values that differ only in what one of them leaves out are the same.
fn complete(wanted: &mut [Values]) {
    for i in 0..wanted.len() {
        for j in 0..wanted.len() {
            let (a, b) = (&wanted[i], &wanted[j]);
            let common = a.iter().zip(b).any(|(x, y)| x == y);
            let differ = a.iter().zip(b).any(|(x, y)| x != y && !x.is_empty() && !y.is_empty());
            if common && !differ {
                let both: Values = a
                    .iter()
                    .zip(b)
                    .map(|(x, y)| if x.is_empty() { y.clone() } else { x.clone() })
                    .collect();
                wanted[i].clone_from(&both);
                wanted[j] = both;
            }
        }
    }
}
