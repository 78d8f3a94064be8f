//! The state of the model cloud and the life of its instances.
//!
//! An instance stores when things happened or will happen to it, and its state is a function of the time: nothing has to run
//! in the background for an instance to come up, be reclaimed or disappear.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use tokio::sync::{Notify, watch};

use super::access::{Access, Policy};
use super::error::Ec2Error;
use super::faults::Faults;
use super::ssm::Command;
use super::templates::Template;
use super::tokens::Tokens;
use crate::clock::Clock;

/// Spot or on-demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lifecycle {
    /// Can be reclaimed.
    Spot,
    /// Stays.
    OnDemand,
}

impl Lifecycle {
    /// As requests and faults name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spot => "spot",
            Self::OnDemand => "on-demand",
        }
    }
}

/// State of an instance, with the code that EC2 gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Launched, not yet up.
    Pending,
    /// Up.
    Running,
    /// On its way down.
    ShuttingDown,
    /// Down; still listed for an hour.
    Terminated,
}

impl State {
    /// Name and code.
    pub fn wire(self) -> (&'static str, u16) {
        match self {
            Self::Pending => ("pending", 0),
            Self::Running => ("running", 16),
            Self::ShuttingDown => ("shutting-down", 32),
            Self::Terminated => ("terminated", 48),
        }
    }
}

/// How long the steps of an instance's life take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// From launch to running.
    pub boot: SignedDuration,
    /// From running to both status checks passed.
    pub checks: SignedDuration,
    /// From the request to terminated.
    pub shutdown: SignedDuration,
    /// How long a terminated instance stays listed.
    pub remembered: SignedDuration,
    /// From sending an SSM command to its end.
    pub command: SignedDuration,
    /// How long the credentials hold that a metadata service hands out for its instance's role.
    pub credentials: SignedDuration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            boot: SignedDuration::from_secs(12),
            checks: SignedDuration::from_secs(60),
            shutdown: SignedDuration::from_secs(20),
            remembered: SignedDuration::from_hours(1),
            command: SignedDuration::from_secs(2),
            credentials: SignedDuration::from_hours(6),
        }
    }
}

/// One instance.
#[derive(Debug, Clone)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// The reservation it came with.
    pub reservation: String,
    /// Its type.
    pub instance_type: String,
    /// Its image.
    pub image: String,
    /// Its subnet.
    pub subnet: String,
    /// Its zone.
    pub zone: String,
    /// Its private address.
    pub address: String,
    /// Spot or on-demand.
    pub lifecycle: Lifecycle,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The tags that lists show until a time, after a change that lags.
    pub stale_tags: Option<(Timestamp, BTreeMap<String, String>)>,
    /// Its root volume and that volume's tags.
    pub volume: Volume,
    /// Security groups.
    pub security_groups: Vec<String>,
    /// ARN or name of its instance profile.
    pub profile: Option<String>,
    /// User data as it was sent (base64).
    pub user_data: Option<String>,
    /// The client token of its launch.
    pub client_token: String,
    /// The fleet that launched it.
    pub fleet: Option<String>,
    /// Metadata service: whether IMDSv2 is required, whether tags are shown, hop limit.
    pub metadata: MetadataOptions,
    /// Whether an interface gets a public address.
    pub public_address: bool,
    /// Whether a TerminateInstances is refused.
    pub protected: bool,
    /// When it was launched.
    pub launched: Timestamp,
    /// When its termination was requested, or when its capacity is taken.
    pub ended: Option<End>,
    /// A spot notice: when it was given and when the capacity goes.
    pub notice: Option<(Timestamp, Timestamp)>,
    /// When a rebalance recommendation was given.
    pub rebalance: Option<Timestamp>,
}

/// A root volume.
#[derive(Debug, Clone, Default)]
pub struct Volume {
    /// Its id.
    pub id: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// Size in GiB.
    pub size: i64,
    /// Type, such as gp3.
    pub kind: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// How the metadata service answers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetadataOptions {
    /// `HttpTokens=required`.
    pub tokens_required: bool,
    /// `InstanceMetadataTags=enabled`.
    pub tags: bool,
    /// Hop limit.
    pub hops: i64,
}

/// How an instance ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// When.
    pub at: Timestamp,
    /// Code of the state reason.
    pub code: &'static str,
}

impl Instance {
    /// Its state at a time; None when it is not listed any more.
    pub fn state(&self, now: Timestamp, times: &Times) -> Option<State> {
        let end = self.end(now);
        match end {
            Some(end) => {
                let down = end.at.saturating_add(times.shutdown).unwrap_or(end.at);
                let forgotten = down.saturating_add(times.remembered).unwrap_or(down);
                match now {
                    now if now >= forgotten => None,
                    now if now >= down => Some(State::Terminated),
                    _ => Some(State::ShuttingDown),
                }
            }
            None if now >= self.running_at(times) => Some(State::Running),
            None => Some(State::Pending),
        }
    }

    /// Its tags as lists show them.
    pub fn listed_tags(&self, now: Timestamp) -> &BTreeMap<String, String> {
        match &self.stale_tags {
            Some((until, tags)) if now < *until => tags,
            _ => &self.tags,
        }
    }

    /// When it is up.
    pub fn running_at(&self, times: &Times) -> Timestamp {
        self.launched.saturating_add(times.boot).unwrap_or(self.launched)
    }

    /// Its end, if that has come.
    pub fn end(&self, now: Timestamp) -> Option<End> {
        let reclaimed = self.notice.filter(|(_, at)| *at <= now).map(|(_, at)| End {
            at,
            code: "Server.SpotInstanceTermination",
        });
        let asked = self.ended.clone().filter(|end| end.at <= now);
        [reclaimed, asked].into_iter().flatten().min_by_key(|end| end.at)
    }
}

/// What the model cloud holds.
#[derive(Debug)]
pub struct World {
    /// Instances by id, terminated ones included until they are forgotten.
    pub instances: BTreeMap<String, Instance>,
    /// Launch templates by id.
    pub(super) templates: BTreeMap<String, Template>,
    /// SSM parameters.
    pub parameters: BTreeMap<String, String>,
    /// Client tokens that were used.
    pub(super) tokens: Tokens,
    /// What goes wrong.
    pub faults: Faults,
    /// SSM commands, in the order in which they were sent.
    pub commands: Vec<Command>,
    /// Who may do what.
    pub(super) access: Access,
    /// The latest calls: operation and outcome (`ok` or the error's code), oldest first.
    pub calls: VecDeque<(String, String)>,
    /// How many calls there were.
    pub call_count: u64,
    /// How many instances were ever launched.
    pub launched: u64,
    serial: u64,
}

/// Calls that are remembered.
const CALLS: usize = 100_000;

/// The model cloud; cloning gives another handle.
#[derive(Debug, Clone)]
pub struct Cloud {
    /// The clock that its instances live by.
    pub clock: Clock,
    /// How long things take.
    pub times: Times,
    world: Arc<Mutex<World>>,
    hung: Arc<Notify>,
    changed: watch::Sender<u64>,
}

impl Cloud {
    /// An empty cloud.
    pub fn new(clock: Clock, times: Times) -> Self {
        let world = World {
            instances: BTreeMap::new(),
            templates: BTreeMap::new(),
            parameters: super::catalog::PARAMETERS
                .iter()
                .map(|(k, v)| ((*k).into(), (*v).into()))
                .collect(),
            tokens: Tokens::default(),
            faults: Faults::default(),
            commands: Vec::new(),
            access: Access::default(),
            calls: VecDeque::new(),
            call_count: 0,
            launched: 0,
            serial: 0,
        };
        Self {
            clock,
            times,
            world: Arc::new(Mutex::new(world)),
            hung: Arc::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// Gives a policy to an access key: from now on it may do what the policy says and nothing else.
    pub fn with_policy(&self, access_key: &str, policy: Policy) {
        self.world().access.of_key(access_key, policy);
    }

    /// Gives a policy to a role: it holds for the credentials that the metadata services of its instances hand out.
    pub fn with_role_policy(&self, role: &str, policy: Policy) {
        self.world().access.of_role(role, policy);
    }

    /// Waits until a request hangs (a failure with the code `Hang`).
    pub async fn hung(&self) {
        self.hung.notified().await;
    }

    /// Takes note of a request that hangs.
    pub(super) fn hangs(&self) {
        self.hung.notify_one();
    }

    /// Changes whenever a request was served or something was done to an instance.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes note of a change.
    pub(super) fn changed(&self) {
        self.changed.send_modify(|n| *n += 1);
    }

    /// The state, for as long as the guard lives.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Instances that are pending or running now.
    pub fn alive(&self) -> Vec<Instance> {
        let now = self.clock.now();
        let up = |i: &&Instance| matches!(i.state(now, &self.times), Some(State::Pending | State::Running));
        self.world().instances.values().filter(up).cloned().collect()
    }

    /// Gives a spot notice: the capacity is taken `after` from now (real EC2: two minutes).
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn spot_notice(&self, id: &str, after: SignedDuration) -> Result<(), Ec2Error> {
        let now = self.clock.now();
        let mut world = self.world();
        let instance = world
            .instances
            .get_mut(id)
            .ok_or_else(|| Ec2Error::no_instances(&[id.into()]))?;
        instance.notice = Some((now, now.saturating_add(after).unwrap_or(now)));
        drop(world);
        self.changed();
        Ok(())
    }

    /// Takes a spot instance's capacity away at once, without a notice.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn reclaim(&self, id: &str) -> Result<(), Ec2Error> {
        let now = self.clock.now();
        let mut world = self.world();
        let instance = world
            .instances
            .get_mut(id)
            .ok_or_else(|| Ec2Error::no_instances(&[id.into()]))?;
        instance.ended = Some(End {
            at: now,
            code: "Server.SpotInstanceTermination",
        });
        drop(world);
        self.changed();
        Ok(())
    }

    /// Gives a rebalance recommendation.
    ///
    /// # Errors
    /// When there is no such instance.
    pub fn recommend_rebalance(&self, id: &str) -> Result<(), Ec2Error> {
        let now = self.clock.now();
        let mut world = self.world();
        let instance = world
            .instances
            .get_mut(id)
            .ok_or_else(|| Ec2Error::no_instances(&[id.into()]))?;
        instance.rebalance = Some(now);
        Ok(())
    }
}

impl World {
    /// A fresh id with a prefix: 17 hexadecimal digits, as EC2 has them.
    pub fn id(&mut self, prefix: &str) -> String {
        self.serial += 1;
        // An odd multiplier spreads the serial over the digits without ever repeating.
        let spread = u128::from(self.serial).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835) >> 60;
        format!(
            "{prefix}-{:017x}",
            (spread & 0xf_ffff_ffff) << 32 | u128::from(self.serial)
        )
    }

    /// Remembers a call.
    pub fn called(&mut self, operation: &str, outcome: &str) {
        self.call_count += 1;
        if self.calls.len() == CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back((operation.into(), outcome.into()));
    }

    /// Lets lists show an instance's present tags for as long as the fault says that tags lag. To be called before a change.
    pub(super) fn tags_change(&mut self, id: &str, now: Timestamp) {
        let lag = self.faults.tag_lag();
        if let Some(instance) = self.instances.get_mut(id).filter(|_| !lag.is_zero()) {
            let shown = instance.listed_tags(now).clone();
            instance.stale_tags = Some((now.saturating_add(lag).unwrap_or(now), shown));
        }
    }

    /// Drops what nobody can see any more.
    pub fn forget(&mut self, now: Timestamp, times: &Times) {
        self.instances.retain(|_, i| i.state(now, times).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_distinct_and_of_ec2s_length() {
        let cloud = Cloud::new(Clock::new(0.0), Times::default());
        let mut world = cloud.world();
        let ids: std::collections::BTreeSet<String> = (0..10_000).map(|_| world.id("i")).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.iter().all(|id| id.len() == 19), "{:?}", ids.first());
    }
}
