//! What goes wrong on demand. Everything here is off at first.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::cloud::Lifecycle;

/// An offering that has no capacity; a part that is absent matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NoCapacity {
    /// Instance type.
    #[serde(default)]
    pub instance_type: Option<String>,
    /// Zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// `spot` or `on-demand`.
    #[serde(default)]
    pub lifecycle: Option<String>,
    /// Launches that still succeed before it holds.
    #[serde(default)]
    pub after: u32,
}

/// An operation that fails.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// The operation, or `*`.
    pub operation: String,
    /// Error code. `ConnectionReset` closes the connection instead of answering.
    pub code: String,
    /// HTTP status.
    #[serde(default = "status")]
    pub status: u16,
    /// Whether the operation takes effect all the same: its answer is lost.
    #[serde(default)]
    pub after_effect: bool,
    /// How many calls it hits; every one when absent.
    #[serde(default)]
    pub times: Option<u32>,
}

fn status() -> u16 {
    500
}

/// All faults.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Faults {
    /// Offerings without capacity.
    pub no_capacity: Vec<NoCapacity>,
    /// Operations that fail.
    pub failures: Vec<Failure>,
    /// Seconds after its launch until an instance is seen by Describe calls.
    pub visibility_lag: i64,
    /// Seconds until a tag written later is seen by filters and Describe calls.
    pub tag_lag: i64,
    /// Zones that fail every call which names something in them.
    pub zones_down: Vec<String>,
    /// Whether the published request rates hold.
    pub rate_limits: bool,
}

impl Faults {
    /// Whether an offering has capacity for one more; counts `after` down.
    pub(super) fn has_capacity(&mut self, instance_type: &str, zone: &str, lifecycle: Lifecycle) -> bool {
        if self.zones_down.iter().any(|z| z == zone) {
            return false;
        }
        for rule in &mut self.no_capacity {
            let matches = rule.instance_type.as_deref().is_none_or(|t| t == instance_type)
                && rule.zone.as_deref().is_none_or(|z| z == zone)
                && rule.lifecycle.as_deref().is_none_or(|l| l == lifecycle.name());
            if matches {
                if rule.after == 0 {
                    return false;
                }
                rule.after -= 1;
            }
        }
        true
    }

    /// The failure that hits this call, if any; counts it.
    pub(super) fn failure(&mut self, operation: &str) -> Option<Failure> {
        let at = self
            .failures
            .iter()
            .position(|f| f.operation == operation || f.operation == "*")?;
        let failure = self.failures[at].clone();
        if let Some(times) = &mut self.failures[at].times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.failures.remove(at);
            }
        }
        Some(failure)
    }

    /// The lag until an instance is seen.
    pub(super) fn lag(&self) -> SignedDuration {
        SignedDuration::from_secs(self.visibility_lag.clamp(0, 86_400))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capacity_runs_out_per_offering_and_after_a_count() {
        let rule = NoCapacity {
            instance_type: Some("m5.large".into()),
            after: 1,
            ..NoCapacity::default()
        };
        let mut faults = Faults {
            no_capacity: vec![rule],
            ..Faults::default()
        };
        assert!(faults.has_capacity("m5.large", "a", Lifecycle::Spot));
        assert!(!faults.has_capacity("m5.large", "a", Lifecycle::OnDemand));
        assert!(faults.has_capacity("c6i.large", "a", Lifecycle::Spot));
    }

    #[test]
    fn a_failure_hits_as_often_as_it_says() {
        let failure = Failure {
            operation: "RunInstances".into(),
            code: "X".into(),
            status: 500,
            after_effect: false,
            times: Some(2),
        };
        let mut faults = Faults {
            failures: vec![failure],
            ..Faults::default()
        };
        let hits = (0..4).filter(|_| faults.failure("RunInstances").is_some()).count();
        assert_eq!(hits, 2);
    }
}
