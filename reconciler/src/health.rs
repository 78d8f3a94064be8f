//! The current state of the live objects of stacks, as verdicts of the gates: one list per kind and one evaluation.
//!
//! This is for commands. The reconciler itself watches and never lists again.

use futures::StreamExt as _;
use futures::stream;
use myelin_engine::cluster::{Cluster, ClusterError, Resource, Selection};
use myelin_engine::gate::{Applied, Change, Moment, Settings, Sights, State, judge, watches};
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::{Standing, kinds_of, standing};
use myelin_engine::record::{PART_OF, Record};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Lists in flight.
const IN_FLIGHT: usize = 16;

/// How one object stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Health {
    /// `ready`, `waiting`, `failed`, `deleting`, `missing` or `drifted`.
    pub(crate) state: &'static str,
    /// Why, in words; empty when there is nothing to say.
    pub(crate) reason: String,
}

/// Looks at every object that records name.
///
/// # Errors
/// When the cluster refuses or does not answer.
pub(crate) async fn look(
    cluster: &dyn Cluster,
    records: &[Record],
) -> Result<BTreeMap<ObjectKey, Health>, ClusterError> {
    let kinds = kinds_of(cluster, records).await?;
    let selection = Selection {
        labels: PART_OF.to_owned(),
        ..Selection::default()
    };
    let lists = kinds.into_iter().map(|resource| (resource, selection.clone(), false));
    let beside = beside(records)
        .into_iter()
        .map(|(resource, selection)| (resource, selection, true));
    let seen: Vec<(bool, Result<Vec<Value>, ClusterError>)> = stream::iter(lists.chain(beside))
        .map(|(resource, selection, optional)| async move {
            let list = cluster.list(&resource, &selection).await;
            (optional, list.map(|list| list.items))
        })
        .buffer_unordered(IN_FLIGHT)
        .collect()
        .await;
    let now = Moment(jiff::Timestamp::now().as_millisecond());
    let mut sights = Sights::default();
    let mut live = BTreeMap::new();
    for (beside, list) in seen {
        let items = match list {
            Ok(items) => items,
            // Without the right to read pods or events, verdicts have less detail.
            Err(error) if beside && error.is_denied() => continue,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        for item in items {
            sights.see(Change::Listed(&item), now);
            if !beside {
                live.insert(ObjectKey::of(&item), item);
            }
        }
    }
    let mut all = BTreeMap::new();
    for record in records {
        for entry in record.entries.values() {
            let health = match live.get(&entry.key) {
                None if entry.ends && record.ready => said("ready", "it has done its work and removed itself"),
                None if entry.uid.is_none() => said("waiting", "it is not made yet"),
                None => said("missing", "it is not in the cluster"),
                Some(value) => of(record, &entry.key, value, &sights, now),
            };
            all.insert(entry.key.clone(), health);
        }
    }
    Ok(all)
}

fn said(state: &'static str, reason: &str) -> Health {
    Health {
        state,
        reason: reason.to_owned(),
    }
}

/// The state of one object, without its pods and events: enough to see that it is not as it should be.
pub(crate) fn glance(record: &Record, key: &ObjectKey, live: &Value) -> Health {
    let now = Moment(jiff::Timestamp::now().as_millisecond());
    let mut sights = Sights::default();
    sights.go_blind();
    sights.see(Change::Set(live), now);
    of(record, key, live, &sights, now)
}

fn of(record: &Record, key: &ObjectKey, live: &Value, sights: &Sights, now: Moment) -> Health {
    let verdict = judge(sights, key, &Applied::answered(live, now), &settings(record), now);
    let reason = match (verdict.reason.is_empty(), verdict.because.is_empty()) {
        (false, false) => format!("{}; {}", verdict.because, verdict.reason),
        (false, true) => verdict.reason,
        _ => verdict.because,
    };
    let state = match verdict.state {
        State::Current => "ready",
        // Worth mentioning but not waiting for: an Ingress without an address.
        State::InProgress if !verdict.blocking && record.ready => "ready",
        State::InProgress => "waiting",
        State::Failed => "failed",
        State::Terminating => "deleting",
        State::Gone => "missing",
    };
    if state == "ready" && standing(record, live) == Standing::Drifted {
        return said("drifted", "somebody changed what the stack sets");
    }
    Health { state, reason }
}

/// What an apply has believed needs no second proof: a look has no time to wait for one. A crash shows all the same.
fn settings(record: &Record) -> Settings {
    if !record.ready {
        return Settings::default();
    }
    Settings {
        unprobed_uptime: Duration::ZERO,
        steady_uptime: Duration::ZERO,
        restarted_uptime_limit: Duration::ZERO,
        status_grace: Duration::ZERO,
        clock_skew: Duration::ZERO,
        ..Settings::default()
    }
}

/// What has to be seen beside the objects themselves: pods, replica sets, events of their namespaces.
fn beside(records: &[Record]) -> BTreeSet<(Resource, Selection)> {
    let keys = records.iter().flat_map(|record| record.entries.keys());
    keys.flat_map(|key| {
        watches(key).iter().map(|kind| {
            let resource = Resource {
                group: kind.group.to_owned(),
                version: kind.version.to_owned(),
                kind: kind.kind.to_owned(),
                plural: kind.plural.to_owned(),
                namespaced: true,
                has_status: None,
            };
            let selection = Selection {
                namespace: Some(key.namespace.clone()),
                ..Selection::default()
            };
            (resource, selection)
        })
    })
    .collect()
}
