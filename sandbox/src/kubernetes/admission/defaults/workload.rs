//! Defaults of the kinds that make pods.

use serde_json::{Value, json};

use super::super::access::{Fields, default, default_text, items_mut, set, struct_mut, sub};
use super::pod;

pub(super) fn deployment(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    if let Some(strategy) = struct_mut(spec, "strategy") {
        default_text(strategy, "type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate"
            && let Some(rolling) = struct_mut(strategy, "rollingUpdate")
        {
            default(rolling, "maxUnavailable", "25%");
            default(rolling, "maxSurge", "25%");
        }
    }
    pod::template(spec, "template");
}

pub(super) fn replica_set(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    default(spec, "replicas", 1);
    pod::template(spec, "template");
}

pub(super) fn replication_controller(object: &mut Value) {
    let labels = object
        .dig(&["spec", "template", "metadata", "labels"])
        .filter(|labels| labels.is_object())
        .cloned();
    if let Some(labels) = labels {
        if let Some(spec) = struct_mut(object, "spec")
            && spec.map("selector").is_none_or(serde_json::Map::is_empty)
        {
            set(spec, "selector", labels.clone());
        }
        if let Some(metadata) = struct_mut(object, "metadata")
            && metadata.map("labels").is_none_or(serde_json::Map::is_empty)
        {
            set(metadata, "labels", labels);
        }
    }
    let Some(spec) = struct_mut(object, "spec") else { return };
    default(spec, "replicas", 1);
    if spec.has("template") {
        pod::template(spec, "template");
    }
}

pub(super) fn stateful_set(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default_text(spec, "podManagementPolicy", "OrderedReady");
    if let Some(strategy) = struct_mut(spec, "updateStrategy") {
        default_text(strategy, "type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate"
            && let Some(rolling) = struct_mut(strategy, "rollingUpdate")
        {
            default(rolling, "partition", 0);
        }
    }
    if let Some(retention) = struct_mut(spec, "persistentVolumeClaimRetentionPolicy") {
        default_text(retention, "whenDeleted", "Retain");
        default_text(retention, "whenScaled", "Retain");
    }
    pod::template(spec, "template");
    for claim in items_mut(spec, "volumeClaimTemplates") {
        if claim.is_object() {
            super::storage::claim(claim);
            set(claim, "apiVersion", "v1");
            set(claim, "kind", "PersistentVolumeClaim");
            let _ = struct_mut(claim, "metadata");
        }
    }
}

pub(super) fn daemon_set(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    default(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = struct_mut(spec, "updateStrategy") {
        default_text(strategy, "type", "RollingUpdate");
        if strategy.text("type") == "RollingUpdate"
            && let Some(rolling) = struct_mut(strategy, "rollingUpdate")
        {
            default(rolling, "maxUnavailable", 1);
            default(rolling, "maxSurge", 0);
        }
    }
    pod::template(spec, "template");
}

pub(super) fn job(object: &mut Value) {
    let labels = object
        .dig(&["spec", "template", "metadata", "labels"])
        .filter(|labels| labels.is_object())
        .cloned();
    let Some(spec) = struct_mut(object, "spec") else { return };
    if !spec.has("completions") && !spec.has("parallelism") {
        set(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    default(
        spec,
        "backoffLimit",
        if spec.has("backoffLimitPerIndex") {
            i64::from(i32::MAX)
        } else {
            6
        },
    );
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "manualSelector", false);
    let policy = if spec.has("podFailurePolicy") {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    default(spec, "podReplacementPolicy", policy);
    if let Some(policy) = spec.get_mut("podFailurePolicy") {
        super::for_each(policy, "rules", |rule| {
            super::for_each(rule, "onPodConditions", |condition| {
                default_text(condition, "status", "True");
            });
        });
    }
    pod::template(spec, "template");
    if let Some(labels) = labels
        && let Some(metadata) = struct_mut(object, "metadata")
        && metadata.map("labels").is_none_or(serde_json::Map::is_empty)
    {
        set(metadata, "labels", labels);
    }
}

pub(super) fn cron_job(object: &mut Value) {
    let Some(spec) = struct_mut(object, "spec") else { return };
    default_text(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    if let Some(template) = struct_mut(spec, "jobTemplate") {
        let _ = struct_mut(template, "metadata");
        if let Some(job) = struct_mut(template, "spec") {
            pod::template(job, "template");
        }
    }
}

/// The selector and the labels by which a Job finds its pods, made from its name and UID unless the user chose to do it himself.
pub(crate) fn job_selector(object: &mut Value) {
    if object.dig(&["spec", "manualSelector"]).and_then(Value::as_bool) == Some(true) {
        return;
    }
    // a job that has no labels of its own wears its template's
    let worn = |object: &Value| object.dig(&["spec", "template", "metadata", "labels"]).cloned();
    let own = object.dig(&["metadata", "labels"]).cloned();
    let shared = own.is_none() || own == worn(object);
    let metadata = sub(object, "metadata");
    let (name, uid) = (metadata.text("name").to_owned(), metadata.text("uid").to_owned());
    let Some(spec) = struct_mut(object, "spec") else { return };
    if let Some(labels) = struct_mut(spec, "template")
        .and_then(|template| struct_mut(template, "metadata"))
        .and_then(|metadata| super::super::access::object_mut(metadata, "labels"))
    {
        for (key, value) in [
            ("controller-uid", &uid),
            ("job-name", &name),
            ("batch.kubernetes.io/controller-uid", &uid),
            ("batch.kubernetes.io/job-name", &name),
        ] {
            labels.insert(key.to_owned(), value.clone().into());
        }
    }
    if let Some(labels) =
        struct_mut(spec, "selector").and_then(|selector| super::super::access::object_mut(selector, "matchLabels"))
    {
        labels.entry("batch.kubernetes.io/controller-uid").or_insert(json!(uid));
    }
    if shared
        && let Some(labels) = worn(object)
        && let Some(metadata) = struct_mut(object, "metadata")
    {
        set(metadata, "labels", labels);
    }
}
