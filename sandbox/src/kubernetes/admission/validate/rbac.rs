//! Roles and bindings.

use serde_json::Value;

use super::super::access::{Fields, same, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::{gojson, names, selectors};

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn role(object: &Value, namespaced: bool, errors: &mut Errors) {
    let list = Path::root("rules");
    for (index, rule) in object.items("rules").iter().enumerate() {
        let at = list.index(index);
        if rule.items("verbs").is_empty() {
            errors.required(&at.child("verbs"), "verbs must contain at least one value");
        }
        if !rule.items("nonResourceURLs").is_empty() {
            if namespaced {
                errors.invalid(
                    &at.child("nonResourceURLs"),
                    sub(rule, "nonResourceURLs"),
                    "namespaced rules cannot apply to non-resource URLs",
                );
            }
            if !rule.items("apiGroups").is_empty()
                || !rule.items("resources").is_empty()
                || !rule.items("resourceNames").is_empty()
            {
                errors.invalid(
                    &at.child("nonResourceURLs"),
                    sub(rule, "nonResourceURLs"),
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        if rule.items("apiGroups").is_empty() {
            errors.required(
                &at.child("apiGroups"),
                "resource rules must supply at least one api group",
            );
        }
        if rule.items("resources").is_empty() {
            errors.required(
                &at.child("resources"),
                "resource rules must supply at least one resource",
            );
        }
    }
    if let Some(aggregation) = object.at("aggregationRule") {
        let path = Path::root("aggregationRule");
        let list = path.child("clusterRoleSelectors");
        if aggregation.items("clusterRoleSelectors").is_empty() {
            errors.required(
                &list,
                "at least one clusterRoleSelector required if aggregationRule is non-nil",
            );
        }
        for (index, selector) in aggregation.items("clusterRoleSelectors").iter().enumerate() {
            selectors::validate(Some(selector), &list.index(index), errors);
        }
    }
}

pub(super) fn binding(object: &Value, namespaced: bool, errors: &mut Errors) {
    let reference = sub(object, "roleRef");
    let at = Path::root("roleRef");
    if reference.text("apiGroup") != GROUP {
        errors.unsupported(&at.child("apiGroup"), reference.text("apiGroup"), &[GROUP]);
    }
    let kinds: &[&str] = if namespaced {
        &["Role", "ClusterRole"]
    } else {
        &["ClusterRole"]
    };
    if !kinds.contains(&reference.text("kind")) {
        errors.unsupported(&at.child("kind"), reference.text("kind"), kinds);
    }
    let name = reference.text("name");
    if name.is_empty() {
        errors.required(&at.child("name"), "");
    } else {
        errors.invalid_each(&at.child("name"), name, names::path_segment(name));
    }
    let list = Path::root("subjects");
    for (index, subject) in object.items("subjects").iter().enumerate() {
        let at = list.index(index);
        let name = subject.text("name");
        if name.is_empty() {
            errors.required(&at.child("name"), "");
        }
        match subject.text("kind") {
            "ServiceAccount" => {
                if !name.is_empty() {
                    errors.invalid_each(&at.child("name"), name, names::subdomain(name));
                }
                if !subject.text("apiGroup").is_empty() {
                    errors.unsupported(&at.child("apiGroup"), subject.text("apiGroup"), &[""]);
                }
                if !namespaced && subject.text("namespace").is_empty() {
                    errors.required(&at.child("namespace"), "");
                }
            }
            "User" | "Group" => {
                if subject.text("apiGroup") != GROUP {
                    errors.unsupported(&at.child("apiGroup"), subject.text("apiGroup"), &[GROUP]);
                }
            }
            other => errors.unsupported(&at.child("kind"), other, &["ServiceAccount", "User", "Group"]),
        }
    }
}

pub(super) fn binding_change(old: &Value, new: &Value, errors: &mut Errors) {
    if !same(old.at("roleRef"), new.at("roleRef")) {
        let reference = sub(new, "roleRef");
        let text = format!(
            "{{\"APIGroup\":{},\"Kind\":{},\"Name\":{}}}",
            gojson::string(reference.text("apiGroup")),
            gojson::string(reference.text("kind")),
            gojson::string(reference.text("name"))
        );
        errors.invalid(&Path::root("roleRef"), Shown::raw(text), "cannot change roleRef");
    }
}
