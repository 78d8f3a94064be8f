//! The model kubelet: pods on the sandbox's nodes come up, run, fail, and go, on the virtual clock.
//!
//! It follows the real kubelet's structure, because the recorded states are made by it: one worker for each pod; a status that is
//! written at the start of each turn, and so lags what the turn does; a look at the runtime once a second; a cache of the reasons
//! that starts failed for. What containers run is in `shell`; what they are given in `inputs`.

pub(crate) mod behaviour;
pub mod exec;
mod images;
mod inputs;
mod launch;
pub mod logs;
mod network;
pub(crate) mod node;
pub(crate) mod placement;
mod probes;
mod runtime;
pub(crate) mod scheduler;
pub(crate) mod serve;
pub(crate) mod shell;
mod status;
mod timing;
mod worker;

use std::collections::{BTreeSet, HashMap};

use super::controllers::Config;
use super::controllers::object::{self, Key};
use super::controllers::world::{Outcome, Seen, Who, World};
use runtime::PodRun;

/// All pods that the sandbox's nodes run.
#[derive(Debug)]
pub(crate) struct Kubelet {
    nodes: Vec<String>,
    /// Addresses of nodes that joined later.
    hosts: HashMap<String, String>,
    runs: HashMap<String, PodRun>,
    /// Images that are on a node: node and name.
    images: BTreeSet<(String, String)>,
    addresses: u32,
}

impl Kubelet {
    pub(crate) fn new(config: &Config) -> Self {
        let nodes = config.nodes.iter().map(|node| node.name.clone()).collect();
        Self {
            nodes,
            hosts: HashMap::new(),
            runs: HashMap::new(),
            images: BTreeSet::new(),
            addresses: 0,
        }
    }

    /// Whether a node is one of ours. Pods on other nodes are left alone.
    pub(crate) fn runs(&self, node: &str) -> bool {
        self.nodes.iter().any(|name| name == node)
    }

    /// Runs one node more.
    pub(crate) fn add(&mut self, node: &str, address: String) {
        self.nodes.push(node.to_owned());
        self.hosts.insert(node.to_owned(), address);
    }

    /// Runs a node no more.
    pub(crate) fn remove(&mut self, node: &str) {
        self.nodes.retain(|name| name != node);
        self.hosts.remove(node);
    }

    /// The address of a node of ours.
    pub(crate) fn host_ip(&self, node: &str) -> String {
        if let Some(address) = self.hosts.get(node) {
            return address.clone();
        }
        let at = self.nodes.iter().position(|name| name == node).unwrap_or(0);
        format!("172.18.0.{}", at + 2)
    }

    fn next_ip(&mut self) -> String {
        self.addresses += 1;
        let n = self.addresses;
        format!("10.244.{}.{}", (n / 250) % 256, n % 250 + 2)
    }

    /// The inside of a running container.
    pub(crate) fn machine(&self, pod: &str, container: &str) -> Option<shell::Machine> {
        self.runs.get(pod)?.machine(container)
    }

    /// How many other pods are on their way up now; counted to a bound.
    fn starting(&self) -> i32 {
        i32::try_from(self.runs.values().filter(|run| run.is_starting()).take(20).count()).unwrap_or(0)
    }

    /// How many other pods are being stopped now; counted to a bound.
    fn stopping(&self) -> i32 {
        i32::try_from(self.runs.values().filter(|run| run.is_stopping()).take(20).count()).unwrap_or(0)
    }

    /// Whether a container runs.
    pub(crate) fn is_running(&self, pod: &str, container: &str) -> bool {
        self.machine(pod, container).is_some()
    }

    /// A pod's runtime.
    pub(crate) fn run(&self, pod: &str) -> Option<&PodRun> {
        self.runs.get(pod)
    }
}

/// Take note of a pod of ours.
pub(crate) fn observe(world: &mut World, seen: &Seen) {
    let pod = seen.value();
    let node = object::text(pod, "/spec/nodeName");
    if node.is_empty() || !world.kubelet.runs(node) {
        return;
    }
    if seen.gone() {
        world.kubelet.runs.remove(seen.object.uid());
        return;
    }
    // Its own status is no news to the kubelet.
    let news = |before: &serde_json::Value| {
        before["spec"] != pod["spec"] || object::is_deleting(before) != object::is_deleting(pod)
    };
    let known = world.kubelet.runs.get_mut(seen.object.uid());
    match known {
        Some(run) => {
            if seen.before.as_ref().is_none_or(|before| news(before.value())) {
                run.want_sync(world.now);
                world.enqueue(Who::Pod, object::key("", seen.object.uid()));
            }
        }
        None => {
            let run = PodRun::new(pod, world.now);
            world.kubelet.runs.insert(seen.object.uid().to_owned(), run);
            world.enqueue(Who::Pod, object::key("", seen.object.uid()));
        }
    }
}

/// Do what is due for a pod.
pub(crate) fn wake(world: &mut World, key: &Key) -> Outcome {
    let Some(mut run) = world.kubelet.runs.remove(&*key.1) else {
        return Outcome::Done;
    };
    let Some(pod) = world
        .registry
        .find("pods", &run.key.0, &run.key.1)
        .filter(|pod| pod.uid() == &*key.1)
    else {
        return Outcome::Done;
    };
    let lost = world
        .cache
        .find("nodes", "", object::text(pod.value(), "/spec/nodeName"))
        .is_some_and(|node| node::is_lost(node.value()));
    if !lost {
        worker::work(world, &mut run);
        if let Some(at) = run.due() {
            world.enqueue_at(Who::Pod, key.clone(), at);
        }
    }
    world.kubelet.runs.insert(key.1.to_string(), run);
    Outcome::Done
}
