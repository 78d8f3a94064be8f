//! The scale subresource, and binding: writes to one field of an object under another name.

use std::sync::Arc;

use serde_json::{Value, json};

use super::update::Proposal;
use super::{Actor, Failure, FieldFault, Labels, Part, Registry, WriteOptions, Written};
use crate::kubernetes::fields::managed::{self, Request};
use crate::kubernetes::patch::{self, Patch};
use crate::kubernetes::schema::custom::ScalePaths;
use crate::kubernetes::schema::resources::Resource;

/// Where a resource keeps its scale.
fn paths(resource: &Resource) -> ScalePaths {
    match &resource.custom {
        Some(custom) => custom.scale.clone().unwrap_or_default(),
        None => ScalePaths {
            spec: ".spec.replicas".to_owned(),
            status: ".status.replicas".to_owned(),
            selector: None,
        },
    }
}

fn at<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.')
        .filter(|part| !part.is_empty())
        .fold(object, |value, part| &value[part])
}

fn set(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for part in path.split('.').filter(|part| !part.is_empty()) {
        if !place.is_object() {
            *place = json!({});
        }
        place = &mut place[part];
    }
    *place = value;
}

fn remove(object: &mut Value, path: &str) {
    let pointer = path.replace('.', "/");
    if let Some((parent, last)) = pointer.rsplit_once('/')
        && let Some(map) = object.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        map.remove(last);
    }
}

impl Registry {
    /// The `Scale` of an object.
    pub fn scale_of(&self, resource: &Resource, object: &Value) -> Result<Value, Failure> {
        let paths = paths(resource);
        let metadata = &object["metadata"];
        let mut out = json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        }, "spec": {}, "status": {"replicas": at(object, &paths.status).as_i64().unwrap_or(0)}});
        if let Some(replicas) = at(object, &paths.spec).as_i64().filter(|n| *n != 0) {
            out["spec"]["replicas"] = replicas.into();
        }
        let selector = match (&paths.selector, resource.is_custom()) {
            (Some(path), _) => at(object, path).as_str().unwrap_or_default().to_owned(),
            (None, true) => String::new(),
            (None, false) => {
                let selector = &object["spec"]["selector"];
                Labels::from_value(selector)
                    .map(|_| selector_text(selector))
                    .unwrap_or_default()
            }
        };
        if !selector.is_empty() {
            out["status"]["selector"] = selector.into();
        }
        Ok(out)
    }

    /// Replace an object's scale.
    pub fn put_scale(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        scale: &Value,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        let sent = scale["metadata"]["name"].as_str().unwrap_or_default();
        if sent != name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({sent}) does not match the name on the URL ({name})"
            )));
        }
        self.write_scale(actor, resource, namespace, name, options, &mut |_| Ok(scale.clone()))
    }

    /// Patch or apply an object's scale.
    pub fn patch_scale(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        change: &Patch,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        let Patch::Apply(body) = change else {
            return self.write_scale(actor, resource, namespace, name, options, &mut |live| {
                patch::patched(resource, &self.scale_of(resource, live)?, change)
            });
        };
        let path = paths(resource).spec;
        let replicas = body["spec"]["replicas"].clone();
        self.rewrite(actor, resource, namespace, name, Part::Scale, options, &mut |live| {
            // A scale's one field is the object's one: apply exactly that to the object.
            let mut config = json!({"apiVersion": resource.api_version(), "kind": resource.kind});
            if !replicas.is_null() {
                set(&mut config, &path, replicas.clone());
            }
            let now = self.clock().timestamp();
            let lookup = |api_version: &str| self.in_version(resource, api_version);
            let request = Request {
                resource,
                lookup: &lookup,
                config: &config,
                manager: &actor.manager,
                part: Part::Scale,
                force: options.force,
                now: &now,
            };
            let value = managed::on_apply(request, Some(live.value()))?;
            check(resource, name, at(&value, &path))?;
            Ok(Proposal {
                value,
                managed: true,
                pinned: false,
                uid_is_precondition: true,
                warnings: Vec::new(),
            })
        })
    }

    fn write_scale(
        &self,
        actor: &Actor,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        options: &WriteOptions,
        change: &mut dyn FnMut(&Value) -> Result<Value, Failure>,
    ) -> Result<Written, Failure> {
        let path = paths(resource).spec;
        self.rewrite(actor, resource, namespace, name, Part::Scale, options, &mut |live| {
            let scale = change(live.value())?;
            let replicas = &scale["spec"]["replicas"];
            if !replicas.is_null() && !replicas.is_i64() && !replicas.is_u64() {
                return Err(Failure::bad_request(
                    "Scale in version \"v1\" cannot be handled as a Scale: json: cannot unmarshal into Go struct field \
                     ScaleSpec.spec.replicas of type int32",
                ));
            }
            check(resource, name, replicas)?;
            let mut value = live.value().clone();
            set(&mut value, &path, replicas.as_i64().unwrap_or(0).into());
            if replicas.as_i64().unwrap_or(0) == 0 {
                // A scale does not write a zero, so its writer owns nothing, and no other manager owns the field
                // either.
                let lookup = |api_version: &str| self.in_version(resource, api_version);
                let now = self.clock().timestamp();
                let mut without = live.value().clone();
                remove(&mut without, &path);
                managed::on_update(
                    resource,
                    &lookup,
                    Some(live.value()),
                    &mut without,
                    &actor.manager,
                    Part::Scale,
                    &now,
                );
                value["metadata"]["managedFields"] = without["metadata"]["managedFields"].take();
            }
            let version = &scale["metadata"]["resourceVersion"];
            let pinned = version.as_str().is_some_and(|v| !v.is_empty());
            if pinned {
                value["metadata"]["resourceVersion"] = version.clone();
            }
            let uid = &scale["metadata"]["uid"];
            if uid.is_string() {
                value["metadata"]["uid"] = uid.clone();
            }
            Ok(Proposal {
                value,
                managed: replicas.as_i64().unwrap_or(0) == 0,
                pinned,
                uid_is_precondition: true,
                warnings: Vec::new(),
            })
        })
    }

    /// Bind a pod to a node.
    pub fn bind(
        &self,
        actor: &Actor,
        namespace: &str,
        name: &str,
        node: &str,
        options: &WriteOptions,
    ) -> Result<Written, Failure> {
        let pods = self.resource("pods")?;
        let now = self.clock().timestamp();
        self.rewrite(actor, &pods, namespace, name, Part::Binding, options, &mut |live| {
            let mut value = live.value().clone();
            value["spec"]["nodeName"] = node.into();
            let mut conditions = value["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.retain(|condition| condition["type"] != "PodScheduled");
            conditions.push(json!({
                "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now,
            }));
            value["status"]["conditions"] = conditions.into();
            Ok(Proposal {
                value,
                managed: true,
                pinned: false,
                uid_is_precondition: true,
                warnings: Vec::new(),
            })
        })
    }
}

fn check(resource: &Resource, name: &str, replicas: &Value) -> Result<(), Failure> {
    match replicas.as_i64() {
        Some(count) if count < 0 => {
            let fault = FieldFault::invalid("spec.replicas", replicas, "must be greater than or equal to 0");
            let _ = resource;
            Err(Failure::invalid("autoscaling", "Scale", name, &[fault]))
        }
        _ => Ok(()),
    }
}

/// A selector as a query would write it.
fn selector_text(selector: &Value) -> String {
    let map = if selector["matchLabels"].is_object() || selector["matchExpressions"].is_array() {
        &selector["matchLabels"]
    } else {
        selector
    };
    let mut parts: Vec<String> = map
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> = expression["values"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        });
    }
    parts.join(",")
}
