//! Destroys a stack without a record: the record was lost, deleted by hand, or deleted by a destroy that was killed
//! near its end.
//!
//! What carries the set's label and was written by us is the stack's. Kinds are listed one by one: the built-in ones
//! and those of CRDs, but not those of aggregated API servers.

use super::Demolition;
use crate::apply::custom::custom_kinds;
use crate::apply::ledger::Ledger;
use crate::cluster::{ClusterError, FIELD_MANAGER, Resource, Selection, kinds, retrying};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::graph::{self, Member};
use crate::object::ObjectKey;
use crate::observe::{set_of, told, uid};
use crate::record::{Entry, Owner, PART_OF, Record};
use futures::StreamExt as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Lists in flight at once.
const IN_FLIGHT: usize = 8;

/// The objects that carry the stack's label.
#[derive(Default)]
struct Members {
    live: BTreeMap<ObjectKey, Value>,
    resources: BTreeMap<(String, String), Resource>,
    /// Kinds that we may not list.
    unseen: BTreeSet<String>,
}

impl Demolition<'_> {
    /// Deletes the members, dependants first, and then what is left of the namespace.
    pub(super) async fn unrecorded(&mut self, owner: &Owner) -> Result<(), Diagnostics> {
        let mut members = self.members().await?;
        let namespace = self.namespace_key();
        members.live.remove(&namespace);
        if !members.unseen.is_empty() {
            let kinds: Vec<&str> = members.unseen.iter().map(String::as_str).collect();
            self.outcome.tell(
                Diagnostic::warning(format!("{} has no record", self.stack.title())).detail(format!(
                    "its objects were looked for by their label {PART_OF}={}; these kinds may not be listed, and what is of them \
                     stays: {}",
                    self.stack.apply_set(),
                    kinds.join(", ")
                )),
            );
        }
        if !members.live.is_empty() {
            self.outcome.recorded = true;
            // Never written: the next run finds what is left by its label again.
            let record = Record {
                entries: inventory(&members.live),
                ..Record::new(self.stack.clone(), owner.clone(), [0; 32])
            };
            let mut ledger = Ledger::unwritten(record);
            let claims = self.claims(&members.live);
            if !self.objects(&mut ledger, &members.live, &members.resources).await {
                return Ok(());
            }
            if !claims.is_empty() && !self.delete_claims(&claims).await? {
                return Ok(());
            }
            self.outcome.recorded = false;
        }
        self.leftover_namespace().await
    }

    async fn members(&self) -> Result<Members, Diagnostics> {
        let failed = |e: ClusterError| Diagnostics::from(told(&e, "looking for the stack's objects failed"));
        let mut members = Members::default();
        let mut resources = kinds::all_built_in();
        match custom_kinds(self.cluster, &self.run.cancel).await {
            Ok(custom) => resources.extend(custom),
            Err(e) if e.is_denied() => {
                members.unseen.insert("custom resources".into());
            }
            Err(e) => return Err(failed(e)),
        }
        let lists: Vec<(Resource, Result<Vec<Value>, ClusterError>)> = futures::stream::iter(resources)
            .map(|resource| async move {
                let list = self.labelled(&resource).await;
                (resource, list)
            })
            .buffered(IN_FLIGHT)
            .collect()
            .await;
        for (resource, list) in lists {
            let items = match list {
                Ok(items) => items,
                // Not served here, or deleted since.
                Err(e) if e.is_not_found() => continue,
                Err(e) if e.is_denied() => {
                    members.unseen.insert(resource.kind);
                    continue;
                }
                Err(e) => return Err(failed(e)),
            };
            for live in items.into_iter().filter(|live| self.is_ours(live)) {
                let kind = (resource.api_version(), resource.kind.clone());
                members.resources.insert(kind, resource.clone());
                members.live.insert(ObjectKey::of(&live), live);
            }
        }
        Ok(members)
    }

    /// Lists what carries the label, everywhere or, if only that is allowed, in the stack's namespace.
    async fn labelled(&self, resource: &Resource) -> Result<Vec<Value>, ClusterError> {
        let everywhere = Selection {
            labels: format!("{PART_OF}={}", self.stack.apply_set()),
            ..Selection::default()
        };
        let list = retrying(&self.run.cancel, || self.cluster.list(resource, &everywhere)).await;
        match list {
            Err(e) if e.is_denied() && resource.namespaced => {
                let here = Selection {
                    namespace: Some(self.stack.namespace.clone()),
                    ..everywhere
                };
                let list = retrying(&self.run.cancel, || self.cluster.list(resource, &here)).await;
                list.map(|l| l.items)
            }
            list => list.map(|l| l.items),
        }
    }

    /// Controllers copy labels to what they create, so only what we wrote is ours.
    fn is_ours(&self, live: &Value) -> bool {
        let managers = live.pointer("/metadata/managedFields").and_then(Value::as_array);
        let written = managers
            .into_iter()
            .flatten()
            .any(|m| m.get("manager").and_then(Value::as_str) == Some(FIELD_MANAGER));
        written && set_of(live) == Some(&*self.stack.apply_set())
    }
}

/// The inventory that the record would have; the order comes from what the objects themselves say.
fn inventory(live: &BTreeMap<ObjectKey, Value>) -> BTreeMap<ObjectKey, Entry> {
    let members: Vec<Member<'_>> = live
        .iter()
        .map(|(key, value)| Member {
            key,
            value,
            component: None,
        })
        .collect();
    let graph = graph::build(&members, &[], &BTreeMap::new()).unwrap_or_default();
    let number: BTreeMap<&ObjectKey, u32> = live.keys().zip(1..).collect();
    let entry = |(key, value): (&ObjectKey, &Value)| {
        let needs = graph.needs.get(key).into_iter().flat_map(BTreeMap::keys);
        let api_version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
        let entry = Entry {
            api_version: api_version.to_owned(),
            uid: uid(value).map(str::to_owned),
            level: graph.level.get(key).copied().unwrap_or(0),
            number: number[key],
            needs: Some(needs.filter_map(|k| number.get(k).copied()).collect()),
            ..Entry::intended(key.clone())
        };
        (key.clone(), entry)
    };
    live.iter().map(entry).collect()
}
