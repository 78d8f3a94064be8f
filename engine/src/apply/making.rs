//! Creates an object that was absent at plan, without taking one that somebody else created since.
//!
//! A server-side apply creates an absent object and merges into an existing one, and no precondition distinguishes the
//! two. So the answer is examined, which costs no request: if the very first answer contains fields of others, the
//! object was theirs. Then the stack's policy decides as it would have at plan, and what the policy does not take is
//! given back as it was.

use super::step::{Step, Stepped};
use crate::cluster::{FIELD_MANAGER, Mode, Target, retrying};
use crate::document::Conflicts;
use crate::observe::{Manners, Trial, entries, set_of, settle, uid};
use crate::plan::may_take;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Creates what every namespace has (its default service account, its root certificates). It counts as Kubernetes
/// itself, not as another owner.
const KUBERNETES: &str = "kube-controller-manager";

impl Step {
    /// Sends the object for the first time.
    pub(super) async fn make(&self, target: &Target, body: &Value) -> Result<Trial, Stepped> {
        // A new object conflicts with nothing, so nothing is taken, not even by a stack that forces.
        let manners = Manners {
            policy: Conflicts::Fail,
            adopting: false,
            owned: String::new(),
            key: self.manners.key.clone(),
        };
        let trial = settle(&*self.cluster, target, body, &manners, Mode::Real, &self.cancel).await;
        let found = match &trial.result {
            Ok(live) if is_made_by_others(live, trial.resent) => live.clone(),
            Err(_) if !trial.foreign.is_empty() => {
                match retrying(&self.cancel, || self.cluster.get(target)).await {
                    Ok(Some(live)) => live,
                    // Gone again; the next apply creates it.
                    Ok(None) => return Ok(trial),
                    Err(e) => return Err(self.failed(&e)),
                }
            }
            _ => return Ok(trial),
        };
        let merged = trial.result.is_ok();
        let ours = !merged && set_of(&found) == Some(self.set.as_str());
        if !ours && let Err((why, fix)) = may_take(self.adopt, &found) {
            if merged {
                self.give_back(target, &found).await?;
            }
            let makers = others(&found).into_iter().collect::<Vec<_>>().join(", ");
            return Err(Stepped::Failed(format!(
                "{makers} made it since the plan, and it {why}; it was left as it is. {fix}"
            )));
        }
        self.take_over(target, Some(&found))
            .await
            .map_err(|e| self.failed(&e))?;
        Ok(settle(&*self.cluster, target, body, &self.manners, Mode::Real, &self.cancel).await)
    }

    /// Gives up what was merged into another's object: an apply that names no field owns none, and fields that only it
    /// owned are removed.
    async fn give_back(&self, target: &Target, found: &Value) -> Result<(), Stepped> {
        let mut nothing = json!({
            "apiVersion": target.resource.api_version(), "kind": target.resource.kind,
            "metadata": {"name": target.name, "uid": uid(found)},
        });
        if target.resource.namespaced {
            nothing["metadata"]["namespace"] = target.namespace.as_str().into();
        }
        let sent = retrying(&self.cancel, || self.cluster.apply(target, &nothing, false, Mode::Real)).await;
        match sent {
            Ok(_) => Ok(()),
            // It is another object by now, or none.
            Err(e) if e.is_conflict() || e.is_not_found() => Ok(()),
            Err(e) => Err(self.failed(&e)),
        }
    }
}

/// Everybody else who has written it.
fn others(live: &Value) -> BTreeSet<String> {
    let text = |e: &Value, name: &str| e.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    entries(live)
        .filter(|e| text(e, "subresource").is_empty())
        .map(|e| text(e, "manager"))
        .filter(|m| m != FIELD_MANAGER && m != KUBERNETES)
        .collect()
}

/// Whether the answer to our first apply shows an object that was there before.
fn is_made_by_others(live: &Value, resent: bool) -> bool {
    let made = live.pointer("/metadata/creationTimestamp");
    let ours = entries(live).any(|e| {
        e.get("manager").and_then(Value::as_str) == Some(FIELD_MANAGER) && e.get("time") == made && made.is_some()
    });
    // If an answer was lost, others may have written to an object that an earlier attempt of ours created.
    let theirs = !others(live).is_empty();
    theirs && !(resent && ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_answer_tells_who_made_an_object() {
        let entry = |manager: &str, time: &str| json!({"manager": manager, "operation": "Apply", "time": time});
        let live = |managers: Value| json!({"metadata": {"creationTimestamp": "t0", "managedFields": managers}});
        let status = json!({"manager": "kubelet", "operation": "Update", "subresource": "status", "time": "t0"});
        for (managers, resent, expected) in [
            (json!([entry("myelin", "t0")]), false, false),
            (json!([entry("myelin", "t0"), status]), false, false),
            (json!([entry("myelin", "t0"), entry("kubectl", "t0")]), false, true),
            // Our lost first attempt created it, and a controller has written to it since.
            (
                json!([entry("myelin", "t0"), entry("deployment-controller", "t1")]),
                true,
                false,
            ),
            (json!([entry("myelin", "t1"), entry("kubectl", "t0")]), true, true),
            (json!([entry("myelin", "t1"), entry(KUBERNETES, "t0")]), false, false),
        ] {
            assert_eq!(
                is_made_by_others(&live(managers.clone()), resent),
                expected,
                "{managers}"
            );
        }
    }
}
