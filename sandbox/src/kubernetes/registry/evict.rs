//! Eviction: a delete that disruption budgets may refuse.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Actor, DeleteOptions, Deleted, Failure, Labels, Registry};
use crate::kubernetes::store::Object;

const BUDGETS: &str = "poddisruptionbudgets.policy";

impl Registry {
    /// Delete a pod if the budget that covers it allows that; 429 with the reason if not.
    pub fn evict(
        &self,
        actor: &Actor,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Failure> {
        let pod = self.get("pods", namespace, name)?;
        let phase = pod.value()["status"]["phase"].as_str();
        let idle = matches!(phase, Some("Succeeded" | "Failed" | "Pending"));
        if !idle && !pod.is_deleting() {
            self.spend_budget(&pod, options.dry_run)?;
            if !options.dry_run {
                self.mark_disrupted(actor, &pod)?;
            }
        }
        self.delete(actor, "pods", namespace, name, options)
    }

    fn spend_budget(&self, pod: &Arc<Object>, dry_run: bool) -> Result<(), Failure> {
        let budgets = self.list(BUDGETS, Some(pod.namespace()), None)?;
        let mut covering = budgets.into_iter().filter(|budget| {
            let selector = &budget.value()["spec"]["selector"];
            Labels::from_value(selector).is_some_and(|selector| selector.matches(pod.labels()))
        });
        let Some(budget) = covering.next() else { return Ok(()) };
        if covering.next().is_some() {
            return Err(Failure::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            ));
        }
        let mut conditions = pod.value()["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions.any(|c| c["type"] == "Ready" && c["status"] == "True");
        let (spec, status) = (&budget.value()["spec"], &budget.value()["status"]);
        let always = spec["unhealthyPodEvictionPolicy"] == "AlwaysAllow" && !ready;
        // With enough healthy pods beside it a broken one is no loss.
        let enough = !ready
            && status["currentHealthy"].as_i64() >= status["desiredHealthy"].as_i64()
            && status["desiredHealthy"].as_i64() > Some(0);
        if always || enough {
            Ok(())
        } else {
            self.take_disruption(&budget, pod.name(), dry_run)
        }
    }

    /// Spend one of a budget's allowed disruptions.
    fn take_disruption(&self, budget: &Object, pod: &str, dry_run: bool) -> Result<(), Failure> {
        let value = budget.value();
        let number = |field: &str| value["status"][field].as_i64().unwrap_or(0);
        if number("observedGeneration") < value["metadata"]["generation"].as_i64().unwrap_or(0) {
            let mut failure = refusal(&format!(
                "The disruption budget {} is still being processed by the server.",
                budget.name()
            ));
            if let Some(details) = &mut failure.details {
                details["retryAfterSeconds"] = 10.into();
            }
            return Err(failure);
        }
        if number("disruptionsAllowed") <= 0 {
            let (wanted, healthy) = (number("desiredHealthy"), number("currentHealthy"));
            let why = format!(
                "The disruption budget {} needs {wanted} healthy pods and has {healthy} currently",
                budget.name()
            );
            return Err(refusal(&why));
        }
        if dry_run {
            return Ok(());
        }
        let now = self.clock().timestamp();
        self.modify_status(&Actor::server(), BUDGETS, budget.namespace(), budget.name(), |object| {
            let allowed = object["status"]["disruptionsAllowed"].as_i64().unwrap_or(0);
            object["status"]["disruptionsAllowed"] = (allowed - 1).max(0).into();
            object["status"]["disruptedPods"][pod] = now.clone().into();
        })?;
        Ok(())
    }

    /// Write onto the pod who ended it.
    fn mark_disrupted(&self, actor: &Actor, pod: &Object) -> Result<(), Failure> {
        let now = self.clock().timestamp();
        let condition = json!({
            "type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": now, "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        });
        self.modify_status(actor, "pods", pod.namespace(), pod.name(), |pod| {
            let mut conditions: Vec<Value> = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            conditions.retain(|c| c["type"] != "DisruptionTarget");
            conditions.push(condition.clone());
            pod["status"]["conditions"] = conditions.into();
        })?;
        Ok(())
    }
}

fn refusal(why: &str) -> Failure {
    let mut failure = Failure::new(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
    );
    failure.details = Some(json!({"causes": [{"reason": "DisruptionBudget", "message": why}]}));
    failure
}
