//! Reads a pool from EC2's tags, and imports one.

use myelin_engine::cloud::ImageSource;
use myelin_engine::fleet::{Found, PoolId, Ports, find_pool};
use myelin_engine::record::Owner;

use crate::cloud::NoCloud;
use crate::diagnostic::{Diagnostic, Diagnostics, from_engine};
use crate::resource::stack::state::with;
use crate::resource::{Call, ImportTarget, Read, Resource as _};
use crate::value::Value;

use super::state::nodes;
use super::{PoolResource, known_nodes, owned_by_git, pool_id, ports};

pub(super) async fn read(resource: &PoolResource, call: &Call, state: Value) -> Read {
    let identity = resource.identity_of(&state);
    let answer = |state: Value, diagnostics: Diagnostics| Read {
        state,
        identity: identity.clone(),
        diagnostics,
    };
    let Some(id) = pool_id(&state) else {
        return answer(state, Diagnostics::default());
    };
    let ports = match ports(call, &state).await {
        Ok(ports) => ports,
        // The account itself is being chosen: what is stored is the best that is known.
        Err(NoCloud::Unknown) => {
            let mut warning = NoCloud::Unknown.error();
            warning.is_error = false;
            warning.detail.push_str(" The pool was not refreshed.");
            return answer(state, warning.into());
        }
        Err(absent) => return answer(state, unrefreshed(&id, absent.error().into())),
    };
    let run = super::run(call, call.cancel.clone());
    let known = known_nodes(&state);
    let found = tokio::select! {
        found = find_pool(&ports, &id, &known, &run) => found,
        () = call.cancel.cancelled() => {
            return answer(state, Diagnostic::error("The refresh was interrupted", "Nothing was changed.").into());
        }
    };
    match found {
        Ok(Found {
            owner: Some(Owner::Git(source)),
            ..
        }) => answer(state, owned_by_git(&source).into()),
        Ok(found) => {
            let mut told: Diagnostics = found.warnings.iter().map(|w| from_engine(w, |_| None)).collect();
            let newer = newer_image(&ports, &state, &mut told).await;
            let seen = with(
                &state,
                [
                    ("id", Value::string(id.to_string())),
                    ("nodes", nodes(&found.nodes)),
                    ("newer_image_id", newer),
                ],
            );
            answer(seen, told)
        }
        Err(problems) => {
            let told = problems.iter().map(|problem| from_engine(problem, |_| None)).collect();
            answer(state, unrefreshed(&id, told))
        }
    }
}

fn unrefreshed(id: &PoolId, mut told: Diagnostics) -> Diagnostics {
    told.push(Diagnostic::warning(
        format!("The pool {id} could not be refreshed"),
        "To plan from what is stored, without asking EC2, use -refresh=false.",
    ));
    told
}

/// What the parameter names now, where it is not the pinned image.
async fn newer_image(ports: &Ports, state: &Value, told: &mut Diagnostics) -> Value {
    let parameter = state.attribute("image").attribute("parameter").as_str();
    let (Some(parameter), Some(pinned)) = (parameter, state.attribute("image_id").as_str()) else {
        return Value::Null;
    };
    match ports.cloud.image(&ImageSource::Parameter(parameter.to_owned())).await {
        Ok(image) if image.id != pinned && image.available => Value::string(image.id),
        Ok(_) => Value::Null,
        Err(error) => {
            told.push(Diagnostic::warning(
                "It is not known whether a newer image is available",
                format!("{parameter}: {error}."),
            ));
            state.attribute("newer_image_id").clone()
        }
    }
}

pub(super) async fn import(resource: &PoolResource, call: &Call, target: ImportTarget) -> Result<Value, Diagnostic> {
    let id = named(&target)?;
    let ports = call.cloud.ports(None).await.map_err(NoCloud::error)?;
    let failed = |said: String| Diagnostic::error(format!("The pool {id} cannot be imported"), said);
    let run = super::run(call, call.cancel.clone());
    let found = find_pool(&ports, &id, &Default::default(), &run)
        .await
        .map_err(|problems| {
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            failed(said.join("\n\n"))
        })?;
    if !found.exists {
        return Err(failed(
            "No instance and no launch template of this region has its tags.".to_owned(),
        ));
    }
    let nothing = resource.schema().attributes.iter().map(|a| (a.name, Value::Null));
    let parts = [
        ("id", Value::string(id.to_string())),
        ("cluster", Value::string(id.cluster.as_str())),
        ("name", Value::string(id.name.as_str())),
        ("nodes", nodes(&found.nodes)),
    ];
    Ok(with(&with(&Value::Null, nothing), parts))
}

fn named(target: &ImportTarget) -> Result<PoolId, Diagnostic> {
    let wrong = |what: &str| {
        Diagnostic::error(
            "Invalid import id",
            format!("{what} Write cluster/name, for example prod/workers."),
        )
    };
    match target {
        ImportTarget::Id(id) => match id.split_once('/') {
            Some((cluster, name)) if !cluster.is_empty() && !name.is_empty() && !name.contains('/') => Ok(PoolId {
                cluster: cluster.to_owned(),
                name: name.to_owned(),
            }),
            _ => Err(wrong(&format!("\"{id}\" does not name a pool."))),
        },
        ImportTarget::Identity(identity) => {
            pool_id(identity).ok_or_else(|| wrong("Both `cluster` and `name` must be given."))
        }
    }
}
