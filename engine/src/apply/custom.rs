//! Finds the kinds that CRDs add to the cluster, because nothing else would notice their objects.
//!
//! The objects themselves are not read here.

use crate::cluster::{Cluster, ClusterError, Resource, Selection, kinds, retrying};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Every kind that a CRD defines, at one served version.
pub(super) async fn custom_kinds(
    cluster: &dyn Cluster,
    cancel: &CancellationToken,
) -> Result<Vec<Resource>, ClusterError> {
    let definitions = kinds::known("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let all = Selection::default();
    let list = retrying(cancel, || cluster.list(&definitions, &all)).await?;
    let text = |v: &Value, p: &str| v.pointer(p).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = |definition: &Value| {
        let versions = definition.pointer("/spec/versions")?.as_array()?;
        let served = versions.iter().find(|v| v.get("served") == Some(&Value::Bool(true)))?;
        Some(Resource {
            group: text(definition, "/spec/group"),
            version: text(served, "/name"),
            kind: text(definition, "/spec/names/kind"),
            plural: text(definition, "/spec/names/plural"),
            namespaced: text(definition, "/spec/scope") == "Namespaced",
            has_status: Some(served.pointer("/subresources/status").is_some()),
        })
    };
    Ok(list.items.iter().filter_map(kind).collect())
}
