//! A network and an EC2 of many nodes on one virtual clock: the real membership and the real schedule, no sockets, no waiting. The same
//! seed gives the same course.

use myelin_agent::gossip::key::Ring;
use myelin_agent::gossip::member::{MemberId, Name};
use myelin_agent::gossip::membership::{Membership, Out, Token};
use myelin_agent::gossip::seal::Sealer;
use myelin_agent::gossip::seeds::Schedule;
use myelin_agent::presence::Presence;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::net::SocketAddr;
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
    Controller,
}

/// One node.
pub(crate) struct Node {
    pub(crate) membership: Option<Membership>,
    pub(crate) cluster: &'static str,
    pub(crate) zone: usize,
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
    /// Zones that are cut off from all others.
    pub(crate) cut: Option<usize>,
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
    /// Every packet that was sent, while somebody listens on the wire.
    pub(crate) recorded: Option<Vec<(SocketAddr, SocketAddr, Vec<u8>)>>,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Refused questions: of nodes, of the controller.
    pub(crate) refused: (u32, u32),
    bucket: (f64, Duration),
    rng: StdRng,
    heap: BinaryHeap<Reverse<(Duration, u64)>>,
    events: std::collections::HashMap<u64, Event>,
    serial: u64,
}

impl Simulation {
    pub(crate) fn new(seed: u64) -> Self {
        let mut new = Self {
            now: Duration::ZERO,
            nodes: Vec::new(),
            way: Way { loss: 0.0, cut: None },
            tag_lag: Duration::ZERO,
            careless: false,
            recorded: None,
            packets: 0,
            bytes: 0,
            refused: (0, 0),
            bucket: (100.0, Duration::ZERO),
            rng: StdRng::seed_from_u64(seed),
            heap: BinaryHeap::new(),
            events: std::collections::HashMap::new(),
            serial: 0,
        };
        new.put(Duration::from_secs(1), Event::Controller);
        new
    }

    /// Launches nodes over three zones, all at this moment.
    pub(crate) fn launch(&mut self, count: usize, cluster: &'static str) {
        for _ in 0..count {
            let n = self.nodes.len();
            let [_, _, high, low] = u32::try_from(n).expect("few").to_be_bytes();
            self.nodes.push(Node {
                membership: None,
                cluster,
                zone: n % 3,
                address: SocketAddr::from(([10, 0, high, low], 7946)),
                tagged: None,
                schedule: Schedule::default(),
                run: 0,
                wall: 1_700_000_000_000 + u64::from(low),
                asked: 0,
            });
            self.start(n, 0);
        }
    }

    /// Starts the agent of a node, whose wall clock is off by so many milliseconds.
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
        node.tagged = Some(self.now);
        let (run, wait) = (node.run, node.schedule.wait(INTERVAL, 0, self.rng.random()));
        self.act(n, out);
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
        self.heap.push(Reverse((at, self.serial)));
        self.events.insert(self.serial, event);
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
        let zone = |a: SocketAddr| match a.ip() {
            std::net::IpAddr::V4(ip) => (usize::from(ip.octets()[2]) << 8 | usize::from(ip.octets()[3])) % 3,
            std::net::IpAddr::V6(_) => 0,
        };
        let cut = self.way.cut.is_some_and(|z| (zone(from) == z) != (zone(to) == z));
        if cut || self.rng.random_bool(self.way.loss) {
            return;
        }
        let delay = Duration::from_micros(self.rng.random_range(200..3_000));
        self.put(self.now + delay, Event::Packet { to, from, bytes });
    }

    /// EC2's published rate: a bucket of 100 that refills at 20 a second, shared with the controller.
    fn take(&mut self) -> bool {
        let refilled = self.bucket.0 + (self.now - self.bucket.1).as_secs_f64() * 20.0;
        self.bucket = (refilled.min(100.0), self.now);
        let has = self.bucket.0 >= 1.0;
        if has {
            self.bucket.0 -= 1.0;
        }
        has
    }

    fn look(&mut self, n: usize) {
        let members = self.nodes[n].membership.as_ref().map_or(0, Membership::len);
        if !self.nodes[n].schedule.is_due(members) {
            self.look_again(n);
            return;
        }
        self.nodes[n].asked += 1;
        let mut out = Vec::new();
        if self.take() {
            let (cluster, own) = (self.nodes[n].cluster, self.nodes[n].address);
            let seen = |node: &&Node| {
                let tagged = node.tagged.is_some_and(|at| at + self.tag_lag <= self.now);
                self.careless || (tagged && node.cluster == cluster)
            };
            let listed: Vec<SocketAddr> = self.nodes.iter().filter(seen).map(|node| node.address).collect();
            let membership = self.nodes[n].membership.as_mut().expect("it runs");
            let known: BTreeSet<SocketAddr> = membership
                .peers()
                .iter()
                .map(|p| SocketAddr::new(p.address, 7946))
                .collect();
            let mut strangers: Vec<SocketAddr> =
                listed.into_iter().filter(|a| *a != own && !known.contains(a)).collect();
            for _ in 0..5.min(strangers.len()) {
                let at = self.rng.random_range(0..strangers.len());
                out.extend(membership.greet(strangers.swap_remove(at)));
            }
            self.nodes[n].schedule.answered();
        } else {
            self.refused.0 += 1;
            self.nodes[n].schedule.refused();
        }
        self.act(n, out);
        self.look_again(n);
    }

    fn look_again(&mut self, n: usize) {
        let members = self.nodes[n].membership.as_ref().map_or(0, Membership::len);
        let wait = self.nodes[n].schedule.wait(INTERVAL, members, self.rng.random());
        let run = self.nodes[n].run;
        self.put(self.now + wait, Event::Look { node: n, run });
    }

    fn step(&mut self) {
        let Some(Reverse((at, serial))) = self.heap.pop() else {
            return;
        };
        self.now = at;
        match self.events.remove(&serial).expect("it was put") {
            Event::Packet { to, from, bytes } => {
                let [.., high, low] = match to.ip() {
                    std::net::IpAddr::V4(ip) => ip.octets(),
                    std::net::IpAddr::V6(_) => return,
                };
                let n = usize::from(high) << 8 | usize::from(low);
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
            Event::Timer { .. } | Event::Look { .. } => {}
            Event::Controller => {
                // A controller that looks every second at full speed must never be refused because of the nodes.
                if !self.take() {
                    self.refused.1 += 1;
                }
                self.put(self.now + Duration::from_secs(1), Event::Controller);
            }
        }
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.heap.peek().is_some_and(|Reverse((at, _))| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until a condition holds; how long that took.
    pub(crate) fn until(&mut self, limit: Duration, condition: impl Fn(&Self) -> bool) -> Duration {
        let began = self.now;
        while !condition(self) {
            assert!(self.now - began < limit, "it did not come about within {limit:?}");
            self.pass(Duration::from_millis(500));
        }
        self.now - began
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
            && memberships().all(|(_, m)| m.is_some_and(|m| m.peers().iter().all(|p| self.runs(&p.instance))))
    }

    fn runs(&self, instance: &str) -> bool {
        let n = usize::from_str_radix(instance.trim_start_matches("i-"), 16).expect("a name of ours");
        self.nodes[n].membership.is_some()
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
