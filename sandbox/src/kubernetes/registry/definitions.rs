//! What follows from writes to CustomResourceDefinitions: their resources are served, their conditions say so, and they
//! take their objects with them when they go.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Actor, DeleteOptions, Registry, update};
use crate::kubernetes::schema::custom;
use crate::kubernetes::schema::resources::Resource;
use crate::kubernetes::store::{self, Object};

pub(super) const DEFINITIONS: &str = "customresourcedefinitions.apiextensions.k8s.io";
/// Holds a definition until its objects are gone.
pub(super) const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

impl Registry {
    /// What follows from a write that has happened.
    pub(crate) fn after_write(&self, resource: &Resource, previous: Option<&Arc<Object>>, object: &Arc<Object>) {
        if &*resource.storage == DEFINITIONS {
            self.definition_written(previous, object);
        } else if resource.is_custom() && update::is_released(object.value()) {
            self.clean_up(&resource.storage);
        }
    }

    fn definition_written(&self, previous: Option<&Arc<Object>>, object: &Arc<Object>) {
        let name = object.name();
        let gone = self.store().table(DEFINITIONS).get(&store::key("", name)).is_none();
        if gone {
            self.catalog().install(name, Vec::new());
            return;
        }
        let spec = &object.value()["spec"];
        let conflict = self.name_conflict(name, spec);
        let is_served = self.catalog().served().by_storage(name).is_some();
        let changed = previous.is_none_or(|previous| previous.value()["spec"] != *spec);
        if conflict.is_none() && (changed || !is_served) {
            self.catalog().install(name, custom::resources(object.value()));
        }
        self.tell_conditions(name, conflict.as_ref());
        if object.is_deleting() {
            self.clean_up(name);
        }
    }

    /// A name of this definition that another resource of its group has already: its kind of name, and the name.
    fn name_conflict(&self, own: &str, spec: &Value) -> Option<(&'static str, String)> {
        let served = self.catalog().served();
        let group = spec["group"].as_str().unwrap_or_default();
        let others: Vec<&Arc<Resource>> = served
            .stored()
            .filter(|other| other.gvr.group == group && &*other.storage != own)
            .collect();
        let names = &spec["names"];
        let text = |field: &str| names[field].as_str().unwrap_or_default();
        let taken = |name: &str| {
            !name.is_empty()
                && others
                    .iter()
                    .any(|o| o.gvr.plural == name || o.singular == name || o.short_names.iter().any(|s| s == name))
        };
        let short = names["shortNames"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        if taken(text("plural")) {
            return Some(("PluralConflict", text("plural").to_owned()));
        }
        if taken(text("singular")) {
            return Some(("SingularConflict", text("singular").to_owned()));
        }
        if let Some(name) = short.into_iter().find(|name| taken(name)) {
            return Some(("ShortNamesConflict", name.to_owned()));
        }
        let kind_taken = |kind: &str| !kind.is_empty() && others.iter().any(|other| other.kind == kind);
        if kind_taken(text("kind")) {
            return Some(("KindConflict", text("kind").to_owned()));
        }
        None
    }

    fn tell_conditions(&self, name: &str, conflict: Option<&(&'static str, String)>) {
        let now = self.clock().timestamp();
        let outcome = self.modify_status(&Actor::server(), DEFINITIONS, "", name, |definition| {
            let accepted = conflict.is_none();
            if accepted {
                let mut names = definition["spec"]["names"].clone();
                if names["singular"].as_str().is_none_or(str::is_empty) {
                    names["singular"] = names["kind"].as_str().unwrap_or_default().to_lowercase().into();
                }
                definition["status"]["acceptedNames"] = names;
            }
            let (status, reason, message) = match conflict {
                None => ("True", "NoConflicts", "no conflicts found".to_owned()),
                Some((reason, name)) => ("False", *reason, format!("\"{name}\" is already in use")),
            };
            condition(definition, "NamesAccepted", status, reason, &message, &now);
            let established = definition["status"]["conditions"]
                .as_array()
                .is_some_and(|list| list.iter().any(|c| c["type"] == "Established" && c["status"] == "True"));
            if accepted {
                let message = "the initial names have been accepted";
                condition(definition, "Established", "True", "InitialNamesAccepted", message, &now);
            } else if !established {
                condition(
                    definition,
                    "Established",
                    "False",
                    "NotAccepted",
                    "not all names are accepted",
                    &now,
                );
            }
            if definition["metadata"]["deletionTimestamp"].is_string() {
                let message = "CustomResource deletion is in progress";
                condition(
                    definition,
                    "Terminating",
                    "True",
                    "InstanceDeletionInProgress",
                    message,
                    &now,
                );
            }
        });
        if let Err(failure) = outcome
            && !failure.is_not_found()
        {
            tracing::warn!(%failure, name, "cannot write a definition's status");
        }
    }

    /// Delete the objects of a definition that is going; when none is left, let it go.
    fn clean_up(&self, name: &str) {
        let Some(definition) = self.store().table(DEFINITIONS).get(&store::key("", name)) else {
            return;
        };
        if !definition.is_deleting() {
            return;
        }
        let Some(resource) = self.catalog().served().by_storage(name) else {
            self.release(name);
            return;
        };
        let table = self.table(&resource);
        for object in table.list("", None).objects {
            if !object.is_deleting() {
                let options = DeleteOptions::default();
                let _ = self.delete_in(&Actor::server(), &resource, object.namespace(), object.name(), &options);
            }
        }
        if table.is_empty() {
            self.release(name);
        }
    }

    fn release(&self, name: &str) {
        let _ = self.modify(&Actor::server(), DEFINITIONS, "", name, |definition| {
            if let Some(list) = definition
                .pointer_mut("/metadata/finalizers")
                .and_then(Value::as_array_mut)
            {
                list.retain(|finalizer| finalizer != CLEANUP);
            }
        });
    }
}

/// Set a condition; its time changes with its status only.
fn condition(object: &mut Value, kind: &str, status: &str, reason: &str, message: &str, now: &str) {
    let mut conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    match conditions.iter_mut().find(|condition| condition["type"] == kind) {
        Some(found) => {
            if found["status"] != status {
                found["lastTransitionTime"] = now.into();
            }
            found["status"] = status.into();
            found["reason"] = reason.into();
            found["message"] = message.into();
        }
        None => conditions.push(json!({
            "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": now,
        })),
    }
    object["status"]["conditions"] = conditions.into();
}
