//! A network and an EC2 for many nodes on one virtual clock: the real membership and the real schedule, no sockets, no
//! waiting. The same seed gives the same run.

use crate::account::{Account, Served};
use myelin_agent::gossip::key::Ring;
use myelin_agent::gossip::member::{MemberId, Name};
use myelin_agent::gossip::membership::{Membership, Out, Token};
use myelin_agent::gossip::seal::Sealer;
use myelin_agent::gossip::seeds::{Next, Schedule};
use myelin_agent::presence::{Presence, Tag};
use myelin_agent::state_tag;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(crate) const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The agent's default.
const INTERVAL: Duration = Duration::from_secs(30);

enum Event {
    Packet {
        to: SocketAddr,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Timer {
        node: usize,
        run: u32,
        token: Token,
    },
    Look {
        node: usize,
        run: u32,
    },
    Tag {
        node: usize,
        run: u32,
        refusals: u32,
    },
    Controller,
}

/// What happens at a time, in the order in which it was put there. In a box: a heap moves what it holds.
struct Due(Duration, u64, Box<Event>);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0, self.1).cmp(&(other.0, other.1))
    }
}

/// One node.
pub(crate) struct Node {
    pub(crate) membership: Option<Membership>,
    pub(crate) cluster: &'static str,
    pub(crate) address: SocketAddr,
    /// When its state tag was written.
    tagged: Option<Duration>,
    schedule: Schedule,
    run: u32,
    wall: u64,
    /// Questions to EC2.
    pub(crate) asked: u32,
}

/// What goes wrong on the way.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    /// Share of packets that are lost.
    pub(crate) loss: f64,
    /// Whether what one node says never reaches another one.
    pub(crate) cut: fn(usize, usize) -> bool,
}

/// A controller that looks every second, and marks a node every second, as a roll at full speed does.
#[derive(Default)]
pub(crate) struct Controller {
    /// Looks that were answered.
    pub(crate) looks: u32,
    /// Marks that were taken.
    pub(crate) marks: u32,
    /// Marks that were refused.
    pub(crate) refused: u32,
    /// Tries for the mark that is due now.
    tries: u32,
    /// The most tries for one mark.
    pub(crate) most_tries: u32,
}

/// The whole world.
pub(crate) struct Simulation {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) way: Way,
    /// How long a tag takes to be seen.
    pub(crate) tag_lag: Duration,
    /// EC2 lists every node to everybody, whatever its tags.
    pub(crate) careless: bool,
    /// Every packet that was sent, if the wire is recorded.
    pub(crate) recorded: Option<Vec<(SocketAddr, SocketAddr, Vec<u8>)>>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Refused questions: of nodes, of the controller.
    pub(crate) refused: (u32, u32),
    /// Tag writes: of nodes, and those of them that were refused.
    pub(crate) tag_writes: (u32, u32),
    pub(crate) controller: Controller,
    account: Account,
    rng: StdRng,
    /// Of the waits for tags, so that they change nothing else.
    tag_rng: StdRng,
    heap: BinaryHeap<Reverse<Due>>,
    serial: u64,
}

/// A node's address.
fn address(n: usize) -> SocketAddr {
    let [_, _, high, low] = u32::try_from(n).expect("few").to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 7946))
}

/// Which node has an address.
fn node_at(address: SocketAddr) -> Option<usize> {
    match address.ip() {
        IpAddr::V4(ip) => {
            let [.., high, low] = ip.octets();
            Some(usize::from(high) << 8 | usize::from(low))
        }
        IpAddr::V6(_) => None,
    }
}

impl Simulation {
    pub(crate) fn new(seed: u64) -> Self {
        let mut new = Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            way: Way {
                loss: 0.0,
                cut: |_, _| false,
            },
            tag_lag: Duration::ZERO,
            careless: false,
            recorded: None,
            packets: 0,
            bytes: 0,
            refused: (0, 0),
            tag_writes: (0, 0),
            controller: Controller::default(),
            account: Account::counted(),
            rng: StdRng::seed_from_u64(seed),
            tag_rng: StdRng::seed_from_u64(!seed),
            heap: BinaryHeap::new(),
            serial: 0,
        };
        new.put(Duration::from_secs(1), Event::Controller);
        new
    }

    /// Launches nodes over three zones (the remainder of its number by three is a node's zone), all at this moment.
    pub(crate) fn launch(&mut self, count: usize, cluster: &'static str) {
        for _ in 0..count {
            let n = self.nodes.len();
            let [.., low] = n.to_be_bytes();
            self.nodes.push(Node {
                membership: None,
                cluster,
                address: address(n),
                tagged: None,
                schedule: Schedule::default(),
                run: 0,
                wall: 1_700_000_000_000 + u64::from(low),
                asked: 0,
            });
            self.start(n, 0);
        }
    }

    /// The same, with the sandbox's EC2 in place of a count of requests. Before anything else is launched.
    pub(crate) fn launch_served(&mut self, count: usize, cluster: &'static str) {
        let first = self.nodes.len();
        let addresses: Vec<SocketAddr> = (first..first + count).map(address).collect();
        self.account = Account::Served(Box::new(Served::new(cluster, &addresses)));
        self.launch(count, cluster);
    }

    /// Starts the agent of a node, whose wall clock is off by this many milliseconds.
    pub(crate) fn start(&mut self, n: usize, wall_off: i64) {
        let seed = self.rng.random();
        let session = self.rng.random();
        let millis = u64::try_from(self.now.as_millis()).expect("short");
        let node = &mut self.nodes[n];
        node.run += 1;
        let me = MemberId {
            name: Name::new(&format!("i-{n:017x}")).expect("a name"),
            address: node.address,
            port: 8080,
            boot: (node.wall + millis).saturating_add_signed(wall_off),
            version: 0,
            renewals: 0,
            session,
            presence: Presence::Ready,
        };
        let ring = Ring::new(KEY, node.cluster, "worker").expect("a key");
        let mut membership = Membership::new(me, Sealer::new(ring, session), seed);
        let out = membership.start();
        node.membership = Some(membership);
        node.schedule = Schedule::default();
        let (run, wait) = (node.run, node.schedule.wait(INTERVAL, 0, self.rng.random()));
        self.act(n, out);
        // Its workload is ready at once: the worst that many can do to the account.
        let refusals = 0;
        self.put(self.now, Event::Tag { node: n, run, refusals });
        self.put(self.now + wait, Event::Look { node: n, run });
    }

    /// kill -9. EC2 goes on to list the instance as running and ready.
    pub(crate) fn kill(&mut self, n: usize) {
        self.nodes[n].membership = None;
        self.nodes[n].run += 1;
    }

    pub(crate) fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|n| self.nodes[*n].membership.is_some())
            .collect()
    }

    fn put(&mut self, at: Duration, event: Event) {
        self.serial += 1;
        self.heap.push(Reverse(Due(at, self.serial, Box::new(event))));
    }

    /// Does what a node wants done.
    pub(crate) fn act(&mut self, n: usize, out: Vec<Out>) {
        let (run, from) = (self.nodes[n].run, self.nodes[n].address);
        for one in out {
            match one {
                Out::After(wait, token) => self.put(self.now + wait, Event::Timer { node: n, run, token }),
                Out::Send(to, bytes) => self.send(from, to, bytes),
            }
        }
    }

    pub(crate) fn send(&mut self, from: SocketAddr, to: SocketAddr, bytes: Vec<u8>) {
        self.packets += 1;
        self.bytes += bytes.len() as u64;
        if let Some(recorded) = &mut self.recorded {
            recorded.push((from, to, bytes.clone()));
        }
        let ends = node_at(from).zip(node_at(to));
        let cut = ends.is_some_and(|(from, to)| (self.way.cut)(from, to));
        if cut || self.rng.random_bool(self.way.loss) {
            return;
        }
        let delay = Duration::from_micros(self.rng.random_range(200..3_000));
        self.put(self.now + delay, Event::Packet { to, from, bytes });
    }

    fn look(&mut self, n: usize) {
        let members = self.nodes[n].membership.as_ref().map_or(0, Membership::len);
        let chance = self.rng.random();
        if let Next::Wait(longer) = self.nodes[n].schedule.next(INTERVAL, members, chance) {
            let run = self.nodes[n].run;
            self.put(self.now + longer, Event::Look { node: n, run });
            return;
        }
        self.nodes[n].asked += 1;
        let mut out = Vec::new();
        let cluster = self.nodes[n].cluster;
        let (now, lag, careless) = (self.now, self.tag_lag, self.careless);
        let seen = |node: &&Node| {
            let tagged = node.tagged.is_some_and(|at| at + lag <= now);
            careless || (tagged && node.cluster == cluster)
        };
        let nodes = &self.nodes;
        let model = || nodes.iter().filter(seen).map(|node| node.address).collect();
        if let Some(listed) = self.account.list(now, cluster, model) {
            let membership = self.nodes[n].membership.as_mut().expect("it runs");
            let count = listed.len();
            out = membership.found(listed);
            self.nodes[n].schedule.answered(count);
        } else {
            self.refused.0 += 1;
            self.nodes[n].schedule.refused();
        }
        self.act(n, out);
        self.look_again(n);
    }

    fn tag(&mut self, n: usize, run: u32, refusals: u32) {
        self.tag_writes.0 += 1;
        if self
            .account
            .tag(self.now, self.nodes[n].address, "myelin.dev:state", "ready")
        {
            let now = self.now;
            self.nodes[n].tagged.get_or_insert(now);
            return;
        }
        self.tag_writes.1 += 1;
        let refusals = refusals + 1;
        let members = self.nodes[n].membership.as_ref().map_or(0, Membership::len);
        let wait = state_tag::wait(Tag::Ready, true, refusals, members, self.tag_rng.random());
        self.put(self.now + wait, Event::Tag { node: n, run, refusals });
    }

    /// A controller that works at full speed must not be refused because of the nodes.
    fn control(&mut self) {
        let now = self.now;
        match self.account.list(now, "prod", Vec::new) {
            Some(_) => self.controller.looks += 1,
            None => self.refused.1 += 1,
        }
        let own = &mut self.controller;
        own.tries += 1;
        own.most_tries = own.most_tries.max(own.tries);
        let node = self.nodes.first().map(|node| node.address);
        if node.is_none_or(|node| self.account.tag(now, node, "myelin.dev:mark", "1")) {
            (own.marks, own.tries) = (own.marks + 1, 0);
        } else {
            own.refused += 1;
        }
        self.put(now + Duration::from_secs(1), Event::Controller);
    }

    fn look_again(&mut self, n: usize) {
        let members = self.nodes[n].membership.as_ref().map_or(0, Membership::len);
        let wait = self.nodes[n].schedule.wait(INTERVAL, members, self.rng.random());
        let run = self.nodes[n].run;
        self.put(self.now + wait, Event::Look { node: n, run });
    }

    fn step(&mut self) {
        let Some(Reverse(Due(at, _, event))) = self.heap.pop() else {
            return;
        };
        self.now = at;
        match *event {
            Event::Packet { to, from, bytes } => {
                let Some(n) = node_at(to) else { return };
                if let Some(membership) = self.nodes.get_mut(n).and_then(|node| node.membership.as_mut()) {
                    let out = membership.packet(from, &bytes);
                    self.act(n, out);
                }
            }
            Event::Timer { node, run, token } if self.nodes[node].run == run => {
                if let Some(membership) = self.nodes[node].membership.as_mut() {
                    let out = membership.timer(token);
                    self.act(node, out);
                }
            }
            Event::Look { node, run } if self.nodes[node].run == run && self.nodes[node].membership.is_some() => {
                self.look(node);
            }
            Event::Tag { node, run, refusals } if self.nodes[node].run == run => self.tag(node, run, refusals),
            Event::Timer { .. } | Event::Look { .. } | Event::Tag { .. } => {}
            Event::Controller => self.control(),
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.heap.peek().is_some_and(|Reverse(due)| due.0 <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until a condition holds; how long that took.
    pub(crate) fn until(&mut self, limit: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        let took = self.within(limit, condition);
        took.unwrap_or_else(|| panic!("it did not come about within {limit:?}"))
    }

    /// The same, and None when the time is over.
    pub(crate) fn within(&mut self, limit: Duration, condition: impl Fn(&Self) -> bool) -> Option<Duration> {
        let began = self.now;
        while !condition(self) {
            if self.now - began >= limit {
                return None;
            }
            self.pass(Duration::from_millis(500));
        }
        Some(self.now - began)
    }

    /// Which share of the pairs of one cluster's nodes know each other.
    pub(crate) fn known(&self) -> f64 {
        let know: usize = self
            .nodes
            .iter()
            .filter_map(|n| n.membership.as_ref())
            .map(Membership::len)
            .sum();
        let all = self.alive().len();
        know as f64 / (all * all.saturating_sub(1)) as f64
    }

    /// How many of these know exactly the others of their cluster that run.
    pub(crate) fn settled(&self) -> bool {
        let alive = self.alive();
        let mut sizes: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for n in &alive {
            *sizes.entry(self.nodes[*n].cluster).or_default() += 1;
        }
        let memberships = || {
            alive
                .iter()
                .map(|n| (self.nodes[*n].cluster, self.nodes[*n].membership.as_ref()))
        };
        // Numbers first: they are cheap to compare, and mostly differ while there is something to wait for.
        memberships().all(|(cluster, m)| m.is_some_and(|m| m.len() + 1 == sizes[cluster]))
            && memberships().all(|(_, m)| m.is_some_and(|m| m.addresses().all(|a| self.runs(a))))
    }

    /// Whether EC2 has taken every node's tag.
    pub(crate) fn all_tagged(&self) -> bool {
        self.nodes.iter().all(|node| node.tagged.is_some())
    }

    fn runs(&self, address: SocketAddr) -> bool {
        let node = node_at(address).and_then(|n| self.nodes.get(n));
        node.is_some_and(|node| node.membership.is_some())
    }

    /// Whether these nodes know exactly each other.
    pub(crate) fn are_alone(&self, nodes: impl Fn(usize) -> bool) -> bool {
        let these: Vec<usize> = self.alive().into_iter().filter(|n| nodes(*n)).collect();
        let alone = |n: &usize| {
            let membership = self.nodes[*n].membership.as_ref().expect("it runs");
            membership.len() + 1 == these.len() && membership.addresses().filter_map(node_at).all(&nodes)
        };
        these.iter().all(alone)
    }

    /// How many nodes see another one so.
    pub(crate) fn seen_as(&self, of: usize, presence: Presence) -> usize {
        let name = format!("i-{of:017x}");
        let sees = |n: &&usize| {
            let membership = self.nodes[**n].membership.as_ref().expect("it runs");
            membership
                .peers()
                .iter()
                .any(|p| p.instance == name && p.presence == presence)
        };
        self.alive().iter().filter(sees).count()
    }
}
