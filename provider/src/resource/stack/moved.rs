//! Moves a single object of another provider into a stack, as a `moved` block requests.
//!
//! Nothing is read or sent. The resulting state says that one object exists, and the next plan shows what the stack
//! makes of it. The values of the old state are dropped, because they may be secret.

use myelin_engine::object::ObjectKey;
use myelin_engine::yaml::{self, FileId, Limits, Profile};
use serde_json::{Value as Json, json};

use crate::diagnostic::Diagnostic;
use crate::resource::MoveSource;
use crate::value::Value;

use super::StackResource;
use super::state::{texts, with};
use crate::resource::Resource as _;

/// Whose state can be read: provider (namespace and name, whatever the registry) and type.
const KNOWN: [(&str, &str); 3] = [
    ("hashicorp/kubernetes", "kubernetes_manifest"),
    ("gavinbunney/kubectl", "kubectl_manifest"),
    ("alekc/kubectl", "kubectl_manifest"),
];

/// Whether a state comes from a move and no apply has happened since: it has no name, because one object does not tell which
/// stack it goes to.
pub(super) fn is_moved(state: &Value) -> bool {
    !state.is_null() && state.attribute("name").is_null()
}

/// The state of a stack that is about to take that object over.
///
/// # Errors
/// If the state is of a type that is not known, or names no object.
pub(super) fn moved(resource: &StackResource, source: &MoveSource) -> Result<Value, Diagnostic> {
    let of = |(provider, kind): &(&str, &str)| {
        source.type_name == *kind && source.provider.ends_with(&format!("/{provider}"))
    };
    if !KNOWN.iter().any(of) {
        return Err(Diagnostic::error(
            format!(
                "A {} of {} cannot be moved to a myelin_stack",
                source.type_name, source.provider
            ),
            "A `moved` block takes over one object from kubernetes_manifest (hashicorp/kubernetes) or kubectl_manifest \
             (gavinbunney/kubectl, alekc/kubectl). Remove anything else from the state with a `removed` block and \
             `lifecycle { destroy = false }`; the stack adopts its objects when `adopt` allows it.",
        ));
    }
    let key = object(source)?;
    let says = json!({"moved": format!("from {}; the stack has not taken it over yet", source.type_name)});
    let nothing = resource
        .schema()
        .attributes
        .iter()
        .map(|attribute| (attribute.name, Value::Null));
    let objects = texts([(&key, says.to_string())]);
    Ok(with(&with(&Value::Null, nothing), [("objects", objects)]))
}

/// The object that the state is about.
fn object(source: &MoveSource) -> Result<ObjectKey, Diagnostic> {
    let nameless = |why: &str| {
        Diagnostic::error(
            format!("The {} cannot be moved", source.type_name),
            format!(
                "Its state names no object: {why}. Refresh it with its own provider first (terraform apply \
                 -refresh-only), or remove it with a `removed` block and `lifecycle {{ destroy = false }}`."
            ),
        )
    };
    let state: Json = serde_json::from_slice(&source.state).map_err(|_| nameless("it is not JSON"))?;
    let manifest = if source.type_name == "kubernetes_manifest" {
        // Attributes of any type are stored with their type beside them.
        ["object", "manifest"]
            .into_iter()
            .map(|name| &state[name])
            .map(|stored| stored.get("value").unwrap_or(stored))
            .find(|value| value.is_object())
            .cloned()
            .ok_or_else(|| nameless("neither object nor manifest is set"))?
    } else {
        named(&state).or_else(|| parsed(&state)).unwrap_or_default()
    };
    let key = ObjectKey::of(&manifest);
    if key.kind.is_empty() || key.name.is_empty() {
        return Err(nameless("it has no kind or no name"));
    }
    Ok(key)
}

/// From the attributes that name it.
fn named(state: &Json) -> Option<Json> {
    let text = |name: &str| state[name].as_str().filter(|text| !text.is_empty());
    Some(json!({
        "apiVersion": text("api_version")?, "kind": text("kind")?,
        "metadata": {"name": text("name")?, "namespace": text("namespace")},
    }))
}

/// From the manifest, as a person wrote it.
fn parsed(state: &Json) -> Option<Json> {
    let text = state["yaml_body"].as_str()?;
    let document = yaml::parse_one(text, FileId(0), Profile::Manifest, Limits::default()).ok()?;
    yaml::to_json(&document).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn source(provider: &str, type_name: &str, state: &Json) -> MoveSource {
        MoveSource {
            provider: provider.to_owned(),
            type_name: type_name.to_owned(),
            state: state.to_string().into_bytes(),
        }
    }

    #[test]
    fn the_object_is_named_and_none_of_its_values_is_taken_along() {
        let manifest = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "n"},
            "data": {"password": "aHVudGVyMg=="}});
        let deployment =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}});
        let hashicorp = "registry.terraform.io/hashicorp/kubernetes";
        for (provider, kind, state, expected) in [
            (
                hashicorp,
                "kubernetes_manifest",
                json!({"manifest": {"type": "x", "value": manifest}, "object": null}),
                "core/Secret/n/s",
            ),
            (
                hashicorp,
                "kubernetes_manifest",
                json!({"manifest": null, "object": {"type": "x", "value": deployment}}),
                "apps/Deployment/n/d",
            ),
            (
                "registry.opentofu.org/hashicorp/kubernetes",
                "kubernetes_manifest",
                json!({"manifest": manifest}),
                "core/Secret/n/s",
            ),
            (
                "registry.terraform.io/alekc/kubectl",
                "kubectl_manifest",
                json!({"api_version": "apps/v1", "kind": "Deployment", "name": "d", "namespace": "n", "yaml_body": "x"}),
                "apps/Deployment/n/d",
            ),
            (
                "registry.terraform.io/gavinbunney/kubectl",
                "kubectl_manifest",
                json!({"api_version": "v1", "kind": "Namespace", "name": "n", "namespace": null}),
                "core/Namespace//n",
            ),
            (
                "registry.terraform.io/gavinbunney/kubectl",
                "kubectl_manifest",
                json!({"yaml_body": "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\n  namespace: ns\n"}),
                "core/ConfigMap/ns/c",
            ),
        ] {
            let state = moved(&StackResource::default(), &source(provider, kind, &state)).expect("a state");
            let objects: &BTreeMap<String, Value> = state.attribute("objects").as_map().expect("objects");
            assert_eq!(objects.keys().collect::<Vec<_>>(), [expected]);
            assert!(!format!("{state:?}").contains("aHVudGVy"));
            assert!(is_moved(&state));
        }
    }

    #[test]
    fn what_is_not_known_or_names_nothing_is_refused_with_the_way_that_is_left() {
        let hashicorp = "registry.terraform.io/hashicorp/kubernetes";
        for (provider, kind, state, expected) in [
            (
                "registry.terraform.io/evil/kubernetes",
                "kubernetes_manifest",
                json!({}),
                "cannot be moved to a myelin_stack",
            ),
            (
                "registry.terraform.io/hashicorp/helm",
                "helm_release",
                json!({}),
                "cannot be moved to a myelin_stack",
            ),
            (
                hashicorp,
                "kubernetes_manifest",
                json!({"manifest": null}),
                "cannot be moved",
            ),
            (
                hashicorp,
                "kubernetes_manifest",
                json!({"manifest": {"value": {"kind": 7}}}),
                "cannot be moved",
            ),
            (
                "registry.terraform.io/alekc/kubectl",
                "kubectl_manifest",
                json!({"yaml_body": "{{"}),
                "cannot be moved",
            ),
            (
                "registry.terraform.io/alekc/kubectl",
                "kubectl_manifest",
                json!([1]),
                "cannot be moved",
            ),
        ] {
            let problem = moved(&StackResource::default(), &source(provider, kind, &state)).expect_err("refused");
            assert!(problem.summary.contains(expected), "{problem:?}");
            assert!(problem.detail.contains("removed"), "{problem:?}");
        }
    }
}
