//! The kinds of `apps` and the replication controller: selectors, templates, strategies, and what their updates may change.

use serde_json::{Value, json};

use super::super::access::{Fields, same, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::{gojson, selectors};
use super::number::{self, one_of};
use super::pod;

const SPEC: Path<'static> = Path::root("spec");

/// The selector must be there, be well formed and not select everything.
fn selector(spec: &Value, kind: &str, errors: &mut Errors) {
    let at = SPEC.child("selector");
    match spec.at("selector") {
        None => errors.required(&at, ""),
        Some(selector) => {
            selectors::validate(Some(selector), &at, errors);
            if selectors::is_empty(selector) {
                errors.invalid(
                    &at,
                    Shown::raw(selectors::text(Some(selector))),
                    &format!("empty selector is invalid for {kind}"),
                );
            }
        }
    }
}

/// The template must be selected, be a sound pod and run forever.
fn template(spec: &Value, kind: &str, errors: &mut Errors) {
    let at = SPEC.child("template");
    let template = sub(spec, "template");
    labels_match(spec, template, errors);
    if kind == "StatefulSet" {
        // A StatefulSet's pod spec is not judged before its pods are made: mounts may name its claim templates.
        pod::template_metadata(template, &at, errors);
    } else {
        pod::template(template, &at, errors);
    }
    runs_for_ever(sub(template, "spec"), kind, &at, errors);
}

fn labels_match(spec: &Value, template: &Value, errors: &mut Errors) {
    let labels = sub(template, "metadata").map("labels");
    let matches = match spec.at("selector") {
        Some(selector) => selectors::is_empty(selector) || selectors::matches(selector, labels),
        None => false,
    };
    if !matches {
        mismatch(labels, errors);
    }
}

fn mismatch(labels: Option<&serde_json::Map<String, Value>>, errors: &mut Errors) {
    let shown = labels.map_or_else(
        || "null".to_owned(),
        |labels| gojson::text(&Value::Object(labels.clone())),
    );
    let template = SPEC.child("template");
    let at = template.child("metadata");
    errors.invalid(
        &at.child("labels"),
        Shown::raw(shown),
        "`selector` does not match template `labels`",
    );
}

fn runs_for_ever(pod: &Value, kind: &str, template: &Path<'_>, errors: &mut Errors) {
    let at = template.child("spec");
    let policy = pod.text("restartPolicy");
    if policy != "Always" {
        errors.unsupported(&at.child("restartPolicy"), policy, &["Always"]);
    }
    if pod.has("activeDeadlineSeconds") {
        errors.forbidden(
            &at.child("activeDeadlineSeconds"),
            &format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

pub(super) fn deployment(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    number::not_negative(spec, "replicas", &SPEC, errors);
    selector(spec, "deployment", errors);
    template(spec, "ReplicaSet", errors);
    strategy(sub(spec, "strategy"), &SPEC.child("strategy"), errors);
    for field in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        number::not_negative(spec, field, &SPEC, errors);
    }
    if let Some(deadline) = spec.int("progressDeadlineSeconds")
        && deadline <= spec.int("minReadySeconds").unwrap_or_default()
    {
        errors.invalid(
            &SPEC.child("progressDeadlineSeconds"),
            deadline,
            "must be greater than minReadySeconds",
        );
    }
}

fn strategy(strategy: &Value, path: &Path<'_>, errors: &mut Errors) {
    match strategy.text("type") {
        "Recreate" => {
            if strategy.has("rollingUpdate") {
                errors.forbidden(
                    &path.child("rollingUpdate"),
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            let at = path.child("rollingUpdate");
            let Some(rolling) = strategy.at("rollingUpdate") else {
                errors.required(&at, "this should be defaulted and never be nil");
                return;
            };
            let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
            number::count_or_percent(unavailable, &at.child("maxUnavailable"), errors);
            number::count_or_percent(surge, &at.child("maxSurge"), errors);
            if number::is_zero(unavailable) && number::is_zero(surge) {
                errors.invalid(
                    &at.child("maxUnavailable"),
                    number::shown(unavailable),
                    "may not be 0 when `maxSurge` is 0",
                );
            }
            number::at_most_all(unavailable, &at.child("maxUnavailable"), errors);
        }
        other => errors.unsupported(&path.child("type"), other, &["Recreate", "RollingUpdate"]),
    }
}

pub(super) fn replica_set(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    number::not_negative(spec, "replicas", &SPEC, errors);
    number::not_negative(spec, "minReadySeconds", &SPEC, errors);
    selector(spec, "deployment", errors);
    template(spec, "ReplicaSet", errors);
}

pub(super) fn replication_controller(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    number::not_negative(spec, "minReadySeconds", &SPEC, errors);
    let selector = spec.map("selector");
    if selector.is_none_or(serde_json::Map::is_empty) {
        errors.required(&SPEC.child("selector"), "");
    }
    number::not_negative(spec, "replicas", &SPEC, errors);
    let Some(template) = spec.at("template") else {
        errors.required(&SPEC.child("template"), "");
        return;
    };
    let labels = sub(template, "metadata").map("labels");
    let selected = selector
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.is_some_and(|labels| labels.get(key) == Some(value)));
    if !selected {
        mismatch(labels, errors);
    }
    pod::template(template, &SPEC.child("template"), errors);
    runs_for_ever(
        sub(template, "spec"),
        "ReplicationController",
        &SPEC.child("template"),
        errors,
    );
}

pub(super) fn stateful_set(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    match spec.text("podManagementPolicy") {
        "" => errors.required(&SPEC.child("podManagementPolicy"), ""),
        "OrderedReady" | "Parallel" => {}
        other => errors.invalid(
            &SPEC.child("podManagementPolicy"),
            other,
            "must be 'OrderedReady' or 'Parallel'",
        ),
    }
    let update = sub(spec, "updateStrategy");
    let at = SPEC.child("updateStrategy");
    match update.text("type") {
        "" => errors.required(&at, ""),
        "OnDelete" => {
            if let Some(rolling) = update.at("rollingUpdate") {
                let text = format!(
                    "{{\"Partition\":{},\"MaxUnavailable\":{}}}",
                    sub(rolling, "partition"),
                    gojson::text(sub(rolling, "maxUnavailable"))
                );
                errors.invalid(
                    &at.child("rollingUpdate"),
                    Shown::raw(text),
                    "only allowed for updateStrategy 'RollingUpdate'",
                );
            }
        }
        "RollingUpdate" => {
            let rolling = sub(update, "rollingUpdate");
            let path = at.child("rollingUpdate");
            number::not_negative(rolling, "partition", &path, errors);
            if let Some(unavailable) = rolling.at("maxUnavailable") {
                let path = path.child("maxUnavailable");
                number::count_or_percent(Some(unavailable), &path, errors);
                if number::is_zero(Some(unavailable)) {
                    errors.invalid(&path, number::shown(Some(unavailable)), "cannot be 0");
                }
                number::at_most_all(Some(unavailable), &path, errors);
            }
        }
        _ => errors.invalid(&at, update, "must be 'RollingUpdate' or 'OnDelete'"),
    }
    let retention = sub(spec, "persistentVolumeClaimRetentionPolicy");
    if !retention.is_null() {
        let at = SPEC.child("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            one_of(retention, field, &["Delete", "Retain"], false, &at, errors);
        }
    }
    number::not_negative(spec, "replicas", &SPEC, errors);
    number::not_negative(spec, "minReadySeconds", &SPEC, errors);
    number::not_negative(sub(spec, "ordinals"), "start", &SPEC.child("ordinals"), errors);
    number::not_negative(spec, "revisionHistoryLimit", &SPEC, errors);
    selector(spec, "statefulset", errors);
    template(&with_claims_as_volumes(spec), "StatefulSet", errors);
}

/// The spec with a volume in its template for each claim template: containers mount claims by name, and the controller adds
/// those volumes to every pod. They come last, so that no other volume's index changes.
fn with_claims_as_volumes(spec: &Value) -> Value {
    let mut spec = spec.clone();
    let names: Vec<String> = spec
        .items("volumeClaimTemplates")
        .iter()
        .map(|claim| sub(claim, "metadata").text("name").to_owned())
        .collect();
    let Some(pod) = spec.pointer_mut("/template/spec").and_then(Value::as_object_mut) else {
        return spec;
    };
    let Some(volumes) = pod.entry("volumes").or_insert_with(|| json!([])).as_array_mut() else {
        return spec;
    };
    for name in names {
        // A volume of the same name gives way to the claim.
        volumes.retain(|volume| volume["name"] != name.as_str());
        volumes.push(json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
    }
    spec
}

pub(super) fn daemon_set(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let at = SPEC.child("selector");
    selectors::validate(spec.at("selector"), &at, errors);
    let template = sub(spec, "template");
    labels_match(spec, template, errors);
    if let Some(selector) = spec.at("selector").filter(|selector| selectors::is_empty(selector)) {
        errors.invalid(
            &at,
            Shown::raw(selectors::text(Some(selector))),
            "empty selector is invalid for daemonset",
        );
    }
    pod::template(template, &SPEC.child("template"), errors);
    runs_for_ever(sub(template, "spec"), "DaemonSet", &SPEC.child("template"), errors);
    number::not_negative(spec, "minReadySeconds", &SPEC, errors);
    let update = sub(spec, "updateStrategy");
    let at = SPEC.child("updateStrategy");
    match update.text("type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let path = at.child("rollingUpdate");
            match update.at("rollingUpdate") {
                None => errors.required(&path, ""),
                Some(rolling) => {
                    let (unavailable, surge) = (rolling.at("maxUnavailable"), rolling.at("maxSurge"));
                    number::count_or_percent(unavailable, &path.child("maxUnavailable"), errors);
                    number::count_or_percent(surge, &path.child("maxSurge"), errors);
                    number::at_most_all(unavailable, &path.child("maxUnavailable"), errors);
                    number::at_most_all(surge, &path.child("maxSurge"), errors);
                    match (number::is_zero(unavailable), number::is_zero(surge)) {
                        (false, false) => {
                            errors.invalid(
                                &path.child("maxSurge"),
                                number::shown(surge),
                                "may not be set when maxUnavailable is non-zero",
                            );
                        }
                        (true, true) => {
                            errors.required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
                        }
                        _ => {}
                    }
                }
            }
        }
        other => errors.unsupported(&at.child("type"), other, &["RollingUpdate", "OnDelete"]),
    }
    number::not_negative(spec, "revisionHistoryLimit", &SPEC, errors);
}

/// Deployments, replica sets and daemon sets never change what they select.
pub(super) fn selector_change(old: &Value, new: &Value, errors: &mut Errors) {
    let (before, after) = (sub(old, "spec").at("selector"), sub(new, "spec").at("selector"));
    if !same(before, after) {
        errors.invalid(
            &SPEC.child("selector"),
            Shown::raw(selectors::text(after)),
            "field is immutable",
        );
    }
}

/// What a stateful set's update may change; everything else of its spec is fixed.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn stateful_set_change(old: &Value, new: &Value, errors: &mut Errors) {
    let (before, after) = (sub(old, "spec"), sub(new, "spec"));
    let changed = |a: &Value, b: &Value| {
        a.as_object()
            .into_iter()
            .flatten()
            .any(|(field, value)| !MUTABLE.contains(&field.as_str()) && !same(Some(value), b.at(field)))
    };
    if changed(before, after) || changed(after, before) {
        errors.forbidden(
            &SPEC,
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_template_is_a_volume_that_containers_may_mount() {
        let spec = json!({
            "template": {"spec": {"volumes": [{"name": "tmp", "emptyDir": {}}]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}}],
        });
        let with = with_claims_as_volumes(&spec);
        let names: Vec<&str> = with["template"]["spec"]
            .items("volumes")
            .iter()
            .map(|v| v.text("name"))
            .collect();
        assert_eq!(names, ["tmp", "data"]);
    }
}
