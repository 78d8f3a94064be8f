//! `deprecated.deployment.rollback.to`: the annotation by which old clients ask for an earlier revision.
//!
//! `kubectl rollout undo` does not use it any more; it patches the template itself.

use serde_json::Value;

use super::deployment::{Turn, revision};
use super::events::{DEPLOYMENT, Event};
use super::object;
use super::world::World;
use crate::kubernetes::registry::Failure;

const ASKED: &str = "deprecated.deployment.rollback.to";

/// The revision that is asked for; 0 is the last one.
pub(super) fn wanted(deployment: &Value) -> Option<i64> {
    object::annotation(deployment, ASKED)?.parse().ok()
}

/// Put the template of that revision back, and forget the request.
pub(super) fn run(turn: &Turn, world: &mut World) -> Result<(), Failure> {
    let mut wanted = wanted(&turn.deployment).unwrap_or(0);
    if wanted == 0 {
        let mut revisions: Vec<i64> = turn.sets.iter().filter_map(revision).collect();
        revisions.sort_unstable();
        wanted = revisions
            .len()
            .checked_sub(2)
            .and_then(|i| revisions.get(i).copied())
            .unwrap_or(-1);
    }
    let found = turn.sets.iter().find(|set| revision(set) == Some(wanted));
    let mut next = turn.deployment.clone();
    let (warning, reason, message) = match found {
        None => (
            true,
            "RollbackRevisionNotFound",
            "Unable to find last revision.".to_owned(),
        ),
        Some(set) => {
            let mut template = set["spec"]["template"].clone();
            if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
                labels.remove("pod-template-hash");
            }
            if template == next["spec"]["template"] {
                let message = format!(
                    "The rollback revision contains the same template as current deployment \"{}\"",
                    object::name(&next)
                );
                (true, "RollbackTemplateUnchanged", message)
            } else {
                next["spec"]["template"] = template;
                (
                    false,
                    "RollbackDone",
                    format!(
                        "Rolled back deployment \"{}\" to revision {wanted}",
                        object::name(&next)
                    ),
                )
            }
        }
    };
    object::object_mut(&mut next["metadata"], "annotations").remove(ASKED);
    world.event(Event {
        warning,
        ..Event::normal(&turn.deployment, DEPLOYMENT, "deployment-controller", reason, message)
    });
    world.update("deployments.apps", next).map(|_| ())
}
