//! Spelling of names in messages. The engine names a document's fields in camelCase, as in YAML; HCL users know them in
//! snake_case and without `spec`. Text from a cluster or a cloud keeps its spelling: only words that are unambiguously
//! ours are translated.

/// Attributes whose camelCase name means nothing to Kubernetes or EC2.
const OURS: &[&str] = &[
    "delete_protected",
    "discovery_tags",
    "drain_hook",
    "drain_timeout",
    "expires_after",
    "health_timeout",
    "launch_timeout",
    "max_length",
    "max_removed_percent",
    "on_demand_base",
    "on_failure",
    "restart_on_config_change",
    "rotate_with",
    "signing_key",
    "spot_percent",
    "undrain_hook",
];

/// Attributes whose camelCase name is also a word of Kubernetes or EC2: translated only if the document itself is
/// meant.
const SHARED: &[&str] = &[
    "api_version",
    "at_deadline",
    "instance_profile",
    "instance_types",
    "kms_key",
    "max_unavailable",
    "metadata_hops",
    "metadata_tags",
    "public_address",
    "root_volume",
    "security_groups",
    "user_data",
    "user_data_encoding",
];

/// Places in a document that begin with `spec.` in YAML and without it in HCL.
const PLACES: &[&str] = &[
    "spec.components",
    "spec.images",
    "spec.namespace",
    "spec.substitute",
    "spec.tokens",
];

/// A text of the engine with the names of HCL. `of_document`: it is about a field of the document, and contains no
/// quotation.
pub fn in_hcl(text: &str, of_document: bool) -> String {
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        told.push_str(&rest[..start]);
        rest = &rest[start..];
        let at_word = !told.ends_with(['.', '_', '-', '/', '"']);
        if at_word && PLACES.iter().any(|place| begins(rest, place)) {
            rest = &rest["spec.".len()..];
        }
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let word = &rest[..end];
        let shared = if of_document { SHARED } else { &[] };
        match OURS.iter().chain(shared).find(|name| is_camel_case_of(word, name)) {
            Some(name) => told.push_str(name),
            None => told.push_str(word),
        }
        rest = &rest[end..];
    }
    told.push_str(rest);
    told
}

/// Whether a text begins with a place, and not with a longer word.
fn begins(text: &str, place: &str) -> bool {
    text.strip_prefix(place)
        .is_some_and(|after| !after.starts_with(|c: char| c.is_ascii_alphanumeric()))
}

fn is_camel_case_of(word: &str, name: &str) -> bool {
    let mut letters = word.chars();
    let mut upper = false;
    for letter in name.chars() {
        if letter == '_' {
            upper = true;
            continue;
        }
        let wanted = if upper { letter.to_ascii_uppercase() } else { letter };
        if letters.next() != Some(wanted) {
            return false;
        }
        upper = false;
    }
    letters.next().is_none() && name.contains('_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{Resource, node_pool::PoolResource, provisioning_token::TokenResource, stack::StackResource};
    use crate::schema::{Attribute, Kind};

    #[test]
    fn words_of_documents_are_told_as_hcl_writes_them_and_others_stay() {
        for (text, of_document, told) in [
            (
                "list Namespace under deleteProtected to delete it",
                false,
                "list Namespace under delete_protected to delete it",
            ),
            (
                "tokens.t.maxLength cannot be -1",
                true,
                "tokens.t.max_length cannot be -1",
            ),
            ("describe it under spec.tokens", true, "describe it under tokens"),
            (
                "Correct spec.components.a.path, or",
                false,
                "Correct components.a.path, or",
            ),
            ("At spec.namespace.", false, "At namespace."),
            (".spec.images is owned by x", false, ".spec.images is owned by x"),
            ("spec.imagesFrom is immutable", false, "spec.imagesFrom is immutable"),
            ("spec.template.apiVersion", false, "spec.template.apiVersion"),
            (
                "requires.0.apiVersion is missing",
                true,
                "requires.0.api_version is missing",
            ),
            ("with onFailure: rollback", false, "with on_failure: rollback"),
            ("adopt: ifUnowned", true, "adopt: ifUnowned"),
            ("Ünïcode deleteProtected→x", false, "Ünïcode delete_protected→x"),
            ("", false, ""),
        ] {
            assert_eq!(in_hcl(text, of_document), told, "{text}");
        }
    }

    #[test]
    fn every_setting_of_several_words_is_known() {
        fn names(attributes: &[Attribute], found: &mut Vec<&'static str>) {
            for attribute in attributes {
                if attribute.presence == crate::schema::Presence::Computed {
                    continue;
                }
                found.push(attribute.name);
                if let Kind::Nested(_, inner) = &attribute.kind {
                    names(inner, found);
                }
            }
        }
        let mut found = Vec::new();
        names(&StackResource::default().schema().attributes, &mut found);
        names(&TokenResource::default().schema().attributes, &mut found);
        names(&PoolResource::default().schema().attributes, &mut found);
        found.retain(|name| name.contains('_'));
        // Write-only values and their versions are no fields of a document.
        let apart = [
            "substitute_wo",
            "substitute_wo_version",
            "user_data_wo",
            "user_data_wo_version",
        ];
        let unknown: Vec<_> = found
            .iter()
            .filter(|name| !OURS.contains(name) && !SHARED.contains(name) && !apart.contains(name))
            .collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
