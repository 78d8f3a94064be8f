//! Reads a stack: one batch for all its objects. Only changes of fields that the stack owns are drift.

use std::collections::BTreeMap;

use myelin_engine::object::ObjectKey;
use myelin_engine::observe::refresh;
use myelin_engine::record::{Owner, StackId};

use crate::cluster::Absent;
use crate::diagnostic::{Diagnostic, Diagnostics, from_engine};
use crate::resource::provisioning_token::state::shown;
use crate::resource::{Call, ImportTarget, Read, Resource as _};
use crate::value::Value;

use super::plan::owned_by_git;
use super::state::{texts, with};
use super::{StackResource, stack_id};

pub(super) async fn read(resource: &StackResource, call: &Call, state: Value) -> Read {
    let identity = resource.identity_of(&state);
    let answer = |state: Value, diagnostics: Diagnostics| Read {
        state,
        identity: identity.clone(),
        diagnostics,
    };
    let Some(id) = stack_id(&state) else {
        return answer(state, Diagnostics::default());
    };
    let cluster = match call.access.cluster().await {
        Ok(cluster) => cluster,
        // The cluster itself is being made or replaced: what is stored is the best that is known.
        Err(Absent::Unknown(names)) => {
            let mut warning = Absent::Unknown(names).error();
            warning.is_error = false;
            warning.detail.push_str(" The stack was not refreshed.");
            return answer(state, warning.into());
        }
        Err(absent) => return answer(state, absent.error().into()),
    };
    let stored = stored_objects(&state);
    let found = tokio::select! {
        found = refresh(cluster.as_ref(), &id, &stored) => found,
        () = call.cancel.cancelled() => {
            return answer(state, Diagnostic::error("The refresh was interrupted", "Nothing was changed.").into());
        }
    };
    match found {
        Err(problems) => {
            let mut told: Diagnostics = problems.iter().map(|problem| from_engine(problem, |_| None)).collect();
            if told.has_errors() {
                told.push(Diagnostic::warning(
                    format!("The stack {id} could not be refreshed"),
                    "To plan from what is stored, without asking the cluster, use -refresh=false.",
                ));
            }
            answer(state, told)
        }
        Ok(None) => answer(Value::Null, Diagnostics::default()),
        Ok(Some(found)) => {
            if let Owner::Git(source) = &found.owner {
                return answer(state, owned_by_git(source).into());
            }
            if !found.drifted.is_empty() {
                let drifted: Vec<String> = found.drifted.iter().map(ToString::to_string).collect();
                tracing::info!(stack = %id, drifted = drifted.join(", "), "drift");
            }
            let own = ObjectKey::new("", "Namespace", "", id.namespace.as_str());
            let mut objects = found.objects;
            // Made by the stack for itself and not by a manifest: no plan speaks of it.
            if !stored.contains_key(&own) {
                objects.remove(&own);
            }
            let changes = [
                ("id", Value::string(id.to_string())),
                ("objects", texts(objects)),
                ("ready", Value::Bool(found.ready)),
                ("components_status", texts(found.components)),
                ("tokens_status", shown(&found.tokens)),
            ];
            answer(with(&state, changes), Diagnostics::default())
        }
    }
}

/// The stored value of each object. Invalid keys cannot come from us and are ignored.
fn stored_objects(state: &Value) -> BTreeMap<ObjectKey, String> {
    let entries = state.attribute("objects").as_map();
    let entries = entries.into_iter().flatten();
    entries
        .filter_map(|(key, json)| Some((key.parse().ok()?, json.as_str()?.to_owned())))
        .collect()
}

pub(super) async fn import(resource: &StackResource, call: &Call, target: ImportTarget) -> Result<Value, Diagnostic> {
    let id: StackId = match &target {
        ImportTarget::Id(id) => id
            .parse()
            .map_err(|problem: String| Diagnostic::error("Invalid import id", problem))?,
        ImportTarget::Identity(identity) => stack_id(identity)
            .ok_or_else(|| Diagnostic::error("Incomplete identity", "Both `namespace` and `name` must be given."))?,
    };
    let cluster = call.access.cluster().await.map_err(Absent::error)?;
    let found = refresh(cluster.as_ref(), &id, &BTreeMap::new())
        .await
        .map_err(|problems| {
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Diagnostic::error(format!("The stack {id} cannot be imported"), said.join("\n\n"))
        })?;
    if found.is_none() {
        return Err(Diagnostic::error(
            format!("There is no stack {id}"),
            "No record of that name is in that namespace. Objects without a record are taken over by an apply with \
             `adopt = \"ifUnowned\"`, not by an import.",
        ));
    }
    let nothing = resource
        .schema()
        .attributes
        .iter()
        .map(|attribute| (attribute.name, Value::Null));
    let named = [
        ("id", Value::string(id.to_string())),
        ("namespace", Value::string(id.namespace.as_str())),
        ("name", Value::string(id.name.as_str())),
    ];
    Ok(with(&with(&Value::Null, nothing), named))
}
