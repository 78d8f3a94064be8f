//! Defaults of pods and of the pod templates in workloads: containers, probes, ports, volumes.

use serde_json::{Value, json};

use super::super::access::{Fields, default, default_int, default_text, remove, set, struct_mut, sub};
use super::for_each;

/// A pod: the defaults of a template, plus those that only a pod itself gets.
pub(crate) fn pod(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    for list in ["containers", "initContainers"] {
        for_each(spec, list, requests_from_limits);
    }
    requests_from_limits_of_pod(spec);
    default(spec, "enableServiceLinks", true);
    self::spec(spec);
    if let Some(status) = struct_mut(object, "status") {
        default_text(status, "phase", "Pending");
    }
}

/// The template under `field`.
pub(crate) fn template(owner: &mut Value, field: &str) {
    if let Some(template) = struct_mut(owner, field)
        && struct_mut(template, "metadata").is_some()
        && let Some(pod) = struct_mut(template, "spec")
    {
        spec(pod);
    }
}

/// A limit without a request is a request as well.
fn requests_from_limits(container: &mut Value) {
    let Some(resources) = container.get_mut("resources") else {
        return;
    };
    let Some(limits) = resources.map("limits").cloned() else {
        return;
    };
    if let Some(requests) = super::super::access::object_mut(resources, "requests") {
        for (name, amount) in limits {
            requests.entry(name).or_insert(amount);
        }
    }
}

/// The same at the level of the pod, for the resources that may be set there.
fn requests_from_limits_of_pod(spec: &mut Value) {
    if spec.get("resources").is_some_and(Value::is_object) {
        requests_from_limits(spec);
    }
}

/// A pod's spec.
pub(crate) fn spec(spec: &mut Value) {
    default_text(spec, "dnsPolicy", "ClusterFirst");
    default_text(spec, "restartPolicy", "Always");
    default(spec, "securityContext", json!({}));
    default(spec, "terminationGracePeriodSeconds", 30);
    default_text(spec, "schedulerName", "default-scheduler");
    service_account(spec);
    let host_network = spec.yes("hostNetwork");
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for_each(spec, list, |one| container(one, host_network));
    }
    for_each(spec, "volumes", volume);
}

/// `serviceAccount` is the old name of `serviceAccountName`; the server keeps the two the same.
fn service_account(spec: &mut Value) {
    let (new, old) = (
        spec.text("serviceAccountName").to_owned(),
        spec.text("serviceAccount").to_owned(),
    );
    let name = if new.is_empty() { old } else { new };
    if name.is_empty() {
        remove(spec, "serviceAccount");
        remove(spec, "serviceAccountName");
    } else {
        set(spec, "serviceAccountName", name.clone());
        set(spec, "serviceAccount", name);
    }
}

fn container(container: &mut Value, host_network: bool) {
    let policy = pull_policy(container.text("image"));
    default_text(container, "imagePullPolicy", policy);
    default_text(container, "terminationMessagePath", "/dev/termination-log");
    default_text(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    for_each(container, "ports", |port| {
        default_text(port, "protocol", "TCP");
        if host_network && let Some(number) = port.int("containerPort") {
            default_int(port, "hostPort", number);
        }
    });
    for_each(container, "env", |env| {
        if let Some(reference) = env.get_mut("valueFrom").and_then(|from| from.get_mut("fieldRef")) {
            default_text(reference, "apiVersion", "v1");
        }
        if let Some(from) = env
            .get_mut("valueFrom")
            .and_then(|from| from.get_mut("fileKeyRef"))
            .filter(|from| from.is_object())
        {
            default(from, "optional", false);
        }
    });
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(value) = container.get_mut(name).filter(|value| value.is_object()) {
            probe(value);
        }
    }
    for hook in ["postStart", "preStop"] {
        if let Some(get) = container
            .get_mut("lifecycle")
            .and_then(|all| all.get_mut(hook))
            .and_then(|hook| hook.get_mut("httpGet"))
        {
            http_get(get);
        }
    }
}

fn probe(probe: &mut Value) {
    default_int(probe, "timeoutSeconds", 1);
    default_int(probe, "periodSeconds", 10);
    default_int(probe, "successThreshold", 1);
    default_int(probe, "failureThreshold", 3);
    if let Some(get) = probe.get_mut("httpGet") {
        http_get(get);
    }
    if let Some(grpc) = probe.get_mut("grpc") {
        default(grpc, "service", "");
    }
}

fn http_get(get: &mut Value) {
    default_text(get, "path", "/");
    default_text(get, "scheme", "HTTP");
}

/// Images that may change under their tag are pulled each time.
fn pull_policy(image: &str) -> &'static str {
    if image.contains('@') {
        return "IfNotPresent";
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.split_once(':') {
        Some((_, tag)) if tag != "latest" => "IfNotPresent",
        _ => "Always",
    }
}

/// A volume: its source's defaults; a volume of no source is an empty directory.
pub(crate) fn volume(volume: &mut Value) {
    if volume
        .as_object()
        .is_some_and(|map| !map.iter().any(|(key, value)| key != "name" && !value.is_null()))
    {
        set(volume, "emptyDir", json!({}));
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(value) = volume.get_mut(source).filter(|value| value.is_object()) {
            default(value, "defaultMode", 420);
        }
    }
    if let Some(value) = volume.get_mut("downwardAPI") {
        field_refs(value);
    }
    if let Some(value) = volume.get_mut("projected") {
        for_each(value, "sources", |source| {
            if let Some(token) = source.get_mut("serviceAccountToken").filter(|value| value.is_object()) {
                default(token, "expirationSeconds", 3600);
            }
            if let Some(value) = source.get_mut("downwardAPI") {
                field_refs(value);
            }
            if let Some(certificate) = source.get_mut("podCertificate").filter(|value| value.is_object()) {
                default(certificate, "maxExpirationSeconds", 86400);
            }
        });
    }
    if let Some(value) = volume.get_mut("image").filter(|value| value.is_object()) {
        let policy = pull_policy(sub(value, "reference").as_str().unwrap_or_default());
        default_text(value, "pullPolicy", policy);
    }
    if let Some(value) = volume
        .get_mut("ephemeral")
        .and_then(|value| value.get_mut("volumeClaimTemplate"))
    {
        if let Some(spec) = struct_mut(value, "spec") {
            default(spec, "volumeMode", "Filesystem");
        }
        let _ = struct_mut(value, "metadata");
    }
    source(volume);
}

/// What volumes of pods and persistent volumes have in common.
pub(crate) fn source(volume: &mut Value) {
    if let Some(value) = volume.get_mut("hostPath").filter(|value| value.is_object()) {
        default(value, "type", "");
    }
    if let Some(value) = volume.get_mut("iscsi") {
        default_text(value, "iscsiInterface", "default");
    }
    if let Some(value) = volume.get_mut("rbd") {
        default_text(value, "pool", "rbd");
        default_text(value, "user", "admin");
        default_text(value, "keyring", "/etc/ceph/keyring");
    }
    if let Some(value) = volume.get_mut("azureDisk").filter(|value| value.is_object()) {
        default(value, "cachingMode", "ReadWrite");
        default(value, "kind", "Shared");
        default(value, "fsType", "ext4");
        default(value, "readOnly", false);
    }
    if let Some(value) = volume.get_mut("scaleIO") {
        default_text(value, "storageMode", "ThinProvisioned");
        default_text(value, "fsType", "xfs");
    }
}

fn field_refs(value: &mut Value) {
    for_each(value, "items", |item| {
        if let Some(reference) = item.get_mut("fieldRef") {
            default_text(reference, "apiVersion", "v1");
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_pulled_always_when_their_tag_is_latest_or_absent() {
        for (image, policy) in [
            ("example.com/app", "Always"),
            ("example.com:5000/app", "Always"),
            ("app:latest", "Always"),
            ("app:1", "IfNotPresent"),
            ("example.com:5000/app:2", "IfNotPresent"),
            ("app@sha256:00", "IfNotPresent"),
        ] {
            assert_eq!(pull_policy(image), policy, "{image}");
        }
    }
}
