//! Security contexts of pods and containers.

use serde_json::Value;

use super::super::access::{Fields, sub};
use super::super::errors::{Errors, Path};
use super::number::one_of;

/// User and group ids that the kernel can hold.
fn id(value: &Value, field: &str, path: &Path<'_>, errors: &mut Errors) {
    if let Some(id) = value.int(field).filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
        errors.invalid(&path.child(field), id, "must be between 0 and 2147483647, inclusive");
    }
}

fn seccomp(context: &Value, path: &Path<'_>, errors: &mut Errors) {
    let Some(profile) = context.at("seccompProfile") else {
        return;
    };
    let path = path.child("seccompProfile");
    one_of(
        profile,
        "type",
        &["Localhost", "RuntimeDefault", "Unconfined"],
        true,
        &path,
        errors,
    );
    let local = profile.text("localhostProfile");
    if profile.text("type") == "Localhost" {
        if local.is_empty() {
            errors.required(
                &path.child("localhostProfile"),
                "must be set when seccomp type is Localhost",
            );
        } else if let Some(why) = super::super::names::escapes(local) {
            errors.invalid(&path.child("localhostProfile"), local, why);
        }
    } else if profile.has("localhostProfile") {
        errors.invalid(
            &path.child("localhostProfile"),
            local,
            "can only be set when seccomp type is Localhost",
        );
    }
}

pub(super) fn of_container(context: &Value, path: &Path<'_>, errors: &mut Errors) {
    if context.is_null() {
        return;
    }
    id(context, "runAsUser", path, errors);
    id(context, "runAsGroup", path, errors);
    one_of(context, "procMount", &["Default", "Unmasked"], false, path, errors);
    if sub(context, "allowPrivilegeEscalation").as_bool() == Some(false) {
        let at = path.child("allowPrivilegeEscalation");
        if context.yes("privileged") {
            errors.invalid(
                &at,
                false,
                "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
            );
        }
        if sub(context, "capabilities")
            .texts("add")
            .iter()
            .any(|one| matches!(*one, "CAP_SYS_ADMIN" | "SYS_ADMIN"))
        {
            errors.invalid(
                &at,
                false,
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
    seccomp(context, path, errors);
}

pub(super) fn of_pod(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let context = sub(spec, "securityContext");
    if spec.yes("shareProcessNamespace") && spec.yes("hostPID") {
        errors.invalid(
            &path.child("shareProcessNamespace"),
            true,
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    let path = path.child("securityContext");
    id(context, "fsGroup", &path, errors);
    id(context, "runAsUser", &path, errors);
    id(context, "runAsGroup", &path, errors);
    let groups = path.child("supplementalGroups");
    for (index, group) in context.items("supplementalGroups").iter().enumerate() {
        if let Some(id) = group.as_i64().filter(|id| !(0..=i64::from(i32::MAX)).contains(id)) {
            errors.invalid(&groups.index(index), id, "must be between 0 and 2147483647, inclusive");
        }
    }
    one_of(
        context,
        "fsGroupChangePolicy",
        &["Always", "OnRootMismatch"],
        false,
        &path,
        errors,
    );
    one_of(
        context,
        "supplementalGroupsPolicy",
        &["Merge", "Strict"],
        false,
        &path,
        errors,
    );
    let sysctls = path.child("sysctls");
    let mut seen = std::collections::BTreeSet::new();
    for (index, sysctl) in context.items("sysctls").iter().enumerate() {
        let at = sysctls.index(index);
        let name = sysctl.text("name");
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        } else if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
    }
    seccomp(context, &path, errors);
}
