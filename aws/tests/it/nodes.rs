//! Pools whose nodes belong to a Kubernetes cluster: they join by their user data, count once they are Ready, and are
//! drained over the Eviction API, in tiers and within disruption budgets, before EC2 terminates them. Uses the whole
//! sandbox, with an accelerated clock.

use crate::world::{client, pool, text};
use futures::future::BoxFuture;
use myelin_engine::cluster::Cluster;
use myelin_engine::cluster::connect::{Access, connect};
use myelin_engine::document::NodePool;
use myelin_engine::fleet::{
    DrainPolicy, FleetOutcome, FleetRun, Known, PoolId, Ports, apply_pool, destroy_pool, observe_pool, plan_pool,
};
use myelin_sandbox::clock::Clock;
use myelin_sandbox::ec2::ADMINISTRATOR;
use myelin_sandbox::kubernetes::registry::Actor;
use myelin_sandbox::{Options, Sandbox};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

struct Running(Clock);

impl myelin_engine::clock::Clock for Running {
    fn now(&self) -> jiff::Timestamp {
        self.0.now()
    }

    fn sleep(&self, time: Duration) -> BoxFuture<'static, ()> {
        let clock = self.0.clone();
        Box::pin(async move { clock.sleep(time).await })
    }
}

struct World {
    sandbox: Sandbox,
    ports: Ports,
}

impl World {
    async fn start() -> Self {
        let sandbox = Sandbox::start(Options {
            speed: 40.0,
            ..Options::default()
        })
        .await
        .expect("a sandbox");
        let access = Access::Direct {
            host: sandbox.url().to_owned(),
            token: Some(sandbox.token().to_owned()),
            ca_pem: Some(sandbox.authority().to_owned()),
            client: None,
            tls_server_name: None,
            insecure: false,
        };
        let cluster: Arc<dyn Cluster> = Arc::new(connect(&access).await.expect("reached"));
        let ports = Ports {
            cloud: client(&sandbox.aws().url(), ADMINISTRATOR).await,
            cluster: Some(cluster),
            clock: Arc::new(Running(sandbox.clock().clone())),
        };
        Self { sandbox, ports }
    }

    /// A pool whose nodes join this cluster.
    fn pool(&self, size: u32, rollout: Value, kubernetes: Value) -> NodePool {
        let join = format!(
            "#!/bin/sh\nK3S_URL={} K3S_TOKEN={} install\n",
            self.sandbox.url(),
            self.sandbox.token()
        );
        self.pool_with(&join, size, rollout, kubernetes)
    }

    fn pool_with(&self, user_data: &str, size: u32, rollout: Value, kubernetes: Value) -> NodePool {
        let mut all = json!({"health": "kubernetes", "maxRemovedPercent": 100});
        for (k, v) in rollout.as_object().cloned().unwrap_or_default() {
            all[k] = v;
        }
        let instance_types = json!(["m5.large"]);
        pool(json!({
            "size": size, "userData": user_data, "rollout": all, "kubernetes": kubernetes, "instanceTypes": instance_types,
        }))
    }

    async fn converge(&self, pool: &NodePool) -> FleetOutcome {
        let run = FleetRun::default();
        let seen = observe_pool(&self.ports, pool, &Known::default(), &run).await;
        let seen = seen.unwrap_or_else(|e| panic!("{}", text(&e)));
        let plan = plan_pool(pool, &seen, self.ports.clock.now());
        apply_pool(&self.ports, &plan, &run).await
    }

    /// Names of the cluster's nodes that are instances.
    fn nodes(&self) -> Vec<Value> {
        let all = self.sandbox.registry().list("nodes", None, None).expect("nodes");
        let all = all.iter().map(|n| n.value().clone());
        all.filter(|n| n.pointer("/spec/providerID").is_some()).collect()
    }

    fn make(&self, resource: &str, body: Value) {
        self.sandbox
            .registry()
            .create(&Actor::admin("test"), resource, "default", body)
            .unwrap_or_else(|e| panic!("{}", e.message));
    }

    /// Two replicas on nodes of the pool, and how many of them may be missing.
    async fn workload(&self, max_unavailable: u32) {
        let labels = json!({"app": "web"});
        self.make(
            "deployments.apps",
            json!({"metadata": {"name": "web"}, "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels},
                "spec": {"nodeSelector": {"node.kubernetes.io/instance-type": "m5.large"}, "terminationGracePeriodSeconds": 5,
                    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": labels}}],
                    "containers": [{"name": "c", "image": "busybox", "command": ["sleep", "100000"]}]},
            }}}),
        );
        self.make(
            "poddisruptionbudgets.policy",
            json!({"metadata": {"name": "web"}, "spec": {"maxUnavailable": max_unavailable, "selector": {"matchLabels": labels}}}),
        );
        self.until("both replicas are ready", || self.ready_pods() == 2).await;
    }

    fn pods(&self) -> Vec<Value> {
        let all = self
            .sandbox
            .registry()
            .list("pods", Some("default"), None)
            .expect("pods");
        all.iter().map(|p| p.value().clone()).collect()
    }

    fn ready_pods(&self) -> usize {
        let ready = |p: &&Value| {
            let conditions = p.pointer("/status/conditions").and_then(Value::as_array);
            conditions.is_some_and(|c| c.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
        };
        self.pods().iter().filter(ready).count()
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds() {
            assert!(Instant::now() < deadline, "it did not come to this: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn evictions(&self) -> Vec<String> {
        let log = self.sandbox.faults().log(0);
        log.into_iter()
            .map(|l| l.path)
            .filter(|p| p.ends_with("/eviction"))
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_join_by_their_user_data_and_leave_when_they_end() {
    let world = World::start().await;
    let wanted = world.pool(2, json!({}), json!({}));
    let outcome = world.converge(&wanted).await;
    assert!(outcome.ready, "{}", text(&outcome.diagnostics));
    let nodes = world.nodes();
    let ids: BTreeSet<&str> = nodes
        .iter()
        .filter_map(|n| n["spec"]["providerID"].as_str()?.rsplit('/').next())
        .collect();
    assert_eq!(ids, outcome.nodes.iter().map(|n| n.id.as_str()).collect());
    for node in &nodes {
        let labels = &node["metadata"]["labels"];
        assert_eq!(labels["node.kubernetes.io/instance-type"], "m5.large");
        assert!(
            labels["topology.kubernetes.io/zone"]
                .as_str()
                .is_some_and(|z| z.starts_with("us-east-1"))
        );
    }
    // Reclaimed without a word: its node goes too.
    let lost = outcome.nodes[0].id.clone();
    world.sandbox.cloud().reclaim(&lost).expect("there");
    world
        .until("the node of a reclaimed instance is gone", || world.nodes().len() == 1)
        .await;
    let (id, drain) = (PoolId::of(&wanted), DrainPolicy::of(&wanted));
    let gone = destroy_pool(&world.ports, &id, &drain, &BTreeSet::new(), &FleetRun::default()).await;
    assert!(gone.ready, "{}", text(&gone.diagnostics));
    world.until("no node is left", || world.nodes().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_never_joins_pauses_the_roll_and_is_named() {
    let world = World::start().await;
    let join = format!("K3S_URL={} K3S_TOKEN=wrong", world.sandbox.url());
    let wanted = world.pool_with(&join, 1, json!({"healthTimeout": "60s"}), json!({}));
    let outcome = world.converge(&wanted).await;
    let said = text(&outcome.diagnostics);
    assert!(!outcome.ready && said.contains("has not joined the cluster"), "{said}");
    assert!(said.contains(&outcome.nodes[0].id), "{said}");
    assert!(world.nodes().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_keeps_a_disruption_budget() {
    let world = World::start().await;
    assert!(world.converge(&world.pool(2, json!({}), json!({}))).await.ready);
    world.workload(1).await;
    let outcome = world.converge(&world.pool(1, json!({}), json!({}))).await;
    assert!(
        outcome.ready && outcome.ended.len() == 1,
        "{}",
        text(&outcome.diagnostics)
    );
    assert!(!world.evictions().is_empty(), "pods were evicted, not deleted");
    world
        .until("the evicted replica is ready elsewhere", || world.ready_pods() == 2)
        .await;
    let left = world.nodes();
    assert_eq!(left.len(), 1);
    assert!(
        world
            .pods()
            .iter()
            .all(|p| p["spec"]["nodeName"] == left[0]["metadata"]["name"])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_of_zero_ends_the_drain_as_the_policy_says() {
    let world = World::start().await;
    let rollout = json!({"drainTimeout": "60s"});
    assert!(world.converge(&world.pool(2, rollout.clone(), json!({}))).await.ready);
    world.workload(0).await;
    let outcome = world.converge(&world.pool(1, rollout.clone(), json!({}))).await;
    let said = text(&outcome.diagnostics);
    assert!(
        !outcome.ready && said.contains("drainTimeout of 60 s is over"),
        "{said}"
    );
    assert!(
        outcome.ended.is_empty() && outcome.nodes.len() == 2,
        "nothing was ended"
    );
    let open = |n: &Value| n["spec"]["unschedulable"].as_bool() != Some(true);
    assert!(world.nodes().iter().all(open), "and the node takes pods again");
    assert_eq!(world.ready_pods(), 2);
    let outcome = world
        .converge(&world.pool(1, rollout, json!({"atDeadline": "force"})))
        .await;
    assert!(
        outcome.ready && outcome.ended.len() == 1,
        "{}",
        text(&outcome.diagnostics)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_cluster_needs_is_evicted_after_what_needs_it() {
    let world = World::start().await;
    assert!(world.converge(&world.pool(1, json!({}), json!({}))).await.ready);
    let node = world.nodes()[0]["metadata"]["name"].clone();
    for (name, class) in [
        ("a-critical", json!("system-cluster-critical")),
        ("b-plain", Value::Null),
    ] {
        let mut spec = json!({
            "nodeName": node, "terminationGracePeriodSeconds": 5,
            "containers": [{"name": "c", "image": "busybox", "command": ["sleep", "100000"]}],
        });
        if !class.is_null() {
            spec["priorityClassName"] = class;
        }
        world.make("pods", json!({"metadata": {"name": name}, "spec": spec}));
    }
    world.until("both pods run", || world.ready_pods() == 2).await;
    let wanted = world.pool(1, json!({}), json!({}));
    let (id, drain) = (PoolId::of(&wanted), DrainPolicy::of(&wanted));
    let gone = destroy_pool(&world.ports, &id, &drain, &BTreeSet::new(), &FleetRun::default()).await;
    assert!(gone.ready, "{}", text(&gone.diagnostics));
    let evicted = world.evictions();
    let first = |name: &str| {
        evicted
            .iter()
            .position(|p| p.contains(name))
            .unwrap_or_else(|| panic!("{name}: {evicted:?}"))
    };
    let last = |name: &str| evicted.iter().rposition(|p| p.contains(name));
    assert!(last("b-plain") < Some(first("a-critical")), "{evicted:?}");
}
