//! Finds the commit of a branch, decides whether it may be taken, and reads its files and documents.

use super::{Good, READ, Rejected, Source, trace};
use crate::configuration::SourceConfiguration;
use crate::control::{Control, Taken};
use crate::deployment::{WantedCommit, wanted};
use crate::documents::Documents;
use crate::events::Kind;
use crate::git::{Branch, Commit, GitError, Signers};
use crate::identity::Identities;
use crate::sops::Decryption;
use myelin_engine::diagnostic::{Diagnostic, Diagnostics};
use myelin_engine::tree::{Tree, TreePath};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

/// The pulse's name for a look at the branch.
pub(super) const LOOKING: &str = "looking at the branch";

/// The files and documents of a commit.
pub(super) struct Files {
    pub(super) tree: Tree,
    pub(super) documents: Documents,
}

/// Why a commit is not taken.
enum Refusal {
    /// Because of its content: it stays bad.
    Bad(String),
    /// A service did not answer, or a key or signer is missing that a user may add: it is checked again.
    ForNow(String),
}

impl Refusal {
    fn why(&self) -> &str {
        match self {
            Self::Bad(why) | Self::ForNow(why) => why,
        }
    }
}

/// A commit as it was read.
struct Read {
    /// As it is remembered, once there is something to remember.
    taken: Option<Taken>,
    good: Result<(Files, WantedCommit), Refusal>,
}

/// What a look found.
pub(super) struct Found {
    /// The commit that should be kept.
    target: Result<String, GitError>,
    /// Whether a user named it, and not the branch.
    held: bool,
    /// What is in it; None where that is known.
    read: Option<(Span, Read)>,
}

/// What is needed to read a commit. It shares nothing with the source, which continues meanwhile.
struct Reader {
    branch: Branch,
    configuration: SourceConfiguration,
    acting: Identities,
}

impl Source {
    /// Finds the commit that should be in force, and takes it if it is good.
    pub(super) async fn look(&mut self, control: &Control) {
        self.pulse.begin(LOOKING, self.longest_look());
        let found = self.looking(control).await;
        self.take_in(found).await;
    }

    /// How long a look may take.
    pub(super) fn longest_look(&self) -> Duration {
        self.configuration.timeout * 2 + READ
    }

    /// Polls the branch, and reads its commit if it is new. [`Source::take_in`] takes the result. Dropping it cancels
    /// its requests.
    pub(super) fn looking(&self, control: &Control) -> impl Future<Output = Found> + Send + use<> {
        let reader = self.reader();
        let held = control.hold.clone();
        let good = self.good.as_ref().map(|good| good.hash.clone());
        let bad = self.rejected.as_ref().map(|bad| (bad.commit.clone(), bad.again));
        async move {
            let found = |target, read| Found {
                target,
                held: held.is_some(),
                read,
            };
            let target = match &held {
                Some(held) => held.clone(),
                None => match reader.branch.head().await {
                    Ok(head) => head,
                    Err(error) => return found(Err(error), None),
                },
            };
            let is_bad =
                bad.is_some_and(|(commit, again)| commit == target && again.is_none_or(|again| Instant::now() < again));
            if is_bad || good.as_ref() == Some(&target) {
                return found(Ok(target), None);
            }
            let pass = trace(&reader.configuration.name, &target);
            let read = reader.read(&target).instrument(pass.clone()).await;
            if read.good.is_err() {
                pass.record("error", true);
            }
            found(Ok(target), Some((pass, read)))
        }
    }

    fn reader(&self) -> Reader {
        Reader {
            branch: self.branch.clone(),
            configuration: self.configuration.clone(),
            acting: self.acting.clone(),
        }
    }

    /// Takes in what a look found.
    pub(super) async fn take_in(&mut self, found: Found) {
        let target = match found.target {
            Ok(target) => target,
            Err(error) => {
                tracing::warn!(source = self.configuration.name, %error, "the branch could not be asked");
                self.rhythm.failed();
                self.unreachable = Some(error.to_string());
                self.restore().await;
                return self.say("unreachable", &error.to_string());
            }
        };
        self.rhythm.reached();
        self.unreachable = None;
        if !found.held {
            // A held commit says nothing about the branch.
            self.status.head = Some(target.clone());
        }
        if self.good.as_ref().is_some_and(|good| good.hash == target) {
            // The branch is back at the commit in force.
            self.rejected = None;
            return;
        }
        let Some((pass, read)) = found.read else {
            return;
        };
        // A commit that is checked repeatedly is reported once.
        let known_as_bad = self.rejected.as_ref().filter(|rejected| rejected.commit == target);
        let told = known_as_bad.map(|bad| bad.why.clone());
        if told.is_none() {
            self.patience.reset();
        }
        let taken = self.take(&target, read);
        if taken.is_ok() {
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
            self.say("rejected", why);
        }
    }

    /// A problem of the branch, as a state and the reason: it does not answer, or its commit is bad.
    pub(super) fn trouble(&self) -> Option<(&'static str, String)> {
        let unreachable = self.unreachable.clone().map(|why| ("unreachable", why));
        unreachable.or_else(|| self.rejected.as_ref().map(|bad| ("rejected", bad.why.clone())))
    }

    /// After a restart: restores the commit that was in force, so that a bad branch or a dead remote leaves nothing
    /// unguarded.
    pub(super) async fn restore(&mut self) {
        if let (None, Some(last)) = (&self.good, self.status.commit.clone())
            && self.rejected.as_ref().is_none_or(|rejected| rejected.commit != last)
        {
            // This does not change what is wrong with the branch.
            let rejected = self.rejected.take();
            let read = self.reader().read(&last).await;
            if let Err(refusal) = self.take(&last, read) {
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

    /// Keeps a commit from now on, if it is good, and remembers it in any case.
    fn take(&mut self, hash: &str, read: Read) -> Result<(), Refusal> {
        if let Some(taken) = read.taken {
            self.status.note(taken);
        }
        let (files, wanted) = read.good?;
        self.status.commit = Some(hash.to_owned());
        self.good = Some(Good {
            hash: hash.to_owned(),
            files: Arc::new(files),
        });
        self.fresh = Some(wanted);
        self.rejected = None;
        Ok(())
    }
}

impl Reader {
    /// Fetches a commit, checks its signature, and renders its documents.
    async fn read(&self, hash: &str) -> Read {
        let fetched = self
            .branch
            .commit(hash.to_owned())
            .instrument(tracing::info_span!("fetch"));
        let commit = match fetched.await {
            Ok(commit) => commit,
            Err(error) => {
                let refusal = match error {
                    GitError::Unfit(why) => Refusal::Bad(why),
                    error => Refusal::ForNow(error.to_string()),
                };
                return Read {
                    taken: None,
                    good: Err(refusal),
                };
            }
        };
        let mut taken = Taken {
            commit: commit.hash.clone(),
            subject: commit.subject.clone(),
            author: commit.author.clone(),
            at: now(),
            state: "rejected".to_owned(),
            plan: None,
        };
        let good = match self.check_signature(&commit) {
            Ok(()) => self.render(commit).await,
            Err(why) => Err(Refusal::ForNow(why)),
        };
        if good.is_ok() {
            "applying".clone_into(&mut taken.state);
        }
        Read {
            taken: Some(taken),
            good,
        }
    }

    /// Rendering is CPU-bound and must not delay other sources.
    async fn render(&self, commit: Commit) -> Result<(Files, WantedCommit), Refusal> {
        let path = self.configuration.path.clone();
        let decryption = Decryption::with(&self.configuration.keys);
        let opener = Arc::clone(&decryption);
        let acting = self.acting.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (files, wanted) = read(commit, &path, opener)?;
            acting.check(&wanted)?;
            Ok((files, wanted))
        });
        let read: Result<Result<_, Diagnostics>, _> = read.instrument(tracing::info_span!("render")).await;
        let read = read.map_err(|panicked| Refusal::Bad(format!("the renderer failed: {panicked}")))?;
        read.map_err(|problems| match decryption.lacked_a_key() {
            true => Refusal::ForNow(problems.to_string()),
            false => Refusal::Bad(problems.to_string()),
        })
    }

    /// The file is read each time, so that removing a signer takes effect at once.
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

/// Reads and renders the documents of a commit.
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
