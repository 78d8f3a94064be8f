//! How the server's types serialize: which optional fields keep a zero, and which are written even if unset.
//!
//! The published schemas do not say this. In general, an empty optional field is omitted and a required one is written;
//! the tables below hold the exceptions, by the last part of the type's name.

/// Optional scalars that can hold a zero: `false`, `0` and `""` are something else than absent.
const KEEPS_ZERO: &[(&str, &str)] = &[
    (
        "PodSpec",
        "terminationGracePeriodSeconds activeDeadlineSeconds automountServiceAccountToken shareProcessNamespace \
         setHostnameAsFQDN priority enableServiceLinks preemptionPolicy runtimeClassName hostUsers hostnameOverride",
    ),
    ("Container", "restartPolicy"),
    ("EphemeralContainer", "restartPolicy"),
    (
        "SecurityContext",
        "privileged runAsUser runAsGroup runAsNonRoot readOnlyRootFilesystem allowPrivilegeEscalation procMount",
    ),
    (
        "PodSecurityContext",
        "runAsUser runAsGroup runAsNonRoot fsGroup fsGroupChangePolicy supplementalGroupsPolicy seLinuxChangePolicy",
    ),
    (
        "WindowsSecurityContextOptions",
        "gmsaCredentialSpecName gmsaCredentialSpec runAsUserName hostProcess",
    ),
    ("SeccompProfile", "localhostProfile"),
    ("AppArmorProfile", "localhostProfile"),
    ("Probe", "terminationGracePeriodSeconds"),
    ("GRPCAction", "service"),
    ("ConfigMapKeySelector", "optional"),
    ("SecretKeySelector", "optional"),
    ("FileKeySelector", "optional"),
    ("ConfigMapEnvSource", "optional"),
    ("SecretEnvSource", "optional"),
    ("ConfigMapVolumeSource", "optional defaultMode"),
    ("SecretVolumeSource", "optional defaultMode"),
    ("ConfigMapProjection", "optional"),
    ("SecretProjection", "optional"),
    ("ClusterTrustBundleProjection", "name signerName optional"),
    ("DownwardAPIVolumeSource", "defaultMode"),
    ("ProjectedVolumeSource", "defaultMode"),
    ("KeyToPath", "mode"),
    ("DownwardAPIVolumeFile", "mode"),
    ("ServiceAccountTokenProjection", "expirationSeconds"),
    ("PodCertificateProjection", "maxExpirationSeconds"),
    ("HostPathVolumeSource", "type"),
    ("VolumeMount", "mountPropagation recursiveReadOnly"),
    ("CSIVolumeSource", "readOnly fsType"),
    ("ISCSIVolumeSource", "initiatorName"),
    ("ISCSIPersistentVolumeSource", "initiatorName"),
    ("AzureDiskVolumeSource", "cachingMode fsType readOnly kind"),
    ("FCVolumeSource", "lun"),
    ("LocalVolumeSource", "fsType"),
    ("Toleration", "tolerationSeconds"),
    ("PodDNSConfigOption", "value"),
    (
        "TopologySpreadConstraint",
        "minDomains nodeAffinityPolicy nodeTaintsPolicy",
    ),
    ("ObjectMeta", "deletionGracePeriodSeconds"),
    ("OwnerReference", "controller blockOwnerDeletion"),
    (
        "DeploymentSpec",
        "replicas revisionHistoryLimit progressDeadlineSeconds",
    ),
    ("DeploymentStatus", "collisionCount terminatingReplicas"),
    ("ReplicaSetSpec", "replicas"),
    ("ReplicaSetStatus", "terminatingReplicas"),
    ("StatefulSetSpec", "replicas revisionHistoryLimit"),
    ("RollingUpdateStatefulSetStrategy", "partition"),
    ("StatefulSetStatus", "collisionCount"),
    ("DaemonSetSpec", "revisionHistoryLimit"),
    ("DaemonSetStatus", "collisionCount"),
    (
        "PodDisruptionBudgetStatus",
        "disruptionsAllowed currentHealthy desiredHealthy expectedPods",
    ),
    ("ReplicationControllerSpec", "replicas"),
    (
        "JobSpec",
        "parallelism completions activeDeadlineSeconds backoffLimit backoffLimitPerIndex maxFailedIndexes manualSelector \
         ttlSecondsAfterFinished completionMode suspend podReplacementPolicy managedBy",
    ),
    ("JobStatus", "terminating ready failedIndexes"),
    ("PodFailurePolicyOnExitCodesRequirement", "containerName"),
    ("SuccessPolicyRule", "succeededIndexes succeededCount"),
    (
        "CronJobSpec",
        "startingDeadlineSeconds suspend successfulJobsHistoryLimit failedJobsHistoryLimit timeZone",
    ),
    (
        "ServiceSpec",
        "ipFamilyPolicy allocateLoadBalancerNodePorts loadBalancerClass internalTrafficPolicy trafficDistribution",
    ),
    ("ServicePort", "appProtocol"),
    ("ClientIPConfig", "timeoutSeconds"),
    ("LoadBalancerIngress", "ipMode"),
    ("PortStatus", "error"),
    ("IngressPortStatus", "error"),
    (
        "PersistentVolumeClaimSpec",
        "storageClassName volumeMode volumeAttributesClassName",
    ),
    ("PersistentVolumeClaimStatus", "currentVolumeAttributesClassName"),
    ("PersistentVolumeSpec", "volumeMode volumeAttributesClassName"),
    ("TypedLocalObjectReference", "apiGroup"),
    ("TypedObjectReference", "apiGroup namespace"),
    ("Secret", "immutable"),
    ("ConfigMap", "immutable"),
    ("ServiceAccount", "automountServiceAccountToken"),
    ("EndpointPort", "name protocol port appProtocol"),
    ("EndpointConditions", "ready serving terminating"),
    ("Endpoint", "hostname nodeName zone"),
    ("EndpointAddress", "nodeName"),
    ("ContainerStatus", "started"),
    ("NodeRuntimeHandlerFeatures", "recursiveReadOnlyMounts userNamespaces"),
    ("NodeFeatures", "supplementalGroupsPolicy"),
    ("NodeSwapStatus", "capacity"),
    (
        "HorizontalPodAutoscalerSpec",
        "minReplicas targetCPUUtilizationPercentage",
    ),
    (
        "HorizontalPodAutoscalerStatus",
        "observedGeneration currentCPUUtilizationPercentage",
    ),
    ("HPAScalingRules", "stabilizationWindowSeconds selectPolicy"),
    ("MetricTarget", "averageUtilization"),
    ("MetricValueStatus", "averageUtilization"),
    ("PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy"),
    ("IngressSpec", "ingressClassName"),
    ("IngressClassParametersReference", "apiGroup scope namespace"),
    ("NetworkPolicyPort", "protocol endPort"),
    ("StorageClass", "reclaimPolicy allowVolumeExpansion volumeBindingMode"),
    (
        "CSIDriverSpec",
        "attachRequired podInfoOnMount storageCapacity fsGroupPolicy requiresRepublish seLinuxMount \
         nodeAllocatableUpdatePeriodSeconds serviceAccountTokenInSecrets",
    ),
    ("TokenRequest", "expirationSeconds"),
    ("TokenRequestSpec", "expirationSeconds"),
    ("VolumeNodeResources", "count"),
    ("VolumeAttachmentSource", "persistentVolumeName"),
    ("VolumeError", "errorCode"),
    ("PriorityClass", "preemptionPolicy"),
    (
        "LeaseSpec",
        "holderIdentity leaseDurationSeconds leaseTransitions strategy preferredHolder",
    ),
    (
        "MutatingWebhook",
        "failurePolicy matchPolicy timeoutSeconds reinvocationPolicy",
    ),
    ("ValidatingWebhook", "failurePolicy matchPolicy timeoutSeconds"),
    ("WebhookClientConfig", "url"),
    ("ServiceReference", "path port"),
    ("RuleWithOperations", "scope"),
    ("NamedRuleWithOperations", "scope"),
    ("ValidatingAdmissionPolicySpec", "failurePolicy"),
    ("MutatingAdmissionPolicySpec", "failurePolicy"),
    ("MatchResources", "matchPolicy"),
    ("ParamRef", "parameterNotFoundAction"),
    ("Validation", "reason"),
    ("ValidationRule", "reason optionalOldSelf"),
    ("CustomResourceDefinitionVersion", "deprecationWarning"),
    ("CustomResourceSubresourceScale", "labelSelectorPath"),
    (
        "JSONSchemaProps",
        "maximum minimum maxLength minLength maxItems minItems multipleOf maxProperties minProperties \
         x-kubernetes-preserve-unknown-fields x-kubernetes-list-type x-kubernetes-map-type",
    ),
    ("CertificateSigningRequestSpec", "expirationSeconds"),
    ("DeleteOptions", "gracePeriodSeconds orphanDependents propagationPolicy"),
    ("Preconditions", "uid resourceVersion"),
];

/// Optional fields that are written even if unset: embedded structs, times, and a few lists.
const ALWAYS: &[(&str, &str)] = &[
    ("PriorityClass", "value"),
    (
        "PodDisruptionBudgetStatus",
        "disruptionsAllowed currentHealthy desiredHealthy expectedPods",
    ),
    ("PodTemplateSpec", "metadata spec"),
    ("JobTemplateSpec", "metadata spec"),
    ("PersistentVolumeClaimTemplate", "metadata spec"),
    ("DeploymentSpec", "strategy"),
    ("ReplicaSetSpec", "template"),
    ("DaemonSetSpec", "updateStrategy"),
    ("StatefulSetSpec", "updateStrategy"),
    ("StatefulSetStatus", "availableReplicas"),
    ("Container", "resources"),
    ("PersistentVolumeClaimSpec", "resources"),
    ("ServiceStatus", "loadBalancer"),
    ("IngressStatus", "loadBalancer"),
    ("IngressServiceBackend", "port"),
    ("NodeStatus", "daemonEndpoints nodeInfo"),
    ("NodeDaemonEndpoints", "kubeletEndpoint"),
    (
        "Event",
        "source firstTimestamp lastTimestamp eventTime reportingComponent reportingInstance regarding deprecatedSource \
         deprecatedFirstTimestamp deprecatedLastTimestamp",
    ),
    ("ContainerStatus", "state lastState"),
    ("ContainerStateRunning", "startedAt"),
    ("ContainerStateTerminated", "startedAt finishedAt"),
    ("PodCondition", "lastProbeTime lastTransitionTime"),
    ("NodeCondition", "lastHeartbeatTime lastTransitionTime"),
    ("DeploymentCondition", "lastUpdateTime lastTransitionTime"),
    ("ReplicaSetCondition", "lastTransitionTime"),
    ("StatefulSetCondition", "lastTransitionTime"),
    ("DaemonSetCondition", "lastTransitionTime"),
    ("ReplicationControllerCondition", "lastTransitionTime"),
    ("JobCondition", "lastProbeTime lastTransitionTime"),
    ("PersistentVolumeClaimCondition", "lastProbeTime lastTransitionTime"),
    ("NamespaceCondition", "lastTransitionTime"),
    ("HorizontalPodAutoscalerCondition", "lastTransitionTime"),
    ("HorizontalPodAutoscalerStatus", "currentMetrics"),
    ("CustomResourceDefinitionCondition", "lastTransitionTime"),
    (
        "CustomResourceDefinitionStatus",
        "conditions acceptedNames storedVersions",
    ),
    ("APIServiceCondition", "lastTransitionTime"),
    (
        "CertificateSigningRequestCondition",
        "lastUpdateTime lastTransitionTime",
    ),
    ("Endpoint", "conditions"),
    ("EndpointSlice", "endpoints ports"),
    ("ResourceFieldSelector", "divisor"),
    ("NetworkPolicySpec", "podSelector"),
    (
        "PodDisruptionBudgetStatus",
        "disruptionsAllowed currentHealthy desiredHealthy expectedPods",
    ),
    ("Role", "rules"),
    ("ClusterRole", "rules"),
];

/// Required fields that hold a pointer: absent means `null`, not an empty value.
const NULL: &[(&str, &str)] = &[
    ("DeploymentSpec", "selector"),
    ("ReplicaSetSpec", "selector"),
    ("StatefulSetSpec", "selector"),
    ("DaemonSetSpec", "selector"),
    ("HTTPIngressPath", "pathType"),
    ("MutatingWebhook", "sideEffects"),
    ("ValidatingWebhook", "sideEffects"),
];

/// Required fields that are left out nevertheless.
const NEVER: &[(&str, &str)] = &[("Event", "metadata")];

fn listed(table: &[(&str, &str)], kind: &str, field: &str) -> bool {
    table
        .iter()
        .any(|(name, fields)| *name == kind && fields.split(' ').any(|one| one == field))
}

/// Whether an optional scalar keeps its zero.
pub(super) fn keeps_zero(kind: &str, field: &str) -> bool {
    listed(KEEPS_ZERO, kind, field)
}

/// What stands for a field that nobody set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unset {
    /// It is left out.
    Absent,
    /// Its type's empty value.
    Zero,
    /// `null`.
    Null,
}

/// What stands for a field that nobody set.
pub(super) fn unset(kind: &str, field: &str, required: bool, is_root: bool) -> Unset {
    if listed(NULL, kind, field) {
        return Unset::Null;
    }
    let zero = required && !listed(NEVER, kind, field)
        || is_root && matches!(field, "spec" | "status")
        || listed(ALWAYS, kind, field);
    if zero { Unset::Zero } else { Unset::Absent }
}
