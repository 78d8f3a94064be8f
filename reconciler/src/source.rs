//! One source, for as long as the reconciler runs: find the commit of the branch, take it if it is good, and keep the
//! cluster at it.
//!
//! The last good commit is enforced until there is a better one. A newer good commit ends the waits of an older one at
//! once; what was applied stays. Between two polls of the branch there are no requests: watches report drift.

mod commit;
mod enforce;
mod keep;
mod repair;
mod state;
mod words;

use crate::configuration::SourceConfiguration;
use crate::control::{Board, Control, Status};
use crate::deployment::{Seen, WantedCommit};
use crate::drift::Left;
use crate::events::Events;
use crate::git::{Branch, Limits};
use crate::identity::Identities;
use crate::pause::{Pause, Rhythm};
use crate::picture::Picture;
use crate::pulse::Pulse;
use crate::waits::Waits;
use commit::Files;
use myelin_engine::cluster::Cluster;
use myelin_engine::record::StackId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span, field};
use words::Words;

/// Extra time for a step on a busy machine, beyond what it waits for.
const SLACK: Duration = Duration::from_secs(60);
/// Time limit for reading and rendering a commit.
const READ: Duration = Duration::from_secs(300);
/// Time limit for planning, and for requests in flight to end: each request also has its own.
const APPLY: Duration = Duration::from_secs(600);

/// A commit whose documents are good: its files, from which everything is rendered again when needed. The rendered
/// objects are many times as large, and are kept only until they are applied.
struct Good {
    hash: String,
    files: Arc<Files>,
}

/// One source at work.
pub(crate) struct Source {
    configuration: SourceConfiguration,
    branch: Branch,
    /// With our own account: reads everything, writes our own objects.
    cluster: Arc<dyn Cluster>,
    /// The accounts under which stacks are changed.
    acting: Identities,
    board: Board,
    control: watch::Receiver<Control>,
    status: Status,
    /// The status on its way to the cluster; None before it is known what the cluster has.
    words: Option<Words>,
    shown: watch::Sender<Status>,
    picture: Picture,
    pulse: Pulse,
    events: Events,
    /// Namespace of the reconciler's own objects.
    namespace: String,
    /// The commit whose origins are stored in the cluster.
    indexed: Option<String>,
    /// Reported drift that is left as it is.
    left: BTreeMap<StackId, Left>,
    waits: Waits,
    good: Option<Good>,
    /// The good commit as rendered when it was taken, until it is applied.
    fresh: Option<WantedCommit>,
    /// The observation of everything, as long as nothing was written since.
    seen: Option<Seen>,
    /// A commit that was checked and is not good.
    rejected: Option<Rejected>,
    /// The trace of the commit that was taken last, until it is applied.
    pass: Option<Span>,
    /// Why the branch did not answer the last poll.
    unreachable: Option<String>,
    /// When the branch is polled.
    rhythm: Rhythm,
    /// Pauses between checks of a commit that may be good later.
    patience: Pause,
    stop: CancellationToken,
}

/// A commit that is not good.
struct Rejected {
    commit: String,
    why: String,
    /// When to check it again, if what was missing is not part of the commit.
    again: Option<Instant>,
}

/// How an attempt to bring the cluster to the commit ended.
enum Enforced {
    /// Everything is as the commit says.
    Ready,
    /// Something is not ready; it is retried after a pause.
    NotReady,
    /// A newer commit, a user or the end of the reconciler came first.
    Interrupted,
}

impl Source {
    /// A source that keeps its files under a folder. `shown`, the picture and the pulse are for the page and the
    /// checks.
    pub(crate) fn new(
        configuration: SourceConfiguration,
        store: &Path,
        (cluster, acting): (Arc<dyn Cluster>, Identities),
        board: Board,
        namespace: &str,
        (shown, picture, pulse): (watch::Sender<Status>, Picture, Pulse),
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
        let rhythm = Rhythm::new(configuration.interval);
        let events = Events::start(Arc::clone(&cluster), namespace, &configuration.name);
        Self {
            events,
            namespace: namespace.to_owned(),
            words: None,
            indexed: None,
            left: BTreeMap::new(),
            waits: Waits::default(),
            control: watch::channel(Control::default()).1,
            configuration,
            branch,
            cluster,
            acting,
            board,
            status: Status::default(),
            shown,
            picture,
            pulse,
            good: None,
            fresh: None,
            seen: None,
            rejected: None,
            pass: None,
            unreachable: None,
            rhythm,
            patience: Pause::default(),
            stop,
        }
    }

    /// Works until the reconciler stops.
    pub(crate) async fn run(mut self) {
        // Nothing is done before the users' requests are known: a source may be suspended or held.
        let Some((control, status, version)) = self.first_words().await else {
            return;
        };
        self.control = self.board.follow(control, version, self.stop.clone());
        // The last good commit is enforced from the start, even if the branch has a bad one. What was reported is not
        // reported again.
        self.words = Some(Words::begin(self.board.clone(), &self.configuration.name, &status));
        self.status = status;
        self.status.waiting.clear();
        self.say("starting", "");
        let mut pause = Pause::default();
        while !self.stop.is_cancelled() {
            let control = self.control.borrow_and_update().clone();
            if self.status.heard != control.request {
                // The user who asks may have supplied what was missing.
                self.rejected = None;
                self.patience.reset();
            }
            self.status.heard.clone_from(&control.request);
            self.picture.hold(control.hold.clone());
            if control.suspended {
                self.say("suspended", "resume it with `myelin resume`");
                self.rest(None).await;
                continue;
            }
            self.look(&control).await;
            let Some(good) = self
                .good
                .as_ref()
                .map(|good| (good.hash.clone(), Arc::clone(&good.files)))
            else {
                let rest = self.rhythm.next();
                self.rest(Some(rest)).await;
                continue;
            };
            // It began when the commit was fetched; after a restart or a failure, it begins here.
            let pass = self
                .pass
                .take()
                .unwrap_or_else(|| trace(&self.configuration.name, &good.0));
            let enforced = Box::pin(self.enforce(&good.0, &good.1)).instrument(pass.clone()).await;
            if matches!(enforced, Enforced::NotReady) {
                pass.record("error", true);
            }
            drop(pass);
            match enforced {
                Enforced::Ready => {
                    pause.reset();
                    if !self.is_asked() {
                        Box::pin(self.keep(&good.0, &good.1)).await;
                    }
                }
                Enforced::NotReady => {
                    let rest = pause.next().max(Duration::from_secs(2));
                    if !self.is_asked() {
                        self.rest(Some(rest)).await;
                    }
                }
                Enforced::Interrupted => {}
            }
        }
        if let Some(words) = self.words.take() {
            words.end().await;
        }
    }

    /// Whether a user's request has not been acknowledged yet: it came while a commit was being applied, which it does
    /// not end.
    fn is_asked(&self) -> bool {
        self.control.borrow().request != self.status.heard
    }

    /// Reads this source's state from the cluster; None if the reconciler stops before it answers.
    async fn first_words(&self) -> Option<(Control, Status, Option<String>)> {
        let mut pause = Pause::default();
        loop {
            self.pulse.begin("asking the cluster what was said", SLACK);
            match self.stop.run_until_cancelled(self.board.read_at()).await? {
                Ok(found) => return Some(found),
                Err(error) => {
                    tracing::warn!(source = self.configuration.name, %error, "the cluster does not answer yet");
                    self.stop.run_until_cancelled(pause.rest()).await?;
                }
            }
        }
    }

    /// Waits for a time, a user's request, or the end.
    async fn rest(&self, span: Option<Duration>) {
        let timer = async {
            match span {
                Some(span) => tokio::time::sleep(span).await,
                None => std::future::pending().await,
            }
        };
        // Forever if there is no time limit: a user has asked for that.
        let waits = span.unwrap_or(Duration::from_secs(u64::from(u32::MAX)));
        self.pulse.begin("waiting", waits + SLACK);
        let mut control = self.control.clone();
        tokio::select! {
            () = timer => {}
            _ = control.changed() => {}
            () = self.stop.cancelled() => {}
        }
    }
}

/// The trace of bringing the cluster to a commit.
fn trace(source: &str, commit: &str) -> Span {
    tracing::info_span!(parent: None, "pass", myelin.source = source, myelin.revision = commit, error = field::Empty)
}
