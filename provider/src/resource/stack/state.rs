//! The computed attributes of a stack's state, and what is true of them after an apply that did not finish.

use std::collections::{BTreeMap, BTreeSet};

use myelin_engine::apply::{Fate, Outcome};
use myelin_engine::object::ObjectKey;

use crate::value::Value;

/// Sets attributes of an object.
pub(in crate::resource) fn with(value: &Value, changes: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let mut attributes = value.as_map().cloned().unwrap_or_default();
    attributes.extend(changes.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Map(attributes)
}

/// A map of texts.
pub(super) fn texts<K: ToString>(entries: impl IntoIterator<Item = (K, String)>) -> Value {
    Value::Map(
        entries
            .into_iter()
            .map(|(key, text)| (key.to_string(), Value::string(text)))
            .collect(),
    )
}

/// The attribute `objects` after an apply that did not finish: what was sent is as it was planned, what was not is as it was
/// before, and what is gone is gone.
pub(super) fn objects_after(prior: &Value, wanted: &Value, outcome: &Outcome, sent: &BTreeSet<ObjectKey>) -> Value {
    let before = prior.attribute("objects").as_map();
    let planned = wanted.as_map();
    let known = |map: Option<&BTreeMap<String, Value>>, key: &str| map.and_then(|map| map.get(key)).cloned();
    let mut after: BTreeMap<String, Value> = BTreeMap::new();
    for (object, fate) in &outcome.objects {
        let key = object.to_string();
        let value = match fate {
            // Its image cannot be pulled, for example: the object itself is as it was planned.
            Fate::Failed(_) | Fate::Skipped(_) | Fate::Uncertain(_) if sent.contains(object) => known(planned, &key),
            Fate::Unchanged | Fate::Ready | Fate::Waiting(_) => known(planned, &key),
            // Not confirmed: the state as before shows as a change, which is the safe side.
            Fate::Failed(_) | Fate::Skipped(_) | Fate::Uncertain(_) | Fate::Kept(_) => known(before, &key),
            Fate::Gone => None,
        };
        if let Some(value) = value {
            after.insert(key, value);
        }
    }
    // What the outcome does not speak of was not touched.
    for (key, value) in before.into_iter().flatten() {
        let touched = outcome.objects.keys().any(|touched| touched.to_string() == *key);
        if !touched {
            after.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    Value::Map(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(entries: &[(&str, &str)]) -> Value {
        texts(entries.iter().map(|(key, text)| (*key, (*text).to_owned())))
    }

    #[test]
    fn after_a_failed_update_each_object_is_what_is_true_of_it() {
        let key = |name: &str| format!("core/ConfigMap/ns/{name}");
        let names = ["same", "sent", "broken", "failed", "new", "gone", "kept", "untold"];
        let [same, sent, broken, failed, new, gone, kept, untold] = names.map(key);
        let before = map(&[
            (&same, "1"),
            (&sent, "old"),
            (&broken, "old"),
            (&failed, "old"),
            (&gone, "old"),
            (&kept, "old"),
            (&untold, "old"),
        ]);
        let prior = Value::Map([("objects".to_owned(), before)].into());
        let wanted = map(&[
            (&same, "1"),
            (&sent, "new"),
            (&broken, "new"),
            (&failed, "new"),
            (&new, "new"),
        ]);
        let fates = [
            (&same, Fate::Unchanged),
            (&sent, Fate::Waiting("pods".to_owned())),
            (&broken, Fate::Failed("no such image".to_owned())),
            (&failed, Fate::Failed("refused".to_owned())),
            (&new, Fate::Skipped("failed".to_owned())),
            (&gone, Fate::Gone),
            (&kept, Fate::Kept("protected".to_owned())),
        ];
        let objects = fates
            .into_iter()
            .map(|(key, fate)| (key.parse().expect("a key"), fate))
            .collect();
        let confirmed = [&sent, &broken].map(|key| key.parse().expect("a key")).into();
        let outcome = Outcome {
            objects,
            ..Outcome::default()
        };
        let expected = [
            (&*same, "1"),
            (&sent, "new"),
            (&broken, "new"),
            (&failed, "old"),
            (&kept, "old"),
            (&untold, "old"),
        ];
        assert_eq!(objects_after(&prior, &wanted, &outcome, &confirmed), map(&expected));
    }
}
