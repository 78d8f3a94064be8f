//! The plan from one revision of a stack to another, without a cluster: what a pull request changes.
//!
//! It is the ordinary plan on an assumed observation: everything of the first revision was applied, and nobody has
//! written since. What only a server knows (defaults, conflicts, immutable fields) is not included.

use super::{Action, Change, Plan, hash, plan};
use crate::desired::{Desired, token_text};
use crate::mask::MaskKey;
use crate::observe::{Observation, Trial, wanted};
use crate::record::{Entry, Owner, Record, Stored, Version};
use serde_json::{Value, json};
use std::sync::Arc;

/// The UID of objects that are assumed to exist.
const ASSUMED: &str = "assumed";

/// Plans `after` as if the cluster held `before`.
#[must_use]
pub fn between(before: &Desired, after: Arc<Desired>, owner: Owner) -> Plan {
    let observation = Arc::new(assumed(before, &after, owner.clone()));
    let mut plan = plan(after, observation, owner);
    for wanted in &plan.desired.tokens {
        let old = before.token(&wanted.key);
        if old.is_some_and(|old| token_text(&old.token) == token_text(&wanted.token))
            && let Some(change) = plan.changes.iter_mut().find(|change| change.key == wanted.key)
        {
            change.action = Action::Unchanged;
            change.reason.clear();
        }
    }
    let gone = before
        .tokens
        .iter()
        .filter(|old| plan.desired.token(&old.key).is_none());
    plan.changes.extend(gone.map(|old| Change {
        key: old.key.clone(),
        component: old.component.clone(),
        action: Action::Prune,
        reason: "it is not wanted any more".to_owned(),
        fields: Vec::new(),
        drift: false,
    }));
    plan.hash = hash(&plan.desired, &plan.observation, &plan.changes, &plan.asks);
    plan
}

fn assumed(before: &Desired, after: &Desired, owner: Owner) -> Observation {
    let key = MaskKey::of_identity(&after.stack.namespace, &after.stack.name);
    let mut record = Record::new(before.stack.clone(), owner, [0; 32]);
    record.key = key.clone();
    record.ready = true;
    record.verified = super::checks(&key, before);
    let mut seen = Observation::default();
    for object in &before.objects {
        let old = wanted(object, Vec::new(), &key);
        let mut entry = Entry::intended(object.key.clone());
        entry.api_version.clone_from(&object.api_version);
        entry.component.clone_from(&object.component);
        entry.level = before.graph.level.get(&object.key).copied().unwrap_or(0);
        entry.uid = Some(ASSUMED.to_owned());
        entry.desired = Some(old.hash.clone());
        let live = stamped(&object.value);
        if let Some(new) = after.object(&object.key) {
            let new = wanted(new, Vec::new(), &key);
            let answer = stamped(&new.body);
            seen.trials.insert(
                object.key.clone(),
                Trial {
                    result: Ok(answer),
                    resent: false,
                    taken: Vec::new(),
                    foreign: Vec::new(),
                    beside: Vec::new(),
                },
            );
            seen.wanted.insert(object.key.clone(), new);
        }
        seen.live.insert(object.key.clone(), live);
        record.entries.insert(object.key.clone(), entry);
    }
    seen.stored = Some(Stored {
        record,
        version: Version {
            uid: ASSUMED.to_owned(),
            resource_version: "0".to_owned(),
        },
    });
    seen
}

fn stamped(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".into(), json!(ASSUMED));
    }
    body
}
