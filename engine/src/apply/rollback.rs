//! `onFailure: rollback`: after a failed apply, returns to the last state in which everything was ready.
//!
//! It is an apply like any other, from a new plan, with gates, checks and pruning. It does not mint or give up tokens,
//! wait for what others own, or run a Job again. Running an older Job would not undo what the newer one did, so a Job
//! that the failed apply changed is removed, and the next apply creates it again.

use super::{Outcome, Run, forward};
use crate::cluster::Cluster;
use crate::desired::{ComponentTerms, Desired, DesiredObject, Policy};
use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use crate::document::OnFailure;
use crate::graph::{self, Member};
use crate::object::ObjectKey;
use crate::observe::{DryRun, observe};
use crate::origin::FieldOrigins;
use crate::plan::{Action, Plan, plan};
use crate::record::{Good, GoodObject, GoodTerms};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What to store of a state in which everything is ready.
pub(super) fn good(desired: &Desired) -> Good {
    Good {
        objects: desired
            .objects
            .iter()
            .map(|o| GoodObject {
                key: o.key.clone(),
                value: o.value.clone(),
                component: o.component.clone(),
                file: o.origin.file.clone(),
                write_only: o.write_only.clone(),
                implicit: o.implicit,
            })
            .collect(),
        components: desired
            .components
            .iter()
            .map(|(name, terms)| {
                let kept = GoodTerms {
                    after: terms.after.clone(),
                    timeout: terms.timeout,
                    verify: terms.verify.clone(),
                };
                (name.clone(), kept)
            })
            .collect(),
    }
}

/// Rolls back, if there is a state to return to. The outcome stays a failure and reports the rollback's result.
pub(super) async fn roll_back(cluster: Arc<dyn Cluster>, failed_plan: &Plan, run: &Run, failed: Outcome) -> Outcome {
    let mut failed = failed;
    let packed = failed_plan
        .observation
        .stored
        .as_ref()
        .and_then(|s| s.record.good.clone());
    let Some(packed) = packed else {
        failed.tell(
            Diagnostic::warning(
                "nothing was rolled back: no earlier apply of this stack has succeeded with onFailure: rollback",
            )
            .detail("what is healthy stays, and the next apply goes on from there"),
        );
        return failed;
    };
    tracing::warn!(stack = %failed_plan.desired.stack, "the apply failed; going back to the last good state");
    let wanted = match Good::unpack(&packed)
        .map_err(|why| Diagnostics::from(Diagnostic::error(format!("the last good state cannot be read: {why}"))))
        .and_then(|good| desired(good, failed_plan, &failed))
    {
        Ok(wanted) => wanted,
        Err(problems) => return not_rolled_back(failed, problems),
    };
    let observation = match observe(&*cluster, &wanted, DryRun::Decisions).await {
        Ok(observation) => observation,
        Err(problems) => return not_rolled_back(failed, problems),
    };
    let back = plan(Arc::new(wanted), Arc::new(observation), failed_plan.owner.clone());
    let (outcome, _) = forward(cluster, &back, run).await;
    failed.objects = outcome.objects;
    failed.cancelled = outcome.cancelled;
    if !outcome.ready {
        failed.components = outcome.components;
        return not_rolled_back(failed, outcome.diagnostics);
    }
    failed.components = outcome.components;
    failed.rolled_back = true;
    let changed = back.changes.iter().filter(|c| c.action != Action::Unchanged).count();
    failed.tell(
        Diagnostic::error(format!("stack {} was rolled back to its last good state", failed_plan.desired.stack)).detail(format!(
            "{changed} objects were put back or removed, and everything is ready. The change that failed is not applied: mend it \
             and apply again"
        )),
    );
    failed
}

fn not_rolled_back(mut failed: Outcome, problems: Diagnostics) -> Outcome {
    failed.tell(
        Diagnostic::error("the roll-back to the last good state failed, too")
            .detail("what is healthy stays; the next apply goes on from there"),
    );
    failed.diagnostics.extend(problems);
    failed
}

/// The last good state as a desired state, under the terms of the apply that failed.
fn desired(good: Good, failed_plan: &Plan, failed: &Outcome) -> Result<Desired, Diagnostics> {
    let mut objects: Vec<DesiredObject> = good
        .objects
        .into_iter()
        .filter(|o| !was_run(&o.key, failed_plan, failed))
        .map(|o| DesiredObject {
            api_version: o
                .value
                .get("apiVersion")
                .and_then(|v| v.as_str())
                .unwrap_or_default()
                .to_owned(),
            key: o.key,
            value: o.value,
            component: o.component,
            origin: FilePlace::file(o.file),
            fields: FieldOrigins::default(),
            write_only: o.write_only,
            unknown: BTreeSet::new(),
            implicit: o.implicit,
        })
        .collect();
    let components: BTreeMap<String, ComponentTerms> = good
        .components
        .into_iter()
        .map(|(name, kept)| {
            let terms = ComponentTerms {
                after: kept.after,
                timeout: kept.timeout,
                verify: kept.verify,
            };
            (name, terms)
        })
        .collect();
    let after = components.iter().map(|(n, t)| (n.clone(), t.after.clone())).collect();
    let members: Vec<Member<'_>> = objects
        .iter()
        .map(|o| Member {
            key: &o.key,
            value: &o.value,
            component: o.component.as_deref(),
        })
        .collect();
    let graph = graph::build(&members, &[], &after)?;
    objects.sort_by_cached_key(|o| (graph.level.get(&o.key).copied().unwrap_or(0), o.key.clone()));
    Ok(Desired {
        stack: failed_plan.desired.stack.clone(),
        objects,
        tokens: Vec::new(),
        components,
        requires: Vec::new(),
        graph,
        policy: Policy {
            on_failure: OnFailure::Stop,
            ..failed_plan.desired.policy.clone()
        },
        warnings: Diagnostics::new(),
        going_back: true,
    })
}

/// Whether the failed apply created or replaced this Job.
fn was_run(key: &ObjectKey, failed_plan: &Plan, failed: &Outcome) -> bool {
    use super::Fate;
    let job = key.group == "batch" && key.kind == "Job";
    let changed = failed_plan.change(key).is_some_and(|c| c.action != Action::Unchanged);
    job && changed && !matches!(failed.objects.get(key), Some(Fate::Skipped(_)))
}
