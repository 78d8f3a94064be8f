//! Whether a list item of ours can return where others put something in its place, and which of their items must go for
//! that: as few as possible, proved by dry runs. Writes nothing.

use super::stand_ins::{StandIn, stand_ins, without};
use super::trial::{Manners, Trial, immutable_fields, leftover_defaults};
use super::{is_ours, owned};
use crate::cluster::{Cluster, ClusterError, Mode, Target, retrying};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Limit of items to examine, which also bounds the dry runs. More than a user renames at a time.
const MOST: usize = 16;

/// The items that must go, and the resulting object.
#[derive(Debug)]
pub(crate) struct Reclaimed {
    pub(crate) items: Vec<StandIn>,
    pub(crate) result: Value,
}

/// Whether an apply was refused for the resulting object, and not for an immutable field or a leftover default.
pub(crate) fn clashes(result: &Result<Value, ClusterError>, live: &Value, body: &Value) -> bool {
    result
        .as_ref()
        .err()
        .is_some_and(|e| e.is_invalid() && immutable_fields(e).is_empty() && leftover_defaults(e, live, body).is_none())
}

/// Finds the items that must go. None if the apply needs no item to go, or if no removable item helps; then the trial
/// names the items in the way.
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
        // Each attempt includes the previous one.
        if items.len() == tried || items.len() > MOST {
            continue;
        }
        tried = items.len();
        let Some(mut result) = prove(&items).await else {
            continue;
        };
        // An item that was not renamed stays, unless the refusal is about it.
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
