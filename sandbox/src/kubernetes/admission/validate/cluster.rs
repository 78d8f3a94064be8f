//! Nodes, quotas, limits, service accounts, controller revisions, webhooks, API services and CSI kinds.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::access::{Fields, same, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::{gojson, names, selectors};
use super::number::{self, one_of};

const SPEC: Path<'static> = Path::root("spec");

pub(super) fn node(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let list = SPEC.child("taints");
    let mut seen = BTreeSet::new();
    for (index, taint) in spec.items("taints").iter().enumerate() {
        let at = list.index(index);
        let (key, value, effect) = (taint.text("key"), taint.text("value"), taint.text("effect"));
        errors.invalid_each(&at.child("key"), key, names::qualified_name(key));
        errors.invalid_each(&at.child("value"), value, names::label_value(value));
        one_of(
            taint,
            "effect",
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            true,
            &at,
            errors,
        );
        if !seen.insert((key, effect)) {
            errors.duplicate(&at, Shown::raw(gojson::text(taint)));
        }
    }
    let status = Path::root("status");
    for part in ["capacity", "allocatable"] {
        let at = status.child(part);
        for (name, value) in sub(object, "status").map(part).into_iter().flatten() {
            number::resource_amount(name, value, &at.key(name), errors);
        }
    }
}

pub(super) fn node_change(old: &Value, new: &Value, errors: &mut Errors) {
    let (before, after) = (sub(old, "spec"), sub(new, "spec"));
    if !before.text("podCIDR").is_empty() && before.text("podCIDR") != after.text("podCIDR") {
        errors.forbidden(
            &SPEC.child("podCIDRs"),
            "node updates may not change podCIDR except from \"\" to valid",
        );
    }
    if !before.text("providerID").is_empty() && before.text("providerID") != after.text("providerID") {
        errors.forbidden(
            &SPEC.child("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        );
    }
}

pub(super) fn quota(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let hard = SPEC.child("hard");
    for (name, value) in spec.map("hard").into_iter().flatten() {
        let at = hard.key(name);
        errors.invalid_each(&at, name, names::qualified_name(name));
        if !name.contains('/') && !is_quota_resource(name) {
            errors.invalid(&at, name, "must be a standard resource for quota");
        }
        number::resource_amount(name, value, &at, errors);
    }
    let list = SPEC.child("scopes");
    for scope in spec.texts("scopes") {
        if !matches!(
            scope,
            "Terminating"
                | "NotTerminating"
                | "BestEffort"
                | "NotBestEffort"
                | "PriorityClass"
                | "CrossNamespacePodAffinity"
                | "VolumeAttributesClass"
        ) {
            errors.invalid(&list, sub(spec, "scopes"), "unsupported scope");
        }
    }
}

pub(super) fn quota_change(old: &Value, new: &Value, errors: &mut Errors) {
    if !same(sub(old, "spec").at("scopes"), sub(new, "spec").at("scopes")) {
        errors.invalid(
            &SPEC.child("scopes"),
            sub(sub(new, "spec"), "scopes"),
            "field is immutable",
        );
    }
}

fn is_quota_resource(name: &str) -> bool {
    let known = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.storage",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "services",
        "resourcequotas",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    ];
    known.contains(&name)
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
        || name.starts_with("count/")
}

pub(super) fn limit_range(object: &Value, errors: &mut Errors) {
    let list = SPEC.child("limits");
    let mut seen = BTreeSet::new();
    for (index, item) in sub(object, "spec").items("limits").iter().enumerate() {
        let at = list.index(index);
        let kind = item.text("type");
        if !seen.insert(kind) {
            errors.duplicate(&at.child("type"), kind);
        }
        if kind == "Pod" {
            for field in ["default", "defaultRequest"] {
                if item.map(field).is_some_and(|map| !map.is_empty()) {
                    errors.forbidden(&at.child(field), "may not be specified when `type` is 'Pod'");
                }
            }
        }
        if kind == "PersistentVolumeClaim" && !sub(item, "min").has("storage") && !sub(item, "max").has("storage") {
            errors.required(
                &at.child("limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            );
        }
        let keys: BTreeSet<&String> = ["min", "max", "default", "defaultRequest"]
            .iter()
            .filter_map(|field| item.map(field))
            .flat_map(serde_json::Map::keys)
            .collect();
        for name in keys {
            let value = |field: &str| number::amount(sub(item, field), name);
            let order = [
                ("min", "max"),
                ("min", "defaultRequest"),
                ("defaultRequest", "max"),
                ("defaultRequest", "default"),
                ("default", "max"),
            ];
            for (low, high) in order {
                if let (Some(a), Some(b)) = (value(low), value(high))
                    && a.compare(b).is_gt()
                {
                    let words = |field: &'static str| {
                        if field == "defaultRequest" {
                            "default request"
                        } else {
                            field
                        }
                    };
                    let detail = format!(
                        "{} value {} is greater than {} value {}",
                        words(low),
                        a.canonical(),
                        words(high),
                        b.canonical()
                    );
                    let path = at.child(low);
                    errors.invalid(&path.key(name), a.canonical(), &detail);
                }
            }
        }
    }
}

pub(super) fn controller_revision_change(old: &Value, new: &Value, errors: &mut Errors) {
    if !same(old.at("data"), new.at("data")) {
        errors.invalid(&Path::root("data"), new.at("data"), "field is immutable");
    }
}

pub(super) fn webhooks(object: &Value, mutating: bool, errors: &mut Errors) {
    let list = Path::root("webhooks");
    let mut seen = BTreeSet::new();
    for (index, hook) in object.items("webhooks").iter().enumerate() {
        let at = list.index(index);
        let name = hook.text("name");
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        } else {
            errors.invalid_each(&at.child("name"), name, names::subdomain(name));
            if name.split('.').count() < 3 {
                errors.invalid(
                    &at.child("name"),
                    name,
                    "should be a domain with at least three segments separated by dots",
                );
            }
        }
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        rules(hook, &at.child("rules"), errors);
        one_of(hook, "failurePolicy", &["Fail", "Ignore"], false, &at, errors);
        one_of(hook, "matchPolicy", &["Equivalent", "Exact"], false, &at, errors);
        if mutating {
            one_of(hook, "reinvocationPolicy", &["IfNeeded", "Never"], false, &at, errors);
        }
        match hook.text("sideEffects") {
            "" => errors.required(&at.child("sideEffects"), "must specify one of None, NoneOnDryRun"),
            "None" | "NoneOnDryRun" => {}
            other => errors.unsupported(&at.child("sideEffects"), other, &["None", "NoneOnDryRun"]),
        }
        if let Some(seconds) = hook.int("timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
            errors.invalid(
                &at.child("timeoutSeconds"),
                seconds,
                "the timeout value must be between 1 and 30 seconds",
            );
        }
        for field in ["namespaceSelector", "objectSelector"] {
            selectors::validate(hook.at(field), &at.child(field), errors);
        }
        client_config(sub(hook, "clientConfig"), &at.child("clientConfig"), errors);
        if hook.items("admissionReviewVersions").is_empty() {
            errors.required(&at.child("admissionReviewVersions"), "must specify one of v1, v1beta1");
        } else if !hook
            .texts("admissionReviewVersions")
            .iter()
            .any(|version| matches!(*version, "v1" | "v1beta1"))
        {
            errors.invalid(
                &at.child("admissionReviewVersions"),
                sub(hook, "admissionReviewVersions"),
                "must include at least one of v1, v1beta1",
            );
        }
    }
}

fn rules(hook: &Value, list: &Path<'_>, errors: &mut Errors) {
    for (index, rule) in hook.items("rules").iter().enumerate() {
        let at = list.index(index);
        for field in ["operations", "apiGroups", "apiVersions", "resources"] {
            if rule.items(field).is_empty() {
                errors.required(&at.child(field), "");
            }
        }
        let operations = at.child("operations");
        for (index, operation) in rule.texts("operations").into_iter().enumerate() {
            if !matches!(operation, "*" | "CREATE" | "UPDATE" | "DELETE" | "CONNECT") {
                errors.unsupported(
                    &operations.index(index),
                    operation,
                    &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"],
                );
            }
        }
        one_of(rule, "scope", &["*", "Cluster", "Namespaced"], false, &at, errors);
    }
}

fn client_config(config: &Value, at: &Path<'_>, errors: &mut Errors) {
    match (config.at("url"), config.at("service")) {
        (None, None) | (Some(_), Some(_)) => errors.required(at, "exactly one of url or service is required"),
        (Some(url), None) => {
            let url = url.as_str().unwrap_or_default();
            if !url.starts_with("https://") {
                let detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                errors.invalid(&at.child("url"), url, detail);
            }
        }
        (None, Some(service)) => {
            let at = at.child("service");
            for field in ["name", "namespace"] {
                if service.text(field).is_empty() {
                    errors.required(&at.child(field), &format!("service {field} is required"));
                }
            }
            if let Some(port) = service.int("port") {
                for problem in names::port(port) {
                    errors.invalid(&at.child("port"), port, &format!("port is not valid: {problem}"));
                }
            }
        }
    }
}

pub(super) fn api_service(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let wanted = format!("{}.{}", spec.text("version"), spec.text("group"));
    let name = sub(object, "metadata").text("name");
    if name != wanted {
        errors.invalid(
            &Path::root("metadata").child("name"),
            name,
            "must be `spec.version+\".\"+spec.group`",
        );
    }
    let version = spec.text("version");
    errors.invalid_each(&SPEC.child("version"), version, names::label_1035(version));
    for (field, high) in [("groupPriorityMinimum", 20000), ("versionPriority", 1000)] {
        let value = spec.int(field).unwrap_or_default();
        if value <= 0 || value > high {
            errors.invalid(
                &SPEC.child(field),
                value,
                &format!("must be positive and less than {high}"),
            );
        }
    }
}

pub(super) fn csi_driver(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let name = sub(object, "metadata").text("name");
    if name.len() > 63 {
        errors.too_long(&Path::root("metadata").child("name"), 63);
    }
    one_of(
        spec,
        "fsGroupPolicy",
        &["File", "None", "ReadWriteOnceWithFSType"],
        false,
        &SPEC,
        errors,
    );
    let list = SPEC.child("volumeLifecycleModes");
    for mode in spec.texts("volumeLifecycleModes") {
        if !matches!(mode, "Ephemeral" | "Persistent") {
            errors.unsupported(&list, mode, &["Ephemeral", "Persistent"]);
        }
    }
}

pub(super) fn service_account(object: &Value, errors: &mut Errors) {
    let list = Path::root("imagePullSecrets");
    for (index, secret) in object.items("imagePullSecrets").iter().enumerate() {
        if secret.text("name").is_empty() {
            errors.required(&list.index(index).child("name"), "");
        }
    }
}

/// Events: the old kind has few rules, the new kind requires what makes it an event.
pub(super) fn event(object: &Value, is_new: bool, errors: &mut Errors) {
    let (own, about) = (
        sub(object, "metadata").text("namespace"),
        sub(object, "involvedObject").text("namespace"),
    );
    let cluster_wide = about.is_empty() && matches!(own, "" | "default");
    if own != about && !cluster_wide {
        let at = Path::root("involvedObject");
        errors.invalid(&at.child("namespace"), about, "does not match event.namespace");
    }
    if object.has("eventTime") {
        for (field, shown) in [
            ("reportingComponent", "reportingController"),
            ("reportingInstance", "reportingInstance"),
            ("action", "action"),
            ("reason", "reason"),
        ] {
            if object.text(field).is_empty() {
                errors.required(&Path::root(shown), "");
            } else if object.text(field).len() > 128 {
                errors.invalid(&Path::root(shown), "", "can have at most 128 characters");
            }
        }
        if object.text("message").len() > 1024 {
            errors.invalid(&Path::root("message"), "", "can have at most 1024 characters");
        }
    } else if is_new {
        errors.required(&Path::root("eventTime"), "");
    }
    let kind = object.text("type");
    if is_new && !matches!(kind, "Normal" | "Warning") {
        errors.invalid(&Path::root("type"), "", &format!("has invalid value: {kind}"));
    }
}
