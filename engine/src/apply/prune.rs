//! After everything new is healthy: deleting what is wanted no more, dependants first.

use super::Run;
use super::outcome::{Fate, Progress};
use super::remove::{Removal, remove};
use super::run::Executor;
use crate::cluster::{Cluster, Target};
use crate::diagnostic::Diagnostic;
use crate::object::ObjectKey;
use crate::observe::{target, uid};
use crate::plan::{Action, Plan, keeps};
use crate::record::PART_OF;
use futures::StreamExt as _;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// Deletes the plan's prunes, level by level. What does not go is told and stays in the record.
pub(super) async fn prune(
    cluster: &dyn Cluster,
    plan: &Plan,
    run: &Run,
    deadline: Instant,
    executor: &mut Executor<'_>,
) {
    let mut levels: BTreeMap<std::cmp::Reverse<u32>, Vec<(ObjectKey, Target, Value)>> = BTreeMap::new();
    for change in plan.changes.iter().filter(|c| c.action == Action::Prune) {
        let Some(live) = plan.observation.live.get(&change.key) else {
            continue;
        };
        let Some(entry) = plan.observation.entry(&change.key) else {
            continue;
        };
        let resource = plan
            .observation
            .resources
            .get(&(entry.api_version.clone(), change.key.kind.clone()));
        if let Some(resource) = resource {
            let item = (change.key.clone(), target(resource, &change.key), live.clone());
            levels.entry(std::cmp::Reverse(entry.level)).or_default().push(item);
        }
    }
    let label = plan.desired.stack.apply_set();
    for (_, objects) in levels {
        let label = label.clone();
        let removals: Vec<(ObjectKey, Removal)> =
            futures::stream::iter(objects.into_iter().map(|(key, target, live)| {
                let label = label.clone();
                async move {
                    let expected = uid(&live).unwrap_or_default().to_owned();
                    // Asked about the newest state: since the plan somebody may have given it away or asked to keep it.
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
                    let removal = remove(cluster, &target, &expected, &live, &keep, deadline, &run.cancel).await;
                    (key, removal)
                }
            }))
            .buffer_unordered(run.in_flight.max(1))
            .collect()
            .await;
        for (key, removal) in removals {
            let fate = match removal {
                Removal::Gone => {
                    executor.ledger.gone(&key);
                    (run.progress)(Progress::Gone(key.clone()));
                    Fate::Gone
                }
                Removal::Kept(why) => {
                    executor.ledger.gone(&key);
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
            executor.outcome.objects.insert(key, fate);
        }
        if executor.outcome.diagnostics.has_errors() {
            // What is deeper may be needed by what did not go.
            break;
        }
    }
}
