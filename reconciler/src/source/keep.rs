//! Keeps the cluster at the commit in force: watches report drift, each drifted stack is repaired separately, and the
//! branch is polled now and then. Ends when there is something else to do.

use super::commit::{Files, LOOKING};
use super::repair::{Queue, Repaired, Tools, repair};
use super::{APPLY, SLACK, Source};
use crate::chronicle;
use crate::deployment::owned;
use crate::drift::Drift;
use crate::pools::{WantedPool, have_drifted};
use crate::token_watch::Tokens;
use myelin_engine::apply::Gates;
use myelin_engine::cluster::Resource;
use myelin_engine::diagnostic::{Diagnostic, Diagnostics};
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::kinds_of;
use myelin_engine::record::Owner;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

/// Stacks that are repaired at the same time.
const AT_ONCE: usize = 32;

impl Source {
    /// Keeps the cluster at the commit until the branch moves, a user makes a request, or something cannot be repaired.
    pub(super) async fn keep(&mut self, hash: &str, files: &Arc<Files>) {
        let Some((drift, mut tokens)) = self.watch().await else {
            return;
        };
        let cancel = self.stop.child_token();
        let mut queue = Queue::default();
        let mut working = JoinSet::new();
        let mut gates = None;
        let pools: Arc<[_]> = files.documents.all.iter().filter_map(WantedPool::of).collect();
        let mut pools_at_work = false;
        // One look at a time, of each. Both end with this function.
        let mut looking = JoinSet::new();
        let mut looking_at_pools = JoinSet::new();
        // When the next look begins, or the present one should be over.
        let mut look = Instant::now() + self.rhythm.next();
        loop {
            if working.is_empty() {
                // Their watches are needed only for waiting.
                gates = None;
                if self.status.state == "applying" {
                    self.waits.clear();
                    self.status.waiting.clear();
                    self.say_ready();
                }
            }
            let due = queue.next();
            let rest = look.saturating_duration_since(Instant::now());
            let step = match looking.is_empty() {
                true => "waiting for drift or the next look",
                false => LOOKING,
            };
            self.pulse.begin(step, rest + SLACK);
            tokio::select! {
                told = drift.next() => {
                    let names: Vec<String> = told.iter().map(ToString::to_string).collect();
                    tracing::warn!(source = self.configuration.name, stacks = names.join(", "), "drift");
                    let now = Instant::now();
                    for stack in told {
                        queue.note(stack, now);
                    }
                }
                due = tokens.next() => {
                    let now = Instant::now();
                    for stack in due {
                        queue.note(stack, now);
                    }
                }
                () = at(due), if working.len() < AT_ONCE => {
                    for stack in queue.take(Instant::now(), AT_ONCE - working.len()) {
                        let tools = self.tools(files, &cancel, &mut gates);
                        let span = self.repairing(hash, &stack.to_string());
                        working.spawn(repair(tools, Some(stack)).instrument(span));
                    }
                }
                Some(done) = working.join_next() => {
                    let done = ended(done);
                    match &done {
                        Ok(Repaired { record: Some(record), .. }) => queue.done(&record.stack),
                        Ok(Repaired { record: None, .. }) => pools_at_work = false,
                        Err(_) => {}
                    }
                    if !self.repaired(hash, done, (&drift, &mut tokens)) {
                        break;
                    }
                }
                () = self.waits.changed(), if !working.is_empty() => {
                    self.status.waiting = self.waits.now();
                    self.say("applying", "");
                }
                () = tokio::time::sleep_until(look), if looking.is_empty() => {
                    let control = self.control.borrow().clone();
                    looking.spawn(self.looking(&control));
                    look = Instant::now() + self.longest_look();
                    // EC2 has no watch: the pools are checked whenever the branch is polled.
                    if !pools.is_empty() && !pools_at_work && looking_at_pools.is_empty() {
                        let (cluster, pools) = (Arc::clone(&self.cluster), Arc::clone(&pools));
                        let owner = Owner::Git(self.configuration.name.clone());
                        looking_at_pools.spawn(async move { have_drifted(&cluster, &pools, &owner).await });
                    }
                }
                Some(found) = looking.join_next() => {
                    match found {
                        Ok(found) => self.take_in(found).await,
                        Err(error) => tracing::error!(source = self.configuration.name, %error, "a look at the branch failed"),
                    }
                    if self.good.as_ref().is_none_or(|good| good.hash != hash) {
                        break;
                    }
                    if self.status.state != "applying" {
                        self.say_ready();
                    }
                    look = Instant::now() + self.rhythm.next();
                }
                Some(drifted) = looking_at_pools.join_next() => {
                    if drifted.unwrap_or_default() {
                        pools_at_work = true;
                        let tools = self.tools(files, &cancel, &mut gates);
                        let span = self.repairing(hash, "pools");
                        working.spawn(repair(tools, None).instrument(span));
                    }
                }
                _ = self.control.changed() => break,
                () = self.stop.cancelled() => break,
            }
        }
        cancel.cancel();
        drop((looking, looking_at_pools));
        // What they had begun is reported all the same.
        self.pulse.begin("ending repairs", APPLY);
        while let Some(done) = working.join_next().await {
            if let Ok(done) = ended(done) {
                self.tell_of(hash, &done);
            }
        }
        self.waits.clear();
        self.status.waiting.clear();
    }

    /// The trace of repairing drift.
    fn repairing(&self, commit: &str, stack: &str) -> Span {
        let source = self.configuration.name.as_str();
        tracing::info_span!(parent: None, "repair", myelin.source = source, myelin.revision = commit, myelin.stack = stack)
    }

    /// Watches everything that the source owns, from the last observation; None if the cluster does not answer.
    async fn watch(&mut self) -> Option<(Drift, Tokens)> {
        let owner = Owner::Git(self.configuration.name.clone());
        let (records, kinds, seen) = if let Some(seen) = self.seen.take() {
            let owns = |kind: &&Resource| {
                let of_kind = |key: &ObjectKey| key.kind == kind.kind && key.group == kind.group;
                seen.records.iter().any(|record| record.entries.keys().any(of_kind))
            };
            let kinds = seen.versions.keys().filter(owns).cloned().collect();
            (seen.records, kinds, seen.versions)
        } else {
            let records = owned(&*self.cluster, &owner).await.ok()?;
            let kinds = kinds_of(&*self.cluster, &records).await.ok()?;
            (records, kinds, BTreeMap::new())
        };
        let tokens = Tokens::follow(&self.cluster, &records);
        let records: Vec<_> = records.into_iter().map(Arc::new).collect();
        self.picture.all(&records);
        let faces = (&self.picture, &self.pulse);
        let drift = Drift::watch(&self.cluster, faces, records, kinds, &self.left, &seen);
        Some((drift, tokens))
    }

    fn tools(&self, files: &Arc<Files>, cancel: &CancellationToken, gates: &mut Option<Arc<Gates>>) -> Tools {
        let mut run = self.run_until(cancel);
        // One set of watches for all stacks that are repaired at the same time.
        let shared = gates.get_or_insert_with(|| {
            let gates = Gates::new(
                Arc::clone(self.acting.usual()),
                run.settings,
                run.patience,
                Arc::new(|_, _| {}),
            );
            Arc::new(gates)
        });
        run.gates = Some(Arc::clone(shared));
        Tools {
            cluster: Arc::clone(&self.cluster),
            acting: self.acting.clone(),
            owner: Owner::Git(self.configuration.name.clone()),
            files: Arc::clone(files),
            limit: self.limit(),
            run,
        }
    }

    /// Records the result for a stack; returns whether everything is as it should be.
    fn repaired(
        &mut self,
        hash: &str,
        done: Result<Repaired, Diagnostics>,
        (drift, tokens): (&Drift, &mut Tokens),
    ) -> bool {
        let done = match done {
            Ok(done) => done,
            Err(problems) => {
                self.failed(hash, &problems);
                return false;
            }
        };
        self.tell_of(hash, &done);
        self.note_left(&done.planned);
        self.note_stacks(&done.report);
        if !done.report.is_ready() {
            self.failed(hash, &done.report.diagnostics());
            return false;
        }
        if let Some(record) = done.record {
            let left = self.left.get(&record.stack).cloned().unwrap_or_default();
            tokens.settle(&record);
            drift.settle(record, left);
        }
        if self.shown.borrow().drift != self.status.drift {
            self.say_ready();
        }
        true
    }

    fn tell_of(&self, hash: &str, done: &Repaired) {
        for event in chronicle::of(&done.planned, &done.report, hash) {
            self.events.tell(event);
        }
    }
}

/// The result of a repair; a panic becomes an error.
fn ended(done: Result<Result<Repaired, Diagnostics>, JoinError>) -> Result<Repaired, Diagnostics> {
    done.unwrap_or_else(|error| Err(Diagnostic::error("a repair failed").detail(error.to_string()).into()))
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
