//! Containers: names, images, ports, environment, probes, mounts, lifecycle.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::access::{Fields, sub};
use super::super::errors::{Errors, Path};
use super::super::names;
use super::number::{self, one_of};
use super::security;

/// Which list a container stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    App,
    Init,
    Ephemeral,
}

/// What containers may refer to.
pub(super) struct Names<'a> {
    /// Names of volumes; claims among them can be devices.
    pub(super) volumes: BTreeSet<&'a str>,
}

const SOURCES: [&str; 6] = [
    "fieldRef",
    "resourceFieldRef",
    "configMapKeyRef",
    "secretKeyRef",
    "fileKeyRef",
    "podCertificate",
];

/// All containers of a pod spec.
pub(super) fn all(spec: &Value, path: &Path<'_>, known: &Names<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    let list = path.child("containers");
    if spec.items("containers").is_empty() {
        errors.required(&list, "");
    }
    for (index, container) in spec.items("containers").iter().enumerate() {
        let path = list.index(index);
        common(container, Role::App, &path, known, errors);
        unique(container, &mut seen, &path, errors);
        probes(container, &path, errors);
        if !container.text("restartPolicy").is_empty()
            && !matches!(container.text("restartPolicy"), "Always" | "OnFailure" | "Never")
        {
            errors.unsupported(
                &path.child("restartPolicy"),
                container.text("restartPolicy"),
                &["Always", "Never", "OnFailure"],
            );
        }
    }
    ports_of_host(spec.items("containers"), &list, errors);
    let list = path.child("initContainers");
    for (index, container) in spec.items("initContainers").iter().enumerate() {
        let path = list.index(index);
        common(container, Role::Init, &path, known, errors);
        unique(container, &mut seen, &path, errors);
        let sidecar = container.text("restartPolicy") == "Always";
        match container.text("restartPolicy") {
            "" | "Always" | "OnFailure" | "Never" => {}
            other => errors.unsupported(&path.child("restartPolicy"), other, &["Always", "Never", "OnFailure"]),
        }
        if sidecar {
            probes(container, &path, errors);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if container.has(field) {
                    errors.forbidden(
                        &path.child(field),
                        "may not be set for init containers without restartPolicy=Always",
                    );
                }
            }
        }
    }
    let list = path.child("ephemeralContainers");
    for (index, container) in spec.items("ephemeralContainers").iter().enumerate() {
        let path = list.index(index);
        common(container, Role::Ephemeral, &path, known, errors);
        unique(container, &mut seen, &path, errors);
        let target = container.text("targetContainerName");
        if !target.is_empty()
            && !spec
                .items("containers")
                .iter()
                .any(|other| other.text("name") == target)
        {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        for field in [
            "ports",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
            "lifecycle",
            "resizePolicy",
        ] {
            if container.has(field) {
                errors.forbidden(&path.child(field), "cannot be set for an Ephemeral Container");
            }
        }
    }
}

fn unique<'a>(container: &'a Value, seen: &mut BTreeSet<&'a str>, path: &Path<'_>, errors: &mut Errors) {
    let name = container.text("name");
    if !name.is_empty() && !seen.insert(name) {
        errors.duplicate(&path.child("name"), name);
    }
}

fn common(container: &Value, role: Role, path: &Path<'_>, known: &Names<'_>, errors: &mut Errors) {
    let name = container.text("name");
    if name.is_empty() {
        errors.required(&path.child("name"), "");
    } else {
        errors.invalid_each(&path.child("name"), name, names::label(name));
    }
    let image = container.text("image");
    if image.is_empty() {
        errors.required(&path.child("image"), "");
    } else if image.trim() != image {
        errors.invalid(
            &path.child("image"),
            image,
            "must not have leading or trailing whitespace",
        );
    }
    if role != Role::Ephemeral {
        lifecycle(sub(container, "lifecycle"), &path.child("lifecycle"), errors);
    }
    one_of(
        container,
        "terminationMessagePolicy",
        &["FallbackToLogsOnError", "File"],
        true,
        path,
        errors,
    );
    ports(container, &path.child("ports"), errors);
    env(container, &path.child("env"), known, errors);
    env_from(container, &path.child("envFrom"), errors);
    mounts(container, path, known, errors);
    one_of(
        container,
        "imagePullPolicy",
        &["Always", "IfNotPresent", "Never"],
        true,
        path,
        errors,
    );
    number::resources(sub(container, "resources"), &path.child("resources"), errors);
    resize_policy(container, &path.child("resizePolicy"), errors);
    security::of_container(
        sub(container, "securityContext"),
        &path.child("securityContext"),
        errors,
    );
}

fn ports(container: &Value, list: &Path<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, port) in container.items("ports").iter().enumerate() {
        let path = list.index(index);
        let name = port.text("name");
        if !name.is_empty() {
            let problems = names::port_name(name);
            let fine = problems.is_empty();
            errors.invalid_each(&path.child("name"), name, problems);
            if fine && !seen.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
        }
        match port.int("containerPort").unwrap_or_default() {
            0 => errors.required(&path.child("containerPort"), ""),
            number => {
                for problem in names::port(number) {
                    errors.invalid(&path.child("containerPort"), number, &problem);
                }
            }
        }
        if let Some(number) = port.int("hostPort").filter(|number| *number != 0) {
            for problem in names::port(number) {
                errors.invalid(&path.child("hostPort"), number, &problem);
            }
        }
        one_of(port, "protocol", &["SCTP", "TCP", "UDP"], true, &path, errors);
    }
}

/// No two containers may ask for the same port of the node.
fn ports_of_host(containers: &[Value], list: &Path<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, container) in containers.iter().enumerate() {
        let path = list.index(index);
        let ports = path.child("ports");
        for (index, port) in container.items("ports").iter().enumerate() {
            let number = port.int("hostPort").unwrap_or_default();
            if number == 0 {
                continue;
            }
            let key = format!("{}/{}/{number}", port.text("protocol"), port.text("hostIP"));
            if !seen.insert(key.clone()) {
                errors.duplicate(&ports.index(index).child("hostPort"), key);
            }
        }
    }
}

fn env(container: &Value, list: &Path<'_>, known: &Names<'_>, errors: &mut Errors) {
    for (index, variable) in container.items("env").iter().enumerate() {
        let path = list.index(index);
        let name = variable.text("name");
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else {
            errors.invalid_each(&path.child("name"), name, names::env_name(name));
        }
        let Some(source) = variable.at("valueFrom") else {
            continue;
        };
        let path = path.child("valueFrom");
        let sources: Vec<&str> = SOURCES.into_iter().filter(|one| source.has(one)).collect();
        for one in &sources {
            let reference = sub(source, one);
            let path = path.child(one);
            match *one {
                "fieldRef" => field_ref(reference, &path, true, errors),
                "resourceFieldRef" => resource_ref(reference, &path, false, errors),
                "configMapKeyRef" | "secretKeyRef" => {
                    if reference.text("name").is_empty() {
                        errors.required(&path.child("name"), "");
                    }
                    key(reference, &path, errors);
                }
                "fileKeyRef" => {
                    for field in ["volumeName", "path", "key"] {
                        if reference.text(field).is_empty() {
                            errors.required(&path.child(field), "");
                        }
                    }
                    let volume = reference.text("volumeName");
                    if !volume.is_empty() && !known.volumes.contains(volume) {
                        errors.not_found(&path.child("volumeName"), volume);
                    }
                }
                _ => {}
            }
        }
        if sources.is_empty() {
            errors.invalid(&path, "", "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`");
        }
        if !variable.text("value").is_empty() && !sources.is_empty() {
            errors.invalid(&path, "", "may not be specified when `value` is not empty");
        } else if sources.len() > 1 {
            errors.invalid(&path, "", "may not have more than one field specified at a time");
        }
    }
}

fn key(reference: &Value, path: &Path<'_>, errors: &mut Errors) {
    let key = reference.text("key");
    if key.is_empty() {
        errors.required(&path.child("key"), "");
    } else {
        errors.invalid_each(&path.child("key"), key, names::config_key(key));
    }
}

/// A field of the pod itself; environment variables can name more of them than volumes.
pub(super) fn field_ref(reference: &Value, path: &Path<'_>, environment: bool, errors: &mut Errors) {
    if reference.text("apiVersion").is_empty() {
        errors.required(&path.child("apiVersion"), "");
        return;
    }
    let field = reference.text("fieldPath");
    if field.is_empty() {
        errors.required(&path.child("fieldPath"), "");
        return;
    }
    let at = path.child("fieldPath");
    if let Some((what, subscript)) = field
        .strip_suffix(']')
        .and_then(|field| field.split_once("['"))
        .map(|(a, b)| (a, b.trim_end_matches('\'')))
    {
        match what {
            "metadata.annotations" => {
                errors.invalid_each(&at, subscript, names::qualified_name(&subscript.to_lowercase()));
            }
            "metadata.labels" => errors.invalid_each(&at, subscript, names::qualified_name(subscript)),
            _ => errors.invalid(&at, field, "does not support subscript"),
        }
        return;
    }
    const ENV: [&str; 9] = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    const VOLUME: [&str; 5] = [
        "metadata.annotations",
        "metadata.labels",
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
    ];
    let known: &[&str] = if environment { &ENV } else { &VOLUME };
    if known.contains(&field) {
        return;
    }
    let exists =
        ENV.contains(&field) || VOLUME.contains(&field) || matches!(field, "spec.restartPolicy" | "status.phase");
    if exists {
        errors.unsupported(&at, field, known);
    } else {
        errors.invalid(
            &at,
            field,
            &format!("error converting fieldPath: field label not supported: {field}"),
        );
    }
}

/// A resource of a container; volumes must say of which.
pub(super) fn resource_ref(reference: &Value, path: &Path<'_>, volume: bool, errors: &mut Errors) {
    if volume && reference.text("containerName").is_empty() {
        errors.required(&path.child("containerName"), "");
        return;
    }
    let resource = reference.text("resource");
    const KNOWN: [&str; 6] = [
        "limits.cpu",
        "limits.ephemeral-storage",
        "limits.memory",
        "requests.cpu",
        "requests.ephemeral-storage",
        "requests.memory",
    ];
    if resource.is_empty() {
        errors.required(&path.child("resource"), "");
    } else if !KNOWN.contains(&resource) && !resource.contains(".hugepages-") {
        errors.unsupported(&path.child("resource"), resource, &KNOWN);
    }
}

fn env_from(container: &Value, list: &Path<'_>, errors: &mut Errors) {
    for (index, source) in container.items("envFrom").iter().enumerate() {
        let path = list.index(index);
        let prefix = source.text("prefix");
        if !prefix.is_empty() {
            errors.invalid_each(&path.child("prefix"), prefix, names::env_name(prefix));
        }
        let given: Vec<&str> = ["configMapRef", "secretRef"]
            .into_iter()
            .filter(|one| source.has(one))
            .collect();
        for one in &given {
            if sub(source, one).text("name").is_empty() {
                errors.required(&path.child(one).child("name"), "");
            }
        }
        match given.len() {
            0 => errors.invalid(&path, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(&path, "", "may not have more than one field specified at a time"),
        }
    }
}

fn mounts(container: &Value, path: &Path<'_>, known: &Names<'_>, errors: &mut Errors) {
    let list = path.child("volumeMounts");
    let mut seen = BTreeSet::new();
    for (index, mount) in container.items("volumeMounts").iter().enumerate() {
        let path = list.index(index);
        let name = mount.text("name");
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if !known.volumes.contains(name) {
            errors.not_found(&path.child("name"), name);
        }
        let place = mount.text("mountPath");
        if place.is_empty() {
            errors.required(&path.child("mountPath"), "");
        } else if !seen.insert(place) {
            errors.invalid(&path.child("mountPath"), place, "must be unique");
        }
        let (inner, expression) = (mount.text("subPath"), mount.text("subPathExpr"));
        if !inner.is_empty()
            && let Some(why) = names::escapes(inner)
        {
            errors.invalid(&path.child("subPath"), inner, why);
        }
        if !expression.is_empty() {
            if !inner.is_empty() {
                errors.invalid(
                    &path.child("subPathExpr"),
                    expression,
                    "subPathExpr and subPath are mutually exclusive",
                );
            }
            if let Some(why) = names::escapes(expression) {
                errors.invalid(&path.child("subPathExpr"), expression, why);
            }
        }
        one_of(
            mount,
            "mountPropagation",
            &["Bidirectional", "HostToContainer", "None"],
            false,
            &path,
            errors,
        );
        if mount.text("mountPropagation") == "Bidirectional" && !sub(container, "securityContext").yes("privileged") {
            errors.forbidden(
                &path.child("mountPropagation"),
                "Bidirectional mount propagation is available only to privileged containers",
            );
        }
        let recursive = mount.text("recursiveReadOnly");
        if !recursive.is_empty() && recursive != "Disabled" {
            let at = path.child("recursiveReadOnly");
            if !matches!(recursive, "Enabled" | "IfPossible") {
                errors.unsupported(&at, recursive, &["Disabled", "IfPossible", "Enabled"]);
            } else if !mount.yes("readOnly") {
                errors.forbidden(&at, "may only be specified when readOnly is true");
            }
        }
    }
    let list = path.child("volumeDevices");
    let mut devices = BTreeSet::new();
    for (index, device) in container.items("volumeDevices").iter().enumerate() {
        let path = list.index(index);
        let (name, place) = (device.text("name"), device.text("devicePath"));
        if name.is_empty() {
            errors.required(&path.child("name"), "");
        } else if !known.volumes.contains(name) {
            errors.not_found(&path.child("name"), name);
        }
        if place.is_empty() {
            errors.required(&path.child("devicePath"), "");
        } else if !devices.insert(place) {
            errors.invalid(&path.child("devicePath"), place, "must be unique");
        } else if seen.contains(place) {
            errors.invalid(
                &path.child("devicePath"),
                place,
                "must not already exist in volumeMounts",
            );
        }
    }
}

fn resize_policy(container: &Value, list: &Path<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (index, policy) in container.items("resizePolicy").iter().enumerate() {
        let path = list.index(index);
        let name = policy.text("resourceName");
        one_of(policy, "resourceName", &["cpu", "memory"], true, &path, errors);
        one_of(
            policy,
            "restartPolicy",
            &["NotRequired", "RestartContainer"],
            true,
            &path,
            errors,
        );
        if !name.is_empty() && !seen.insert(name) {
            errors.duplicate(&path, name);
        }
    }
}

fn lifecycle(lifecycle: &Value, path: &Path<'_>, errors: &mut Errors) {
    for hook in ["postStart", "preStop"] {
        if let Some(value) = lifecycle.at(hook) {
            handler(
                value,
                &["exec", "httpGet", "tcpSocket", "sleep"],
                &path.child(hook),
                errors,
            );
        }
    }
}

fn probes(container: &Value, path: &Path<'_>, errors: &mut Errors) {
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.at(name) else { continue };
        let path = path.child(name);
        handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], &path, errors);
        for field in [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ] {
            number::not_negative(probe, field, &path, errors);
        }
        if let Some(seconds) = probe.int("terminationGracePeriodSeconds") {
            if name == "readinessProbe" {
                errors.invalid(
                    &path.child("terminationGracePeriodSeconds"),
                    seconds,
                    "must not be set for readinessProbes",
                );
            } else if seconds <= 0 {
                errors.invalid(&path.child("terminationGracePeriodSeconds"), seconds, number::POSITIVE);
            }
        }
        if name != "readinessProbe"
            && let Some(threshold) = probe.int("successThreshold").filter(|threshold| *threshold != 1)
        {
            errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
        }
    }
}

fn handler(handler: &Value, kinds: &[&str], path: &Path<'_>, errors: &mut Errors) {
    let mut first: Option<&str> = None;
    for kind in kinds {
        let Some(action) = handler.at(kind) else { continue };
        let at = path.child(kind);
        if first.is_some() {
            errors.forbidden(&at, "may not specify more than 1 handler type");
            continue;
        }
        first = Some(kind);
        match *kind {
            "exec" if action.items("command").is_empty() => {
                errors.required(&at.child("command"), "");
            }
            "httpGet" => {
                if action.text("path").is_empty() {
                    errors.required(&at.child("path"), "");
                }
                port_or_name(action, &at.child("port"), errors);
                one_of(action, "scheme", &["HTTP", "HTTPS"], false, &at, errors);
                let headers = at.child("httpHeaders");
                for header in action.items("httpHeaders") {
                    let name = header.text("name");
                    errors.invalid_each(&headers, name, names::http_header(name));
                }
            }
            "tcpSocket" => port_or_name(action, &at.child("port"), errors),
            "grpc" => {
                let number = action.int("port").unwrap_or_default();
                for problem in names::port(number) {
                    errors.invalid(&at.child("port"), number, &problem);
                }
            }
            "sleep" => {
                let seconds = action.int("seconds").unwrap_or_default();
                if seconds < 0 {
                    errors.invalid(
                        &at,
                        seconds,
                        "must be non-negative and less than terminationGracePeriodSeconds",
                    );
                }
            }
            _ => {}
        }
    }
    if first.is_none() {
        errors.required(path, "must specify a handler type");
    }
}

/// The port of a probe or hook: a number, or the name of a port.
pub(super) fn port_or_name(value: &Value, path: &Path<'_>, errors: &mut Errors) {
    match names::int_or_text(value, "port") {
        Some(Err(name)) => errors.invalid_each(path, &name, names::port_name(&name)),
        Some(Ok(number)) => {
            for problem in names::port(number) {
                errors.invalid(path, number, &problem);
            }
        }
        None => {
            for problem in names::port(0) {
                errors.invalid(path, 0, &problem);
            }
        }
    }
}
