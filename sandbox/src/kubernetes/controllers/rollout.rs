//! The arithmetic of a Deployment's rollout and the rules of its conditions. Pure.

use serde_json::{Value, json};

use super::object;

/// A list of conditions with the real controllers' rule: a changed condition moves to the end.
#[derive(Debug, Clone)]
pub(super) struct Conditions(Vec<Value>);

impl Conditions {
    pub(super) fn of(object: &Value) -> Self {
        Self(object::list(object, "/status/conditions").to_vec())
    }

    /// Set a condition. The same status and reason again change nothing, the same status keeps its time.
    pub(super) fn set(&mut self, now: i64, kind: &str, status: &str, reason: &str, message: &str) {
        let time = object::time(now);
        let mut since = time.clone();
        if let Some(current) = self.0.iter().find(|c| c["type"] == kind) {
            if current["status"] == status && current["reason"] == reason {
                return;
            }
            if current["status"] == status {
                since = current["lastTransitionTime"].clone();
            }
        }
        self.remove(kind);
        self.0.push(json!({
            "type": kind, "status": status, "lastUpdateTime": time, "lastTransitionTime": since, "reason": reason, "message": message,
        }));
    }

    /// The same for kinds whose conditions have no `lastUpdateTime`; these stay in their place, and a new message counts.
    pub(super) fn set_without_update(&mut self, now: i64, kind: &str, status: &str, reason: &str, message: &str) {
        let mut next = json!({"type": kind, "status": status, "lastTransitionTime": object::time(now), "reason": reason, "message": message});
        match self.0.iter_mut().find(|c| c["type"] == kind) {
            Some(slot) => {
                if slot["status"] == status {
                    next["lastTransitionTime"] = slot["lastTransitionTime"].clone();
                }
                *slot = next;
            }
            None => self.0.push(next),
        }
    }

    pub(super) fn keep_transition(&mut self, kind: &str, since: Value) {
        if let Some(condition) = self.0.iter_mut().find(|c| c["type"] == kind) {
            condition["lastTransitionTime"] = since;
        }
    }

    pub(super) fn remove(&mut self, kind: &str) {
        self.0.retain(|c| c["type"] != kind);
    }

    pub(super) fn into_value(self) -> Value {
        Value::Array(self.0)
    }
}

/// How many pods the new ReplicaSet of a rolling update may have: all pods together stay within the surge.
pub(super) fn new_replicas(total: i64, surge: i64, current: i64, new: i64) -> i64 {
    let most = total + surge;
    if current >= most {
        return new;
    }
    new + (most - current).min(total - new).max(0)
}

/// How many pods each active ReplicaSet gets when the Deployment is scaled during a rollout: by their share, the rest to the first.
pub(super) fn proportions(sets: &[(i64, Option<i64>)], allowed: i64) -> Vec<i64> {
    let current: i64 = sets.iter().map(|(replicas, _)| replicas).sum();
    let to_add = allowed - current;
    let mut added = 0;
    let mut wanted: Vec<i64> = Vec::new();
    for (replicas, maximum) in sets {
        let mut share = 0;
        if to_add != 0 {
            // Its share of the size that the annotation remembers, rounded, and never more than is left.
            let base = maximum.filter(|m| *m > 0).unwrap_or(current.max(1));
            #[allow(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                reason = "replica counts are small"
            )]
            let exact = ((replicas * allowed) as f64 / base as f64).round() as i64 - replicas;
            share = if to_add > 0 {
                exact.clamp(0, to_add - added)
            } else {
                exact.clamp(to_add - added, 0)
            };
        }
        added += share;
        wanted.push(replicas + share);
    }
    if let Some(first) = wanted.first_mut() {
        *first = (*first + to_add - added).max(0);
    }
    wanted
}

/// Whether a status says that the rollout is over.
pub(super) fn is_complete(deployment: &Value, status: &Value) -> bool {
    let wanted = super::deployment::replicas(deployment);
    let is = |field: &str| status[field].as_i64().unwrap_or(0) == wanted;
    is("updatedReplicas")
        && is("replicas")
        && is("availableReplicas")
        && status["observedGeneration"].as_i64().unwrap_or(0) >= object::generation(deployment)
}

/// Whether a status is further than the one before it.
pub(super) fn has_progressed(before: &Value, after: &Value) -> bool {
    let at = |status: &Value, field: &str| status[field].as_i64().unwrap_or(0);
    let old = |status: &Value| at(status, "replicas") - at(status, "updatedReplicas");
    at(after, "updatedReplicas") > at(before, "updatedReplicas")
        || old(after) < old(before)
        || at(after, "readyReplicas") > at(before, "readyReplicas")
        || at(after, "availableReplicas") > at(before, "availableReplicas")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rolling_update_stays_within_its_surge() {
        for (total, surge, current, new, expected) in [
            (3, 1, 3, 0, 1),
            (3, 1, 4, 1, 1),
            (3, 1, 3, 1, 2),
            (1, 1, 0, 0, 1),
            (0, 0, 0, 0, 0),
            (10, 3, 8, 0, 5),
        ] {
            assert_eq!(
                new_replicas(total, surge, current, new),
                expected,
                "{total} {surge} {current} {new}"
            );
        }
    }

    #[test]
    fn scaling_during_a_rollout_keeps_the_proportions_and_the_sum() {
        for (sets, allowed) in [
            (vec![(8, Some(10)), (2, Some(10))], 20),
            (vec![(5, None), (5, None)], 3),
            (vec![(3, Some(4)), (1, Some(4))], 0),
        ] {
            let wanted = proportions(&sets, allowed);
            assert_eq!(wanted.iter().sum::<i64>(), allowed, "{sets:?}");
            assert!(wanted.iter().all(|n| *n >= 0));
        }
        assert_eq!(proportions(&[(8, Some(10)), (2, Some(10))], 20), [16, 4]);
    }

    #[test]
    fn a_condition_that_changes_goes_to_the_end_and_keeps_its_time_if_its_status_stays() {
        let mut conditions = Conditions::of(&json!({}));
        conditions.set(0, "Progressing", "True", "NewReplicaSetCreated", "a");
        conditions.set(0, "Available", "False", "MinimumReplicasUnavailable", "b");
        conditions.set(5000, "Progressing", "True", "ReplicaSetUpdated", "c");
        conditions.set(9000, "Available", "False", "MinimumReplicasUnavailable", "other");
        let value = conditions.into_value();
        assert_eq!(
            (&value[0]["type"], &value[0]["message"]),
            (&json!("Available"), &json!("b"))
        );
        assert_eq!(value[1]["lastTransitionTime"], "1970-01-01T00:00:00Z");
        assert_eq!(value[1]["lastUpdateTime"], "1970-01-01T00:00:05Z");
    }
}
