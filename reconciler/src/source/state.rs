//! What a source reports: its state, its commits, its stacks, and where its objects come from.

use super::{Enforced, Source};
use crate::chronicle;
use crate::deployment::{Deployment, WantedCommit};
use crate::drift::{Left, digest};
use crate::events::Kind;
use crate::execution::Report;
use crate::origins::Origins;
use crate::pools;
use myelin_engine::diagnostic::Diagnostics;

impl Source {
    /// Publishes the state of the source. A repeated report is written once.
    pub(super) fn say(&mut self, state: &str, message: &str) {
        if !["starting", "applying"].contains(&state) {
            self.pulse.passed();
        }
        state.clone_into(&mut self.status.state);
        message.clone_into(&mut self.status.message);
        let changed = self.shown.send_if_modified(|shown| {
            let new = *shown != self.status;
            if new {
                shown.clone_from(&self.status);
            }
            new
        });
        // "Starting" is not stored: a restart writes only what has changed.
        if let Some(words) = self.words.as_ref().filter(|_| changed && state != "starting") {
            words.say(&self.status);
        }
    }

    pub(super) fn conclude(&mut self, hash: &str, report: &Report) -> Enforced {
        self.note_stacks(report);
        if report.is_ready() {
            self.mark(hash, "ready");
            self.say_ready();
            return Enforced::Ready;
        }
        self.failed(hash, &report.diagnostics())
    }

    /// Reports that everything is as the commit says, and any problem of the branch itself.
    pub(super) fn say_ready(&mut self) {
        match self.trouble() {
            Some((state, why)) => self.say(state, &why),
            None => self.say("ready", ""),
        }
    }

    /// Records the result for each stack.
    pub(super) fn note_stacks(&mut self, report: &Report) {
        for (id, outcome) in &report.stacks {
            let state = if outcome.ready { "ready" } else { "not ready" };
            self.status.stacks.insert(id.to_string(), state.to_owned());
        }
        for (id, why) in &report.skipped {
            self.status.stacks.insert(id.to_string(), format!("skipped: {why}"));
        }
        for (id, outcome) in &report.removed {
            if outcome.ready {
                self.status.accounts.remove(&id.to_string());
                self.status.stacks.remove(&id.to_string());
            }
        }
        for (id, outcome) in &report.pools {
            let state = if outcome.ready { "ready" } else { "not ready" };
            self.status.stacks.insert(pools::title(id), state.to_owned());
            self.status.pools.insert(id.to_string(), pools::word(outcome));
        }
        for (id, why) in &report.skipped_pools {
            self.status.stacks.insert(pools::title(id), format!("skipped: {why}"));
        }
        for (id, outcome) in &report.removed_pools {
            if outcome.ready {
                self.status.stacks.remove(&pools::title(id));
                self.status.pools.remove(&id.to_string());
            }
        }
    }

    pub(super) fn failed(&mut self, hash: &str, problems: &Diagnostics) -> Enforced {
        tracing::error!(
            source = self.configuration.name,
            commit = hash,
            "the commit is not in force:\n{problems}"
        );
        self.mark(hash, "failed");
        self.events
            .of_source(Kind::Warning, "ApplyFailed", "Apply", format!("{hash}: {problems}"));
        self.say("failed", &problems.to_string());
        Enforced::NotReady
    }

    /// Records the plan of a commit; an empty plan does not replace one that changed something.
    pub(super) fn mark_plan(&mut self, hash: &str, planned: &Deployment) {
        if let Some(taken) = self.status.history.iter_mut().find(|taken| taken.commit == hash)
            && (taken.plan.is_none() || !planned.is_empty())
        {
            taken.plan = Some(planned.hash.clone());
        }
    }

    pub(super) fn mark(&mut self, hash: &str, state: &str) {
        if let Some(taken) = self.status.history.iter_mut().find(|taken| taken.commit == hash) {
            state.clone_into(&mut taken.state);
        }
    }

    /// Stores where every object of the commit comes from, once per commit.
    pub(super) async fn index(&mut self, hash: &str, wanted: &WantedCommit) {
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

    /// Records drift that the plan leaves alone.
    pub(super) fn note_left(&mut self, planned: &Deployment) {
        for (stack, plan) in &planned.plans {
            let id = stack.id.to_string();
            let left: Vec<_> = chronicle::left_alone(plan).collect();
            // As observed when it was reported: it is reported again only when it changes again.
            let seen = left
                .iter()
                .filter_map(|change| Some((change.key.clone(), digest(plan.live(&change.key)?))));
            let seen: Left = seen.collect();
            if seen.is_empty() {
                self.left.remove(&stack.id);
            } else {
                self.left.insert(stack.id.clone(), seen);
            }
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
            self.left.remove(&record.stack);
        }
    }
}
