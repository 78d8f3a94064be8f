//! Reads and writes the record. Every write names the version that it replaces, so that two writers cannot interleave.

use super::{Owner, Record, StackId, from_secret, to_secret};
use crate::cluster::{Cluster, ClusterError, Mode, Precondition, Propagation, Target, first_contact, kinds, retrying};
use crate::diagnostic::Diagnostic;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// What to do when the server does not know the caller.
pub(crate) const UNKNOWN_CALLER: &str =
    "the server does not accept these credentials: the token has expired or belongs to another cluster; renew them";

/// The version of a stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// UID of the Secret.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
}

/// A record and its version.
#[derive(Debug, Clone)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// Its version.
    pub version: Version,
}

/// Why the record could not be read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Somebody else wrote it since we read it.
    #[error("another run has written the record meanwhile")]
    Superseded,
    /// It exists but is not a record of this stack.
    #[error("{0}")]
    Unreadable(String),
    /// It cannot be written as a Secret.
    #[error("{0}")]
    TooLarge(String),
    /// It belongs to another owner.
    #[error("the stack is owned by {0}")]
    Owned(Owner),
    /// The cluster refused or did not answer.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
}

impl RecordError {
    /// As a diagnostic.
    #[must_use]
    pub fn diagnostic(&self, stack: &StackId, doing: &str) -> Diagnostic {
        let summary = format!("{doing} the record of {} failed", stack.title());
        let fix = match self {
            Self::Superseded => "two applies ran at once; run it again".into(),
            Self::Unreadable(_) => format!(
                "look at it with `kubectl -n {} get secret {} -o yaml`; if it is beyond repair, delete it: the next apply finds \
                 the stack's objects again by their label",
                stack.namespace,
                stack.record_name()
            ),
            Self::TooLarge(_) => String::new(),
            Self::Owned(owner) => format!("hand it over first, or destroy it through {owner}"),
            Self::Cluster(e) if e.is_unauthenticated() => UNKNOWN_CALLER.to_owned(),
            Self::Cluster(e) if e.is_denied() => format!(
                "allow get, create, update and delete of Secrets in namespace {}: the record is kept there",
                stack.namespace
            ),
            Self::Cluster(e) if e.is_not_found() => format!(
                "namespace {} has to be there first: make it before, or name another",
                stack.namespace
            ),
            Self::Cluster(_) => String::new(),
        };
        Diagnostic::error(summary).detail(format!("{self}\n{fix}").trim_end().to_owned())
    }
}

fn target(stack: &StackId) -> Target {
    Target {
        resource: kinds::known("v1", "Secret"),
        namespace: stack.namespace.clone(),
        name: stack.record_name(),
    }
}

fn version_of(secret: &Value) -> Version {
    let text = |p: &str| secret.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    Version {
        uid: text("/metadata/uid"),
        resource_version: text("/metadata/resourceVersion"),
    }
}

/// Reads the record of a stack; None when there is none.
///
/// # Errors
/// When the cluster refuses or does not answer, or the Secret is not the stack's record.
pub async fn read(
    cluster: &dyn Cluster,
    stack: &StackId,
    cancel: &CancellationToken,
) -> Result<Option<Stored>, RecordError> {
    let target = target(stack);
    // Every observation of a stack begins here.
    let Some(secret) = first_contact(cancel, || cluster.get(&target)).await? else {
        return Ok(None);
    };
    let record = from_secret(stack, &secret).map_err(RecordError::Unreadable)?;
    Ok(Some(Stored {
        record,
        version: version_of(&secret),
    }))
}

/// Writes the record over the version it was read at; None creates it. Increments its serial.
///
/// # Errors
/// [`RecordError::Superseded`] when that version is no longer the newest; otherwise as [`read`], or too large.
pub async fn write(
    cluster: &dyn Cluster,
    record: &mut Record,
    previous: Option<&Version>,
    cancel: &CancellationToken,
) -> Result<Version, RecordError> {
    record.serial += 1;
    let target = target(&record.stack);
    let mut secret = to_secret(record).map_err(RecordError::TooLarge)?;
    let sent = match previous {
        None => retrying(cancel, || cluster.create(&target, &secret, Mode::Real)).await,
        Some(version) => {
            secret["metadata"]["resourceVersion"] = version.resource_version.as_str().into();
            secret["metadata"]["uid"] = version.uid.as_str().into();
            retrying(cancel, || cluster.update(&target, &secret)).await
        }
    };
    match sent {
        Ok(stored) => Ok(version_of(&stored)),
        // Either another writer was faster, or an earlier attempt of ours took effect and its answer was lost.
        Err(e) if e.is_conflict() || e.is_not_found() && previous.is_some() => {
            match read(cluster, &record.stack, cancel).await? {
                Some(now) if now.record.run == record.run && now.record.serial == record.serial => Ok(now.version),
                _ => Err(RecordError::Superseded),
            }
        }
        Err(e) => Err(e.into()),
    }
}

/// Deletes the record at a version. Gone already is success.
///
/// # Errors
/// As [`write`].
pub async fn delete(
    cluster: &dyn Cluster,
    stack: &StackId,
    version: &Version,
    cancel: &CancellationToken,
) -> Result<(), RecordError> {
    let target = target(stack);
    let precondition = Precondition {
        uid: version.uid.clone(),
        resource_version: Some(version.resource_version.clone()),
    };
    match retrying(cancel, || {
        cluster.delete(&target, &precondition, Propagation::Background, Mode::Real)
    })
    .await
    {
        Err(e) if e.is_conflict() => Err(RecordError::Superseded),
        Err(e) if !e.is_not_found() => Err(e.into()),
        _ => Ok(()),
    }
}

/// Gives the stack from one owner to another. The objects are not touched. Done already is success.
///
/// # Errors
/// [`RecordError::Owned`] when it is neither's; otherwise as [`read`] and [`write`].
pub async fn hand_over(
    cluster: &dyn Cluster,
    stack: &StackId,
    from: &Owner,
    to: &Owner,
    run: &str,
    cancel: &CancellationToken,
) -> Result<(), RecordError> {
    let Some(mut stored) = read(cluster, stack, cancel).await? else {
        return Err(RecordError::Unreadable("there is no such stack in this cluster".into()));
    };
    if stored.record.owner == *to {
        return Ok(());
    }
    if stored.record.owner != *from {
        return Err(RecordError::Owned(stored.record.owner));
    }
    stored.record.owner = to.clone();
    stored.record.run = run.to_owned();
    write(cluster, &mut stored.record, Some(&stored.version), cancel)
        .await
        .map(|_| ())
}
