//! Work to do, now or later: each item at most once in line, as a controller's work queue has it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::hash::Hash;

type Millis = i64;

/// A first-in-first-out line with delays and a growing pause after failures.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    line: VecDeque<T>,
    waiting: HashSet<T>,
    later: BinaryHeap<Reverse<(Millis, u64, T)>>,
    due: HashMap<T, Millis>,
    failures: HashMap<T, u32>,
    sequence: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            line: VecDeque::new(),
            waiting: HashSet::new(),
            later: BinaryHeap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        }
    }
}

impl<T: Clone + Eq + Hash + Ord> Queue<T> {
    /// Put an item at the end of the line, unless it is in it.
    pub(crate) fn add(&mut self, item: T) {
        if self.waiting.insert(item.clone()) {
            self.line.push_back(item);
        }
    }

    /// Put an item in line at a time; of two times the earlier counts.
    pub(crate) fn add_at(&mut self, item: T, at: Millis) {
        match self.due.get(&item) {
            Some(earlier) if *earlier <= at => {}
            _ => {
                self.due.insert(item.clone(), at);
                self.sequence += 1;
                self.later.push(Reverse((at, self.sequence, item)));
            }
        }
    }

    /// Try an item again, later each time: after `first` milliseconds, twice that, four times; at most 1000 s.
    pub(crate) fn retry(&mut self, item: T, now: Millis, first: Millis) {
        let failures = self.failures.entry(item.clone()).or_insert(0);
        let pause = first.saturating_mul(1_i64 << (*failures).min(40)).min(1_000_000);
        *failures += 1;
        self.add_at(item, now + pause);
    }

    /// An item succeeded: its next failure is its first.
    pub(crate) fn forget(&mut self, item: &T) {
        self.failures.remove(item);
    }

    /// The next item, with those in line whose time has come.
    pub(crate) fn next(&mut self, now: Millis) -> Option<T> {
        while let Some(Reverse((at, _, _))) = self.later.peek() {
            if *at > now {
                break;
            }
            if let Some(Reverse((at, _, item))) = self.later.pop()
                && self.due.get(&item) == Some(&at)
            {
                self.due.remove(&item);
                self.add(item);
            }
        }
        let item = self.line.pop_front()?;
        self.waiting.remove(&item);
        Some(item)
    }

    /// The first item in line that fits, before its turn.
    pub(crate) fn take(&mut self, fits: impl Fn(&T) -> bool) -> Option<T> {
        let at = self.line.iter().position(fits)?;
        let item = self.line.remove(at)?;
        self.waiting.remove(&item);
        Some(item)
    }

    /// When the next delayed item is due.
    pub(crate) fn due(&mut self) -> Option<Millis> {
        while let Some(Reverse((at, _, item))) = self.later.peek() {
            if self.due.get(item) == Some(at) {
                return Some(*at);
            }
            self.later.pop();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_in_line_once_and_the_earlier_time_counts() {
        let mut queue = Queue::default();
        queue.add("a");
        queue.add("a");
        queue.add_at("b", 50);
        queue.add_at("b", 20);
        queue.add_at("b", 90);
        assert_eq!((queue.next(0), queue.next(0)), (Some("a"), None));
        assert_eq!(queue.due(), Some(20));
        assert_eq!((queue.next(20), queue.next(100)), (Some("b"), None));
    }

    #[test]
    fn the_pause_doubles_until_success() {
        let mut queue = Queue::default();
        let mut pauses = Vec::new();
        for _ in 0..4 {
            queue.retry("a", 0, 5);
            let at = queue.due().unwrap();
            pauses.push(at);
            queue.next(at);
        }
        assert_eq!(pauses, [5, 10, 20, 40]);
        queue.forget(&"a");
        queue.retry("a", 0, 5);
        assert_eq!(queue.due(), Some(5));
    }
}
