//! Observes a stack: the record, the live objects, and what the server would do. Reads and dry runs only.
//!
//! A stack takes one list per kind, by the ApplySet label, and one read of the record. An object whose owned fields
//! still have the recorded hash needs nothing more. `live` finds the objects, `owned` determines which parts are ours,
//! `trial` does the dry runs, and `refresh` reads a stack without its documents.

mod live;
mod owned;
mod reclaim;
mod refresh;
mod stand_ins;
mod steady;
mod tokens;
mod trial;

pub(crate) use live::{find, resources};
pub(crate) use owned::{attest, entries, is_ours, owned_paths};
pub(crate) use reclaim::{clashes, reclaim};
pub use refresh::{Refresh, refresh, token_facts};
pub(crate) use stand_ins::{given_over, renamed};
pub use steady::{Standing, kinds_of, set_of, standing};
pub use tokens::{TokenFacts, read_value, value_is_there};
pub(crate) use tokens::{look, secret_target, value_in};
pub(crate) use trial::{Manners, REPLACED_MANAGERS, Trial, immutable_fields, leftover_defaults, settle};

use crate::cluster::{Cluster, ClusterError, Mode, Resource, Selection, Target, kinds, retrying};
use crate::desired::{Desired, DesiredObject, scale_target};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::Conflicts;
use crate::mask::MaskKey;
use crate::object::ObjectKey;
use crate::record::{self, Entry, Owner, Stored, desired_hash};
use futures::StreamExt as _;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tokio_util::sync::CancellationToken;

/// Requests in flight while observing.
const IN_FLIGHT: usize = 32;

/// Path of the field that an autoscaler owns, as conflicts write it.
const REPLICAS: &str = ".spec.replicas";

/// Which changes to dry-run before they are planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DryRun {
    /// All: for a plan that a user reads. Finds conflicts, immutable fields and invalid manifests.
    Changes,
    /// Only those that the decision needs: drift, adoption, and kinds that may be replaced. For a plan that is applied
    /// at once.
    Decisions,
}

/// An object as it will really be sent, without the fields that are left to others.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) body: Value,
    /// Paths left to others.
    pub(crate) left: Vec<String>,
    /// Keyed hash of the body.
    pub(crate) hash: String,
}

/// The observed state of the cluster.
#[derive(Debug, Clone, Default)]
pub struct Observation {
    /// False if no cluster was reached; the plan then says what would be created on an empty one.
    pub(crate) reached: bool,
    pub(crate) stored: Option<Stored>,
    /// Where objects live, by apiVersion and kind.
    pub(crate) resources: BTreeMap<(String, String), Resource>,
    /// Kinds that the cluster does not serve.
    pub(crate) missing: BTreeSet<(String, String)>,
    /// Live objects of the set and of the inventory, except those in a namespace that is being deleted.
    pub(crate) live: BTreeMap<ObjectKey, Value>,
    /// Namespaces that are being deleted: their contents count as gone.
    pub(crate) leaving: BTreeSet<String>,
    /// What would be sent, for every object that is known and exists.
    pub(crate) wanted: BTreeMap<ObjectKey, Wanted>,
    /// The server's answers to dry runs.
    pub(crate) trials: BTreeMap<ObjectKey, Trial>,
    /// The state of each token's Secret, and of the objects that the token is tied to.
    pub(crate) tokens: BTreeMap<ObjectKey, crate::token::Seen>,
    /// What the stack requires of others and is absent, as text.
    pub(crate) absent: Vec<String>,
    /// When it was observed, in seconds since 1970.
    pub(crate) at: i64,
    /// The key used before there is a record. It is cached, because deriving it is deliberately slow.
    pub(crate) identity: std::sync::OnceLock<MaskKey>,
    /// Whether the server would accept a new object as replacement of one with an immutable change.
    pub(crate) recreations: BTreeMap<ObjectKey, Result<(), ClusterError>>,
}

impl Observation {
    /// The observation when no cluster was reached.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Who owns the stack now; None when there is no record.
    #[must_use]
    pub fn owner(&self) -> Option<&Owner> {
        self.stored.as_ref().map(|s| &s.record.owner)
    }

    pub(crate) fn entry(&self, key: &ObjectKey) -> Option<&Entry> {
        self.stored.as_ref().and_then(|s| s.record.entry(key))
    }

    /// Whether the object's manifest and our part of it are as recorded, so that nothing has to be sent.
    pub(crate) fn is_attested(&self, key: &ObjectKey) -> bool {
        let (Some(stored), Some(live), Some(wanted)) = (&self.stored, self.live.get(key), self.wanted.get(key)) else {
            return false;
        };
        self.entry(key).is_some_and(|e| {
            e.desired.as_ref() == Some(&wanted.hash)
                && e.uid.as_deref() == uid(live)
                && e.attested.is_some()
                && e.attested == attest(&stored.record.key, live)
        })
    }
}

pub(crate) fn uid(live: &Value) -> Option<&str> {
    live.pointer("/metadata/uid").and_then(Value::as_str)
}

/// Observes one stack.
///
/// # Errors
/// When the cluster cannot be reached or refuses, with its answer. A problem with a single object is not an error here
/// but a diagnostic of the plan.
pub async fn observe(cluster: &dyn Cluster, desired: &Desired, dry_run: DryRun) -> Result<Observation, Diagnostics> {
    let cancel = CancellationToken::new();
    let doing = "reading";
    let stored = record::read(cluster, &desired.stack, &cancel)
        .await
        .map_err(|e| Diagnostics::from(e.diagnostic(&desired.stack, doing)))?;
    let mut seen = Observation {
        reached: true,
        stored,
        at: jiff::Timestamp::now().as_second(),
        ..Observation::default()
    };
    let mut keys: BTreeMap<ObjectKey, String> = seen
        .stored
        .iter()
        .flat_map(|s| s.record.entries.values())
        .map(|e| (e.key.clone(), e.api_version.clone()))
        .collect();
    keys.extend(desired.objects.iter().map(|o| (o.key.clone(), o.api_version.clone())));
    let told = |e: ClusterError| Diagnostics::from(told(&e, "reading the stack's objects failed"));
    let required = desired.requires.iter().map(|(_, r)| (&r.api_version, &r.kind));
    let (resources, missing) = resources(cluster, keys.iter().map(|(k, v)| (v, &k.kind)).chain(required), &cancel)
        .await
        .map_err(told)?;
    let known: BTreeSet<&ObjectKey> = seen
        .stored
        .iter()
        .flat_map(|s| s.record.entries.values())
        .filter(|e| e.uid.is_some())
        .map(|e| &e.key)
        .collect();
    let live = find(
        cluster,
        &desired.stack,
        &keys,
        &known,
        &resources,
        seen.stored.is_some(),
        &cancel,
    )
    .await
    .map_err(told)?;
    drop(known);
    seen.live = live;
    seen.leaving = forsake_leaving(&mut seen.live);
    (seen.resources, seen.missing) = (resources, missing);
    seen.absent = absent(cluster, desired, &seen.resources, &cancel).await.map_err(told)?;
    let key = mask_key(desired, &seen);
    for wanted in &desired.tokens {
        let found = if seen.leaving.contains(&wanted.token.secret.namespace) {
            crate::token::Seen::default()
        } else {
            look(cluster, &wanted.token, &key, &cancel).await.map_err(told)?
        };
        seen.tokens.insert(wanted.key.clone(), found);
    }
    want(desired, &mut seen);
    leave_replicas(cluster, desired, &mut seen, &cancel)
        .await
        .map_err(told)?;
    try_changes(cluster, desired, &mut seen, dry_run, &cancel).await;
    Ok(seen)
}

/// What the stack requires of others and is absent. It may still appear before its turn in the apply, so this only
/// becomes a warning.
async fn absent(
    cluster: &dyn Cluster,
    desired: &Desired,
    resources: &BTreeMap<(String, String), Resource>,
    cancel: &CancellationToken,
) -> Result<Vec<String>, ClusterError> {
    let mut absent = Vec::new();
    for (_, required) in &desired.requires {
        let Some(resource) = resources.get(&(required.api_version.clone(), required.kind.clone())) else {
            absent.push(format!(
                "{} {} (the cluster does not serve its kind yet)",
                required.kind, required.name
            ));
            continue;
        };
        let namespace = if required.namespace.is_empty() {
            desired.stack.namespace.clone()
        } else {
            required.namespace.clone()
        };
        let target = Target {
            resource: resource.clone(),
            namespace,
            name: required.name.clone(),
        };
        match retrying(cancel, || cluster.get(&target)).await {
            Ok(Some(_)) => {}
            Ok(None) => absent.push(target.to_string()),
            // Without the right to read it, the apply cannot wait for it either, and says so at its gate.
            Err(e) if e.is_denied() => absent.push(format!("{target} ({e})")),
            Err(e) => return Err(e),
        }
    }
    Ok(absent)
}

/// A refusal as a diagnostic.
pub(crate) fn told(error: &ClusterError, summary: &str) -> Diagnostic {
    let fix = if error.is_unauthenticated() {
        format!("\n{}", record::UNKNOWN_CALLER)
    } else if error.is_denied() {
        "\ncheck the credentials and their RBAC rules".to_owned()
    } else {
        String::new()
    };
    Diagnostic::error(summary).detail(format!("{error}{fix}"))
}

/// What would be sent for each existing object, without what was left to others since the last apply.
fn want(desired: &Desired, seen: &mut Observation) {
    let key = mask_key(desired, seen);
    for object in desired.objects.iter().filter(|o| o.unknown.is_empty()) {
        if seen.live.contains_key(&object.key) {
            let mut left = seen.entry(&object.key).map(|e| e.left.clone()).unwrap_or_default();
            // Under another policy, fields that were yielded are wanted again; those of an autoscaler are not.
            left.retain(|path| desired.policy.conflicts == Conflicts::Yield || path == REPLICAS);
            seen.wanted.insert(object.key.clone(), wanted(object, left, &key));
        }
    }
}

pub(crate) fn wanted(object: &DesiredObject, left: Vec<String>, key: &MaskKey) -> Wanted {
    let mut body = object.value.clone();
    for path in &left {
        owned::remove(&mut body, path);
    }
    let hash = desired_hash(key, &body);
    Wanted { body, left, hash }
}

/// The record's key, or one derived from the stack's identity before there is a record.
pub(crate) fn mask_key(desired: &Desired, seen: &Observation) -> MaskKey {
    seen.stored.as_ref().map_or_else(
        || {
            let make = || MaskKey::of_identity(&desired.stack.namespace, &desired.stack.name);
            seen.identity.get_or_init(make).clone()
        },
        |s| s.record.key.clone(),
    )
}

/// Replicas of a workload that somebody else's live autoscaler scales belong to the autoscaler, without configuration.
/// Checked only if such a workload is about to be touched.
async fn leave_replicas(
    cluster: &dyn Cluster,
    desired: &Desired,
    seen: &mut Observation,
    cancel: &CancellationToken,
) -> Result<(), ClusterError> {
    let touched: Vec<&DesiredObject> = desired
        .objects
        .iter()
        .filter(|o| {
            seen.wanted
                .get(&o.key)
                .is_some_and(|w| w.body.pointer("/spec/replicas").is_some())
                && !seen.is_attested(&o.key)
        })
        .collect();
    let namespaces: BTreeSet<&str> = touched.iter().map(|o| o.key.namespace.as_str()).collect();
    let autoscaler = kinds::known("autoscaling/v2", "HorizontalPodAutoscaler");
    let mut scaled: BTreeSet<ObjectKey> = BTreeSet::new();
    for namespace in namespaces {
        let selection = Selection {
            namespace: Some(namespace.to_owned()),
            ..Selection::default()
        };
        match retrying(cancel, || cluster.list(&autoscaler, &selection)).await {
            Ok(list) => scaled.extend(list.items.iter().filter_map(scale_target)),
            // Not served, or not allowed to read: then no autoscaler is known.
            Err(e) if e.is_not_found() || e.is_denied() => {}
            Err(e) => return Err(e),
        }
    }
    let key = mask_key(desired, seen);
    for object in touched.into_iter().filter(|o| scaled.contains(&o.key)) {
        let mut left = seen.wanted.get(&object.key).map(|w| w.left.clone()).unwrap_or_default();
        left.push(REPLICAS.to_owned());
        seen.wanted.insert(object.key.clone(), wanted(object, left, &key));
    }
    Ok(())
}

/// Dry-runs the possible changes.
async fn try_changes(
    cluster: &dyn Cluster,
    desired: &Desired,
    seen: &mut Observation,
    dry_run: DryRun,
    cancel: &CancellationToken,
) {
    let key = mask_key(desired, seen);
    let mut trials = Vec::new();
    for object in desired.objects.iter().filter(|o| o.unknown.is_empty()) {
        let Some(resource) = seen
            .resources
            .get(&(object.api_version.clone(), object.key.kind.clone()))
        else {
            continue;
        };
        let target = target(resource, &object.key);
        let entry = seen.entry(&object.key);
        let (live, wanted) = (seen.live.get(&object.key), seen.wanted.get(&object.key));
        let body = match (live, wanted) {
            (Some(live), Some(wanted)) => {
                let same = entry.is_some_and(|e| e.desired.as_ref() == Some(&wanted.hash));
                let decides = same || !is_ours(live) || may_replace(desired, &object.key, live);
                let left_alone = object.implicit || is_deleting(live);
                if seen.is_attested(&object.key) || left_alone || dry_run == DryRun::Decisions && !decides {
                    continue;
                }
                wanted.body.clone()
            }
            // A new object can be dry-run only if its namespace exists.
            _ if dry_run == DryRun::Changes && namespace_is_there(seen, &object.key) => object.value.clone(),
            _ => continue,
        };
        let manners = Manners {
            policy: desired.policy.conflicts,
            adopting: entry.is_none(),
            owned: entry.map(|e| e.owned.clone()).unwrap_or_default(),
            key: key.clone(),
        };
        let replaceable = live.is_some_and(|live| may_replace(desired, &object.key, live));
        trials.push((object.key.clone(), target, body, manners, replaceable));
    }
    let looked = &*seen;
    let tried = futures::stream::iter(
        trials
            .into_iter()
            .map(|(key, target, body, manners, replaceable)| async move {
                let mut trial = settle(cluster, &target, &body, &manners, Mode::DryRun, cancel).await;
                if let Some(live) = looked.live.get(&key) {
                    let reclaimed = reclaim(cluster, &target, live, &body, &manners, &mut trial, cancel).await;
                    if let Some(reclaimed) = reclaimed {
                        trial.result = Ok(reclaimed.result);
                    }
                }
                let stuck = trial
                    .result
                    .as_ref()
                    .err()
                    .is_some_and(|e| !immutable_fields(e).is_empty());
                let recreation = if stuck && replaceable {
                    Some(try_recreation(cluster, &target, &body, cancel).await)
                } else {
                    None
                };
                (key, trial, recreation)
            }),
    )
    .buffer_unordered(IN_FLIGHT)
    .collect::<Vec<_>>()
    .await;
    for (key, trial, recreation) in tried {
        seen.recreations.extend(recreation.map(|r| (key.clone(), r)));
        seen.trials.insert(key, trial);
    }
}

/// Whether an object may be deleted and recreated for a change of an immutable field. A Job of ours may always: all of
/// it is immutable, and a changed image or command means that it should run again.
pub(crate) fn may_replace(desired: &Desired, key: &ObjectKey, live: &Value) -> bool {
    desired.policy.replace.contains(&key.kind) || key.group == "batch" && key.kind == "Job" && is_ours(live)
}

/// Proves by dry run, under an unused name, that a new object would be accepted, before the old one counts as
/// replaceable.
async fn try_recreation(
    cluster: &dyn Cluster,
    target: &Target,
    body: &Value,
    cancel: &CancellationToken,
) -> Result<(), ClusterError> {
    let mut scratch = target.clone();
    scratch.name = format!("{}-myelin-trial", target.name.chars().take(40).collect::<String>());
    let mut body = body.clone();
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("name".into(), scratch.name.as_str().into());
    }
    retrying(cancel, || cluster.create(&scratch, &body, Mode::DryRun))
        .await
        .map(|_| ())
}

pub(crate) fn target(resource: &Resource, key: &ObjectKey) -> Target {
    Target {
        resource: resource.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

/// Whether an object is being deleted.
pub(crate) fn is_deleting(live: &Value) -> bool {
    live.pointer("/metadata/deletionTimestamp")
        .is_some_and(|t| !t.is_null())
}

/// Removes the contents of namespaces that are being deleted, and returns these namespaces. The namespaces themselves
/// stay: to recreate one, the apply must wait for the old one.
fn forsake_leaving(live: &mut BTreeMap<ObjectKey, Value>) -> BTreeSet<String> {
    let leaving: BTreeSet<String> = live
        .iter()
        .filter(|(key, value)| key.group.is_empty() && key.kind == "Namespace" && is_deleting(value))
        .map(|(key, _)| key.name.clone())
        .collect();
    live.retain(|key, _| !leaving.contains(&key.namespace));
    leaving
}

fn namespace_is_there(seen: &Observation, key: &ObjectKey) -> bool {
    key.namespace.is_empty()
        || seen
            .live
            .get(&ObjectKey::new("", "Namespace", "", &*key.namespace))
            .is_some_and(|n| !is_deleting(n))
}
