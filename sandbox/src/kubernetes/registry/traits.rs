//! How resources differ in their verbs: what a PUT may leave out, which kinds count generations, what a delete returns.
//!
//! Each rule is the recorded behaviour of the real server's storage strategies.

use crate::kubernetes::schema::resources::Resource;

/// Kinds whose objects a PUT may replace without naming a resourceVersion.
pub(crate) fn unconditional_update(resource: &Resource) -> bool {
    if resource.is_custom() {
        return false;
    }
    !matches!(
        &*resource.storage,
        "leases.coordination.k8s.io"
            | "poddisruptionbudgets.policy"
            | "customresourcedefinitions.apiextensions.k8s.io"
            | "ipaddresses.networking.k8s.io"
            | "mutatingwebhookconfigurations.admissionregistration.k8s.io"
            | "validatingwebhookconfigurations.admissionregistration.k8s.io"
            | "validatingadmissionpolicies.admissionregistration.k8s.io"
            | "validatingadmissionpolicybindings.admissionregistration.k8s.io"
            | "mutatingadmissionpolicies.admissionregistration.k8s.io"
            | "mutatingadmissionpolicybindings.admissionregistration.k8s.io"
            | "csidrivers.storage.k8s.io"
            | "csinodes.storage.k8s.io"
            | "csistoragecapacities.storage.k8s.io"
            | "volumeattachments.storage.k8s.io"
            | "volumeattributesclasses.storage.k8s.io"
    )
}

/// Kinds that a PUT creates when they are not there.
pub(crate) fn put_creates(resource: &Resource) -> bool {
    matches!(
        &*resource.storage,
        "leases.coordination.k8s.io"
            | "events"
            | "limitranges"
            | "nodes"
            | "services"
            | "endpoints"
            | "clusterroles.rbac.authorization.k8s.io"
            | "clusterrolebindings.rbac.authorization.k8s.io"
            | "roles.rbac.authorization.k8s.io"
            | "rolebindings.rbac.authorization.k8s.io"
            | "csidrivers.storage.k8s.io"
    ) && !matches!(&*resource.storage, "services" | "nodes" | "endpoints" | "limitranges")
}

/// Kinds that count generations of their spec.
pub(crate) fn has_generation(resource: &Resource) -> bool {
    if resource.is_custom() {
        return true;
    }
    matches!(
        &*resource.storage,
        "pods"
            | "replicationcontrollers"
            | "deployments.apps"
            | "replicasets.apps"
            | "statefulsets.apps"
            | "daemonsets.apps"
            | "jobs.batch"
            | "cronjobs.batch"
            | "poddisruptionbudgets.policy"
            | "ingresses.networking.k8s.io"
            | "ingressclasses.networking.k8s.io"
            | "networkpolicies.networking.k8s.io"
            | "servicecidrs.networking.k8s.io"
            | "customresourcedefinitions.apiextensions.k8s.io"
            | "endpointslices.discovery.k8s.io"
            | "mutatingwebhookconfigurations.admissionregistration.k8s.io"
            | "validatingwebhookconfigurations.admissionregistration.k8s.io"
            | "validatingadmissionpolicies.admissionregistration.k8s.io"
            | "validatingadmissionpolicybindings.admissionregistration.k8s.io"
            | "mutatingadmissionpolicies.admissionregistration.k8s.io"
            | "mutatingadmissionpolicybindings.admissionregistration.k8s.io"
            | "priorityclasses.scheduling.k8s.io"
    )
}

/// Kinds whose finished delete answers with the object; others answer with a `Status`.
pub(crate) fn delete_returns_object(resource: &Resource) -> bool {
    matches!(
        &*resource.storage,
        "pods"
            | "services"
            | "serviceaccounts"
            | "persistentvolumes"
            | "persistentvolumeclaims"
            | "podtemplates"
            | "resourcequotas"
    )
}

/// Whether deleting without a policy leaves the dependents in place.
pub(crate) fn orphans_by_default(resource: &Resource) -> bool {
    matches!(&*resource.storage, "replicationcontrollers" | "jobs.batch")
}

/// Whether main writes leave `status` alone.
pub(crate) fn keeps_status(resource: &Resource) -> bool {
    match &resource.custom {
        Some(custom) => custom.status,
        None => resource.subresource("status").is_some(),
    }
}
