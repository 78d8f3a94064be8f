//! A model cloud on loopback, with a clock that advances only when something waits, and clients for it.

use aws_config::BehaviorVersion;
use aws_sdk_ec2::config::Credentials;
use futures::future::BoxFuture;
use myelin_aws::{Ec2, Settings, connect_with};
use myelin_engine::cloud::{Calls, Cloud as _, Lifecycle, Seat, TagFilter, Tags, TemplateBody, VolumeSpec};
use myelin_engine::diagnostic::Diagnostics;
use myelin_engine::document::{API_VERSION, NodePool, node_pool_from_value};
use myelin_engine::fleet::{
    DrainPolicy, FleetOutcome, FleetPlan, FleetRun, Known, PoolId, Ports, apply_pool, destroy_pool, observe_pool,
    plan_pool,
};
use myelin_sandbox::clock::Clock;
use myelin_sandbox::ec2::{
    ADMINISTRATOR, Cloud, Endpoint, Failure, Faults, Lifecycle as Market, Times, catalog, serve,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Types in the order in which pools of these tests want them.
pub(crate) const TYPES: [&str; 3] = ["g4dn.xlarge", "g5.xlarge", "m5.large"];

/// Virtual time: who sleeps, advances it.
pub(crate) struct Virtual(pub(crate) Clock);

impl myelin_engine::clock::Clock for Virtual {
    fn now(&self) -> jiff::Timestamp {
        self.0.now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        Box::pin(async move {
            clock.advance(time);
            tokio::task::yield_now().await;
        })
    }
}

/// A client of an endpoint that signs with a key.
pub(crate) async fn client(url: &str, key: &str) -> Arc<Ec2> {
    let settings = Settings {
        region: Some(catalog::REGION.into()),
        endpoint: Some(url.to_owned()),
        ..Settings::default()
    };
    let credentials = Credentials::new(key, "sandbox", None, None, "test");
    let loader = aws_config::defaults(BehaviorVersion::latest()).credentials_provider(credentials);
    Arc::new(connect_with(&settings, loader).await.expect("a region"))
}

/// A cloud of one test.
pub(crate) struct World {
    pub(crate) cloud: Cloud,
    pub(crate) endpoint: Endpoint,
    pub(crate) port: Arc<Ec2>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let cloud = Cloud::new(Clock::new(0.0), Times::default());
        let endpoint = serve(cloud.clone(), 0).await.expect("a port");
        let port = client(&endpoint.url(), ADMINISTRATOR).await;
        Self { cloud, endpoint, port }
    }

    /// Another client of the same cloud: a new process knows nothing of the old one.
    pub(crate) async fn signing_with(&self, key: &str) -> Arc<Ec2> {
        client(&self.endpoint.url(), key).await
    }

    pub(crate) fn ports(&self) -> Ports {
        Ports {
            cloud: self.port.clone(),
            cluster: None,
            clock: Arc::new(Virtual(self.cloud.clock.clone())),
        }
    }

    pub(crate) fn set(&self, faults: Faults) {
        self.cloud.world().faults = faults;
    }

    pub(crate) fn fail(&self, failure: Failure) {
        self.cloud.world().faults.failures.push(failure);
    }

    pub(crate) fn advance(&self, seconds: u64) {
        self.cloud.clock.advance(Duration::from_secs(seconds));
    }

    /// How often the server answered an operation.
    pub(crate) fn served(&self, operation: &str) -> usize {
        self.cloud.world().calls.iter().filter(|(o, _)| o == operation).count()
    }

    pub(crate) fn launched(&self) -> u64 {
        self.cloud.world().launched
    }

    pub(crate) fn alive(&self) -> Vec<String> {
        self.cloud.alive().into_iter().map(|i| i.id).collect()
    }

    pub(crate) fn alive_of(&self, market: Market) -> usize {
        self.cloud.alive().iter().filter(|i| i.lifecycle == market).count()
    }

    pub(crate) async fn look(&self, pool: &NodePool, known: &Known) -> Result<FleetPlan, Diagnostics> {
        let seen = observe_pool(&self.ports(), pool, known, &FleetRun::default()).await?;
        Ok(plan_pool(pool, &seen, self.cloud.clock.now()))
    }

    pub(crate) async fn plan(&self, pool: &NodePool) -> FleetPlan {
        let plan = self.look(pool, &Known::default()).await;
        plan.unwrap_or_else(|e| panic!("{}", text(&e)))
    }

    pub(crate) async fn converge(&self, pool: &NodePool) -> FleetOutcome {
        let plan = self.plan(pool).await;
        apply_pool(&self.ports(), &plan, &FleetRun::default()).await
    }

    /// Applies as somebody who tries again does.
    pub(crate) async fn insist(&self, pool: &NodePool) {
        let mut last = String::new();
        for _ in 0..12 {
            match self.look(pool, &Known::default()).await {
                Err(e) => last = text(&e),
                Ok(plan) => {
                    let outcome = apply_pool(&self.ports(), &plan, &FleetRun::default()).await;
                    if outcome.ready {
                        return;
                    }
                    last = text(&outcome.diagnostics);
                }
            }
            self.advance(30);
        }
        panic!("twelve applies did not do: {last}");
    }

    pub(crate) async fn destroy(&self, pool: &NodePool) -> FleetOutcome {
        let (id, drain) = (PoolId::of(pool), DrainPolicy::of(pool));
        destroy_pool(&self.ports(), &id, &drain, &BTreeSet::new(), &FleetRun::default()).await
    }

    pub(crate) fn calls(&self) -> Calls {
        self.port.calls()
    }
}

pub(crate) fn text(diagnostics: &Diagnostics) -> String {
    let one = |d: &myelin_engine::diagnostic::Diagnostic| format!("{}: {}\n", d.summary, d.detail);
    diagnostics.0.iter().map(one).collect()
}

/// A pool's document with changes to its `spec`.
pub(crate) fn pool(change: Value) -> NodePool {
    let mut spec = json!({
        "cluster": "prod", "instanceTypes": TYPES,
        "image": {"parameter": catalog::PARAMETERS[0].0},
        "subnets": [catalog::SUBNETS[0].id, catalog::SUBNETS[1].id],
        "discoveryTags": {"SynktiCluster": "prod", "SynktiRole": "worker"},
        "rollout": {"maxRemovedPercent": 100},
    });
    if change.get("min").is_none() && change.get("size").is_none() {
        spec["size"] = json!(3);
    }
    for (key, value) in change.as_object().cloned().unwrap_or_default() {
        spec[key] = value;
    }
    let document =
        json!({"apiVersion": API_VERSION, "kind": "NodePool", "metadata": {"name": "workers"}, "spec": spec});
    node_pool_from_value(document, &|_| None).unwrap_or_else(|e| panic!("{e:?}"))
}

pub(crate) fn tags(pairs: &[(&str, &str)]) -> Tags {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

pub(crate) fn filter(key: &str, value: &str) -> Vec<TagFilter> {
    vec![TagFilter {
        key: key.into(),
        values: vec![value.into()],
    }]
}

pub(crate) fn seat(instance_type: &str, subnet: &str) -> Seat {
    Seat {
        instance_type: instance_type.into(),
        subnet: subnet.into(),
    }
}

pub(crate) fn body(image: &str) -> TemplateBody {
    TemplateBody {
        image: image.into(),
        instance_profile: None,
        security_groups: Vec::new(),
        user_data: Some(b"#!/bin/sh\necho 'a & b < c' > /tmp/\xc3\xa9\n".to_vec()),
        root_volume: VolumeSpec {
            device: "/dev/xvda".into(),
            size: 30,
            kind: "gp3".into(),
            encrypted: true,
            kms_key: None,
        },
        metadata_tags: true,
        metadata_hops: 2,
        public_address: false,
        tags: tags(&[("Name", "wire & <test>")]),
    }
}

/// Spot as the fleet's requests want it.
pub(crate) const SPOT: Lifecycle = Lifecycle::Spot;
