//! Plans a stack. The planned attributes are a pure function of the configuration; what a cluster says becomes
//! diagnostics.
//!
//! Terraform plans once more at apply, so a fact from the live cluster in a planned attribute would bind the apply to
//! it. Conflicts, immutable fields and missing kinds are therefore diagnostics, and only if there is a cluster to ask.

use std::sync::Arc;

use myelin_engine::document::UNKNOWN;
use myelin_engine::object::ObjectKey;
use myelin_engine::observe::{DryRun, observe};
use myelin_engine::plan::{Plan, plan as engine_plan};
use myelin_engine::record::{Owner, StackId};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::{Call, PlanRequest, Planned, Resource as _};
use crate::value::{Path, Value};

use super::desired::{Wanted, wanted};
use super::document::{self, Operation};
use super::intent::{self, Intent};
use super::moved::is_moved;
use super::state::with;
use super::{StackResource, stack_id};

pub(super) async fn plan(resource: &StackResource, call: &Call, request: PlanRequest) -> Planned {
    let PlanRequest {
        prior,
        proposed,
        config,
        private,
    } = request;
    let requires_replace = replaced(resource, &prior, &proposed);
    let before = match (prior.is_null(), requires_replace.is_empty()) {
        // The second plan of a replacement knows nothing of what was, but for this.
        (true, _) => intent::replaced(&private),
        (false, false) => stack_id(&prior),
        (false, true) => None,
    };
    let mut planned = Planned {
        state: proposed.clone(),
        requires_replace,
        private: Intent::Deploy(stack_id(&proposed)).to_private_after(before.as_ref()),
        identity: resource.identity_of(&proposed),
        diagnostics: Diagnostics::default(),
    };
    let id = stack_id(&proposed).map_or(Value::UNKNOWN, |id| Value::string(id.to_string()));
    let undecided = [
        ("id", id),
        ("objects", Value::UNKNOWN),
        ("ready", Value::UNKNOWN),
        ("components_status", Value::UNKNOWN),
        ("tokens_status", Value::UNKNOWN),
        ("revision", Value::UNKNOWN),
    ];
    if document::is_undecided(resource.schema(), &config) {
        planned.state = with(&proposed, undecided);
        return planned;
    }
    let operation = if prior.is_null() || is_moved(&prior) {
        Operation::Create
    } else {
        Operation::Update
    };
    let wanted = match wanted(resource.schema(), &config, operation) {
        Ok(wanted) => wanted,
        Err(problems) => {
            planned.diagnostics = problems;
            return planned;
        }
    };
    planned.diagnostics.extend(wanted.warnings.clone());
    let decided = [
        ("objects", wanted.objects.clone()),
        ("revision", wanted.revision.clone()),
    ];
    planned.state = with(&with(&proposed, undecided), decided);

    planned.diagnostics.extend(claimed_twice(call, &wanted));
    if planned.diagnostics.has_errors() {
        return planned;
    }
    let same = [
        ("ready", prior.attribute("ready").clone()),
        ("components_status", prior.attribute("components_status").clone()),
        ("tokens_status", prior.attribute("tokens_status").clone()),
    ];
    let unchanged = with(&planned.state, same);
    if unchanged == prior && prior.attribute("ready").as_bool() == Some(true) {
        // The read that came before this plan has looked at every object already.
        planned.state = unchanged;
        return planned;
    }
    if let Some(before) = before {
        planned.diagnostics.push(after_another(&before));
        return planned;
    }
    let anew = prior.is_null() && Intent::from_private(&private).is_none();
    look(call, wanted, &prior, anew, &mut planned).await;
    planned
}

/// The attributes whose change makes another stack.
fn replaced(resource: &StackResource, prior: &Value, proposed: &Value) -> Vec<Path> {
    // A moved object goes to whichever stack the configuration says.
    if prior.is_null() || is_moved(prior) {
        return Vec::new();
    }
    let attributes = resource
        .schema()
        .attributes
        .iter()
        .filter(|attribute| attribute.replaces);
    let changed = attributes.filter(|attribute| prior.attribute(attribute.name) != proposed.attribute(attribute.name));
    changed.map(|attribute| Path::attribute(attribute.name)).collect()
}

/// Observes the cluster, if there is one. `anew`: Terraform knows nothing of the stack, or considers it failed.
async fn look(call: &Call, wanted: Wanted, prior: &Value, anew: bool, planned: &mut Planned) {
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
    let desired = Arc::new(wanted.desired);
    let observation = tokio::select! {
        observed = observe(cluster.as_ref(), &desired, DryRun::Changes) => observed,
        () = call.cancel.cancelled() => {
            planned.diagnostics.push(Diagnostic::error("The plan was interrupted", "Nothing was changed."));
            return;
        }
    };
    let observation = match observation {
        Ok(observation) => observation,
        Err(problems) => {
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            planned.diagnostics.push(blind(&Diagnostic::error(
                "The cluster could not be asked",
                said.join("\n\n"),
            )));
            return;
        }
    };
    if let Some(Owner::Git(source)) = observation.owner() {
        leave_to_git(source, prior, planned);
        return;
    }
    if anew && observation.owner().is_some() {
        planned.diagnostics.push(taken_over(&desired.stack));
    }
    let plan = engine_plan(desired, Arc::new(observation), Owner::Terraform);
    tracing::info!(hash = plan.hash, changes = plan.changes.len(), "planned");
    planned.diagnostics.extend(findings(&plan));
}

/// What the engine's plan found, as Terraform's diagnostics.
pub(super) fn findings(plan: &Plan) -> Diagnostics {
    plan.diagnostics
        .iter()
        .map(|problem| crate::diagnostic::from_engine(problem, |_| None))
        .collect()
}

/// Terraform shows a create, or a replacement if the first apply failed; neither is what will happen.
fn taken_over(stack: &StackId) -> Diagnostic {
    Diagnostic::warning(
        format!("The stack {stack} exists and is taken over"),
        "Its record is in the cluster: of a first apply that did not finish, or of a state that was lost. Its objects are \
         changed in place where they differ. Nothing is destroyed and made again, also where the plan says so.",
    )
}

/// Objects that another stack of the same configuration wants, too.
fn claimed_twice(call: &Call, wanted: &Wanted) -> Diagnostics {
    let own = wanted.desired.objects.iter().filter(|object| !object.implicit);
    let known = own
        .map(|object| &object.key)
        .filter(|key| !key.to_string().contains(UNKNOWN));
    let stack = &wanted.desired.stack;
    let taken = call.access.claim(stack, known);
    let one = |(key, other): &(ObjectKey, StackId)| {
        Diagnostic::error(
            format!("{} is in two stacks", key.human()),
            format!(
                "Both {stack} and {other} want it, and an object belongs to one stack. Leave it out of one of them."
            ),
        )
        .at(Path::attribute("source"))
    };
    taken.iter().map(one).collect()
}

/// What the cluster says now is about what is destroyed before.
fn after_another(before: &StackId) -> Diagnostic {
    Diagnostic::warning(
        format!("The stack {before} is destroyed before this one is made"),
        "Its name and its namespace are what it is known by, so that another one is made. The plan shows what will be applied, \
         but not what the cluster will say to it then. To keep the objects, leave name and namespace as they are; a `moved` block \
         renames the resource alone.",
    )
}

/// A plan without a cluster is a plan all the same.
fn blind(reason: &Diagnostic) -> Diagnostic {
    Diagnostic::warning(
        "Planned without the cluster",
        format!(
            "{}: {}\n\nThe plan shows what will be applied, but not what the cluster will say to it: conflicts, \
             immutable fields and missing kinds show only at apply.",
            reason.summary, reason.detail
        ),
    )
}

/// While git owns the stack Terraform changes nothing and says so.
pub(super) fn owned_by_git(source: &str) -> Diagnostic {
    Diagnostic::warning(
        "The stack belongs to git",
        format!(
            "The git source {source} owns this stack and keeps it as the repository says. Terraform changes nothing \
             until the stack is handed back."
        ),
    )
}

/// The plan of a stack that git owns: what was, or nothing at all.
fn leave_to_git(source: &str, prior: &Value, planned: &mut Planned) {
    let told = owned_by_git(source);
    planned.diagnostics.push(Diagnostic {
        is_error: prior.is_null(),
        ..told
    });
    let kept = ["objects", "ready", "components_status", "tokens_status", "revision"]
        .map(|name| (name, prior.attribute(name).clone()));
    planned.state = with(&planned.state, kept);
}
