//! A commit as a whole: its documents → the desired state of every stack → one plan each. `execution` carries the plans
//! out.
//!
//! The engine knows single stacks. This module handles what concerns several of them: all errors before any effect,
//! stacks that no document names any more, and the limit on what one commit may remove.

use crate::documents::{self, Body, Documents, Placed};
use crate::identity::Identities;
use crate::pools::{self, Pools, WantedPool};
use crate::shared::{Survey, View};
use crate::sops;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use myelin_engine::cluster::connect::ServiceAccount;
use myelin_engine::cluster::{Cluster, Resource, Selection, first_contact, kinds};
use myelin_engine::desired::{Desired, DesiredObject, Variables, desired, lone_token};
use myelin_engine::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use myelin_engine::document::{DocumentName, Stack, TOKEN_TIMEOUT};
use myelin_engine::mask::hex;
use myelin_engine::object::{Object, ObjectKey};
use myelin_engine::observe::{DryRun, Observation, observe};
use myelin_engine::plan::{Action, Plan, between, plan};
use myelin_engine::record::{Entry, Owner, Record, StackId, from_secret};
use myelin_engine::render::{Options, render};
use myelin_engine::tree::{Tree, TreePath};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Stacks that are looked at at once.
const LOOKED_AT: usize = 64;

/// Group of our own documents, which may lie among the manifests of a source.
const OWN_GROUP: &str = "myelin.dev";

/// What one stack should be, or one token that is a document of its own: a set of one token and no objects.
#[derive(Debug, Clone)]
pub(crate) struct WantedStack {
    pub(crate) id: StackId,
    pub(crate) name: DocumentName,
    pub(crate) desired: Arc<Desired>,
    pub(crate) after: BTreeSet<DocumentName>,
    /// Where its document is written.
    pub(crate) place: FilePlace,
    /// Folder that its objects' origins are relative to.
    pub(crate) folder: TreePath,
    /// As whom it wants to be changed.
    pub(crate) account: Option<ServiceAccount>,
}

impl WantedStack {
    /// Where in the repository an object comes from: its manifest, or else the document.
    pub(crate) fn place_of(&self, object: &DesiredObject) -> FilePlace {
        if object.implicit || object.origin.file.is_empty() {
            return self.place.clone();
        }
        let mut place = object.origin.clone();
        if let Some(path) = self.folder.join(&place.file) {
            path.as_str().clone_into(&mut place.file);
        }
        place
    }
}

/// What a commit wants.
#[derive(Debug, Clone, Default)]
pub(crate) struct WantedCommit {
    /// Each stack after those that it depends on.
    pub(crate) stacks: Vec<WantedStack>,
    /// Its pools of nodes.
    pub(crate) pools: Vec<WantedPool>,
    /// Whether the source may have pools although the commit has none.
    pub(crate) had_pools: pools::Earlier,
    /// Warnings of its documents.
    pub(crate) warnings: Diagnostics,
}

/// Reads every document under a folder and renders every stack. A pure function of the tree.
///
/// # Errors
/// All problems of all documents, and of the manifests of those that can be read, so that users see all of them at
/// once.
pub(crate) fn wanted(tree: &Tree, folder: &TreePath) -> Result<(Documents, WantedCommit), Diagnostics> {
    let (documents, mut problems) = documents::read(tree, folder);
    match render_all(tree, documents.all.iter()) {
        Ok(_) if problems.has_errors() => Err(problems),
        Ok(commit) => Ok((documents, commit)),
        Err(found) => {
            // A file that cannot be read may be found several times; whatever needs it reports it with its place.
            problems.0.retain(|problem| {
                problem.place.is_some() || !found.iter().any(|other| other.summary == problem.summary)
            });
            problems.extend(found);
            Err(problems)
        }
    }
}

/// Renders every stack of a commit whose documents are read already.
///
/// # Errors
/// All problems of all stacks.
pub(crate) fn wanted_of(tree: &Tree, documents: &Documents) -> Result<WantedCommit, Diagnostics> {
    render_all(tree, documents.all.iter())
}

/// Renders some stacks of a commit, with nothing to wait for. Its pools are among them: to look at one is one request.
///
/// # Errors
/// All problems of these stacks.
pub(crate) fn wanted_only(
    tree: &Tree,
    documents: &Documents,
    stacks: &BTreeSet<StackId>,
) -> Result<WantedCommit, Diagnostics> {
    let mut commit = render_all(
        tree,
        documents
            .all
            .iter()
            .filter(|placed| placed.id().is_none_or(|id| stacks.contains(&id))),
    )?;
    for stack in &mut commit.stacks {
        stack.after.clear();
    }
    for pool in &mut commit.pools {
        pool.after.clear();
    }
    Ok(commit)
}

fn render_all<'a>(tree: &Tree, documents: impl Iterator<Item = &'a Placed>) -> Result<WantedCommit, Diagnostics> {
    let mut problems = Diagnostics::new();
    let mut commit = WantedCommit::default();
    for placed in documents {
        if let Some(pool) = WantedPool::of(placed) {
            commit.pools.push(pool);
            continue;
        }
        let wanted = match &placed.body {
            // Taken above.
            Body::Pool(_) => continue,
            Body::Stack(stack) => wanted_stack(tree, stack, placed),
            Body::Token(token) => Ok(lone_token(token, TOKEN_TIMEOUT)),
        };
        match wanted.map(|desired| of_document(placed, desired)) {
            Ok(stack) => {
                commit.warnings.extend(stack.desired.warnings.clone());
                commit.stacks.push(stack);
            }
            Err(found) => problems.extend(found),
        }
    }
    claimed_twice(&commit.stacks, &mut problems);
    problems
        .or(commit)
        .map(|(commit, _)| commit)
        .map_err(|problems| sops::without(&tree.opened_values(), problems))
}

/// An object belongs to one stack. Each of two that want it would be right alone, and applied at the same time they would merge.
fn claimed_twice(stacks: &[WantedStack], problems: &mut Diagnostics) {
    let mut first: BTreeMap<&ObjectKey, (&WantedStack, &DesiredObject)> = BTreeMap::new();
    for stack in stacks {
        for object in stack.desired.objects.iter().filter(|object| !object.implicit) {
            let Some((other, known)) = first.insert(&object.key, (stack, object)) else {
                continue;
            };
            problems.push(
                Diagnostic::error(format!("{} is in two stacks", object.key.human()))
                    .detail(format!(
                        "{} wants it, too, at {}; leave it out of one of them",
                        other.id.title(),
                        other.place_of(known)
                    ))
                    .at(stack.place_of(object))
                    .object(object.key.clone()),
            );
        }
    }
}

fn of_document(placed: &Placed, desired: Desired) -> WantedStack {
    let source = match &placed.body {
        Body::Stack(stack) => stack.source.as_str(),
        Body::Token(_) | Body::Pool(_) => ".",
    };
    // The reader of documents has checked its form.
    let account = match &placed.body {
        Body::Stack(stack) => stack.service_account.as_ref(),
        Body::Token(token) => token.service_account.as_ref(),
        Body::Pool(_) => None,
    };
    let account = account.and_then(|account| account.parse().ok());
    WantedStack {
        account,
        place: placed.place.clone(),
        folder: placed.folder.join(source).unwrap_or_else(|| placed.folder.clone()),
        id: desired.stack.clone(),
        name: placed.name(),
        desired: Arc::new(desired),
        after: placed.depends_on().clone(),
    }
}

fn wanted_stack(tree: &Tree, stack: &Stack, placed: &Placed) -> Result<Desired, Diagnostics> {
    let source = &stack.source;
    let outside = || {
        Diagnostics::from(
            Diagnostic::error(format!("source {source} lies outside of the repository"))
                .detail("a source is relative to the folder of its document")
                .at(placed.place.clone()),
        )
    };
    if source.starts_with('/') {
        return Err(outside());
    }
    let folder = placed.folder.join(source).ok_or_else(outside)?;
    let rendered: Vec<Object> = render(tree, folder.as_str(), &Options::default())
        .map_err(|found| {
            found
                .into_iter()
                .map(|problem| or_at(problem, &placed.place))
                .collect::<Diagnostics>()
        })?
        .into_iter()
        .filter(|object| object.key().group != OWN_GROUP)
        .map(|mut object| {
            object.origin.file = relative(&object.origin.file, &folder);
            object.fields.rename(|file| relative(file, &folder));
            object
        })
        .collect();
    let variables = Variables {
        opened: tree.opened_values(),
        ..Variables::default()
    };
    let text = |file: &str| folder.join(file).and_then(|path| tree.text(path.as_str()));
    let in_repository = |problem: Diagnostic| or_at(from_source(problem, &folder), &placed.place);
    let mut desired = desired(stack, &variables, rendered, &text)
        .map_err(|found| found.into_iter().map(in_repository).collect::<Diagnostics>())?;
    desired.warnings = std::mem::take(&mut desired.warnings)
        .into_iter()
        .map(in_repository)
        .collect();
    Ok(desired)
}

/// Components are named relative to the source, so origins are too.
fn relative(file: &str, folder: &TreePath) -> String {
    TreePath::root()
        .join(file)
        .map_or_else(|| file.to_owned(), |path| path.relative_to(folder))
}

/// The other way: a problem's place, relative to the source, as a path in the repository.
fn from_source(mut problem: Diagnostic, folder: &TreePath) -> Diagnostic {
    if let Some(place) = &mut problem.place
        && let Some(path) = folder.join(&place.file)
    {
        path.as_str().clone_into(&mut place.file);
    }
    problem
}

/// A problem that has no place is the document's.
fn or_at(problem: Diagnostic, place: &FilePlace) -> Diagnostic {
    if problem.place.is_some() {
        problem
    } else {
        problem.at(place.clone())
    }
}

/// What would happen to everything that a source owns.
#[derive(Debug)]
pub(crate) struct Deployment {
    pub(crate) owner: Owner,
    /// One plan for each stack of the commit, in order.
    pub(crate) plans: Vec<(WantedStack, Plan)>,
    /// Stacks that fail alone, with their errors.
    pub(crate) refused: Vec<(WantedStack, Diagnostics)>,
    /// Stacks that the source owns and no document names.
    pub(crate) gone: Vec<Record>,
    /// The account that each stack was changed as the last time, where it named one.
    pub(crate) changed_as: BTreeMap<String, String>,
    /// Its pools of nodes.
    pub(crate) pools: Pools,
    /// Identity of the whole.
    pub(crate) hash: String,
    /// The observation of everything that the source owns; None if only a part was observed.
    pub(crate) seen: Option<Seen>,
}

/// The result of observing everything, as the starting point for the watches.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The records of the source.
    pub(crate) records: Vec<Record>,
    /// Version of the list of each kind.
    pub(crate) versions: BTreeMap<Resource, String>,
}

impl Deployment {
    /// What was seen, if applying this writes nothing at all, so that it stays true.
    pub(crate) fn take_settled(&mut self) -> Option<Seen> {
        let stands = self.is_empty();
        let settled = |record: &Record| record.ready && record.journal.is_empty();
        self.seen
            .take()
            .filter(|seen| stands && seen.records.iter().all(settled))
    }

    /// Whether nothing is to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.gone.is_empty()
            && self.refused.is_empty()
            && self.plans.iter().all(|(_, plan)| plan.is_empty())
            && self.pools.is_empty()
    }

    /// Errors and warnings of all plans.
    pub(crate) fn diagnostics(&self) -> Diagnostics {
        Diagnostics(
            self.plans
                .iter()
                .flat_map(|(_, plan)| plan.diagnostics.iter().cloned())
                .chain(self.pools.planned.iter().flat_map(|pool| pool.diagnostics().0))
                .collect(),
        )
    }

    /// Objects and nodes that would be removed, and those that there are.
    pub(crate) fn removals(&self) -> (usize, usize) {
        let gone: usize = self
            .gone
            .iter()
            .map(|record| record.entries.len() + record.tokens.len())
            .sum();
        let of = |plan: &Plan, actions: &[Action]| plan.changes.iter().filter(|c| actions.contains(&c.action)).count();
        let removed: usize = self.plans.iter().map(|(_, plan)| of(plan, &[Action::Prune])).sum();
        let there: usize = self
            .plans
            .iter()
            .map(|(_, plan)| plan.changes.len() - of(plan, &[Action::Create, Action::Unknown]))
            .sum();
        let (nodes_removed, nodes) = self.pools.removals();
        (gone + removed + nodes_removed, gone + there + nodes)
    }
}

impl std::fmt::Display for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (_, plan) in &self.plans {
            writeln!(f, "{plan}\n")?;
        }
        write!(f, "{}", self.pools)?;
        for record in &self.gone {
            writeln!(f, "{}: remove all, no document names it", record.stack.title())?;
            for key in record.entries.keys() {
                writeln!(f, "  remove {}", key.human())?;
            }
            for (token, entry) in &record.tokens {
                let (namespace, name, key) = &entry.secret;
                writeln!(f, "  remove token {token}: key {key} of Secret {namespace}/{name}")?;
            }
            writeln!(f)?;
        }
        write!(f, "plan of {}: {}", self.owner, self.hash)
    }
}

/// Plans every stack of a commit. Without a cluster, everything is created. `reader` observes all stacks together;
/// `acting` does the dry runs under the account that will apply. `whole` says that no other stack should exist.
///
/// # Errors
/// When the cluster cannot be read. Problems of single objects are in the plans.
pub(crate) async fn deployment(
    reader: Option<&Arc<dyn Cluster>>,
    acting: Option<&Identities>,
    commit: &WantedCommit,
    owner: &Owner,
    dry_run: DryRun,
    whole: bool,
) -> Result<Deployment, Diagnostics> {
    let mut problems = Diagnostics::new();
    let survey = match reader.zip(acting).filter(|_| whole) {
        Some((reader, _)) => {
            let secrets = record_secrets(&**reader).await?;
            Some(Arc::new(Survey::new(Arc::clone(reader), secrets)))
        }
        None => None,
    };
    let mut looks: Vec<BoxFuture<'_, Result<Observation, Diagnostics>>> = Vec::with_capacity(commit.stacks.len());
    for stack in &commit.stacks {
        let survey = survey.clone();
        looks.push(Box::pin(async move {
            let Some(acting) = acting else {
                return Ok(Observation::none());
            };
            let inner = acting
                .of(stack.account.as_ref())
                .map_err(|why| Diagnostics::from(Diagnostic::error(why).at(stack.place.clone())))?;
            match survey {
                Some(survey) => {
                    let view = View {
                        survey,
                        inner: Arc::clone(inner),
                    };
                    observe(&view, &stack.desired, dry_run).await
                }
                None => observe(&**inner, &stack.desired, dry_run).await,
            }
        }));
    }
    let looked = futures::stream::iter(looks)
        .buffered(LOOKED_AT)
        .collect::<Vec<_>>()
        .await;
    let mut plans = Vec::with_capacity(looked.len());
    let mut refused = Vec::new();
    for (stack, seen) in commit.stacks.iter().zip(looked) {
        let alone = acting.is_some_and(|acting| acting.stands_alone(stack.account.as_ref()));
        match seen {
            Ok(seen) => {
                let made = plan(Arc::clone(&stack.desired), Arc::new(seen), owner.clone());
                if alone && made.diagnostics.has_errors() {
                    refused.push((stack.clone(), made.diagnostics.clone()));
                } else {
                    plans.push((stack.clone(), made));
                }
            }
            Err(found) if alone => refused.push((stack.clone(), found)),
            Err(found) => problems.extend(found),
        }
    }
    let mut gone = Vec::new();
    let mut seen = None;
    if let Some(survey) = survey {
        let named: BTreeSet<&StackId> = commit.stacks.iter().map(|stack| &stack.id).collect();
        let mut records = read_records(survey.records());
        records.retain(|record| record.owner == *owner);
        gone.extend(records.iter().filter(|record| !named.contains(&record.stack)).cloned());
        seen = Some(Seen {
            records,
            versions: survey.versions(),
        });
    }
    let found = pools::look(
        acting.map(Identities::usual),
        &commit.pools,
        owner,
        whole,
        commit.had_pools,
    )
    .await;
    let pools = found.unwrap_or_else(|found| {
        problems.extend(found);
        Pools::default()
    });
    let hash = hash(&plans, &gone, &pools);
    let deployment = Deployment {
        owner: owner.clone(),
        plans,
        refused,
        gone,
        changed_as: BTreeMap::new(),
        pools,
        hash,
        seen,
    };
    problems.or(deployment).map(|(deployment, _)| deployment)
}

fn hash(plans: &[(WantedStack, Plan)], gone: &[Record], pools: &Pools) -> String {
    let mut hash = Sha256::new();
    hash.update(b"myelin commit v1");
    for (_, plan) in plans {
        hash.update(&plan.hash);
    }
    for record in gone {
        hash.update(format!("gone {} {}", record.stack, record.serial));
    }
    hash.update(pools.identity());
    hex(&hash.finalize()[..16])
}

/// What changes from one commit to another, judged by their rendered output alone: no cluster is used.
pub(crate) fn from_to(before: &WantedCommit, after: &WantedCommit, owner: &Owner) -> Deployment {
    let old = |id: &StackId| before.stacks.iter().find(|stack| stack.id == *id);
    let plans: Vec<(WantedStack, Plan)> = after
        .stacks
        .iter()
        .map(|stack| {
            let desired = Arc::clone(&stack.desired);
            let made = match old(&stack.id) {
                Some(old) => between(&old.desired, desired, owner.clone()),
                None => plan(desired, Arc::new(Observation::none()), owner.clone()),
            };
            (stack.clone(), made)
        })
        .collect();
    let lost = |stack: &&WantedStack| after.stacks.iter().all(|new| new.id != stack.id);
    let gone: Vec<Record> = before
        .stacks
        .iter()
        .filter(lost)
        .map(|stack| {
            let mut record = Record::new(stack.id.clone(), owner.clone(), [0; 32]);
            let keys = stack.desired.objects.iter().map(|object| object.key.clone());
            record.entries = keys.map(|key| (key.clone(), Entry::intended(key))).collect();
            record
        })
        .collect();
    Deployment {
        owner: owner.clone(),
        hash: hash(&plans, &gone, &Pools::default()),
        pools: Pools::default(),
        plans,
        refused: Vec::new(),
        gone,
        changed_as: BTreeMap::new(),
        seen: None,
    }
}

/// Records of the stacks that an owner has in the cluster: one list.
///
/// # Errors
/// When the cluster refuses or does not answer.
pub(crate) async fn owned(cluster: &dyn Cluster, owner: &Owner) -> Result<Vec<Record>, Diagnostic> {
    let mut all = records(cluster).await?;
    all.retain(|record| record.owner == *owner);
    Ok(all)
}

/// Records of all stacks in the cluster: one list.
///
/// # Errors
/// When the cluster refuses or does not answer.
pub(crate) async fn records(cluster: &dyn Cluster) -> Result<Vec<Record>, Diagnostic> {
    let secrets = record_secrets(cluster).await?;
    Ok(read_records(secrets.iter()))
}

fn read_records<'a>(secrets: impl Iterator<Item = &'a serde_json::Value>) -> Vec<Record> {
    let read = |secret: &serde_json::Value| {
        let text = |pointer: &str| secret.pointer(pointer).and_then(serde_json::Value::as_str);
        let id = StackId::of_record(text("/metadata/namespace")?, text("/metadata/name")?)?;
        from_secret(&id, secret).ok()
    };
    secrets.filter_map(read).collect()
}

async fn record_secrets(cluster: &dyn Cluster) -> Result<Vec<serde_json::Value>, Diagnostic> {
    let selection = Selection {
        labels: "app.kubernetes.io/managed-by=myelin,applyset.kubernetes.io/id".to_owned(),
        fields: "type=myelin.dev/stack".to_owned(),
        ..Selection::default()
    };
    let secrets = kinds::known("v1", "Secret");
    let list = first_contact(&tokio_util::sync::CancellationToken::new(), || {
        cluster.list(&secrets, &selection)
    })
    .await
    .map_err(|error| {
        // A remedy only if it is one.
        let next = if error.is_denied() {
            "\nallow list of Secrets in all namespaces"
        } else {
            ""
        };
        Diagnostic::error("the records of stacks could not be listed").detail(format!("{error}{next}"))
    })?;
    Ok(list.items)
}

/// How much a commit may remove without confirmation of exactly that plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BlastRadius {
    /// Per cent of the objects that there are.
    pub(crate) percent: u8,
    /// Removing at most this many needs no confirmation, unless it is everything.
    pub(crate) few: usize,
}

impl Default for BlastRadius {
    fn default() -> Self {
        Self { percent: 30, few: 3 }
    }
}

impl BlastRadius {
    /// The refusal, if too much would be removed. `confirmed` is the hash that a user has confirmed.
    pub(crate) fn refuse(self, deployment: &Deployment, confirmed: Option<&str>) -> Option<Diagnostic> {
        let (removed, there) = deployment.removals();
        let everything = removed > 0 && removed >= there;
        let much = removed > self.few && removed * 100 > there * usize::from(self.percent);
        if !(everything || much) || confirmed == Some(deployment.hash.as_str()) {
            return None;
        }
        Some(
            Diagnostic::error(format!("the commit would remove {removed} of {there} objects")).detail(format!(
                "That is more than {} per cent, so nothing was changed. If it is meant, confirm exactly this plan: {}",
                self.percent, deployment.hash
            )),
        )
    }
}
