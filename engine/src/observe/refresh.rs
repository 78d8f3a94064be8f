//! A stack as its record and the cluster have it, without its documents, for a Terraform read and an import.

use super::owned::{attest, projection};
use super::tokens::{TokenFacts, facts};
use super::{find, forsake_leaving, is_deleting, resources, told, uid};
use crate::cluster::Cluster;
use crate::desired::{masked, token_key};
use crate::diagnostic::Diagnostics;
use crate::mask::{MaskKey, WRITE_ONLY};
use crate::object::ObjectKey;
use crate::record::{self, Entry, Owner, StackId, desired_hash};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

/// The current state of a stack.
#[derive(Debug, Clone)]
pub struct Refresh {
    /// Its owner.
    pub owner: Owner,
    /// For each existing object: `prior` verbatim if nothing of ours changed, otherwise the live values at our fields,
    /// with secrets masked. Objects that are gone are absent.
    pub objects: BTreeMap<ObjectKey, String>,
    /// Objects whose owned fields changed, and objects that are gone.
    pub drifted: Vec<ObjectKey>,
    /// Whether the last apply ended with everything ready.
    pub ready: bool,
    /// Status of each component at the end of the last apply.
    pub components: BTreeMap<String, String>,
    /// What is known of each token.
    pub tokens: BTreeMap<String, TokenFacts>,
}

/// Reads a stack from its record: one list per kind. None when there is no record.
///
/// `prior` is what the front end stored for each object (canonical JSON, as `Desired::canonical` makes it with the stack's
/// identity key); empty for an import.
///
/// # Errors
/// When the cluster cannot be reached or refuses, or the record cannot be read.
pub async fn refresh(
    cluster: &dyn Cluster,
    stack: &StackId,
    prior: &BTreeMap<ObjectKey, String>,
) -> Result<Option<Refresh>, Diagnostics> {
    let cancel = CancellationToken::new();
    let stored = record::read(cluster, stack, &cancel)
        .await
        .map_err(|e| Diagnostics::from(e.diagnostic(stack, "reading")))?;
    let Some(stored) = stored else { return Ok(None) };
    let record = stored.record;
    let failed = |e| Diagnostics::from(told(&e, "reading the stack's objects failed"));
    let keys: BTreeMap<ObjectKey, String> = record
        .entries
        .values()
        .map(|e| (e.key.clone(), e.api_version.clone()))
        .collect();
    let (resources, _) = resources(cluster, keys.iter().map(|(k, v)| (v, &k.kind)), &cancel)
        .await
        .map_err(failed)?;
    let confirmed: BTreeSet<&ObjectKey> = record.entries.values().map(|e| &e.key).collect();
    let mut live = find(cluster, stack, &keys, &confirmed, &resources, true, &cancel)
        .await
        .map_err(failed)?;
    if !forsake_leaving(&mut live).is_empty() {
        // They count as gone themselves: the next apply creates them again.
        live.retain(|key, value| key.kind != "Namespace" || !is_deleting(value));
    }
    let shown = MaskKey::of_identity(&stack.namespace, &stack.name);
    let mut objects = BTreeMap::new();
    let mut drifted = Vec::new();
    let mut tokens = BTreeMap::new();
    for entry in record.entries.values() {
        let Some(live) = live.get(&entry.key) else {
            match prior.get(&entry.key) {
                // A Job that has completed and removed itself is not missing.
                Some(before) if entry.ends && record.ready => {
                    objects.insert(entry.key.clone(), before.clone());
                }
                _ => drifted.push(entry.key.clone()),
            }
            continue;
        };
        let same = entry.uid.as_deref() == uid(live)
            && entry.attested.is_some()
            && attest(&record.key, live) == entry.attested;
        let before = prior.get(&entry.key);
        let text = match (same, before) {
            (true, Some(before)) if of_another_apply(before, entry, &record.key) => {
                let shown_before = serde_json::from_str(before).unwrap_or_default();
                like(&shown_before, &masked(live, &BTreeSet::new(), &shown)).to_string()
            }
            (true, Some(before)) => before.clone(),
            (true, None) => owned_text(live, &shown),
            (false, before) => {
                drifted.push(entry.key.clone());
                drift_text(live, before.map(String::as_str), &shown)
            }
        };
        objects.insert(entry.key.clone(), text);
    }
    for (name, entry) in &record.tokens {
        let key = token_key(&stack.namespace, name);
        let text = prior.get(&key).unwrap_or(&entry.text).clone();
        let known = facts(cluster, &record, entry, &cancel).await.map_err(failed)?;
        match &known.due {
            None => {
                objects.insert(key, text);
            }
            Some(why) => {
                let mut shown: Value = serde_json::from_str(&text).unwrap_or_default();
                if let Some(map) = shown.as_object_mut() {
                    map.insert("drift".into(), why.as_str().into());
                }
                drifted.push(key.clone());
                objects.insert(key, shown.to_string());
            }
        }
        tokens.insert(name.clone(), known);
    }
    Ok(Some(Refresh {
        owner: record.owner,
        objects,
        drifted,
        ready: record.ready,
        components: record.components,
        tokens,
    }))
}

/// What is known about the tokens of a stack. Reads its record and their Secrets, and nothing else. Empty without a
/// record.
///
/// # Errors
/// As [`refresh`].
pub async fn token_facts(cluster: &dyn Cluster, stack: &StackId) -> Result<BTreeMap<String, TokenFacts>, Diagnostics> {
    let cancel = CancellationToken::new();
    let stored = record::read(cluster, stack, &cancel)
        .await
        .map_err(|e| Diagnostics::from(e.diagnostic(stack, "reading")))?;
    let mut known = BTreeMap::new();
    for record in stored.iter().map(|stored| &stored.record) {
        for (name, entry) in &record.tokens {
            let found = facts(cluster, record, entry, &cancel).await;
            let found = found.map_err(|e| Diagnostics::from(told(&e, "reading the stack's tokens failed")))?;
            known.insert(name.clone(), found);
        }
    }
    Ok(known)
}

/// Whether `before` is certainly not what the record's last apply sent: the state is an older one that was put back, or
/// somebody applied the stack from another folder. Nobody meddled then, and yet the object is not as `before` says.
/// Texts with masked values and objects with fields that were left to others cannot be compared so.
fn of_another_apply(before: &str, entry: &Entry, key: &MaskKey) -> bool {
    let comparable = entry.left.is_empty() && !before.contains(WRITE_ONLY) && !before.contains("(sensitive");
    comparable
        && serde_json::from_str::<Value>(before).is_ok_and(|value| {
            entry
                .desired
                .as_ref()
                .is_some_and(|sent| *sent != desired_hash(key, &value))
        })
}

fn owned_text(live: &Value, key: &MaskKey) -> String {
    let ours = projection(live).unwrap_or_else(|| Value::Object(Map::new()));
    masked(&ours, &BTreeSet::new(), key).to_string()
}

/// The live values where the prior text has values, so that the difference is exactly what somebody changed.
fn drift_text(live: &Value, prior: Option<&str>, key: &MaskKey) -> String {
    let Some(Ok(prior)) = prior.map(serde_json::from_str::<Value>) else {
        return owned_text(live, key);
    };
    let mut shown = like(&prior, &masked(live, &BTreeSet::new(), key));
    if shown == prior {
        // The change is in a value that is not shown, or in the ownership of a field.
        if let Some(map) = shown.as_object_mut() {
            map.insert(
                "drift".into(),
                "a value that is not shown, or the owner of a field, has changed".into(),
            );
        }
    }
    shown.to_string()
}

/// The parts of `live` that `prior` has.
fn like(prior: &Value, live: &Value) -> Value {
    match (prior, live) {
        (Value::String(text), _) if text == WRITE_ONLY => prior.clone(),
        (Value::Object(prior), Value::Object(live)) => {
            let both = prior
                .iter()
                .filter_map(|(name, p)| live.get(name).map(|l| (name.clone(), like(p, l))));
            Value::Object(both.collect())
        }
        (Value::Array(prior), Value::Array(live)) => {
            let named = |v: &Value| v.get("name").and_then(Value::as_str).map(str::to_owned);
            let by_name = !prior.is_empty() && prior.iter().chain(live).all(|v| named(v).is_some());
            let mut out = Vec::new();
            for (i, p) in prior.iter().enumerate() {
                let found = if by_name {
                    live.iter().find(|l| named(l) == named(p))
                } else {
                    live.get(i)
                };
                out.extend(found.map(|l| like(p, l)));
            }
            // Plain values were added to a list that is ours.
            if !by_name && live.len() > prior.len() && !live.iter().any(Value::is_object) {
                out.extend(live[prior.len()..].iter().cloned());
            }
            Value::Array(out)
        }
        _ => live.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn drift_shows_the_changed_value_in_the_shape_of_the_prior_text() {
        let key = MaskKey::of_identity("n", "s");
        let prior =
            json!({"spec": {"replicas": 2, "containers": [{"name": "a", "image": "x:1"}], "args": ["p"]}}).to_string();
        let live = json!({"metadata": {"uid": "u"}, "spec": {"replicas": 5, "strategy": {},
            "containers": [{"name": "b", "image": "y"}, {"name": "a", "image": "x:1", "pull": "Always"}], "args": ["p", "q"]}});
        assert_eq!(
            drift_text(&live, Some(&prior), &key),
            json!({"spec": {"replicas": 5, "containers": [{"name": "a", "image": "x:1"}], "args": ["p", "q"]}})
                .to_string()
        );
    }

    #[test]
    fn drift_of_a_secret_shows_no_value() {
        let key = MaskKey::of_identity("n", "s");
        let secret = |v: &str| json!({"apiVersion": "v1", "kind": "Secret", "data": {"p": v}});
        let prior = masked(&secret("aHVudGVy"), &BTreeSet::new(), &key).to_string();
        let text = drift_text(&secret("bWFybGlu"), Some(&prior), &key);
        assert!(text.contains("(sensitive ") && !text.contains("bWFybGlu") && text != prior);
    }
}
