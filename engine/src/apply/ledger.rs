//! The record during one apply: written before the first effect, at checkpoints, and at the end, each time over the
//! version that this run wrote last.
//!
//! A run that finds the record written by another run stops: from then on the other run is in charge.

use crate::cluster::Cluster;
use crate::desired::{DesiredObject, is_token};
use crate::document::ProvisioningToken;
use crate::mask::MaskKey;
use crate::object::ObjectKey;
use crate::observe::{Wanted, attest, owned_paths, uid};
use crate::plan::{Action, Plan, WAR_REVERTS, WAR_SECONDS};
use crate::record::{self, Entry, Intent, Record, RecordError, Version, desired_hash};
use crate::token;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use tokio_util::sync::CancellationToken;

/// The record, and which changes to it are not written yet.
pub(super) struct Ledger {
    pub(super) record: Record,
    version: Option<Version>,
    dirty: bool,
    at: i64,
}

impl Ledger {
    /// The record as it must be before the plan's first effect: every object named, every intention in the journal.
    pub(super) fn of_plan(plan: &Plan, key: [u8; 32], run: &str) -> Self {
        let seen = &plan.observation;
        let (record, version) = match &seen.stored {
            // A record that is deleted with its namespace is created again, like everything else there.
            Some(stored) => {
                let stays = !seen.leaving.contains(&plan.desired.stack.namespace);
                (stored.record.clone(), stays.then(|| stored.version.clone()))
            }
            None => (Record::new(plan.desired.stack.clone(), plan.owner.clone(), key), None),
        };
        let before = (
            record.entries.clone(),
            record.ready,
            record.journal.clone(),
            record.after.clone(),
        );
        let mut ledger = Self {
            record,
            version,
            dirty: true,
            at: seen.at,
        };
        ledger.record.journal.clear();
        let objects: HashMap<&ObjectKey, &DesiredObject> = plan.desired.objects.iter().map(|o| (&o.key, o)).collect();
        for change in &plan.changes {
            ledger.intend(plan, change, objects.get(&change.key).copied());
        }
        ledger.keep_order(plan, &objects);
        let now = &ledger.record;
        let now = (now.entries.clone(), true, now.journal.clone(), now.after.clone());
        let same = ledger.version.is_some() && before == now;
        ledger.dirty = !same;
        if !same {
            ledger.record.ready = false;
            ledger.record.owner = plan.owner.clone();
            ledger.record.plan.clone_from(&plan.hash);
        }
        run.clone_into(&mut ledger.record.run);
        ledger
    }

    /// A record that was read, for a destroy.
    pub(super) fn of_stored(stored: record::Stored, run: &str, at: i64) -> Self {
        let mut record = stored.record;
        run.clone_into(&mut record.run);
        Self {
            record,
            version: Some(stored.version),
            dirty: true,
            at,
        }
    }

    /// The record that a stack without one would have. It is never written.
    pub(super) fn unwritten(record: Record) -> Self {
        Self {
            record,
            version: None,
            dirty: false,
            at: 0,
        }
    }

    fn intend(&mut self, plan: &Plan, change: &crate::plan::Change, object: Option<&DesiredObject>) {
        let key = &change.key;
        if is_token(key) {
            // Tokens keep their own journal: the pending marker.
            return;
        }
        let intent = match change.action {
            Action::Create | Action::Adopt | Action::Update => Some(Intent::Apply),
            Action::Replace => Some(Intent::Replace),
            Action::Prune => Some(Intent::Delete),
            Action::Unchanged | Action::Unknown => None,
            Action::Release => {
                self.record.entries.remove(key);
                return;
            }
        };
        if let Some(intent) = intent {
            self.record.journal.insert(key.clone(), intent);
        }
        let Some(object) = object else { return };
        let live = plan.observation.live.get(key);
        let used_only = object.implicit && change.action == Action::Unchanged && !change.reason.is_empty();
        if used_only {
            self.record.entries.remove(key);
            return;
        }
        let level = plan.desired.graph.level.get(key).copied().unwrap_or(0);
        let entry = self
            .record
            .entries
            .entry(key.clone())
            .or_insert_with(|| Entry::intended(key.clone()));
        entry.api_version.clone_from(&object.api_version);
        entry.component.clone_from(&object.component);
        entry.level = level;
        if matches!(change.action, Action::Create | Action::Replace) {
            // The new object has another UID. If this run is killed before the UID is known, the label shows whose it
            // is.
            entry.uid = None;
        }
        // The object is as it should be, and the record was behind: what was observed is attested. What is left alone
        // in a field war stays unattested, or it would count as settled.
        if change.action == Action::Unchanged
            && change.reason.is_empty()
            && let (Some(live), Some(wanted)) = (live, plan.observation.wanted.get(key))
        {
            let mask = self.record.key.clone();
            confirm(entry, &mask, live, wanted);
        }
    }

    /// Stores the edges of the graph that a later prune or destroy needs. Entries that the plan no longer wants keep
    /// the edges they had.
    fn keep_order(&mut self, plan: &Plan, objects: &HashMap<&ObjectKey, &DesiredObject>) {
        let graph = &plan.desired.graph;
        let entries = &mut self.record.entries;
        let known: BTreeSet<u32> = entries.values().map(|e| e.number).collect();
        let mut last = known.last().copied().unwrap_or(0);
        for entry in entries.values_mut() {
            if let Some(needs) = &mut entry.needs {
                needs.retain(|n| known.contains(n));
            }
            if entry.number == 0 {
                last += 1;
                entry.number = last;
            }
        }
        let numbers: BTreeMap<ObjectKey, u32> = entries.iter().map(|(k, e)| (k.clone(), e.number)).collect();
        for entry in entries.values_mut().filter(|e| objects.contains_key(&e.key)) {
            let needs = graph.needs.get(&entry.key).into_iter().flat_map(BTreeMap::keys);
            // What waits for a token waits for its issuer.
            let needs = needs.flat_map(|key| {
                let through = graph.needs.get(key).filter(|_| is_token(key));
                std::iter::once(key).chain(through.into_iter().flat_map(BTreeMap::keys))
            });
            let needs: BTreeSet<u32> = needs.filter_map(|key| numbers.get(key).copied()).collect();
            entry.needs = Some(needs.into_iter().collect());
        }
        let used: BTreeSet<&String> = entries.values().filter_map(|e| e.component.as_ref()).collect();
        let after = &mut self.record.after;
        after.retain(|name, _| used.contains(name));
        for (name, terms) in &plan.desired.components {
            after.insert(name.clone(), terms.after.iter().cloned().collect());
        }
    }

    pub(super) fn key(&self) -> &MaskKey {
        &self.record.key
    }

    /// Whether the cluster has the record.
    pub(super) fn is_written(&self) -> bool {
        self.version.is_some()
    }

    /// Whether there are unwritten changes.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// An object was applied: the server's answer is what is attested from now on.
    pub(super) fn confirm(&mut self, object: &DesiredObject, live: &Value, left: &[String], drift: bool) {
        let mask = self.record.key.clone();
        let wanted = crate::observe::wanted(object, left.to_vec(), &mask);
        let entry = self
            .record
            .entries
            .entry(object.key.clone())
            .or_insert_with(|| Entry::intended(object.key.clone()));
        confirm(entry, &mask, live, &wanted);
        entry.reverted.retain(|at| self.at - at < WAR_SECONDS);
        if drift {
            entry.reverted.push(self.at);
            let extra = entry.reverted.len().saturating_sub(WAR_REVERTS);
            entry.reverted.drain(..extra);
        }
        self.record.journal.remove(&object.key);
        self.dirty = true;
    }

    /// Changes what is recorded of a token; a token that is not recorded yet starts as pending.
    pub(super) fn token(&mut self, token: &ProvisioningToken, change: impl FnOnce(&mut token::Entry)) {
        let secret = (
            token.secret.namespace.clone(),
            token.secret.name.clone(),
            token.secret.key.clone(),
        );
        let entry = self
            .record
            .tokens
            .entry(token.name.clone())
            .or_insert_with(|| token::Entry {
                secret: secret.clone(),
                state: token::State::Pending {
                    mint: String::new(),
                    until: 0,
                    before: None,
                },
                text: String::new(),
                mints: 0,
                revoke: None,
                orphans: Vec::new(),
            });
        entry.secret = secret;
        entry.text = crate::desired::token_text(token);
        change(entry);
        self.dirty = true;
    }

    /// Forgets a token whose first mint certainly created nothing, as if it had never been tried.
    pub(super) fn forget_unminted(&mut self, name: &str) {
        if self
            .record
            .tokens
            .get(name)
            .is_some_and(|e| e.mints == 0 && e.orphans.is_empty() && e.is_pending())
        {
            self.forget_token(name);
        }
    }

    /// Removes a token that was given up.
    pub(super) fn forget_token(&mut self, name: &str) {
        self.record.tokens.remove(name);
        self.dirty = true;
    }

    /// Removes an object that is gone.
    pub(super) fn gone(&mut self, key: &ObjectKey) {
        self.record.entries.remove(key);
        self.record.journal.remove(key);
        self.dirty = true;
    }

    /// Stores the last good state.
    pub(super) fn keep_good(&mut self, good: Option<std::sync::Arc<[u8]>>) {
        if self.record.good != good {
            self.record.good = good;
            self.dirty = true;
        }
    }

    /// Stores the result of the run.
    pub(super) fn conclude(&mut self, components: &BTreeMap<String, String>, ready: bool) {
        if self.record.components != *components || self.record.ready != ready {
            self.record.components.clone_from(components);
            self.record.ready = ready;
            self.dirty = true;
        }
    }

    /// Stores the checks that succeeded, once everything is ready.
    pub(super) fn keep_verified(&mut self, verified: BTreeMap<String, String>) {
        if self.record.verified != verified {
            self.record.verified = verified;
            self.dirty = true;
        }
    }

    /// Writes pending changes.
    pub(super) async fn write(&mut self, cluster: &dyn Cluster, cancel: &CancellationToken) -> Result<(), RecordError> {
        if self.dirty {
            let version = record::write(cluster, &mut self.record, self.version.as_ref(), cancel).await?;
            self.version = Some(version);
            self.dirty = false;
        }
        Ok(())
    }

    /// Deletes the record.
    pub(super) async fn delete(
        &mut self,
        cluster: &dyn Cluster,
        cancel: &CancellationToken,
    ) -> Result<(), RecordError> {
        if let Some(version) = &self.version {
            record::delete(cluster, &self.record.stack, version, cancel).await?;
            self.version = None;
        }
        Ok(())
    }
}

fn confirm(entry: &mut Entry, mask: &MaskKey, live: &Value, wanted: &Wanted) {
    entry.uid = uid(live).map(str::to_owned);
    entry.attested = attest(mask, live);
    entry.owned = owned_paths(mask, live);
    entry.left.clone_from(&wanted.left);
    entry.desired = Some(desired_hash(mask, &wanted.body));
    entry.ends = wanted.body.pointer("/spec/ttlSecondsAfterFinished").is_some() && entry.key.kind == "Job";
}
