//! Updates references once all names are final. The target of a reference is found by the name that the reference
//! holds, among the names that resources had before; prefixes, suffixes and namespaces decide between several
//! candidates.

use super::config::Config;
use super::fieldspec::{set_scalar, split, visit_at};
use super::generate::Problem;
use super::id::{Gvk, Id};
use super::resmap::ResMap;
use super::resource::{Resource, set_text};
use crate::yaml::{Content, Node};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What must be known of a resource that may be referred to.
struct Candidate {
    now: Id,
    previous: Vec<Id>,
    prefixes: Vec<Arc<str>>,
    suffixes: Vec<Arc<str>>,
    original_namespace: Arc<str>,
}

struct Candidates {
    all: Vec<Candidate>,
    by_old_name: HashMap<Arc<str>, Vec<usize>>,
}

pub(super) fn update(resources: &mut ResMap, config: &Config) -> Result<(), Problem> {
    let candidates = Candidates::of(resources);
    let places: Vec<_> = config
        .name_reference
        .iter()
        .flat_map(|reference| {
            let fields = reference.fields.iter();
            fields.map(move |field| (reference, field, split(&field.path)))
        })
        .collect();
    // Also where nothing can be found: the original refuses what is no place for a reference.
    for resource in &mut resources.all {
        let referrer = Referrer::of(resource)?;
        let role_ref = role_ref(resource);
        for (reference, field, parts) in &places {
            if !referrer.original.is_selected_by(&field.gvk) {
                continue;
            }
            let role_ref = role_ref.as_ref().filter(|_| field.path.ends_with("roleRef/name"));
            let search = Search {
                candidates: &candidates,
                referrer: &referrer,
                target: &reference.target,
                role_ref,
            };
            let at = resource.at();
            visit_at(&mut resource.node, field, parts, None, &mut |node| search.set(node))
                .map_err(|e| (format!("updating the references of {}: {e}", referrer.now), at))?;
        }
    }
    Ok(())
}

impl Candidates {
    fn of(resources: &ResMap) -> Self {
        let mut by_old_name: HashMap<Arc<str>, Vec<usize>> = HashMap::new();
        let all = resources.all.iter().enumerate().map(|(i, resource)| {
            let previous: Vec<Id> = resource.previous_ids().collect();
            let mut names: Vec<Arc<str>> = previous.iter().map(|p| p.name.clone()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                by_old_name.entry(name).or_default().push(i);
            }
            let original = resource.original_id();
            Candidate {
                now: resource.id(),
                previous,
                prefixes: resource.prefixes.clone(),
                suffixes: resource.suffixes.clone(),
                original_namespace: original.effective_namespace().into(),
            }
        });
        Self {
            all: all.collect(),
            by_old_name,
        }
    }
}

struct Referrer {
    now: Id,
    original: Gvk,
    cluster_scoped: bool,
    prefixes: Vec<Arc<str>>,
    suffixes: Vec<Arc<str>>,
    /// Namespaces of the service accounts that a RoleBinding names.
    accounts: HashSet<Arc<str>>,
}

impl Referrer {
    fn of(resource: &Resource) -> Result<Self, Problem> {
        let now = resource.id();
        let mut accounts = HashSet::new();
        if &*now.gvk.kind == "RoleBinding" {
            for subject in resource.node.get("subjects").map(Node::items).unwrap_or_default() {
                let Some(namespace) = subject.get("namespace") else {
                    continue;
                };
                if subject.get("kind").and_then(Node::text) == Some("ServiceAccount") {
                    match namespace.as_str() {
                        Some(namespace) => accounts.insert(namespace.into()),
                        None => {
                            let e = format!(
                                "the namespace of a subject of {now} is {}, and must be a string or absent",
                                namespace.kind_name()
                            );
                            return Err((e, namespace.at));
                        }
                    };
                }
            }
        }
        Ok(Self {
            original: resource.original_id().gvk,
            cluster_scoped: now.gvk.is_cluster_scoped(),
            prefixes: resource.prefixes.clone(),
            suffixes: resource.suffixes.clone(),
            accounts,
            now,
        })
    }

    /// Whether it could refer to something, judged by the namespaces alone.
    fn reaches(&self, candidate: &Id) -> bool {
        self.cluster_scoped
            || candidate.gvk.is_cluster_scoped()
            || candidate.effective_namespace() == self.now.effective_namespace()
            || self.accounts.contains(&candidate.namespace)
    }

    fn same_namespace(&self, candidate: &Id) -> bool {
        self.cluster_scoped
            || candidate.gvk.is_cluster_scoped()
            || &*candidate.gvk.kind == "ServiceAccount"
            || candidate.effective_namespace() == self.now.effective_namespace()
    }
}

fn role_ref(resource: &Resource) -> Option<Gvk> {
    let part = |name| Some(resource.node.path(&["roleRef", name])?.text()?.into());
    Some(Gvk {
        group: part("apiGroup")?,
        version: "".into(),
        kind: part("kind")?,
    })
}

struct Search<'a> {
    candidates: &'a Candidates,
    referrer: &'a Referrer,
    target: &'a Gvk,
    role_ref: Option<&'a Gvk>,
}

impl Search<'_> {
    fn set(&self, node: &mut Node) -> Result<(), String> {
        if node.is_null() {
            return Ok(());
        }
        match &mut node.content {
            Content::Scalar(_) => self.scalar(node),
            Content::Map(_) => self.map(node),
            Content::Seq(items) => items.iter_mut().try_for_each(|item| match item.content {
                Content::Scalar(_) => self.scalar(item),
                Content::Map(_) => self.map(item),
                Content::Seq(_) => Err("expected a name or a map with one, found a list".to_owned()),
            }),
        }
    }

    fn scalar(&self, node: &mut Node) -> Result<(), String> {
        let old = node.text().unwrap_or_default();
        match self.find(old, None, |a, b| a.name == b.name)? {
            Some(found) if *found.name != *old => set_scalar(node, &found.name),
            _ => Ok(()),
        }
    }

    fn map(&self, node: &mut Node) -> Result<(), String> {
        let Some(name) = node.get("name") else {
            return Err("the place is a map without a name, so it cannot be a reference".to_owned());
        };
        let old = name.text().unwrap_or_default().to_owned();
        let namespace = node.get("namespace").and_then(Node::text).map(str::to_owned);
        let both = |a: &Id, b: &Id| a.name == b.name && a.namespace == b.namespace;
        let Some(found) = self.find(&old, namespace.as_deref(), both)? else {
            return Ok(());
        };
        if *found.name == *old && found.namespace.is_empty() {
            return Ok(());
        }
        let (name, namespace) = (found.name.clone(), found.namespace.clone());
        set_text(node, "name", &name);
        if !namespace.is_empty() {
            set_text(node, "namespace", &namespace);
        }
        Ok(())
    }

    /// What a reference that holds `old` refers to.
    fn find(&self, old: &str, namespace: Option<&str>, same: impl Fn(&Id, &Id) -> bool) -> Result<Option<&Id>, String> {
        let Some(indices) = self.candidates.by_old_name.get(old) else {
            return Ok(None);
        };
        let mut left: Vec<&Candidate> = indices.iter().map(|i| &self.candidates.all[*i]).collect();
        left.retain(|c| self.referrer.reaches(&c.now));
        if let Some(namespace) = namespace {
            left = self.in_namespace(left, namespace);
        }
        left.retain(|c| c.previous.iter().any(|p| p.gvk.is_selected_by(self.target)));
        if let Some(role) = self.role_ref {
            left.retain(|c| c.previous.iter().any(|p| p.gvk.is_selected_by(role)));
        }
        left.retain(|c| self.referrer.same_namespace(&c.now));
        for strict in [false, true] {
            if left.len() > 1 {
                left.retain(|c| {
                    ends_alike(&c.prefixes, &self.referrer.prefixes, strict)
                        && ends_alike(&c.suffixes, &self.referrer.suffixes, strict)
                });
            }
        }
        match left[..] {
            [] => Ok(None),
            [first, ref others @ ..] if others.iter().all(|o| same(&first.now, &o.now)) => Ok(Some(&first.now)),
            _ => {
                let names: Vec<String> = left.iter().map(|c| c.now.to_string()).collect();
                Err(format!(
                    "\"{old}\" could mean any of {}; give them names that differ",
                    names.join(", ")
                ))
            }
        }
    }

    /// The candidates whose namespace was the one that the reference names, or else is.
    fn in_namespace<'a>(&self, left: Vec<&'a Candidate>, namespace: &str) -> Vec<&'a Candidate> {
        let known = |pick: &dyn Fn(&Candidate) -> bool| {
            self.candidates
                .all
                .iter()
                .any(|c| self.referrer.reaches(&c.now) && pick(c))
        };
        let by_original = |c: &Candidate| &*c.original_namespace == namespace;
        let by_current = |c: &Candidate| c.now.effective_namespace() == namespace;
        if known(&by_original) {
            left.into_iter().filter(|c| by_original(c)).collect()
        } else {
            left.into_iter().filter(|c| by_current(c)).collect()
        }
    }
}

/// Whether the shorter list is the end of the longer one.
fn ends_alike(a: &[Arc<str>], b: &[Arc<str>], strict: bool) -> bool {
    if a.is_empty() || b.is_empty() {
        return !strict || a.is_empty() == b.is_empty();
    }
    let n = a.len().min(b.len());
    a[a.len() - n..] == b[b.len() - n..]
}
