//! Whether ours can come back into a list where others put something in its place: which of their items have to go for it, as few
//! as possible, proved by dry runs. Writes nothing.

use super::stand_ins::{StandIn, stand_ins, without};
use super::trial::{Manners, Trial, immutable_fields, leftover_defaults};
use super::{is_ours, owned};
use crate::cluster::{Cluster, ClusterError, Mode, Target, retrying};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// The most items that are looked at. More than a person renames at a time, and the bound on dry runs.
const MOST: usize = 16;

/// What has to go, and the object as it would be then.
#[derive(Debug)]
pub(crate) struct Reclaimed {
    pub(crate) items: Vec<StandIn>,
    pub(crate) result: Value,
}

/// Whether an apply was refused for what the object would be, and not for what may never change in it or for leftover defaults.
pub(crate) fn clashes(result: &Result<Value, ClusterError>, live: &Value, body: &Value) -> bool {
    result
        .as_ref()
        .err()
        .is_some_and(|e| e.is_invalid() && immutable_fields(e).is_empty() && leftover_defaults(e, live, body).is_none())
}

/// Finds the items that have to go. None when the apply needs nobody's place, or when no place that may be taken helps; then the
/// trial names what stands beside.
pub(crate) async fn reclaim(
    cluster: &dyn Cluster,
    target: &Target,
    live: &Value,
    body: &Value,
    manners: &Manners,
    trial: &mut Trial,
    cancel: &CancellationToken,
) -> Option<Reclaimed> {
    let clash = clashes(&trial.result, live, body);
    if !clash && trial.result.is_err() {
        return None;
    }
    let found = stand_ins(live, body, manners);
    let may: Vec<&StandIn> = found.iter().filter(|item| item.reverts).collect();
    let renamed: Vec<&StandIn> = may.iter().copied().filter(|item| item.renamed).collect();
    let attempts: Vec<Vec<&StandIn>> = if clash {
        let alike = may.iter().copied().filter(|item| item.renamed || item.alike).collect();
        vec![renamed, alike, may]
    } else {
        vec![renamed]
    };
    let mut body = body.clone();
    for (_, path) in &trial.foreign {
        owned::remove(&mut body, path);
    }
    let prove = async |items: &[&StandIn]| {
        let patch = without(live, &body, items);
        retrying(cancel, || cluster.json_patch(target, &patch, Mode::DryRun))
            .await
            .ok()
    };
    let mut tried = 0;
    for mut items in attempts {
        // Each attempt holds the one before.
        if items.len() == tried || items.len() > MOST {
            continue;
        }
        tried = items.len();
        let Some(mut result) = prove(&items).await else {
            continue;
        };
        // What was not renamed stays, unless it is what the refusal is about.
        for item in items.clone().into_iter().filter(|item| clash && !item.renamed) {
            let fewer: Vec<&StandIn> = items.iter().copied().filter(|i| *i != item).collect();
            if fewer.is_empty() {
                break;
            }
            if let Some(without_it) = prove(&fewer).await {
                (items, result) = (fewer, without_it);
            }
        }
        trial.taken.extend(items.iter().map(|item| item.named()));
        return Some(Reclaimed {
            items: items.into_iter().cloned().collect(),
            result,
        });
    }
    if clash && is_ours(live) {
        trial.beside = found.iter().map(StandIn::named).collect();
    }
    None
}
