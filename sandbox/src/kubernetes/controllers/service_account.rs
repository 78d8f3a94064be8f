//! What every namespace gets: the default ServiceAccount and the cluster's root certificate.

use serde_json::json;

use super::object::{self, Key};
use super::world::{Outcome, Seen, Who, World};
use crate::kubernetes::registry::Failure;

const ROOT: &str = "kube-root-ca.crt";

pub(super) fn observe(world: &mut World, seen: &Seen) {
    match &*seen.resource {
        "namespaces" if !seen.gone() && !seen.object.is_deleting() => {
            world.enqueue(Who::ServiceAccount, object::key_of(seen.value()));
        }
        "serviceaccounts" if seen.gone() && seen.object.name() == "default" => {
            world.enqueue(Who::ServiceAccount, object::key("", seen.object.namespace()));
        }
        "configmaps" if seen.object.name() == ROOT => {
            world.enqueue(Who::ServiceAccount, object::key("", seen.object.namespace()));
        }
        _ => {}
    }
}

pub(super) fn sync(world: &mut World, key: &Key) -> Outcome {
    let Some(space) = world.cache.get("namespaces", key) else {
        return Outcome::Done;
    };
    if space.is_deleting() {
        return Outcome::Done;
    }
    ensure(world, space.name()).into()
}

fn ensure(world: &mut World, namespace: &str) -> Result<(), Failure> {
    if world.cache.find("serviceaccounts", namespace, "default").is_none() {
        exists(world.create("serviceaccounts", namespace, json!({"metadata": {"name": "default"}})))?;
    }
    let certificate = world.config.root_certificate.clone();
    let data = json!({"ca.crt": certificate});
    match world.cache.find("configmaps", namespace, ROOT) {
        None => {
            let note = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or \
                        kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
            let body =
                json!({"metadata": {"name": ROOT, "annotations": {"kubernetes.io/description": note}}, "data": data});
            exists(world.create("configmaps", namespace, body))
        }
        Some(map) if map.value()["data"] != data => {
            let mut next = map.value().clone();
            next["data"] = data;
            world.update("configmaps", next).map(|_| ())
        }
        Some(_) => Ok(()),
    }
}

fn exists<T>(result: Result<T, Failure>) -> Result<(), Failure> {
    match result {
        Err(failure) if !failure.is_already_exists() => Err(failure),
        _ => Ok(()),
    }
}
