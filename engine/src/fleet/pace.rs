//! The cloud at the rate that it allows: token buckets at EC2's published rates, and retries of what may be retried.
//!
//! This wraps the port; every request of a fleet goes through it. A refusal is never retried, a throttled request is. A
//! request without an answer is retried only if that has no second effect: reads, requests with a client token, and
//! idempotent ones.

use super::{FleetRun, Ports};
use crate::clock::Clock;
use crate::cloud::{
    Answer, Calls, Cloud, CloudError, CommandStatus, FleetRequest, ImageSource, Instance, InstanceStatus, InstanceType,
    Kind, LaunchSpec, LaunchTemplate, Launched, Listing, ResolvedImage, SpotPrice, Subnet, TagFilter, Tags,
    TemplateBody,
};
use jiff::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Attempts of one request. With the pauses below, about a minute and a half.
const ATTEMPTS: u32 = 8;

/// A published limit of one account in one region (EC2 developer guide, "request throttling"), of which we take half,
/// because users and other programs send requests too.
#[derive(Debug, Clone, Copy)]
struct Rate {
    burst: f64,
    per_second: f64,
}

const fn half_of(burst: f64, per_second: f64) -> Rate {
    Rate {
        burst: burst / 2.0,
        per_second: per_second / 2.0,
    }
}

/// Which bucket a request draws from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bucket {
    Read,
    Mutate,
    Run,
    Terminate,
    Tags,
    Version,
    Ssm,
}

const BUCKETS: [Rate; 7] = [
    half_of(100.0, 20.0),
    half_of(50.0, 5.0),
    half_of(5.0, 2.0),
    half_of(100.0, 5.0),
    half_of(100.0, 10.0),
    half_of(100.0, 5.0),
    // SSM publishes 40 per second for GetParameter and less for commands.
    half_of(10.0, 4.0),
];

#[derive(Debug, Clone, Copy)]
struct Level {
    tokens: f64,
    at: Option<Timestamp>,
}

/// How far the buckets are used up. The limits are the account's: share one between all pools of a process.
#[derive(Debug)]
pub struct Pace(Mutex<[Level; 7]>);

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(BUCKETS.map(|rate| Level {
            tokens: rate.burst,
            at: None,
        })))
    }
}

/// Whether a request whose effect is unknown may be repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Safe,
    OnlyThrottled,
}

/// The paced cloud.
pub(super) struct Paced {
    inner: Arc<dyn Cloud>,
    clock: Arc<dyn Clock>,
    cancel: CancellationToken,
    pace: Arc<Pace>,
    sent: Mutex<Calls>,
}

impl Paced {
    pub(super) fn new(ports: &Ports, run: &FleetRun) -> Self {
        Self {
            inner: Arc::clone(&ports.cloud),
            clock: Arc::clone(&ports.clock),
            cancel: run.cancel.clone(),
            pace: Arc::clone(&run.pace),
            sent: Mutex::default(),
        }
    }

    /// Takes a token, and returns how long to wait until it is available. Debt is allowed: whoever waits is in the
    /// queue.
    fn take(&self, bucket: Bucket, tokens: f64) -> Duration {
        let now = self.clock.now();
        let rate = BUCKETS[bucket as usize];
        let mut levels = self.pace.0.lock().unwrap_or_else(PoisonError::into_inner);
        let level = &mut levels[bucket as usize];
        let passed = level.at.map_or(0.0, |at| super::node::since(at, now).as_secs_f64());
        level.tokens = (level.tokens + passed * rate.per_second).min(rate.burst) - tokens;
        level.at = Some(now);
        if level.tokens >= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(-level.tokens / rate.per_second)
        }
    }

    fn note(&self, operation: &'static str, requests: u32) {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        (0..requests).for_each(|_| sent.count(operation));
    }

    async fn send<'a, T: 'a>(
        &'a self,
        bucket: Bucket,
        again: Again,
        operation: &'static str,
        mut request: impl FnMut() -> Answer<'a, T> + Send,
    ) -> Result<T, CloudError> {
        let mut attempt = 0;
        loop {
            let wait = self.take(bucket, 1.0);
            if !wait.is_zero() {
                self.clock.sleep(wait).await;
            }
            self.note(operation, 1);
            let error = match request().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempt += 1;
            let repeatable = match error.kind {
                Kind::Throttled => true,
                Kind::Lost | Kind::Other => again == Again::Safe,
                _ => false,
            };
            if !repeatable || attempt >= ATTEMPTS || self.cancel.is_cancelled() {
                return Err(error);
            }
            let pause = pause(attempt, rand::random());
            tracing::debug!(attempt, pause_ms = pause.as_millis(), %error, "sending a request to the cloud again");
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = self.cancel.cancelled() => return Err(error),
            }
        }
    }

    /// Further pages of a list draw from its bucket too.
    async fn list<'a, T: 'a>(
        &'a self,
        operation: &'static str,
        request: impl FnMut() -> Answer<'a, Listing<T>> + Send,
    ) -> Result<Listing<T>, CloudError> {
        let listing = self.send(Bucket::Read, Again::Safe, operation, request).await?;
        let further = listing.pages.saturating_sub(1);
        self.take(Bucket::Read, f64::from(further));
        self.note(operation, further);
        Ok(listing)
    }
}

/// Doubles from 200 ms to 20 s; the pause is a random value between half of that and all of it.
fn pause(attempt: u32, chance: f64) -> Duration {
    let full = Duration::from_millis(200 * (1 << attempt.min(7))).min(Duration::from_secs(20));
    full.mul_f64(0.5 + chance / 2.0)
}

impl Cloud for Paced {
    fn instances<'a>(&'a self, filters: &'a [TagFilter]) -> Answer<'a, Listing<Instance>> {
        Box::pin(self.list("DescribeInstances", || self.inner.instances(filters)))
    }

    fn instances_by_id<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<Instance>> {
        Box::pin(self.list("DescribeInstances", || self.inner.instances_by_id(ids)))
    }

    fn statuses<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<InstanceStatus>> {
        Box::pin(self.list("DescribeInstanceStatus", || self.inner.statuses(ids)))
    }

    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Listing<InstanceType>> {
        Box::pin(self.list("DescribeInstanceTypes", || self.inner.instance_types(names)))
    }

    fn offerings<'a>(&'a self, types: &'a [String]) -> Answer<'a, Listing<(String, String)>> {
        Box::pin(self.list("DescribeInstanceTypeOfferings", || self.inner.offerings(types)))
    }

    fn subnets<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<Subnet>> {
        Box::pin(self.list("DescribeSubnets", || self.inner.subnets(ids)))
    }

    fn image<'a>(&'a self, source: &'a ImageSource) -> Answer<'a, ResolvedImage> {
        if matches!(source, ImageSource::Parameter(_)) {
            self.note("GetParameter", 1);
        }
        Box::pin(self.send(Bucket::Read, Again::Safe, "DescribeImages", || self.inner.image(source)))
    }

    fn spot_prices<'a>(&'a self, types: &'a [String]) -> Answer<'a, Listing<SpotPrice>> {
        Box::pin(self.list("DescribeSpotPriceHistory", || self.inner.spot_prices(types)))
    }

    fn templates<'a>(&'a self, filters: &'a [TagFilter]) -> Answer<'a, Listing<LaunchTemplate>> {
        Box::pin(self.list("DescribeLaunchTemplates", || self.inner.templates(filters)))
    }

    fn create_template<'a>(
        &'a self,
        name: &'a str,
        body: &'a TemplateBody,
        tags: &'a Tags,
        token: &'a str,
    ) -> Answer<'a, LaunchTemplate> {
        Box::pin(self.send(Bucket::Mutate, Again::Safe, "CreateLaunchTemplate", || {
            self.inner.create_template(name, body, tags, token)
        }))
    }

    fn create_template_version<'a>(&'a self, id: &'a str, body: &'a TemplateBody, token: &'a str) -> Answer<'a, u64> {
        Box::pin(
            self.send(Bucket::Version, Again::Safe, "CreateLaunchTemplateVersion", || {
                self.inner.create_template_version(id, body, token)
            }),
        )
    }

    fn delete_template<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.send(Bucket::Mutate, Again::Safe, "DeleteLaunchTemplate", || {
            self.inner.delete_template(id)
        }))
    }

    fn create_fleet<'a>(&'a self, request: &'a FleetRequest) -> Answer<'a, Launched> {
        Box::pin(self.send(Bucket::Mutate, Again::Safe, "CreateFleet", || {
            self.inner.create_fleet(request)
        }))
    }

    fn run_instances<'a>(&'a self, request: &'a LaunchSpec) -> Answer<'a, Launched> {
        Box::pin(self.send(Bucket::Run, Again::Safe, "RunInstances", || {
            self.inner.run_instances(request)
        }))
    }

    fn terminate<'a>(&'a self, ids: &'a [String]) -> Answer<'a, ()> {
        Box::pin(self.send(Bucket::Terminate, Again::Safe, "TerminateInstances", || {
            self.inner.terminate(ids)
        }))
    }

    fn create_tags<'a>(&'a self, ids: &'a [String], tags: &'a Tags) -> Answer<'a, ()> {
        Box::pin(self.send(Bucket::Tags, Again::Safe, "CreateTags", || {
            self.inner.create_tags(ids, tags)
        }))
    }

    fn delete_tags<'a>(&'a self, ids: &'a [String], keys: &'a [String]) -> Answer<'a, ()> {
        Box::pin(self.send(Bucket::Tags, Again::Safe, "DeleteTags", || {
            self.inner.delete_tags(ids, keys)
        }))
    }

    fn send_command<'a>(&'a self, ids: &'a [String], script: &'a [String], limit: Duration) -> Answer<'a, String> {
        Box::pin(self.send(Bucket::Ssm, Again::OnlyThrottled, "SendCommand", move || {
            self.inner.send_command(ids, script, limit)
        }))
    }

    fn command_status<'a>(&'a self, command: &'a str, id: &'a str) -> Answer<'a, CommandStatus> {
        Box::pin(self.send(Bucket::Ssm, Again::Safe, "GetCommandInvocation", || {
            self.inner.command_status(command, id)
        }))
    }

    /// Counts only what went through here, because other pools share the connection.
    fn calls(&self) -> Calls {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_end_and_are_jittered() {
        assert!(pause(1, 0.0) < pause(1, 1.0));
        assert!(pause(4, 0.0) > pause(1, 1.0));
        assert!(pause(99, 1.0) <= Duration::from_secs(20));
    }
}
