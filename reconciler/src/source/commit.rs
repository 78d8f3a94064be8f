//! A commit: where the branch points, whether it may be taken, and its files and documents.

use super::{Good, READ, Rejected, Source};
use crate::control::{Control, Taken};
use crate::deployment::{WantedCommit, wanted};
use crate::documents::Documents;
use crate::events::Kind;
use crate::git::{Commit, GitError, Signers};
use crate::sops::Decryption;
use myelin_engine::diagnostic::{Diagnostic, Diagnostics};
use myelin_engine::tree::{Tree, TreePath};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tracing::Instrument as _;

/// The files and documents of a commit.
pub(super) struct Files {
    pub(super) tree: Tree,
    pub(super) documents: Documents,
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

impl Source {
    /// Finds the commit that should be kept and takes it if it is good.
    pub(super) async fn look(&mut self, control: &Control) {
        self.pulse
            .begin("looking at the branch", self.configuration.timeout * 2 + READ);
        let target = match &control.hold {
            Some(held) => Ok(held.clone()),
            None => self.branch.head().await,
        };
        let target = match target {
            Ok(target) => target,
            Err(error) => {
                tracing::warn!(source = self.configuration.name, %error, "the branch could not be asked");
                self.rhythm.failed();
                self.unreachable = Some(error.to_string());
                self.restore().await;
                return self.say("unreachable", &error.to_string()).await;
            }
        };
        self.rhythm.reached();
        self.unreachable = None;
        if control.hold.is_none() {
            // What is held says nothing of the branch.
            self.status.head = Some(target.clone());
        }
        if self.good.as_ref().is_some_and(|good| good.hash == target) {
            // The branch is back at what is kept.
            self.rejected = None;
            return;
        }
        let known_as_bad = self.rejected.as_ref().filter(|rejected| rejected.commit == target);
        if known_as_bad.is_some_and(|bad| bad.again.is_none_or(|again| Instant::now() < again)) {
            return;
        }
        // What is looked at again and again is told once.
        let told = known_as_bad.map(|bad| bad.why.clone());
        if told.is_none() {
            self.patience.reset();
        }
        let pass = self.trace(&target);
        let taken = self.take(&target).instrument(pass.clone()).await;
        if taken.is_err() {
            pass.record("error", true);
        } else {
            self.pass = Some(pass);
        }
        if let Err(refusal) = taken {
            let why = refusal.why();
            if told.as_deref() != Some(why) {
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
                why: why.to_owned(),
                again: match &refusal {
                    Refusal::Bad(_) => None,
                    Refusal::ForNow(_) => Some(Instant::now() + self.patience.next()),
                },
            });
            self.restore().await;
            self.say("rejected", why).await;
        }
    }

    /// What is wrong between the branch and what is kept, as a state and why: the branch does not answer, or its commit is bad.
    pub(super) fn trouble(&self) -> Option<(&'static str, String)> {
        let unreachable = self.unreachable.clone().map(|why| ("unreachable", why));
        unreachable.or_else(|| self.rejected.as_ref().map(|bad| ("rejected", bad.why.clone())))
    }

    /// After a restart: the commit that was kept before, so that a bad branch or a dead remote leaves nothing unguarded.
    pub(super) async fn restore(&mut self) {
        if let (None, Some(last)) = (&self.good, self.status.commit.clone())
            && self.rejected.as_ref().is_none_or(|rejected| rejected.commit != last)
        {
            // It makes nothing better of what the branch has.
            let rejected = self.rejected.take();
            if let Err(refusal) = self.take(&last).await {
                tracing::warn!(
                    source = self.configuration.name,
                    commit = last,
                    why = refusal.why(),
                    "the last good commit could not be taken again"
                );
            }
            self.rejected = rejected;
        }
    }

    async fn take(&mut self, hash: &str) -> Result<(), Refusal> {
        let fetched = self
            .branch
            .commit(hash.to_owned())
            .instrument(tracing::info_span!("fetch"));
        let commit = fetched.await.map_err(|error| match error {
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
        let acting = self.acting.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (files, wanted) = read(commit, &path, opener)?;
            acting.check(&wanted)?;
            Ok((files, wanted))
        });
        let read: Result<Result<_, Diagnostics>, _> = read.instrument(tracing::info_span!("render")).await;
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

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |span| i64::try_from(span.as_secs()).unwrap_or(i64::MAX))
}
