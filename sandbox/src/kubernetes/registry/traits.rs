//! How resources differ in their verbs: what a PUT may omit, which kinds count generations, what a delete returns. The
//! answers are in the table of `admission::strategy`.

use crate::kubernetes::admission::strategy::{self, Generation, Propagation, Status};
use crate::kubernetes::schema::resources::Resource;

/// Kinds whose objects a PUT may replace without naming a resourceVersion.
pub(crate) fn unconditional_update(resource: &Resource) -> bool {
    strategy::of_resource(resource).unconditional_update
}

/// Kinds that a PUT creates when they are not there.
pub(crate) fn put_creates(resource: &Resource) -> bool {
    strategy::of_resource(resource).create_on_update
}

/// Kinds that count generations of their spec.
pub(crate) fn has_generation(resource: &Resource) -> bool {
    strategy::of_resource(resource).generation != Generation::None
}

/// Kinds whose finished delete answers with the object; others answer with a `Status`.
pub(crate) fn delete_returns_object(resource: &Resource) -> bool {
    strategy::of_resource(resource).returns_deleted
}

/// Whether deleting without a policy leaves the dependents in place.
pub(crate) fn orphans_by_default(resource: &Resource) -> bool {
    strategy::of_resource(resource).propagation != Propagation::Background
}

/// Whether main writes leave `status` alone.
pub(crate) fn keeps_status(resource: &Resource) -> bool {
    match &resource.custom {
        Some(custom) => custom.status,
        None => strategy::of_resource(resource).status != Status::Plain,
    }
}

/// Whether a field selector may name a field.
pub(crate) fn selectable(resource: &Resource, field: &str) -> bool {
    if field == "metadata.name" || (field == "metadata.namespace" && resource.namespaced) {
        return true;
    }
    // The cluster-scoped kinds know the namespace as well; it is empty.
    if field == "metadata.namespace" {
        return resource.is_custom() || !matches!(&*resource.storage, "namespaces" | "nodes");
    }
    if let Some(custom) = &resource.custom {
        return custom
            .selectable
            .iter()
            .any(|path| path.trim_start_matches('.') == field);
    }
    let fields: &[&str] = match &*resource.storage {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.podIPs",
            "status.nominatedNodeName",
        ],
        "nodes" => &["spec.unschedulable"],
        "namespaces" => &["status.phase"],
        "secrets" => &["type"],
        "services" => &["spec.clusterIP", "spec.type"],
        "replicationcontrollers" | "replicasets.apps" => &["status.replicas"],
        "jobs.batch" => &["status.successful"],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
            "regarding.kind",
            "regarding.name",
        ],
        "certificatesigningrequests.certificates.k8s.io" => &["spec.signerName"],
        _ => &[],
    };
    fields.contains(&field)
}

/// What the server says to a field selector on a field that it does not know.
pub(crate) fn unselectable(resource: &Resource, field: &str) -> String {
    let has_own = resource.is_custom()
        || [
            "spec.nodeName",
            "spec.unschedulable",
            "status.phase",
            "type",
            "spec.clusterIP",
            "status.replicas",
        ]
        .iter()
        .chain(&["status.successful", "involvedObject.kind", "spec.signerName"])
        .any(|own| selectable(resource, own));
    if has_own {
        return format!("field label not supported: {field}");
    }
    format!("\"{field}\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
}
