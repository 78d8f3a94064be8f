//! CustomResourceDefinitions: names, versions, and what an update may change. Their schemas are judged in `structural`.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::access::{Fields, same, sub};
use super::super::errors::{Errors, Path, Shown};
use super::super::{gojson, names};
use super::structural;

const SPEC: Path<'static> = Path::root("spec");

/// Checks a definition.
pub(in super::super) fn check(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let name = sub(object, "metadata").text("name");
    let wanted = format!("{}.{}", sub(spec, "names").text("plural"), spec.text("group"));
    if name != wanted {
        errors.invalid(
            &Path::root("metadata").child("name"),
            name,
            "must be spec.names.plural+\".\"+spec.group",
        );
    }
    let group = spec.text("group");
    if group.is_empty() {
        errors.required(&SPEC.child("group"), "");
    } else {
        let problems = names::subdomain(group);
        let fine = problems.is_empty();
        errors.invalid_each(&SPEC.child("group"), group, problems);
        if fine && !group.contains('.') {
            errors.invalid(&SPEC.child("group"), group, "should be a domain with at least one dot");
        }
    }
    match spec.text("scope") {
        "" => errors.required(&SPEC.child("scope"), ""),
        "Cluster" | "Namespaced" => {}
        other => errors.unsupported(&SPEC.child("scope"), other, &["Cluster", "Namespaced"]),
    }
    versions(object, errors);
    accepted(sub(spec, "names"), errors);
    if sub(spec, "conversion").text("strategy") == "Webhook" && !sub(spec, "conversion").has("webhook") {
        errors.required(
            &SPEC.child("conversion").child("webhookClientConfig"),
            "required when strategy is set to Webhook",
        );
    }
    let strategy = sub(spec, "conversion").text("strategy");
    if !matches!(strategy, "None" | "Webhook") {
        errors.unsupported(
            &SPEC.child("conversion").child("strategy"),
            strategy,
            &["None", "Webhook"],
        );
    }
}

fn accepted(names_of: &Value, errors: &mut Errors) {
    let at = SPEC.child("names");
    for field in ["plural", "singular", "kind", "listKind"] {
        let name = names_of.text(field);
        if name.is_empty() {
            if field != "singular" {
                errors.required(&at.child(field), "");
            }
            continue;
        }
        let cased = matches!(field, "kind" | "listKind");
        let lower = name.to_lowercase();
        for problem in names::label_1035(if cased { &lower } else { name }) {
            let detail = if cased {
                format!("may have mixed case, but should otherwise match: {problem}")
            } else {
                problem
            };
            errors.invalid(&at.child(field), name, &detail);
        }
    }
    let list = at.child("shortNames");
    for (index, name) in names_of.texts("shortNames").into_iter().enumerate() {
        errors.invalid_each(&list.index(index), name, names::label_1035(name));
    }
    if !names_of.text("kind").is_empty() && names_of.text("kind") == names_of.text("listKind") {
        errors.invalid(
            &at.child("listKind"),
            names_of.text("listKind"),
            "kind and listKind may not be the same",
        );
    }
}

fn versions(object: &Value, errors: &mut Errors) {
    let spec = sub(object, "spec");
    let all = spec.items("versions");
    let list = SPEC.child("versions");
    let mut seen = BTreeSet::new();
    let schema_of = |version: &Value| sub(sub(version, "schema"), "openAPIV3Schema").clone();
    let hoisted = all.iter().all(|version| schema_of(version) == schema_of(&all[0]));
    for (index, version) in all.iter().enumerate() {
        let at = list.index(index);
        let name = version.text("name");
        for problem in names::label_1035(name) {
            errors.invalid(&at.child("name"), name, &problem);
        }
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        let schema = schema_of(version);
        if !schema.is_object() {
            let schema = at.child("schema");
            errors.required(&schema.child("openAPIV3Schema"), "");
        } else if !hoisted {
            structural::check(
                &schema,
                &format!("spec.versions[{index}].schema.openAPIV3Schema"),
                errors,
            );
        }
        scale(version, &at, errors);
    }
    if hoisted && let Some(schema) = all.first().map(schema_of).filter(Value::is_object) {
        // the server moves a schema that all versions share to the top
        structural::check(&schema, "spec.validation.openAPIV3Schema", errors);
    }
    let storage: Vec<&str> = all
        .iter()
        .filter(|version| version.yes("storage"))
        .map(|version| version.text("name"))
        .collect();
    if all.is_empty() {
        errors.required(&list, "must have at least one version");
    }
    if storage.len() != 1 {
        let text: Vec<String> = all.iter().map(|version| version_text(version, hoisted)).collect();
        errors.invalid(
            &list,
            Shown::raw(format!("[{}]", text.join(","))),
            "must have exactly one version marked as storage version",
        );
    }
    let stored = sub(object, "status").texts("storedVersions");
    let path = Path::root("status");
    let at = path.child("storedVersions");
    if stored.is_empty() {
        errors.invalid(&at, Shown::raw("[]"), "must have at least one stored version");
    }
    if let Some(last) = storage.last()
        && !stored.contains(last)
        && !stored.is_empty()
    {
        let shown = gojson::text(sub(sub(object, "status"), "storedVersions"));
        errors.invalid(&at, Shown::raw(shown), &format!("must have the storage version {last}"));
    }
    for (index, name) in stored.into_iter().enumerate() {
        if !seen.contains(name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.invalid(&at.index(index), name, &detail);
        }
    }
}

fn scale(version: &Value, at: &Path<'_>, errors: &mut Errors) {
    let Some(scale) = sub(version, "subresources").at("scale") else {
        return;
    };
    let subresources = at.child("subresources");
    let at = subresources.child("scale");
    for (field, root) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let path = scale.text(field);
        if path.is_empty() {
            errors.required(&at.child(field), "");
        } else if !path.starts_with(root) {
            errors.invalid(
                &at.child(field),
                path,
                &format!("should be a json path under {}", root.trim_end_matches('.')),
            );
        }
    }
}

fn version_text(version: &Value, hoisted: bool) -> String {
    let or_null = |field: &str| version.at(field).map_or_else(|| "null".to_owned(), gojson::text);
    format!(
        "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":{},\"Subresources\":{},\"AdditionalPrinterColumns\":{},\"SelectableFields\":{}}}",
        gojson::string(version.text("name")),
        version.yes("served"),
        version.yes("storage"),
        version.yes("deprecated"),
        or_null("deprecationWarning"),
        if hoisted { "null".to_owned() } else { or_null("schema") },
        or_null("subresources"),
        or_null("additionalPrinterColumns"),
        or_null("selectableFields")
    )
}

/// What a definition that is established keeps.
pub(in super::super) fn change(old: &Value, new: &Value, errors: &mut Errors) {
    let established = sub(old, "status")
        .items("conditions")
        .iter()
        .any(|condition| condition.text("type") == "Established" && condition.text("status") == "True");
    let (before, after) = (sub(old, "spec"), sub(new, "spec"));
    if established {
        for field in ["group", "scope"] {
            if before.text(field) != after.text(field) {
                errors.invalid(&SPEC.child(field), after.text(field), "field is immutable");
            }
        }
        let at = SPEC.child("names");
        for field in ["kind", "plural"] {
            if !same(sub(before, "names").at(field), sub(after, "names").at(field)) {
                errors.invalid(&at.child(field), sub(after, "names").text(field), "field is immutable");
            }
        }
    }
}
