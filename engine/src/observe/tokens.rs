//! Observes a token: whether its key holds a value, which mint created the value, and which objects the token is tied
//! to.

use crate::cluster::{Cluster, ClusterError, Target, kinds, retrying};
use crate::document::{ObjectName, ProvisioningToken, SecretTarget};
use crate::mask::MaskKey;
use crate::record::Record;
use crate::token::{Entry, SecretValue, Seen, State, Stored, Why, mint_annotation};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// The Secret of a token.
pub(crate) fn secret_target(secret: &SecretTarget) -> Target {
    Target {
        resource: kinds::known("v1", "Secret"),
        namespace: secret.namespace.clone(),
        name: secret.name.clone(),
    }
}

/// Observes once. A value is replaced by its mark at once and stored nowhere.
pub(crate) async fn look(
    cluster: &dyn Cluster,
    token: &ProvisioningToken,
    key: &MaskKey,
    cancel: &CancellationToken,
) -> Result<Seen, ClusterError> {
    let target = secret_target(&token.secret);
    let secret = retrying(cancel, || cluster.get(&target)).await?;
    let value = secret.as_ref().and_then(|s| value_in(s, &token.secret.key));
    let annotation = mint_annotation(&token.secret.key);
    let mint = secret.as_ref().and_then(|s| {
        s.pointer("/metadata/annotations")?
            .get(&annotation)?
            .as_str()
            .map(str::to_owned)
    });
    let mut tied_to = BTreeMap::new();
    for object in &token.rotate_with {
        if let Some(uid) = uid_of(cluster, &token.secret.namespace, object, cancel).await? {
            tied_to.insert(object.to_string(), uid);
        }
    }
    Ok(Seen {
        value: value.map(|v| v.mark(key)),
        mint,
        tied_to,
    })
}

/// The value at a key of a Secret.
pub(crate) fn value_in(secret: &Value, key: &str) -> Option<SecretValue> {
    let text = secret.get("data")?.get(key)?.as_str()?;
    BASE64_STANDARD
        .decode(text)
        .ok()
        .map(SecretValue::new)
        .filter(|v| !v.expose().is_empty())
}

/// UID of an object that a token is tied to; None while there is none. Built-in kinds, by their usual version.
async fn uid_of(
    cluster: &dyn Cluster,
    namespace: &str,
    object: &ObjectName,
    cancel: &CancellationToken,
) -> Result<Option<String>, ClusterError> {
    let version = match object.kind.as_str() {
        "StatefulSet" | "Deployment" | "DaemonSet" | "ReplicaSet" => "apps/v1",
        "Job" | "CronJob" => "batch/v1",
        _ => "v1",
    };
    let Some(resource) = kinds::built_in(version, &object.kind) else {
        return Ok(None);
    };
    let target = Target {
        resource,
        namespace: namespace.to_owned(),
        name: object.name.clone(),
    };
    let live = retrying(cancel, || cluster.get(&target)).await?;
    Ok(live.and_then(|o| o.pointer("/metadata/uid")?.as_str().map(str::to_owned)))
}

/// What is known of one recorded token. It holds no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFacts {
    /// Namespace, name and key of its Secret.
    pub secret: (String, String, String),
    /// UID of the Secret; None when it is gone.
    pub secret_uid: Option<String>,
    /// Keyed hash of the value that was minted or adopted; None while none is stored.
    pub value_hash: Option<String>,
    /// When it was minted or adopted, in seconds since 1970.
    pub minted_at: Option<i64>,
    /// When it expires, in seconds since 1970.
    pub expires_at: Option<i64>,
    /// How often a value was minted; 0 for one that was adopted.
    pub mints: u64,
    /// Why the next apply has something to do, as far as record and cluster tell without the document.
    pub due: Option<String>,
    /// Whether somebody replaced the value; it is kept.
    pub foreign: bool,
    /// Ids of interrupted mints whose values the issuer may hold unused.
    pub orphans: Vec<String>,
    /// What was asked for, as canonical JSON.
    pub text: String,
}

pub(super) async fn facts(
    cluster: &dyn Cluster,
    record: &Record,
    entry: &Entry,
    cancel: &CancellationToken,
) -> Result<TokenFacts, ClusterError> {
    let (namespace, name, secret_key) = &entry.secret;
    let target = Target {
        resource: kinds::known("v1", "Secret"),
        namespace: namespace.clone(),
        name: name.clone(),
    };
    let secret = retrying(cancel, || cluster.get(&target)).await?;
    let live = secret.as_ref().and_then(|s| value_in(s, secret_key));
    let due = due(cluster, entry, live.is_some(), cancel).await?;
    // A stack ties its tokens at the end of the apply that creates the objects; a standalone token learns of them
    // later.
    let untied = match &entry.state {
        State::Stored(stored) if record.stack.token().is_some() => untied(cluster, entry, stored, cancel).await?,
        _ => None,
    };
    let (stored, shown) = match &entry.state {
        State::Stored(stored) => (Some(stored), Some(stored)),
        State::Pending { before, .. } => (None, before.as_ref()),
    };
    let mut orphans = entry.orphans.clone();
    if let State::Pending { mint, .. } = &entry.state {
        orphans.push(mint.clone());
    }
    Ok(TokenFacts {
        secret: entry.secret.clone(),
        secret_uid: secret.as_ref().and_then(super::uid).map(str::to_owned),
        value_hash: shown.map(|s| s.value.clone()),
        minted_at: shown.map(|s| s.minted_at),
        expires_at: shown.and_then(|s| s.expires_at),
        mints: entry.mints,
        due: match due {
            Due::No => untied.map(|object| format!("it is tied to {object} as it is now; nothing is minted")),
            Due::Gone if stored.is_none() => Some("an interrupted mint is looked into".into()),
            Due::Gone => Some(format!("a new one is minted: {}", Why::Gone)),
            Due::Rotation(why) => Some(format!("a new one is minted: {why}")),
        },
        foreign: stored
            .zip(live)
            .is_some_and(|(s, live)| live.mark(&record.key) != s.value),
        orphans,
        text: entry.text.clone(),
    })
}

/// An object that a stored value should be tied to and that exists by now.
async fn untied(
    cluster: &dyn Cluster,
    entry: &Entry,
    stored: &Stored,
    cancel: &CancellationToken,
) -> Result<Option<String>, ClusterError> {
    let asked: Value = serde_json::from_str(&entry.text).unwrap_or_default();
    let names = asked.get("rotateWith").and_then(Value::as_array).into_iter().flatten();
    for text in names
        .filter_map(Value::as_str)
        .filter(|text| !stored.tied_to.contains_key(*text))
    {
        let Some((kind, name)) = text.split_once('/') else {
            continue;
        };
        let object = ObjectName {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        if uid_of(cluster, &entry.secret.0, &object, cancel).await?.is_some() {
            return Ok(Some(text.to_owned()));
        }
    }
    Ok(None)
}

/// Whether a key of a Secret holds a value, and the Secret's UID. Needed to import a value that no record names.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub async fn value_is_there(
    cluster: &dyn Cluster,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Option<String>, ClusterError> {
    let target = Target {
        resource: kinds::known("v1", "Secret"),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let secret = retrying(&CancellationToken::new(), || cluster.get(&target)).await?;
    let secret = secret.filter(|s| value_in(s, key).is_some());
    Ok(secret.as_ref().and_then(super::uid).map(str::to_owned))
}

/// Reads a key of a Secret for another program. `Ok(None)`: there is no such Secret or key.
///
/// # Errors
/// When the cluster cannot be reached or refuses.
pub async fn read_value(
    cluster: &dyn Cluster,
    namespace: &str,
    name: &str,
    key: &str,
) -> Result<Option<SecretValue>, ClusterError> {
    let target = Target {
        resource: kinds::known("v1", "Secret"),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let secret = retrying(&CancellationToken::new(), || cluster.get(&target)).await?;
    Ok(secret.as_ref().and_then(|s| value_in(s, key)))
}

/// Whether a recorded token needs a new value, as far as record and cluster tell without its document.
enum Due {
    /// No.
    No,
    /// Its Secret or key is gone.
    Gone,
    /// It should be rotated, for this reason.
    Rotation(String),
}

async fn due(
    cluster: &dyn Cluster,
    entry: &Entry,
    is_there: bool,
    cancel: &CancellationToken,
) -> Result<Due, ClusterError> {
    let namespace = &entry.secret.0;
    let State::Stored(stored) = &entry.state else {
        return Ok(Due::Gone);
    };
    if !is_there {
        return Ok(Due::Gone);
    }
    let now = jiff::Timestamp::now().as_second();
    if let Some(at) = stored.expires_at.filter(|at| *at <= now) {
        return Ok(Due::Rotation(Why::Expired(at).to_string()));
    }
    for (object, uid) in &stored.tied_to {
        let Some((kind, name)) = object.split_once('/') else {
            continue;
        };
        let tied = ObjectName {
            kind: kind.to_owned(),
            name: name.to_owned(),
        };
        let now = uid_of(cluster, namespace, &tied, cancel).await?;
        if now.is_some_and(|now| now != *uid) {
            return Ok(Due::Rotation(Why::NewObject(object.clone()).to_string()));
        }
    }
    Ok(Due::No)
}
