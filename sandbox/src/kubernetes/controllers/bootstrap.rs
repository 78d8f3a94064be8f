//! What the controllers' side of a cluster has before anybody uses it: nodes and a storage class.

use serde_json::{Value, json};

use super::Provisioner;
use super::object;
use super::world::World;
use crate::kubernetes::registry::Actor;

/// Make what is not there.
pub(super) fn run(world: &mut World) {
    for node in world.config.nodes.clone() {
        let body = json!({
            "metadata": {"name": node.name, "labels": {
                "kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64",
            }},
        });
        make(world, "nodes", "", &body);
    }
    if let Some(provisioner) = &world.config.provisioner {
        let class = json!({
            "metadata": {"name": Provisioner::CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": Provisioner::NAME,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": if provisioner.waits_for_consumer { "WaitForFirstConsumer" } else { "Immediate" },
        });
        make(world, "storageclasses.storage.k8s.io", "", &class);
    }
}

fn make(world: &World, resource: &str, namespace: &str, body: &Value) {
    if let Err(failure) = world
        .registry
        .create(&Actor::server(), resource, namespace, body.clone())
        && !failure.is_already_exists()
    {
        tracing::error!(resource, name = object::name(body), %failure.message, "a cluster without this object is not what it says it is");
    }
}
