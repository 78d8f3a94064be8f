//! Each object as it will be sent: with namespace and ApplySet label, and without fields that only a server may write.
//! Adds the stack's own Namespace if no manifest has it.

use super::DesiredObject;
use crate::cluster::kinds;
use crate::diagnostic::{Diagnostic, Diagnostics, FilePlace};
use crate::document::Stack;
use crate::object::ObjectKey;
use crate::origin::FieldOrigins;
use crate::record::{PART_OF, StackId};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Shapes every object; duplicates and objects without a name are problems.
pub(super) fn shape(stack: &Stack, id: &StackId, objects: &mut Vec<DesiredObject>, problems: &mut Diagnostics) {
    let scopes = scopes_of(objects);
    let part_of = id.apply_set();
    let mut seen: BTreeMap<ObjectKey, FilePlace> = BTreeMap::new();
    for object in objects.iter_mut() {
        let before = problems.0.len();
        check(object, problems);
        if problems.0.len() > before {
            continue;
        }
        strip(&mut object.value);
        encode_string_data(object);
        let key = ObjectKey::of(&object.value);
        let namespaced = scopes
            .get(&(key.group.clone(), key.kind.clone()))
            .copied()
            .unwrap_or_else(|| kinds::is_namespaced(&key.group, &key.kind));
        place(object, namespaced, &stack.namespace);
        label(object, &part_of, problems);
        object.key = ObjectKey::of(&object.value);
        if let Some(first) = seen.insert(object.key.clone(), object.origin.clone()) {
            problems.push(
                Diagnostic::error(format!("{} is there twice", object.key.human()))
                    .detail(format!(
                        "the other one comes from {first}; remove or rename one of them"
                    ))
                    .at(object.origin.clone())
                    .object(object.key.clone()),
            );
        }
    }
    let scaled: Vec<ObjectKey> = objects.iter().filter_map(|o| scale_target(&o.value)).collect();
    for object in objects.iter_mut() {
        without_replicas_if_scaled(object, &scaled);
    }
    let namespace = ObjectKey::new("", "Namespace", "", &*stack.namespace);
    // Even a set without namespaced objects needs it, because it contains the record.
    if !seen.contains_key(&namespace) {
        objects.push(own_namespace(stack, namespace, &part_of));
    }
}

/// Whether kinds that CRDs of the set define are namespaced.
fn scopes_of(objects: &[DesiredObject]) -> BTreeMap<(String, String), bool> {
    let definitions = objects.iter().filter(|o| o.key.kind == "CustomResourceDefinition");
    definitions
        .filter_map(|d| {
            let text = |p: &str| d.value.pointer(p).and_then(Value::as_str).map(str::to_owned);
            Some((
                (text("/spec/group")?, text("/spec/names/kind")?),
                text("/spec/scope")? == "Namespaced",
            ))
        })
        .collect()
}

fn check(object: &DesiredObject, problems: &mut Diagnostics) {
    let mut wrong = |summary: String, fix: &str| {
        problems.push(Diagnostic::error(summary).detail(fix).at(object.origin.clone()));
    };
    let key = &object.key;
    if object.api_version.is_empty() || key.kind.is_empty() {
        wrong(
            "a manifest has no apiVersion or no kind".into(),
            "every Kubernetes object needs both",
        );
    } else if key.name.is_empty() {
        let generated = object.value.pointer("/metadata/generateName").is_some();
        let fix = if generated {
            "generateName makes another object at every apply; write a name"
        } else {
            "write metadata.name"
        };
        wrong(format!("a {} has no name", key.kind), fix);
    } else if let Some(bad) = [&key.name, &key.namespace]
        .into_iter()
        .find(|name| leaves_its_segment(name))
    {
        wrong(
            format!("{bad:?} cannot be the name or namespace of a {}", key.kind),
            "a name is one segment of a URL: it cannot be . or .., and holds neither / nor %",
        );
    } else if key.to_string().split('/').count() != 4 {
        wrong(
            format!("{} has a slash in its apiVersion or kind", key.human()),
            "a kind holds no slash, an apiVersion at most one",
        );
    }
}

/// Whether a URL with this name in it could be read as that of another object: `configmaps/..` is the namespace itself
/// for a proxy that tidies paths. No kind of Kubernetes allows such a name (`IsValidPathSegmentName`), but the record
/// would hold it before the API server could say so.
fn leaves_its_segment(name: &str) -> bool {
    matches!(name, "." | "..") || name.contains(['/', '%'])
}

/// Removes what only the server writes. Exported manifests often contain it; it would be refused or fought over.
fn strip(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "creationTimestamp",
            "generation",
            "managedFields",
            "resourceVersion",
            "selfLink",
            "uid",
            "deletionTimestamp",
        ] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
    }
    // Generators of manifests write `creationTimestamp: null` into templates, too.
    for template in [
        "/spec/template/metadata",
        "/spec/jobTemplate/metadata",
        "/spec/jobTemplate/spec/template/metadata",
    ] {
        if let Some(metadata) = value.pointer_mut(template).and_then(Value::as_object_mut) {
            metadata.retain(|name, v| !(name == "creationTimestamp" && v.is_null()));
        }
    }
}

/// `stringData` → `data`, as the server does it. The server would own one field as written and the other as stored, so
/// that a change of the stored one would not show as ours.
fn encode_string_data(object: &mut DesiredObject) {
    if object.key.kind != "Secret" || !object.key.group.is_empty() {
        return;
    }
    let Some(Value::Object(texts)) = object.value.as_object_mut().and_then(|o| o.remove("stringData")) else {
        return;
    };
    let data = object
        .value
        .as_object_mut()
        .map(|o| o.entry("data").or_insert_with(|| json!({})));
    let Some(data) = data else { return };
    if data.is_null() {
        *data = json!({});
    }
    let Some(data) = data.as_object_mut() else { return };
    for (name, text) in texts {
        // Not a text: left for the server to refuse.
        let encoded = text.as_str().map_or(text.clone(), |t| STANDARD.encode(t).into());
        data.insert(name, encoded);
    }
    for places in [&mut object.write_only, &mut object.unknown] {
        *places = std::mem::take(places)
            .into_iter()
            .map(|p| {
                p.strip_prefix("/stringData/")
                    .map_or(p.clone(), |rest| format!("/data/{rest}"))
            })
            .collect();
    }
}

fn metadata(value: &mut Value) -> Option<&mut Map<String, Value>> {
    value.get_mut("metadata")?.as_object_mut()
}

fn place(object: &mut DesiredObject, namespaced: bool, namespace: &str) {
    let Some(metadata) = metadata(&mut object.value) else {
        return;
    };
    if !namespaced {
        metadata.remove("namespace");
    } else if metadata
        .get("namespace")
        .and_then(Value::as_str)
        .is_none_or(str::is_empty)
    {
        metadata.insert("namespace".into(), namespace.into());
    }
}

fn label(object: &mut DesiredObject, part_of: &str, problems: &mut Diagnostics) {
    let key = object.key.human();
    let Some(metadata) = metadata(&mut object.value) else {
        return;
    };
    let labels = metadata.entry("labels").or_insert_with(|| json!({}));
    if labels.is_null() {
        *labels = json!({});
    }
    let Some(labels) = labels.as_object_mut() else {
        problems.push(
            Diagnostic::error(format!("{key}: metadata.labels is no map"))
                .detail("write label: value pairs")
                .at(object.origin.clone()),
        );
        return;
    };
    if labels.get(PART_OF).is_some_and(|v| v != part_of) {
        problems.push(
            Diagnostic::error(format!("{key} carries the label {PART_OF} of another set"))
                .detail("remove the label from the manifest; the stack sets its own")
                .at(object.origin.clone()),
        );
    }
    labels.insert(PART_OF.into(), part_of.into());
}

/// The workload that a HorizontalPodAutoscaler scales.
pub(crate) fn scale_target(value: &Value) -> Option<ObjectKey> {
    let key = ObjectKey::of(value);
    if key.group != "autoscaling" || key.kind != "HorizontalPodAutoscaler" {
        return None;
    }
    let text = |p: &str| value.pointer(p).and_then(Value::as_str);
    let group = crate::object::split_api_version(text("/spec/scaleTargetRef/apiVersion").unwrap_or("apps/v1")).0;
    let (kind, name) = (text("/spec/scaleTargetRef/kind")?, text("/spec/scaleTargetRef/name")?);
    Some(ObjectKey::new(group, kind, key.namespace, name))
}

/// A scaled workload's replicas belong to the autoscaler: they are not sent, so that they do not become ours.
fn without_replicas_if_scaled(object: &mut DesiredObject, scaled: &[ObjectKey]) {
    if scaled.contains(&object.key) {
        if let Some(spec) = object.value.get_mut("spec").and_then(Value::as_object_mut) {
            spec.remove("replicas");
        }
        object.unknown.remove("/spec/replicas");
        object.write_only.remove("/spec/replicas");
    }
}

fn own_namespace(stack: &Stack, key: ObjectKey, part_of: &str) -> DesiredObject {
    DesiredObject {
        value: json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": stack.namespace, "labels": {PART_OF: part_of}},
        }),
        key,
        api_version: "v1".into(),
        // Part of the base, or of the only component: order comes from the edges to it.
        component: stack.components.is_empty().then(|| stack.name.clone()),
        origin: FilePlace::file("spec.namespace"),
        fields: FieldOrigins::default(),
        write_only: BTreeSet::new(),
        unknown: BTreeSet::new(),
        implicit: true,
    }
}
