//! Decides when drift is repaired, and brings one stack back to the commit. Stacks do not wait for each other here: one
//! that rolls for minutes delays no other's revert.

use super::commit::Files;
use crate::deployment::{BlastRadius, Deployment, deployment, wanted_only};
use crate::execution::{Report, execute};
use crate::identity::Identities;
use crate::pause::Pause;
use myelin_engine::apply::Run;
use myelin_engine::cluster::Cluster;
use myelin_engine::diagnostic::{Diagnostic, Diagnostics};
use myelin_engine::observe::DryRun;
use myelin_engine::record::{self, Owner, Record, StackId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

/// If a stack has not drifted for this long, its next drift counts as new.
const CALM: Duration = Duration::from_secs(5);

/// Stacks waiting for repair. The first drift is repaired at once; drift that returns again and again is repaired less
/// and less often.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeMap<StackId, Instant>,
    at_work: BTreeSet<StackId>,
    answered: BTreeMap<StackId, Answered>,
}

/// When a stack was last repaired, and how often recently.
#[derive(Debug)]
struct Answered {
    at: Instant,
    pause: Pause,
}

impl Queue {
    /// Records that a stack has drifted.
    pub(super) fn note(&mut self, stack: StackId, now: Instant) {
        let (waiting, at_work) = (&self.due, &self.at_work);
        self.answered
            .retain(|stack, last| now - last.at < CALM || waiting.contains_key(stack) || at_work.contains(stack));
        let at = match self.answered.get_mut(&stack) {
            Some(last) => now + last.pause.next(),
            None => now,
        };
        self.due.entry(stack).or_insert(at);
    }

    /// Those that may be begun, and when.
    fn idle(&self) -> impl Iterator<Item = (&StackId, Instant)> {
        let due = self.due.iter().filter(|(stack, _)| !self.at_work.contains(*stack));
        due.map(|(stack, at)| (stack, *at))
    }

    /// When the next repair is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.idle().map(|(_, at)| at).min()
    }

    /// Takes some of the stacks that are due: each is in progress until [`Queue::done`].
    pub(super) fn take(&mut self, now: Instant, at_most: usize) -> Vec<StackId> {
        let due = self.idle().filter(|(_, at)| *at <= now);
        let taken: Vec<StackId> = due.map(|(stack, _)| stack.clone()).take(at_most).collect();
        for stack in &taken {
            self.due.remove(stack);
            self.at_work.insert(stack.clone());
            let last = self.answered.entry(stack.clone()).or_insert_with(|| Answered {
                at: now,
                pause: Pause::default(),
            });
            last.at = now;
        }
        taken
    }

    /// The repair of a stack is over.
    pub(super) fn done(&mut self, stack: &StackId) {
        self.at_work.remove(stack);
    }
}

/// What a repair needs.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) acting: Identities,
    pub(super) owner: Owner,
    pub(super) files: Arc<Files>,
    pub(super) limit: BlastRadius,
    pub(super) run: Run,
}

/// A stack that was checked and, if necessary, repaired.
pub(super) struct Repaired {
    pub(super) planned: Deployment,
    pub(super) report: Report,
    /// The stack's current record; None for pools, whose truth is in EC2.
    pub(super) record: Option<Record>,
}

/// Checks one stack, or the pools, and brings it back to the commit.
///
/// # Errors
/// When it cannot be observed, or would change too much without confirmation.
pub(super) async fn repair(tools: Tools, stack: Option<StackId>) -> Result<Repaired, Diagnostics> {
    let Tools {
        cluster,
        acting,
        owner,
        files,
        limit,
        run,
    } = tools;
    let only: BTreeSet<StackId> = stack.iter().cloned().collect();
    let work = move || wanted_only(&files.tree, &files.documents, &only);
    let mut wanted = tokio::task::spawn_blocking(work).await.map_err(|panicked| {
        Diagnostics::from(Diagnostic::error("the renderer failed").detail(panicked.to_string()))
    })??;
    if stack.is_some() {
        // A drifted stack says nothing about the pools, so EC2 gets no request.
        wanted.pools.clear();
    }
    let planned = deployment(Some(&cluster), Some(&acting), &wanted, &owner, DryRun::Decisions, false)
        .instrument(tracing::info_span!("plan"))
        .await?;
    if planned.diagnostics().has_errors() {
        return Err(planned.diagnostics());
    }
    if let Some((_, refused)) = planned.refused.first() {
        return Err(refused.clone());
    }
    if let Some(refusal) = limit.refuse(&planned, None) {
        return Err(refusal.into());
    }
    let report = execute(&acting, &planned, &run)
        .instrument(tracing::info_span!("apply"))
        .await;
    let Some(stack) = stack else {
        return Ok(Repaired {
            planned,
            report,
            record: None,
        });
    };
    let read = record::read(&*cluster, &stack, &CancellationToken::new()).await;
    let stored = read.map_err(|error| Diagnostics::from(error.diagnostic(&stack, "reading")))?;
    let Some(stored) = stored else {
        return Err(Diagnostic::error(format!("the record of {} is gone", stack.title())).into());
    };
    Ok(Repaired {
        planned,
        report,
        record: Some(stored.record),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_and_back_is_answered_ever_more_slowly_and_nobody_else_waits_for_it() {
        let mut queue = Queue::default();
        let (one, other): (StackId, StackId) = ("a/one".parse().unwrap(), "a/other".parse().unwrap());
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..5 {
            queue.note(one.clone(), now);
            let due = queue.next().unwrap();
            waits.push(due - now);
            assert_eq!(queue.take(due, 9), std::slice::from_ref(&one));
            queue.done(&one);
            now = due;
        }
        assert_eq!(waits[0], Duration::ZERO, "the first at once");
        assert!(
            waits[1] >= Duration::from_millis(500) && waits[4] >= Duration::from_secs(4),
            "{waits:?}"
        );
        queue.note(one.clone(), now);
        queue.note(other.clone(), now);
        assert_eq!(queue.take(now, 9), [other], "another stack is answered at once");
        let calm = queue.next().unwrap() + CALM;
        assert_eq!(queue.take(calm, 9), std::slice::from_ref(&one));
        queue.done(&one);
        queue.note(one, calm + CALM);
        assert_eq!(queue.next(), Some(calm + CALM), "after a calm it is new");
    }

    #[test]
    fn what_is_noted_during_a_repair_is_answered_after_it_and_never_beside_it() {
        let mut queue = Queue::default();
        let (one, other): (StackId, StackId) = ("a/one".parse().unwrap(), "a/other".parse().unwrap());
        let now = Instant::now();
        queue.note(one.clone(), now);
        assert_eq!(queue.take(now, 9), std::slice::from_ref(&one));
        for again in 1..4 {
            queue.note(one.clone(), now + CALM * again);
        }
        let later = now + CALM * 99;
        assert_eq!(queue.next(), None, "nothing can be begun, so nobody wakes up for it");
        queue.note(other.clone(), later);
        assert_eq!(
            queue.take(later, 9),
            std::slice::from_ref(&other),
            "it holds up no other"
        );
        queue.done(&other);
        assert!(queue.take(later, 9).is_empty());
        queue.done(&one);
        assert!(queue.next().is_some_and(|at| at <= later), "it was remembered");
        assert_eq!(queue.take(later, 9), [one], "once");
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn no_more_are_taken_than_there_is_room_for() {
        let mut queue = Queue::default();
        let now = Instant::now();
        for name in ["a", "b", "c"] {
            queue.note(format!("n/{name}").parse().unwrap(), now);
        }
        assert_eq!(queue.take(now, 2).len(), 2);
        assert_eq!(queue.take(now, 2).len(), 1);
        assert!(queue.next().is_none());
    }
}
