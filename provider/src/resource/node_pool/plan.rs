//! Plans a pool: what happens to each node, why, and in which order. Nothing is launched, terminated or tagged.
//!
//! Terraform plans again when it applies, and treats any difference in a known value as a bug. So what EC2 says about
//! nodes is reported as a warning and left unknown in the plan. The image is the exception: it is pinned, and a saved
//! plan never launches another.

use myelin_engine::diagnostic::Diagnostics as EngineDiagnostics;
use myelin_engine::document::NodePool;
use myelin_engine::fleet::{FleetPlan, FleetRun, Known, Observed, Ports, observe_pool, plan_pool, spec_hash};
use myelin_engine::record::Owner;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::resource::stack::document::told;
use crate::resource::stack::state::with;
use crate::resource::{Call, PlanRequest, Planned, Resource as _};
use crate::value::{Path, Value};

use super::state::{as_before, undecided, user_data_hash};
use super::{PoolResource, document, intent, known_nodes, owned_by_git, pool_id, ports};

/// What is known of the pool without a request to EC2.
pub(super) fn known(pool: &NodePool, prior: &Value, planned: &Value) -> Known {
    // The pin holds for the source that it was made for.
    let same = prior.attribute("image") == planned.attribute("image");
    let pinned = prior.attribute("image_id").as_str().filter(|_| same);
    Known {
        image: pinned.map(str::to_owned),
        update_image: pool.follow_image,
        look_for_newer: true,
        look_for_owner: true,
        check_health: true,
        nodes: known_nodes(prior),
    }
}

/// Looks at the pool and decides.
pub(super) async fn decide(
    ports: &Ports,
    pool: &NodePool,
    known: &Known,
    run: &FleetRun,
) -> Result<(Observed, FleetPlan), EngineDiagnostics> {
    let observed = observe_pool(ports, pool, known, run).await?;
    let plan = plan_pool(pool, &observed, ports.clock.now());
    Ok((observed, plan))
}

pub(super) async fn plan(resource: &PoolResource, call: &Call, request: PlanRequest) -> Planned {
    let PlanRequest {
        prior,
        proposed,
        config,
        private,
    } = request;
    let id = pool_id(&proposed);
    let shown = id.as_ref().map_or(Value::UNKNOWN, |id| Value::string(id.to_string()));
    let proposed = with(&proposed, [("id", shown)]);
    let mut planned = Planned {
        state: undecided(&proposed),
        requires_replace: replaced(resource, &prior, &proposed),
        private: intent::launch(id.as_ref()),
        identity: resource.identity_of(&proposed),
        diagnostics: Diagnostics::default(),
    };
    if document::is_undecided(&resource.schema, &config) {
        return planned;
    }
    let pool = match document::pool(&resource.schema, &config) {
        Ok(pool) => pool,
        Err(problems) => {
            planned.diagnostics = problems;
            return planned;
        }
    };
    if !planned.requires_replace.is_empty() {
        planned.state = with(&planned.state, [("user_data_hash", user_data_hash(&pool))]);
        return planned;
    }
    let known = known(&pool, &prior, &proposed);
    let ports = match ports(call, &proposed).await {
        Ok(ports) => ports,
        Err(absent) => return blind(planned, &pool, &prior, &proposed, &absent.error()),
    };
    let run = super::run(call, call.cancel.clone());
    let decided = tokio::select! {
        decided = decide(&ports, &pool, &known, &run) => decided,
        () = call.cancel.cancelled() => {
            planned.diagnostics.push(Diagnostic::error("The plan was interrupted", "Nothing was changed."));
            return planned;
        }
    };
    let (observed, fleet) = match decided {
        Ok(decided) => decided,
        // Errors of the document itself (a type that cannot run the image) do not depend on reaching EC2.
        Err(problems) if problems.iter().any(|problem| !problem.attribute.is_empty()) => {
            planned.diagnostics = told(&resource.schema, &problems);
            return planned;
        }
        Err(problems) => {
            let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
            let why = Diagnostic::error("EC2 could not be asked", said.join("\n\n"));
            return blind(planned, &pool, &prior, &proposed, &why);
        }
    };
    if let Some(Owner::Git(source)) = &observed.owner {
        let told = owned_by_git(source);
        planned.diagnostics.push(Diagnostic {
            is_error: prior.is_null(),
            ..told
        });
        planned.state = as_before(&planned.state, &prior);
        return planned;
    }
    planned.diagnostics.extend(told(&resource.schema, &fleet.diagnostics));
    if fleet.diagnostics.has_errors() {
        return planned;
    }
    if let Some(newer) = &fleet.newer_image {
        planned.diagnostics.push(Diagnostic::warning(
            format!("A newer image is available for pool {}", fleet.id),
            format!(
                "{newer}; the pool stays on {}. To take newer images set image.follow, which replaces the nodes one by one.",
                fleet.image
            ),
        ));
    }
    let anew = prior.is_null() && !id.as_ref().is_some_and(|id| intent::replaces(&private, id));
    if anew && !observed.nodes.is_empty() {
        planned.diagnostics.push(Diagnostic::warning(
            format!("The pool {} exists and is taken over", fleet.id),
            format!("{} nodes with its tags run and stay if they are as specified; what happens to others is told beside this.", observed.nodes.len()),
        ));
    }
    if !fleet.is_empty() {
        planned.diagnostics.push(told_steps(&fleet));
    }
    planned.state = decided_state(&pool, &prior, &proposed, &fleet);
    planned
}

/// What happens to each node, for the reader of the plan.
fn told_steps(fleet: &FleetPlan) -> Diagnostic {
    Diagnostic::warning(
        format!("Pool {}: {}", fleet.id, fleet.summary()),
        format!("{}\n\nplan {}", fleet.lines().join("\n"), fleet.hash),
    )
}

/// The planned state for a plan of the engine. If there is nothing to do and nothing new to report, it is exactly the
/// prior state.
fn decided_state(pool: &NodePool, prior: &Value, proposed: &Value, fleet: &FleetPlan) -> Value {
    let unchanged = as_before(proposed, prior);
    let same = |name: &str, now: &Value| prior.attribute(name) == now;
    let (spec, data) = (Value::string(fleet.spec_hash.as_str()), user_data_hash(pool));
    let settled = fleet.is_empty() && unchanged == *prior;
    if settled && same("spec_hash", &spec) && same("user_data_hash", &data) {
        return unchanged;
    }
    let parts = [
        ("image_id", Value::string(fleet.image.as_str())),
        ("user_data_hash", data),
        ("spec_hash", spec),
    ];
    with(&undecided(proposed), parts)
}

/// What makes another pool: its name and its cluster.
fn replaced(resource: &PoolResource, prior: &Value, proposed: &Value) -> Vec<Path> {
    if prior.is_null() {
        return Vec::new();
    }
    let own = resource.schema.attributes.iter().filter(|attribute| attribute.replaces);
    let own = own.filter(|attribute| prior.attribute(attribute.name) != proposed.attribute(attribute.name));
    own.map(|attribute| Path::attribute(attribute.name)).collect()
}

/// A plan without EC2 is a plan all the same: of inputs that did not change nothing is planned.
fn blind(mut planned: Planned, pool: &NodePool, prior: &Value, proposed: &Value, reason: &Diagnostic) -> Planned {
    let unchanged = as_before(proposed, prior);
    let image = prior.attribute("image_id").as_str().unwrap_or_default();
    if unchanged == *prior && prior.attribute("spec_hash").as_str() == Some(&spec_hash(pool, image)) {
        planned.state = unchanged;
    } else {
        planned.state = with(&planned.state, [("user_data_hash", user_data_hash(pool))]);
    }
    planned.diagnostics.push(Diagnostic::warning(
        "Planned without EC2",
        format!(
            "{}: {}\n\nWhich nodes there are and what happens to each shows only at apply.",
            reason.summary, reason.detail
        ),
    ));
    planned
}

/// Tells which nodes a destroy drains and ends.
pub(super) async fn plan_destroy(call: &Call, prior: Value) -> (Vec<u8>, Diagnostics) {
    let mut told = Diagnostics::default();
    if let (Some(id), Ok(ports)) = (pool_id(&prior), ports(call, &prior).await)
        && !prior.attribute("spec_hash").is_null()
    {
        let run = super::run(call, call.cancel.clone());
        if let Ok(found) = myelin_engine::fleet::find_pool(&ports, &id, &known_nodes(&prior), &run).await {
            let strangers: Vec<&str> = found
                .nodes
                .iter()
                .map(|node| node.id.as_str())
                .filter(|node| prior.attribute("nodes").attribute(node).is_null())
                .collect();
            if !strangers.is_empty() {
                told.push(Diagnostic::warning(
                    format!("The destroy of pool {id} also ends nodes that the state does not know"),
                    format!("They carry the pool's tags: {}.", strangers.join(", ")),
                ));
            }
        }
    }
    (intent::destroy(), told)
}
