//! Plans a token. Nothing is minted: the cluster is read, and the user is told what the apply will do to the value.

use std::sync::Arc;

use myelin_engine::desired::lone_token;
use myelin_engine::document::ProvisioningToken;
use myelin_engine::observe::{DryRun, observe};
use myelin_engine::plan::{Action, plan as engine_plan};
use myelin_engine::record::{Owner, StackId};

use crate::diagnostic::{Diagnostic, Diagnostics, from_engine};
use crate::resource::stack::state::with;
use crate::resource::{Call, PlanRequest, Planned, Resource as _};
use crate::value::{Path, Step, Value};

use super::document::{self, Operation};
use super::state::{as_before, is_adopted, undecided};
use super::{TokenResource, intent, shown, token_id};

pub(super) async fn plan(resource: &TokenResource, call: &Call, request: PlanRequest) -> Planned {
    let PlanRequest {
        prior,
        proposed,
        config,
        private,
    } = request;
    let id = token_id(&proposed);
    let shown_id = id.as_ref().map_or(Value::UNKNOWN, |id| Value::string(shown(id)));
    let proposed = with(&proposed, [("id", shown_id)]);
    let mut planned = Planned {
        state: undecided(&proposed),
        requires_replace: replaced(resource, &prior, &proposed),
        private: intent::mint(id.as_ref()),
        identity: resource.identity_of(&proposed),
        diagnostics: Diagnostics::default(),
    };
    if document::is_undecided(&resource.schema, &config) {
        return planned;
    }
    let operation = if prior.is_null() {
        Operation::Create
    } else {
        Operation::Update
    };
    let (mut token, timeout) = match document::token(&resource.schema, &config, operation) {
        Ok(read) => read,
        Err(problems) => {
            planned.diagnostics = problems;
            return planned;
        }
    };
    let unchanged = as_before(&proposed, &prior);
    if unchanged == prior && prior.attribute("due").is_null() && !prior.attribute("value_hash").is_null() {
        // The read that came before this plan has looked at the Secret already.
        planned.state = unchanged;
        return planned;
    }
    token.adopt |= is_adopted(&prior);
    let replacing = !planned.requires_replace.is_empty();
    let anew = prior.is_null() && !id.as_ref().is_some_and(|id| intent::replaces(&private, id));
    if let Some(id) = id.filter(|_| !replacing) {
        look(call, &token, timeout, &id, anew, &prior, &mut planned).await;
    }
    planned
}

/// What makes another token: its name, its namespace, and the place of its value.
fn replaced(resource: &TokenResource, prior: &Value, proposed: &Value) -> Vec<Path> {
    if prior.is_null() {
        return Vec::new();
    }
    let own = resource.schema.attributes.iter().filter(|attribute| attribute.replaces);
    let own = own.filter(|attribute| prior.attribute(attribute.name) != proposed.attribute(attribute.name));
    let mut paths: Vec<Path> = own.map(|attribute| Path::attribute(attribute.name)).collect();
    let (before, after) = (prior.attribute("secret"), proposed.attribute("secret"));
    for part in ["namespace", "name", "key"] {
        if before.attribute(part) != after.attribute(part) {
            paths.push(Path::attribute("secret").then(Step::Attribute(part.to_owned())));
        }
    }
    paths
}

async fn look(
    call: &Call,
    token: &ProvisioningToken,
    timeout: std::time::Duration,
    id: &StackId,
    anew: bool,
    prior: &Value,
    planned: &mut Planned,
) {
    let cluster = match call.access.cluster().await {
        Ok(cluster) => cluster,
        Err(absent) => {
            planned.diagnostics.push(blind(&absent.error()));
            return;
        }
    };
    // One request first, without retries: a user who plans without a cluster should not wait a minute. A busy server exists, and
    // the requests below retry.
    if let Err(error) = cluster.discover("v1").await
        && !error.is_busy()
    {
        planned.diagnostics.push(blind(&Diagnostic::error(
            "The cluster could not be asked",
            error.to_string(),
        )));
        return;
    }
    let desired = Arc::new(lone_token(token, timeout));
    let observed = tokio::select! {
        observed = observe(cluster.as_ref(), &desired, DryRun::Changes) => observed,
        () = call.cancel.cancelled() => {
            planned.diagnostics.push(Diagnostic::error("The plan was interrupted", "Nothing was changed."));
            return;
        }
    };
    let observation = match observed {
        Ok(observation) => observation,
        Err(problems) => {
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let why = Diagnostic::error("The cluster could not be asked", said.join("\n\n"));
            planned.diagnostics.push(blind(&why));
            return;
        }
    };
    if let Some(Owner::Git(source)) = observation.owner() {
        let told = owned_by_git(source);
        planned.diagnostics.push(Diagnostic {
            is_error: prior.is_null(),
            ..told
        });
        planned.state = as_before(&planned.state, prior);
        return;
    }
    let plan = engine_plan(desired, Arc::new(observation), Owner::Terraform);
    let found = plan.diagnostics.iter().map(|problem| from_engine(problem, |_| None));
    planned.diagnostics.extend(found.collect::<Diagnostics>());
    if plan.diagnostics.has_errors() {
        return;
    }
    let name = shown(id);
    let told = plan.changes.iter().find_map(|change| match change.action {
        Action::Create => None,
        Action::Unchanged if anew => Some((
            format!("The token {name} exists and is taken over"),
            "Its record is in the cluster. Nothing is minted, also where the plan says that it is created.".to_owned(),
        )),
        Action::Unchanged => None,
        _ => Some((
            format!("The token {name} changes"),
            format!("What happens: {}.", change.reason),
        )),
    });
    if let Some((summary, detail)) = told {
        planned.diagnostics.push(Diagnostic::warning(summary, detail));
    }
}

/// A plan without a cluster is a plan all the same.
fn blind(reason: &Diagnostic) -> Diagnostic {
    Diagnostic::warning(
        "Planned without the cluster",
        format!(
            "{}: {}\n\nWhether a value is there already, and whether it is to be replaced, shows only at apply.",
            reason.summary, reason.detail
        ),
    )
}

/// While git owns the token Terraform changes nothing and says so.
pub(super) fn owned_by_git(source: &str) -> Diagnostic {
    Diagnostic::warning(
        "The token belongs to git",
        format!(
            "The git source {source} owns this token and keeps it as the repository says. Terraform changes nothing \
             until the token is handed back."
        ),
    )
}
