//! OpenAPI documents of a group version: schemas of its kinds and the paths that clients look at.
//!
//! They carry what `kubectl explain`, `kubectl apply` and typed clients read (types, list kinds, patch strategies, required
//! fields, defaults); descriptions are not among the committed facts and are left out.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::resources::{Resource, Served};
use super::{ListKind, Scalar, Shape, Type};

/// A hash that changes when the document does.
pub(crate) fn hash(served: &Served, group: &str, version: &str) -> String {
    let mut hasher = Sha256::new();
    for resource in served.in_version(group, version) {
        hasher.update(resource.kind.as_bytes());
        if let Some(custom) = &resource.custom {
            hasher.update(custom.validation.to_string().as_bytes());
        }
    }
    let digest = hasher.finalize();
    digest[..16].iter().map(|byte| format!("{byte:02X}")).collect()
}

fn gvk(resource: &Resource) -> Value {
    json!([{"group": resource.gvr.group, "version": resource.gvr.version, "kind": resource.kind}])
}

/// The OpenAPI v3 document of a group version.
pub(crate) fn v3(served: &Served, group: &str, version: &str) -> Value {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for resource in served.in_version(group, version) {
        let Some(root) = resource.root() else { continue };
        let name = match &resource.custom {
            Some(custom) => {
                let reversed: Vec<&str> = group.split('.').rev().collect();
                let name = format!("{}.{version}.{}", reversed.join("."), resource.kind);
                let mut schema = custom.validation.clone();
                if !schema.is_object() {
                    schema = json!({"type": "object"});
                }
                let meta = "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
                schema["properties"]["apiVersion"] = json!({"type": "string"});
                schema["properties"]["kind"] = json!({"type": "string"});
                schema["properties"]["metadata"] = json!({"allOf": [{"$ref": meta}]});
                schema["x-kubernetes-group-version-kind"] = gvk(&resource);
                schemas.insert(name.clone(), schema);
                name
            }
            None => {
                let name = root.name().unwrap_or_default().to_owned();
                collect(root, &mut schemas);
                if let Some(schema) = schemas.get_mut(&name) {
                    schema["x-kubernetes-group-version-kind"] = gvk(&resource);
                }
                name
            }
        };
        add_paths(&mut paths, &resource, &name);
    }
    if !schemas.contains_key("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        && let Some(id) = super::builtin::schema()
            .names
            .get("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
    {
        collect(super::builtin::schema().at(*id), &mut schemas);
    }
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes (myelin-sandbox)", "version": "v1.36.2"},
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// The OpenAPI v2 document: paths with the parameters that clients look for, and definitions by reference.
pub(crate) fn v2(served: &Served) -> Value {
    let mut definitions = Map::new();
    for resource in served.stored() {
        if let (Some(root), None) = (resource.root(), &resource.custom) {
            collect(root, &mut definitions);
            if let Some(schema) = root.name().and_then(|name| definitions.get_mut(name)) {
                schema["x-kubernetes-group-version-kind"] = gvk(resource);
            }
        }
    }
    let text = Value::Object(definitions)
        .to_string()
        .replace("#/components/schemas/", "#/definitions/");
    let definitions: Value = serde_json::from_str(&text).unwrap_or_default();
    json!({
        "swagger": "2.0", "info": {"title": "Kubernetes (myelin-sandbox)", "version": "v1.36.2"}, "paths": {},
        "definitions": definitions,
    })
}

fn add_paths(paths: &mut Map<String, Value>, resource: &Resource, schema: &str) {
    let gvr = &resource.gvr;
    let base = if gvr.group.is_empty() {
        format!("/api/{}", gvr.version)
    } else {
        format!("/apis/{}/{}", gvr.group, gvr.version)
    };
    let place = if resource.namespaced {
        format!("{base}/namespaces/{{namespace}}/{}", gvr.plural)
    } else {
        format!("{base}/{}", gvr.plural)
    };
    let kind = gvk(resource)[0].clone();
    let content = json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{schema}")}}});
    let parameter =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let writes = json!([
        parameter("dryRun"),
        parameter("fieldManager"),
        parameter("fieldValidation")
    ]);
    let operation = |action: &str, writes_it: bool| {
        let mut out = json!({
            "x-kubernetes-action": action, "x-kubernetes-group-version-kind": kind,
            "responses": {"200": {"description": "OK", "content": content}},
        });
        if writes_it {
            out["parameters"] = writes.clone();
            out["requestBody"] = json!({"content": {"*/*": content["application/json"]}});
        }
        out
    };
    let can = |verb: &str| resource.verbs.iter().any(|v| v == verb);
    let (mut collection, mut single) = (Map::new(), Map::new());
    if can("list") {
        collection.insert("get".to_owned(), operation("list", false));
    }
    if can("create") {
        collection.insert("post".to_owned(), operation("post", true));
    }
    if can("get") {
        single.insert("get".to_owned(), operation("get", false));
    }
    if can("update") {
        single.insert("put".to_owned(), operation("put", true));
    }
    if can("patch") {
        single.insert("patch".to_owned(), operation("patch", true));
    }
    if can("delete") {
        single.insert("delete".to_owned(), operation("delete", false));
    }
    paths.insert(place.clone(), Value::Object(collection));
    if !single.is_empty() {
        paths.insert(format!("{place}/{{name}}"), Value::Object(single));
    }
}

/// Put a named type and all that it refers to into the document.
fn collect(root: Type<'_>, schemas: &mut Map<String, Value>) {
    let mut open = vec![root];
    let mut seen: BTreeSet<usize> = BTreeSet::new();
    while let Some(next) = open.pop() {
        let Some(name) = next.name() else { continue };
        if schemas.contains_key(name) || !seen.insert(next.id()) {
            continue;
        }
        let schema = described(next, &mut open, true);
        schemas.insert(name.to_owned(), schema);
    }
}

/// The schema of a type: named types are referred to, unless this is their own entry.
fn described<'a>(of: Type<'a>, open: &mut Vec<Type<'a>>, own_entry: bool) -> Value {
    if let Some(name) = of.name()
        && !own_entry
    {
        open.push(of);
        return json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]});
    }
    match of.shape() {
        Shape::Scalar(scalar) => match scalar {
            Scalar::String => json!({"type": "string"}),
            Scalar::Int32 => json!({"type": "integer", "format": "int32"}),
            Scalar::Int64 => json!({"type": "integer", "format": "int64"}),
            Scalar::Number => json!({"type": "number", "format": "double"}),
            Scalar::Boolean => json!({"type": "boolean"}),
            Scalar::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            Scalar::IntOrString => {
                json!({"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"})
            }
            Scalar::Bytes => json!({"type": "string", "format": "byte"}),
            Scalar::Time | Scalar::MicroTime => json!({"type": "string", "format": "date-time"}),
            Scalar::Opaque => json!({}),
        },
        Shape::Any => json!({"type": "object"}),
        Shape::Map { value, atomic } => {
            let mut out = json!({"type": "object", "additionalProperties": described(of.to(*value), open, false)});
            if *atomic {
                out["x-kubernetes-map-type"] = "atomic".into();
            }
            out
        }
        Shape::List { item, kind } => {
            let mut out = json!({"type": "array", "items": described(of.to(*item), open, false)});
            match kind {
                ListKind::Atomic => out["x-kubernetes-list-type"] = "atomic".into(),
                ListKind::Set => out["x-kubernetes-list-type"] = "set".into(),
                ListKind::Map(keys) => {
                    out["x-kubernetes-list-type"] = "map".into();
                    out["x-kubernetes-list-map-keys"] = keys.iter().map(|(key, _)| key.clone()).collect();
                }
            }
            out
        }
        Shape::Struct(this) => {
            let mut properties = Map::new();
            let mut required: Vec<&str> = Vec::new();
            for (name, field) in &this.fields {
                let mut schema = described(of.to(field.node), open, false);
                if let Some(default) = &field.default {
                    schema["default"] = default.clone();
                }
                if !field.allowed.is_empty() {
                    schema["enum"] = field.allowed.clone().into();
                }
                if let Some(key) = &field.patch.key {
                    schema["x-kubernetes-patch-merge-key"] = key.clone().into();
                }
                let strategies = [
                    (field.patch.merge, "merge"),
                    (field.patch.retain_keys, "retainKeys"),
                    (field.patch.replace, "replace"),
                ];
                let named: Vec<&str> = strategies.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
                if !named.is_empty() {
                    schema["x-kubernetes-patch-strategy"] = named.join(",").into();
                }
                if field.required {
                    required.push(name);
                }
                properties.insert(name.clone(), schema);
            }
            let mut out = json!({"type": "object"});
            if !properties.is_empty() {
                out["properties"] = Value::Object(properties);
            }
            if !required.is_empty() {
                required.sort_unstable();
                out["required"] = json!(required);
            }
            if this.atomic {
                out["x-kubernetes-map-type"] = "atomic".into();
            }
            out
        }
    }
}
