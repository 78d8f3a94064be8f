//! Where in the repository every object of a source comes from: one ConfigMap per source, written when a commit is
//! taken, so that `myelin why` answers from the cluster alone.
//!
//! It is an index for users. Nothing is decided by it, and a source works without it.

use crate::control::make_namespace;
use crate::deployment::WantedCommit;
use crate::field_index;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use myelin_engine::cluster::{Cluster, ClusterError, Mode, Target, kinds};
use myelin_engine::object::ObjectKey;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};

/// A ConfigMap holds 1 MiB; base64 takes a third of it.
const LARGEST: usize = 700 << 10;
/// What it may become when it is read. A larger one was not written by us.
const LARGEST_TEXT: u64 = 64 << 20;
/// Field manager of the index.
const MANAGER: &str = "myelin-reconciler";

/// Where objects come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origins {
    /// The commit that it speaks of.
    pub(crate) commit: String,
    /// `file:line` for each object.
    pub(crate) places: BTreeMap<ObjectKey, String>,
    /// The fields of each, as `field_index` packs them; None where that would be too much.
    pub(crate) fields: Option<Vec<u8>>,
}

impl Origins {
    /// Of everything that a commit renders.
    pub(crate) fn of(commit: &str, wanted: &WantedCommit) -> Self {
        let places = wanted.stacks.iter().flat_map(|stack| {
            let place = |object: &myelin_engine::desired::DesiredObject| stack.place_of(object).to_string();
            stack
                .desired
                .objects
                .iter()
                .map(move |object| (object.key.clone(), place(object)))
        });
        Self {
            commit: commit.to_owned(),
            places: places.collect(),
            fields: field_index::pack(wanted, LARGEST),
        }
    }

    /// Reads the index of a source; empty when there is none.
    ///
    /// # Errors
    /// When the cluster refuses or does not answer.
    pub(crate) async fn read(cluster: &dyn Cluster, namespace: &str, source: &str) -> Result<Self, ClusterError> {
        let found = cluster.get(&target(namespace, source)).await?;
        Ok(found.as_ref().and_then(unpack).unwrap_or_default())
    }

    /// Writes the index, unless the cluster has the one of this commit.
    ///
    /// # Errors
    /// As [`Origins::read`].
    pub(crate) async fn write(&self, cluster: &dyn Cluster, namespace: &str, source: &str) -> Result<(), ClusterError> {
        let target = target(namespace, source);
        let Some(packed) = pack(&self.places) else {
            tracing::warn!(
                source,
                "the index of origins is too large for a ConfigMap and was not written"
            );
            return Ok(());
        };
        let mut binary = json!({"origins.gz": encoded(&packed)});
        // What is the larger part of it is worth less.
        if let Some(fields) = self
            .fields
            .as_ref()
            .filter(|fields| packed.len() + fields.len() <= LARGEST)
        {
            binary["fields.gz"] = encoded(fields).into();
        }
        let body = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": target.name,
                "namespace": namespace,
                "labels": {"app.kubernetes.io/managed-by": "myelin"},
            },
            "data": {"commit": self.commit},
            "binaryData": binary,
        });
        let send = || cluster.apply_as(MANAGER, &target, &body, true, Mode::Real);
        let sent = match send().await {
            Err(error) if error.is_not_found() => {
                make_namespace(cluster, namespace).await?;
                send().await
            }
            other => other,
        };
        sent.map(|_| ())
    }
}

fn target(namespace: &str, source: &str) -> Target {
    Target {
        resource: kinds::known("v1", "ConfigMap"),
        namespace: namespace.to_owned(),
        name: format!("myelin-origins-{source}"),
    }
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn pack(places: &BTreeMap<ObjectKey, String>) -> Option<Vec<u8>> {
    let text = serde_json::to_vec(places).ok()?;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text).ok()?;
    let bytes = encoder.finish().ok()?;
    (bytes.len() <= LARGEST).then_some(bytes)
}

fn unpack(object: &Value) -> Option<Origins> {
    use base64::Engine as _;
    let binary = |name: &str| {
        let packed = object.get("binaryData")?.get(name)?.as_str()?;
        base64::engine::general_purpose::STANDARD.decode(packed).ok()
    };
    let bytes = binary("origins.gz")?;
    let mut text = Vec::new();
    GzDecoder::new(&*bytes).take(LARGEST_TEXT).read_to_end(&mut text).ok()?;
    Some(Origins {
        commit: object.pointer("/data/commit")?.as_str()?.to_owned(),
        places: serde_json::from_slice(&text).ok()?,
        fields: binary("fields.gz"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_read_again_and_rubbish_is_no_index() {
        let places = BTreeMap::from([(
            ObjectKey::new("", "ConfigMap", "shop", "paint"),
            "one/map.yaml:3".to_owned(),
        )]);
        let packed = pack(&places).expect("small");
        let object = json!({"data": {"commit": "abc"}, "binaryData": {"origins.gz": encoded(&packed)}});
        let read = unpack(&object).expect("an index");
        assert_eq!((read.commit.as_str(), read.places), ("abc", places));
        for rubbish in [
            json!({}),
            json!({"data": {"commit": "a"}, "binaryData": {"origins.gz": "!!"}}),
        ] {
            assert_eq!(unpack(&rubbish), None);
        }
    }
}
