//! What an update of a pod may change: images, deadlines, tolerations that are added, gates that open.

use serde_json::Value;

use super::super::access::{Fields, copy, items_mut, remove, same, set, sub};
use super::super::errors::{Errors, Path};

const FIELDS: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

pub(super) fn change(old: &Value, new: &Value, errors: &mut Errors) {
    let path = Path::root("spec");
    let (before, after) = (sub(old, "spec"), sub(new, "spec"));
    for list in ["containers", "initContainers"] {
        let at = path.child(list);
        if after.items(list).len() != before.items(list).len() {
            errors.forbidden(&at, "pod updates may not add or remove containers");
            return;
        }
        for (index, container) in after.items(list).iter().enumerate() {
            let image = container.text("image");
            if image.is_empty() {
                errors.required(&at.index(index).child("image"), "");
            } else if image.trim() != image {
                errors.invalid(
                    &at.index(index).child("image"),
                    image,
                    "must not have leading or trailing whitespace",
                );
            }
        }
    }
    deadline(before, after, &path, errors);
    tolerations(before, after, &path.child("tolerations"), errors);
    if !same(after.at("schedulingGates"), before.at("schedulingGates")) {
        let list = path.child("schedulingGates");
        for (index, gate) in after.items("schedulingGates").iter().enumerate() {
            if !before
                .items("schedulingGates")
                .iter()
                .any(|other| other.text("name") == gate.text("name"))
            {
                let at = list.index(index);
                errors.forbidden(&at, "only deletion is allowed, but found new scheduling gate");
            }
        }
    }
    let (mut a, mut b) = (before.clone(), after.clone());
    neutral(&mut a, &mut b, before);
    if !same(Some(&a), Some(&b)) {
        errors.forbidden(&path, &format!("{FIELDS}\n"));
    }
}

fn deadline(before: &Value, after: &Value, path: &Path<'_>, errors: &mut Errors) {
    let at = path.child("activeDeadlineSeconds");
    match (before.int("activeDeadlineSeconds"), after.int("activeDeadlineSeconds")) {
        (_, Some(now)) if now < 0 || now > i64::from(i32::MAX) => {
            errors.invalid(&at, now, &super::super::names::between(0, i64::from(i32::MAX)));
        }
        (Some(was), Some(now)) if now > was => errors.invalid(&at, now, "must be less than or equal to previous value"),
        (Some(_), None) => errors.invalid(&at, None, "must not update from a positive integer to nil value"),
        _ => {}
    }
}

fn tolerations(before: &Value, after: &Value, path: &Path<'_>, errors: &mut Errors) {
    let kept = before.items("tolerations").iter().all(|old| {
        let without = |value: &Value| {
            let mut value = value.clone();
            remove(&mut value, "tolerationSeconds");
            value
        };
        let old = without(old);
        after
            .items("tolerations")
            .iter()
            .any(|new| same(Some(&without(new)), Some(&old)))
    });
    if !kept {
        errors.forbidden(
            path,
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
}

/// Makes the two alike in what may differ.
fn neutral(a: &mut Value, b: &mut Value, old: &Value) {
    for list in ["containers", "initContainers"] {
        let images: Vec<Value> = old.items(list).iter().map(|one| sub(one, "image").clone()).collect();
        for (container, image) in items_mut(b, list).iter_mut().zip(images) {
            set(container, "image", image);
        }
    }
    for field in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        remove(a, field);
        remove(b, field);
    }
    if old.int("terminationGracePeriodSeconds").is_some_and(|grace| grace < 0)
        && b.int("terminationGracePeriodSeconds") == Some(1)
    {
        copy(b, old, "terminationGracePeriodSeconds");
    }
    if !old.items("schedulingGates").is_empty() {
        // a gated pod's placement may still be narrowed
        for field in ["nodeSelector", "affinity"] {
            remove(a, field);
            remove(b, field);
        }
    }
}
