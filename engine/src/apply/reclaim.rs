//! Brings a list item of ours back where somebody else put another in its place. Their item is transferred to us in
//! `managedFields`, and the next apply removes it like anything else that a manifest no longer contains.
//!
//! The first write requires that the item and its owners are exactly as observed. After it, only the owner of the item
//! has changed. A run that ends at this point leaves drift, which the next run repairs with that same apply. If the
//! apply is refused all the same, the transfer is undone.

use super::step::Step;
use crate::cluster::{ClusterError, Mode, Target, retrying};
use crate::observe::{Trial, clashes, given_over, reclaim, renamed, settle};
use serde_json::{Value, json};
use std::time::Duration;

/// How often to look at an object while its managers write these very fields, and the pause in between.
const LOOKS: usize = 6;
const PAUSE: Duration = Duration::from_millis(150);

impl Step {
    /// Applies to an existing object, and removes the item that stands in the place of ours.
    pub(super) async fn send(&self, target: &Target, body: &Value) -> Trial {
        let apply = async |mode| settle(&*self.cluster, target, body, &self.manners, mode, &self.cancel).await;
        let Some(seen) = &self.live else {
            return apply(Mode::Real).await;
        };
        let mut refused = None;
        if !renamed(seen, body, &self.manners) {
            let trial = apply(Mode::Real).await;
            if !clashes(&trial.result, seen, body) {
                return trial;
            }
            refused = Some(trial);
        }
        for look in 0..LOOKS {
            if look > 0 {
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = self.cancel.cancelled() => break,
                }
            }
            let live = match retrying(&self.cancel, || self.cluster.get(target)).await {
                Ok(Some(live)) => live,
                Ok(None) | Err(_) => break,
            };
            let mut trial = apply(Mode::DryRun).await;
            let found = reclaim(
                &*self.cluster,
                target,
                &live,
                body,
                &self.manners,
                &mut trial,
                &self.cancel,
            )
            .await;
            let Some(found) = found else {
                if refused.is_some() && trial.result.is_err() {
                    return trial;
                }
                break;
            };
            let patch = given_over(&live, body, &found.items);
            match retrying(&self.cancel, || self.cluster.json_patch(target, &patch, Mode::Real)).await {
                Ok(given) => {
                    let mut sent = apply(Mode::Real).await;
                    if matches!(sent.result, Err(ClusterError::Refused { .. })) {
                        self.give_items_back(target, &live, &given).await;
                    }
                    sent.taken.extend(found.items.iter().map(|item| item.named()));
                    return sent;
                }
                // Somebody wrote these very fields between look and patch.
                Err(e) => {
                    let moved = e.is_conflict() || e.is_invalid();
                    trial.result = Err(e);
                    if !moved {
                        return trial;
                    }
                    refused = Some(trial);
                }
            }
        }
        match refused {
            Some(trial) => trial,
            None => apply(Mode::Real).await,
        }
    }

    /// Restores `managedFields`, unless somebody has written meanwhile.
    async fn give_items_back(&self, target: &Target, before: &Value, now: &Value) {
        let version = now.pointer("/metadata/resourceVersion");
        let patch = json!([
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/metadata/managedFields", "value": before.pointer("/metadata/managedFields")},
        ]);
        let back = retrying(&self.cancel, || self.cluster.json_patch(target, &patch, Mode::Real)).await;
        if let Err(error) = back {
            tracing::warn!(object = %self.key, %error, "an item of a list stays given over; it goes with the next apply that is accepted");
        }
    }
}
