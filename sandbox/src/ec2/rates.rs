//! Token buckets at EC2's published rates (EC2 developer guide, "Request throttling"), per account and region: one for the
//! requests of an operation, and for launches and terminations one for the instances that they name.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::error::Ec2Error;
use super::params::Params;

/// How full each bucket is, and since when.
#[derive(Debug, Default)]
pub(crate) struct Buckets(BTreeMap<&'static str, (f64, Timestamp)>);

impl Buckets {
    /// Takes what a request costs.
    ///
    /// # Errors
    /// `RequestLimitExceeded` when a bucket has not enough; nothing is taken then.
    pub(crate) fn take(&mut self, operation: &str, p: &Params, now: Timestamp) -> Result<(), Ec2Error> {
        let filtered = p.at("Filter").is_some() || p.at("InstanceId").is_some() || p.at("MaxResults").is_some();
        let (name, burst, refill) = match operation {
            "RunInstances" => ("RunInstances", 5.0, 2.0),
            "TerminateInstances" => ("TerminateInstances", 100.0, 5.0),
            "CreateTags" | "DeleteTags" => ("Tags", 100.0, 10.0),
            "CreateLaunchTemplateVersion" => ("CreateLaunchTemplateVersion", 100.0, 5.0),
            "DescribeInstances" if !filtered => ("unfiltered", 50.0, 10.0),
            o if o.starts_with("Describe") => ("Describe", 100.0, 20.0),
            _ => ("mutating", 50.0, 5.0),
        };
        let count = |n: i64| f64::from(u32::try_from(n.clamp(0, 10_000)).unwrap_or(0));
        let resources = match operation {
            "RunInstances" => Some(("run resources", 1000.0, 2.0, count(p.number("MaxCount").unwrap_or(1)))),
            "TerminateInstances" => {
                let named = i64::try_from(p.texts("InstanceId").len()).unwrap_or(i64::MAX);
                Some(("terminate resources", 1000.0, 20.0, count(named)))
            }
            _ => None,
        };
        let enough = self.level(name, burst, refill, now) >= 1.0
            && resources.is_none_or(|(name, burst, refill, cost)| self.level(name, burst, refill, now) >= cost);
        if !enough {
            return Err(Ec2Error::throttled());
        }
        self.spend(name, 1.0);
        if let Some((name, _, _, cost)) = resources {
            self.spend(name, cost);
        }
        Ok(())
    }

    fn level(&mut self, name: &'static str, burst: f64, refill: f64, now: Timestamp) -> f64 {
        let (left, since) = self.0.entry(name).or_insert((burst, now));
        *left = (*left + now.duration_since(*since).as_secs_f64() * refill).min(burst);
        *since = now;
        *left
    }

    fn spend(&mut self, name: &'static str, cost: f64) {
        if let Some((left, _)) = self.0.get_mut(name) {
            *left -= cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_rates_refill_by_the_clock() {
        let mut buckets = Buckets::default();
        let mut now = Timestamp::UNIX_EPOCH;
        let ask = Params::from_form(b"MaxResults=1000");
        let mut granted = |operation: &str, p: &Params, now: Timestamp| {
            (0..200).take_while(|_| buckets.take(operation, p, now).is_ok()).count()
        };
        assert_eq!(granted("DescribeInstances", &ask, now), 100);
        assert_eq!(granted("DescribeInstances", &Params::default(), now), 50);
        assert_eq!(granted("CreateFleet", &ask, now), 50);
        assert_eq!(
            granted("RunInstances", &Params::from_form(b"MaxCount=300"), now),
            3,
            "by the instances that they name"
        );
        now += jiff::SignedDuration::from_secs(2);
        assert_eq!(granted("DescribeInstances", &ask, now), 40);
        assert_eq!(granted("CreateFleet", &ask, now), 10);
    }
}
