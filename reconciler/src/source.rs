//! One source, for as long as the reconciler runs: look where the branch points, take a good commit, keep the cluster at it.
//!
//! The last good commit is enforced until a better one is there. A newer good commit ends the waits of an older one at once;
//! what was applied stays. Between two looks nothing is asked: watches tell what drifts.

use crate::chronicle;
use crate::configuration::SourceConfiguration;
use crate::control::{Board, Control, Status, Taken};
use crate::deployment::{
    BlastRadius, Deployment, Report, Seen, WantedCommit, deployment, execute, owned, wanted, wanted_of, wanted_only,
};
use crate::documents::Documents;
use crate::drift::{Drift, Left};
use crate::events::{Events, Kind};
use crate::git::{Branch, Commit, GitError, Limits, Signers};
use crate::origins::Origins;
use crate::pause::Pause;
use crate::pools;
use crate::sops::Decryption;
use crate::waits::Waits;
use myelin_engine::apply::{Progress, Run};
use myelin_engine::cluster::{Cluster, Resource};
use myelin_engine::diagnostic::{Diagnostic, Diagnostics};
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::{DryRun, kinds_of};
use myelin_engine::record::{Owner, StackId};
use myelin_engine::tree::{Tree, TreePath};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Drift after this long without any is new, not the same again.
const CALM: Duration = Duration::from_secs(5);

/// A commit whose documents are good: its files, from which everything is rendered again when it is needed. What is rendered is
/// many times as large, and is kept only until it is applied.
struct Good {
    hash: String,
    files: Arc<Files>,
}

/// The files and documents of a commit.
struct Files {
    tree: Tree,
    documents: Documents,
}

/// One source at work.
pub(crate) struct Source {
    configuration: SourceConfiguration,
    branch: Branch,
    /// With our own rights: reads everything, writes what is ours.
    cluster: Arc<dyn Cluster>,
    /// As whom stacks are changed.
    acting: Arc<dyn Cluster>,
    board: Board,
    control: watch::Receiver<Control>,
    status: Status,
    /// The status that the cluster has, as far as it is known.
    written: Option<Status>,
    shown: watch::Sender<Status>,
    events: Events,
    /// Namespace of the reconciler's own objects.
    namespace: String,
    /// The commit whose origins the cluster has.
    indexed: Option<String>,
    /// What is not as it should be, was reported and is left so.
    left: Left,
    waits: Waits,
    good: Option<Good>,
    /// The good commit as it was rendered when it was taken, until it is applied.
    fresh: Option<WantedCommit>,
    /// What was seen of everything, as long as nothing was written since.
    seen: Option<Seen>,
    /// A commit that was looked at and is not good.
    rejected: Option<Rejected>,
    /// Between looks at a commit that may be good later.
    patience: Pause,
    stop: CancellationToken,
}

/// A commit that is not good.
struct Rejected {
    commit: String,
    /// When it is worth another look, if what it lacked was not in it.
    again: Option<Instant>,
}

/// Why a commit is not taken.
enum Refusal {
    /// Of itself: it stays so.
    Bad(String),
    /// Somebody did not answer, or a key or a signer is missing that a person may give: it is looked at again.
    ForNow(String),
}

impl Refusal {
    fn why(&self) -> &str {
        match self {
            Self::Bad(why) | Self::ForNow(why) => why,
        }
    }
}

/// How an attempt to bring the cluster to the commit ended.
enum Enforced {
    /// Everything is as the commit says.
    Ready,
    /// Something is not; it is tried again after a pause.
    NotReady,
    /// A newer commit, a person or the end of the reconciler came first.
    Interrupted,
}

impl Source {
    /// A source that keeps its objects under a folder. `shown` carries the status to whoever shows it.
    pub(crate) fn new(
        configuration: SourceConfiguration,
        store: &Path,
        (cluster, acting): (Arc<dyn Cluster>, Arc<dyn Cluster>),
        board: Board,
        namespace: &str,
        shown: watch::Sender<Status>,
        stop: CancellationToken,
    ) -> Self {
        let branch = Branch::new(
            configuration.remote.clone(),
            &configuration.branch,
            configuration.transport.clone(),
            store.join(&configuration.name),
            Limits::default(),
            configuration.timeout,
        );
        let events = Events::start(Arc::clone(&cluster), namespace, &configuration.name);
        Self {
            events,
            namespace: namespace.to_owned(),
            written: None,
            indexed: None,
            left: Left::new(),
            waits: Waits::default(),
            control: watch::channel(Control::default()).1,
            configuration,
            branch,
            cluster,
            acting,
            board,
            status: Status::default(),
            shown,
            good: None,
            fresh: None,
            seen: None,
            rejected: None,
            patience: Pause::default(),
            stop,
        }
    }

    /// Works until the reconciler stops.
    pub(crate) async fn run(mut self) {
        // Nothing is done before it is known what people said: a source may be suspended or held.
        let Some((control, status, version)) = self.first_words().await else {
            return;
        };
        self.control = self.board.follow(control, version, self.stop.clone());
        // The last good commit is enforced from the start, also when the branch has a bad one. What was said is not said again.
        self.written = Some(status.clone());
        self.status = status;
        self.status.waiting.clear();
        self.say("starting", "").await;
        let mut pause = Pause::default();
        while !self.stop.is_cancelled() {
            let control = self.control.borrow_and_update().clone();
            if self.status.heard != control.request {
                // Whoever asks may have given what was missing.
                self.rejected = None;
                self.patience.reset();
            }
            self.status.heard.clone_from(&control.request);
            if control.suspended {
                self.say("suspended", "resume it with `myelin resume`").await;
                self.until(None, None).await;
                continue;
            }
            self.look(&control).await;
            let Some(good) = self
                .good
                .as_ref()
                .map(|good| (good.hash.clone(), Arc::clone(&good.files)))
            else {
                self.until(Some(self.configuration.interval), None).await;
                continue;
            };
            match Box::pin(self.enforce(&good.0, &good.1, None)).await {
                Enforced::Ready => {
                    pause.reset();
                    Box::pin(self.keep(&good.0, &good.1)).await;
                }
                Enforced::NotReady => {
                    self.until(Some(pause.next().max(Duration::from_secs(2))), None).await;
                }
                Enforced::Interrupted => {}
            }
        }
    }

    /// What the cluster holds of this source; None when the reconciler stops before it answers.
    async fn first_words(&self) -> Option<(Control, Status, Option<String>)> {
        let mut pause = Pause::default();
        loop {
            match self.stop.run_until_cancelled(self.board.read_at()).await? {
                Ok(found) => return Some(found),
                Err(error) => {
                    tracing::warn!(source = self.configuration.name, %error, "the cluster does not answer yet");
                    self.stop.run_until_cancelled(pause.rest()).await?;
                }
            }
        }
    }

    /// Finds the commit that should be kept and takes it if it is good.
    async fn look(&mut self, control: &Control) {
        let target = match &control.hold {
            Some(held) => Ok(held.clone()),
            None => self.branch.head().await,
        };
        let target = match target {
            Ok(target) => target,
            Err(error) => {
                tracing::warn!(source = self.configuration.name, %error, "the branch could not be asked");
                self.restore().await;
                return self.say("unreachable", &error.to_string()).await;
            }
        };
        self.status.head = Some(target.clone());
        let known = self.good.as_ref().is_some_and(|good| good.hash == target);
        let known_as_bad = self.rejected.as_ref().filter(|rejected| rejected.commit == target);
        if known || known_as_bad.is_some_and(|bad| bad.again.is_none_or(|again| Instant::now() < again)) {
            return;
        }
        let is_new = known_as_bad.is_none();
        if is_new {
            self.patience.reset();
        }
        if let Err(refusal) = self.take(&target).await {
            let why = refusal.why();
            // What is looked at again and again is told once.
            if is_new || self.status.message != why {
                tracing::error!(
                    source = self.configuration.name,
                    commit = target,
                    "the commit was rejected:\n{why}"
                );
                self.events
                    .of_source(Kind::Warning, "CommitRejected", "Look", format!("{target}: {why}"));
            }
            self.rejected = Some(Rejected {
                commit: target,
                again: match &refusal {
                    Refusal::Bad(_) => None,
                    Refusal::ForNow(_) => Some(Instant::now() + self.patience.next()),
                },
            });
            self.restore().await;
            self.say("rejected", why).await;
        }
    }

    /// After a restart: the commit that was kept before, so that a bad branch or a dead remote leaves nothing unguarded.
    async fn restore(&mut self) {
        if let (None, Some(last)) = (&self.good, self.status.commit.clone())
            && self.rejected.as_ref().is_none_or(|rejected| rejected.commit != last)
            && let Err(refusal) = self.take(&last).await
        {
            tracing::warn!(
                source = self.configuration.name,
                commit = last,
                why = refusal.why(),
                "the last good commit could not be taken again"
            );
        }
    }

    async fn take(&mut self, hash: &str) -> Result<(), Refusal> {
        let commit = self.branch.commit(hash.to_owned()).await.map_err(|error| match error {
            GitError::Unfit(why) => Refusal::Bad(why),
            error => Refusal::ForNow(error.to_string()),
        })?;
        let mut taken = Taken {
            commit: commit.hash.clone(),
            subject: commit.subject.clone(),
            author: commit.author.clone(),
            at: now(),
            state: "rejected".to_owned(),
            plan: None,
        };
        let path = self.configuration.path.clone();
        let hash = commit.hash.clone();
        if let Err(why) = self.check_signature(&commit) {
            self.status.note(taken);
            return Err(Refusal::ForNow(why));
        }
        // Rendering is work for a processor and must not hold up other sources.
        let decryption = Decryption::with(&self.configuration.keys);
        let opener = Arc::clone(&decryption);
        let read = tokio::task::spawn_blocking(move || read(commit, &path, opener)).await;
        match read.map_err(|panicked| Refusal::Bad(format!("the renderer failed: {panicked}")))? {
            Ok((files, wanted)) => {
                "applying".clone_into(&mut taken.state);
                self.status.note(taken);
                self.status.commit = Some(hash.clone());
                self.good = Some(Good {
                    hash,
                    files: Arc::new(files),
                });
                self.fresh = Some(wanted);
                self.rejected = None;
                Ok(())
            }
            Err(problems) => {
                self.status.note(taken);
                Err(match decryption.lacked_a_key() {
                    true => Refusal::ForNow(problems.to_string()),
                    false => Refusal::Bad(problems.to_string()),
                })
            }
        }
    }

    /// The file is read each time: who may sign is taken away at once.
    fn check_signature(&self, commit: &Commit) -> Result<(), String> {
        if self.configuration.signers.is_empty() {
            return Ok(());
        }
        let signature = commit
            .signature
            .as_ref()
            .map(|(signature, signed)| (signature.as_slice(), signed.as_slice()));
        let signers = Signers::read(&self.configuration.signers)?;
        let by = signers
            .verify(signature, SystemTime::now())
            .map_err(|why| format!("commit {} is refused: {why}", commit.hash))?;
        tracing::info!(
            source = self.configuration.name,
            commit = commit.hash,
            by,
            "signature verified"
        );
        Ok(())
    }

    /// Brings the cluster to the commit: all stacks, or only some of them.
    async fn enforce(&mut self, hash: &str, files: &Arc<Files>, only: Option<&BTreeSet<StackId>>) -> Enforced {
        self.seen = None;
        let mut wanted = match self.rendered(files, only).await {
            Ok(wanted) => wanted,
            Err(problems) => return self.failed(hash, &problems).await,
        };
        wanted.had_pools = pools::Earlier::said(&self.status.stacks);
        let owner = Owner::Git(self.configuration.name.clone());
        let planned = deployment(
            Some(&self.cluster),
            Some(&self.acting),
            &wanted,
            &owner,
            DryRun::Decisions,
            only.is_none(),
        )
        .await;
        let mut planned = match planned {
            Ok(planned) => planned,
            Err(problems) => return self.failed(hash, &problems).await,
        };
        if planned.diagnostics().has_errors() {
            return self.failed(hash, &planned.diagnostics()).await;
        }
        let confirmed = self.control.borrow().confirmed.clone();
        let limit = BlastRadius {
            percent: self.configuration.blast_radius,
            ..BlastRadius::default()
        };
        if let Some(refusal) = limit.refuse(&planned, confirmed.as_deref()) {
            self.status.unconfirmed = Some(planned.hash.clone());
            let how = format!("{refusal}\nmyelin confirm {} {}", self.configuration.name, planned.hash);
            self.say("refused", &how).await;
            // Nothing is asked of the cluster until somebody speaks or the branch moves.
            while !self.stop.is_cancelled() && !self.control.has_changed().unwrap_or(true) {
                self.until(Some(self.configuration.interval), None).await;
                let control = self.control.borrow().clone();
                self.look(&control).await;
                if self.good.as_ref().is_none_or(|good| good.hash != hash) {
                    break;
                }
                if self.status.state == "unreachable" && self.status.head.as_deref() == Some(hash) {
                    self.say("refused", &how).await;
                }
            }
            return Enforced::Interrupted;
        }
        self.status.unconfirmed = None;
        if only.is_none() {
            self.mark_plan(hash, &planned);
            self.index(hash, &wanted).await;
        }
        self.note_left(&planned);
        if !planned.is_empty() {
            tracing::info!(
                source = self.configuration.name,
                commit = hash,
                plan = planned.hash,
                "applying"
            );
            self.say("applying", "").await;
        }
        let settled = planned.take_settled();
        let (report, finished) = self.carry_out(&planned).await;
        self.waits.clear();
        self.status.waiting.clear();
        for event in chronicle::of(&planned, &report, hash) {
            self.events.tell(event);
        }
        if !finished {
            return Enforced::Interrupted;
        }
        self.seen = settled.filter(|_| self.left.is_empty());
        self.conclude(hash, &report).await
    }

    /// All stacks of the commit, or some: as they were rendered when the commit was taken, or rendered again.
    async fn rendered(
        &mut self,
        files: &Arc<Files>,
        only: Option<&BTreeSet<StackId>>,
    ) -> Result<WantedCommit, Diagnostics> {
        if only.is_none()
            && let Some(fresh) = self.fresh.take()
        {
            return Ok(fresh);
        }
        let (files, only) = (Arc::clone(files), only.cloned());
        let work = move || match only {
            None => wanted_of(&files.tree, &files.documents),
            Some(stacks) => wanted_only(&files.tree, &files.documents, &stacks),
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|panicked| {
            let problem = Diagnostic::error("the renderer failed").detail(panicked.to_string());
            Err(Diagnostics::from(problem))
        })
    }

    /// Executes until it is done, or something newer is to be done. What was done, and whether that is all.
    async fn carry_out(&mut self, planned: &Deployment) -> (Report, bool) {
        let cancel = self.stop.child_token();
        let name = self.configuration.name.clone();
        let run = Run {
            cancel: cancel.clone(),
            progress: {
                let waits = self.waits.clone();
                Arc::new(move |step| {
                    waits.note(&step);
                    log(&name, &step);
                })
            },
            ..Run::default()
        };
        let acting = Arc::clone(&self.acting);
        let work = execute(&acting, planned, &run);
        tokio::pin!(work);
        tokio::select! {
            report = &mut work => (report, !cancel.is_cancelled()),
            () = self.newer() => {
                cancel.cancel();
                (work.await, false)
            }
        }
    }

    /// Returns when a newer good commit was taken or a person said something. Bad commits are noted and passed over.
    async fn newer(&mut self) {
        let mut look = Instant::now() + self.configuration.interval;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(look) => {}
                () = self.waits.changed() => {
                    self.status.waiting = self.waits.now();
                    self.say("applying", "").await;
                    continue;
                }
                changed = self.control.changed() => {
                    if changed.is_err() {
                        return std::future::pending().await;
                    }
                    let control = self.control.borrow().clone();
                    let asked_only = !control.suspended && control.hold.is_none();
                    if !asked_only {
                        return;
                    }
                }
            }
            look = Instant::now() + self.configuration.interval;
            let before = self.good.as_ref().map(|good| good.hash.clone());
            let control = self.control.borrow().clone();
            self.look(&control).await;
            if self.good.as_ref().map(|good| good.hash.clone()) != before {
                return;
            }
        }
    }

    async fn conclude(&mut self, hash: &str, report: &Report) -> Enforced {
        for (id, outcome) in &report.stacks {
            let state = if outcome.ready { "ready" } else { "not ready" };
            self.status.stacks.insert(id.to_string(), state.to_owned());
        }
        for (id, why) in &report.skipped {
            self.status.stacks.insert(id.to_string(), format!("skipped: {why}"));
        }
        for (id, outcome) in &report.removed {
            if outcome.ready {
                self.status.stacks.remove(&id.to_string());
            }
        }
        for (id, outcome) in &report.pools {
            let state = if outcome.ready { "ready" } else { "not ready" };
            self.status.stacks.insert(pools::title(id), state.to_owned());
        }
        for (id, why) in &report.skipped_pools {
            self.status.stacks.insert(pools::title(id), format!("skipped: {why}"));
        }
        for (id, outcome) in &report.removed_pools {
            if outcome.ready {
                self.status.stacks.remove(&pools::title(id));
            }
        }
        if report.is_ready() {
            self.mark(hash, "ready");
            let note = self.rejected.as_ref().map_or(String::new(), |bad| {
                format!("commit {} was rejected; this one stays", bad.commit)
            });
            self.say(if note.is_empty() { "ready" } else { "rejected" }, &note)
                .await;
            return Enforced::Ready;
        }
        self.failed(hash, &report.diagnostics()).await
    }

    async fn failed(&mut self, hash: &str, problems: &Diagnostics) -> Enforced {
        tracing::error!(
            source = self.configuration.name,
            commit = hash,
            "the commit is not in force:\n{problems}"
        );
        self.mark(hash, "failed");
        self.events
            .of_source(Kind::Warning, "ApplyFailed", "Apply", format!("{hash}: {problems}"));
        self.say("failed", &problems.to_string()).await;
        Enforced::NotReady
    }

    /// Notes which plan a commit had; an empty one leaves the one that did something.
    fn mark_plan(&mut self, hash: &str, planned: &Deployment) {
        if let Some(taken) = self.status.history.iter_mut().find(|taken| taken.commit == hash)
            && (taken.plan.is_none() || !planned.is_empty())
        {
            taken.plan = Some(planned.hash.clone());
        }
    }

    /// Writes down where every object of the commit comes from, once per commit.
    async fn index(&mut self, hash: &str, wanted: &WantedCommit) {
        if self.indexed.as_deref() == Some(hash) {
            return;
        }
        let known = Origins::read(&*self.cluster, &self.namespace, &self.configuration.name).await;
        let written = match known {
            Ok(known) if known.commit == hash => Ok(()),
            Ok(_) => {
                let origins = Origins::of(hash, wanted);
                origins
                    .write(&*self.cluster, &self.namespace, &self.configuration.name)
                    .await
            }
            Err(error) => Err(error),
        };
        match written {
            Ok(()) => self.indexed = Some(hash.to_owned()),
            Err(error) => {
                tracing::warn!(source = self.configuration.name, %error, "the index of origins could not be written");
            }
        }
    }

    /// Notes what the plan leaves alone though it is not as it should be.
    fn note_left(&mut self, planned: &Deployment) {
        for (stack, plan) in &planned.plans {
            let kept = |key: &ObjectKey| plan.change(key).is_none();
            self.left.retain(kept);
            let id = stack.id.to_string();
            let left: Vec<_> = chronicle::left_alone(plan).collect();
            self.left.extend(left.iter().map(|change| change.key.clone()));
            if left.is_empty() {
                self.status.drift.remove(&id);
            } else {
                self.status
                    .drift
                    .insert(id, left.iter().map(|change| chronicle::words(change)).collect());
            }
        }
        for record in &planned.gone {
            self.status.drift.remove(&record.stack.to_string());
        }
    }

    fn mark(&mut self, hash: &str, state: &str) {
        if let Some(taken) = self.status.history.iter_mut().find(|taken| taken.commit == hash) {
            state.clone_into(&mut taken.state);
        }
    }

    /// Keeps the cluster at the commit until the branch moves or a person speaks.
    async fn keep(&mut self, hash: &str, files: &Arc<Files>) {
        // The first drift is answered at once; one that comes back and back is answered ever more slowly.
        let (mut pause, mut last) = (Pause::default(), None::<Instant>);
        let pools: Vec<_> = files.documents.all.iter().filter_map(pools::WantedPool::of).collect();
        loop {
            let owner = Owner::Git(self.configuration.name.clone());
            let (records, kinds, seen) = if let Some(seen) = self.seen.take() {
                let owns = |kind: &&Resource| {
                    let of_kind = |key: &ObjectKey| key.kind == kind.kind && key.group == kind.group;
                    seen.records.iter().any(|record| record.entries.keys().any(of_kind))
                };
                let kinds = seen.versions.keys().filter(owns).cloned().collect();
                (seen.records, kinds, seen.versions)
            } else {
                let Ok(records) = owned(&*self.cluster, &owner).await else {
                    return;
                };
                let Ok(kinds) = kinds_of(&*self.cluster, &records).await else {
                    return;
                };
                (records, kinds, BTreeMap::new())
            };
            let mut drift = Drift::watch(&self.cluster, records, kinds, &self.left, &seen);
            let found = loop {
                if let Some(found) = self.until(Some(self.configuration.interval), Some(&mut drift)).await {
                    break found;
                }
                if self.stop.is_cancelled() || self.control.has_changed().unwrap_or(true) {
                    return;
                }
                let control = self.control.borrow().clone();
                self.look(&control).await;
                if self.good.as_ref().is_none_or(|good| good.hash != hash) {
                    return;
                }
                if self.status.state == "unreachable" && self.status.head.as_deref() == Some(hash) {
                    self.say("ready", "").await;
                }
                // EC2 has no watch: the pools are looked at whenever the branch is.
                if !pools.is_empty() && pools::have_drifted(&self.cluster, &pools, &owner).await {
                    break BTreeSet::new();
                }
            };
            drop(drift);
            let names: Vec<String> = found.iter().map(ToString::to_string).collect();
            tracing::warn!(source = self.configuration.name, stacks = names.join(", "), "drift");
            match last {
                Some(last) if last.elapsed() < CALM => {
                    self.until(Some(pause.next()), None).await;
                }
                _ => pause.reset(),
            }
            last = Some(Instant::now());
            if !matches!(Box::pin(self.enforce(hash, files, Some(&found))).await, Enforced::Ready) {
                return;
            }
        }
    }

    /// Waits for a time, a person, the end, or drift; answers what drifted.
    async fn until(&mut self, span: Option<Duration>, drift: Option<&mut Drift>) -> Option<BTreeSet<StackId>> {
        let end = span.map(|span| Instant::now() + span);
        let timer = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let drifted = async {
            match drift {
                Some(drift) => {
                    let mut all = BTreeSet::from([drift.next().await]);
                    all.extend(drift.others());
                    all
                }
                None => std::future::pending().await,
            }
        };
        let mut control = self.control.clone();
        tokio::select! {
            () = timer => None,
            _ = control.changed() => None,
            () = self.stop.cancelled() => None,
            all = drifted => Some(all),
        }
    }

    /// Says how the source is, where people and programs look. Said twice, it is written once.
    async fn say(&mut self, state: &str, message: &str) {
        state.clone_into(&mut self.status.state);
        message.clone_into(&mut self.status.message);
        let changed = self.shown.send_if_modified(|shown| {
            let new = *shown != self.status;
            if new {
                shown.clone_from(&self.status);
            }
            new
        });
        // That it starts is nothing to be remembered: a restart writes only what has become different.
        if !changed || state == "starting" || self.written.as_ref() == Some(&self.status) {
            return;
        }
        match self.board.say(&self.status).await {
            Ok(()) => self.written = Some(self.status.clone()),
            Err(error) => {
                tracing::warn!(source = self.configuration.name, %error, "the status could not be written");
            }
        }
    }
}

/// The documents of a commit, rendered.
fn read(commit: Commit, path: &str, decryption: Arc<Decryption>) -> Result<(Files, WantedCommit), Diagnostics> {
    let folder = TreePath::root()
        .join(path)
        .ok_or_else(|| Diagnostics::from(Diagnostic::error(format!("path {path} lies outside of the repository"))))?;
    let tree = commit.tree.opened_by(decryption);
    let (documents, wanted) = wanted(&tree, &folder)?;
    let files = Files { tree, documents };
    Ok((files, wanted))
}

fn log(source: &str, step: &Progress) {
    match step {
        Progress::Applied(object) => tracing::info!(source, %object, "applied"),
        Progress::Ready(object) => tracing::info!(source, %object, "ready"),
        Progress::Waiting(object, why) => tracing::info!(source, %object, why, "waiting"),
        Progress::Failed(object, why) => tracing::error!(source, %object, why, "failed"),
        Progress::Gone(object) => tracing::info!(source, %object, "gone"),
        Progress::ComponentReady(component) => tracing::info!(source, component, "component ready"),
    }
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |span| i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}
