//! A cloud in memory behind the engine's port, on its own clock: exact client tokens, instances with a life cycle,
//! lists that lag, and seeded faults. It implements no protocol; the sandbox's EC2 does.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use myelin_engine::clock::Clock;
use myelin_engine::cloud::*;
use myelin_engine::fleet::TAG_DRAIN;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::Notify;

/// Seconds until an instance runs, until its status checks pass, and until an ending one has ended.
const RUNS: i64 = 10;
const PASSES: i64 = 50;
const ENDS: i64 = 30;

/// What a describe of instances does instead of its work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blind {
    No,
    Empty,
    Denied,
    Half,
}

struct Machine {
    instance: Instance,
    visible: Timestamp,
    ending: Option<Timestamp>,
    sick: bool,
}

/// The whole state; tests turn its knobs.
pub(crate) struct Sim {
    pub(crate) now: Timestamp,
    machines: BTreeMap<String, Machine>,
    templates: BTreeMap<String, (LaunchTemplate, Timestamp)>,
    tokens: BTreeMap<String, (String, Launched)>,
    calls: Calls,
    rng: u64,
    /// Part of requests, in a thousand, that meet each trouble.
    pub(crate) lost_after: u64,
    pub(crate) lost_before: u64,
    pub(crate) throttled: u64,
    /// Seconds at most until a list shows what is new.
    pub(crate) lag: i64,
    pub(crate) blind: Blind,
    /// Types (with lifecycle) that have no capacity.
    pub(crate) full: BTreeSet<(String, Lifecycle)>,
    /// Instances of images with this in their user data never pass their checks.
    pub(crate) sick_templates: BTreeSet<String>,
    /// Requests until the client dies, and whether the last one takes effect.
    pub(crate) fuse: Option<(usize, bool)>,
    /// Fewest serving nodes at any moment when something was drained or ended.
    pub(crate) least_serving: usize,
    /// The SSM parameter's present value.
    pub(crate) newest_image: String,
    pub(crate) created: usize,
    pub(crate) fleet_tokens: Vec<String>,
}

impl Sim {
    fn chance(&mut self, of_thousand: u64) -> bool {
        self.random() % 1000 < of_thousand
    }

    fn random(&mut self) -> u64 {
        // splitmix64
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rng;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn lagged(&mut self) -> Timestamp {
        let lag = if self.lag > 0 {
            (self.random() % self.lag as u64) as i64
        } else {
            0
        };
        self.now + SignedDuration::from_secs(lag)
    }

    fn state(&self, m: &Machine) -> InstanceState {
        let age = self.now.duration_since(m.instance.launched_at).as_secs();
        match m.ending {
            Some(at) if self.now.duration_since(at).as_secs() >= ENDS => InstanceState::Terminated,
            Some(_) => InstanceState::ShuttingDown,
            None if age < RUNS => InstanceState::Pending,
            None => InstanceState::Running,
        }
    }

    fn passes(&self, m: &Machine) -> bool {
        m.ending.is_none() && !m.sick && self.now.duration_since(m.instance.launched_at).as_secs() >= PASSES
    }

    pub(crate) fn serving(&self) -> usize {
        let serves = |m: &&Machine| self.passes(m) && !m.instance.tags.contains_key(TAG_DRAIN);
        self.machines.values().filter(serves).count()
    }

    /// Ids of what lives.
    pub(crate) fn alive(&self) -> Vec<String> {
        self.machines
            .iter()
            .filter(|(_, m)| m.ending.is_none())
            .map(|(id, _)| id.clone())
            .collect()
    }

    pub(crate) fn tags_of(&self, id: &str) -> Tags {
        self.machines[id].instance.tags.clone()
    }

    pub(crate) fn templates(&self) -> usize {
        self.templates.len()
    }

    /// Takes instances away, as a spot reclaim or a person does.
    pub(crate) fn reclaim(&mut self, ids: &[String]) {
        for id in ids {
            if let Some(m) = self.machines.get_mut(id) {
                m.ending = Some(self.now);
                m.instance.state_reason = "Server.SpotInstanceTermination".into();
            }
        }
    }

    pub(crate) fn retag(&mut self, id: &str, change: impl FnOnce(&mut Tags)) {
        change(&mut self.machines.get_mut(id).unwrap().instance.tags);
    }

    pub(crate) fn fall_ill(&mut self, id: &str) {
        self.machines.get_mut(id).unwrap().sick = true;
    }

    pub(crate) fn advance(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn show(&self, m: &Machine) -> Option<Instance> {
        let state = self.state(m);
        let forgotten = m.ending.is_some_and(|at| self.now.duration_since(at).as_secs() > 3600);
        (m.visible <= self.now && !forgotten).then(|| Instance {
            state,
            ..m.instance.clone()
        })
    }

    fn launch(&mut self, request: &FleetRequest) -> Result<Launched, CloudError> {
        let fail = |code: &str| Err(CloudError::answered("CreateFleet", code, "as told"));
        assert!(request.token.len() <= 64 && request.token.is_ascii());
        let asked = format!(
            "{:?}",
            FleetRequest {
                token: String::new(),
                ..request.clone()
            }
        );
        if let Some((before, launched)) = self.tokens.get(&request.token) {
            if *before != asked {
                return fail("IdempotentParameterMismatch");
            }
            let ended = |id: &String| self.machines[id].ending.is_some();
            if !launched.ids.is_empty() && launched.ids.iter().all(ended) {
                return fail("IdempotentInstanceTerminated");
            }
            return Ok(launched.clone());
        }
        if !self.templates.contains_key(&request.template) {
            return fail("InvalidLaunchTemplateId.NotFound");
        }
        let mut out = Launched::default();
        let mut open = Vec::new();
        for seat in &request.seats {
            if self.full.contains(&(seat.instance_type.clone(), request.lifecycle)) {
                out.refusals.push(LaunchRefusal {
                    instance_type: seat.instance_type.clone(),
                    subnet: seat.subnet.clone(),
                    zone: format!("zone-of-{}", seat.subnet),
                    lifecycle: request.lifecycle,
                    code: "InsufficientInstanceCapacity".into(),
                    message: "none".into(),
                });
            } else {
                open.push(seat.clone());
            }
        }
        if !open.is_empty() {
            for n in 0..request.count {
                let seat = &open[n as usize % open.len()];
                let id = format!("i-{:017x}", self.created);
                self.created += 1;
                let image = self.templates[&request.template].0.name.clone();
                let machine = Machine {
                    instance: Instance {
                        id: id.clone(),
                        state: InstanceState::Pending,
                        state_reason: String::new(),
                        instance_type: seat.instance_type.clone(),
                        image: self.image_of(&request.template),
                        subnet: seat.subnet.clone(),
                        zone: format!("zone-of-{}", seat.subnet),
                        lifecycle: request.lifecycle,
                        launched_at: self.now,
                        private_ip: None,
                        public_ip: None,
                        private_dns: None,
                        tags: request.tags.clone(),
                    },
                    visible: self.lagged(),
                    ending: None,
                    sick: self.sick_templates.iter().any(|s| image.contains(s.as_str())),
                };
                self.machines.insert(id.clone(), machine);
                out.ids.push(id);
            }
        }
        self.fleet_tokens.push(request.token.clone());
        self.tokens.insert(request.token.clone(), (asked, out.clone()));
        Ok(out)
    }

    fn image_of(&self, template: &str) -> String {
        self.templates[template]
            .0
            .tags
            .get("image")
            .cloned()
            .unwrap_or_default()
    }
}

/// The port. Cloning it is another client of the same cloud.
#[derive(Clone)]
pub(crate) struct SimCloud {
    sim: Arc<Mutex<Sim>>,
    pub(crate) died: Arc<Notify>,
}

impl SimCloud {
    pub(crate) fn new(seed: u64) -> Self {
        let sim = Sim {
            now: "2026-11-20T00:00:00Z".parse().unwrap(),
            machines: BTreeMap::new(),
            templates: BTreeMap::new(),
            tokens: BTreeMap::new(),
            calls: Calls::default(),
            rng: seed,
            lost_after: 0,
            lost_before: 0,
            throttled: 0,
            lag: 0,
            blind: Blind::No,
            full: BTreeSet::new(),
            sick_templates: BTreeSet::new(),
            fuse: None,
            least_serving: usize::MAX,
            newest_image: "ami-00000001".into(),
            created: 0,
            fleet_tokens: Vec::new(),
        };
        Self {
            sim: Arc::new(Mutex::new(sim)),
            died: Arc::new(Notify::new()),
        }
    }

    pub(crate) fn sim(&self) -> MutexGuard<'_, Sim> {
        self.sim.lock().unwrap()
    }

    /// One request: dies, is refused, loses its answer, or works.
    fn pass<'a, T: Send + 'a>(
        &'a self,
        operation: &'static str,
        work: impl FnOnce(&mut Sim) -> Result<T, CloudError> + Send + 'a,
    ) -> Answer<'a, T> {
        async move {
            let dead = {
                let mut sim = self.sim();
                match sim.fuse {
                    Some((0, after)) => {
                        if after {
                            let _ = work(&mut sim);
                            sim.fuse = Some((0, false));
                        }
                        true
                    }
                    left => {
                        sim.fuse = left.map(|(n, after)| (n - 1, after));
                        sim.calls.count(operation);
                        let lost = CloudError::new(operation, Kind::Lost, "", "the connection broke");
                        let (throttled, before, after) = (sim.throttled, sim.lost_before, sim.lost_after);
                        if sim.chance(throttled) {
                            return Err(CloudError::answered(operation, "RequestLimitExceeded", "slow down"));
                        }
                        if sim.chance(before) {
                            return Err(lost);
                        }
                        let lose = sim.chance(after);
                        let done = work(&mut sim);
                        return if lose { Err(lost) } else { done };
                    }
                }
            };
            assert!(dead);
            self.died.notify_one();
            futures::future::pending().await
        }
        .boxed()
    }
}

fn matches(tags: &Tags, filters: &[TagFilter]) -> bool {
    filters
        .iter()
        .all(|f| tags.get(&f.key).is_some_and(|v| f.values.contains(v)))
}

impl Clock for SimCloud {
    fn now(&self) -> Timestamp {
        self.sim().now
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let sim = Arc::clone(&self.sim);
        async move {
            sim.lock().unwrap().now += SignedDuration::try_from(time).unwrap();
            tokio::task::yield_now().await;
        }
        .boxed()
    }
}

impl Cloud for SimCloud {
    fn instances<'a>(&'a self, filters: &'a [TagFilter]) -> Answer<'a, Listing<Instance>> {
        self.pass("DescribeInstances", move |sim| {
            let mut found: Vec<Instance> = sim.machines.values().filter_map(|m| sim.show(m)).collect();
            found.retain(|i| matches(&i.tags, filters));
            match sim.blind {
                Blind::No => Ok(Listing::complete(found)),
                Blind::Empty => Ok(Listing::complete(Vec::new())),
                Blind::Denied => Err(CloudError::answered("DescribeInstances", "UnauthorizedOperation", "no")),
                Blind::Half => Ok(Listing {
                    items: found.into_iter().take(1).collect(),
                    completeness: Completeness::Partial("the second page did not come".into()),
                    pages: 1,
                }),
            }
        })
    }

    fn instances_by_id<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<Instance>> {
        self.pass("DescribeInstances", move |sim| {
            let found = ids
                .iter()
                .filter_map(|id| sim.machines.get(id))
                .filter_map(|m| sim.show(m));
            Ok(Listing::complete(found.collect()))
        })
    }

    fn statuses<'a>(&'a self, ids: &'a [String]) -> Answer<'a, Listing<InstanceStatus>> {
        self.pass("DescribeInstanceStatus", move |sim| {
            let one = |m: &Machine| InstanceStatus {
                id: m.instance.id.clone(),
                system: "ok".into(),
                instance: if m.sick {
                    "impaired".into()
                } else if sim.passes(m) {
                    "ok".into()
                } else {
                    "initializing".into()
                },
                events: Vec::new(),
            };
            let found = ids.iter().filter_map(|id| sim.machines.get(id));
            Ok(Listing::complete(
                found
                    .filter(|m| sim.state(m) == InstanceState::Running)
                    .map(one)
                    .collect(),
            ))
        })
    }

    fn instance_types<'a>(&'a self, names: &'a [String]) -> Answer<'a, Listing<InstanceType>> {
        self.pass("DescribeInstanceTypes", move |_| {
            let one = |name: &String| InstanceType {
                name: name.clone(),
                architectures: vec![if name.contains("g.") {
                    "arm64".into()
                } else {
                    "x86_64".into()
                }],
                spot: true,
                vcpus: 4,
                memory_mib: 16_384,
            };
            Ok(Listing::complete(names.iter().map(one).collect()))
        })
    }

    fn offerings<'a>(&'a self, _: &'a [String]) -> Answer<'a, Listing<(String, String)>> {
        self.pass("DescribeInstanceTypeOfferings", |_| Ok(Listing::complete(Vec::new())))
    }

    fn subnets<'a>(&'a self, _: &'a [String]) -> Answer<'a, Listing<Subnet>> {
        self.pass("DescribeSubnets", |_| Ok(Listing::complete(Vec::new())))
    }

    fn image<'a>(&'a self, source: &'a ImageSource) -> Answer<'a, ResolvedImage> {
        self.pass("DescribeImages", move |sim| {
            Ok(ResolvedImage {
                id: match source {
                    ImageSource::Id(id) => id.clone(),
                    ImageSource::Parameter(_) => sim.newest_image.clone(),
                },
                architecture: "x86_64".into(),
                root_device: "/dev/xvda".into(),
                root_size: 8,
                available: true,
            })
        })
    }

    fn spot_prices<'a>(&'a self, _: &'a [String]) -> Answer<'a, Listing<SpotPrice>> {
        self.pass("DescribeSpotPriceHistory", |_| Ok(Listing::complete(Vec::new())))
    }

    fn templates<'a>(&'a self, filters: &'a [TagFilter]) -> Answer<'a, Listing<LaunchTemplate>> {
        self.pass("DescribeLaunchTemplates", move |sim| {
            let found = sim
                .templates
                .values()
                .filter(|(t, visible)| *visible <= sim.now && matches(&t.tags, filters));
            Ok(Listing::complete(found.map(|(t, _)| t.clone()).collect()))
        })
    }

    fn create_template<'a>(
        &'a self,
        name: &'a str,
        body: &'a TemplateBody,
        tags: &'a Tags,
        token: &'a str,
    ) -> Answer<'a, LaunchTemplate> {
        self.pass("CreateLaunchTemplate", move |sim| {
            assert!(tags.len() <= 50 && body.tags.len() <= 50, "EC2 takes 50 tags");
            if let Some((t, _)) = sim.templates.values().find(|(t, _)| t.name == name) {
                // The same request again.
                return if t.tags.get("token").is_some_and(|k| k == token) {
                    Ok(t.clone())
                } else {
                    let code = "InvalidLaunchTemplateName.AlreadyExistsException";
                    Err(CloudError::answered("CreateLaunchTemplate", code, "in use"))
                };
            }
            let mut tags = tags.clone();
            tags.extend([
                ("image".to_owned(), body.image.clone()),
                ("token".to_owned(), token.to_owned()),
            ]);
            let made = LaunchTemplate {
                id: format!("lt-{:017x}", sim.random()),
                name: name.to_owned(),
                latest_version: 1,
                tags,
                created_at: sim.now,
            };
            let visible = sim.lagged();
            sim.templates.insert(made.id.clone(), (made.clone(), visible));
            Ok(made)
        })
    }

    fn create_template_version<'a>(&'a self, _: &'a str, _: &'a TemplateBody, _: &'a str) -> Answer<'a, u64> {
        self.pass("CreateLaunchTemplateVersion", |_| {
            Err(CloudError::answered(
                "CreateLaunchTemplateVersion",
                "Unsupported",
                "the fleet makes none",
            ))
        })
    }

    fn delete_template<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.pass("DeleteLaunchTemplate", move |sim| {
            let gone = sim.templates.remove(id).map(|_| ());
            gone.ok_or_else(|| CloudError::answered("DeleteLaunchTemplate", "InvalidLaunchTemplateId.NotFound", "no"))
        })
    }

    fn create_fleet<'a>(&'a self, request: &'a FleetRequest) -> Answer<'a, Launched> {
        self.pass("CreateFleet", move |sim| sim.launch(request))
    }

    fn run_instances<'a>(&'a self, _: &'a LaunchSpec) -> Answer<'a, Launched> {
        self.pass("RunInstances", |_| {
            Err(CloudError::answered(
                "RunInstances",
                "Unsupported",
                "the fleet sends none",
            ))
        })
    }

    fn terminate<'a>(&'a self, ids: &'a [String]) -> Answer<'a, ()> {
        self.pass("TerminateInstances", move |sim| {
            let now = sim.now;
            let unknown = |id: &&String| sim.machines.get(*id).is_none_or(|m| m.visible > now);
            if let Some(id) = ids.iter().find(unknown) {
                return Err(CloudError::answered(
                    "TerminateInstances",
                    "InvalidInstanceID.NotFound",
                    id,
                ));
            }
            for id in ids {
                let m = sim.machines.get_mut(id).unwrap();
                assert!(
                    m.ending.is_some() || m.instance.tags.contains_key(TAG_DRAIN),
                    "{id} is ended without a drain"
                );
                m.ending.get_or_insert(now);
            }
            sim.least_serving = sim.least_serving.min(sim.serving());
            Ok(())
        })
    }

    fn create_tags<'a>(&'a self, ids: &'a [String], tags: &'a Tags) -> Answer<'a, ()> {
        self.pass("CreateTags", move |sim| {
            for id in ids {
                let known = match (sim.machines.get_mut(id), sim.templates.get_mut(id)) {
                    (Some(m), _) => &mut m.instance.tags,
                    (_, Some((t, _))) => &mut t.tags,
                    _ => return Err(CloudError::answered("CreateTags", "InvalidID", id)),
                };
                known.extend(tags.clone());
                assert!(known.len() <= 52, "EC2 takes 50 tags");
            }
            sim.least_serving = sim.least_serving.min(sim.serving());
            Ok(())
        })
    }

    fn delete_tags<'a>(&'a self, ids: &'a [String], keys: &'a [String]) -> Answer<'a, ()> {
        self.pass("DeleteTags", move |sim| {
            for id in ids {
                if let Some(m) = sim.machines.get_mut(id) {
                    m.instance.tags.retain(|k, _| !keys.contains(k));
                }
            }
            Ok(())
        })
    }

    fn send_command<'a>(&'a self, _: &'a [String], _: &'a [String], _: Duration) -> Answer<'a, String> {
        self.pass("SendCommand", |_| Ok("command".into()))
    }

    fn command_status<'a>(&'a self, _: &'a str, _: &'a str) -> Answer<'a, CommandStatus> {
        self.pass("GetCommandInvocation", |_| Ok(CommandStatus::Succeeded))
    }

    fn calls(&self) -> Calls {
        self.sim().calls.clone()
    }
}
