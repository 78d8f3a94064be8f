//! Whether a live object is still as recorded, without any request: what a watch shows is hashed and compared.

use super::{attest, resources, uid};
use crate::cluster::{Cluster, ClusterError, Resource};
use crate::object::ObjectKey;
use crate::record::{PART_OF, Record};
use serde_json::Value;
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

/// How a live object compares with the record of its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Our part of it is as confirmed.
    AsRecorded,
    /// Somebody changed, took or removed something of ours, or recreated the object.
    Drifted,
    /// The record does not name it, or has nothing to compare it with.
    Unknown,
}

/// Compares a live object with a record.
#[must_use]
pub fn standing(record: &Record, live: &Value) -> Standing {
    let Some(entry) = record.entry(&ObjectKey::of(live)) else {
        return Standing::Unknown;
    };
    // Never confirmed, or left alone in a field war: there is nothing to compare with.
    if entry.attested.is_none() {
        return Standing::Unknown;
    }
    let same = entry.uid.as_deref() == uid(live)
        && entry.attested == attest(&record.key, live)
        && live.pointer("/metadata/deletionTimestamp").is_none();
    if same { Standing::AsRecorded } else { Standing::Drifted }
}

/// The ApplySet that a live object is labelled with.
#[must_use]
pub fn set_of(live: &Value) -> Option<&str> {
    live.get("metadata")?.get("labels")?.get(PART_OF)?.as_str()
}

/// The resources of the objects in records. Sends requests only for kinds that are not built in; kinds that are no
/// longer served are omitted.
///
/// # Errors
/// When the cluster refuses or does not answer.
pub async fn kinds_of<'a>(
    cluster: &dyn Cluster,
    records: impl IntoIterator<Item = &'a Record>,
) -> Result<BTreeSet<Resource>, ClusterError> {
    let entries = records.into_iter().flat_map(|record| record.entries.values());
    let kinds = entries.map(|entry| (&entry.api_version, &entry.key.kind));
    let (found, _) = resources(cluster, kinds, &CancellationToken::new()).await?;
    Ok(found.into_values().collect())
}
