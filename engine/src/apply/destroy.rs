//! The way back: everything that the record names, dependants first, then the namespace if it is the stack's and empty, then
//! the record.

use super::Run;
use super::custom::namespaced_kinds;
use super::ledger::Ledger;
use super::mint::release;
use super::outcome::{Fate, Outcome, Progress};
use super::remove::{Removal, remove};
use crate::cluster::{Cluster, ClusterError, Resource, Selection, Target, kinds, retrying};
use crate::desired::token_key;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::ProtectedKind;
use crate::mask::hex;
use crate::object::ObjectKey;
use crate::observe::{find, resources, target, told, uid};
use crate::plan::keeps;
use crate::record::{self, Entry, Intent, Owner, PART_OF, StackId};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What a destroy may delete, and how long it waits.
#[derive(Debug, Clone)]
pub struct Destroy {
    /// Protected kinds that go as well. Claims of StatefulSets' templates count as PersistentVolumeClaims. The stack's own
    /// Namespace goes without being named here, unless something that is not the stack's lives in it.
    pub delete_protected: BTreeSet<ProtectedKind>,
    /// The end of the wait.
    pub timeout: Duration,
}

/// What a destroy works with.
struct Demolition<'a> {
    cluster: &'a dyn Cluster,
    stack: &'a StackId,
    terms: &'a Destroy,
    run: &'a Run,
    deadline: Instant,
    outcome: Outcome,
}

/// Deletes everything that the record names, dependants first, and then the record. A stack without a record is destroyed
/// already, but for the namespace that a killed destroy may have left.
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
    async fn destroy(&mut self, owner: &Owner) -> Result<(), Diagnostics> {
        let stored = record::read(self.cluster, self.stack, &self.run.cancel)
            .await
            .map_err(|e| {
                self.outcome.recorded = true;
                Diagnostics::from(e.diagnostic(self.stack, "reading"))
            })?;
        let Some(stored) = stored else {
            return self.leftover_namespace().await;
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
        ledger
            .write(self.cluster, &self.run.cancel)
            .await
            .map_err(|e| e.diagnostic(self.stack, "writing"))?;
        if !self.tokens(&mut ledger).await {
            return ledger
                .write(self.cluster, &self.run.cancel)
                .await
                .map_err(|e| Diagnostics::from(e.diagnostic(self.stack, "writing")));
        }
        let claims = self.claims(&live);
        let done = self.objects(&mut ledger, &live, &resources).await;
        if !done {
            // What is left is still the record's: the next destroy goes on from there.
            return ledger
                .write(self.cluster, &self.run.cancel)
                .await
                .map_err(|e| Diagnostics::from(e.diagnostic(self.stack, "writing")));
        }
        if !claims.is_empty() && !self.delete_claims(&claims).await? {
            return Ok(());
        }
        self.close(&mut ledger, &live).await
    }

    /// Gives the tokens up, while their issuers still run and can be told. False when one could not be.
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

    /// Deletes the inventory, deepest first. False when something did not go.
    async fn objects(
        &mut self,
        ledger: &mut Ledger,
        live: &BTreeMap<ObjectKey, Value>,
        resources: &BTreeMap<(String, String), Resource>,
    ) -> bool {
        let mut levels: BTreeMap<std::cmp::Reverse<u32>, Vec<Entry>> = BTreeMap::new();
        let own_namespace = self.namespace_key();
        for entry in ledger.record.entries.values().filter(|e| e.key != own_namespace) {
            levels
                .entry(std::cmp::Reverse(entry.level))
                .or_default()
                .push(entry.clone());
        }
        for (_, entries) in levels {
            let mut removals = Vec::new();
            for entry in entries {
                match self.refuse(&entry, live) {
                    Err(fate) => {
                        ledger.gone(&entry.key);
                        if let Fate::Kept(why) = &fate {
                            self.tell_kept(&entry.key, why);
                        }
                        self.outcome.objects.insert(entry.key, fate);
                    }
                    Ok(live) => {
                        let at = (entry.api_version.clone(), entry.key.kind.clone());
                        let Some(resource) = resources.get(&at) else { continue };
                        removals.push((entry.key.clone(), target(resource, &entry.key), live.clone()));
                    }
                }
            }
            if !self.level(ledger, removals).await {
                return false;
            }
        }
        true
    }

    /// One level, all at once.
    async fn level(&mut self, ledger: &mut Ledger, removals: Vec<(ObjectKey, Target, Value)>) -> bool {
        let (cluster, run, deadline) = (self.cluster, self.run, self.deadline);
        let removals: Vec<(ObjectKey, Removal)> =
            futures::stream::iter(removals.into_iter().map(|(key, target, live)| async move {
                let expected = uid(&live).unwrap_or_default().to_owned();
                let keep = |live: &Value| keeps_from_destroy(live);
                let removal = remove(cluster, &target, &expected, &live, &keep, deadline, &run.cancel).await;
                (key, removal)
            }))
            .buffer_unordered(run.in_flight.max(1))
            .collect()
            .await;
        let mut all = true;
        for (key, removal) in removals {
            let fate = self.fate(&key, removal);
            match &fate {
                Fate::Gone => ledger.gone(&key),
                Fate::Kept(why) => {
                    ledger.gone(&key);
                    self.tell_kept(&key, why);
                }
                _ => all = false,
            }
            self.outcome.objects.insert(key, fate);
        }
        all
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

    fn namespace_key(&self) -> ObjectKey {
        ObjectKey::new("", "Namespace", "", &*self.stack.namespace)
    }

    /// Names of claims that StatefulSets of the stack made from their templates, as prefixes before the ordinal.
    fn claims(&self, live: &BTreeMap<ObjectKey, Value>) -> Vec<(String, String)> {
        let mut prefixes = Vec::new();
        for (key, value) in live
            .iter()
            .filter(|(k, _)| k.group == "apps" && k.kind == "StatefulSet")
        {
            let templates = value
                .pointer("/spec/volumeClaimTemplates")
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            for name in templates.filter_map(|t| t.pointer("/metadata/name").and_then(Value::as_str)) {
                prefixes.push((key.namespace.clone(), format!("{name}-{}-", key.name)));
            }
        }
        prefixes
    }

    /// Deletes or, unless asked, keeps and names the claims of templates. False when something did not go.
    async fn delete_claims(&mut self, prefixes: &[(String, String)]) -> Result<bool, Diagnostics> {
        let resource = kinds::known("v1", "PersistentVolumeClaim");
        let namespaces: BTreeSet<&String> = prefixes.iter().map(|(n, _)| n).collect();
        let mut found = Vec::new();
        for namespace in namespaces {
            let selection = Selection {
                namespace: Some(namespace.clone()),
                ..Selection::default()
            };
            let list = retrying(&self.run.cancel, || self.cluster.list(&resource, &selection))
                .await
                .map_err(|e| Diagnostics::from(told(&e, "listing the stack's claims failed")))?;
            found.extend(list.items);
        }
        let mut all = true;
        for live in found {
            let key = ObjectKey::of(&live);
            let ordinal = |p: &str| {
                key.name
                    .strip_prefix(p)
                    .is_some_and(|o| !o.is_empty() && o.bytes().all(|b| b.is_ascii_digit()))
            };
            if !prefixes.iter().any(|(n, p)| *n == key.namespace && ordinal(p)) {
                continue;
            }
            if !self
                .terms
                .delete_protected
                .contains(&ProtectedKind::PersistentVolumeClaim)
            {
                let why = "it holds data; list PersistentVolumeClaim under deleteProtected to delete it, or delete it by hand";
                self.tell_kept(&key, why);
                self.outcome.objects.insert(key, Fate::Kept(why.into()));
                continue;
            }
            let expected = uid(&live).unwrap_or_default().to_owned();
            let at = target(&resource, &key);
            let keep = |live: &Value| keeps_from_destroy(live);
            let removal = remove(
                self.cluster,
                &at,
                &expected,
                &live,
                &keep,
                self.deadline,
                &self.run.cancel,
            )
            .await;
            let fate = self.fate(&key, removal);
            all &= matches!(fate, Fate::Gone | Fate::Kept(_));
            self.outcome.objects.insert(key, fate);
        }
        Ok(all)
    }

    /// The namespace and the record, which lies in it.
    async fn close(&mut self, ledger: &mut Ledger, live: &BTreeMap<ObjectKey, Value>) -> Result<(), Diagnostics> {
        let key = self.namespace_key();
        let owned = ledger.record.entries.get(&key).cloned();
        let namespace = owned.as_ref().and_then(|entry| self.refuse_namespace(entry, live));
        if let Some(namespace) = namespace {
            let strangers = self.strangers().await?;
            if strangers.is_empty() {
                // The record goes with it; a destroy that is killed now finds the namespace by its label.
                if self.remove_namespace(&namespace).await {
                    self.outcome.recorded = false;
                }
                return Ok(());
            }
            let why = format!("it holds what is not the stack's to delete: {}", strangers.join(", "));
            self.tell_kept(&key, &why);
            self.outcome.objects.insert(key, Fate::Kept(why));
        }
        ledger
            .delete(self.cluster, &self.run.cancel)
            .await
            .map_err(|e| e.diagnostic(self.stack, "deleting"))?;
        self.outcome.recorded = false;
        Ok(())
    }

    fn refuse_namespace(&mut self, entry: &Entry, live: &BTreeMap<ObjectKey, Value>) -> Option<Value> {
        let value = live.get(&entry.key)?;
        let ours = value
            .pointer("/metadata/labels")
            .and_then(|l| l.get(PART_OF))
            .and_then(Value::as_str);
        let same = entry.uid.is_none() || entry.uid.as_deref() == uid(value);
        if !same || ours != Some(&self.stack.apply_set()) {
            return None;
        }
        if let Some(why) = keeps_from_destroy(value) {
            self.tell_kept(&entry.key, &why);
            self.outcome.objects.insert(entry.key.clone(), Fate::Kept(why));
            return None;
        }
        Some(value.clone())
    }

    async fn remove_namespace(&mut self, live: &Value) -> bool {
        let key = self.namespace_key();
        let at = target(&kinds::known("v1", "Namespace"), &key);
        let expected = uid(live).unwrap_or_default().to_owned();
        let keep = |live: &Value| keeps_from_destroy(live);
        let removal = remove(
            self.cluster,
            &at,
            &expected,
            live,
            &keep,
            self.deadline,
            &self.run.cancel,
        )
        .await;
        let fate = self.fate(&key, removal);
        let gone = fate == Fate::Gone;
        self.outcome.objects.insert(key, fate);
        gone
    }

    /// What lives in the namespace beside the stack and what Kubernetes itself puts there.
    async fn strangers(&self) -> Result<Vec<String>, Diagnostics> {
        let kinds = [
            ("v1", "PersistentVolumeClaim"),
            ("v1", "Pod"),
            ("v1", "Service"),
            ("v1", "ConfigMap"),
            ("v1", "Secret"),
            ("apps/v1", "Deployment"),
            ("apps/v1", "StatefulSet"),
            ("apps/v1", "DaemonSet"),
            ("batch/v1", "Job"),
            ("batch/v1", "CronJob"),
            ("networking.k8s.io/v1", "Ingress"),
        ];
        let told = |e: ClusterError| Diagnostics::from(told(&e, "looking into the stack's namespace failed"));
        let mut resources: Vec<Resource> = kinds.map(|(version, kind)| kinds::known(version, kind)).into();
        match namespaced_kinds(self.cluster, &self.run.cancel).await {
            Ok(custom) => resources.extend(custom),
            // Then nobody knows what would go with the namespace.
            Err(e) if e.is_denied() => return Ok(vec!["custom resources, whose kinds may not be listed".into()]),
            Err(e) => return Err(told(e)),
        }
        let lists: Vec<Result<Vec<Value>, ClusterError>> = futures::stream::iter(resources)
            .map(|resource| async move {
                let selection = Selection {
                    namespace: Some(self.stack.namespace.clone()),
                    ..Selection::default()
                };
                let list = retrying(&self.run.cancel, || self.cluster.list(&resource, &selection)).await;
                match list {
                    // Its definition went meanwhile.
                    Err(e) if e.is_not_found() => Ok(Vec::new()),
                    list => list.map(|l| l.items),
                }
            })
            .buffered(8)
            .collect()
            .await;
        let mut names = Vec::new();
        for list in lists {
            let items = list.map_err(told)?;
            names.extend(items.iter().filter(|v| self.is_strange(v)).map(|v| {
                let key = ObjectKey::of(v);
                format!("{} {}", key.kind, key.name)
            }));
        }
        Ok(names)
    }

    fn is_strange(&self, value: &Value) -> bool {
        let key = ObjectKey::of(value);
        let leaving = value.pointer("/metadata/deletionTimestamp").is_some();
        let owned = value.pointer("/metadata/ownerReferences/0").is_some();
        let token = value.get("type").and_then(Value::as_str) == Some("kubernetes.io/service-account-token");
        let built_in = key.kind == "ConfigMap" && matches!(&*key.name, "kube-root-ca.crt" | "openshift-service-ca.crt");
        let record = key.kind == "Secret" && key.name == self.stack.record_name();
        !(leaving || owned || token || built_in || record)
    }

    /// Without a record: a destroy that was killed while the namespace went, or an apply that was killed before the record.
    async fn leftover_namespace(&mut self) -> Result<(), Diagnostics> {
        let key = self.namespace_key();
        let at = target(&kinds::known("v1", "Namespace"), &key);
        let live = retrying(&self.run.cancel, || self.cluster.get(&at))
            .await
            .map_err(|e| Diagnostics::from(told(&e, "reading the stack's namespace failed")))?;
        let label = |v: &Value| {
            v.pointer("/metadata/labels")
                .and_then(|l| l.get(PART_OF))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let Some(live) = live.filter(|v| label(v) == Some(self.stack.apply_set())) else {
            return Ok(());
        };
        if self.strangers().await?.is_empty() {
            self.outcome.recorded = true;
            if self.remove_namespace(&live).await {
                self.outcome.recorded = false;
            }
        }
        Ok(())
    }
}

/// Of the annotations that keep an object from being pruned, those that mean its deletion in any way.
fn keeps_from_destroy(live: &Value) -> Option<String> {
    keeps(live).map(|a| format!("its annotation {a} keeps it"))
}
