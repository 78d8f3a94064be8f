//! Deletes what is no longer wanted, dependants first, once everything new is healthy.

use super::Run;
use super::outcome::{Fate, Progress};
use super::remove::Removal;
use super::retreat::Retreat;
use super::run::Executor;
use super::withdraw::{Leaving, withdraw};
use crate::cluster::Cluster;
use crate::diagnostic::Diagnostic;
use crate::object::ObjectKey;
use crate::observe::target;
use crate::plan::{Action, Plan, keeps};
use crate::record::PART_OF;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Executes the plan's prunes. What is not deleted is reported, holds back only what it needs, and stays in the record.
pub(super) async fn prune(
    cluster: &dyn Cluster,
    plan: &Plan,
    run: &Run,
    deadline: Instant,
    executor: &mut Executor<'_>,
) {
    let leaving: BTreeMap<ObjectKey, Leaving> = plan
        .changes
        .iter()
        .filter(|c| c.action == Action::Prune)
        .filter_map(|change| {
            let seen = &plan.observation;
            let entry = seen.entry(&change.key)?;
            let kind = (entry.api_version.clone(), change.key.kind.clone());
            let resource = seen.resources.get(&kind)?;
            let live = seen.live.get(&change.key)?.clone();
            Some((change.key.clone(), (target(resource, &change.key), live)))
        })
        .collect();
    if leaving.is_empty() {
        return;
    }
    let label = plan.desired.stack.apply_set();
    // Checked against the newest state: since the plan, somebody may have taken the object over or asked to keep it.
    let keep = |live: &Value| {
        let part_of = live
            .pointer("/metadata/labels")
            .and_then(|l| l.get(PART_OF))
            .and_then(Value::as_str);
        if part_of.is_some_and(|id| id != label) {
            return Some("it belongs to another set now".to_owned());
        }
        keeps(live).map(|a| format!("its annotation {a} keeps it"))
    };
    let order = Retreat::of(&executor.ledger.record);
    let mut done = |key: &ObjectKey, removal: Removal| {
        let fate = match removal {
            Removal::Gone => {
                executor.ledger.gone(key);
                (run.progress)(Progress::Gone(key.clone()));
                Fate::Gone
            }
            Removal::Kept(why) => {
                executor.ledger.gone(key);
                Fate::Kept(why)
            }
            Removal::Held(why) => Fate::Waiting(format!("it was deleted and does not go: {why}")),
            Removal::Refused(e) => Fate::Failed(format!("it could not be pruned: {e}")),
            Removal::Cancelled => {
                executor.outcome.cancelled = true;
                Fate::Uncertain("cancelled while it was being deleted".into())
            }
        };
        if let Fate::Waiting(why) | Fate::Failed(why) | Fate::Uncertain(why) = &fate {
            executor
                .outcome
                .tell(Diagnostic::error(format!("{}: {why}", key.human())).object(key.clone()));
        }
        let gone = matches!(fate, Fate::Gone | Fate::Kept(_));
        executor.outcome.objects.insert(key.clone(), fate);
        gone
    };
    let held = withdraw(cluster, run, deadline, order, &leaving, &keep, &mut done).await;
    for (key, why) in held.into_iter().filter(|(key, _)| leaving.contains_key(key)) {
        let fate = Fate::Skipped(format!(
            "it was not deleted: {}, which needs it, is still there",
            why.human()
        ));
        executor.outcome.objects.insert(key, fate);
    }
}
