//! Looking at a token: whether its key holds a value, whose mint made it, and which objects it is tied to.

use crate::cluster::{Cluster, ClusterError, Target, kinds, retrying};
use crate::document::{ObjectName, ProvisioningToken, SecretTarget};
use crate::mask::MaskKey;
use crate::token::{Seen, SecretValue, mint_annotation};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use std::collections::BTreeMap;
use tokio_util::sync::CancellationToken;

/// Where a token's Secret lives.
pub(crate) fn secret_target(secret: &SecretTarget) -> Target {
    Target {
        resource: kinds::known("v1", "Secret"),
        namespace: secret.namespace.clone(),
        name: secret.name.clone(),
    }
}

/// Looks once. A value is turned into its mark at once and kept nowhere.
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
    let mint = secret
        .as_ref()
        .and_then(|s| s.pointer("/metadata/annotations")?.get(&annotation)?.as_str().map(str::to_owned));
    let mut tied_to = BTreeMap::new();
    for object in &token.rotate_with {
        if let Some(uid) = uid_of(cluster, &token.secret.namespace, object, cancel).await? {
            tied_to.insert(object.to_string(), uid);
        }
    }
    Ok(Seen { value: value.map(|v| v.mark(key)), mint, tied_to })
}

/// The value at a key of a Secret.
pub(crate) fn value_in(secret: &Value, key: &str) -> Option<SecretValue> {
    let text = secret.get("data")?.get(key)?.as_str()?;
    BASE64_STANDARD.decode(text).ok().map(SecretValue::new).filter(|v| !v.expose().is_empty())
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
    let Some(resource) = kinds::built_in(version, &object.kind) else { return Ok(None) };
    let target = Target { resource, namespace: namespace.to_owned(), name: object.name.clone() };
    let live = retrying(cancel, || cluster.get(&target)).await?;
    Ok(live.and_then(|o| o.pointer("/metadata/uid")?.as_str().map(str::to_owned)))
}
