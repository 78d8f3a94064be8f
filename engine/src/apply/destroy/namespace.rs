//! The end of a destroy: deletes the namespace, if it is the stack's and contains nothing of others, and the record in
//! it.

use super::{Demolition, keeps_from_destroy};
use crate::apply::custom::custom_kinds;
use crate::apply::ledger::Ledger;
use crate::apply::outcome::Fate;
use crate::apply::remove::remove;
use crate::cluster::{ClusterError, Resource, Selection, kinds, retrying};
use crate::diagnostic::Diagnostics;
use crate::object::ObjectKey;
use crate::observe::{target, told, uid};
use crate::record::{Entry, PART_OF};
use futures::StreamExt as _;
use serde_json::Value;
use std::collections::BTreeMap;

impl Demolition<'_> {
    pub(super) fn namespace_key(&self) -> ObjectKey {
        ObjectKey::new("", "Namespace", "", &*self.stack.namespace)
    }

    /// Deletes the namespace, and the record in it.
    pub(super) async fn close(
        &mut self,
        ledger: &mut Ledger,
        live: &BTreeMap<ObjectKey, Value>,
    ) -> Result<(), Diagnostics> {
        let key = self.namespace_key();
        let owned = ledger.record.entries.get(&key).cloned();
        let namespace = owned.as_ref().and_then(|entry| self.refuse_namespace(entry, live));
        if let Some(namespace) = namespace {
            let strangers = self.strangers().await?;
            if strangers.is_empty() {
                // The record is deleted with it. A destroy that is killed now finds the namespace by its label.
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

    /// What is in the namespace besides the stack and what Kubernetes itself creates there.
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
        match custom_kinds(self.cluster, &self.run.cancel).await {
            Ok(custom) => resources.extend(custom.into_iter().filter(|r| r.namespaced)),
            // Then it is unknown what would be deleted with the namespace.
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
                    // Its CRD was deleted meanwhile.
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

    /// Without a record: after a destroy that was killed while the namespace was being deleted, or an apply that was
    /// killed before it wrote the record.
    pub(super) async fn leftover_namespace(&mut self) -> Result<(), Diagnostics> {
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
