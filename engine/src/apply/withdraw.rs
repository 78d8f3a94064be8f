//! Deletes many objects in the order of a [`Retreat`], in parallel as far as that allows.
//!
//! The caller decides what may be deleted, and what the user is told.

use super::Run;
use super::remove::{Removal, remove};
use super::retreat::Retreat;
use crate::cluster::{Cluster, Target};
use crate::object::ObjectKey;
use crate::observe::uid;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// An object that takes longer than this to go is held by something, and no longer takes a slot from others.
const HELD: Duration = Duration::from_secs(5);

/// An object to delete, and its last observed state.
pub(super) type Leaving = (Target, Value);

/// Deletes what `leaving` names; everything else in the order counts as gone. `keep` is called for every newer state of
/// an object. `done` gets the result for each and says whether it stops holding others back. Returns what was never
/// tried, with what still needs it.
pub(super) async fn withdraw(
    cluster: &dyn Cluster,
    run: &Run,
    deadline: Instant,
    mut order: Retreat,
    leaving: &BTreeMap<ObjectKey, Leaving>,
    keep: &(dyn Fn(&Value) -> Option<String> + Sync),
    done: &mut (dyn FnMut(&ObjectKey, Removal) -> bool + Send),
) -> Vec<(ObjectKey, ObjectKey)> {
    let permits = Arc::new(Semaphore::new(run.in_flight.max(1)));
    let mut under_way = FuturesUnordered::new();
    loop {
        while !run.cancel.is_cancelled() {
            let next = order.next();
            if next.is_empty() {
                break;
            }
            for key in next {
                let Some((target, live)) = leaving.get(&key).cloned() else {
                    order.gone(&key);
                    continue;
                };
                let permits = Arc::clone(&permits);
                under_way.push(async move {
                    let permit = permits.acquire_owned().await;
                    let expected = uid(&live).unwrap_or_default().to_owned();
                    let removal = remove(cluster, &target, &expected, &live, keep, deadline, &run.cancel);
                    tokio::pin!(removal);
                    let removal = tokio::select! {
                        removal = &mut removal => removal,
                        () = tokio::time::sleep(HELD) => {
                            drop(permit);
                            removal.await
                        }
                    };
                    (key, removal)
                });
            }
        }
        let Some((key, removal)) = under_way.next().await else {
            return order.held();
        };
        if done(&key, removal) {
            order.gone(&key);
        } else {
            order.stays(&key);
        }
    }
}
