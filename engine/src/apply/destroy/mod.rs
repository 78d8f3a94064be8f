//! Destroys a stack: deletes everything that the record names, dependants first, then the namespace if it is the
//! stack's and empty, then the record.
//!
//! Without a record, members are found by their label (`unrecorded`). `claims` and `namespace` handle what no record
//! names.

mod claims;
mod namespace;
mod unrecorded;

use super::Run;
use super::ledger::Ledger;
use super::mint::release;
use super::outcome::{Fate, Outcome, Progress};
use super::remove::Removal;
use super::retreat::Retreat;
use super::withdraw::{Leaving, withdraw};
use crate::cluster::{Cluster, ClusterError, Resource};
use crate::desired::token_key;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::ProtectedKind;
use crate::mask::hex;
use crate::object::ObjectKey;
use crate::observe::{find, resources, target, told, uid};
use crate::plan::keeps;
use crate::record::{self, Entry, Intent, Owner, PART_OF, RecordError, StackId};
use futures::future::BoxFuture;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a destroy may delete, and how long it waits.
#[derive(Debug, Clone)]
pub struct Destroy {
    /// Protected kinds to delete as well. Claims of StatefulSets' templates count as PersistentVolumeClaims. The
    /// stack's own Namespace is deleted without being named here, unless it contains something that is not the stack's.
    pub delete_protected: BTreeSet<ProtectedKind>,
    /// How long to wait.
    pub timeout: Duration,
}

/// How often to start again if the record changes before anything was deleted.
const LOOKS: u32 = 3;

/// A record, and the live objects that it names.
struct Known {
    ledger: Ledger,
    live: BTreeMap<ObjectKey, Value>,
    resources: BTreeMap<(String, String), Resource>,
}

/// The inputs of a destroy.
struct Demolition<'a> {
    cluster: &'a dyn Cluster,
    stack: &'a StackId,
    terms: &'a Destroy,
    run: &'a Run,
    deadline: Instant,
    outcome: Outcome,
}

/// Deletes everything that the record names, dependants first, and then the record. Without a record, it deletes what
/// carries the stack's label: a lost record loses nothing, and a killed destroy may have left the namespace.
pub fn destroy<'a>(
    cluster: Arc<dyn Cluster>,
    stack: &'a StackId,
    owner: &'a Owner,
    terms: &'a Destroy,
    run: &'a Run,
) -> BoxFuture<'a, Outcome> {
    // Boxed, so that callers need not prove its inner borrows `Send`.
    Box::pin(demolish(cluster, stack, owner, terms, run))
}

async fn demolish(cluster: Arc<dyn Cluster>, stack: &StackId, owner: &Owner, terms: &Destroy, run: &Run) -> Outcome {
    let deadline = Instant::now() + terms.timeout;
    let mut work = Demolition {
        cluster: &*cluster,
        stack,
        terms,
        run,
        deadline,
        outcome: Outcome::default(),
    };
    match work.destroy(owner).await {
        Ok(()) => {}
        Err(problems) => work.outcome.diagnostics.extend(problems),
    }
    let mut outcome = work.outcome;
    outcome.cancelled |= run.cancel.is_cancelled() && outcome.recorded;
    outcome.ready = !outcome.recorded && !outcome.diagnostics.has_errors();
    outcome
}

impl Demolition<'_> {
    /// If the record has changed by the time of the first write, starts again, because nothing has been deleted yet.
    /// This happens when the namespace of a killed destroy takes its record along, and when the last request of a
    /// killed run arrives late.
    async fn destroy(&mut self, owner: &Owner) -> Result<(), Diagnostics> {
        let mut looks = 0;
        loop {
            let Some(mut known) = self.look(owner).await? else {
                self.outcome.recorded = false;
                return self.unrecorded(owner).await;
            };
            looks += 1;
            match known.ledger.write(self.cluster, &self.run.cancel).await {
                Ok(()) => return self.recorded(known).await,
                Err(RecordError::Superseded) if looks < LOOKS => {}
                Err(e) => return Err(e.diagnostic(self.stack, "writing").into()),
            }
        }
    }

    /// Reads the record and what it names; None when there is no record.
    async fn look(&mut self, owner: &Owner) -> Result<Option<Known>, Diagnostics> {
        let stored = record::read(self.cluster, self.stack, &self.run.cancel)
            .await
            .map_err(|e| {
                self.outcome.recorded = true;
                Diagnostics::from(e.diagnostic(self.stack, "reading"))
            })?;
        let Some(stored) = stored else {
            return Ok(None);
        };
        self.outcome.recorded = true;
        if stored.record.owner != *owner {
            let why = format!(
                "{} is owned by {}, not by {owner}",
                self.stack.title(),
                stored.record.owner
            );
            return Err(Diagnostic::error(why)
                .detail("destroy it through its owner, or hand it over first")
                .into());
        }
        let failed = |e: ClusterError| Diagnostics::from(told(&e, "reading the stack's objects failed"));
        let keys: BTreeMap<ObjectKey, String> = stored
            .record
            .entries
            .values()
            .map(|e| (e.key.clone(), e.api_version.clone()))
            .collect();
        let (resources, _) = resources(self.cluster, keys.iter().map(|(k, v)| (v, &k.kind)), &self.run.cancel)
            .await
            .map_err(failed)?;
        let confirmed: BTreeSet<&ObjectKey> = keys.keys().collect();
        let live = find(
            self.cluster,
            self.stack,
            &keys,
            &confirmed,
            &resources,
            true,
            &self.run.cancel,
        )
        .await
        .map_err(failed)?;
        let at = jiff::Timestamp::now().as_second();
        let mut ledger = Ledger::of_stored(stored, &hex(&rand::random::<[u8; 8]>()), at);
        ledger.record.ready = false;
        ledger.record.journal = live.keys().map(|k| (k.clone(), Intent::Delete)).collect();
        Ok(Some(Known {
            ledger,
            live,
            resources,
        }))
    }

    /// Deletes what the record names, after writing into it that everything is to be deleted.
    async fn recorded(&mut self, known: Known) -> Result<(), Diagnostics> {
        let Known {
            mut ledger,
            live,
            resources,
        } = known;
        if !self.tokens(&mut ledger).await {
            return self.keep(&mut ledger).await;
        }
        let claims = self.claims(&live);
        if !self.objects(&mut ledger, &live, &resources).await {
            return self.keep(&mut ledger).await;
        }
        if !claims.is_empty() && !self.delete_claims(&claims).await? {
            return Ok(());
        }
        self.close(&mut ledger, &live).await
    }

    /// The record keeps what is left, so that the next destroy continues from there.
    async fn keep(&mut self, ledger: &mut Ledger) -> Result<(), Diagnostics> {
        ledger
            .write(self.cluster, &self.run.cancel)
            .await
            .map_err(|e| Diagnostics::from(e.diagnostic(self.stack, "writing")))
    }

    /// Revokes the tokens while their issuers still run. False if one could not be revoked.
    async fn tokens(&mut self, ledger: &mut Ledger) -> bool {
        let mut all = true;
        for (name, entry) in ledger.record.tokens.clone() {
            let key = token_key(&self.stack.namespace, &name);
            match release(self.cluster, self.stack, &name, &entry, &self.run.cancel).await {
                Ok(()) => {
                    ledger.forget_token(&name);
                    self.outcome.objects.insert(key, Fate::Gone);
                }
                Err(e) => {
                    all = false;
                    let problem = told(&e, &format!("token {name} could not be given up"));
                    self.outcome.tell(problem.object(key.clone()));
                    self.outcome.objects.insert(key, Fate::Failed(e.to_string()));
                }
            }
        }
        all
    }

    /// Deletes the inventory, dependants first. False if an object was not deleted.
    async fn objects(
        &mut self,
        ledger: &mut Ledger,
        live: &BTreeMap<ObjectKey, Value>,
        resources: &BTreeMap<(String, String), Resource>,
    ) -> bool {
        let order = Retreat::of(&ledger.record);
        let own_namespace = self.namespace_key();
        let mut leaving: BTreeMap<ObjectKey, Leaving> = BTreeMap::new();
        for entry in ledger.record.entries.clone().into_values() {
            if entry.key == own_namespace {
                continue;
            }
            match self.refuse(&entry, live) {
                Err(fate) => {
                    ledger.gone(&entry.key);
                    if let Fate::Kept(why) = &fate {
                        self.tell_kept(&entry.key, why);
                    }
                    self.outcome.objects.insert(entry.key, fate);
                }
                Ok(live) => {
                    // Its kind is no longer served, so the object does not exist either.
                    let Some(resource) = resources.get(&(entry.api_version.clone(), entry.key.kind.clone())) else {
                        continue;
                    };
                    let at = target(resource, &entry.key);
                    leaving.insert(entry.key, (at, live.clone()));
                }
            }
        }
        let (cluster, run, deadline) = (self.cluster, self.run, self.deadline);
        let keep = |live: &Value| keeps_from_destroy(live);
        let mut all = true;
        let mut done = |key: &ObjectKey, removal: Removal| {
            let fate = self.fate(key, removal);
            let gone = matches!(fate, Fate::Gone | Fate::Kept(_));
            if let Fate::Kept(why) = &fate {
                self.tell_kept(key, why);
            }
            if gone {
                ledger.gone(key);
            }
            all &= gone;
            self.outcome.objects.insert(key.clone(), fate);
            gone
        };
        let held = withdraw(cluster, run, deadline, order, &leaving, &keep, &mut done).await;
        for (key, why) in held.into_iter().filter(|(key, _)| leaving.contains_key(key)) {
            let fate = Fate::Skipped(format!("{}, which needs it, is still there", why.human()));
            self.outcome.objects.insert(key, fate);
        }
        all && !run.cancel.is_cancelled()
    }

    fn fate(&mut self, key: &ObjectKey, removal: Removal) -> Fate {
        let name = key.human();
        match removal {
            Removal::Gone => {
                (self.run.progress)(Progress::Gone(key.clone()));
                Fate::Gone
            }
            Removal::Kept(why) => Fate::Kept(why),
            Removal::Held(why) => {
                let summary = format!("{name} was deleted and does not go: {why}");
                let fix = "whoever set the finalizer has to remove it; then destroy again";
                self.outcome
                    .tell(Diagnostic::error(summary).detail(fix).object(key.clone()));
                Fate::Waiting(why)
            }
            Removal::Refused(e) => {
                self.outcome
                    .tell(told(&e, &format!("{name} could not be deleted")).object(key.clone()));
                Fate::Failed(e.to_string())
            }
            Removal::Cancelled => {
                self.outcome.cancelled = true;
                self.outcome
                    .tell(Diagnostic::error(format!("cancelled while {name} was being deleted")).object(key.clone()));
                Fate::Uncertain("cancelled".into())
            }
        }
    }

    /// The live object of an entry that may be deleted, or why it is not.
    fn refuse<'l>(&self, entry: &Entry, live: &'l BTreeMap<ObjectKey, Value>) -> Result<&'l Value, Fate> {
        let Some(live) = live.get(&entry.key) else {
            return Err(Fate::Gone);
        };
        let label = live
            .pointer("/metadata/labels")
            .and_then(|l| l.get(PART_OF))
            .and_then(Value::as_str);
        let ours = label == Some(&self.stack.apply_set());
        if label.is_some() && !ours {
            return Err(Fate::Kept("it belongs to another set now".into()));
        }
        match &entry.uid {
            Some(recorded) if Some(recorded.as_str()) != uid(live) => {
                return Err(Fate::Kept("another object has taken its name".into()));
            }
            None if !ours => return Err(Fate::Kept("another object has its name".into())),
            _ => {}
        }
        let protected = ProtectedKind::of(&entry.key.group, &entry.key.kind);
        if let Some(kind) = protected.filter(|k| !self.terms.delete_protected.contains(k)) {
            return Err(Fate::Kept(format!(
                "its kind is protected; list {} under deleteProtected to delete it",
                kind.kind()
            )));
        }
        Ok(live)
    }

    fn tell_kept(&mut self, key: &ObjectKey, why: &str) {
        self.outcome.tell(
            Diagnostic::warning(format!("{} stays", key.human()))
                .detail(why)
                .object(key.clone()),
        );
    }
}

/// The annotation that protects the object from a destroy, if it has one: of those that stop a prune, only those that
/// forbid deletion in general.
fn keeps_from_destroy(live: &Value) -> Option<String> {
    keeps(live).map(|a| format!("its annotation {a} keeps it"))
}
