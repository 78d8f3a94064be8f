//! PersistentVolumeClaims that StatefulSets created from their templates: they hold data, and no record names them.

use super::{Demolition, keeps_from_destroy};
use crate::apply::outcome::Fate;
use crate::apply::remove::remove;
use crate::cluster::{Selection, kinds, retrying};
use crate::diagnostic::Diagnostics;
use crate::document::ProtectedKind;
use crate::object::ObjectKey;
use crate::observe::{target, told, uid};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

impl Demolition<'_> {
    /// The name prefixes (before the ordinal) of claims that the stack's StatefulSets created from their templates.
    pub(super) fn claims(&self, live: &BTreeMap<ObjectKey, Value>) -> Vec<(String, String)> {
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

    /// Deletes the claims of templates if that was asked for; otherwise keeps and reports them. False if one was not
    /// deleted.
    pub(super) async fn delete_claims(&mut self, prefixes: &[(String, String)]) -> Result<bool, Diagnostics> {
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
}
