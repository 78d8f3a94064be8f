//! Who is there: SWIM (foca) and what surrounds it, without a socket and without a clock. Packets and timers go in, packets and
//! timers come out; the same seed and the same input give the same output.
//!
//! Beside SWIM there are greetings (a node that EC2 lists has an address, but its session is not known yet), whole lists (a new
//! node learns everybody at once, and from time to time everybody compares with somebody), and a word to all at once when a node
//! stops taking work: gossip alone would need seconds for that in a large cluster.

use super::codec::{self, Codec, TEXT, WORD};
use super::heard::Heard;
use super::member::MemberId;
use super::peer::Peer;
use super::seal::{Dropped, Kind, NOBODY, Sealer, Session};
use crate::presence::Presence;
use aws_lc_rs::digest;
use foca::{
    AccumulatingRuntime, Codec as _, Config, Foca, Member, NoCustomBroadcast, OwnedNotification, PeriodicParams,
};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::collections::{HashSet, VecDeque};
use std::net::SocketAddr;
use std::num::{NonZeroU8, NonZeroU32, NonZeroUsize};
use std::time::Duration;

/// Members in one packet of a list.
const LISTED: usize = (TEXT - 2) / WORD;

/// Nodes of one answer of EC2 that are greeted.
const GREETED: usize = 5;

/// Greetings that are waited for.
const GREETINGS: usize = 256;

/// How long after a word to all it is said again, for those who missed it.
const AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(500)];

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Out {
    /// Send this.
    Send(SocketAddr, Vec<u8>),
    /// Come back with this after a while.
    After(Duration, Token),
}

/// Something to come back with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// SWIM's.
    Swim(foca::Timer<MemberId>),
    /// Say what this node is again.
    Tell(u8),
    /// Compare with somebody.
    Compare,
}

/// What was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drops {
    /// Packets that strangers sent, or that were changed.
    pub foreign: u64,
    /// Packets that were played again.
    pub replayed: u64,
    /// Packets of members that could not be read.
    pub unreadable: u64,
}

/// The membership of one node.
pub struct Membership {
    foca: Foca<MemberId, Codec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<MemberId>,
    sealer: Sealer,
    rng: StdRng,
    greeted: VecDeque<u64>,
    heard: Heard,
    size: u32,
    changed: bool,
    /// What was dropped.
    pub drops: Drops,
}

impl std::fmt::Debug for Membership {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Membership")
            .field("me", self.foca.identity())
            .finish_non_exhaustive()
    }
}

fn nonzero(n: usize) -> NonZeroUsize {
    NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)
}

/// SWIM's settings for a cluster of this size: a probe a second; suspicion and repetitions grow with the logarithm. Both are half as
/// much again as foca's own for a LAN: with a tenth of all packets lost, nodes that were suspected were called down before they
/// could say that they live, and single nodes missed what hundreds had heard (`tests/it/clusters.rs`).
fn settings(size: u32) -> Config {
    let every = |frequency, members| {
        Some(PeriodicParams {
            frequency,
            num_members: nonzero(members),
        })
    };
    let logarithm = f64::from(size.max(10)).log10();
    Config {
        suspect_to_down_after: Duration::from_secs_f64(6.0 * logarithm),
        max_transmissions: [8, 8, 12, 18, 24]
            .get(logarithm_of(size))
            .copied()
            .and_then(NonZeroU8::new)
            .unwrap_or(NonZeroU8::MAX),
        max_packet_size: nonzero(TEXT),
        // An instance that is gone for an hour does not come back, and its name is never used again.
        remove_down_after: Some(Duration::from_secs(3_600)),
        // Whole lists do this.
        periodic_announce: None,
        // This is what heals a split: each side keeps asking some of those that it lost.
        periodic_announce_to_down_members: every(Duration::from_secs(20), 2),
        periodic_gossip: every(Duration::from_millis(250), 3),
        ..Config::new_lan(NonZeroU32::new(size.max(2)).unwrap_or(NonZeroU32::MIN))
    }
}

/// Whole decimal logarithm.
fn logarithm_of(size: u32) -> usize {
    size.max(1).ilog10() as usize + 1
}

impl Membership {
    /// Of a node that knows nobody yet. `seed` decides all that is chance in it.
    #[must_use]
    pub fn new(me: MemberId, sealer: Sealer, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let own = StdRng::seed_from_u64(rng.random());
        let me = MemberId {
            session: sealer.session(),
            ..me
        };
        Self {
            foca: Foca::new(me, settings(2), own, Codec),
            runtime: AccumulatingRuntime::new(),
            sealer,
            rng,
            greeted: VecDeque::new(),
            heard: Heard::default(),
            size: 2,
            changed: false,
            drops: Drops::default(),
        }
    }

    /// Who this node is at the moment.
    #[must_use]
    pub fn me(&self) -> &MemberId {
        self.foca.identity()
    }

    /// The others that are there, by name.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        let mut peers: Vec<Peer> = self.foca.iter_members().map(|m| m.id().peer()).collect();
        peers.sort_by(|a, b| a.instance.cmp(&b.instance));
        peers
    }

    /// Where the others listen that are there.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.foca.iter_members().map(|m| m.id().address)
    }

    /// How many others are there.
    #[must_use]
    pub fn len(&self) -> usize {
        self.foca.num_members()
    }

    /// Whether nobody is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether somebody listens there.
    #[must_use]
    pub fn knows(&self, address: SocketAddr) -> bool {
        self.addresses().any(|known| known == address)
    }

    /// Whether something changed since this was asked last.
    pub fn changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Begins.
    pub fn start(&mut self) -> Vec<Out> {
        vec![self.next_compare()]
    }

    fn next_compare(&mut self) -> Out {
        Out::After(
            Duration::from_millis(self.rng.random_range(10_000..30_000)),
            Token::Compare,
        )
    }

    /// Greets some of those that EC2 lists and nobody here knows; whom they know, they will tell.
    pub fn found(&mut self, listed: impl IntoIterator<Item = SocketAddr>) -> Vec<Out> {
        let known: HashSet<SocketAddr> = self.addresses().collect();
        let own = self.me().address;
        let mut strangers: Vec<SocketAddr> = listed
            .into_iter()
            .filter(|address| *address != own && !known.contains(address))
            .collect();
        let mut out = Vec::new();
        for _ in 0..GREETED.min(strangers.len()) {
            let at = self.rng.random_range(0..strangers.len());
            out.extend(self.greet(strangers.swap_remove(at)));
        }
        out
    }

    /// Greets a node that EC2 lists.
    pub fn greet(&mut self, address: SocketAddr) -> Vec<Out> {
        if address == self.me().address || self.knows(address) {
            return Vec::new();
        }
        let text = member(&Member::alive(*self.me()));
        let (packet, counter) = self.sealer.seal(Kind::Greeting, &NOBODY, &text);
        if self.greeted.len() == GREETINGS {
            self.greeted.pop_front();
        }
        self.greeted.push_back(counter);
        vec![Out::Send(address, packet)]
    }

    /// Takes a packet.
    pub fn packet(&mut self, from: SocketAddr, packet: &[u8]) -> Vec<Out> {
        let opened = match self.sealer.open(packet) {
            Ok(opened) => opened,
            Err(Dropped::Replayed) => {
                self.drops.replayed += 1;
                return Vec::new();
            }
            Err(Dropped::Foreign | Dropped::Shape) => {
                self.drops.foreign += 1;
                return Vec::new();
            }
        };
        let mut text = &opened.text[..];
        let mut out = Vec::new();
        let read = match opened.kind {
            Kind::Greeting => {
                let mut answer = opened.counter.to_be_bytes().to_vec();
                answer.extend(member(&Member::alive(*self.me())));
                let (packet, _) = self.sealer.seal(Kind::Welcome, &opened.session, &answer);
                out.push(Out::Send(from, packet));
                Some(())
            }
            Kind::Welcome => self.welcomed(&mut text, &opened.session, &mut out),
            Kind::Swim => self.swim(text),
            // Who sees the same needs no list of it.
            Kind::Ask if text == self.digest() => Some(()),
            Kind::Ask => {
                // Those that are down as well: who missed that would go on to count on them.
                let members: Vec<Member<MemberId>> = self.foca.iter_membership_state().cloned().collect();
                let me = Member::new(*self.me(), 0, foca::State::Alive);
                let all: Vec<Member<MemberId>> = members.into_iter().chain([me]).collect();
                for some in all.chunks(LISTED) {
                    let packet = self.list(some, false, &opened.session);
                    out.push(Out::Send(from, packet));
                }
                Some(())
            }
            Kind::Members => self.listed(text),
        };
        if read.is_none() {
            self.drops.unreadable += 1;
        }
        self.settle(out)
    }

    /// A message of SWIM, of which it gets no more to see than what is new.
    fn swim(&mut self, text: &[u8]) -> Option<()> {
        let Some(said) = codec::said(text) else {
            return self.foca.handle_data(text, &mut self.runtime).ok();
        };
        let news = self.news(said.words);
        let mut shorter = said.head.to_vec();
        shorter.extend_from_slice(&u16::try_from(news.len()).ok()?.to_be_bytes());
        news.iter().for_each(|word| shorter.extend_from_slice(word));
        let to_me = said.to == *self.me();
        self.foca.handle_data(&shorter, &mut self.runtime).ok()?;
        // What is for somebody that this node was a moment ago, or is from one that counts as down, SWIM does not take.
        if !news.is_empty() && to_me && self.foca.iter_members().any(|m| *m.id() == said.from) {
            news.into_iter().for_each(|word| self.heard.take(word));
        }
        Some(())
    }

    /// Some members of a list.
    fn listed(&mut self, text: &[u8]) -> Option<()> {
        let (pass_on, words) = read_list(text)?;
        let news = self.news(words);
        let read = |mut word: &[u8]| Codec.decode_member(&mut word);
        let members: Vec<Member<MemberId>> = news.iter().map(|word| read(word)).collect::<Result<_, _>>().ok()?;
        self.foca
            .apply_many(members.into_iter(), pass_on, &mut self.runtime)
            .ok()?;
        news.into_iter().for_each(|word| self.heard.take(word));
        Some(())
    }

    /// The words that were not taken before.
    fn news<'t>(&self, words: &'t [u8]) -> Vec<&'t [u8]> {
        let words = words.chunks_exact(WORD);
        words.filter(|word| !self.heard.knows(word)).collect()
    }

    /// Sums up who is there: nodes that see the same have the same.
    fn digest(&self) -> Vec<u8> {
        let mut all: Vec<Vec<u8>> = self.foca.iter_members().map(|m| codec::version(m.id())).collect();
        all.push(codec::version(self.me()));
        all.sort_unstable();
        digest::digest(&digest::SHA256, &all.concat()).as_ref()[..16].to_vec()
    }

    /// Asks somebody for all members, unless they are those that this node knows.
    fn ask(&mut self, them: &MemberId) -> Out {
        let digest = self.digest();
        let (packet, _) = self.sealer.seal(Kind::Ask, &them.session, &digest);
        Out::Send(them.address, packet)
    }

    fn welcomed(&mut self, text: &mut &[u8], session: &Session, out: &mut Vec<Out>) -> Option<()> {
        let (counter, rest) = text.split_first_chunk::<8>()?;
        let counter = u64::from_be_bytes(*counter);
        let at = self.greeted.iter().position(|c| *c == counter)?;
        self.greeted.remove(at);
        let them = *Codec.decode_member(rest).ok()?.id();
        if them.session != *session || them.name == self.me().name {
            return None;
        }
        self.foca.announce(them, &mut self.runtime).ok()?;
        out.push(self.ask(&them));
        Some(())
    }

    fn list(&mut self, members: &[Member<MemberId>], pass_on: bool, to: &Session) -> Vec<u8> {
        let mut text = vec![u8::from(pass_on), u8::try_from(members.len()).unwrap_or(0)];
        members.iter().for_each(|m| text.extend(member(m)));
        self.sealer.seal(Kind::Members, to, &text).0
    }

    /// Takes a timer.
    pub fn timer(&mut self, token: Token) -> Vec<Out> {
        let mut out = Vec::new();
        match token {
            Token::Swim(timer) => {
                if self.foca.handle_timer(timer, &mut self.runtime).is_err() {
                    self.drops.unreadable += 1;
                }
            }
            Token::Tell(times) => {
                let me = Member::alive(*self.me());
                self.tell_all(&me, &mut out);
                if let Some(wait) = AGAIN.get(usize::from(times) + 1) {
                    out.push(Out::After(*wait, Token::Tell(times + 1)));
                }
            }
            Token::Compare => {
                self.heard.forget();
                let some = self.rng.random_range(0..self.len().max(1));
                let them = self.foca.iter_members().nth(some).map(|m| *m.id());
                if let Some(them) = them {
                    out.push(self.ask(&them));
                }
                let next = self.next_compare();
                out.push(next);
            }
        }
        self.settle(out)
    }

    /// Says what this node is now.
    pub fn set_presence(&mut self, presence: Presence) -> Vec<Out> {
        if self.me().presence == presence {
            return Vec::new();
        }
        let took_work = self.me().presence == Presence::Ready;
        let next = self.me().with(presence);
        let mut out = Vec::new();
        self.become_(next);
        if took_work {
            // Before anything that gossip says of it.
            self.tell_all(&Member::alive(next), &mut out);
            out.push(Out::After(AGAIN[0], Token::Tell(0)));
        }
        self.settle(out)
    }

    fn become_(&mut self, next: MemberId) {
        if self.foca.change_identity(next, &mut self.runtime).is_err() {
            self.drops.unreadable += 1;
        }
        self.changed = true;
    }

    /// Says good-bye.
    pub fn leave(&mut self) -> Vec<Out> {
        let mut out = Vec::new();
        let me = Member::down(*self.me());
        self.tell_all(&me, &mut out);
        // Whatever SWIM still wanted to do is of no use to one that leaves.
        if self.foca.leave_cluster(&mut self.runtime).is_err() {
            self.drops.unreadable += 1;
        }
        self.settle(out)
    }

    fn tell_all(&mut self, word: &Member<MemberId>, out: &mut Vec<Out>) {
        let all: Vec<(SocketAddr, Session)> = self
            .foca
            .iter_members()
            .map(|m| (m.id().address, m.id().session))
            .collect();
        for (address, session) in all {
            let packet = self.list(std::slice::from_ref(word), true, &session);
            out.push(Out::Send(address, packet));
        }
    }

    /// Turns what SWIM wants into packets and timers.
    fn settle(&mut self, mut out: Vec<Out>) -> Vec<Out> {
        if self.sealer.is_full() {
            let session = self.rng.random();
            self.sealer.renew(session);
            let me = *self.me();
            self.become_(MemberId {
                session,
                ..me.with(me.presence)
            });
        }
        // SWIM stops whenever this node becomes somebody new, until somebody speaks to the new one: a node that is cut off at that
        // moment would count on the others for good. It goes on while it knows anybody.
        if self
            .foca
            .apply_many(std::iter::empty(), false, &mut self.runtime)
            .is_err()
        {
            self.drops.unreadable += 1;
        }
        while let Some(note) = self.runtime.to_notify() {
            self.changed |= !matches!(note, OwnedNotification::Active | OwnedNotification::Idle);
        }
        let size = u32::try_from(self.len() + 1).unwrap_or(u32::MAX);
        if size.ilog2() != self.size.ilog2() {
            self.size = size;
            // Only what may be changed is changed.
            let _ = self.foca.set_config(settings(size));
        }
        while let Some((after, timer)) = self.runtime.to_schedule() {
            out.push(Out::After(after, Token::Swim(timer)));
        }
        while let Some((to, text)) = self.runtime.to_send() {
            let (packet, _) = self.sealer.seal(Kind::Swim, &to.session, &text);
            out.push(Out::Send(to.address, packet));
        }
        out
    }
}

fn member(of: &Member<MemberId>) -> Vec<u8> {
    let mut out = Vec::with_capacity(WORD);
    Codec.encode_member(of, &mut out).expect("a vector has room");
    out
}

/// Whether to pass the words of a list on, and the words; None for what cannot be read.
fn read_list(text: &[u8]) -> Option<(bool, &[u8])> {
    match text {
        [pass_on @ (0 | 1), count, words @ ..] if words.len() == usize::from(*count) * WORD => {
            Some((*pass_on == 1, words))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::key::Ring;
    use crate::gossip::member::Name;

    fn node(n: u8, cluster: &str) -> Membership {
        let ring = Ring::new("0123456789abcdef0123456789abcdef", cluster, "w").expect("a key");
        let me = MemberId {
            name: Name::new(&format!("i-{n}")).expect("a name"),
            address: SocketAddr::from(([10, 0, 0, n], 7946)),
            port: 80,
            boot: 1,
            version: 0,
            renewals: 0,
            session: NOBODY,
            presence: Presence::Ready,
        };
        Membership::new(me, Sealer::new(ring, [n; 16]), u64::from(n))
    }

    /// Delivers everything until nothing is on the way.
    fn deliver(nodes: &mut [Membership], from: usize, out: Vec<Out>) {
        let mut way: VecDeque<(SocketAddr, SocketAddr, Vec<u8>)> = VecDeque::new();
        let put = |way: &mut VecDeque<_>, from: SocketAddr, out: Vec<Out>| {
            for o in out {
                if let Out::Send(to, packet) = o {
                    way.push_back((from, to, packet));
                }
            }
        };
        put(&mut way, nodes[from].me().address, out);
        while let Some((from, to, packet)) = way.pop_front() {
            if let Some(node) = nodes.iter_mut().find(|n| n.me().address == to) {
                let out = node.packet(from, &packet);
                put(&mut way, to, out);
            }
        }
    }

    #[test]
    fn a_greeting_makes_two_nodes_know_each_other_and_a_third_learns_both() {
        let mut nodes = [node(1, "x"), node(2, "x"), node(3, "x")];
        for at in [0, 2] {
            let out = nodes[at].greet(SocketAddr::from(([10, 0, 0, 2], 7946)));
            deliver(&mut nodes, at, out);
        }
        let known: Vec<usize> = nodes.iter().map(Membership::len).collect();
        assert_eq!(known[1..], [2, 2], "who was greeted and who asked for the list");
        assert_eq!(nodes[2].peers()[0].instance, "i-1");
        assert!(
            nodes[2].greet(SocketAddr::from(([10, 0, 0, 1], 7946))).is_empty(),
            "who is known is not greeted"
        );
    }

    #[test]
    fn who_stops_taking_work_is_known_to_all_after_one_packet_each() {
        let mut nodes = [node(1, "x"), node(2, "x"), node(3, "x")];
        for at in [0, 2] {
            let out = nodes[at].greet(SocketAddr::from(([10, 0, 0, 2], 7946)));
            deliver(&mut nodes, at, out);
        }
        let out = nodes[1].set_presence(Presence::Draining);
        deliver(&mut nodes, 1, out);
        for at in [0, 2] {
            let seen = nodes[at]
                .peers()
                .into_iter()
                .find(|p| p.instance == "i-2")
                .expect("it is there");
            assert_eq!(seen.presence, Presence::Draining, "{at}");
        }
        let out = nodes[1].leave();
        deliver(&mut nodes, 1, out);
        assert!(nodes[0].peers().iter().all(|p| p.instance != "i-2"));
    }

    #[test]
    fn a_stranger_learns_nothing_and_changes_nothing() {
        let mut nodes = [node(1, "x"), node(2, "y")];
        let out = nodes[1].greet(SocketAddr::from(([10, 0, 0, 1], 7946)));
        let Out::Send(to, packet) = &out[0] else {
            panic!("{out:?}")
        };
        assert_eq!(nodes[0].packet(*to, packet), [], "not even an answer");
        assert_eq!((nodes[0].len(), nodes[0].drops.foreign), (0, 1));
    }

    #[test]
    fn a_welcome_that_nobody_waits_for_is_dropped() {
        let (mut a, mut b) = (node(1, "x"), node(2, "x"));
        let mut text = 77u64.to_be_bytes().to_vec();
        text.extend(member(&Member::alive(*b.me())));
        let (packet, _) = b.sealer.seal(Kind::Welcome, &a.sealer.session(), &text);
        assert_eq!(a.packet(b.me().address, &packet), []);
        assert_eq!((a.len(), a.drops.unreadable), (0, 1));
    }

    fn two_that_know_each_other() -> [Membership; 2] {
        let mut nodes = [node(1, "x"), node(2, "x")];
        let out = nodes[0].greet(SocketAddr::from(([10, 0, 0, 2], 7946)));
        deliver(&mut nodes, 0, out);
        nodes
    }

    /// Lets time pass for a node to which no packet comes.
    fn alone(node: &mut Membership, out: Vec<Out>, time: Duration) {
        let mut timers: Vec<(Duration, Token)> = Vec::new();
        let mut out = out;
        let mut now = Duration::ZERO;
        while now < time {
            for o in std::mem::take(&mut out) {
                if let Out::After(wait, token) = o {
                    timers.push((now + wait, token));
                }
            }
            timers.sort_by_key(|(due, _)| *due);
            let Some((due, _)) = timers.first() else { return };
            now = *due;
            out = node.timer(timers.remove(0).1);
        }
    }

    #[test]
    fn who_is_cut_off_at_the_moment_in_which_it_changes_counts_on_nobody_before_long() {
        let minute = Duration::from_secs(60);
        let mut nodes = two_that_know_each_other();
        let out = nodes[0].set_presence(Presence::Sick);
        assert_eq!(nodes[0].len(), 1);
        alone(&mut nodes[0], out, minute);
        assert_eq!(nodes[0].len(), 0, "after a word of its own");
        // The same when the change is the answer to somebody who called it down.
        let mut nodes = two_that_know_each_other();
        let down = [&[0, 1][..], &member(&Member::down(*nodes[0].me()))].concat();
        let was = *nodes[0].me();
        let (packet, _) = nodes[1].sealer.seal(Kind::Members, &was.session, &down);
        let out = nodes[0].packet(nodes[1].me().address, &packet);
        assert_ne!(*nodes[0].me(), was);
        alone(&mut nodes[0], out, minute);
        assert_eq!(nodes[0].len(), 0, "after a word of another");
    }

    #[test]
    fn who_sees_the_same_sends_no_list_and_who_sees_something_else_does() {
        let mut nodes = two_that_know_each_other();
        let answers = |nodes: &mut [Membership; 2]| {
            let asked = nodes[0].timer(Token::Compare);
            let sent = asked.iter().find_map(|o| match o {
                Out::Send(_, packet) => Some(packet.clone()),
                Out::After(..) => None,
            });
            let from = nodes[0].me().address;
            nodes[1].packet(from, &sent.expect("it asks")).len()
        };
        assert_eq!(answers(&mut nodes), 0);
        // The second learns of a third, which the first does not hear.
        let third = MemberId {
            name: Name::new("i-3").expect("a name"),
            ..*nodes[0].me()
        };
        let text = [&[0, 1][..], &member(&Member::alive(third))].concat();
        assert_eq!(nodes[1].listed(&text), Some(()));
        assert!(answers(&mut nodes) >= 1);
        // One that changed what it is differs as well, though the same are there.
        let mut nodes = two_that_know_each_other();
        let _ = nodes[1].set_presence(Presence::Sick);
        assert!(answers(&mut nodes) >= 1);
    }

    /// A message of SWIM with one word in it.
    fn gossip(from: MemberId, to: MemberId, word: &Member<MemberId>) -> Vec<u8> {
        let header = foca::Header {
            src: from,
            src_incarnation: 0,
            dst: to,
            message: foca::Message::Gossip,
        };
        let mut text = Vec::new();
        Codec.encode_header(&header, &mut text).expect("there is room");
        [&text[..], &[0, 1], &member(word)].concat()
    }

    #[test]
    fn a_word_that_swim_did_not_take_is_heard_when_it_comes_again() {
        let mut nodes = two_that_know_each_other();
        let (own, other) = (*nodes[0].me(), *nodes[1].me());
        let third = MemberId {
            name: Name::new("i-3").expect("a name"),
            ..other
        };
        let word = Member::alive(third);
        // It is for what this node was before it was sick.
        let _ = nodes[0].set_presence(Presence::Sick);
        assert_eq!(nodes[0].swim(&gossip(other, own, &word)), Some(()));
        assert_eq!(nodes[0].len(), 1, "SWIM does not take it");
        let own = *nodes[0].me();
        assert_eq!(nodes[0].swim(&gossip(other, own, &word)), Some(()));
        assert_eq!(nodes[0].len(), 2);
        // From one that is not known as a member that is there, nothing is taken either.
        let down = [&[0, 1][..], &member(&Member::down(other))].concat();
        assert_eq!(nodes[0].listed(&down), Some(()));
        let fourth = Member::alive(MemberId {
            name: Name::new("i-4").expect("a name"),
            ..other
        });
        assert_eq!(nodes[0].swim(&gossip(other, own, &fourth)), Some(()));
        assert_eq!(nodes[0].len(), 1);
        let again = gossip(third, own, &fourth);
        assert_eq!(nodes[0].swim(&again), Some(()));
        assert_eq!(nodes[0].len(), 2, "from one that is there it is");
    }
}
