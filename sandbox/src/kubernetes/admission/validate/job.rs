//! Jobs and CronJobs.

use serde_json::Value;

use super::super::access::{Fields, remove, same, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::{gojson, metadata, names, selectors};
use super::number::{self, one_of};
use super::pod;

const SPEC: Path<'static> = Path::root("spec");

pub(super) fn job(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    job_spec(spec, &SPEC, errors);
    match spec.at("selector") {
        None => errors.required(&SPEC.child("selector"), ""),
        Some(selector) => {
            selectors::validate(Some(selector), &SPEC.child("selector"), errors);
            let labels = sub(sub(spec, "template"), "metadata").map("labels");
            if !selectors::is_empty(selector) && !selectors::matches(selector, labels) {
                let template = SPEC.child("template");
                let at = template.child("metadata");
                let shown = labels.map_or_else(
                    || "null".to_owned(),
                    |labels| gojson::text(&Value::Object(labels.clone())),
                );
                errors.invalid(
                    &at.child("labels"),
                    Shown::raw(shown),
                    "`selector` does not match template `labels`",
                );
            }
        }
    }
    if spec.text("completionMode") == "Indexed" {
        let name = sub(object, "metadata").text("name");
        let last = format!("{name}-{}", spec.int("completions").unwrap_or(1).max(1) - 1);
        if !names::label(&last).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {last}");
            errors.invalid(&Path::root("metadata").child("name"), name, &detail);
        }
    }
}

/// The spec of a job, or of a cron job's jobs.
fn job_spec(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        number::not_negative(spec, field, path, errors);
    }
    let indexed = spec.text("completionMode") == "Indexed";
    match spec.text("completionMode") {
        "" | "NonIndexed" => {}
        "Indexed" => {
            if !spec.has("completions") {
                errors.required(&path.child("completions"), "when completion mode is Indexed");
            }
            if let Some(parallelism) = spec.int("parallelism").filter(|parallelism| *parallelism > 100_000) {
                errors.invalid(
                    &path.child("parallelism"),
                    parallelism,
                    "must be less than or equal to 100000 when completion mode is Indexed",
                );
            }
        }
        other => errors.unsupported(&path.child("completionMode"), other, &["Indexed", "NonIndexed"]),
    }
    if !indexed {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(value) = spec.int(field) {
                errors.invalid(&path.child(field), value, "requires indexed completion mode");
            }
        }
        if spec.has("successPolicy") {
            errors.invalid(
                &path.child("successPolicy"),
                sub(spec, "successPolicy"),
                "requires indexed completion mode",
            );
        }
    }
    one_of(
        spec,
        "podReplacementPolicy",
        &["Failed", "TerminatingOrFailed"],
        false,
        path,
        errors,
    );
    failure_policy(spec, path, errors);
    let manager = spec.text("managedBy");
    if !manager.is_empty() && !manager.contains('/') {
        errors.invalid(
            &path.child("managedBy"),
            manager,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        );
    }
    let at = path.child("template");
    let template = sub(spec, "template");
    pod::template(template, &at, errors);
    let pod_spec = at.child("spec");
    let policy = sub(template, "spec").text("restartPolicy");
    let restart = pod_spec.child("restartPolicy");
    match policy {
        "" | "Always" => errors.required(&restart, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" | "Never" => {}
        other => errors.unsupported(&restart, other, &["OnFailure", "Never"]),
    }
    if spec.has("podFailurePolicy") && policy != "Never" {
        errors.invalid(
            &restart,
            policy,
            "only \"Never\" is supported when podFailurePolicy is specified",
        );
    }
}

fn failure_policy(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let policy = path.child("podFailurePolicy");
    let list = policy.child("rules");
    for (index, rule) in sub(spec, "podFailurePolicy").items("rules").iter().enumerate() {
        let at = list.index(index);
        one_of(
            rule,
            "action",
            &["Count", "FailIndex", "FailJob", "Ignore"],
            true,
            &at,
            errors,
        );
        match (rule.at("onExitCodes"), rule.items("onPodConditions").is_empty()) {
            (Some(_), false) => errors.invalid(
                &at,
                rule,
                "specifying both OnExitCodes and OnPodConditions is not supported",
            ),
            (None, true) => errors.invalid(
                &at,
                rule,
                "specifying one of OnExitCodes and OnPodConditions is required",
            ),
            (Some(codes), true) => {
                let at = at.child("onExitCodes");
                one_of(codes, "operator", &["In", "NotIn"], true, &at, errors);
                if codes.items("values").is_empty() {
                    errors.invalid(
                        &at.child("values"),
                        sub(codes, "values"),
                        "at least one value is required",
                    );
                }
                if codes.text("operator") == "In" && codes.items("values").iter().any(|value| value.as_i64() == Some(0))
                {
                    errors.invalid(&at.child("values"), 0, "must not be 0 for the In operator");
                }
            }
            (None, false) => {}
        }
    }
}

pub(super) fn job_change(old: &Value, new: &Value, errors: &mut Errors) {
    let (before, after) = (sub(old, "spec"), sub(new, "spec"));
    let indexed = before.text("completionMode") == "Indexed";
    if !same(before.at("completions"), after.at("completions")) {
        let elastic = indexed && after.int("completions") == after.int("parallelism");
        if !elastic {
            errors.invalid(
                &SPEC.child("completions"),
                after.at("completions"),
                "field is immutable",
            );
        }
    }
    if !same(before.at("selector"), after.at("selector")) {
        errors.invalid(
            &SPEC.child("selector"),
            Shown::raw(selectors::text(after.at("selector"))),
            "field is immutable",
        );
    }
    let suspended = before.yes("suspend") && sub(old, "status").at("startTime").is_none();
    template_change(sub(before, "template"), sub(after, "template"), suspended, errors);
    for field in [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        if !same(before.at(field), after.at(field)) {
            errors.invalid(&SPEC.child(field), after.at(field), "field is immutable");
        }
    }
}

/// A job's template is immutable, except that the placement of its pods may change before it starts.
fn template_change(before: &Value, after: &Value, suspended: bool, errors: &mut Errors) {
    let neutral = |template: &Value| {
        let mut template = template.clone();
        if suspended {
            if let Some(spec) = template.get_mut("spec") {
                for field in ["nodeSelector", "affinity", "tolerations", "schedulingGates"] {
                    remove(spec, field);
                }
            }
            if let Some(metadata) = template.get_mut("metadata") {
                remove(metadata, "labels");
                remove(metadata, "annotations");
            }
        }
        template
    };
    let (a, b) = (neutral(before), neutral(after));
    let path = SPEC.child("template");
    for part in ["metadata", "spec"] {
        if !same(a.at(part), b.at(part)) {
            errors.invalid(&path.child(part), Shown::from(after.at(part)), "field is immutable");
        }
    }
}

pub(super) fn cron_job(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let schedule = spec.text("schedule");
    if schedule.is_empty() {
        errors.required(&SPEC.child("schedule"), "");
    } else if schedule.contains("TZ") {
        errors.invalid(
            &SPEC.child("schedule"),
            schedule,
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        );
    } else if let Some(why) = super::cron::problem(schedule) {
        errors.invalid(&SPEC.child("schedule"), schedule, &why);
    }
    number::not_negative(spec, "startingDeadlineSeconds", &SPEC, errors);
    one_of(
        spec,
        "concurrencyPolicy",
        &["Allow", "Forbid", "Replace"],
        true,
        &SPEC,
        errors,
    );
    if let Some(zone) = spec.at("timeZone").and_then(Value::as_str) {
        let at = SPEC.child("timeZone");
        if zone.is_empty() {
            errors.invalid(&at, zone, "timeZone must be nil or non-empty string");
        } else if zone.eq_ignore_ascii_case("local") {
            errors.invalid(
                &at,
                zone,
                "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            );
        } else if jiff::tz::TimeZone::get(zone).is_err() {
            errors.invalid(&at, zone, &format!("unknown time zone {zone}"));
        }
    }
    let template = sub(spec, "jobTemplate");
    let at = SPEC.child("jobTemplate");
    let meta = at.child("metadata");
    metadata::labels(sub(template, "metadata").at("labels"), &meta.child("labels"), errors);
    let job = at.child("spec");
    job_spec(sub(template, "spec"), &job, errors);
    if sub(template, "spec").yes("manualSelector") {
        errors.unsupported(&job.child("manualSelector"), true, &["nil", "false"]);
    }
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        number::not_negative(spec, field, &SPEC, errors);
    }
    let name = sub(object, "metadata").text("name");
    if name.len() > 52 {
        // jobs get eleven characters more, and their names must fit a label
        errors.invalid(
            &Path::root("metadata").child("name"),
            name,
            "must be no more than 52 characters",
        );
    }
}
