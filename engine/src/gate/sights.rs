//! Everything that the watches have shown, in the form that rules read, plus what only an observer can know: when a
//! thing was first seen, and the last messages of pods that are gone.
//!
//! One store serves all gates of an apply. It sends no request and never judges; [`Sights::see`] returns the objects
//! that a change concerns, so that only their gates are evaluated again.

use super::{
    Moment,
    essence::essence,
    events::Notes,
    pod_facts::{Pod, Role, Run},
    reading::{condition, list, text},
};
use crate::object::{ObjectKey, split_api_version};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How many last messages of gone pods are kept for each owner.
const MOST_EPITAPHS: usize = 16;

/// How many gone objects are remembered.
const MOST_GONE: usize = 10_000;

/// What a watch reports.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// The object was in the list that the watch started with.
    Listed(&'a Value),
    /// The object was added or changed just now.
    Set(&'a Value),
    /// The object is gone.
    Gone(&'a Value),
}

/// An object that is not a pod.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) value: Value,
    pub(super) first: Moment,
}

/// The message of a failed pod that is gone or whose container was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Epitaph {
    pub(super) pod: String,
    pub(super) uid: String,
    pub(super) words: String,
}

/// The state of an object when it disappeared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parting {
    /// A completed Job or standalone pod: with a short time to live it may disappear before its completion was seen.
    Completed,
    /// Anything else.
    Taken,
}

/// All that was seen; see the module's header.
#[derive(Debug, Default)]
pub struct Sights {
    objects: BTreeMap<ObjectKey, Seen>,
    pods: BTreeMap<ObjectKey, Pod>,
    notes: HashMap<ObjectKey, Notes>,
    /// Owner → what it owns.
    children: HashMap<ObjectKey, BTreeSet<ObjectKey>>,
    /// Owned → owner.
    owners: HashMap<ObjectKey, ObjectKey>,
    epitaphs: HashMap<ObjectKey, Vec<Epitaph>>,
    gone: BTreeMap<ObjectKey, Parting>,
    /// When each existing object was last seen, by number of the sight.
    turns: BTreeMap<ObjectKey, u64>,
    turn: u64,
    blind: bool,
}

impl Sights {
    /// Records what a watch reports, and returns the objects concerned: itself, its owners, the object of an Event, the
    /// pods that mount a claim. Objects come as the API sends them, with `apiVersion` and `kind`.
    pub fn see(&mut self, change: Change<'_>, now: Moment) -> BTreeSet<ObjectKey> {
        let (value, live) = match change {
            Change::Listed(value) => (value, false),
            Change::Set(value) | Change::Gone(value) => (value, true),
        };
        let key = ObjectKey::of(value);
        let gone = matches!(change, Change::Gone(_));
        if key.kind == "Event" {
            return if gone {
                BTreeSet::new()
            } else {
                self.hear(value, now, live)
            };
        }
        let mut concerned = self.line_of(&key);
        if gone {
            // The deletion of a replaced predecessor may arrive after the answer that created its successor.
            if self.uid(&key).is_none_or(|known| known == text(value, "/metadata/uid")) {
                self.forget(&key, value);
            }
        } else {
            self.turn += 1;
            self.turns.insert(key.clone(), self.turn);
            self.adopt(&key, value);
            if key.kind == "Pod" && key.group.is_empty() {
                let pod = Pod::read(value, self.pods.get(&key), now, live);
                self.remember_failure(&key, &pod);
                self.pods.insert(key.clone(), pod);
            } else {
                let first = match self.objects.get(&key) {
                    Some(seen) if text(&seen.value, "/metadata/uid") == text(value, "/metadata/uid") => seen.first,
                    _ => now,
                };
                let value = essence(value);
                self.objects.insert(key.clone(), Seen { value, first });
            }
            self.gone.remove(&key);
            concerned.append(&mut self.line_of(&key));
        }
        if key.kind == "PersistentVolumeClaim" {
            self.add_users_of_claim(&key, &mut concerned);
        }
        if key.kind == "EndpointSlice" {
            let service = text(value, "/metadata/labels/kubernetes.io~1service-name");
            concerned.insert(ObjectKey::new("", "Service", key.namespace, service));
        }
        concerned
    }

    /// The watch on a namespace or a kind has been restarted from a list that does not contain this object any more.
    pub fn lost(&mut self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let concerned = self.line_of(key);
        self.forget(key, &Value::Null);
        concerned
    }

    /// The number of the latest sight. Remember it before requesting a list, for [`Sights::unseen_since`].
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn
    }

    /// Keys of all objects of a kind in a namespace that have not been seen after that turn: they are gone if a list
    /// requested then does not contain them.
    pub fn unseen_since<'a>(
        &'a self,
        kind: &'a str,
        namespace: &'a str,
        turn: u64,
    ) -> impl Iterator<Item = &'a ObjectKey> {
        self.turns
            .iter()
            .filter(move |(key, last)| **last <= turn && key.kind == kind && key.namespace == namespace)
            .map(|(key, _)| key)
    }

    /// The part of the object that rules read, as last seen (not for pods).
    #[must_use]
    pub fn value(&self, key: &ObjectKey) -> Option<&Value> {
        self.objects.get(key).map(|seen| &seen.value)
    }

    /// UID of the object, if it exists.
    #[must_use]
    pub fn uid(&self, key: &ObjectKey) -> Option<&str> {
        match self.pods.get(key) {
            Some(pod) => Some(&pod.uid),
            None => self.value(key).map(|value| text(value, "/metadata/uid")),
        }
    }

    /// Pods and their owners cannot be watched: from now on rules use only counts and conditions.
    pub fn go_blind(&mut self) {
        self.blind = true;
    }

    /// The chain of owners, beginning with the key itself.
    fn line_of(&self, key: &ObjectKey) -> BTreeSet<ObjectKey> {
        let mut line = BTreeSet::new();
        let mut next = Some(key);
        while let Some(key) = next {
            if !line.insert(key.clone()) {
                break;
            }
            next = self.owners.get(key);
        }
        line
    }

    fn hear(&mut self, event: &Value, now: Moment, live: bool) -> BTreeSet<ObjectKey> {
        let field = |name: &str| {
            let core = text(event, &format!("/involvedObject/{name}"));
            if core.is_empty() {
                text(event, &format!("/regarding/{name}"))
            } else {
                core
            }
        };
        let about = ObjectKey::new(
            split_api_version(field("apiVersion")).0,
            field("kind"),
            field("namespace"),
            field("name"),
        );
        self.notes.entry(about.clone()).or_default().hear(event, now, live);
        let mut concerned = self.line_of(&about);
        if about.kind == "PersistentVolumeClaim" {
            self.add_users_of_claim(&about, &mut concerned);
        }
        concerned
    }

    fn add_users_of_claim(&self, claim: &ObjectKey, concerned: &mut BTreeSet<ObjectKey>) {
        for (key, pod) in &self.pods {
            if key.namespace == claim.namespace && pod.claims.contains(&claim.name) {
                concerned.append(&mut self.line_of(key));
            }
        }
    }

    fn adopt(&mut self, key: &ObjectKey, value: &Value) {
        let references = list(value, "/metadata/ownerReferences");
        let controller = references
            .iter()
            .find(|r| r.get("controller").and_then(Value::as_bool) == Some(true));
        let owner = controller.map(|r| {
            let group = split_api_version(text(r, "/apiVersion")).0;
            ObjectKey::new(group, text(r, "/kind"), &key.namespace, text(r, "/name"))
        });
        if self.owners.get(key) == owner.as_ref() {
            return;
        }
        if let Some(old) = self.owners.remove(key) {
            self.children.entry(old).or_default().remove(key);
        }
        if let Some(owner) = owner {
            self.children.entry(owner.clone()).or_default().insert(key.clone());
            self.owners.insert(key.clone(), owner);
        }
    }

    /// `last` is its last state, if that is known.
    fn forget(&mut self, key: &ObjectKey, last: &Value) {
        let seen = self.objects.remove(key);
        let pod = self.pods.remove(key);
        self.turns.remove(key);
        self.notes.remove(key);
        let owner = self.owners.remove(key);
        if let Some(children) = owner.as_ref().and_then(|owner| self.children.get_mut(owner)) {
            children.remove(key);
        }
        // The pods of a workload come and go, and no gate refers to them by name.
        if owner.is_none() || key.kind != "Pod" {
            let had_completed = match (key.group.as_str(), key.kind.as_str()) {
                ("batch", "Job") => job_completed(last) || seen.is_some_and(|seen| job_completed(&seen.value)),
                ("", "Pod") => {
                    text(last, "/status/phase") == SUCCEEDED || pod.is_some_and(|pod| pod.phase == SUCCEEDED)
                }
                _ => false,
            };
            let parting = if had_completed {
                Parting::Completed
            } else {
                Parting::Taken
            };
            self.gone.insert(key.clone(), parting);
            while self.gone.len() > MOST_GONE {
                self.gone.pop_first();
            }
        }
    }

    /// When its limit is reached, a Job deletes the pod, and with it exit code and log.
    fn remember_failure(&mut self, key: &ObjectKey, pod: &Pod) {
        let Some(owner) = self.owners.get(key) else { return };
        if pod.deleting || owner.kind != "Job" {
            return;
        }
        for container in &pod.containers {
            let exit = match &container.run {
                Run::Ended(exit) => exit,
                _ => match &container.last {
                    Some(last) => last,
                    None => continue,
                },
            };
            if exit.code == 0 || container.role == Role::Sidecar {
                continue;
            }
            let words = format!("pod {} container {}: {}", pod.name, container.name, exit.words());
            let all = self.epitaphs.entry(owner.clone()).or_default();
            all.retain(|e| e.uid != pod.uid);
            all.push(Epitaph {
                pod: pod.name.clone(),
                uid: pod.uid.clone(),
                words,
            });
            if all.len() > MOST_EPITAPHS {
                all.remove(0);
            }
        }
    }

    pub(super) fn object(&self, key: &ObjectKey) -> Option<&Seen> {
        self.objects.get(key)
    }

    pub(super) fn pod(&self, key: &ObjectKey) -> Option<&Pod> {
        self.pods.get(key)
    }

    pub(super) fn notes(&self, key: &ObjectKey) -> &Notes {
        static NONE: std::sync::LazyLock<Notes> = std::sync::LazyLock::new(Notes::default);
        self.notes.get(key).unwrap_or(&NONE)
    }

    /// The objects of one kind that an object owns.
    pub(super) fn owned<'a>(&'a self, owner: &ObjectKey, kind: &'a str) -> impl Iterator<Item = &'a ObjectKey> {
        let children = self.children.get(owner).into_iter().flatten();
        children.filter(move |key| key.kind == kind)
    }

    pub(super) fn pods_of<'a>(&'a self, owner: &ObjectKey) -> impl Iterator<Item = &'a Pod> {
        self.owned(owner, "Pod").filter_map(|key| self.pods.get(key))
    }

    pub(super) fn epitaphs(&self, owner: &ObjectKey) -> &[Epitaph] {
        self.epitaphs.get(owner).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn of_kind<'a>(
        &'a self,
        kind: &'a str,
        namespace: &'a str,
    ) -> impl Iterator<Item = (&'a ObjectKey, &'a Seen)> {
        self.objects
            .iter()
            .filter(move |(key, _)| key.kind == kind && key.namespace == namespace)
    }

    /// How it disappeared, if it was seen before.
    pub(super) fn parting(&self, key: &ObjectKey) -> Option<Parting> {
        self.gone.get(key).copied()
    }

    /// Whether pods and their owners cannot be watched.
    pub(super) fn is_blind(&self) -> bool {
        self.blind
    }
}

/// The phase of a pod that has completed.
pub(super) const SUCCEEDED: &str = "Succeeded";

/// Whether a Job has completed. Its controller says so twice: when the work is done, and when the last pod has ended.
pub(super) fn job_completed(job: &Value) -> bool {
    let is_true = |kind| condition(job, kind).is_some_and(|c| c.is_true());
    is_true("Complete") || is_true("SuccessCriteriaMet")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn owned(kind: &str, api: &str, name: &str, owner: Option<(&str, &str)>) -> Value {
        let mut value = json!({"apiVersion": api, "kind": kind,
            "metadata": {"namespace": "shop", "name": name, "uid": name}});
        if let Some((kind, name)) = owner {
            value["metadata"]["ownerReferences"] =
                json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "controller": true}]);
        }
        value
    }

    fn kinds(keys: &BTreeSet<ObjectKey>) -> Vec<&str> {
        keys.iter().map(|k| k.kind.as_str()).collect()
    }

    #[test]
    fn a_change_concerns_every_owner_whichever_watch_speaks_first() {
        let mut sights = Sights::default();
        let pod = owned("Pod", "v1", "web-1-a", Some(("ReplicaSet", "web-1")));
        let set = owned("ReplicaSet", "apps/v1", "web-1", Some(("Deployment", "web")));
        assert_eq!(kinds(&sights.see(Change::Set(&pod), Moment(0))), ["Pod", "ReplicaSet"]);
        assert_eq!(
            kinds(&sights.see(Change::Set(&set), Moment(0))),
            ["Deployment", "ReplicaSet"]
        );
        assert_eq!(
            kinds(&sights.see(Change::Set(&pod), Moment(0))),
            ["Pod", "Deployment", "ReplicaSet"]
        );
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": "shop", "name": "e"},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": "web-1-a"}});
        assert_eq!(
            kinds(&sights.see(Change::Set(&event), Moment(0))),
            ["Pod", "Deployment", "ReplicaSet"]
        );
        assert_eq!(
            kinds(&sights.see(Change::Gone(&pod), Moment(0))),
            ["Pod", "Deployment", "ReplicaSet"]
        );
    }

    #[test]
    fn the_values_of_a_secret_are_not_kept() {
        let mut sights = Sights::default();
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "shop", "name": "s"},
            "data": {"k": "aHVudGVyMg=="}, "stringData": {"k": "hunter2"}});
        sights.see(Change::Set(&secret), Moment(0));
        assert!(!format!("{sights:?}").contains("aHVudGVyMg"));
        assert!(!format!("{sights:?}").contains("hunter2"));
    }

    #[test]
    fn owners_that_own_each_other_do_not_hang_it() {
        let mut sights = Sights::default();
        let a = owned("ReplicaSet", "apps/v1", "a", Some(("ReplicaSet", "b")));
        let b = owned("ReplicaSet", "apps/v1", "b", Some(("ReplicaSet", "a")));
        sights.see(Change::Set(&a), Moment(0));
        assert_eq!(sights.see(Change::Set(&b), Moment(0)).len(), 2);
    }
}
