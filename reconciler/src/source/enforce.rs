//! Brings the cluster to a commit as a whole: plan, check the limit, apply. A newer commit ends the waits of an older
//! one.

use super::commit::Files;
use super::{APPLY, Enforced, SLACK, Source};
use crate::chronicle;
use crate::deployment::{BlastRadius, Deployment, WantedCommit, deployment, wanted_of};
use crate::execution::{Report, execute};
use crate::pools;
use myelin_engine::apply::{Progress, Run};
use myelin_engine::diagnostic::{Diagnostic, Diagnostics};
use myelin_engine::observe::DryRun;
use myelin_engine::record::Owner;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

impl Source {
    /// Brings the cluster to the commit.
    pub(super) async fn enforce(&mut self, hash: &str, files: &Arc<Files>) -> Enforced {
        self.seen = None;
        self.pulse.begin("planning", APPLY);
        let mut wanted = match self.rendered(files).await {
            Ok(wanted) => wanted,
            Err(problems) => return self.failed(hash, &problems),
        };
        wanted.had_pools = pools::Earlier::said(&self.status.stacks);
        let owner = Owner::Git(self.configuration.name.clone());
        let planned = deployment(
            Some(&self.cluster),
            Some(&self.acting),
            &wanted,
            &owner,
            DryRun::Decisions,
            true,
        )
        .instrument(tracing::info_span!("plan"))
        .await;
        let mut planned = match planned {
            Ok(planned) => planned,
            Err(problems) => return self.failed(hash, &problems),
        };
        if planned.diagnostics().has_errors() {
            return self.failed(hash, &planned.diagnostics());
        }
        let confirmed = self.control.borrow().confirmed.clone();
        if let Some(refusal) = self.limit().refuse(&planned, confirmed.as_deref()) {
            self.ask(hash, &planned.hash, &refusal).await;
            return Enforced::Interrupted;
        }
        self.status.unconfirmed = None;
        planned.changed_as.clone_from(&self.status.accounts);
        for (stack, _) in &planned.plans {
            let id = stack.id.to_string();
            match &stack.account {
                Some(account) => self.status.accounts.insert(id, account.to_string()),
                None => self.status.accounts.remove(&id),
            };
        }
        self.mark_plan(hash, &planned);
        self.index(hash, &wanted).await;
        // The rendered objects are many times as large as the files; from here on the plan holds what is needed.
        drop(wanted);
        self.note_left(&planned);
        if !planned.is_empty() {
            tracing::info!(
                source = self.configuration.name,
                commit = hash,
                plan = planned.hash,
                "applying"
            );
            self.say("applying", "");
            // Which commit is kept, and as whom its stacks are changed: after a kill from here on, it must be known.
            if let Some(words) = &mut self.words {
                words.heard().await;
            }
        }
        self.picture.expect(&planned);
        let settled = planned.take_settled();
        let (report, finished) = self.carry_out(&planned).instrument(tracing::info_span!("apply")).await;
        self.waits.clear();
        self.status.waiting.clear();
        for event in chronicle::of(&planned, &report, hash) {
            self.events.tell(event);
        }
        if !finished {
            return Enforced::Interrupted;
        }
        self.seen = settled.filter(|_| self.left.is_empty());
        self.conclude(hash, &report)
    }

    /// Asks for confirmation. The cluster gets no requests until a user confirms that plan or the branch moves.
    async fn ask(&mut self, hash: &str, plan: &str, refusal: &Diagnostic) {
        self.status.unconfirmed = Some(plan.to_owned());
        self.mark(hash, "refused");
        let how = format!("{refusal}\nmyelin confirm {} {plan}", self.configuration.name);
        self.say_refused(&how);
        while !self.stop.is_cancelled() && !self.control.has_changed().unwrap_or(true) {
            let rest = self.rhythm.next();
            self.rest(Some(rest)).await;
            let control = self.control.borrow().clone();
            self.look(&control).await;
            if self.good.as_ref().is_none_or(|good| good.hash != hash) {
                break;
            }
            self.say_refused(&how);
        }
    }

    /// Reports that a confirmation is awaited, and any problem of the branch since.
    fn say_refused(&mut self, how: &str) {
        match self.trouble() {
            Some((state, why)) => self.say(state, &format!("{why}\n{how}")),
            None => self.say("refused", how),
        }
    }

    /// How much may be removed without confirmation.
    pub(super) fn limit(&self) -> BlastRadius {
        BlastRadius {
            percent: self.configuration.blast_radius,
            ..BlastRadius::default()
        }
    }

    /// All stacks of the commit: as rendered when it was taken, or rendered again.
    async fn rendered(&mut self, files: &Arc<Files>) -> Result<WantedCommit, Diagnostics> {
        if let Some(fresh) = self.fresh.take() {
            return Ok(fresh);
        }
        let files = Arc::clone(files);
        let work = move || wanted_of(&files.tree, &files.documents);
        let rendering = tokio::task::spawn_blocking(work).instrument(tracing::info_span!("render"));
        rendering.await.unwrap_or_else(|panicked| {
            let problem = Diagnostic::error("the renderer failed").detail(panicked.to_string());
            Err(Diagnostics::from(problem))
        })
    }

    /// How to run something until it is cancelled: its steps are logged, and what it waits for is shown.
    pub(super) fn run_until(&self, cancel: &CancellationToken) -> Run {
        let (name, waits, picture) = (
            self.configuration.name.clone(),
            self.waits.clone(),
            self.picture.clone(),
        );
        Run {
            cancel: cancel.clone(),
            progress: Arc::new(move |step| {
                waits.note(&step);
                picture.note(&step);
                log(&name, &step);
            }),
            ..Run::default()
        }
    }

    /// Executes until it is done or something newer is due. Returns what was done, and whether that is all.
    async fn carry_out(&mut self, planned: &Deployment) -> (Report, bool) {
        let cancel = self.stop.child_token();
        let run = self.run_until(&cancel);
        let acting = self.acting.clone();
        let work = execute(&acting, planned, &run);
        tokio::pin!(work);
        tokio::select! {
            report = &mut work => (report, !cancel.is_cancelled()),
            () = self.newer() => {
                cancel.cancel();
                self.pulse.begin("ending what was called off", APPLY);
                (work.await, false)
            }
        }
    }

    /// Returns when a newer good commit was taken or a user made a request. Bad commits are recorded and otherwise
    /// ignored.
    async fn newer(&mut self) {
        let mut look = Instant::now() + self.rhythm.next();
        loop {
            // The apply runs concurrently with this loop and has its own deadlines.
            let rest = look.saturating_duration_since(Instant::now());
            self.pulse.begin("applying", rest + SLACK);
            tokio::select! {
                () = tokio::time::sleep_until(look) => {}
                () = self.waits.changed() => {
                    self.status.waiting = self.waits.now();
                    self.say("applying", "");
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
            let before = self.good.as_ref().map(|good| good.hash.clone());
            let control = self.control.borrow().clone();
            self.look(&control).await;
            look = Instant::now() + self.rhythm.next();
            if self.good.as_ref().map(|good| good.hash.clone()) != before {
                return;
            }
            if self.trouble().is_none() {
                self.say("applying", "");
            }
        }
    }
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
