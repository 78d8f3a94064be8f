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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Failure {
    /// The operation, or `*`.
    pub operation: String,
    /// Error code. `ConnectionReset` closes the connection instead of answering; `Hang` never answers: kill the client there.
    pub code: String,
    /// HTTP status.
    #[serde(default = "status")]
    pub status: u16,
    /// Whether the operation takes effect all the same: its answer is lost.
    #[serde(default)]
    pub after_effect: bool,
    /// How many calls it lets pass first.
    #[serde(default)]
    pub skip: u32,
    /// How many calls it hits; every one when absent.
    #[serde(default)]
    pub times: Option<u32>,
    /// Hits each call with this chance only, in thousandths, decided by `seed` and the number of the call.
    #[serde(default)]
    pub per_mille: Option<u32>,
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
    /// How SSM commands end (`Failed`, `Execution Timed Out`, `Undeliverable`); with success when absent.
    pub commands_end: Option<String>,
    /// Seed of what is left to chance.
    pub seed: u64,
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

    /// The failure that hits this call, which is the so manieth of all, if any; counts it.
    pub(super) fn failure(&mut self, operation: &str, call: u64) -> Option<Failure> {
        let seed = self.seed;
        let mut hit = None;
        for (at, f) in self.failures.iter_mut().enumerate() {
            if f.operation != operation && f.operation != "*" {
                continue;
            }
            if f.skip > 0 {
                f.skip -= 1;
                continue;
            }
            let index = u64::try_from(at).unwrap_or(0);
            if f.per_mille
                .is_none_or(|chance| mixed(seed, call, index) % 1000 < u64::from(chance))
            {
                hit = Some(at);
                break;
            }
        }
        let at = hit?;
        let failure = self.failures[at].clone();
        if let Some(times) = &mut self.failures[at].times {
            *times = times.saturating_sub(1);
            if *times == 0 {
                self.failures.remove(at);
            }
        }
        Some(failure)
    }

    /// The lag until a tag is seen.
    pub(super) fn tag_lag(&self) -> SignedDuration {
        SignedDuration::from_secs(self.tag_lag.clamp(0, 86_400))
    }

    /// The lag until an instance is seen.
    pub(super) fn lag(&self) -> SignedDuration {
        SignedDuration::from_secs(self.visibility_lag.clamp(0, 86_400))
    }
}

/// A number that looks like chance and is the same for the same arguments (the finalizer of SplitMix64).
fn mixed(seed: u64, call: u64, rule: u64) -> u64 {
    let mut x = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(call.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(rule);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
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
            skip: 1,
            times: Some(2),
            ..Failure::default()
        };
        let mut faults = Faults {
            failures: vec![failure],
            ..Faults::default()
        };
        let hits: Vec<bool> = (0..5).map(|n| faults.failure("RunInstances", n).is_some()).collect();
        assert_eq!(hits, [false, true, true, false, false]);
        faults.failures.push(Failure {
            operation: "*".into(),
            per_mille: Some(250),
            ..Failure::default()
        });
        let hits = (0..4000).filter(|n| faults.failure("X", *n).is_some()).count();
        assert!((800..1200).contains(&hits), "{hits}");
    }
}
