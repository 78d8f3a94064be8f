//! The lifecycle of a managed resource, call by call: decode, ask the resource, check Terraform's rules, encode.

use myelin_proto::tfplugin6 as tf;

use crate::consistency::{broken_apply_rules, broken_plan_rules, broken_state_rules, report};
use crate::diagnostic::{Diagnostic, Diagnostics, wire_path};
use crate::resource::{ApplyRequest, Call, ImportTarget, MoveSource, PlanRequest, Resource};
use crate::schema::check_configuration;
use crate::value::{Attributes, Value, decode_json};

use super::translate::{decode, decode_identity, decode_stored, encode, encode_identity};

pub(super) fn validate(
    resource: &dyn Resource,
    request: &tf::validate_resource_config::Request,
) -> Result<Diagnostics, Diagnostic> {
    let schema = resource.schema();
    let config = decode(&schema.ty(), request.config.as_ref(), "configuration")?;
    let mut problems = check_configuration(schema, &config);
    let allowed = request
        .client_capabilities
        .is_some_and(|client| client.write_only_attributes_allowed);
    if !allowed {
        for path in schema.write_only_in(&config) {
            problems.push(
                Diagnostic::error(
                    format!("{path} needs a newer Terraform"),
                    "It is write-only: its value is never stored. This version of Terraform does not know write-only \
                     attributes and would store it. Use Terraform 1.11 or OpenTofu 1.11, or later.",
                )
                .at(path),
            );
        }
    }
    if !problems.has_errors() {
        problems.extend(resource.validate(&config));
    }
    Ok(problems)
}

pub(super) fn upgrade(
    resource: &dyn Resource,
    request: &tf::upgrade_resource_state::Request,
) -> Result<tf::upgrade_resource_state::Response, Diagnostic> {
    let state = decode_stored(resource.schema(), request.version, request.raw_state.as_ref())?;
    Ok(tf::upgrade_resource_state::Response {
        upgraded_state: encode(&state),
        diagnostics: Vec::new(),
    })
}

pub(super) fn upgrade_identity(
    resource: &dyn Resource,
    request: &tf::upgrade_resource_identity::Request,
) -> Result<tf::upgrade_resource_identity::Response, Diagnostic> {
    let raw = request
        .raw_identity
        .as_ref()
        .map(|raw| raw.json.as_slice())
        .unwrap_or_default();
    if matches!(raw, b"" | b"null") {
        // Of a state that was written before there were identities: the read that follows gives one.
        return Ok(tf::upgrade_resource_identity::Response::default());
    }
    let identity = decode_json(&resource.identity().ty(), raw, Attributes::Lenient)
        .map_err(|error| Diagnostic::error("The stored identity cannot be read", format!("{error}.")))?;
    Ok(tf::upgrade_resource_identity::Response {
        upgraded_identity: encode_identity(Some(&identity)),
        diagnostics: Vec::new(),
    })
}

pub(super) async fn read(
    resource: &dyn Resource,
    call: &Call,
    request: tf::read_resource::Request,
) -> Result<tf::read_resource::Response, Diagnostic> {
    let schema = resource.schema();
    let state = decode(&schema.ty(), request.current_state.as_ref(), "state")?;
    let known = decode_identity(resource.identity(), request.current_identity.as_ref())?;
    let before = state.clone();
    let mut found = resource.read(call, state).await;
    let identity = found.identity.or(known);
    if !found.state.is_null() && !found.diagnostics.has_errors() {
        found.diagnostics.extend(report(
            resource.type_name(),
            "refresh",
            &broken_state_rules(schema, &found.state),
        ));
    }
    // Beside an error the state stays as it was.
    let state = if found.diagnostics.has_errors() {
        before
    } else {
        found.state
    };
    Ok(tf::read_resource::Response {
        new_state: encode(&state),
        diagnostics: found.diagnostics.to_wire(),
        private: request.private,
        deferred: None,
        new_identity: encode_identity(identity.as_ref()),
    })
}

pub(super) async fn plan(
    resource: &dyn Resource,
    call: &Call,
    request: tf::plan_resource_change::Request,
) -> Result<tf::plan_resource_change::Response, Diagnostic> {
    let schema = resource.schema();
    let ty = schema.ty();
    let prior = decode(&ty, request.prior_state.as_ref(), "prior state")?;
    let proposed = decode(&ty, request.proposed_new_state.as_ref(), "proposed state")?;
    let config = decode(&ty, request.config.as_ref(), "configuration")?;
    let known = decode_identity(resource.identity(), request.prior_identity.as_ref())?;
    if proposed.is_null() {
        let identity = known.or_else(|| resource.identity_of(&prior));
        let (private, diagnostics) = resource.plan_destroy(call, prior).await;
        return Ok(tf::plan_resource_change::Response {
            planned_state: encode(&Value::Null),
            planned_private: private,
            diagnostics: diagnostics.to_wire(),
            planned_identity: encode_identity(identity.as_ref()),
            ..tf::plan_resource_change::Response::default()
        });
    }
    let proposed = schema.without_write_only(&proposed);
    let mut planned = resource
        .plan(
            call,
            PlanRequest {
                prior: prior.clone(),
                proposed,
                config: config.clone(),
                private: request.prior_private,
            },
        )
        .await;
    if !planned.diagnostics.has_errors() {
        let broken = broken_plan_rules(schema, &prior, &config, &planned.state);
        planned
            .diagnostics
            .extend(report(resource.type_name(), "plan", &broken));
    }
    Ok(tf::plan_resource_change::Response {
        planned_state: encode(&planned.state),
        requires_replace: planned.requires_replace.iter().map(wire_path).collect(),
        planned_private: planned.private,
        diagnostics: planned.diagnostics.to_wire(),
        // Never the identity of another instance: a replacement has its own.
        planned_identity: encode_identity(planned.identity.or(known).as_ref()),
        ..tf::plan_resource_change::Response::default()
    })
}

pub(super) async fn apply(
    resource: &dyn Resource,
    call: &Call,
    request: tf::apply_resource_change::Request,
) -> Result<tf::apply_resource_change::Response, Diagnostic> {
    let schema = resource.schema();
    let ty = schema.ty();
    let prior = decode(&ty, request.prior_state.as_ref(), "prior state")?;
    let planned = decode(&ty, request.planned_state.as_ref(), "planned state")?;
    let config = decode(&ty, request.config.as_ref(), "configuration")?;
    let known = decode_identity(resource.identity(), request.planned_identity.as_ref())?;
    let apply = ApplyRequest {
        prior,
        planned: planned.clone(),
        config,
        private: request.planned_private,
    };
    let mut applied = resource.apply(call, apply).await;
    if !applied.diagnostics.has_errors() && !applied.state.is_null() {
        let broken = broken_apply_rules(schema, &planned, &applied.state);
        applied
            .diagnostics
            .extend(report(resource.type_name(), "result", &broken));
    }
    // Also a failed state must be one that Terraform can store.
    let state = schema.without_write_only(&applied.state).known_or_null();
    Ok(tf::apply_resource_change::Response {
        new_state: encode(&state),
        private: applied.private,
        diagnostics: applied.diagnostics.to_wire(),
        legacy_type_system: false,
        new_identity: encode_identity(applied.identity.or(known).as_ref()),
    })
}

/// What to answer when the apply itself panicked: the state as it was, or for a create what was planned, so that nothing
/// that was made is forgotten.
pub(super) fn after_panic(
    resource: &dyn Resource,
    request: &tf::apply_resource_change::Request,
    problem: Diagnostic,
) -> tf::apply_resource_change::Response {
    let ty = resource.schema().ty();
    let value = |given: Option<&tf::DynamicValue>| decode(&ty, given, "state").unwrap_or(Value::Null);
    let prior = value(request.prior_state.as_ref());
    let state = if prior.is_null() {
        value(request.planned_state.as_ref()).known_or_null()
    } else {
        prior
    };
    tf::apply_resource_change::Response {
        new_identity: encode_identity(resource.identity_of(&state).as_ref()),
        new_state: encode(&state),
        private: request.planned_private.clone(),
        diagnostics: Diagnostics::from(problem).to_wire(),
        legacy_type_system: false,
    }
}

pub(super) async fn import(
    resource: &dyn Resource,
    call: &Call,
    request: tf::import_resource_state::Request,
) -> Result<tf::import_resource_state::Response, Diagnostic> {
    let identity = decode_identity(resource.identity(), request.identity.as_ref())?;
    let target = identity.map_or(ImportTarget::Id(request.id), ImportTarget::Identity);
    let state = resource.import(call, target).await?;
    let imported = tf::import_resource_state::ImportedResource {
        type_name: request.type_name,
        identity: encode_identity(resource.identity_of(&state).as_ref()),
        state: encode(&state),
        private: Vec::new(),
    };
    Ok(tf::import_resource_state::Response {
        imported_resources: vec![imported],
        ..Default::default()
    })
}

pub(super) fn generate_config(
    resource: &dyn Resource,
    request: &tf::generate_resource_config::Request,
) -> Result<tf::generate_resource_config::Response, Diagnostic> {
    let schema = resource.schema();
    let state = decode(&schema.ty(), request.state.as_ref(), "state")?;
    let config = schema.configurable(&state);
    Ok(tf::generate_resource_config::Response {
        config: encode(&config),
        diagnostics: Vec::new(),
    })
}

/// Another provider's resource, or the same under another provider address, becomes ours.
pub(super) fn moved(
    resource: &dyn Resource,
    request: tf::move_resource_state::Request,
) -> Result<tf::move_resource_state::Response, Diagnostic> {
    let raw = request.source_state.unwrap_or_default();
    let own = request.source_type_name == resource.type_name()
        && request.source_provider_address.ends_with("/myelin-dev/myelin");
    let state = if own {
        decode_stored(resource.schema(), request.source_schema_version, Some(&raw))?
    } else {
        resource.moved(&MoveSource {
            provider: request.source_provider_address,
            type_name: request.source_type_name,
            state: raw.json,
        })?
    };
    Ok(tf::move_resource_state::Response {
        target_identity: encode_identity(resource.identity_of(&state).as_ref()),
        target_state: encode(&state),
        // Of another provider's private data nothing can be read.
        target_private: if own { request.source_private } else { Vec::new() },
        diagnostics: Vec::new(),
    })
}
