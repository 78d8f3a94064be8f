//! EC2 as shared by a pool's nodes and its controller: the request rates of one account, either as a count of tokens,
//! or in the sandbox over HTTP, which then also lists its instances.

use bytes::Bytes;
use jiff::SignedDuration;
use myelin_agent::credentials::Credentials;
use myelin_agent::ec2::{Ec2, Ec2Error, Endpoints};
use myelin_agent::metadata::Metadata;
use myelin_agent::sign::Keys;
use myelin_agent::wire::{self, Url};
use myelin_sandbox::clock::Clock;
use myelin_sandbox::ec2::cloud::Times;
use myelin_sandbox::ec2::{Cloud, Endpoint, catalog, serve};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A token bucket: how full, and since when.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    refill: f64,
    since: Duration,
}

impl Bucket {
    /// Bursts are a hundred for both operations (EC2 developer guide, "Request throttling").
    fn new(refill: f64) -> Self {
        Self {
            left: 100.0,
            refill,
            since: Duration::ZERO,
        }
    }

    fn take(&mut self, now: Duration) -> bool {
        let refilled = self.left + (now - self.since).as_secs_f64() * self.refill;
        (self.left, self.since) = (refilled.min(100.0), now);
        let has = self.left >= 1.0;
        if has {
            self.left -= 1.0;
        }
        has
    }
}

/// Who keeps the rates.
pub(crate) enum Account {
    /// A count: Describe* at 20 a second, tags at 10.
    Counted(Counted),
    /// The sandbox.
    Served(Box<Served>),
}

/// Two buckets.
pub(crate) struct Counted {
    describe: Bucket,
    tags: Bucket,
}

impl Account {
    pub(crate) fn counted() -> Self {
        Self::Counted(Counted {
            describe: Bucket::new(20.0),
            tags: Bucket::new(10.0),
        })
    }

    /// Lists the nodes of a cluster whose tag says `ready`; `model` says which these are if nothing else knows. None if
    /// the rate is used up.
    pub(crate) fn list(
        &mut self,
        now: Duration,
        cluster: &str,
        model: impl FnOnce() -> Vec<SocketAddr>,
    ) -> Option<Vec<SocketAddr>> {
        match self {
            Self::Counted(counted) => counted.describe.take(now).then(model),
            Self::Served(served) => served.list(now, cluster),
        }
    }

    /// Writes a tag of a node. False when the rate is used up.
    pub(crate) fn tag(&mut self, now: Duration, node: SocketAddr, key: &str, value: &str) -> bool {
        match self {
            Self::Counted(counted) => counted.tags.take(now),
            Self::Served(served) => served.tag(now, node, key, value),
        }
    }
}

/// The sandbox's EC2 with its published rates, queried by the agent's own client; its clock stops until a later
/// request.
pub(crate) struct Served {
    runtime: tokio::runtime::Runtime,
    cloud: Cloud,
    _endpoint: Endpoint,
    ec2: Ec2,
    ids: BTreeMap<SocketAddr, String>,
    now: Duration,
}

impl Served {
    /// Launches nodes of a cluster at the addresses that the simulation assigns.
    pub(crate) fn new(cluster: &str, addresses: &[SocketAddr]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let times = Times {
            boot: SignedDuration::ZERO,
            ..Times::default()
        };
        let cloud = Cloud::new(Clock::new(0.0), times);
        let endpoint = runtime.block_on(serve(cloud.clone(), 0)).expect("a port");
        let form = format!(
            "Action=RunInstances&Version=2016-11-15&ImageId={}&InstanceType=m5.large&SubnetId={}&MinCount={n}&MaxCount={n}\
             &TagSpecification.1.ResourceType=instance\
             &TagSpecification.1.Tag.1.Key=myelin.dev:cluster&TagSpecification.1.Tag.1.Value={cluster}\
             &TagSpecification.1.Tag.2.Key=myelin.dev:pool&TagSpecification.1.Tag.2.Value=worker",
            catalog::IMAGES[0].id,
            catalog::SUBNETS[0].id,
            n = addresses.len(),
        );
        let url = Url::parse(&endpoint.url()).expect("an address");
        let limit = Duration::from_secs(90);
        let launch = wire::send(&url, http::Method::POST, &[], Bytes::from(form), 64 << 20, limit);
        assert_eq!(runtime.block_on(launch).expect("an answer").status, 200);
        let mut ids = BTreeMap::new();
        {
            let mut world = cloud.world();
            for (instance, address) in world.instances.values_mut().zip(addresses) {
                instance.address = address.ip().to_string();
                ids.insert(*address, instance.id.clone());
            }
            world.faults.rate_limits = true;
        }
        assert_eq!(ids.len(), addresses.len());
        let keys = Keys {
            id: "AKIDNODE".into(),
            secret: "secret".into(),
            session: None,
        };
        let endpoints = Endpoints {
            ec2: Some(endpoint.url()),
            ssm: None,
        };
        let metadata = Arc::new(Metadata::new(None).expect("an address"));
        let credentials = Credentials::new(Some(keys), metadata);
        let ec2 = Ec2::new(catalog::REGION, &endpoints, credentials).expect("an endpoint");
        Self {
            runtime,
            cloud,
            _endpoint: endpoint,
            ec2,
            ids,
            now: Duration::ZERO,
        }
    }

    fn pass(&mut self, now: Duration) {
        self.cloud.clock.advance(now - self.now);
        self.now = now;
    }

    /// Retries as long as this machine, and not EC2, is too slow; no time passes meanwhile.
    fn insist<T>(&self, ask: impl AsyncFn() -> Result<T, Ec2Error>) -> Result<T, Ec2Error> {
        let mut answer = self.runtime.block_on(ask());
        for _ in 0..5 {
            match &answer {
                Err(error) if !error.is_throttled() => answer = self.runtime.block_on(ask()),
                _ => break,
            }
        }
        answer
    }

    fn list(&mut self, now: Duration, cluster: &str) -> Option<Vec<SocketAddr>> {
        self.pass(now);
        let tags = [
            ("myelin.dev:cluster", &[cluster][..]),
            ("myelin.dev:pool", &["worker"]),
            ("myelin.dev:state", &["ready", "draining"]),
        ];
        match self.insist(async || self.ec2.running(&tags).await) {
            Ok(found) => Some(found.iter().map(|f| SocketAddr::new(f.address, 7946)).collect()),
            Err(error) if error.is_throttled() => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn tag(&mut self, now: Duration, node: SocketAddr, key: &str, value: &str) -> bool {
        self.pass(now);
        match self.insist(async || self.ec2.set_tag(&self.ids[&node], key, value).await) {
            Ok(()) => true,
            Err(error) if error.is_throttled() => false,
            Err(error) => panic!("{error}"),
        }
    }
}
