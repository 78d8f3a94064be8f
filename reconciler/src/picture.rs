//! The state of everything in a source, object by object, for the page: what records name, what an apply reports while
//! it runs, and what the drift watches show anyway. It costs no request.

use crate::deployment::Deployment;
use crate::health::{Health, glance};
use crate::waits::without;
use myelin_engine::apply::Progress;
use myelin_engine::object::ObjectKey;
use myelin_engine::record::{Entry, Record, StackId};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by the source, which draws, and the page, which looks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Picture(Arc<Mutex<Drawn>>);

/// What is in the picture.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drawn {
    /// What each stack is made of.
    pub(crate) records: BTreeMap<StackId, Arc<Record>>,
    /// How each object stands.
    pub(crate) health: BTreeMap<ObjectKey, Health>,
    /// The commit at which a user holds the source.
    pub(crate) held: Option<String>,
}

impl Picture {
    fn drawn(&self) -> MutexGuard<'_, Drawn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is in it now. Records are shared, not copied.
    pub(crate) fn now(&self) -> Drawn {
        self.drawn().clone()
    }

    /// Whether a user holds the source at a commit.
    pub(crate) fn hold(&self, commit: Option<String>) {
        self.drawn().held = commit;
    }

    /// A commit is about to be applied: new and changed stacks appear as it wants them, not created yet.
    pub(crate) fn expect(&self, planned: &Deployment) {
        let mut drawn = self.drawn();
        for (stack, plan) in planned.plans.iter().filter(|(_, plan)| !plan.is_empty()) {
            let mut record = Record::new(stack.id.clone(), planned.owner.clone(), [0; 32]);
            record.plan.clone_from(&plan.hash);
            for object in &stack.desired.objects {
                let mut entry = Entry::intended(object.key.clone());
                entry.component.clone_from(&object.component);
                record.entries.insert(object.key.clone(), entry);
                let health = drawn.health.entry(object.key.clone()).or_default();
                if health.state != "ready" {
                    *health = said("waiting", "its turn has not come yet");
                }
            }
            let terms = stack.desired.components.iter();
            record.after = terms.map(|(name, terms)| (name.clone(), terms.after.clone())).collect();
            if let Some(old) = drawn.records.get(&stack.id) {
                record.components.clone_from(&old.components);
                record.tokens.clone_from(&old.tokens);
            }
            drawn.records.insert(stack.id.clone(), Arc::new(record));
        }
    }

    /// A step of an apply.
    pub(crate) fn note(&self, step: &Progress) {
        let mut drawn = self.drawn();
        let (key, health) = match step {
            Progress::Applied(key) => (key, said("waiting", "applied")),
            Progress::Waiting(key, why) => (key, said("waiting", without(key, why))),
            Progress::Ready(key) => (key, said("ready", "")),
            Progress::Failed(key, why) => (key, said("failed", without(key, why))),
            Progress::Gone(key) => {
                drawn.health.remove(key);
                return;
            }
            Progress::ComponentReady(_) => return,
        };
        if let Some(known) = drawn.health.get_mut(key) {
            *known = health;
        }
    }

    /// These are all stacks there are, and what they are made of. What was ready stays as it was seen last.
    pub(crate) fn all(&self, records: &[Arc<Record>]) {
        let mut drawn = self.drawn();
        let mut old = std::mem::take(&mut drawn.health);
        drawn.records.clear();
        for record in records {
            for entry in record.entries.values() {
                let health = old.remove(&entry.key).unwrap_or_default();
                drawn
                    .health
                    .insert(entry.key.clone(), as_recorded(record, entry, health));
            }
            drawn.records.insert(record.stack.clone(), Arc::clone(record));
        }
    }

    /// One stack is made of this now.
    pub(crate) fn one(&self, record: &Arc<Record>) {
        let mut drawn = self.drawn();
        for entry in record.entries.values() {
            let health = drawn.health.remove(&entry.key).unwrap_or_default();
            drawn
                .health
                .insert(entry.key.clone(), as_recorded(record, entry, health));
        }
        drawn.records.insert(record.stack.clone(), Arc::clone(record));
    }

    /// A watch showed an object.
    pub(crate) fn seen(&self, record: &Record, live: &Value, gone: bool) {
        let key = ObjectKey::of(live);
        if record.entry(&key).is_none() {
            return;
        }
        let health = if gone {
            said("missing", "it is not in the cluster")
        } else {
            glance(record, &key, live)
        };
        self.drawn().health.insert(key, health);
    }
}

/// The recorded state, if nothing newer is known.
fn as_recorded(record: &Record, entry: &Entry, known: Health) -> Health {
    match known.state {
        "" if record.ready => said("ready", ""),
        "" if entry.uid.is_none() => said("waiting", "it is not made yet"),
        "" => said("waiting", "the last apply has not seen it ready"),
        // Everything was ready at the end of the apply, whatever was waited for before.
        "waiting" if record.ready => said("ready", ""),
        _ => known,
    }
}

fn said(state: &'static str, reason: &str) -> Health {
    Health {
        state,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myelin_engine::record::Owner;

    #[test]
    fn an_object_stands_as_it_was_seen_last_and_as_recorded_before_it_was_seen() {
        let mut record = Record::new("a/one".parse().unwrap(), Owner::Git("git".into()), [0; 32]);
        let key = |name: &str| ObjectKey::new("", "ConfigMap", "a", name);
        for name in ["one", "two"] {
            record.entries.insert(key(name), Entry::intended(key(name)));
        }
        record.ready = true;
        let picture = Picture::default();
        picture.all(&[Arc::new(record.clone())]);
        let state = |name: &str| picture.now().health[&key(name)].state;
        assert_eq!((state("one"), state("two")), ("ready", "ready"));
        picture.note(&Progress::Failed(key("one"), "no".to_owned()));
        picture.note(&Progress::Failed(key("stranger"), "no".to_owned()));
        assert_eq!(state("one"), "failed");
        assert!(!picture.now().health.contains_key(&key("stranger")));
        let live =
            serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two", "namespace": "a"}});
        picture.seen(&record, &live, true);
        assert_eq!(state("two"), "missing");
        record.entries.remove(&key("two"));
        picture.all(&[Arc::new(record)]);
        assert_eq!(picture.now().health.len(), 1, "what is no longer there is forgotten");
    }
}
