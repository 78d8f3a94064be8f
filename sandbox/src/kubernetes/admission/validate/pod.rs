//! Pods and pod templates as such. What a running pod's update may change is in `pod_update`.

use serde_json::Value;

use super::super::access::{Fields, sub};
use super::super::errors::{Errors, Path};
use super::super::{metadata, names};
use super::containers::{self, Names};
use super::number::{self, one_of};
use super::{placement, security, volumes};

pub(super) fn pod(object: &Value, errors: &mut Errors) {
    let pod_spec = Path::root("spec");
    let own = sub(object, "spec");
    spec(own, &pod_spec, errors);
    if !own.items("ephemeralContainers").is_empty() && sub(object, "metadata").text("resourceVersion").is_empty() {
        errors.forbidden(&pod_spec.child("ephemeralContainers"), "cannot be set on create");
    }
}

/// A pod template's labels and annotations.
pub(super) fn template_metadata(template: &Value, path: &Path<'_>, errors: &mut Errors) {
    let meta = sub(template, "metadata");
    metadata::labels(meta.at("labels"), &path.child("metadata").child("labels"), errors);
    metadata::annotations(
        meta.at("annotations"),
        &path.child("metadata").child("annotations"),
        errors,
    );
}

/// A pod template: labels, annotations, spec.
pub(super) fn template(template: &Value, path: &Path<'_>, errors: &mut Errors) {
    template_metadata(template, path, errors);
    let at = path.child("spec");
    spec(sub(template, "spec"), &at, errors);
    if !sub(template, "spec").items("ephemeralContainers").is_empty() {
        errors.forbidden(
            &at.child("ephemeralContainers"),
            "ephemeral containers not allowed in pod template",
        );
    }
}

/// A pod spec.
pub(super) fn spec(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let known = Names {
        volumes: volumes::all(spec, path, errors),
    };
    containers::all(spec, path, &known, errors);
    one_of(
        spec,
        "restartPolicy",
        &["Always", "Never", "OnFailure"],
        true,
        path,
        errors,
    );
    one_of(
        spec,
        "dnsPolicy",
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        true,
        path,
        errors,
    );
    metadata::labels(spec.at("nodeSelector"), &path.child("nodeSelector"), errors);
    security::of_pod(spec, path, errors);
    host_network(spec, path, errors);
    let list = path.child("imagePullSecrets");
    for (index, secret) in spec.items("imagePullSecrets").iter().enumerate() {
        if secret.text("name").is_empty() {
            errors.required(&list.index(index).child("name"), "");
        }
    }
    dns(spec, path, errors);
    gates(spec, path, errors);
    placement::all(spec, path, errors);
    if let Some(grace) = spec.int("terminationGracePeriodSeconds").filter(|grace| *grace < 0) {
        errors.invalid(
            &path.child("terminationGracePeriodSeconds"),
            grace,
            number::NOT_NEGATIVE,
        );
    }
    for (field, rule) in [
        ("serviceAccountName", names::subdomain as names::Rule),
        ("nodeName", names::subdomain),
        ("hostname", names::label),
        ("subdomain", names::label),
        ("priorityClassName", names::subdomain),
        ("runtimeClassName", names::subdomain),
    ] {
        let name = spec.text(field);
        if !name.is_empty() {
            errors.invalid_each(&path.child(field), name, rule(name));
        }
    }
    if let Some(seconds) = spec
        .int("activeDeadlineSeconds")
        .filter(|seconds| !(1..=i64::from(i32::MAX)).contains(seconds))
    {
        errors.invalid(
            &path.child("activeDeadlineSeconds"),
            seconds,
            &names::between(1, i64::from(i32::MAX)),
        );
    }
    let list = path.child("hostAliases");
    for (index, alias) in spec.items("hostAliases").iter().enumerate() {
        let at = list.index(index);
        errors.invalid_each(&at.child("ip"), alias.text("ip"), names::ip(alias.text("ip")));
        for name in alias.texts("hostnames") {
            errors.invalid_each(&at.child("hostnames"), name, names::subdomain(name));
        }
    }
    one_of(
        spec,
        "preemptionPolicy",
        &["Never", "PreemptLowerPriority"],
        false,
        path,
        errors,
    );
    let overhead = path.child("overhead");
    for (name, value) in spec.map("overhead").into_iter().flatten() {
        number::resource_amount(name, value, &overhead.key(name), errors);
    }
    if spec.has("os") {
        one_of(
            sub(spec, "os"),
            "name",
            &["linux", "windows"],
            true,
            &path.child("os"),
            errors,
        );
    }
}

/// On the node's network, a container's port is the node's.
fn host_network(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    if !spec.yes("hostNetwork") {
        return;
    }
    let list = path.child("containers");
    for (index, container) in spec.items("containers").iter().enumerate() {
        let at = list.index(index);
        let ports = at.child("ports");
        for (index, port) in container.items("ports").iter().enumerate() {
            if port.int("hostPort") != port.int("containerPort") {
                errors.invalid(
                    &ports.index(index).child("containerPort"),
                    port.int("containerPort").unwrap_or_default(),
                    "must match `hostPort` when `hostNetwork` is true",
                );
            }
        }
    }
}

fn dns(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let config = sub(spec, "dnsConfig");
    let at = path.child("dnsConfig");
    let servers = config.texts("nameservers");
    if spec.text("dnsPolicy") == "None" {
        if config.is_null() {
            errors.required(&at, "must provide `dnsConfig` when `dnsPolicy` is None");
            return;
        }
        if servers.is_empty() {
            errors.required(
                &at.child("nameservers"),
                "must provide at least one DNS nameserver when `dnsPolicy` is None",
            );
            return;
        }
    }
    if servers.len() > 3 {
        let text = super::super::gojson::text(sub(config, "nameservers"));
        errors.invalid(
            &at.child("nameservers"),
            super::super::errors::Shown::raw(text),
            "must not have more than 3 nameservers",
        );
    }
    let list = at.child("nameservers");
    for (index, server) in servers.into_iter().enumerate() {
        errors.invalid_each(&list.index(index), server, names::ip(server));
    }
    let list = at.child("searches");
    for (index, search) in config.texts("searches").into_iter().enumerate() {
        let trimmed = search.strip_suffix('.').unwrap_or(search);
        errors.invalid_each(&list.index(index), search, names::subdomain(trimmed));
    }
    let list = at.child("options");
    for (index, option) in config.items("options").iter().enumerate() {
        if option.text("name").is_empty() {
            errors.required(&list.index(index), "must not be empty");
        }
    }
}

fn gates(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let list = path.child("readinessGates");
    for (index, gate) in spec.items("readinessGates").iter().enumerate() {
        let name = gate.text("conditionType");
        errors.invalid_each(
            &list.index(index).child("conditionType"),
            name,
            names::qualified_name(name),
        );
    }
    let list = path.child("schedulingGates");
    let mut seen = std::collections::BTreeSet::new();
    for (index, gate) in spec.items("schedulingGates").iter().enumerate() {
        let name = gate.text("name");
        errors.invalid_each(&list.index(index).child("name"), name, names::qualified_name(name));
        if !seen.insert(name) {
            errors.duplicate(&list.index(index).child("name"), name);
        }
    }
    if !spec.text("nodeName").is_empty() && !spec.items("schedulingGates").is_empty() {
        errors.forbidden(
            &path.child("nodeName"),
            "cannot be set until all schedulingGates have been cleared",
        );
    }
}
